//! A line: the open deliveries of one customer to one destination, oldest first. Only its head has
//! `due_at` set, unless the head is held or in flight: [`AT_ITS_TURN`] until it is tried, then the
//! time of its next attempt.
//!
//! What is held as a baseline, or until the customer agrees, stands beside the line and not in it:
//! who never answers would block everything. Newer news of the same type supersede it.

use rusqlite::{CachedStatement, Transaction, params};

use super::{EventType, Hold, State};
use crate::model::Timestamp;

/// `due_at` of what was never tried: destinations take such deliveries in the order of their ids, so
/// that a clock which jumps moves nobody's news before older ones.
pub(super) const AT_ITS_TURN: Timestamp = Timestamp::from_millis(0);

/// The deliveries of one customer to one destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub destination: String,
    /// `None`: the delivery speaks of nobody or of many, and stands in no line.
    pub customer_id: Option<i64>,
}

impl Line {
    /// Makes the head due, after the one before it ended or it was released. A held head stays
    /// held.
    pub fn advance(&self, tx: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
        if self.customer_id.is_none() {
            return Ok(());
        }
        tx.prepare_cached(
            "UPDATE deliveries SET due_at = CASE state WHEN 'waiting' THEN ?4 ELSE ?3 END
             WHERE state IN ('waiting', 'retrying') AND due_at IS NULL AND id =
               (SELECT id FROM deliveries WHERE destination = ?1 AND customer_id = ?2 AND finished_at IS NULL
                  AND (hold IS NULL OR hold NOT IN ('baseline', 'consent'))
                ORDER BY id LIMIT 1)
             AND NOT EXISTS
               (SELECT 1 FROM deliveries WHERE destination = ?1 AND customer_id = ?2 AND finished_at IS NULL
                  AND (due_at IS NOT NULL OR state = 'sending'))",
        )?
        .execute(params![self.destination, self.customer_id, now, AT_ITS_TURN])?;
        Ok(())
    }

    /// Lets all but the head wait: for a delivery that came back into the line before others.
    pub fn hold_back(&self, tx: &Transaction<'_>, head: i64) -> rusqlite::Result<()> {
        tx.prepare_cached(
            "UPDATE deliveries SET due_at = NULL WHERE destination = ?1 AND customer_id = ?2 AND finished_at IS NULL
               AND due_at IS NOT NULL AND id > ?3",
        )?
        .execute(params![self.destination, self.customer_id, head])?;
        Ok(())
    }

    /// Lets `id`, which was on its way, wait if meanwhile an older one was released before it, or while another
    /// of the line is on its way: that was claimed ahead, and comes back or ends.
    pub fn give_way(&self, tx: &Transaction<'_>, id: i64, now: Timestamp) -> rusqlite::Result<()> {
        let stood_aside = tx
            .prepare_cached(
                "UPDATE deliveries SET due_at = NULL WHERE id = ?3 AND due_at IS NOT NULL AND EXISTS
                   (SELECT 1 FROM deliveries INDEXED BY deliveries_open
                     WHERE destination = ?1 AND customer_id = ?2 AND finished_at IS NULL
                      AND (id < ?3 OR state = 'sending') AND (hold IS NULL OR hold NOT IN ('baseline', 'consent')))",
            )?
            .execute(params![self.destination, self.customer_id, id])?;
        if stood_aside > 0 { self.advance(tx, now) } else { Ok(()) }
    }

    /// Ends the delivery `id` without sending it and lets the next one go.
    pub fn finish(&self, tx: &Transaction<'_>, id: i64, state: State, now: Timestamp) -> rusqlite::Result<()> {
        tx.prepare_cached("UPDATE deliveries SET state = ?2, due_at = NULL, finished_at = ?3 WHERE id = ?1")?
            .execute(params![id, state, now])?;
        self.advance(tx, now)
    }

    /// Sends the held delivery `id` after all, when it is its turn. What stands beside the line and
    /// tells older news of the same type gives way, as it does to a delivery that was never held.
    pub fn release(&self, tx: &Transaction<'_>, id: i64, now: Timestamp) -> rusqlite::Result<()> {
        tx.prepare_cached(
            "UPDATE deliveries SET state = CASE attempts WHEN 0 THEN 'waiting' ELSE 'retrying' END, hold = NULL,
               due_at = CASE WHEN customer_id IS NULL THEN CASE attempts WHEN 0 THEN ?3 ELSE ?2 END END
             WHERE id = ?1",
        )?
        .execute(params![id, now, AT_ITS_TURN])?;
        tx.prepare_cached(
            "UPDATE deliveries SET state = 'superseded', finished_at = ?4
             WHERE destination = ?1 AND customer_id = ?2 AND finished_at IS NULL AND hold IN ('baseline', 'consent')
               AND seq < (SELECT seq FROM deliveries WHERE id = ?3)
               AND (SELECT type FROM outbox WHERE outbox.seq = deliveries.seq) =
                   (SELECT type FROM outbox JOIN deliveries AS this USING (seq) WHERE this.id = ?3)",
        )?
        .execute(params![self.destination, self.customer_id, id, now])?;
        // It may stand before one that was due already.
        self.hold_back(tx, id)?;
        self.advance(tx, now)
    }
}

