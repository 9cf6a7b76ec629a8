//! Events come in here, in the transaction that makes them true.

use rusqlite::{Transaction, params};

use super::{Cause, EventType, Ids};
use crate::model::Timestamp;

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
/// there were none. `at` becomes `eventTimestamp` of all of them.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn enqueue<'a>(
    tx: &Transaction<'_>,
    run_id: i64,
    at: Timestamp,
    ids: &mut Ids,
    changes: impl IntoIterator<Item = SegmentChange<'a>>,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO outbox (event_id, type, customer_id, run_id, old_segment, new_segment, cause, r, f, m, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let mut range = None;
    for change in changes {
        let [r, f, m] = change.rfm.map_or([None; 3], |scores| scores.map(Some));
        let seq = insert.insert(params![
            ids.next(),
            EventType::SegmentChanged,
            change.customer_id,
            run_id,
            change.old,
            change.new,
            change.cause,
            r,
            f,
            m,
            at
        ])?;
        let (first, _) = range.unwrap_or((seq, seq));
        range = Some((first, seq));
    }
    Ok(range)
}
