//! Deliveries of the last nights and how each destination does, by covering indexes and counts
//! that stop at a limit: the queue may hold millions.

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use rusqlite::{Connection, OptionalExtension};

use super::{
    App,
    chart::{self, Column},
    statistics::{self, Run},
    words,
};
use crate::{
    db::restored_at,
    model::Timestamp,
    outbox::{self, DestinationState},
};

/// Nights in the chart.
const NIGHTS: u8 = 14;
/// Runs that may share those nights; "Score now" can make more than one a day.
const RUNS: usize = 60;
/// Changes of a run whose deliveries are counted. The first run has one for everybody, and so may one under new
/// segment rules: it would dwarf the nights, and counting it would take long.
const MANY: i64 = 100_000;
/// Open deliveries are counted up to here; beyond, the page says "2,000+".
const COUNT_LIMIT: i64 = 2_000;

/// Deliveries of one local date.
#[derive(Debug, Clone, Copy, Default)]
struct Night {
    done: i64,
    open: i64,
    dead: i64,
}

/// The chart and the same numbers as a table.
pub struct Chart {
    pub columns: Vec<Column>,
    pub first: String,
    pub summary: String,
    pub rows: Vec<ChartRow>,
}

impl Chart {
    pub fn has_open(&self) -> bool {
        self.columns.iter().any(|column| column.open.is_some())
    }

    pub fn has_dead(&self) -> bool {
        self.columns.iter().any(|column| column.bad.is_some())
    }
}

pub struct ChartRow {
    pub day: String,
    pub done: String,
    pub open: String,
    pub dead: String,
}

/// One destination's line.
pub struct Health {
    pub name: String,
    /// Class of the pill: ok, warn, bad.
    pub tone: &'static str,
    pub state: String,
    /// "next in 4 min"
    pub note: String,
    /// "187 of 187" in the last run; empty: it had nothing for it, or too much to count.
    pub last_run: String,
    pub standing: DestinationState,
    /// Why it stands so.
    pub reason: String,
    /// Deliveries to it wait for the merchant.
    pub holds: bool,
}

/// Deliveries that were given up lately.
pub struct Dead {
    pub count: String,
    pub sentence: String,
}

/// Everything the Overview says about deliveries.
pub struct Deliveries {
    /// `None`: nothing was sent in these nights.
    pub chart: Option<Chart>,
    pub destinations: Vec<Health>,
    pub dead: Option<Dead>,
    /// Deliveries that wait for the merchant.
    pub held: Option<String>,
    /// Some of them since a backup was restored.
    pub restored: bool,
}

pub fn load(app: &App, connection: &Connection, last: &Run, now: Timestamp) -> rusqlite::Result<Deliveries> {
    let open = OpenCounts::load(connection)?;
    Ok(Deliveries {
        chart: chart(app, connection, now)?,
        destinations: health(app, connection, &open, last, now)?,
        dead: dead(connection, &open, now)?,
        held: open.total("held"),
        restored: holds_restored(connection)?,
    })
}

/// Whether deliveries wait since a backup was restored. Only where one was does it look at what is
/// held, the newest first.
fn holds_restored(connection: &Connection) -> rusqlite::Result<bool> {
    if restored_at(connection)?.is_none() {
        return Ok(false);
    }
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM (SELECT hold FROM deliveries INDEXED BY deliveries_state
               WHERE state = 'held' ORDER BY id DESC LIMIT 10000) WHERE hold = 'restored')",
        )?
        .query_row([], |row| row.get(0))
}

