//! Deliveries by the page, and how many there are. Never the whole table: two million stand in it.
//!
//! A list walks one lane after the other. Without a run, a lane is a state, in the order of its index
//! from the newest on; what a destination, segment or customer leaves out is walked over, at most
//! [`WALK`] rows a page, and the page says where it stopped. With a run, a lane is what the run's own
//! index has together: a destination, a state, a size.

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::filter::{Filter, Spot, Tab};
use crate::{
    model::Timestamp,
    outbox::{self, EventType, Hold, State},
    web::dashboard::list,
};

/// Rows of a lane that are looked at for one page.
pub const WALK: usize = 10_000;
/// Deliveries counted in a state; beyond, pages say "10,000+".
pub const COUNTED: i64 = 10_000;

/// A delivery as lists and its own page show it.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub id: i64,
    pub message_id: [u8; 16],
    pub destination: String,
    pub state: State,
    pub hold: Option<Hold>,
    pub events: i64,
    pub attempts: i64,
    /// Unix milliseconds; 0: never tried, at its turn.
    pub due_at: Option<Timestamp>,
    pub last_status: Option<i64>,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub run_id: Option<i64>,
    pub seq: i64,
    pub replay_of: Option<[u8; 16]>,
    pub kind: EventType,
    pub old: Option<String>,
    pub new: Option<String>,
    /// Of one event that is about somebody: id and name.
    pub customer: Option<(i64, String)>,
}

impl Delivery {
    pub fn by_id(connection: &Connection, id: i64) -> rusqlite::Result<Option<Self>> {
        let found = connection
            .prepare_cached(
                "SELECT d.id, d.message_id, d.destination, d.state, d.hold, d.events, d.attempts, d.due_at, d.last_status,
                   d.last_error, d.created_at, d.finished_at, d.run_id, d.seq, d.replay_of, o.type, o.old_segment,
                   o.new_segment, d.customer_id
                 FROM deliveries d JOIN outbox o ON o.seq = d.seq WHERE d.id = ?1",
            )?
            .query_row([id], |row| Ok((Self::from_row(row)?, row.get::<_, Option<i64>>(18)?)))
            .optional()?;
        let Some((mut delivery, customer)) = found else { return Ok(None) };
        if delivery.events > 1 {
            (delivery.old, delivery.new) = (None, None); // each event has its own
        }
        if let Some(id) = customer {
            delivery.customer = list::title_of(connection, id)?.map(|name| (id, name));
        }
        Ok(Some(delivery))
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            message_id: row.get(1)?,
            destination: row.get(2)?,
            state: row.get(3)?,
            hold: row.get(4)?,
            events: row.get(5)?,
            attempts: row.get(6)?,
            due_at: row.get(7)?,
            last_status: row.get(8)?,
            last_error: row.get(9)?,
            created_at: row.get(10)?,
            finished_at: row.get(11)?,
            run_id: row.get(12)?,
            seq: row.get(13)?,
            replay_of: row.get(14)?,
            kind: row.get(15)?,
            old: row.get(16)?,
            new: row.get(17)?,
            customer: None,
        })
    }
}

/// Deliveries of one page, and where the next one starts.
pub struct Page {
    pub deliveries: Vec<Delivery>,
    pub next: Option<Spot>,
    /// The walk reached its limit before the page was full; `next` goes on.
    pub stopped: bool,
}

/// Rows that an index has together, newest first.
struct Lane {
    state: State,
    /// Of a run: its destination and the events per delivery.
    of_run: Option<(String, i64)>,
}

/// One page of at most `limit` deliveries after `after`, from the next [`WALK`] rows.
pub fn page(
    connection: &Connection,
    filter: &Filter,
    tab: Tab,
    after: Option<Spot>,
    limit: usize,
) -> rusqlite::Result<Page> {
    walk(connection, filter, tab, after, (limit, WALK))
}

/// Whether any of the newest deliveries in a tab match.
pub fn any(connection: &Connection, filter: &Filter, tab: Tab) -> rusqlite::Result<bool> {
    const LOOK: usize = 1_000;
    Ok(!walk(connection, filter, tab, None, (1, LOOK))?.deliveries.is_empty())
}

/// `limit`: deliveries, and rows that are looked at for them.
fn walk(
    connection: &Connection,
    filter: &Filter,
    tab: Tab,
    after: Option<Spot>,
    (limit, most): (usize, usize),
) -> rusqlite::Result<Page> {
    let lanes = lanes(connection, filter, tab)?;
    let before_all = if filter.oldest { i64::MIN } else { i64::MAX };
    let start = after.unwrap_or(Spot { lane: 0, id: before_all });
    let (mut found, mut walked) = (Vec::new(), 0);
    let mut next = None;
    'lanes: for (index, lane) in lanes.iter().enumerate().skip(start.lane) {
        let before = if index == start.lane { start.id } else { before_all };
        let mut statement = connection.prepare_cached(&lane.sql(filter))?;
        let of_run = lane.of_run.clone().unzip();
        let mut rows = statement.query(params![
            lane.state,
            before,
            filter.run,
            lane.of_run.as_ref().map(|(destination, _)| destination).or(filter.destination.as_ref()),
            of_run.1,
            filter.segment,
            filter.customer,
            filter.hold
        ])?;
        while let Some(row) = rows.next()? {
            if found.len() > limit || walked == most {
                break 'lanes;
            }
            walked += 1;
            let id = row.get(0)?;
            next = Some(Spot { lane: index, id });
            if row.get(1)? {
                found.push(Spot { lane: index, id });
            }
        }
    }
    let full = found.len() > limit;
    let stopped = !full && walked == most;
    found.truncate(limit);
    let deliveries = found
        .iter()
        .filter_map(|spot| Delivery::by_id(connection, spot.id).transpose())
        .collect::<rusqlite::Result<_>>()?;
    let next = if full { found.last().copied() } else { next.filter(|_| stopped) };
    Ok(Page { deliveries, next, stopped })
}

