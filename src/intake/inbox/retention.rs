//! What the shop sent is not kept for ever: the bodies of messages that have become something. Their rows
//! stay, so that a copy is still known as one and every count adds up; an empty body says that none is kept.

use rusqlite::{Connection, Transaction, params};

use super::State;
use crate::model::Timestamp;

/// How long a body is kept after it came, in days. That of a quarantined message waits until it is read again.
pub const KEPT_DAYS: i64 = 90;

/// Ids looked at in one call: a walk over millions keeps no old state of the database, whose log would grow
/// meanwhile, and can be left between two.
const LOOK: i64 = 10_000;

/// Bytes of the bodies in one slice, but for its last: SQLite overwrites them all, in its log first.
const BYTES: i64 = 4 * 1024 * 1024;

/// Walks the messages whose time is over, from the first one each time: what was quarantined for long is read
/// late, far behind those that came with it. A row without a body is short, so years of them are soon passed.
#[derive(Debug, Default)]
pub struct Expired {
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
        let newest: i64 = connection.query_row("SELECT coalesce(max(id), 0) FROM inbox", [], |row| row.get(0))?;
        if self.place >= newest {
            *self = Self::default();
            return Ok(None);
        }
        let (ids, place) = expired(connection, now, self.place, limit)?;
        self.place = place.unwrap_or(i64::MAX);
        Ok(Some(ids))
    }
}

/// Messages that are not quarantined, came [`KEPT_DAYS`] ago or before and still have their body, among the next
/// behind `place`, and where to go on. Ids ascend with `received_at`: the first that came later ends the walk,
/// unless that was under a wrong clock, after `now`. `length` alone does not read a body, `received_at` behind it
/// does: so it is asked only of those that have one.
fn expired(
    connection: &Connection,
    now: Timestamp,
    place: i64,
    limit: usize,
) -> rusqlite::Result<(Vec<i64>, Option<i64>)> {
    let until = now.plus_millis(-KEPT_DAYS * Timestamp::DAY);
    let last = place.saturating_add(LOOK);
    let mut select = connection.prepare_cached(
        "SELECT id, length(body), state, received_at FROM inbox
         WHERE id > ?1 AND id <= ?2 AND length(body) > 0 ORDER BY id",
    )?;
    let mut rows = select.query(params![place, last])?;
    let (mut ids, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let (id, length, state, at): (i64, i64, State, Timestamp) =
            (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        if at > until && at <= now {
            return Ok((ids, None));
        }
        if at <= until && state != State::Quarantined {
            ids.push(id);
            bytes += length;
        }
        if ids.len() == limit || bytes >= BYTES {
            return Ok((ids, Some(id)));
        }
    }
    Ok((ids, Some(last)))
}

/// Forgets the body of each message in `ids`; one that was quarantined since it was found keeps its, and so does
/// one whose copies are quarantined and have none of their own. Returns how many were forgotten.
///
/// # Errors
/// Those of SQLite.
pub fn forget(tx: &Transaction<'_>, ids: &[i64]) -> rusqlite::Result<usize> {
    let mut update = tx.prepare_cached(
        "UPDATE inbox SET body = x'' WHERE id = ?1 AND state <> 'quarantined' AND NOT EXISTS
           (SELECT 1 FROM inbox AS copy INDEXED BY inbox_body WHERE copy.body_hash = inbox.body_hash
              AND copy.topic = inbox.topic AND copy.source = inbox.source AND copy.state = 'quarantined'
              AND length(copy.body) = 0)",
    )?;
    let mut forgotten = 0;
    for id in ids {
        forgotten += update.execute([id])?;
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_435_200_000);

    fn inbox() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::db::SCHEMA).unwrap();
        connection
    }

    /// A message that came so many days ago, with a body of so many bytes.
    fn came(connection: &Connection, state: &str, days: i64, bytes: i64) {
        connection
            .prepare_cached(
                "INSERT INTO inbox (source, topic, body_hash, headers, body, state, received_at)
                 VALUES ('shopify', 'orders/create', randomblob(32), '{}', zeroblob(?1), ?2, ?3)",
            )
            .unwrap()
            .execute(params![bytes, state, NOW.plus_millis(-days * Timestamp::DAY)])
            .unwrap();
    }

    /// Forgets everything whose time is over; returns the slices.
    fn sweep(connection: &mut Connection, expired: &mut Expired, now: Timestamp, limit: usize) -> Vec<Vec<i64>> {
        let mut slices = Vec::new();
        while let Some(ids) = expired.next(connection, now, limit).unwrap() {
            let tx = connection.transaction().unwrap();
            assert_eq!(forget(&tx, &ids).unwrap(), ids.len());
            tx.commit().unwrap();
            slices.push(ids);
        }
        slices
    }

    #[test]
    fn what_became_something_is_kept_ninety_days_and_what_is_quarantined_until_it_does() {
        let (mut connection, mut expired) = (inbox(), Expired::default());
        for (state, days) in
            [("done", 91), ("quarantined", 91), ("stale", 90), ("ignored", 90), ("done", 89), ("done", 91)]
        {
            came(&connection, state, days, 10);
        }
        assert_eq!(sweep(&mut connection, &mut expired, NOW, 100), [[1, 3, 4]], "the first young one ends the walk");
        let none: [Vec<i64>; 1] = [vec![]];
        assert_eq!(sweep(&mut connection, &mut expired, NOW, 100), none);
        connection.execute("UPDATE inbox SET state = 'done' WHERE state = 'quarantined'", []).unwrap();
        let tomorrow = NOW.plus_millis(Timestamp::DAY);
        assert_eq!(sweep(&mut connection, &mut expired, tomorrow, 100), [[2, 5, 6]]);
        let left: (i64, i64) = connection
            .query_row("SELECT count(*), sum(length(body)) FROM inbox", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(left, (6, 0), "rows stay");
    }

    #[test]
    fn what_came_under_a_wrong_clock_keeps_nothing_else() {
        let mut connection = inbox();
        came(&connection, "done", -26_000, 10);
        came(&connection, "done", 100, 10);
        assert_eq!(sweep(&mut connection, &mut Expired::default(), NOW, 100), [[2]]);
    }

    #[test]
    fn many_and_large_ones_take_slices() {
        let mut connection = inbox();
        for bytes in [10, 10, 10, BYTES, 10] {
            came(&connection, "done", 100, bytes);
        }
        let slices = sweep(&mut connection, &mut Expired::default(), NOW, 2);
        assert_eq!(slices, [vec![1, 2], vec![3, 4], vec![5]]);
    }

    #[test]
    fn a_long_walk_keeps_no_old_state_of_the_database() {
        let mut connection = inbox();
        let tx = connection.transaction().unwrap();
        for _ in 0..=2 * LOOK {
            came(&tx, "done", 100, 0);
        }
        tx.commit().unwrap();
        let mut expired = Expired::default();
        let none: [Vec<i64>; 3] = Default::default();
        assert_eq!(sweep(&mut connection, &mut expired, NOW, 100), none);
    }
}
