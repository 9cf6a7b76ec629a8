//! What the merchant may do with deliveries: send held ones, drop open ones, try failed ones now,
//! send finished ones again.

use rusqlite::{Connection, OptionalExtension, Params, ToSql, Transaction, params};

use super::{
    Hold, Ids, State,
    batch::dissolve,
    line::{Entry, Line, Lines, Place, set_aside},
};
use crate::model::Timestamp;

/// Which deliveries are meant: those that all of the named conditions hold for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub delivery_id: Option<i64>,
    /// One of [`Action::states`]; `None`: [`Action::usual_states`].
    pub state: Option<State>,
    /// Only those that are held for this reason.
    pub hold: Option<Hold>,
    pub run_id: Option<i64>,
    pub destination: Option<String>,
    /// The new segment of an event in it.
    pub segment: Option<String>,
    pub customer_id: Option<i64>,
    /// Queued at or after this.
    pub since: Option<Timestamp>,
    /// Queued before this.
    pub until: Option<Timestamp>,
    /// Nothing has happened to it by itself since then: neither queued nor tried nor ended. What a
    /// question was asked about and has not been overtaken.
    pub untouched_since: Option<Timestamp>,
    /// Sent again only if this is the newest delivery that sends the same again, 0 for none: whoever
    /// presses a button twice means it once.
    pub newest_replay: Option<i64>,
}

/// What is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Held ones are sent, each after the older ones of its customer. What waits for a consent is
    /// not the merchant's to release.
    Release,
    /// Open ones are never sent; what waits behind them goes out.
    Discard,
    /// Those that wait for their next attempt are tried now; dead ones are sent again as new
    /// messages.
    Retry,
    /// Finished ones are sent again: the same events in new messages.
    Replay,
}

impl Action {
    /// What it can act on.
    #[must_use]
    pub const fn states(self) -> &'static [State] {
        match self {
            Self::Release => &[State::Held],
            Self::Discard => &[State::Held, State::Waiting, State::Retrying],
            Self::Retry => &[State::Retrying, State::Dead],
            Self::Replay => &[State::Dead, State::Delivered, State::Superseded, State::Discarded],
        }
    }

    /// What it acts on when nothing is said: for a discard what is held, for a replay what failed.
    #[must_use]
    pub const fn usual_states(self) -> &'static [State] {
        match self {
            Self::Release | Self::Discard => &[State::Held],
            Self::Retry => &[State::Retrying, State::Dead],
            Self::Replay => &[State::Dead],
        }
    }

    fn states_of(self, filter: &Filter) -> Vec<State> {
        match filter.state {
            Some(state) => self.states().iter().copied().filter(|known| *known == state).collect(),
            None => self.usual_states().to_vec(),
        }
    }
}

/// Where the next slice begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cursor {
    /// Index into the states that are acted on.
    state: usize,
    /// The last id done.
    id: i64,
    /// The newest there was at the beginning: what is made or delivered meanwhile is not meant.
    newest: Option<i64>,
}

/// Deliveries of a state that one statement looks through, however few of them are meant.
const LOOK: i64 = 10_000;

/// Behind `deliveries d INDEXED BY deliveries_state`, which SQLite leaves for the primary key once it knows
/// that few are in a state. `?1` to `?10`: state, the id before the first, and the parts of a [`Filter`]. In
/// this form the index gives the rows in the order of ids, up to the id `?14`. A batch is meant when one of its events is.
/// `?11`: a hold that is not meant; `?12`, of [`count_up_to`]: what is done to a batch is done to it as a
/// whole, or event by event without taking it apart; `?13`: nothing happened to it since.
macro_rules! matching {
    () => {
        "d.state = ?1 AND d.id > ?2 AND d.id <= ?14 AND (?3 IS NULL OR d.id = ?3) AND (?4 IS NULL OR d.destination = ?4)
         AND (?5 IS NULL OR d.run_id = ?5) AND (?6 IS NULL OR d.hold = ?6)
         AND (?7 IS NULL OR d.created_at >= ?7) AND (?8 IS NULL OR d.created_at < ?8)
         AND ((?9 IS NULL AND ?10 IS NULL)
           OR (d.events = 1 AND EXISTS (SELECT 1 FROM outbox o WHERE o.seq = d.seq AND (?9 IS NULL OR o.new_segment = ?9)
                        AND (?10 IS NULL OR o.customer_id = ?10)))
           OR (d.events > 1 AND EXISTS (
                SELECT 1 FROM batched b JOIN outbox o ON o.seq = b.seq
                 WHERE b.delivery_id = d.id AND (?9 IS NULL OR o.new_segment = ?9)
                   AND (?10 IS NULL OR o.customer_id = ?10))))
         AND (?11 IS NULL OR d.hold IS NOT ?11)
         AND (?13 IS NULL OR (d.created_at < ?13 AND (d.finished_at IS NULL OR d.finished_at < ?13)
           AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.delivery_id = d.id
                             AND a.started_at + coalesce(a.duration_ms, 0) >= ?13)))"
    };
}

