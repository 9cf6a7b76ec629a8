//! Looking at the queue. For readers: nothing here writes.

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::{Event, Ids, State, envelope::event_columns, msg_id};
use crate::model::{Timestamp, email_key};

/// Events with a seq above `after_seq`, ascending, `limit` at most. Wrap each in an
/// [`super::Envelope`] to print it.
///
/// # Errors
/// Those of SQLite.
pub fn events(connection: &Connection, after_seq: i64, limit: usize) -> rusqlite::Result<Vec<Event>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            event_columns!(),
            " FROM outbox o LEFT JOIN customers c ON c.id = o.customer_id
              WHERE o.seq > ?1 ORDER BY o.seq LIMIT ?2"
        ))?
        .query_map(params![after_seq, i64::try_from(limit).unwrap_or(i64::MAX)], |row| Event::from_row(row, 0))?
        .collect()
}

/// A test event that says of the customer with this e-mail what is so: it tells tools nothing new.
/// `None`: nobody has it. Of several, who bought last.
///
/// # Errors
/// Those of SQLite.
pub fn test_about(connection: &Connection, email: &str, now: Timestamp) -> rusqlite::Result<Option<Event>> {
    connection
        .prepare_cached(concat!(
            "WITH somebody AS (
               SELECT id, last_order_at FROM customers WHERE email_key = ?1 AND external_id IS NOT NULL
               UNION ALL
               SELECT id, last_order_at FROM customers WHERE email_key = ?1 AND external_id IS NULL
             ),
             o AS (
               SELECT 0 AS seq, ?2 AS event_id, 'test' AS type, ?3 AS at, NULL AS run_id,
                 s.previous_segment AS old_segment, s.segment AS new_segment, NULL AS cause, s.r, s.f, s.m,
                 NULL AS lapsed_days, p.id AS customer_id
               FROM somebody p LEFT JOIN scores s ON s.customer_id = p.id
               ORDER BY p.last_order_at DESC LIMIT 1
             )
             SELECT ",
            event_columns!(),
            " FROM o JOIN customers c ON c.id = o.customer_id"
        ))?
        .query_row(params![email_key(email), Ids::random(now).next(), now], |row| Event::from_row(row, 0))
        .optional()
}

/// One row of `quintile deliveries`. Serializes to the published names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub id: i64,
    pub message_id: String,
    pub destination: String,
    #[serde(serialize_with = "as_text")]
    #[schema(value_type = String)]
    pub state: State,
    /// Events in the message.
    pub events: i64,
    pub attempts: i64,
    /// `None`: done, held, in flight, or behind an older one of its customer. Of what was never
    /// tried, when it was queued.
    pub next_attempt_at: Option<Timestamp>,
    pub last_status: Option<i64>,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

pub(super) fn as_text<S: Serializer>(value: &impl std::fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// Which deliveries to list; the default is all of them.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub state: Option<State>,
    pub destination: Option<String>,
    /// Only ids below this one: the last id of the page before.
    pub before: Option<i64>,
    /// Only ids above this one.
    pub after: Option<i64>,
    /// Rows at most; `None`: all.
    pub limit: Option<usize>,
}

impl DeliveryFilter {
    /// What stands behind the table, `?1` being the state. The state stands in the text, not behind an OR, and
    /// its index is named: SQLite leaves it for the primary key once it knows that few are in a state.
    const fn in_state(&self) -> &'static str {
        if self.state.is_some() { "INDEXED BY deliveries_state WHERE state = ?1" } else { "WHERE ?1 IS NULL" }
    }
}

/// Deliveries among which a page of those to one destination is looked for.
const LOOKED_AT: i64 = 10_000;

/// Where a look for [`deliveries`] to one destination must end, so that it is short however few there are:
/// the id to start the next one from, itself still to be looked at. `None`: the look reaches the oldest.
///
/// # Errors
/// Those of SQLite.
pub fn end_of_look(connection: &Connection, filter: &DeliveryFilter) -> rusqlite::Result<Option<i64>> {
    if filter.destination.is_none() {
        return Ok(None);
    }
    let in_state = filter.in_state();
    connection
        .prepare_cached(&format!(
            "SELECT id FROM deliveries {in_state} AND id < ?2 ORDER BY id DESC LIMIT 1 OFFSET ?3"
        ))?
        .query_row(params![filter.state, filter.before.unwrap_or(i64::MAX), LOOKED_AT], |row| row.get(0))
        .optional()
}

