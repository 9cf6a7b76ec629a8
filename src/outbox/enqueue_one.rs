//! Events that come one by one, outside of a run: each is noted in `unqueued`, in the same
//! transaction, until [`super::fan_out_unqueued`] made its deliveries.

use rusqlite::{Connection, Transaction, params};

use super::{EventType, Ids, instant};
use crate::model::Timestamp;

/// Inserts an event about a customer that belongs to no run, and returns its seq. It happened at `now`,
/// or at the next [`instant`] there is. Wake the forwarder after the commit; [`has_unqueued`] says whether
/// there is a reason to.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn enqueue_one(
    tx: &Transaction<'_>,
    kind: EventType,
    customer_id: Option<i64>,
    now: Timestamp,
    ids: &mut Ids,
) -> rusqlite::Result<i64> {
    let at = instant(tx, now)?;
    tx.prepare_cached("INSERT INTO outbox (event_id, type, customer_id, at) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![ids.next(), kind, customer_id, at])?;
    let seq = tx.last_insert_rowid();
    tx.prepare_cached("INSERT INTO unqueued (seq) VALUES (?1)")?.execute([seq])?;
    Ok(seq)
}

/// Inserts `customer/first_order`, unless the person had one before: under this id, or under one
/// that was merged into it. Returns its seq.
///
/// # Errors
/// As [`enqueue_one`].
pub fn enqueue_first_order(
    tx: &Transaction<'_>,
    customer_id: i64,
    now: Timestamp,
    ids: &mut Ids,
) -> rusqlite::Result<Option<i64>> {
    let told: bool = tx
        .prepare_cached(
            "WITH RECURSIVE person (id) AS (
               VALUES (?1)
                UNION
               SELECT c.id FROM person p JOIN aliases a ON a.customer_id = p.id AND a.kind = 'id'
                 JOIN customers c ON c.external_id = a.key AND c.source = a.source
                UNION
               SELECT c.id FROM person p JOIN aliases a ON a.customer_id = p.id AND a.kind = 'email'
                 JOIN customers c ON c.external_id IS NULL AND c.email_key = a.key)
             SELECT EXISTS (SELECT 1 FROM person p CROSS JOIN outbox o
                             ON o.customer_id = p.id AND o.type = 'customer/first_order')",
        )?
        .query_row([customer_id], |row| row.get(0))?;
    if told {
        return Ok(None);
    }
    enqueue_one(tx, EventType::FirstOrder, Some(customer_id), now, ids).map(Some)
}

/// Whether an event waits for its deliveries: then the forwarder has something to do.
///
/// # Errors
/// Those of SQLite.
pub fn has_unqueued(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM unqueued)")?.query_row([], |row| row.get(0))
}
