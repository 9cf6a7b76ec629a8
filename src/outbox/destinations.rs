//! The stored state of each destination, and the merchant's pause and resume.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{DestinationState, Health, Hold, Ids, State, batch, line::Line};
use crate::{db::Writer, model::Timestamp};

/// How `name` fares; a destination without a row is active.
///
/// # Errors
/// Those of SQLite.
pub fn health(connection: &Connection, name: &str, now: Timestamp) -> rusqlite::Result<Health> {
    let found = connection
        .prepare_cached(
            "SELECT state, reason, since, failures, failing_since, probes, probe_at, wait_until, batch_limit
             FROM destinations WHERE name = ?1",
        )?
        .query_row([name], read)
        .optional()?;
    Ok(found.map_or_else(|| Health::new(now), |health| health.plausible(now)))
}

fn read(row: &Row<'_>) -> rusqlite::Result<Health> {
    Ok(Health {
        state: row.get(0)?,
        reason: row.get(1)?,
        since: row.get(2)?,
        failures: row.get(3)?,
        failing_since: row.get(4)?,
        probes: row.get(5)?,
        probe_at: row.get(6)?,
        wait_until: row.get(7)?,
        batch_limit: row.get(8)?,
    })
}

fn store(tx: &Transaction<'_>, name: &str, health: &Health) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO destinations (name, state, reason, since, failures, failing_since, probes, probe_at,
           wait_until, batch_limit)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (name) DO UPDATE SET state = excluded.state, reason = excluded.reason, since = excluded.since,
           failures = excluded.failures, failing_since = excluded.failing_since, probes = excluded.probes,
           probe_at = excluded.probe_at, wait_until = excluded.wait_until, batch_limit = excluded.batch_limit",
    )?
    .execute(params![
        name,
        health.state,
        health.reason,
        health.since,
        health.failures,
        health.failing_since,
        health.probes,
        health.probe_at,
        health.wait_until,
        health.batch_limit
    ])?;
    Ok(())
}

/// How destinations fare while a group of settlements is recorded: read once, written once.
#[derive(Default)]
pub(super) struct Wards(Vec<Ward>);

struct Ward {
    name: String,
    stored: Health,
    now: Health,
}

impl Wards {
    /// How `name` fares by now, to be changed.
    pub fn of(&mut self, tx: &Transaction<'_>, name: &str, now: Timestamp) -> rusqlite::Result<&mut Health> {
        let known = self.0.iter().position(|ward| ward.name == name);
        let place = known.unwrap_or(self.0.len());
        if known.is_none() {
            let stored = health(tx, name, now)?;
            self.0.push(Ward { name: name.to_owned(), now: stored.clone(), stored });
        }
        Ok(&mut self.0[place].now)
    }

    /// Stores what changed; returns the destinations that entered another state, with the state
    /// before and after.
    pub fn store(self, tx: &Transaction<'_>) -> rusqlite::Result<Vec<(String, Health, Health)>> {
        let mut turned = Vec::new();
        for Ward { name, stored, now } in self.0 {
            if now != stored {
                store(tx, &name, &now)?;
            }
            if now.state != stored.state {
                turned.push((name, stored, now));
            }
        }
        Ok(turned)
    }
}

/// The merchant stops a destination: its queue is held.
///
/// # Errors
/// Those of SQLite.
pub fn pause(tx: &Transaction<'_>, name: &str, now: Timestamp) -> rusqlite::Result<()> {
    let mut health = health(tx, name, now)?;
    health.enter(DestinationState::Paused, Some("paused by hand"), now);
    store(tx, name, &health)
}

/// What is sent of the queue of a destination that is resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// Everything, in order.
    All,
    /// Of each customer the newest alone; older ones become `superseded`.
    Latest,
    /// Nothing: it becomes `discarded`.
    None,
}

/// Where the next slice of a queue begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    batches: Batches,
    /// In the line of this customer; `None`: among those that stand in no line, which come first.
    customer_id: Option<i64>,
    /// The last id looked at there.
    id: i64,
}

/// What was done to the batches of a queue, whose customers' newest is asked for one by one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Batches {
    /// Those that were never sent are being taken apart.
    #[default]
    Unsent,
    /// Of those that were tried, the ones that hold old news, or whose news make others old. The rest
    /// stay as they are: sent again, they have the same id and bytes.
    Tried,
    Done,
}

/// Deliveries looked at in one transaction of [`resume`].
const SLICE: usize = 1000;

/// Sends to `name` again: prepares its queue slice by slice, then activates it. Dropped before its
/// end, it leaves the destination as it was, and can be begun again.
///
/// # Errors
/// The database could not be written; it is not sent to then.
pub async fn resume(writer: &Writer, name: &str, resume: Resume, now: Timestamp) -> anyhow::Result<()> {
    let mut position = Some(Position::default());
    while let Some(from) = position {
        let name = name.to_owned();
        let slice = writer.write(move |tx| {
            let next = prepare_resume(tx, &name, resume, from, SLICE, now)?;
            if next.is_none() {
                // Only now that the whole queue is as the merchant wants it.
                activate(tx, &name, now)?;
            }
            Ok(next)
        });
        position = slice.await?;
    }
    Ok(())
}

