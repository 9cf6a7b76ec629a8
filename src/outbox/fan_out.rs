//! Events become deliveries, slice by slice, so that a large run never holds the writer for long.

use rusqlite::{Transaction, params};

use super::{
    Cause, EventType, Hold, Ids, Route,
    line::{Entry, Lines, Place},
    route::{Candidate, Consent},
};
use crate::model::{Money, Timestamp};

/// What becomes of the deliveries of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    Send,
    /// The baseline: destinations that can take it without starting anything get it, at others it
    /// waits for the merchant.
    Quiet,
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
    let mut select = tx.prepare_cached(
        "SELECT o.seq, o.type, o.customer_id, o.run_id, o.old_segment, o.new_segment, o.cause, c.total_spent,
           c.email, c.consent
         FROM outbox o LEFT JOIN customers c ON c.id = o.customer_id
         WHERE o.seq > ?1 AND o.seq <= ?2 ORDER BY o.seq LIMIT ?3",
    )?;
    let mut lines = Lines::prepare(tx, now)?;
    let mut rows = select.query(params![slice.after, slice.last, i64::try_from(slice.limit).unwrap_or(i64::MAX)])?;
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
        let (email, consent) = (row.get_ref("email")?.as_str_or_null()?, row.get_ref("consent")?.as_str_or_null()?);
        for route in routes.iter().filter(|route| route.wants(&candidate)) {
            let place = match route.consent(email, consent) {
                Consent::Refused(reason) => Place::Discard(Some(reason)),
                consent => match (slice.disposition, consent) {
                    (Disposition::Discard, _) => Place::Discard(None),
                    (Disposition::Hold(hold), _) => Place::Hold(hold),
                    (Disposition::Quiet, _) if !route.can_be_quiet => Place::Hold(Hold::Baseline),
                    (_, Consent::Unknown) => Place::Hold(Hold::Consent),
                    (Disposition::Quiet | Disposition::Send, _) => Place::Send,
                },
            };
            let entry = Entry { seq, customer_id, run_id, message_id: ids.next(), replay_of: None, place };
            lines.append(&route.name, &entry)?;
        }
        done = Some(seq);
    }
    Ok(done)
}
