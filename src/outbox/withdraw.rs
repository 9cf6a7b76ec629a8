//! Taking an erased customer out of the queue and out of what was sent.
//!
//! What waits is discarded, with the reason. What is on its way comes to its own end, since nobody can
//! call it back, but its bytes are forgotten: it is not sent once more, and of its answer no word is
//! kept. What has ended loses its bytes and what was answered.
//!
//! A batch that waits or was tried is taken apart, so that the events of the others go out alone or in
//! new batches. Were it tried and the answer lost, its receiver may see those events again, in messages
//! with other ids, and knows them by the ids of the events.

use std::collections::BTreeSet;

use rusqlite::{Transaction, params};

use super::{ERASED, Ids, State, about::events_about, batch::dissolve, line::Line};
use crate::model::Timestamp;

/// What [`withdraw`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// Deliveries that will never be sent.
    pub cancelled: usize,
    /// Deliveries whose stored bytes or answers were forgotten: sent, given up, or on their way.
    pub scrubbed: usize,
    /// Of those, the ones that are on their way at this moment.
    pub on_their_way: usize,
}

/// A tool's own words in the reason of a refusal may name the customer.
macro_rules! without_quote {
    ($column:literal) => {
        concat!(
            "CASE WHEN instr(",
            $column,
            ", ' refused the event: ') > 0
               THEN substr(",
            $column,
            ", 1, instr(",
            $column,
            ", ' refused the event: ') + 17) ELSE ",
            $column,
            " END"
        )
    };
}

/// Withdraws what is queued about `customers`, and forgets what was sent about them.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn withdraw(tx: &Transaction<'_>, customers: &BTreeSet<i64>, now: Timestamp) -> rusqlite::Result<Withdrawn> {
    let events = events_about(tx, customers)?;
    let mut done = Withdrawn::default();
    for delivery in with_any(tx, &events)? {
        match delivery.state {
            State::Waiting | State::Retrying | State::Held if delivery.is_batch => {
                dissolve(tx, delivery.id, &mut Ids::random(now), now)?;
            }
            _ => {}
        }
    }
    for delivery in with_any(tx, &events)? {
        match delivery.state {
            State::Waiting | State::Retrying | State::Held => {
                scrub(tx, delivery.id)?;
                tx.prepare_cached("UPDATE deliveries SET last_error = ?2 WHERE id = ?1")?
                    .execute(params![delivery.id, ERASED])?;
                delivery.line.finish(tx, delivery.id, State::Discarded, now)?;
                done.cancelled += 1;
            }
            State::Sending => {
                scrub(tx, delivery.id)?;
                done.scrubbed += 1;
                done.on_their_way += 1;
            }
            State::Delivered | State::Dead | State::Superseded | State::Discarded => {
                done.scrubbed += usize::from(scrub(tx, delivery.id)?);
            }
        }
    }
    Ok(done)
}

/// A delivery that holds an event about an erased customer.
struct Delivery {
    id: i64,
    state: State,
    is_batch: bool,
    line: Line,
}

/// The deliveries that any of these events is in, ascending.
fn with_any(tx: &Transaction<'_>, events: &BTreeSet<i64>) -> rusqlite::Result<Vec<Delivery>> {
    let mut ids = BTreeSet::new();
    // The row of a batch names its last event alone.
    let mut alone = tx.prepare_cached("SELECT id FROM deliveries WHERE seq = ?1 AND events = 1")?;
    let mut together = tx.prepare_cached("SELECT delivery_id FROM batched WHERE seq = ?1")?;
    for seq in events {
        for select in [&mut alone, &mut together] {
            for id in select.query_map([seq], |row| row.get::<_, i64>(0))? {
                ids.insert(id?);
            }
        }
    }
    let mut select =
        tx.prepare_cached("SELECT id, state, events > 1, destination, customer_id FROM deliveries WHERE id = ?1")?;
    ids.into_iter()
        .map(|id| {
            select.query_row([id], |row| {
                let line = Line { destination: row.get(3)?, customer_id: row.get(4)? };
                Ok(Delivery { id: row.get(0)?, state: row.get(1)?, is_batch: row.get(2)?, line })
            })
        })
        .collect()
}

/// Forgets what was sent and what was answered. Whether there was anything.
fn scrub(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<bool> {
    let body = tx
        .prepare_cached(concat!(
            "UPDATE deliveries SET body = NULL, last_error = ",
            without_quote!("last_error"),
            " WHERE id = ?1 AND (body IS NOT NULL OR instr(last_error, ' refused the event: ') > 0)"
        ))?
        .execute([id])?;
    let answers = tx
        .prepare_cached(concat!(
            "UPDATE attempts SET answer = NULL, error = ",
            without_quote!("error"),
            " WHERE delivery_id = ?1 AND (answer IS NOT NULL OR instr(error, ' refused the event: ') > 0)"
        ))?
        .execute([id])?;
    Ok(body + answers > 0)
}
