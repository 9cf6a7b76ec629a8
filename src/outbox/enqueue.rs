//! Events come in here, in the transaction that makes them true.

use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Cause, EventType, Ids};
use crate::model::Timestamp;

/// The instant of an event that happens at `now`: later than all events before it, also when the clock
/// went back, so that those of one customer ascend.
///
/// # Errors
/// Those of SQLite.
pub fn instant(connection: &Connection, now: Timestamp) -> rusqlite::Result<Timestamp> {
    let last: Option<Timestamp> = connection
        .prepare_cached("SELECT at FROM outbox ORDER BY seq DESC LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.map_or(now, |last| now.max(last.plus_millis(1))))
}

/// One customer's move to another segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentChange<'a> {
    pub customer_id: i64,
    /// `None`: scored for the first time, or had no counted order before.
    pub old: Option<&'a str>,
    /// `None`: has no counted order any more.
    pub new: Option<&'a str>,
    pub cause: Cause,
    /// Recency, frequency, monetary: 1 to 5 each.
    pub rfm: Option<[u8; 3]>,
}

/// Inserts one `rfm/segment.changed` row per change; returns `(first_seq, last_seq)`, `None` when
/// there were none. `at` becomes `eventTimestamp` of all of them. A change that is an error, of the work that
/// goes along with it, ends it at once: that error may have ended the transaction, and what was inserted after
/// it would be there for good.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn enqueue<'a>(
    tx: &Transaction<'_>,
    run_id: i64,
    at: Timestamp,
    ids: &mut Ids,
    changes: impl IntoIterator<Item = rusqlite::Result<SegmentChange<'a>>>,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut changes = changes.into_iter().fuse();
    let mut range = None;
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        chunk.clear();
        for change in changes.by_ref().take(CHUNK) {
            chunk.push(change?);
        }
        if chunk.len() == CHUNK {
            insert(tx, &INSERT_CHUNK, run_id, at, ids, &chunk)?;
        } else {
            for change in &chunk {
                insert(tx, &INSERT_ONE, run_id, at, ids, std::slice::from_ref(change))?;
            }
        }
        if chunk.is_empty() {
            return Ok(range);
        }
        // One writer, one transaction: no seq is given to anybody else in between.
        let last = tx.last_insert_rowid();
        let first = last + 1 - i64::try_from(chunk.len()).unwrap_or(0);
        range = Some((range.map_or(first, |(first, _)| first), last));
    }
}

/// A customer whose last order lies `days` back, or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapse {
    pub customer_id: i64,
    /// The threshold that was passed.
    pub days: u32,
}

/// Inserts one `customer/lapsed` row each, as [`enqueue`] does for changes. Called directly after
/// it, the rows of both are one range.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn enqueue_lapsed(
    tx: &Transaction<'_>,
    run_id: i64,
    at: Timestamp,
    ids: &mut Ids,
    lapses: impl IntoIterator<Item = Lapse>,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO outbox (event_id, type, customer_id, run_id, at, lapsed_days) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut range = None;
    for lapse in lapses {
        let kind = EventType::Lapsed;
        let seq = insert.insert(params![ids.next(), kind, lapse.customer_id, run_id, at, lapse.days])?;
        range = Some((range.map_or(seq, |(first, _)| first), seq));
    }
    Ok(range)
}

/// Rows of one statement. Of a first run with a million events, half of the time of single-row
/// statements went into starting and ending them.
const CHUNK: usize = 32;

static INSERT_ONE: LazyLock<String> = LazyLock::new(|| statement(1));
static INSERT_CHUNK: LazyLock<String> = LazyLock::new(|| statement(CHUNK));

/// OR FAIL: nothing is kept aside to undo the statement alone, since the caller undoes the transaction.
/// Parameters of every row: `?1` type, `?2` run, `?3` instant; then eight of each.
fn statement(rows: usize) -> String {
    let values = (0..rows).map(|row| {
        let [id, customer, old, new, cause, r, f, m] = std::array::from_fn(|place| 4 + row * 8 + place);
        format!("(?{id}, ?1, ?{customer}, ?2, ?{old}, ?{new}, ?{cause}, ?{r}, ?{f}, ?{m}, ?3)")
    });
    let values = values.collect::<Vec<_>>().join(", ");
    format!(
        "INSERT OR FAIL INTO outbox (event_id, type, customer_id, run_id, old_segment, new_segment, cause, r, f, m, at)
         VALUES {values}"
    )
}

fn insert(
    tx: &Transaction<'_>,
    statement: &str,
    run_id: i64,
    at: Timestamp,
    ids: &mut Ids,
    changes: &[SegmentChange<'_>],
) -> rusqlite::Result<()> {
    let mut insert = tx.prepare_cached(statement)?;
    insert.raw_bind_parameter(1, EventType::SegmentChanged)?;
    insert.raw_bind_parameter(2, run_id)?;
    insert.raw_bind_parameter(3, at)?;
    for (change, first) in changes.iter().zip((4..).step_by(8)) {
        insert.raw_bind_parameter(first, ids.next())?;
        insert.raw_bind_parameter(first + 1, change.customer_id)?;
        insert.raw_bind_parameter(first + 2, change.old)?;
        insert.raw_bind_parameter(first + 3, change.new)?;
        insert.raw_bind_parameter(first + 4, change.cause)?;
        let [r, f, m] = change.rfm.map_or([None; 3], |scores| scores.map(Some));
        insert.raw_bind_parameter(first + 5, r)?;
        insert.raw_bind_parameter(first + 6, f)?;
        insert.raw_bind_parameter(first + 7, m)?;
    }
    insert.raw_execute().map(drop)
}