impl Lane {
    /// Id, and whether it is meant. `?1` state, `?2` the id before, `?3` run, `?4` destination, `?5` events,
    /// `?6` segment, `?7` customer, `?8` hold.
    fn sql(&self, filter: &Filter) -> String {
        const MET: &str = "(?8 IS NULL OR d.hold = ?8) AND ((?6 IS NULL AND ?7 IS NULL)
              OR (d.events = 1 AND EXISTS (SELECT 1 FROM outbox o WHERE o.seq = d.seq
                    AND (?6 IS NULL OR o.new_segment = ?6) AND (?7 IS NULL OR o.customer_id = ?7)))
              OR (d.events > 1 AND EXISTS (SELECT 1 FROM batched b JOIN outbox o ON o.seq = b.seq
                    WHERE b.delivery_id = d.id AND (?6 IS NULL OR o.new_segment = ?6)
                      AND (?7 IS NULL OR o.customer_id = ?7))))";
        let (beyond, order) = if filter.oldest { (">", "ASC") } else { ("<", "DESC") };
        match (&self.of_run, filter.is_narrow()) {
            // The index alone tells.
            (None, false) => format!(
                "SELECT d.id, TRUE FROM deliveries d INDEXED BY deliveries_state
                 WHERE d.state = ?1 AND d.id {beyond} ?2 AND ?3 IS NULL AND ?4 IS NULL AND ?5 IS NULL AND ?6 IS NULL
                   AND ?7 IS NULL AND ?8 IS NULL ORDER BY d.id {order}"
            ),
            (None, true) => format!(
                "SELECT d.id, (?4 IS NULL OR d.destination = ?4) AND {MET} FROM deliveries d INDEXED BY deliveries_state
                  WHERE d.state = ?1 AND d.id {beyond} ?2 AND ?3 IS NULL AND ?5 IS NULL ORDER BY d.id {order}"
            ),
            (Some(_), _) => format!(
                "SELECT d.id, {MET} FROM deliveries d INDEXED BY deliveries_run
                  WHERE d.run_id = ?3 AND d.destination = ?4 AND d.state = ?1 AND d.events = ?5 AND d.id {beyond} ?2
                  ORDER BY d.id {order}"
            ),
        }
    }
}

fn lanes(connection: &Connection, filter: &Filter, tab: Tab) -> rusqlite::Result<Vec<Lane>> {
    let Some(run) = filter.run else {
        return Ok(tab.states().iter().map(|state| Lane { state: *state, of_run: None }).collect());
    };
    let wanted = |(destination, state, _): &outbox::Lane| {
        tab.states().contains(state) && filter.destination.as_ref().is_none_or(|name| name == destination)
    };
    let lane = |(destination, state, events): outbox::Lane| Lane { state, of_run: Some((destination, events)) };
    Ok(outbox::lanes_of_run(connection, run)?.into_iter().filter(wanted).map(lane).collect())
}

/// How many deliveries each tab has, each state up to [`COUNTED`]; in the order of [`Tab::ALL`].
pub fn counts(connection: &Connection) -> rusqlite::Result<[i64; 6]> {
    let mut counts = [0; 6];
    for (tab, sum) in Tab::ALL.into_iter().zip(&mut counts) {
        *sum = count(connection, tab)?;
    }
    Ok(counts)
}

/// How many deliveries a tab has, each state up to [`COUNTED`].
pub fn count(connection: &Connection, tab: Tab) -> rusqlite::Result<i64> {
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_state WHERE state = ?1 LIMIT ?2)",
    )?;
    tab.states().iter().map(|state| count.query_row(params![state, COUNTED], |row| row.get::<_, i64>(0))).sum()
}

/// Open deliveries of a destination, up to [`COUNTED`].
pub fn open(connection: &Connection, destination: &str) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_open
               WHERE destination = ?1 AND finished_at IS NULL LIMIT ?2)",
        )?
        .query_row(params![destination, COUNTED], |row| row.get(0))
}

/// Destinations that have open deliveries. Jumps from one to the next.
pub fn open_destinations(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut jump = connection.prepare_cached(
        "SELECT destination FROM deliveries INDEXED BY deliveries_open
         WHERE finished_at IS NULL AND destination > ?1 ORDER BY destination LIMIT 1",
    )?;
    let mut names: Vec<String> = Vec::new();
    let mut after = String::new();
    while let Some(name) = jump.query_row([&after as &dyn ToSql], |row| row.get::<_, String>(0)).optional()? {
        after.clone_from(&name);
        names.push(name);
    }
    Ok(names)
}