/// Deliveries, newest first.
///
/// # Errors
/// Those of SQLite.
pub fn deliveries(connection: &Connection, filter: &DeliveryFilter) -> rusqlite::Result<Vec<Delivery>> {
    let in_state = filter.in_state();
    connection
        .prepare_cached(&format!(
            "SELECT id, message_id, destination, state, events, attempts, iif(due_at = 0, created_at, due_at), last_status, last_error,
               created_at, finished_at
             FROM deliveries {in_state} AND (?2 IS NULL OR destination = ?2) AND id < ?3 AND id > ?5 ORDER BY id DESC LIMIT ?4"
        ))?
        .query_map(
            params![
                filter.state,
                filter.destination,
                filter.before.unwrap_or(i64::MAX),
                filter.limit.and_then(|limit| i64::try_from(limit).ok()).unwrap_or(-1),
                filter.after.unwrap_or(i64::MIN)
            ],
            |row| {
                Ok(Delivery {
                    id: row.get(0)?,
                    message_id: msg_id(&row.get(1)?),
                    destination: row.get(2)?,
                    state: row.get(3)?,
                    events: row.get(4)?,
                    attempts: row.get(5)?,
                    next_attempt_at: row.get(6)?,
                    last_status: row.get(7)?,
                    last_error: row.get(8)?,
                    created_at: row.get(9)?,
                    finished_at: row.get(10)?,
                })
            },
        )?
        .collect()
}

/// What became of the events of one run at one destination. The numbers add up to the events that
/// the destination wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    pub destination: String,
    pub changes: i64,
    pub delivered: i64,
    /// Not ended yet, held ones included.
    pub open: i64,
    /// Of the open ones, those that wait for the merchant or a consent.
    pub held: i64,
    /// Of the open ones, those that were tried and are tried again.
    pub retrying: i64,
    pub dead: i64,
    pub superseded: i64,
    pub discarded: i64,
    /// Not all were counted.
    #[serde(skip)]
    pub more: bool,
}

impl Receipt {
    fn add(&mut self, state: State, events: i64) {
        self.changes += events;
        match state {
            State::Delivered => self.delivered += events,
            State::Dead => self.dead += events,
            State::Superseded => self.superseded += events,
            State::Discarded => self.discarded += events,
            State::Waiting | State::Sending => self.open += events,
            State::Retrying => {
                self.open += events;
                self.retrying += events;
            }
            State::Held => {
                self.open += events;
                self.held += events;
            }
        }
    }
}

/// Deliveries that the index of a run has together: to one destination, in one state, of one size.
pub type Lane = (String, State, i64);

/// What deliveries a run has, each lane once, in order. Jumps from one to the next, since each may have many.
///
/// # Errors
/// Those of SQLite.
pub fn lanes_of_run(connection: &Connection, run_id: i64) -> rusqlite::Result<Vec<Lane>> {
    // The next size, else the next state, else the next destination: in one comparison of all three the
    // index would serve the first alone.
    const NEXT: [&str; 3] = [
        "destination = ?2 AND state = ?3 AND events > ?4",
        "destination = ?2 AND state > ?3 AND ?4 IS NOT NULL",
        "destination > ?2 AND ?3 IS NOT NULL AND ?4 IS NOT NULL",
    ];
    let mut lanes: Vec<Lane> = Vec::new();
    let mut after = (String::new(), String::new(), 0);
    loop {
        let mut found: Option<Lane> = None;
        for next in NEXT {
            let sql = format!(
                "SELECT destination, state, events FROM deliveries INDEXED BY deliveries_run
                 WHERE run_id = ?1 AND {next} ORDER BY destination, state, events LIMIT 1"
            );
            let mut jump = connection.prepare_cached(&sql)?;
            let lane = jump.query_row(params![run_id, after.0, after.1, after.2], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            });
            found = lane.optional()?;
            if found.is_some() {
                break;
            }
        }
        let Some((destination, state, events)) = found else { return Ok(lanes) };
        after = (destination.clone(), state.to_string(), events);
        lanes.push((destination, state, events));
    }
}

