//! What the shop's messages ask of the merchant, on top of the Overview.

use rusqlite::{Connection, Row};

use super::{App, notices::Notice, words};
use crate::{model::Timestamp, outbox::Route};

/// How long the law gives for an answer.
const LEGAL_MS: i64 = 30 * Timestamp::DAY;
/// Requests of one kind that are shown one by one.
const SHOWN: i64 = 3;
/// Counted no further.
const MANY: i64 = 1000;
/// How long a refused message of a program of the merchant's own is shown.
const NEWS_MS: i64 = 7 * Timestamp::DAY;
/// A request that is not done by then has met a fault.
const LATE_MS: i64 = 60 * 60 * 1000;

/// Most urgent first.
pub fn notices(app: &App, connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Notice>> {
    let mut notices = Vec::new();
    notices.extend(late(connection, now)?);
    notices.extend(gone(app, connection, now)?);
    notices.extend(requests(app, connection, now)?);
    notices.extend(to_erase_by_hand(app, connection, now)?);
    notices.extend(quarantined(app, connection, now)?);
    Ok(notices)
}

fn notice(tone: &'static str, title: &str, text: String) -> Notice {
    Notice { tone, title: title.to_owned(), text, commands: Vec::new(), link: None }
}

/// A message with one of the topics that concern the merchant.
struct Asked {
    id: i64,
    reason: String,
    at: Timestamp,
    customer: Option<String>,
}

impl Asked {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let reason = row.get::<_, Option<String>>(1)?.unwrap_or_default();
        Ok(Self { id: row.get(0)?, reason, at: row.get(2)?, customer: row.get(3)? })
    }
}

/// The newest messages of a topic that were used, `limit` at most.
fn newest(connection: &Connection, topic: &str, since: Timestamp, limit: i64) -> rusqlite::Result<Vec<Asked>> {
    connection
        .prepare_cached(
            "SELECT id, reason, received_at,
               CASE WHEN json_valid(CAST(body AS TEXT)) THEN CAST(json_extract(CAST(body AS TEXT), '$.customer.id') AS TEXT) END
             FROM inbox INDEXED BY inbox_notices
             WHERE topic = ?1 AND topic IN ('app/uninstalled', 'customers/data_request', 'customers/redact', 'shop/redact')
               AND state = 'done' AND received_at >= ?2 ORDER BY id DESC LIMIT ?3",
        )?
        .query_map((topic, since, limit), Asked::read)?
        .collect()
}

/// The shop removed the app, or closed. Anything else that comes from it later says that it is back.
fn gone(app: &App, connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<Notice>> {
    let ever = Timestamp::from_millis(i64::MIN);
    let when = |at| words::when(at, now, app.config.shop.timezone);
    let is_back = |id: i64| {
        connection
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM inbox WHERE id > ?1 AND source = 'shopify' AND topic NOT IN
                   ('app/uninstalled', 'customers/data_request', 'customers/redact', 'shop/redact'))",
            )?
            .query_row([id], |row| row.get::<_, bool>(0))
    };
    if let Some(asked) = newest(connection, "shop/redact", ever, 1)?.first()
        && !is_back(asked.id)?
    {
        return Ok(Some(notice(
            "bad",
            "The shop asks to be forgotten",
            format!(
                "It said so {}. Nothing was deleted by that message alone: if you left the shop, stop quintile and delete {} \
                 with all files beside it before {}.",
                when(asked.at),
                app.config.database.path.display(),
                words::day(asked.at.plus_millis(LEGAL_MS), app.config.shop.timezone)
            ),
        )));
    }
    let Some(asked) = newest(connection, "app/uninstalled", ever, 1)?.into_iter().next() else { return Ok(None) };
    Ok((!is_back(asked.id)?).then(|| {
        notice(
            "bad",
            "App removed",
            format!(
                "The shop removed the app {}: it sends no more webhooks, and nothing can be pulled from it. Install the \
                 app again, or go on with files.",
                when(asked.at)
            ),
        )
    }))
}

