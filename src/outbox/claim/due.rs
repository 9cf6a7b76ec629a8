//! Finding what a destination may be given next.

use rusqlite::{OptionalExtension, Row, params};

use super::desk::Desk;
use crate::{
    model::Timestamp,
    outbox::{Event, envelope::event_columns, line::AT_ITS_TURN},
};

/// One row of `deliveries` that can be claimed.
pub(super) struct Due {
    pub id: i64,
    pub message_id: [u8; 16],
    pub replay_of: Option<[u8; 16]>,
    pub attempts: u32,
    pub spared: u32,
    /// Events in it; more than 1: a batch, of which `event` is the last.
    pub events: usize,
    pub step: usize,
    pub due_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub body: Option<Vec<u8>>,
    pub event: Event,
}

macro_rules! due_columns {
    () => {
        concat!(
            "d.id, d.message_id, d.replay_of, d.attempts, d.spared, d.events, d.step, d.due_at, d.created_at, d.body, ",
            event_columns!()
        )
    };
}

/// `FROM` of [`due_columns`], by the named index: without statistics the planner takes another one
/// and walks over the whole queue.
macro_rules! due_from {
    ($index:literal) => {
        concat!(
            " FROM deliveries d INDEXED BY ",
            $index,
            " CROSS JOIN outbox o ON o.seq = d.seq LEFT JOIN customers c ON c.id = o.customer_id"
        )
    };
}

/// Joins `batched b`, of the batch `?1`, to `deliveries d` of the destination `?2`.
macro_rules! blocking {
    () => {
        "b.delivery_id = ?1 AND d.destination = ?2 AND d.customer_id = b.customer_id AND d.finished_at IS NULL
         AND d.id < b.row_id AND (d.hold IS NULL OR d.hold NOT IN ('baseline', 'consent'))"
    };
}

impl Due {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        const OWN_COLUMNS: usize = 10;
        Ok(Self {
            id: row.get(0)?,
            message_id: row.get(1)?,
            replay_of: row.get(2)?,
            attempts: row.get(3)?,
            spared: row.get(4)?,
            events: row.get(5)?,
            step: row.get(6)?,
            due_at: row.get(7)?,
            created_at: row.get(8)?,
            body: row.get(9)?,
            event: Event::from_row(row, OWN_COLUMNS)?,
        })
    }

    /// Never tried, so it may still go together with others.
    pub fn is_fresh(&self) -> bool {
        self.attempts == 0 && self.body.is_none() && self.replay_of.is_none()
    }

    /// Of one event; several have none.
    pub fn customer_id(&self) -> Option<i64> {
        self.event.customer.as_ref().filter(|_| self.events == 1).map(|customer| customer.id)
    }
}

/// `limit` as SQLite knows it.
fn most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