impl Filter {
    /// It looks at single events.
    const fn is_of_events(&self) -> bool {
        self.segment.is_some() || self.customer_id.is_some()
    }

    /// Behind which id, and up to which, a delivery may be meant: of one alone nothing else is looked at.
    fn range(&self, after: i64, newest: i64) -> (i64, i64) {
        self.delivery_id.map_or((after, newest), |id| (after.max(id.saturating_sub(1)), newest.min(id)))
    }

    fn params(&self, action: Action, state: State, after: i64) -> [Box<dyn ToSql>; 13] {
        [
            Box::new(state),
            Box::new(after),
            Box::new(self.delivery_id),
            Box::new(self.destination.clone()),
            Box::new(self.run_id),
            Box::new(self.hold),
            Box::new(self.since),
            Box::new(self.until),
            Box::new(self.segment.clone()),
            Box::new(self.customer_id),
            Box::new((action == Action::Release).then_some(Hold::Consent)),
            Box::new(matches!(action, Action::Retry | Action::Replay)),
            Box::new(self.untouched_since),
        ]
    }
}

/// The id that a look of `LOOK` deliveries behind `after` ends with; `None`: there are not so many.
pub(super) fn end_of_look(connection: &Connection, state: State, after: i64) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT id FROM deliveries INDEXED BY deliveries_state
             WHERE state = ?1 AND id > ?2 ORDER BY id LIMIT 1 OFFSET ?3",
        )?
        .query_row(params![state, after, LOOK - 1], |row| row.get(0))
        .optional()
}

/// How many deliveries the action would act on.
///
/// # Errors
/// Those of SQLite.
pub fn count_matching(connection: &Connection, action: Action, filter: &Filter) -> rusqlite::Result<i64> {
    count(connection, action, filter, i64::MAX, &|_| Ok(i64::MAX))
}

/// [`count_matching`] that stops when it has found `most` in a state, or has looked at `LOOK` there: then
/// there may be more. Returns whether it looked at all as well.
///
/// # Errors
/// Those of SQLite.
pub fn count_up_to(
    connection: &Connection,
    action: Action,
    filter: &Filter,
    most: i64,
) -> rusqlite::Result<(i64, bool)> {
    let all = std::cell::Cell::new(true);
    let number = count(connection, action, filter, most, &|state| {
        let end = if filter.delivery_id.is_some() { None } else { end_of_look(connection, state, 0)? };
        all.set(all.get() && end.is_none());
        Ok(end.unwrap_or(i64::MAX))
    })?;
    Ok((number, all.get()))
}

/// `end`: the last id to look at in a state.
fn count(
    connection: &Connection,
    action: Action,
    filter: &Filter,
    most: i64,
    end: &dyn Fn(State) -> rusqlite::Result<i64>,
) -> rusqlite::Result<i64> {
    let mut count = connection.prepare_cached(concat!(
        "SELECT coalesce(sum(n), 0) FROM (
         SELECT CASE WHEN NOT ?12 AND d.events > 1 AND coalesce(?9, ?10) IS NOT NULL THEN
             (SELECT count(*) FROM batched b JOIN outbox o ON o.seq = b.seq
               WHERE b.delivery_id = d.id AND (?9 IS NULL OR o.new_segment = ?9)
                 AND (?10 IS NULL OR o.customer_id = ?10))
           ELSE 1 END AS n
         FROM deliveries d INDEXED BY deliveries_state WHERE ",
        matching!(),
        " LIMIT ?15)"
    ))?;
    action.states_of(filter).into_iter().try_fold(0, |sum, state| {
        let (after, last) = filter.range(0, end(state)?);
        let found: i64 =
            count.query_row(all_and(&filter.params(action, state, after), &[last, most]), |row| row.get(0))?;
        Ok(sum + found)
    })
}

