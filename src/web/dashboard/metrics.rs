//! `GET /metrics`: what the process counted, and what the database knows at this moment.

use std::sync::Arc;

use axum::{
    extract,
    http::header,
    response::{IntoResponse, Response},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::App;
use crate::{
    backups::Kept,
    metrics::Text,
    model::Timestamp,
    outbox::{self, DestinationState, State},
    web::error::PageError,
};

const AGE: &str = "quintile_oldest_waiting_delivery_age_seconds";

/// All numbers, in the text format of Prometheus.
pub async fn metrics(extract::State(app): extract::State<Arc<App>>) -> Result<Response, PageError> {
    let now = app.clock.now();
    let names: Vec<String> = app.config.destination.iter().map(|destination| destination.name.clone()).collect();
    let mut text = app
        .readers
        .read(move |connection| {
            let mut text = Text::default();
            deliveries(connection, &mut text, &names, now)?;
            destinations(connection, &mut text, &names, now)?;
            runs(connection, &mut text)?;
            inbox(connection, &mut text)?;
            Ok(text)
        })
        .await?;
    let (database, reader) = (app.writer.condition().trouble(), Arc::clone(&app));
    let newest = tokio::task::spawn_blocking(move || reader.backups.newest(now)).await.ok().flatten();
    file(&mut text, database.is_none(), newest.as_ref(), app.backups.failure().is_some());
    app.metrics.write(&mut text);
    Ok(([(header::CONTENT_TYPE, Text::CONTENT_TYPE)], text.into_string()).into_response())
}

/// The database as a file, and its copies.
fn file(text: &mut Text, writable: bool, newest: Option<&Kept>, failed: bool) {
    text.head("quintile_database_writable", "gauge", "0 while nothing can be stored.");
    text.sample("quintile_database_writable", &[], u8::from(writable));
    text.head("quintile_last_backup_timestamp_seconds", "gauge", "When the newest verified backup was made.");
    if let Some(kept) = newest {
        text.sample("quintile_last_backup_timestamp_seconds", &[], seconds(kept.taken_at.millis()));
    }
    text.head("quintile_last_backup_size_bytes", "gauge", "How large it is.");
    if let Some(kept) = newest {
        text.sample("quintile_last_backup_size_bytes", &[], kept.bytes);
    }
    text.head("quintile_backup_failed", "gauge", "1 while the last attempt to make one, or to copy it, failed.");
    text.sample("quintile_backup_failed", &[], u8::from(failed));
}

/// Deliveries of one destination in one state, and messages in one, that are counted at most: a scrape is
/// short however many there are.
const COUNTED: i64 = 10_000;
/// The states of what has not ended.
const OPEN: [State; 4] = [State::Waiting, State::Sending, State::Retrying, State::Held];

/// Only what has not ended is counted: neither what was delivered in years nor a queue of a million is
/// walked over, and a queue that is stuck takes nothing from the numbers of another.
fn deliveries(connection: &Connection, text: &mut Text, names: &[String], now: Timestamp) -> rusqlite::Result<()> {
    text.head(
        "quintile_deliveries",
        "gauge",
        "Deliveries that have not ended, by destination and state; 10000 stands for that many or more.",
    );
    // The index of receipts has destination and state behind the run: a look for each run.
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM (
           SELECT 1 FROM deliveries INDEXED BY deliveries_run
            WHERE run_id IS NULL AND destination = ?1 AND state = ?2
            UNION ALL
           SELECT 1 FROM runs CROSS JOIN deliveries d INDEXED BY deliveries_run
            WHERE d.run_id = runs.id AND d.destination = ?1 AND d.state = ?2
            LIMIT ?3)",
    )?;
    let names = &named_or_queued(connection, names)?;
    for name in names {
        for state in OPEN {
            let count: i64 = count.query_row(params![name, state, COUNTED], |row| row.get(0))?;
            text.sample("quintile_deliveries", &[("destination", name), ("state", state.as_str())], count);
        }
    }
    text.head(
        "quintile_deliveries_open",
        "gauge",
        "Deliveries to the destination that have not ended, in all states; 10000 stands for that many or more.",
    );
    let mut open = connection.prepare_cached(
        "SELECT count(*) FROM (
           SELECT 1 FROM deliveries INDEXED BY deliveries_open
            WHERE destination = ?1 AND finished_at IS NULL LIMIT ?2)",
    )?;
    for name in names {
        let count: i64 = open.query_row(params![name, COUNTED], |row| row.get(0))?;
        text.sample("quintile_deliveries_open", &[("destination", name)], count);
    }
    text.head(
        AGE,
        "gauge",
        "How long the oldest delivery has been waiting that is neither held nor behind a held one.",
    );
    for name in names {
        if let Some(since) = oldest(connection, name)? {
            text.sample(AGE, &[("destination", name)], seconds(now.millis() - since.millis()));
        }
    }
    Ok(())
}

