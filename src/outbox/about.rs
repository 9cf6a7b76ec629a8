//! Finding the events about one customer.
//!
//! No index leads from a customer to their events: every changed customer would pay for it every night. A run
//! writes its events in the order of its customers, changes first, so that twenty look-ups find one among a
//! million, and the history says in which runs there is one.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, Row};

/// Events of a run that are looked through one by one when they are not in the order of their customers.
const UNORDERED: i64 = 5_000;

/// A part of the outbox, in the order of customers. Both ends are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventRange {
    pub first: i64,
    pub last: i64,
}

impl EventRange {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { first: row.get(0)?, last: row.get(1)? })
    }
}

/// The event of a customer who has one in `range`.
///
/// # Errors
/// Those of SQLite.
pub fn event_in(connection: &Connection, customer: i64, range: EventRange) -> rusqlite::Result<Option<i64>> {
    let found = first_in(connection, customer, range)?;
    if found.is_some() || range.last - range.first >= UNORDERED {
        return Ok(found);
    }
    connection
        .prepare_cached(
            "SELECT seq FROM outbox WHERE seq >= ?1 AND seq <= ?2 AND customer_id = ?3 ORDER BY seq LIMIT 1",
        )?
        .query_row((range.first, range.last, customer), |row| row.get(0))
        .optional()
}

/// The first event of a customer in `range`, which must be in order, if they have one there.
///
/// # Errors
/// Those of SQLite.
pub fn first_in(connection: &Connection, customer: i64, range: EventRange) -> rusqlite::Result<Option<i64>> {
    let mut at_or_after = connection
        .prepare_cached("SELECT seq, customer_id FROM outbox WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq LIMIT 1")?;
    let (mut low, mut high) = (range.first, range.last);
    let mut found = None;
    while low <= high {
        let middle = low + (high - low) / 2;
        let event: Option<(i64, Option<i64>)> =
            at_or_after.query_row((middle, high), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match event {
            Some((seq, Some(id))) if id < customer => low = seq + 1,
            Some((seq, Some(id))) => {
                if id == customer {
                    found = Some(seq);
                }
                high = middle - 1;
            }
            _ => high = middle - 1,
        }
    }
    Ok(found)
}

/// The seqs of all events about these customers but those that tell of an erasure, ascending.
///
/// # Errors
/// Those of SQLite.
pub(super) fn events_about(connection: &Connection, customers: &BTreeSet<i64>) -> rusqlite::Result<BTreeSet<i64>> {
    let mut moves = connection.prepare_cached(
        "SELECT r.first_seq, r.first_seq + r.changed - 1 FROM runs r CROSS JOIN history h
          WHERE h.run_id = r.id AND h.customer_id = ?1 AND h.moved = 1 AND r.first_seq IS NOT NULL",
    )?;
    let mut lapses = connection.prepare_cached(
        "SELECT first_seq + changed, last_seq FROM runs WHERE scored_at IS NOT NULL AND last_seq >= first_seq + changed",
    )?;
    let mut first_order = connection.prepare_cached(
        "SELECT seq FROM outbox INDEXED BY outbox_first_order WHERE customer_id = ?1 AND type = 'customer/first_order'",
    )?;
    let mut next = connection.prepare_cached("SELECT customer_id FROM outbox WHERE seq = ?1")?;
    let mut found = BTreeSet::new();
    for customer in customers {
        for seq in first_order.query_map([customer], |row| row.get(0))? {
            found.insert(seq?);
        }
        for range in moves.query_map([customer], EventRange::from_row)? {
            found.extend(event_in(connection, *customer, range?)?);
        }
        for range in lapses.query_map([], EventRange::from_row)? {
            let range = range?;
            // Several thresholds may have passed in one night.
            let mut seq = first_in(connection, *customer, range)?;
            while let Some(one) = seq {
                found.insert(one);
                let who: Option<Option<i64>> =
                    next.query_row([one + 1], |row| row.get(0)).optional()?.filter(|_| one < range.last);
                seq = (who.flatten() == Some(*customer)).then_some(one + 1);
            }
        }
    }
    Ok(found)
}
