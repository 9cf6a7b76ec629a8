//! Events become deliveries, slice by slice, so that a large run never holds the writer for long.

use rusqlite::{CachedStatement, Rows, Transaction, params};

use super::{Cause, EventType, Hold, Ids, Route, State, has_unqueued, route::Candidate};
use crate::model::{Money, Timestamp};

/// What [`queue`] reads, of `outbox o LEFT JOIN customers c`.
macro_rules! candidate_columns {
    () => {
        "o.seq, o.type, o.customer_id, o.run_id, o.old_segment, o.new_segment, o.cause, c.total_spent"
    };
}
/// What becomes of the deliveries of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Send,
    /// Waits for the merchant.
    Hold(Hold),
    /// Never sent, but listed, so that the numbers of a run add up.
    Discard,
}

/// Which events to fan out next.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// The last seq that is done.
    pub after: i64,
    /// The last seq of the run.
    pub last: i64,
    /// Events at most; 1,000 keeps the transaction in the tens of milliseconds.
    pub limit: usize,
    pub disposition: Disposition,
}

/// Fans out the next slice; returns the last seq done, `None` when nothing was left. The caller
/// stores the position in the same transaction: that makes the step resumable and each event's
/// deliveries exactly one per route.
///
/// `ids` name the messages; `now` is when they become due.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn fan_out(
    tx: &Transaction<'_>,
    routes: &[Route],
    slice: Slice,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let mut select = tx.prepare_cached(concat!(
        "SELECT ",
        candidate_columns!(),
        " FROM outbox o LEFT JOIN customers c ON c.id = o.customer_id
          WHERE o.seq > ?1 AND o.seq <= ?2 ORDER BY o.seq LIMIT ?3"
    ))?;
    let rows = select.query(params![slice.after, slice.last, i64::try_from(slice.limit).unwrap_or(i64::MAX)])?;
    queue(tx, rows, routes, slice.disposition, ids, now)
}

/// Fans out events that belong to no run, the oldest first and `limit` at most, and notes that in
/// the same transaction: resumable, each event's deliveries exactly one per route. Returns how many
/// events it took; less than `limit` means that no more can be taken now.
///
/// An event behind those of a run that still need deliveries waits for them, so that the events of
/// one customer stay in order.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn fan_out_unqueued(
    tx: &Transaction<'_>,
    routes: &[Route],
    limit: usize,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    if !has_unqueued(tx)? {
        return Ok(0);
    }
    let mut select = tx.prepare_cached(concat!(
        "SELECT ",
        candidate_columns!(),
        " FROM unqueued u JOIN outbox o ON o.seq = u.seq LEFT JOIN customers c ON c.id = o.customer_id
          WHERE u.seq <= coalesce((SELECT min(emit_position) FROM runs
                                    WHERE state = 'scored' AND emit_position < last_seq), ?1)
          ORDER BY u.seq LIMIT ?2"
    ))?;
    let rows = select.query(params![i64::MAX, i64::try_from(limit).unwrap_or(i64::MAX)])?;
    match queue(tx, rows, routes, Disposition::Send, ids, now)? {
        Some(last) => tx.prepare_cached("DELETE FROM unqueued WHERE seq <= ?1")?.execute([last]),
        None => Ok(0),
    }
}

/// Puts a delivery of each event at the end of every line that wants it. Returns the last seq.
fn queue(
    tx: &Transaction<'_>,
    mut rows: Rows<'_>,
    routes: &[Route],
    disposition: Disposition,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let mut lines = Lines::prepare(tx, now)?;
    let mut done = None;
    while let Some(row) = rows.next()? {
        let seq = row.get("seq")?;
        let customer_id = row.get("customer_id")?;
        let run_id = row.get("run_id")?;
        let candidate = Candidate {
            kind: row.get::<_, EventType>("type")?,
            old: row.get_ref("old_segment")?.as_str_or_null()?,
            new: row.get_ref("new_segment")?.as_str_or_null()?,
            cause: row.get::<_, Option<Cause>>("cause")?,
            spent: row.get::<_, Option<Money>>("total_spent")?.unwrap_or_default(),
        };
        for route in routes.iter().filter(|route| route.wants(&candidate)) {
            lines.append(&route.name, &Entry { seq, customer_id, run_id }, disposition, ids.next())?;
        }
        done = Some(seq);
    }
    Ok(done)
}

struct Entry {
    seq: i64,
    customer_id: Option<i64>,
    run_id: Option<i64>,
}

/// The statements that put a delivery at the end of its line.
struct Lines<'tx> {
    now: Timestamp,
    open: CachedStatement<'tx>,
    supersede: CachedStatement<'tx>,
    insert: CachedStatement<'tx>,
}

impl<'tx> Lines<'tx> {
    fn prepare(tx: &'tx Transaction<'_>, now: Timestamp) -> rusqlite::Result<Self> {
        Ok(Self {
            now,
            open: tx.prepare_cached(
                "SELECT hold IS 'baseline' FROM deliveries
                 WHERE destination = ?1 AND customer_id = ?2 AND finished_at IS NULL",
            )?,
            supersede: tx.prepare_cached(
                "UPDATE deliveries SET state = 'superseded', finished_at = ?3
                 WHERE destination = ?1 AND customer_id = ?2 AND finished_at IS NULL AND hold IS 'baseline'",
            )?,
            insert: tx.prepare_cached(
                "INSERT INTO deliveries (message_id, destination, seq, customer_id, run_id, state, hold, due_at,
                   created_at, finished_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?,
        })
    }

    fn append(
        &mut self,
        destination: &str,
        entry: &Entry,
        disposition: Disposition,
        message_id: [u8; 16],
    ) -> rusqlite::Result<()> {
        let now = self.now;
        let (state, hold, due_at, finished_at) = match disposition {
            Disposition::Send if self.is_free(destination, entry.customer_id)? => {
                (State::Waiting, None, Some(now), None)
            }
            Disposition::Send => (State::Waiting, None, None, None),
            Disposition::Hold(hold) => (State::Held, Some(hold), None, None),
            Disposition::Discard => (State::Discarded, None, None, Some(now)),
        };
        self.insert.execute(params![
            message_id,
            destination,
            entry.seq,
            entry.customer_id,
            entry.run_id,
            state,
            hold,
            due_at,
            now,
            finished_at
        ])?;
        Ok(())
    }

    /// Whether nothing older of this customer is open. A held baseline does not stand in the way:
    /// a merchant who never answers would block everything, so it is superseded.
    fn is_free(&mut self, destination: &str, customer_id: Option<i64>) -> rusqlite::Result<bool> {
        if customer_id.is_none() {
            return Ok(true); // speaks of nobody, so there is no order to keep
        }
        let (mut open, mut baseline) = (0, 0);
        for held in self.open.query_map(params![destination, customer_id], |row| row.get::<_, bool>(0))? {
            open += 1;
            baseline += i32::from(held?);
        }
        if baseline > 0 {
            self.supersede.execute(params![destination, customer_id, self.now])?;
        }
        Ok(open == baseline)
    }
}