/// The destinations of the configuration and those that deliveries still wait for.
fn named_or_queued(connection: &Connection, names: &[String]) -> rusqlite::Result<Vec<String>> {
    let mut select = connection.prepare_cached(
        "WITH RECURSIVE queued (name) AS (
           SELECT min(destination) FROM deliveries INDEXED BY deliveries_open WHERE finished_at IS NULL
            UNION ALL
           SELECT (SELECT min(destination) FROM deliveries INDEXED BY deliveries_open
                    WHERE finished_at IS NULL AND destination > name) FROM queued WHERE name IS NOT NULL)
         SELECT name FROM queued WHERE name IS NOT NULL",
    )?;
    let mut all = names.to_vec();
    for name in select.query_map([], |row| row.get(0))? {
        let name = name?;
        if !all.contains(&name) {
            all.push(name);
        }
    }
    Ok(all)
}

/// When the oldest delivery to `name` was queued that moves by itself: of those that were never tried
/// the first in the order of the queue, of those that were tried and of those on their way the least
/// id. What waits behind another one of its customer is newer than that.
fn oldest(connection: &Connection, name: &str) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached(
            "SELECT min(created_at) FROM deliveries WHERE id IN (
               (SELECT min(id) FROM deliveries INDEXED BY deliveries_due
                 WHERE destination = ?1 AND due_at = 0),
               (SELECT min(id) FROM deliveries INDEXED BY deliveries_due
                 WHERE destination = ?1 AND due_at > 0),
               (SELECT min(id) FROM deliveries INDEXED BY deliveries_state
                 WHERE state = 'sending' AND destination = ?1))",
        )?
        .query_row([name], |row| row.get(0))
}

/// One sample per destination and state: 1 for the state it is in.
fn destinations(connection: &Connection, text: &mut Text, names: &[String], now: Timestamp) -> rusqlite::Result<()> {
    text.head("quintile_destination_state", "gauge", "1 for the state that the destination is in.");
    for name in names {
        let health = outbox::health(connection, name, now)?;
        for state in DestinationState::ALL {
            let labels = [("destination", name.as_str()), ("state", state.as_str())];
            text.sample("quintile_destination_state", &labels, u8::from(*state == health.state));
        }
    }
    Ok(())
}

fn runs(connection: &Connection, text: &mut Text) -> rusqlite::Result<()> {
    text.head("quintile_runs_total", "gauge", "Scoring runs, by the state they are in.");
    let mut states = connection.prepare_cached("SELECT state, count(*) FROM runs GROUP BY state")?;
    let mut rows = states.query([])?;
    while let Some(row) = rows.next()? {
        text.sample("quintile_runs_total", &[("state", &row.get::<_, String>(0)?)], row.get::<_, i64>(1)?);
    }
    let last: Option<(Timestamp, i64, i64)> = connection
        .prepare_cached(
            "SELECT finished_at, coalesce(score_ms, 0) + coalesce(emit_ms, 0), changed FROM runs
             WHERE state = 'done' AND trigger <> 'backfill' ORDER BY id DESC LIMIT 1",
        )?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let last = last.map(|(at, took, changed)| (seconds(at.millis()), seconds(took), changed));
    for (name, help, value) in [
        ("quintile_last_run_timestamp_seconds", "When the last run was done.", last.map(|(at, ..)| at)),
        ("quintile_last_run_duration_seconds", "How long it took.", last.map(|(_, took, _)| took)),
    ] {
        text.head(name, "gauge", help);
        if let Some(value) = value {
            text.sample(name, &[], value);
        }
    }
    text.head("quintile_last_run_changes", "gauge", "Customers whose segment it changed.");
    if let Some((.., changed)) = last {
        text.sample("quintile_last_run_changes", &[], changed);
    }
    Ok(())
}

fn inbox(connection: &Connection, text: &mut Text) -> rusqlite::Result<()> {
    text.head(
        "quintile_inbox",
        "gauge",
        "Messages received from the shop, by what became of them; 10000 stands for that many or more.",
    );
    let mut count = connection.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM inbox INDEXED BY inbox_state WHERE state = ?1 LIMIT ?2)",
    )?;
    for state in ["done", "stale", "ignored", "quarantined"] {
        let number: i64 = count.query_row(params![state, COUNTED], |row| row.get(0))?;
        text.sample("quintile_inbox", &[("state", state)], number);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 285,000 years")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