impl Desk<'_> {
    /// The next deliveries of one event that are due before `before`, `limit` at most: those whose
    /// time has come, then those that were never tried, in the order in which they were queued, then
    /// (for a probe) those whose time is to come. What was queued after the batch `behind` waits for
    /// it.
    pub(super) fn due(&self, before: Timestamp, limit: usize, behind: Option<&Due>) -> rusqlite::Result<Vec<Due>> {
        let now = self.claims.now.min(before);
        let mut found = self.due_between(AT_ITS_TURN, now, limit)?;
        found.extend(self.untried(behind, limit - found.len())?);
        found.extend(self.due_between(now, before, limit - found.len())?);
        Ok(found)
    }

    fn due_between(&self, after: Timestamp, until: Timestamp, limit: usize) -> rusqlite::Result<Vec<Due>> {
        if limit == 0 || after >= until {
            return Ok(Vec::new());
        }
        self.tx
            .prepare_cached(concat!(
                "SELECT ",
                due_columns!(),
                due_from!("deliveries_due"),
                " WHERE d.destination = ?1 AND d.due_at > ?2 AND d.due_at <= ?3 AND d.events = 1
                  ORDER BY d.due_at, d.id LIMIT ?4"
            ))?
            .query_map(params![self.route().name, after, until, most(limit)], Due::from_row)?
            .collect()
    }

    fn untried(&self, behind: Option<&Due>, limit: usize) -> rusqlite::Result<Vec<Due>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.tx
            .prepare_cached(concat!(
                "SELECT ",
                due_columns!(),
                due_from!("deliveries_due"),
                " WHERE d.destination = ?1 AND d.due_at = ?2 AND d.id < ?3 AND d.events = 1 ORDER BY d.id LIMIT ?4"
            ))?
            .query_map(
                params![self.route().name, AT_ITS_TURN, behind.map_or(i64::MAX, |batch| batch.id), most(limit)],
                Due::from_row,
            )?
            .collect()
    }

    /// The first batch that can be sent. Whichever was tried stands before those that were not.
    pub(super) fn first_batch(&self) -> rusqlite::Result<Option<Due>> {
        self.tx
            .prepare_cached(concat!(
                "SELECT ",
                due_columns!(),
                due_from!("deliveries_batches"),
                " WHERE d.destination = ?1 AND d.events > 1 AND d.finished_at IS NULL
                    AND d.state IN ('waiting', 'retrying')
                  ORDER BY d.id LIMIT 1"
            ))?
            .query_row([&self.route().name], Due::from_row)
            .optional()
    }

    /// Of the other batches that were tried, one with an older event of a customer of this one: a crash may
    /// have cut off both, and ids tell nothing of their order. A batch has the highest id of its events, so what
    /// has a higher one is not older, and is not compared with each of them.
    pub(super) fn older_batch(&self, batch: i64) -> rusqlite::Result<Option<Due>> {
        self.tx
            .prepare_cached(concat!(
                "SELECT ",
                due_columns!(),
                due_from!("deliveries_batches"),
                " WHERE d.destination = ?1 AND d.events > 1 AND d.finished_at IS NULL AND d.state = 'retrying'
                    AND d.id <> ?2 AND EXISTS
                      (SELECT 1 FROM batched older CROSS JOIN batched mine
                        WHERE older.delivery_id = d.id AND older.row_id < ?2
                          AND mine.delivery_id = ?2 AND mine.customer_id = older.customer_id
                          AND mine.row_id > older.row_id)
                  ORDER BY d.id LIMIT 1"
            ))?
            .query_row(params![self.route().name, batch], Due::from_row)
            .optional()
    }

    /// Whether there is a batch that was tried or is being sent, and that is not held.
    pub(super) fn has_tried_batch(&self) -> rusqlite::Result<bool> {
        let state: Option<String> = self
            .tx
            .prepare_cached(
                "SELECT state FROM deliveries INDEXED BY deliveries_batches
                 WHERE destination = ?1 AND events > 1 AND finished_at IS NULL AND state <> 'held'
                 ORDER BY id LIMIT 1",
            )?
            .query_row([&self.route().name], |row| row.get(0))
            .optional()?;
        Ok(state.is_some_and(|state| state != "waiting"))
    }

    /// Of the single deliveries that a batch has to wait for, the next that is due before `before`:
    /// older ones of its customers.
    pub(super) fn blocker(&self, batch: i64, before: Timestamp) -> rusqlite::Result<Option<Due>> {
        self.tx
            .prepare_cached(concat!(
                "SELECT ",
                due_columns!(),
                " FROM batched b CROSS JOIN deliveries d INDEXED BY deliveries_open
                  CROSS JOIN outbox o ON o.seq = d.seq LEFT JOIN customers c ON c.id = o.customer_id
                  WHERE ",
                blocking!(),
                " AND d.due_at <= ?3 ORDER BY d.due_at, d.id LIMIT 1"
            ))?
            .query_row(params![batch, self.route().name, before], Due::from_row)
            .optional()
    }

    /// Whether there are any, and when the next of them is due.
    pub(super) fn blocked(&self, batch: i64) -> rusqlite::Result<(bool, Option<Timestamp>)> {
        self.tx
            .prepare_cached(concat!(
                "SELECT count(*) > 0, min(d.due_at) FROM batched b CROSS JOIN deliveries d INDEXED BY deliveries_open
                  WHERE ",
                blocking!()
            ))?
            .query_row(params![batch, self.route().name], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// When the next delivery is due; one that was never tried is due since the beginning of time.
    pub(super) fn next_due(&self) -> rusqlite::Result<Option<Timestamp>> {
        self.tx
            .prepare_cached("SELECT min(due_at) FROM deliveries WHERE destination = ?1 AND due_at IS NOT NULL")?
            .query_row([&self.route().name], |row| row.get(0))
    }
}
