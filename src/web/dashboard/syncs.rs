//! What was fetched from the shop: a card under the runs, and a notice when the last pull failed.

use rusqlite::{Connection, OptionalExtension};

use super::{App, notices::Notice, view::Moment, words};
use crate::model::Timestamp;

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

/// The latest pulls.
pub fn latest(app: &App, connection: &Connection) -> rusqlite::Result<Vec<Row>> {
    let mut statement = connection.prepare(
        "SELECT started_at, state, since, orders_read, orders_new, orders_updated, orders_deleted, orders_missed,
           coalesce(error || char(10), '') || coalesce(remarks, '')
         FROM syncs ORDER BY id DESC LIMIT ?1",
    )?;
    let rows = statement.query_map([SHOWN], |row| {
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
    })?;
    rows.collect()
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
        link: Some(("/runs".to_owned(), "What was fetched")),
    }))
}
