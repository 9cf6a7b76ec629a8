//! Recording what became of a claim, and letting the next of the line go.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Hold, State};
use crate::model::Timestamp;

/// What became of one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub delivery_id: i64,
    /// [`super::Claim::token`]
    pub token: String,
    /// [`super::Claim::attempt`]
    pub attempt: u32,
    /// When the request started.
    pub started_at: Timestamp,
    pub duration_ms: i64,
    /// HTTP status; `None`: no answer.
    pub status: Option<u16>,
    /// Why it is not simply delivered; a sentence for the merchant.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub answer: Vec<u8>,
    pub verdict: Verdict,
}

/// Where the delivery goes from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// Again at `at`. `spared`: this attempt does not count against the limit.
    Retry {
        at: Timestamp,
        spared: bool,
    },
    Dead,
    Held(Hold),
    /// Claimed but never sent: as if it had not been claimed.
    Unsent,
}

/// Records settlements; returns how many still held their claim. One that does not (the program
/// was restarted and the delivery handed out again) changes nothing.
///
/// # Errors
/// Those of SQLite.
pub fn settle(tx: &Transaction<'_>, settlements: &[Settlement], now: Timestamp) -> rusqlite::Result<usize> {
    let mut matched = 0;
    for settlement in settlements {
        let line = match settlement.verdict {
            Verdict::Unsent => unclaim(tx, settlement, now)?,
            verdict => record(tx, settlement, verdict, now)?,
        };
        let Some(line) = line else { continue };
        matched += 1;
        if matches!(settlement.verdict, Verdict::Delivered | Verdict::Dead) {
            advance(tx, &line, now)?;
        }
    }
    Ok(matched)
}

/// The deliveries of one customer to one destination.
pub(super) struct Line {
    pub destination: String,
    pub customer_id: Option<i64>,
}

fn record(
    tx: &Transaction<'_>,
    settlement: &Settlement,
    verdict: Verdict,
    now: Timestamp,
) -> rusqlite::Result<Option<Line>> {
    let (state, hold, due_at, finished_at, spared) = match verdict {
        Verdict::Delivered => (State::Delivered, None, None, Some(now), false),
        Verdict::Dead => (State::Dead, None, None, Some(now), false),
        Verdict::Retry { at, spared } => (State::Retrying, None, Some(at), None, spared),
        Verdict::Held(hold) => (State::Held, Some(hold), None, None, false),
        Verdict::Unsent => return Ok(None),
    };
    let line = tx
        .prepare_cached(
            "UPDATE deliveries SET claim = NULL, state = ?3, hold = ?4, due_at = ?5, finished_at = ?6,
               spared = spared + ?7, last_status = ?8, last_error = ?9
             WHERE id = ?1 AND claim = ?2 RETURNING destination, customer_id",
        )?
        .query_row(
            params![
                settlement.delivery_id,
                settlement.token,
                state,
                hold,
                due_at,
                finished_at,
                spared,
                settlement.status,
                settlement.error
            ],
            |row| Ok(Line { destination: row.get(0)?, customer_id: row.get(1)? }),
        )
        .optional()?;
    if line.is_some() {
        tx.prepare_cached(
            "UPDATE attempts SET started_at = ?3, duration_ms = ?4, status = ?5, error = ?6, answer = ?7
             WHERE delivery_id = ?1 AND number = ?2",
        )?
        .execute(params![
            settlement.delivery_id,
            settlement.attempt,
            settlement.started_at,
            settlement.duration_ms,
            settlement.status,
            settlement.error,
            settlement.answer
        ])?;
    }
    Ok(line)
}

fn unclaim(tx: &Transaction<'_>, settlement: &Settlement, now: Timestamp) -> rusqlite::Result<Option<Line>> {
    let line = tx
        .prepare_cached(
            "UPDATE deliveries SET claim = NULL, attempts = attempts - 1, due_at = ?3,
               state = CASE attempts WHEN 1 THEN 'waiting' ELSE 'retrying' END
             WHERE id = ?1 AND claim = ?2 RETURNING destination, customer_id",
        )?
        .query_row(params![settlement.delivery_id, settlement.token, now], |row| {
            Ok(Line { destination: row.get(0)?, customer_id: row.get(1)? })
        })
        .optional()?;
    if line.is_some() {
        tx.prepare_cached("DELETE FROM attempts WHERE delivery_id = ?1 AND number = ?2")?
            .execute(params![settlement.delivery_id, settlement.attempt])?;
    }
    Ok(line)
}

/// Makes the head of a line due, after the one before it ended or it was released. A held head
/// stays held.
pub(super) fn advance(tx: &Transaction<'_>, line: &Line, now: Timestamp) -> rusqlite::Result<()> {
    if line.customer_id.is_none() {
        return Ok(()); // nobody's: no line
    }
    tx.prepare_cached(
        "UPDATE deliveries SET due_at = ?3 WHERE state IN ('waiting', 'retrying') AND due_at IS NULL AND id =
           (SELECT id FROM deliveries WHERE destination = ?1 AND customer_id = ?2 AND finished_at IS NULL
            ORDER BY id LIMIT 1)",
    )?
    .execute(params![line.destination, line.customer_id, now])?;
    Ok(())
}
