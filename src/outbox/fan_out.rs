//! Events become deliveries, slice by slice, so that a large run never holds the writer for long.

use rusqlite::{Rows, Transaction, params};

use super::{
    Cause, EventType, Hold, Ids, Route,
    batch::Gathering,
    destinations, has_unqueued,
    line::{Entry, Lines, Place},
    route::{Candidate, Consent, Subject, told_consent},
};
use crate::model::{Money, Timestamp};

/// What [`queue`] reads, of `outbox o LEFT JOIN customers c`.
macro_rules! candidate_columns {
    () => {
        concat!(
            "o.seq, o.type, o.customer_id, o.run_id, o.old_segment, o.new_segment, o.cause, c.total_spent, c.email, \
             c.redacted_at, ",
            told_consent!(),
            " AS consent"
        )
    };
}

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
/// `ids` name the messages; `now` is when they are queued.
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

/// Puts a delivery of each event at the end of every line that wants it. What a destination of
/// batches can be sent at once is put together here: a delivery of its own for each would cost more
/// than all the rest. Returns the last seq.
fn queue(
    tx: &Transaction<'_>,
    mut rows: Rows<'_>,
    routes: &[Route],
    disposition: Disposition,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let mut lines = Lines::prepare(tx, now)?;
    let mut gathering = Vec::with_capacity(routes.len());
    for route in routes {
        let learnt = destinations::health(tx, &route.name, now)?.batch_limit;
        gathering.push(Gathering::new(&route.name, learnt.map_or(route.batch, |learnt| learnt.min(route.batch))));
    }
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
        let subject = Subject {
            email: row.get_ref("email")?.as_str_or_null()?,
            consent: row.get_ref("consent")?.as_str_or_null()?,
            erased: row.get::<_, Option<i64>>("redacted_at")?.is_some(),
        };
        for (route, gathering) in routes.iter().zip(&mut gathering).filter(|(route, _)| route.wants(&candidate)) {
            let place = match route.consent(candidate.kind, &subject) {
                Consent::Refused(reason) => Place::Discard(Some(reason)),
                consent => match (disposition, consent) {
                    (Disposition::Discard, _) => Place::Discard(None),
                    (Disposition::Hold(hold), _) => Place::Hold(hold),
                    (Disposition::Quiet, _) if !route.can_be_quiet => Place::Hold(Hold::Baseline),
                    (_, Consent::Unknown) => Place::Hold(Hold::Consent),
                    (Disposition::Quiet | Disposition::Send, _) => Place::Send,
                },
            };
            let entry = Entry {
                seq,
                kind: candidate.kind,
                customer_id,
                run_id,
                message_id: ids.next(),
                replay_of: None,
                place,
            };
            if gathering.size > 1 && place == Place::Send && lines.is_free(&route.name, &entry)? {
                gathering.add(tx, &entry, now)?;
            } else {
                lines.append(&route.name, &entry)?;
            }
        }
        done = Some(seq);
    }
    for mut gathering in gathering {
        gathering.flush(tx, now)?;
    }
    Ok(done)
}
