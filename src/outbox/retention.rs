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

/// Walks the deliveries whose time is over. One lives as long as the process, so that a walk goes
/// on where the last one stopped instead of passing everything ever sent. When forgetting failed,
/// begin with a new one.
#[derive(Debug, Default)]
pub struct Expired {
    /// One for each of [`KEPT`].
    places: [Place; 4],
}

/// How far the deliveries of one state are looked at.
#[derive(Debug, Default)]
struct Place {
    /// Everything up to this id is forgotten: the next walk begins here.
    behind: i64,
    /// Where this walk is.
    at: i64,
}

impl Expired {
    /// The ids of the next slice to [`forget`], `limit` at most; none: the walk is over, and the
    /// next call begins another.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn next(&mut self, connection: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<i64>> {
        for ((state, days), place) in KEPT.into_iter().zip(&mut self.places) {
            let ids = expired(connection, state, now.plus_millis(-days * Timestamp::DAY), place, limit)?;
            if !ids.is_empty() {
                return Ok(ids);
            }
        }
        for place in &mut self.places {
            place.at = place.behind;
        }
        Ok(Vec::new())
    }
}

/// Deliveries in `state` that ended at `until` or before and still have their body. Ids ascend with
/// `created_at`, and none ends before it is created: the first that was created later ends the walk.
fn expired(
    connection: &Connection,
    state: State,
    until: Timestamp,
    place: &mut Place,
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    let mut select = connection.prepare_cached(
        "SELECT id, created_at, finished_at, body IS NOT NULL FROM deliveries WHERE state = ?1 AND id > ?2 ORDER BY id",
    )?;
    let mut rows = select.query(params![state, place.at])?;
    let mut ids = Vec::new();
    while ids.len() < limit
        && let Some(row) = rows.next()?
    {
        let id = row.get(0)?;
        if row.get::<_, Timestamp>(1)? > until {
            break;
        }
        let over = row.get::<_, Option<Timestamp>>(2)?.is_some_and(|finished| finished <= until);
        if over && row.get(3)? {
            ids.push(id);
        }
        if over && place.behind == place.at {
            place.behind = id; // nothing before it is too young
        }
        place.at = id;
    }
    Ok(ids)
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