/// Keeps a delivery that waits until somebody decides.
pub(super) fn set_aside(tx: &Transaction<'_>, id: i64, hold: Hold) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE deliveries SET state = 'held', hold = ?2, due_at = NULL WHERE id = ?1")?
        .execute(params![id, hold])?;
    Ok(())
}

/// What is put at the end of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub seq: i64,
    pub kind: EventType,
    pub customer_id: Option<i64>,
    pub run_id: Option<i64>,
    pub message_id: [u8; 16],
    /// The message that the merchant has sent again.
    pub replay_of: Option<[u8; 16]>,
    pub place: Place<'a>,
}

/// What becomes of a new delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Send,
    Hold(Hold),
    /// Never sent, but listed, so that the numbers of a run add up. With the reason, if it is not
    /// the merchant's choice.
    Discard(Option<&'a str>),
}

/// The statements that put a delivery at the end of its line.
pub(super) struct Lines<'tx> {
    now: Timestamp,
    open: CachedStatement<'tx>,
    supersede: CachedStatement<'tx>,
    insert: CachedStatement<'tx>,
}

impl<'tx> Lines<'tx> {
    pub fn prepare(tx: &'tx Transaction<'_>, now: Timestamp) -> rusqlite::Result<Self> {
        Ok(Self {
            now,
            open: tx.prepare_cached(
                // The first row of the line tells: it may be as long as its customer's history.
                "SELECT EXISTS (SELECT 1 FROM deliveries WHERE destination = ?1 AND customer_id = ?2
                                   AND finished_at IS NULL),
                        EXISTS (SELECT 1 FROM deliveries WHERE destination = ?1 AND customer_id = ?2
                                   AND finished_at IS NULL AND (hold IS NULL OR hold NOT IN ('baseline', 'consent')))",
            )?,
            supersede: tx.prepare_cached(
                // What stands beside a line is older than most of it.
                "UPDATE deliveries SET state = 'superseded', finished_at = ?3
                 WHERE id IN (SELECT id FROM deliveries WHERE destination = ?1 AND customer_id = ?2
                                 AND finished_at IS NULL ORDER BY id LIMIT 100)
                   AND hold IN ('baseline', 'consent')
                   AND (SELECT type FROM outbox WHERE outbox.seq = deliveries.seq) = ?4",
            )?,
            insert: tx.prepare_cached(
                "INSERT INTO deliveries (message_id, destination, seq, customer_id, run_id, state, hold, due_at,
                   created_at, finished_at, replay_of, last_error)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?,
        })
    }

    pub fn append(&mut self, destination: &str, entry: &Entry<'_>) -> rusqlite::Result<()> {
        let now = self.now;
        let (state, hold, due_at, finished_at, reason) = match entry.place {
            Place::Send => {
                let due_at = self.is_free(destination, entry)?.then_some(AT_ITS_TURN);
                (State::Waiting, None, due_at, None, None)
            }
            Place::Hold(hold) => {
                if hold == Hold::Consent {
                    // Only the newest is worth sending once the customer agrees.
                    self.supersede.execute(params![destination, entry.customer_id, now, entry.kind])?;
                }
                (State::Held, Some(hold), None, None, None)
            }
            Place::Discard(reason) => (State::Discarded, None, None, Some(now), reason),
        };
        self.insert.execute(params![
            entry.message_id,
            destination,
            entry.seq,
            entry.customer_id,
            entry.run_id,
            state,
            hold,
            due_at,
            now,
            finished_at,
            entry.replay_of,
            reason
        ])?;
        Ok(())
    }

    /// Whether nothing older of this customer stands in the line. What stands beside it and tells
    /// older news of the same type is superseded; a replay is no news.
    pub fn is_free(&mut self, destination: &str, entry: &Entry<'_>) -> rusqlite::Result<bool> {
        if entry.customer_id.is_none() {
            return Ok(true); // speaks of nobody, so there is no order to keep
        }
        let (any, in_line): (bool, bool) =
            self.open.query_row(params![destination, entry.customer_id], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if any && entry.replay_of.is_none() {
            self.supersede.execute(params![destination, entry.customer_id, self.now, entry.kind])?;
        }
        Ok(!in_line)
    }
}
