//! What was fetched from the shop: a page, a card under the runs, the state on the page Import, and a
//! notice when the last pull failed.

pub mod export;
mod list;

use rusqlite::{Connection, OptionalExtension};

pub use self::list::page;
use super::{
    App,
    notices::Notice,
    order,
    view::{self, Moment},
    words,
};
use crate::{
    model::Timestamp,
    sync::{
        log,
        schedule::{self, Last},
    },
};

/// Pulls on the card: two days of them.
const SHOWN: usize = 10;

/// A pull as a line of the card.
pub struct Row {
    pub started_at: Moment,
    pub tone: &'static str,
    pub state: &'static str,
    /// "all", or what changed since when.
    pub window: String,
    pub orders: String,
    pub new: String,
    pub updated: String,
    pub deleted: String,
    /// "–" where nothing could have told.
    pub missed: String,
    /// What went wrong, and what the merchant should know.
    pub note: String,
}

/// Whether, when and with what success the shop is asked.
pub struct Fetching {
    /// `None`: nothing was fetched yet.
    pub last: Option<Row>,
    /// "today at 07:30"; "at once" when it is due.
    pub next: String,
    pub every_hours: u32,
}

/// The state of fetching; `None`: there is nothing to ask the shop with.
pub fn fetching(app: &App, connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<Fetching>> {
    if !app.config.shopify.is_configured() {
        return Ok(None);
    }
    let entry = log::latest(connection)?;
    let failures = log::history(connection)?.failures;
    let last = entry.map(|entry| Last {
        state: entry.state,
        started_at: entry.started_at,
        finished_at: entry.finished_at,
        failures,
    });
    let every_hours = app.config.sync.every_hours;
    let next = schedule::next(last, every_hours, view::next_run(app, now), now);
    Ok(Some(Fetching {
        last: newest(app, connection, 1)?.pop(),
        next: if next <= now { "at once".to_owned() } else { Moment::near(app, next, now).text },
        every_hours,
    }))
}

/// The latest pulls.
pub fn latest(app: &App, connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    newest(app, connection, SHOWN)
}

fn newest(app: &App, connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Row>> {
    let places = list::Filter::default().page(connection, None, limit)?;
    rows(app, connection, &order::ids(&places))
}

/// The pulls of these ids.
fn rows(app: &App, connection: &Connection, ids: &[i64]) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare_cached(
        "SELECT started_at, state, since, orders_read, orders_new, orders_updated, orders_deleted, orders_missed,
           coalesce(error || char(10), '') || coalesce(remarks, '')
         FROM syncs WHERE id = ?1",
    )?;
    let row = |row: &rusqlite::Row<'_>| {
        let count = |index| row.get(index).map(words::count);
        let since: Option<Timestamp> = row.get(2)?;
        let state: String = row.get(1)?;
        let (state, tone) = in_words(&state);
        let note: String = row.get(8)?;
        Ok(Row {
            started_at: Moment::new(app, row.get(0)?),
            tone,
            state,
            window: since
                .map_or_else(|| "everything".to_owned(), |since| format!("since {}", Moment::new(app, since).text)),
            orders: count(3)?,
            new: count(4)?,
            updated: count(5)?,
            deleted: count(6)?,
            missed: row.get::<_, Option<i64>>(7)?.map_or_else(|| "–".to_owned(), words::count),
            note: note.trim().lines().collect::<Vec<_>>().join("; "),
        })
    };
    ids.iter().filter_map(|id| statement.query_row([id], row).optional().transpose()).collect()
}

/// The state as people say it, and its tone.
fn in_words(state: &str) -> (&'static str, &'static str) {
    match state {
        "done" => ("Done", "ok"),
        "failed" => ("Failed", "bad"),
        _ => ("Running", "warn"),
    }
}

/// Something to say when the last pull did not get to its end.
pub fn notice(app: &App, connection: &Connection) -> rusqlite::Result<Option<Notice>> {
    let latest = connection
        .query_row("SELECT state, finished_at, error FROM syncs ORDER BY id DESC LIMIT 1", [], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Option<Timestamp>>(1)?, row.get::<_, Option<String>>(2)?))
        })
        .optional()?;
    let Some((state, Some(at), Some(error))) = latest else { return Ok(None) };
    Ok((state == "failed").then(|| Notice {
        tone: "warn",
        title: "The shop could not be asked".to_owned(),
        text: format!(
            "{}: {} It is tried again by itself. At once with",
            Moment::new(app, at).text,
            words::sentence(&error)
        ),
        commands: vec!["quintile sync".to_owned()],
        link: Some(("/syncs".to_owned(), "What was fetched")),
    }))
}
