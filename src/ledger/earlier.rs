//! Erasures of a database, for an earlier state of it that comes in its place: a backup has the names of those who were
//! erased after it was made, and knows nobody of those who came and went later.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::tombstones::{self, Tombstones};
use crate::{db, model::Timestamp};

/// Who was erased in a database, without their names.
#[derive(Debug)]
pub struct Erasures {
    /// Of the database; `None`: nobody was erased.
    key: Option<[u8; 32]>,
    customers: Vec<Nameless>,
    marks: Vec<Grave>,
}

#[derive(Debug)]
struct Nameless {
    id: i64,
    source: String,
    external_id: Option<String>,
    redacted_at: Timestamp,
    created_at: Timestamp,
}

/// A row of `tombstones`.
#[derive(Debug)]
struct Grave {
    kind: String,
    source: String,
    hash: Vec<u8>,
    customer_id: i64,
    erased_at: Timestamp,
}

impl Erasures {
    /// # Errors
    /// Those of SQLite: the database is damaged, or of an older schema.
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let customers = connection
            .prepare(
                "SELECT id, source, external_id, redacted_at, created_at FROM customers WHERE redacted_at IS NOT NULL",
            )?
            .query_map([], |row| {
                Ok(Nameless {
                    id: row.get(0)?,
                    source: row.get(1)?,
                    external_id: row.get(2)?,
                    redacted_at: row.get(3)?,
                    created_at: row.get(4)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        let marks = connection
            .prepare("SELECT kind, source, hash, customer_id, erased_at FROM tombstones")?
            .query_map([], |row| {
                Ok(Grave {
                    kind: row.get(0)?,
                    source: row.get(1)?,
                    hash: row.get(2)?,
                    customer_id: row.get(3)?,
                    erased_at: row.get(4)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        Ok(Self { key: db::private_key(connection)?, customers, marks })
    }

    /// Whether `other` is a state of the same database, as far as its key tells, or nothing is to be known of it.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn are_of(&self, other: &Connection) -> rusqlite::Result<bool> {
        Ok(self.customers.is_empty() || db::private_key(other)? == self.key)
    }

    /// Takes over by what the erased are recognised, so that no way in brings them back, be it one whom the earlier
    /// state had never seen. Returns who of them has a name there, our ids, for
    /// [`erase_known`](super::erase_known); `None`: it knew all of them as erased.
    ///
    /// # Errors
    /// Those of SQLite; then the caller's transaction must not be committed.
    pub fn take_over(&self, tx: &Transaction<'_>) -> rusqlite::Result<Option<BTreeSet<i64>>> {
        let mut rows = BTreeMap::new();
        for customer in &self.customers {
            let id = match customer.find(tx)? {
                Some(id) => id,
                None => customer.insert(tx)?,
            };
            rows.insert(customer.id, id);
        }
        let mut is_new = false;
        for Grave { kind, source, hash, customer_id, erased_at } in &self.marks {
            if let Some(id) = rows.get(customer_id) {
                is_new |= tombstones::put_hash(tx, (kind, source, hash), *id, *erased_at)?;
            }
        }
        let mut named = if is_new { Tombstones::load(tx)?.named(tx)? } else { BTreeSet::new() };
        // One who had another e-mail then is known by none of the tombstones.
        let mut is_named = tx.prepare("SELECT 1 FROM customers WHERE id = ?1 AND redacted_at IS NULL")?;
        for id in rows.into_values() {
            if is_named.exists([id])? {
                named.insert(id);
            }
        }
        Ok((is_new || !named.is_empty()).then_some(named))
    }
}

impl Nameless {
    /// The same customer: by the source's id, or the same row, which had no id then. A row that another state made later
    /// under the same id was made at another time.
    fn find(&self, earlier: &Connection) -> rusqlite::Result<Option<i64>> {
        let by_id = earlier
            .prepare_cached("SELECT id FROM customers WHERE external_id = ?1 AND source = ?2")?
            .query_row(params![self.external_id, self.source], |row| row.get(0))
            .optional()?;
        if by_id.is_some() {
            return Ok(by_id);
        }
        earlier
            .prepare_cached("SELECT id FROM customers WHERE id = ?1 AND created_at = ?2 AND external_id IS NULL")?
            .query_row(params![self.id, self.created_at], |row| row.get(0))
            .optional()
    }

    fn insert(&self, tx: &Transaction<'_>) -> rusqlite::Result<i64> {
        tx.prepare_cached(
            "INSERT INTO customers (source, external_id, redacted_at, created_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![self.source, self.external_id, self.redacted_at, self.created_at])?;
        Ok(tx.last_insert_rowid())
    }
}
