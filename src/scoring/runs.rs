//! The life of a run's row: begun, scored, done, or failed and due again.

use chrono::NaiveDate;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    Request, Settings, Trigger,
    compare::Before,
    night::{self, ClockSuspect},
};
use crate::{
    model::{Timestamp, text_enum},
    outbox,
};

/// After its first, second and third failure a nightly run is tried again so many minutes later;
/// then it stays failed.
const RETRY_MINUTES: [i64; 3] = [5, 15, 60];

text_enum!(State { Scoring = "scoring", Scored = "scored", Done = "done", Failed = "failed" });

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Step 1 is going on; nothing of it is visible.
    Scoring,
    /// Step 1 is committed: scores, events, statistics.
    Scored,
    /// Step 2 too: every event has its deliveries.
    Done,
    /// Nothing was changed; `retry_at` says whether it is tried again.
    Failed,
}

/// Why a run was not begun. Nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotBegun {
    #[error("a run is going on already; wait until it is done")]
    Busy,
    #[error("the night of {0} was scored already")]
    SlotTaken(NaiveDate),
}

/// A run in progress.
#[derive(Debug, Clone, Copy)]
pub struct Begun {
    pub id: i64,
    pub attempts: i64,
}

/// Writes the row of a run that begins, or takes up the failed one of the same night.
pub fn begin(tx: &Transaction<'_>, settings: &Settings, request: &Request, now: Timestamp) -> anyhow::Result<Begun> {
    if request.trigger != Trigger::Backfill && is_open(tx)? {
        return Err(NotBegun::Busy.into());
    }
    if request.is_of_this_moment(now) && night::suspect(latest_as_of(tx)?, now) == Some(ClockSuspect::Behind) {
        take_back_the_future(tx, request.as_of)?;
    }
    if let Some(slot) = request.slot {
        let known = tx
            .prepare_cached("SELECT id, state = 'failed', attempts FROM runs WHERE slot = ?1")?
            .query_row([slot.to_string()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?, row.get::<_, i64>(2)?))
            })
            .optional()?;
        match known {
            None => {}
            Some((_, false, _)) => return Err(NotBegun::SlotTaken(slot).into()),
            Some((id, true, attempts)) => {
                tx.execute(
                    "UPDATE runs SET state = 'scoring', started_at = ?2, attempts = attempts + 1, retry_at = NULL,
                       finished_at = NULL, error = NULL, ties = ?3, window_days = ?4, rules = ?5
                     WHERE id = ?1",
                    params![id, now, settings.ties_text(), settings.window_days, settings.scheme.hash()],
                )?;
                return Ok(Begun { id, attempts: attempts + 1 });
            }
        }
    }
    tx.execute(
        "INSERT INTO runs (trigger, slot, state, as_of, started_at, missed, ties, window_days, rules)
         VALUES (?1, ?2, 'scoring', ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            request.trigger,
            request.slot.map(|slot| slot.to_string()),
            request.as_of,
            now,
            request.missed,
            settings.ties_text(),
            settings.window_days,
            settings.scheme.hash()
        ],
    )?;
    Ok(Begun { id: tx.last_insert_rowid(), attempts: 1 })
}

/// Whether a run is in its first step.
pub fn is_open(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM runs WHERE state = 'scoring' AND trigger <> 'backfill')",
        [],
        |row| row.get(0),
    )
}

/// Notes that step 1 failed. Nightly runs are due again later, at most three times.
pub fn fail(tx: &Transaction<'_>, run: Begun, request: &Request, error: &str, now: Timestamp) -> rusqlite::Result<()> {
    let retry_at = request.slot.and_then(|_| retry_at(run.attempts, now));
    tx.execute(
        "UPDATE runs SET state = 'failed', error = ?2, retry_at = ?3, finished_at = ?4 WHERE id = ?1",
        params![run.id, error, retry_at, now],
    )?;
    Ok(())
}

/// When a nightly run that failed for the `attempts`th time is tried again.
fn retry_at(attempts: i64, now: Timestamp) -> Option<Timestamp> {
    let minutes = RETRY_MINUTES.get(usize::try_from(attempts - 1).ok()?)?;
    Some(now.plus_millis(minutes * 60_000))
}

/// Whether a run, or a backfill, is in its first step.
pub fn any_interrupted(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM runs WHERE state = 'scoring')", [], |row| row.get(0))
}