/// Prepares the queue of `name` for its resumption: the next `limit` of its open deliveries from
/// `position` on. Returns where to go on, `None` when all are done; then call [`activate`].
///
/// Deliveries in flight are left alone, and so are those that wait for another decision (a baseline,
/// a large run, a consent).
///
/// # Errors
/// Those of SQLite.
pub fn prepare_resume(
    tx: &Transaction<'_>,
    name: &str,
    resume: Resume,
    position: Position,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Option<Position>> {
    if resume == Resume::Latest && position.batches != Batches::Done {
        return take_batches_apart(tx, name, position, limit.div_ceil(100), now).map(Some);
    }
    let open = open_behind(tx, name, position, limit)?;
    for Open { id, customer_id, state, hold } in &open {
        let decided = match hold {
            None => matches!(state, State::Waiting | State::Retrying),
            Some(hold) => *hold == Hold::Destination,
        };
        if !decided {
            continue;
        }
        let line = Line { destination: name.to_owned(), customer_id: *customer_id };
        match resume {
            Resume::None => line.finish(tx, *id, State::Discarded, now)?,
            Resume::Latest if is_outdated(tx, *id, &line)? => line.finish(tx, *id, State::Superseded, now)?,
            Resume::All | Resume::Latest if *state == State::Held => line.release(tx, *id, now)?,
            Resume::All | Resume::Latest => {}
        }
    }
    Ok(match (open.last(), position.customer_id) {
        (Some(Open { id, customer_id, .. }), _) => Some(Position { customer_id: *customer_id, id: *id, ..position }),
        (None, None) => Some(Position { customer_id: Some(i64::MIN), id: i64::MIN, ..position }),
        (None, Some(_)) => None,
    })
}

/// A delivery that has not ended.
struct Open {
    id: i64,
    customer_id: Option<i64>,
    state: State,
    hold: Option<Hold>,
}

/// The next open deliveries of a destination, line by line: in the order of the index, so that nothing of
/// other destinations is looked at and nothing is sorted.
fn open_behind(tx: &Transaction<'_>, name: &str, position: Position, limit: usize) -> rusqlite::Result<Vec<Open>> {
    macro_rules! open_of {
        ($where:literal) => {
            concat!(
                "SELECT id, customer_id, state, hold FROM deliveries INDEXED BY deliveries_open
                 WHERE destination = ?1 AND finished_at IS NULL AND ",
                $where,
                " LIMIT ?4"
            )
        };
    }
    tx.prepare_cached(match position.customer_id {
        None => open_of!("customer_id IS ?2 AND id > ?3 ORDER BY id"),
        Some(_) => open_of!("(customer_id, id) > (?2, ?3) ORDER BY customer_id, id"),
    })?
    .query_map(params![name, position.customer_id, position.id, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok(Open { id: row.get(0)?, customer_id: row.get(1)?, state: row.get(2)?, hold: row.get(3)? })
    })?
    .collect()
}

/// The next `limit` batches, before the single deliveries are looked at.
fn take_batches_apart(
    tx: &Transaction<'_>,
    name: &str,
    position: Position,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Position> {
    let tried = position.batches == Batches::Tried;
    let batches = batch::next_batches(tx, name, tried, position.id, limit)?;
    for id in &batches {
        if !tried || batch::has_rival(tx, *id)? {
            batch::dissolve(tx, *id, &mut Ids::random(now), now)?;
        }
    }
    Ok(match (batches.last(), position.batches) {
        (Some(id), _) => Position { id: *id, ..position },
        (None, Batches::Unsent) => Position { batches: Batches::Tried, ..Position::default() },
        (None, _) => Position { batches: Batches::Done, ..Position::default() },
    })
}

/// Whether the customer has a newer delivery of the same type in the queue. One that waits for a
/// decision does not count: it may never be sent.
fn is_outdated(tx: &Transaction<'_>, id: i64, line: &Line) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "SELECT EXISTS (
           SELECT 1 FROM deliveries AS newer JOIN outbox AS told ON told.seq = newer.seq
            WHERE newer.destination = ?1 AND newer.customer_id = ?2 AND newer.finished_at IS NULL AND newer.id > ?3
              AND (newer.hold IS NULL OR newer.hold = 'destination') AND told.type = (SELECT type FROM outbox JOIN deliveries AS this USING (seq) WHERE this.id = ?3))",
    )?
    .query_row(params![line.destination, line.customer_id, id], |row| row.get(0))
}

/// Lets a destination be sent to again, whatever stopped it.
///
/// # Errors
/// Those of SQLite.
pub fn activate(tx: &Transaction<'_>, name: &str, now: Timestamp) -> rusqlite::Result<()> {
    let mut health = health(tx, name, now)?;
    health.resume(now);
    store(tx, name, &health)
}