/// Requests for data, until the time for an answer is over.
fn requests(app: &App, connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Notice>> {
    let asked = newest(connection, "customers/data_request", now.plus_millis(-LEGAL_MS), SHOWN)?;
    Ok(asked
        .into_iter()
        .map(|asked| {
            let who = asked.customer.map_or_else(|| "A customer".to_owned(), |id| format!("Customer {id} of the shop"));
            let until = words::day(asked.at.plus_millis(LEGAL_MS), app.config.shop.timezone);
            let state = words::sentence(&asked.reason);
            notice("warn", "Data requested", format!("{who} asks what is known of them; answer by {until}. {state}"))
        })
        .collect())
}

/// Erased here on the shop's request, and held by tools that cannot be told.
fn to_erase_by_hand(app: &App, connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Notice>> {
    let routes = Route::from_config(&app.config).unwrap_or_default();
    let tools: Vec<&str> =
        routes.iter().filter(|route| !route.is_told_of_erasures()).map(|route| route.name.as_str()).collect();
    if tools.is_empty() {
        return Ok(Vec::new());
    }
    let asked = newest(connection, "customers/redact", now.plus_millis(-LEGAL_MS), SHOWN)?;
    Ok(asked
        .into_iter()
        .map(|asked| {
            let who = asked.customer.map_or_else(|| "A customer".to_owned(), |id| format!("Customer {id} of the shop"));
            let when = words::when(asked.at, now, app.config.shop.timezone);
            notice(
                "warn",
                "Erase by hand",
                format!(
                    "{who} was erased here {when}. Delete them by hand in {}, which cannot be told.",
                    tools.join(", ")
                ),
            )
        })
        .collect())
}

fn late(connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<Notice>> {
    let late: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM privacy_tasks WHERE begun_at < ?1)")?
        .query_row([now.plus_millis(-LATE_MS)], |row| row.get(0))?;
    Ok(late.then(|| {
        let text = "A request about a customer's data is not done after an hour; the log says why. It is tried again by itself.";
        notice("bad", "Request not done", text.to_owned())
    }))
}

/// Messages that could not be used. Those of the shop wait to be read again; the merchant's own programs
/// were told why, and may send better ones: that is news for a while.
fn quarantined(app: &App, connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<Notice>> {
    let (of_shop, own, newest): (i64, i64, Option<Timestamp>) = connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE source <> 'api'), count(*) FILTER (WHERE source = 'api' AND received_at >= ?2),
               max(received_at) FILTER (WHERE source = 'api')
             FROM (SELECT source, received_at FROM inbox INDEXED BY inbox_quarantined
                   WHERE state = 'quarantined' ORDER BY id DESC LIMIT ?1)",
        )?
        .query_row((MANY, now.plus_millis(-NEWS_MS)), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut notices = Vec::new();
    if of_shop > 0 {
        notices.push(Notice {
            commands: ["quintile inbox --state quarantined", "quintile inbox replay --state quarantined"]
                .map(str::to_owned)
                .to_vec(),
            ..notice(
                "warn",
                &format!("{} not used", words::counted(of_shop, "message", "messages")),
                "What the shop sent could not be used and is kept. See why, and read it again once that is mended, with"
                    .to_owned(),
            )
        });
    }
    if let Some(newest) = newest.filter(|_| own > 0) {
        notices.push(Notice {
            commands: vec!["quintile inbox --source api --state quarantined".to_owned()],
            ..notice(
                "warn",
                &format!("{} refused", words::counted(own, "message", "messages")),
                format!(
                    "A program of yours sent orders in the last seven days of which none could be taken, the last time {}. It was told why each time. Why it was, say",
                    words::when(newest, now, app.config.shop.timezone)
                ),
            )
        });
    }
    Ok(notices)
}