/// Acts on up to `limit` deliveries from `cursor` on, among the next `LOOK`. Returns how many it was and where
/// to go on, `None` when all are done.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn act(
    tx: &Transaction<'_>,
    action: Action,
    filter: &Filter,
    cursor: Cursor,
    limit: usize,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<(usize, Option<Cursor>)> {
    let Some(state) = action.states_of(filter).get(cursor.state).copied() else { return Ok((0, None)) };
    let newest = match cursor.newest {
        Some(newest) => newest,
        None => tx.query_row("SELECT coalesce(max(id), 0) FROM deliveries", [], |row| row.get(0))?,
    };
    let cursor = Cursor { newest: Some(newest), ..cursor };
    let (after, last) = filter.range(cursor.id, newest);
    let end = match filter.delivery_id {
        Some(_) => None,
        None => end_of_look(tx, state, after)?.filter(|end| *end < last),
    };
    let matched = tx
        .prepare_cached(concat!(
            "SELECT d.id, d.destination, d.customer_id, d.message_id, d.events > 1 FROM deliveries d INDEXED BY deliveries_state WHERE ",
            matching!(),
            " ORDER BY d.id LIMIT ?15"
        ))?
        .query_map(
            all_and(
                &filter.params(action, state, after),
                &[end.unwrap_or(last), i64::try_from(limit).unwrap_or(i64::MAX)],
            ),
            |row| {
                Ok(Matched {
                    id: row.get(0)?,
                    line: Line { destination: row.get(1)?, customer_id: row.get(2)? },
                    message_id: row.get(3)?,
                    is_batch: row.get(4)?,
                })
            },
        )?
        .collect::<Result<Vec<_>, _>>()?;
    let (mut done, mut reached) = (0, None);
    for one in &matched {
        reached = Some(one.id);
        done += match (action, state) {
            (Action::Discard | Action::Release, _) if one.is_batch && filter.is_of_events() => {
                act_on_part(tx, one, (action, state), filter, ids, now)?
            }
            _ => act_on(tx, one, (action, state), filter, ids, now)?,
        };
        if done >= limit {
            break;
        }
    }
    let next = match reached.or(end) {
        Some(id) => Cursor { id, ..cursor },
        None => Cursor { state: cursor.state + 1, id: 0, ..cursor },
    };
    Ok((done, (next.state < action.states_of(filter).len()).then_some(next)))
}

/// Returns how many it was: 0 for what was overtaken.
fn act_on(
    tx: &Transaction<'_>,
    one: &Matched,
    (action, state): (Action, State),
    filter: &Filter,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    match (action, state) {
        (Action::Release, _) => one.line.release(tx, one.id, now)?,
        (Action::Discard, _) => one.line.finish(tx, one.id, State::Discarded, now)?,
        (Action::Retry, State::Retrying) => hurry(tx, one, now)?,
        (Action::Retry | Action::Replay, _) => {
            if let Some(seen) = filter.newest_replay
                && newest_replay(tx, one.id)?.unwrap_or(0) != seen
            {
                return Ok(0);
            }
            replay(tx, one, filter, ids, now)?;
        }
    }
    Ok(1)
}

