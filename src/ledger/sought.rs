//! Looking for somebody of whom nothing is known but a phone.
//!
//! Numbers are written in many ways, so everybody's is looked at. In a large shop that takes a second, and orders must
//! not wait for it: the request is answered with a tombstone for the phone alone, so that from then on nobody comes in
//! by it. Who was there before is looked for afterwards, while others write, slice by slice.

use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{
    Cluster, Erased, LedgerError, Who,
    counters::recompute,
    erase, find_persons,
    identity::{followers, owner},
};
use crate::model::{Timestamp, phone_key};

/// Customers whose phones are looked at while nobody else can write: some milliseconds.
pub(super) const FEW_CUSTOMERS: i64 = 20_000;

/// A phone whose owners are still to be looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sought {
    /// Normalised.
    pub phone: String,
    /// The newest customer there was: who came later was met by the tombstone.
    pub last: i64,
    /// The nameless customer to whom the tombstone leads, if one was made for that.
    pub stand_in: Option<i64>,
}

/// Customers among those with an id from `first` to `last` who have this phone, a normalised one.
///
/// # Errors
/// Those of SQLite.
pub fn with_phone(connection: &Connection, phone: &str, (first, last): (i64, i64)) -> rusqlite::Result<Vec<i64>> {
    let mut select = connection
        .prepare_cached("SELECT id, phone FROM customers WHERE id >= ?1 AND id <= ?2 AND phone IS NOT NULL")?;
    let mut rows = select.query([first, last])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        if phone_key(row.get_ref(1)?.as_str()?).as_deref() == Some(phone) {
            found.push(row.get(0)?);
        }
    }
    Ok(found)
}

/// The person, with all who have the phone that was still to be looked for.
///
/// # Errors
/// Those of SQLite.
pub fn find_sought(connection: &Connection, person: &Cluster) -> rusqlite::Result<Cluster> {
    let mut all = person.clone();
    let Some(sought) = all.sought.take() else { return Ok(all) };
    for id in with_phone(connection, &sought.phone, (0, sought.last))? {
        let one = find_persons(connection, &Who { customer_id: Some(id), ..Who::default() })?;
        all.customers.extend(one.customers);
        all.ids.extend(one.ids);
        all.emails.extend(one.emails);
        all.phones.extend(one.phones);
        all.orders.extend(one.orders);
    }
    Ok(all)
}

/// Forgets the customer `id`, who was found by the phone. `None`: they have another one by now, or were forgotten by
/// somebody else.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn erase_sought(
    tx: &Transaction<'_>,
    sought: &Sought,
    id: i64,
    now: Timestamp,
) -> Result<Option<Erased>, LedgerError> {
    if with_phone(tx, &sought.phone, (id, id))?.is_empty() {
        return Ok(None);
    }
    let erased = erase(tx, &Who { customer_id: Some(id), ..Who::default() }, now)?;
    if let Some(stand_in) = sought.stand_in {
        give_way(tx, stand_in, owner(tx, id)?, now)?;
    }
    Ok(Some(erased))
}

/// What has counted for the stand-in meanwhile counts for the customer who was found, as if the shop had merged them.
fn give_way(tx: &Transaction<'_>, stand_in: i64, found: i64, now: Timestamp) -> Result<(), LedgerError> {
    if owner(tx, stand_in)? != stand_in || found == stand_in {
        return Ok(()); // somebody was found before, or the shop itself has merged the two
    }
    tx.execute(
        "INSERT INTO aliases (kind, source, key, customer_id, created_at)
         SELECT 'id', source, external_id, ?2, ?3 FROM customers WHERE id = ?1 AND external_id IS NOT NULL
         ON CONFLICT DO NOTHING",
        params![stand_in, found, now],
    )?;
    for follower in followers(tx, stand_in)? {
        tx.execute("UPDATE customers SET merged_into = ?2 WHERE id = ?1", [follower.id, found])?;
    }
    tx.execute("UPDATE orders SET customer_id = ?2 WHERE customer_id = ?1", [stand_in, found])?;
    recompute(tx, &[stand_in, found])
}