/// The receipt of a run, by destination. An event that was sent again is one change, and counts
/// where its newest delivery stands. Of a lane at most `most` deliveries are counted.
///
/// # Errors
/// Those of SQLite.
pub fn receipt(connection: &Connection, run_id: i64, most: i64) -> rusqlite::Result<Vec<Receipt>> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_run
           WHERE run_id = ?1 AND destination = ?2 AND state = ?3 AND events = ?4 LIMIT ?5)",
    )?;
    let mut receipts: Vec<Receipt> = Vec::new();
    for (destination, state, events) in lanes_of_run(connection, run_id)? {
        let number: i64 = count.query_row(params![run_id, destination, state, events, most], |row| row.get(0))?;
        if receipts.last().is_none_or(|last| last.destination != destination) {
            receipts.push(Receipt { destination, ..Receipt::default() });
        }
        if let Some(receipt) = receipts.last_mut() {
            receipt.add(state, number * events);
            receipt.more |= number == most;
        }
    }
    // A replay is never part of a batch; what it repeats may be.
    let mut repeated = connection.prepare_cached(
        "WITH again AS MATERIALIZED (
           SELECT DISTINCT destination, seq FROM deliveries INDEXED BY deliveries_replays
            WHERE run_id = ?1 AND replay_of IS NOT NULL)
         SELECT a.destination, a.seq, d.id, d.state
           FROM again a CROSS JOIN deliveries d INDEXED BY deliveries_seq
          WHERE d.seq = a.seq AND d.destination = a.destination AND d.events = 1
         UNION ALL
         SELECT a.destination, a.seq, d.id, d.state
           FROM again a CROSS JOIN batched b INDEXED BY batched_seq CROSS JOIN deliveries d
          WHERE b.seq = a.seq AND d.id = b.delivery_id AND d.destination = a.destination AND d.events > 1
         ORDER BY 1, 2, 3 DESC",
    )?;
    let mut rows = repeated.query([run_id])?;
    let mut newest: Option<(String, i64)> = None;
    while let Some(row) = rows.next()? {
        let event = (row.get(0)?, row.get(1)?);
        if newest.as_ref() != Some(&event) {
            newest = Some(event);
        } else if let Some(receipt) = receipts.iter_mut().find(|receipt| receipt.destination == event.0) {
            receipt.add(row.get(3)?, -1);
        }
    }
    Ok(receipts)
}

/// Deliveries that have not ended, of all destinations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Open {
    /// In flight ones included.
    pub waiting: i64,
    pub retrying: i64,
    pub held: i64,
    /// Of the held ones, those that wait until their customer agrees.
    pub unconsented: i64,
}

/// Counts what has not ended.
///
/// # Errors
/// Those of SQLite.
pub fn open(connection: &Connection) -> rusqlite::Result<Open> {
    let mut count = connection.prepare_cached("SELECT count(*) FROM deliveries WHERE state = ?1")?;
    let mut of = |state: State| count.query_row([state], |row| row.get::<_, i64>(0));
    Ok(Open {
        waiting: of(State::Waiting)? + of(State::Sending)?,
        retrying: of(State::Retrying)?,
        held: of(State::Held)?,
        unconsented: connection
            .prepare_cached("SELECT count(*) FROM deliveries WHERE state = 'held' AND hold = 'consent'")?
            .query_row([], |row| row.get(0))?,
    })
}

/// Deliveries that have not ended and whose destination is not among `names`, counted by
/// destination: nobody sends them.
///
/// # Errors
/// Those of SQLite.
pub fn stranded<'a>(
    connection: &Connection,
    names: impl IntoIterator<Item = &'a str>,
) -> rusqlite::Result<Vec<(String, i64)>> {
    let names: Vec<&str> = names.into_iter().collect();
    let mut count = connection.prepare_cached(
        "SELECT destination, sum(events) FROM deliveries WHERE finished_at IS NULL GROUP BY destination",
    )?;
    let all = count.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    all.filter(|found| found.as_ref().map_or(true, |(name, _): &(String, i64)| !names.contains(&name.as_str())))
        .collect()
}
