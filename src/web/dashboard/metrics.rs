//! `GET /metrics`: what the process counted, and what the database knows at this moment.

use std::sync::Arc;

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use rusqlite::{Connection, OptionalExtension};

use super::App;
use crate::{
    metrics::Text,
    model::Timestamp,
    outbox::{self, DestinationState},
    web::error::PageError,
};

const AGE: &str = "quintile_oldest_waiting_delivery_age_seconds";

/// All numbers, in the text format of Prometheus.
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, PageError> {
    let now = app.clock.now();
    let names: Vec<String> = app.config.destination.iter().map(|destination| destination.name.clone()).collect();
    let mut text = app
        .readers
        .read(move |connection| {
            let mut text = Text::default();
            deliveries(connection, &mut text, now)?;
            destinations(connection, &mut text, &names, now)?;
            runs(connection, &mut text)?;
            inbox(connection, &mut text)?;
            Ok(text)
        })
        .await?;
    app.metrics.write(&mut text);
    Ok(([(header::CONTENT_TYPE, Text::CONTENT_TYPE)], text.into_string()).into_response())
}

/// Only what has not ended is counted: what was delivered in years is never walked over.
fn deliveries(connection: &Connection, text: &mut Text, now: Timestamp) -> rusqlite::Result<()> {
    let groups = connection
        .prepare_cached(
            "SELECT destination, state, count(*), min(created_at) FROM deliveries
             WHERE finished_at IS NULL GROUP BY destination, state",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<rusqlite::Result<Vec<(String, String, i64, Timestamp)>>>()?;

    text.head("quintile_deliveries", "gauge", "Deliveries that have not ended, by state.");
    for (destination, state, count, _) in &groups {
        text.sample("quintile_deliveries", &[("destination", destination), ("state", state)], count);
    }
    text.head(AGE, "gauge", "How long the oldest delivery that is not held has been waiting.");
    let mut waiting: Vec<(&str, Timestamp)> = Vec::new();
    for (destination, _, _, since) in groups.iter().filter(|(_, state, ..)| state != "held") {
        match waiting.last_mut() {
            Some((last, oldest)) if last == destination => *oldest = (*oldest).min(*since),
            _ => waiting.push((destination, *since)),
        }
    }
    for (destination, since) in waiting {
        text.sample(AGE, &[("destination", destination)], seconds(now.millis() - since.millis()));
    }
    Ok(())
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
    text.head("quintile_inbox", "gauge", "Messages received from the shop, by what became of them.");
    let mut states = connection.prepare_cached("SELECT state, count(*) FROM inbox GROUP BY state")?;
    let mut rows = states.query([])?;
    while let Some(row) = rows.next()? {
        text.sample("quintile_inbox", &[("state", &row.get::<_, String>(0)?)], row.get::<_, i64>(1)?);
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 285,000 years")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