fn chart(app: &App, connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<Chart>> {
    let zone = app.config.shop.timezone;
    let today = words::local(now, zone).date_naive();
    let Some(first) = today.checked_sub_days(Days::new(u64::from(NIGHTS) - 1)) else { return Ok(None) };
    let from = now.plus_millis(-i64::from(NIGHTS) * Timestamp::DAY);
    let mut nights: HashMap<NaiveDate, Night> = HashMap::new();
    for run in statistics::since(connection, from, RUNS)?.iter().filter(|run| is_counted(run)) {
        let night = nights.entry(words::local(run.as_of, zone).date_naive()).or_default();
        for (state, count) in states_of(connection, run.id)? {
            match state.as_str() {
                "dead" => night.dead += count,
                "delivered" | "superseded" | "discarded" => night.done += count,
                _ => night.open += count,
            }
        }
    }
    let nights: Vec<(NaiveDate, Night)> = first
        .iter_days()
        .take(NIGHTS.into())
        .map(|date| (date, nights.get(&date).copied().unwrap_or_default()))
        .collect();
    if nights.iter().all(|(_, night)| night.done + night.open + night.dead == 0) {
        return Ok(None);
    }
    let columns: Vec<[i64; 3]> = nights.iter().map(|(_, night)| [night.done, night.open, night.dead]).collect();
    Ok(Some(Chart {
        columns: chart::columns(&columns),
        first: words::short_day(first),
        summary: summary(&nights),
        rows: nights
            .iter()
            .map(|(date, night)| ChartRow {
                day: words::short_day(*date),
                done: words::count(night.done),
                open: words::count(night.open),
                dead: words::count(night.dead),
            })
            .collect(),
    }))
}

fn is_counted(run: &Run) -> bool {
    !run.baseline && run.changed <= MANY
}

/// What the chart shows, for those who do not see it.
fn summary(nights: &[(NaiveDate, Night)]) -> String {
    let mut exceptions = Vec::new();
    for (date, night) in nights {
        for (count, what) in [(night.dead, "gave up"), (night.open, "are open")] {
            if count > 0 {
                exceptions.push(format!("{} {what} from {}", words::count(count), words::short_day(*date)));
            }
        }
    }
    if exceptions.is_empty() {
        format!("Deliveries of the last {} nights. All are done.", nights.len())
    } else {
        format!("Deliveries of the last {} nights. {}; all others are done.", nights.len(), exceptions.join(", "))
    }
}

/// Grouped as the index `deliveries_run` is sorted, so that nothing is kept aside; a state comes once
/// per destination.
fn states_of(connection: &Connection, run: i64) -> rusqlite::Result<Vec<(String, i64)>> {
    connection
        .prepare_cached("SELECT state, sum(events) FROM deliveries WHERE run_id = ?1 GROUP BY destination, state")?
        .query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Deliveries in states that may need somebody, per (state, destination), each state up to
/// [`COUNT_LIMIT`].
struct OpenCounts {
    counts: HashMap<(&'static str, String), Count>,
    /// States that reached the limit.
    more: Vec<&'static str>,
}

#[derive(Clone, Copy, Default)]
struct Count {
    number: i64,
    next: Option<Timestamp>,
}

impl OpenCounts {
    fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached(
            "SELECT destination, sum(events), min(due_at), count(*)
             FROM (SELECT destination, events, due_at FROM deliveries WHERE state = ?1 ORDER BY id DESC LIMIT ?2)
             GROUP BY destination",
        )?;
        let mut found = Self { counts: HashMap::new(), more: Vec::new() };
        for state in ["waiting", "sending", "retrying", "held", "dead"] {
            let mut read = 0;
            for row in statement.query_map((state, COUNT_LIMIT), |row| {
                Ok((row.get::<_, String>(0)?, Count { number: row.get(1)?, next: row.get(2)? }, row.get::<_, i64>(3)?))
            })? {
                let (destination, count, deliveries) = row?;
                read += deliveries;
                found.counts.insert((state, destination), count);
            }
            if read >= COUNT_LIMIT {
                found.more.push(state);
            }
        }
        Ok(found)
    }

    fn of(&self, state: &'static str, destination: &str) -> Count {
        self.counts.get(&(state, destination.to_owned())).copied().unwrap_or_default()
    }

    /// "2", "2,000+"
    fn shown(&self, state: &str, number: i64) -> String {
        let plus = if self.more.contains(&state) { "+" } else { "" };
        format!("{}{plus}", words::count(number))
    }

    /// All of a state, when there are any.
    fn total(&self, state: &'static str) -> Option<String> {
        let number: i64 = self.counts.iter().filter(|(key, _)| key.0 == state).map(|(_, count)| count.number).sum();
        (number > 0).then(|| self.shown(state, number))
    }
}

fn health(
    app: &App,
    connection: &Connection,
    open: &OpenCounts,
    last: &Run,
    now: Timestamp,
) -> rusqlite::Result<Vec<Health>> {
    let mut of_run = connection.prepare_cached(
        "SELECT coalesce(sum(events), 0) FROM deliveries WHERE run_id = ?1 AND destination = ?2 AND state = ?3",
    )?;
    let mut all_of_run = connection
        .prepare_cached("SELECT coalesce(sum(events), 0) FROM deliveries WHERE run_id = ?1 AND destination = ?2")?;
    app.config
        .destination
        .iter()
        .map(|destination| {
            let name = destination.name.as_str();
            let last_run = if is_counted(last) {
                let all: i64 = all_of_run.query_row((last.id, name), |row| row.get(0))?;
                let delivered: i64 = of_run.query_row((last.id, name, "delivered"), |row| row.get(0))?;
                if all > 0 { format!("{} of {}", words::count(delivered), words::count(all)) } else { String::new() }
            } else {
                String::new()
            };
            let health = outbox::health(connection, name, now)?;
            let (tone, state, note) = standing(&health, now).unwrap_or_else(|| verdict(open, &health, name, now));
            Ok(Health {
                name: name.to_owned(),
                tone,
                state,
                note,
                last_run,
                standing: health.state,
                reason: health.reason.unwrap_or_default(),
                holds: open.of("held", name).number > 0,
            })
        })
        .collect()
}

/// A destination that is not sent to as usual, and why.
fn standing(health: &outbox::Health, now: Timestamp) -> Option<(&'static str, String, String)> {
    let reason = health.reason.clone().unwrap_or_default();
    match health.state {
        DestinationState::Active => {
            let until = health.wait_until.filter(|until| *until > now)?;
            Some(("warn", "Asked to slow down".to_owned(), format!("next {}", words::until(until, now))))
        }
        DestinationState::Failing => {
            let next = health.probe_at.map(|at| format!(", next try {}", words::until(at, now))).unwrap_or_default();
            Some(("bad", "Failing".to_owned(), format!("{reason}{next}")))
        }
        DestinationState::Paused => Some(("warn", "Paused".to_owned(), "its queue is held".to_owned())),
        DestinationState::Disabled => Some(("bad", "Disabled".to_owned(), format!("{reason}; its queue is held"))),
    }
}

/// How a destination does: the worst there is to know, and the rest beside it.
fn verdict(open: &OpenCounts, health: &outbox::Health, name: &str, now: Timestamp) -> (&'static str, String, String) {
    let [retrying, dead, held, waiting, sending] =
        ["retrying", "dead", "held", "waiting", "sending"].map(|state| open.of(state, name));
    let next = retrying.next.map(|at| format!("next {}", words::until(at, now)));
    let going = waiting.number + sending.number;
    let worst_first = [
        ("bad", "dead", "gave up", dead.number, None),
        ("warn", "retrying", "retrying", retrying.number, next),
        ("warn", "held", "held", held.number, None),
        ("ok", "waiting", "waiting", going, None),
    ];
    let mut found = worst_first.into_iter().filter(|(.., number, _)| *number > 0);
    let said = |state, word: &str, number| format!("{} {word}", open.shown(state, number));
    let Some((tone, state, word, number, more)) = found.next() else {
        return match &health.reason {
            Some(reason) => ("warn", "Look at this".to_owned(), reason.clone()),
            None => ("ok", "Healthy".to_owned(), String::new()),
        };
    };
    let others = found.flat_map(|(_, state, word, number, more)| [Some(said(state, word, number)), more]);
    let (head, own) = if state == "waiting" {
        ("Sending".to_owned(), Some(said(state, word, number)))
    } else {
        (said(state, word, number), more)
    };
    let note: Vec<String> = [own].into_iter().chain(others).flatten().collect();
    (tone, head, note.join(", "))
}

/// What was given up in the nights of the chart, with the newest one's reason.
fn dead(connection: &Connection, open: &OpenCounts, now: Timestamp) -> rusqlite::Result<Option<Dead>> {
    let since = now.plus_millis(-i64::from(NIGHTS) * Timestamp::DAY);
    let newest = connection
        .prepare_cached(
            "SELECT destination, last_status, last_error, attempts, finished_at FROM deliveries
             WHERE state = 'dead' ORDER BY id DESC LIMIT 1",
        )?
        .query_row([], |row| {
            let sentence = dead_sentence(&row.get::<_, String>(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok((sentence, row.get::<_, Option<Timestamp>>(4)?))
        })
        .optional()?;
    Ok(newest
        .filter(|(_, finished)| finished.is_none_or(|at| at >= since))
        .and_then(|(sentence, _)| open.total("dead").map(|count| Dead { count, sentence })))
}

fn dead_sentence(destination: &str, status: Option<i64>, error: Option<String>, attempts: i64) -> String {
    let tries = words::counted(attempts, "try", "tries");
    match (status, error) {
        (_, Some(error)) if !error.is_empty() => format!("{destination}, after {tries}: {error}"),
        (Some(status), _) => format!("{destination} answered {status}, after {tries}."),
        _ => format!("{destination} did not take it, after {tries}."),
    }
}