/// The newest delivery that sends the events of the delivery `id` again.
///
/// # Errors
/// Those of SQLite.
pub fn newest_replay(connection: &Connection, id: i64) -> rusqlite::Result<Option<i64>> {
    let delivery = connection
        .prepare_cached("SELECT seq, message_id FROM deliveries WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((seq, message_id)): Option<(i64, [u8; 16])> = delivery else { return Ok(None) };
    connection
        .prepare_cached(
            "SELECT max(id) FROM deliveries WHERE replay_of = ?3
               AND seq IN (SELECT ?1 UNION ALL SELECT seq FROM batched WHERE delivery_id = ?2)",
        )?
        .query_row(params![seq, id, message_id], |row| row.get(0))
}

/// Takes a batch apart, and releases or discards those of its events that are meant; the others stay
/// held if the batch was, and else go out alone or in new batches. Returns how many were meant.
///
/// Were it tried and the answer lost, its receiver may see the others again, in messages with other
/// ids, and knows them by the ids of the events.
fn act_on_part(
    tx: &Transaction<'_>,
    batch: &Matched,
    (action, state): (Action, State),
    filter: &Filter,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    let mut is_meant = tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM outbox
           WHERE seq = ?1 AND (?2 IS NULL OR new_segment = ?2) AND (?3 IS NULL OR customer_id = ?3))",
    )?;
    let hold: Option<Hold> =
        tx.prepare_cached("SELECT hold FROM deliveries WHERE id = ?1")?.query_row([batch.id], |row| row.get(0))?;
    let mut meant = 0;
    for member in dissolve(tx, batch.id, ids, now)? {
        if is_meant.query_row(params![member.seq, filter.segment, filter.customer_id], |row| row.get(0))? {
            let line = Line { destination: batch.line.destination.clone(), customer_id: member.customer_id };
            let part = Matched { id: member.id, line, is_batch: false, ..*batch };
            act_on(tx, &part, (action, state), filter, ids, now)?;
            meant += 1;
        } else if let Some(hold) = hold {
            set_aside(tx, member.id, hold)?;
        }
    }
    Ok(meant)
}

struct Matched {
    id: i64,
    line: Line,
    message_id: [u8; 16],
    is_batch: bool,
}

fn all_and<'a>(parts: &'a [Box<dyn ToSql>; 13], more: &'a [i64]) -> impl Params + 'a {
    rusqlite::params_from_iter(parts.iter().map(|part| part as &dyn ToSql).chain(more.iter().map(|n| n as &dyn ToSql)))
}

/// Due now, if it is the head of its line; a destination that is failing is tried now.
fn hurry(tx: &Transaction<'_>, one: &Matched, now: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE deliveries SET due_at = ?2 WHERE id = ?1 AND due_at > ?2")?
        .execute(params![one.id, now])?;
    tx.prepare_cached(
        "UPDATE destinations SET probe_at = min(probe_at, ?2), wait_until = NULL
         WHERE name = ?1 AND (probe_at > ?2 OR wait_until > ?2)",
    )?
    .execute(params![one.line.destination, now])?;
    Ok(())
}

/// Each of its events that is meant as a delivery of its own, at the end of its line. What was
/// given up is superseded by it.
fn replay(tx: &Transaction<'_>, one: &Matched, filter: &Filter, ids: &mut Ids, now: Timestamp) -> rusqlite::Result<()> {
    let mut events = tx.prepare_cached(
        "SELECT o.seq, o.customer_id, o.run_id, o.type FROM outbox o
         WHERE o.seq IN (SELECT seq FROM batched WHERE delivery_id = ?1
                          UNION ALL SELECT seq FROM deliveries WHERE id = ?1 AND events = 1)
           AND (?2 IS NULL OR o.new_segment = ?2) AND (?3 IS NULL OR o.customer_id = ?3) ORDER BY o.seq",
    )?;
    let mut lines = Lines::prepare(tx, now)?;
    let mut rows = events.query(params![one.id, filter.segment, filter.customer_id])?;
    let mut replayed = 0;
    while let Some(row) = rows.next()? {
        replayed += 1;
        lines.append(
            &one.line.destination,
            &Entry {
                seq: row.get(0)?,
                kind: row.get(3)?,
                customer_id: row.get(1)?,
                run_id: row.get(2)?,
                message_id: ids.next(),
                replay_of: Some(one.message_id),
                place: Place::Send,
            },
        )?;
    }
    // A batch of which only some events are sent again stays in sight.
    tx.prepare_cached("UPDATE deliveries SET state = 'superseded' WHERE id = ?1 AND state = 'dead' AND events = ?2")?
        .execute(params![one.id, replayed])?;
    Ok(())
}