/// Runs that a crash stopped in step 1 changed nothing: nightly ones are due again at once.
/// Returns how many there were.
pub fn fail_interrupted(tx: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE runs SET state = 'failed', finished_at = ?1,
           error = 'quintile was stopped while scoring; nothing was changed',
           retry_at = CASE WHEN slot IS NOT NULL AND attempts <= ?2 THEN ?1 END
         WHERE state = 'scoring'",
        params![now, RETRY_MINUTES.len()],
    )
}

/// A failed nightly run whose time has come.
pub fn due_again(connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<Request>> {
    connection
        .prepare_cached(
            "SELECT trigger, slot, as_of, missed FROM runs
             WHERE state = 'failed' AND retry_at <= ?1 ORDER BY retry_at LIMIT 1",
        )?
        .query_row([now], |row| {
            Ok(Request {
                trigger: row.get(0)?,
                slot: row.get::<_, Option<String>>(1)?.and_then(|slot| slot.parse().ok()),
                as_of: row.get(2)?,
                missed: row.get(3)?,
            })
        })
        .optional()
}

/// The latest night that has a run, however it ended.
pub fn latest_slot(connection: &Connection) -> rusqlite::Result<Option<NaiveDate>> {
    let slot: Option<String> = connection.query_row("SELECT max(slot) FROM runs", [], |row| row.get(0))?;
    Ok(slot.and_then(|slot| slot.parse().ok()))
}

/// As-of of the latest run that changed customers, or of the latest night that was begun, if that is later.
pub fn latest_as_of(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let scored: Option<Timestamp> = connection.query_row(
        "SELECT max(as_of) FROM runs WHERE scored_at IS NOT NULL AND trigger <> 'backfill'",
        [],
        |row| row.get(0),
    )?;
    let night: Option<Timestamp> = connection
        .query_row("SELECT as_of FROM runs WHERE slot IS NOT NULL ORDER BY slot DESC LIMIT 1", [], |row| row.get(0))
        .optional()?;
    Ok(scored.max(night))
}

/// Whether the clock can be trusted with starting a run by itself.
///
/// # Errors
/// Those of SQLite.
pub fn clock_suspect(connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<ClockSuspect>> {
    Ok(night::suspect(latest_as_of(connection)?, now))
}

/// Somebody wants a run as of this moment, so the clock is right: runs as of a later one were begun under
/// a wrong clock. They are as of now, and their nights are still to come.
fn take_back_the_future(tx: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    let taken_back = tx.execute(
        "UPDATE runs SET as_of = ?1, slot = NULL, retry_at = NULL WHERE as_of > ?1 AND trigger <> 'backfill'",
        [now],
    )?;
    if taken_back > 0 {
        tracing::warn!(runs = taken_back, "the clock was ahead; runs that were begun then count as of now");
    }
    Ok(())
}

/// What a run at `request.as_of` compares with.
pub fn before(connection: &Connection, settings: &Settings, request: &Request) -> rusqlite::Result<Before> {
    let latest: Option<(Timestamp, String)> = connection
        .prepare_cached(
            "SELECT as_of, rules FROM runs WHERE scored_at IS NOT NULL AND trigger <> 'backfill'
             ORDER BY as_of DESC, id DESC LIMIT 1",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let unscored: bool =
        connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM customer_scores)", [], |row| row.get(0))?;
    let statistics_only =
        request.trigger == Trigger::Backfill || latest.as_ref().is_some_and(|(as_of, _)| *as_of > request.as_of);
    Ok(Before {
        as_of: latest.as_ref().map(|(as_of, _)| *as_of),
        baseline: unscored && !statistics_only,
        remap: !unscored && !statistics_only && latest.is_some_and(|(_, rules)| rules != settings.scheme.hash()),
        statistics_only,
    })
}

/// The instant of all changes of a run that commits now: later than any run and any event before, even
/// when the clock went back, so that the events of one customer stay in order.
pub fn instant(connection: &Connection, now: Timestamp) -> rusqlite::Result<Timestamp> {
    let last: Option<Timestamp> = connection.query_row("SELECT max(scored_at) FROM runs", [], |row| row.get(0))?;
    outbox::instant(connection, last.map_or(now, |last| now.max(last.plus_millis(1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nightly_run_is_tried_again_three_times() {
        let now = Timestamp::from_millis(0);
        let waits: Vec<_> = (1..=5).map(|attempts| retry_at(attempts, now).map(|at| at.millis() / 60_000)).collect();
        assert_eq!(waits, [Some(5), Some(15), Some(60), None, None]);
        assert_eq!(retry_at(0, now), None);
    }
}
