//! The merchant's answer to deliveries that are held: send them after all, or never.

use rusqlite::{Connection, Transaction, params};

use super::settle::{Line, advance};
use crate::model::Timestamp;

/// Which held deliveries are meant: those that all of the named conditions hold for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeldFilter {
    /// Only those of the first run, or of a run under new segment rules.
    pub baseline: bool,
    pub run_id: Option<i64>,
    pub destination: Option<String>,
}

/// What the merchant says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// They are sent, each after the older ones of its customer.
    Release,
    /// They are never sent; what waits behind them goes out.
    Discard,
}

/// What one slice did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decided {
    /// How many it was.
    pub count: usize,
    /// Id of the last one: where the next slice begins.
    pub last: i64,
}

/// `?1` to `?3`: the parts of a [`HeldFilter`]. In this form the index by state gives the rows in
/// the order of ids.
macro_rules! matching {
    () => {
        "state = 'held' AND (NOT ?1 OR hold = 'baseline') AND (?2 IS NULL OR run_id = ?2) \
         AND (?3 IS NULL OR destination = ?3)"
    };
}

/// How many deliveries the filter finds.
///
/// # Errors
/// Those of SQLite.
pub fn count_held(connection: &Connection, filter: &HeldFilter) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(concat!("SELECT count(*) FROM deliveries WHERE ", matching!()))?
        .query_row(params![filter.baseline, filter.run_id, filter.destination], |row| row.get(0))
}

/// Decides the oldest `limit` of the deliveries that the filter finds with an id above `after`;
/// `None` when there are none.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn decide_held(
    tx: &Transaction<'_>,
    filter: &HeldFilter,
    decision: Decision,
    after: i64,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Option<Decided>> {
    let held = tx
        .prepare_cached(concat!(
            "SELECT id, destination, customer_id FROM deliveries WHERE id > ?4 AND ",
            matching!(),
            " ORDER BY id LIMIT ?5"
        ))?
        .query_map(
            params![
                filter.baseline,
                filter.run_id,
                filter.destination,
                after,
                i64::try_from(limit).unwrap_or(i64::MAX)
            ],
            |row| Ok((row.get(0)?, Line { destination: row.get(1)?, customer_id: row.get(2)? })),
        )?
        .collect::<Result<Vec<(i64, Line)>, _>>()?;
    for (id, line) in &held {
        match decision {
            Decision::Release => release(tx, *id, line, now)?,
            Decision::Discard => discard(tx, *id, line, now)?,
        }
    }
    Ok(held.last().map(|(last, _)| Decided { count: held.len(), last: *last }))
}

/// Only the head of a line becomes due. An older baseline that stays held gives way, as it does
/// to a delivery that was never held.
fn release(tx: &Transaction<'_>, id: i64, line: &Line, now: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "UPDATE deliveries SET state = CASE attempts WHEN 0 THEN 'waiting' ELSE 'retrying' END, hold = NULL,
           due_at = CASE WHEN customer_id IS NULL THEN ?2 END
         WHERE id = ?1",
    )?
    .execute(params![id, now])?;
    tx.prepare_cached(
        "UPDATE deliveries SET state = 'superseded', finished_at = ?4
         WHERE destination = ?1 AND customer_id = ?2 AND finished_at IS NULL AND id < ?3 AND hold = 'baseline'",
    )?
    .execute(params![line.destination, line.customer_id, id, now])?;
    advance(tx, line, now)
}

fn discard(tx: &Transaction<'_>, id: i64, line: &Line, now: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE deliveries SET state = 'discarded', finished_at = ?2 WHERE id = ?1")?
        .execute(params![id, now])?;
    advance(tx, line, now)
}
