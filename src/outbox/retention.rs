//! What is not kept for ever: the bodies of old deliveries and what was answered to them. The rows
//! stay, so that every number of the past still adds up.

use rusqlite::{Connection, Transaction, params};

use super::State;
use crate::model::Timestamp;

/// How long the body of a delivery that needs nobody any more is kept, in days.
const DONE_DAYS: i64 = 30;
/// How long that of a dead one is, in days: somebody may still want to see why.
const DEAD_DAYS: i64 = 90;

/// The final states, and how many days each is kept.
const KEPT: [(State, i64); 4] = [
    (State::Delivered, DONE_DAYS),
    (State::Superseded, DONE_DAYS),
    (State::Discarded, DONE_DAYS),
    (State::Dead, DEAD_DAYS),
];

/// Deliveries looked at in one call: a walk over millions keeps no old state of the database, whose log
/// would grow meanwhile, and can be left between two.
const LOOK: i64 = 10_000;

/// Walks the deliveries whose time is over, from the first one each time: what was held for long
/// ends late, with an id far behind those that ended with it.
#[derive(Debug, Default)]
pub struct Expired {
    /// Index into [`KEPT`].
    state: usize,
    /// The id up to which it is looked at.
    place: i64,
}

impl Expired {
    /// The ids of the next slice to [`forget`], `limit` at most and often none; `None`: the walk is over, and
    /// the next call begins another.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn next(
        &mut self,
        connection: &Connection,
        now: Timestamp,
        limit: usize,
    ) -> rusqlite::Result<Option<Vec<i64>>> {
        let Some((state, days)) = KEPT.get(self.state) else {
            *self = Self::default();
            return Ok(None);
        };
        let until = now.plus_millis(-days * Timestamp::DAY);
        let (ids, place) = expired(connection, *state, (until, now), self.place, limit)?;
        *self = match place {
            Some(place) => Self { place, ..*self },
            None => Self { state: self.state + 1, place: 0 },
        };
        Ok(Some(ids))
    }
}

/// Deliveries in `state` that ended at `until` or before and still have their body or an answer, among the next
/// behind `place`, and where to go on. Ids ascend with `created_at`, and none ends before it is created: the first
/// that was created later ends the walk, unless that was under a wrong clock, after `now`.
fn expired(
    connection: &Connection,
    state: State,
    (until, now): (Timestamp, Timestamp),
    place: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<i64>, Option<i64>)> {
    let mut select = connection.prepare_cached(
        "SELECT id, created_at > ?3 AND created_at <= ?5,
           finished_at <= ?3
           AND (body IS NOT NULL
                OR EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id AND a.answer IS NOT NULL))
         FROM deliveries d WHERE state = ?1 AND id > ?2 ORDER BY id LIMIT ?4",
    )?;
    let mut rows = select.query(params![state, place, until, LOOK, now])?;
    let (mut ids, mut looked) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if row.get(1)? {
            return Ok((ids, None));
        }
        let id = row.get(0)?;
        looked += 1;
        if row.get::<_, Option<bool>>(2)?.unwrap_or(false) {
            ids.push(id);
        }
        if ids.len() == limit || looked == LOOK {
            return Ok((ids, Some(id)));
        }
    }
    Ok((ids, None))
}

/// Forgets the body of each delivery in `ids`, and the answers to it. One that came to life again
/// since it was found keeps both. Returns how many were forgotten.
///
/// # Errors
/// Those of SQLite.
pub fn forget(tx: &Transaction<'_>, ids: &[i64]) -> rusqlite::Result<usize> {
    let mut body = tx.prepare_cached("UPDATE deliveries SET body = NULL WHERE id = ?1 AND finished_at IS NOT NULL")?;
    let mut answers =
        tx.prepare_cached("UPDATE attempts SET answer = NULL WHERE delivery_id = ?1 AND answer IS NOT NULL")?;
    let mut forgotten = 0;
    for id in ids {
        if body.execute([id])? > 0 {
            answers.execute([id])?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}
