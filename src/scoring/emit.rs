//! Step 2: the events of a scored run become deliveries, slice by slice.

use std::time::Instant;

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Progress, Settings, Step};
use crate::{
    clock::Clock,
    config::Baseline,
    db::Database,
    outbox::{self, Disposition, Hold, Ids, Slice},
};

/// Events per transaction: tens of milliseconds, so that orders get in between.
const SLICE: usize = 1000;

/// How long step 1 of a run took, in milliseconds. Noted when the run is done: a write of its own
/// would cost more than the number is worth.
#[derive(Debug, Clone, Copy)]
pub struct ScoreTook {
    pub run_id: i64,
    pub score_ms: u64,
    pub rank_ms: u64,
    pub write_ms: u64,
}

/// A scored run whose events still need deliveries.
#[derive(Debug, Clone, Copy)]
struct Pending {
    run_id: i64,
    position: i64,
    last: i64,
    disposition: Disposition,
}

/// What moves so many customers at once that the merchant is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// The very first run.
    pub baseline: bool,
    /// New segment rules.
    pub remap: bool,
    /// See [`is_large`].
    pub large: bool,
}

/// What becomes of the deliveries of a run: of the very first one and of one under new segment
/// rules the merchant's `baseline` decides; of those that would be sent, an unusually large one
/// waits. The first run is large by nature: who chose to send it means that.
#[must_use]
pub const fn disposition(baseline: Baseline, run: Scale) -> Disposition {
    match baseline {
        // New rules give segments to people who had others: that is no quiet matter.
        Baseline::Quiet if run.baseline => Disposition::Quiet,
        Baseline::Quiet | Baseline::Hold if run.baseline || run.remap => Disposition::Hold(Hold::Baseline),
        Baseline::Discard if run.baseline || run.remap => Disposition::Discard,
        _ if run.large && !run.baseline => Disposition::Hold(Hold::Run),
        _ => Disposition::Send,
    }
}

/// Whether so many changes are more than a run may send without being asked.
#[must_use]
pub const fn is_large(changed: u64, ranked: u64, hold_above_percent: u32) -> bool {
    /// A small shop moves in larger shares; so few messages flood nobody.
    const ALWAYS_SENT: u64 = 100;
    changed > ALWAYS_SENT && changed as u128 * 100 > ranked as u128 * hold_above_percent as u128
}

/// Finishes step 2 of every run that is scored and not done, the oldest first. Returns how many.
pub fn emit_pending(
    db: &Database,
    settings: &Settings,
    clock: &Clock,
    took: Option<ScoreTook>,
    progress: &dyn Progress,
) -> anyhow::Result<u64> {
    let mut emitted = 0;
    while let Some(pending) = next_pending(db, settings)? {
        emit(db, settings, pending, clock, took.filter(|took| took.run_id == pending.run_id), progress)?;
        emitted += 1;
    }
    Ok(emitted)
}

fn next_pending(db: &Database, settings: &Settings) -> anyhow::Result<Option<Pending>> {
    let reader = db.readers().get()?;
    let pending = reader
        .prepare_cached(
            "SELECT id, coalesce(emit_position, 0), coalesce(last_seq, 0), baseline, remap, held FROM runs
             WHERE state = 'scored' ORDER BY id LIMIT 1",
        )?
        .query_row([], |row| {
            let scale = Scale { baseline: row.get(3)?, remap: row.get(4)?, large: row.get(5)? };
            Ok(Pending {
                run_id: row.get(0)?,
                position: row.get(1)?,
                last: row.get(2)?,
                disposition: disposition(settings.baseline, scale),
            })
        })
        .optional()?;
    Ok(pending)
}

fn emit(
    db: &Database,
    settings: &Settings,
    mut pending: Pending,
    clock: &Clock,
    score: Option<ScoreTook>,
    progress: &dyn Progress,
) -> anyhow::Result<()> {
    let started = Instant::now();
    progress.begin(Step::Emit, (pending.last - pending.position).unsigned_abs());
    let first = pending.position;
    // Without a destination there is nothing to queue; the events stay readable in the outbox.
    while !settings.routes.is_empty() && pending.position < pending.last {
        db.ending().check()?;
        match emit_slice(db, settings, pending, clock)? {
            Some(position) => pending.position = position,
            None => break,
        }
        progress.advance((pending.position - first).unsigned_abs());
    }
    let (now, took) = (clock.now(), super::millis(started.elapsed()));
    db.writer().write_blocking(move |tx| {
        tx.prepare_cached(
            "UPDATE runs SET state = 'done', emitted_at = ?2, finished_at = ?2, emit_position = last_seq,
               emit_ms = coalesce(emit_ms, 0) + ?3, score_ms = coalesce(?4, score_ms),
               rank_ms = coalesce(?5, rank_ms), write_ms = coalesce(?6, write_ms), error = NULL
             WHERE id = ?1 AND state = 'scored'",
        )?
        .execute(params![
            pending.run_id,
            now,
            took,
            score.map(|score| score.score_ms),
            score.map(|score| score.rank_ms),
            score.map(|score| score.write_ms),
        ])?;
        Ok(())
    })
}

/// After the merchant decided about held deliveries: a run that has none left waits no more.
///
/// # Errors
/// Those of SQLite.
pub fn note_decided(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE runs SET held = 0 WHERE held = 1 AND state = 'done' AND NOT EXISTS
           (SELECT 1 FROM deliveries WHERE run_id = runs.id AND state = 'held' AND hold IN ('baseline', 'run'))",
        [],
    )?;
    Ok(())
}

/// The next slice and the position after it, in one transaction.
fn emit_slice(db: &Database, settings: &Settings, pending: Pending, clock: &Clock) -> anyhow::Result<Option<i64>> {
    let (routes, now) = (settings.routes.clone(), clock.now());
    db.writer().write_blocking(move |tx| {
        let Pending { run_id, position, last, disposition } = pending;
        let slice = Slice { after: position, last, limit: SLICE, disposition };
        // Older events of the same customers first.
        outbox::fan_out_unqueued(tx, &routes, SLICE, &mut Ids::random(now), now)?;
        let done = outbox::fan_out(tx, &routes, slice, &mut Ids::random(now), now)?;
        tx.prepare_cached("UPDATE runs SET emit_position = ?2 WHERE id = ?1")?
            .execute(params![run_id, done.unwrap_or(last)])?;
        Ok(done)
    })
}

#[cfg(test)]
mod tests {
    use super::is_large;

    #[test]
    fn a_run_is_large_above_the_share_and_above_a_hundred() {
        for (changed, ranked, percent, large) in [
            (200, 1000, 20, false),
            (201, 1000, 20, true),
            (100, 100, 20, false),
            (101, 101, 20, true),
            (101, 101, 100, false),
            (101, 1_000_000, 0, true),
            (0, 0, 20, false),
        ] {
            assert_eq!(is_large(changed, ranked, percent), large, "{changed} of {ranked} at {percent} %");
        }
    }
}
