//! `quintile destinations list`.

use std::{collections::BTreeMap, io::Write};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    cli::{
        Context, Outcome,
        output::{Column, Format, List},
    },
    config,
    db::Database,
    outbox::{self, State},
};

const COLUMNS: &[Column] = &[
    Column::text("name", "Name"),
    Column::text("kind", "Kind"),
    Column::text("state", "State"),
    Column::number("waiting", "Waiting"),
    Column::number("retrying", "Retrying"),
    Column::number("held", "Held"),
    Column::number("delivered", "Delivered"),
    Column::number("dead", "Dead"),
    Column::text("reason", "Reason"),
    Column::hidden("since"),
    Column::hidden("nextProbeAt"),
    Column::hidden("waitUntil"),
    Column::hidden("batchLimit"),
];

pub fn run(context: &Context, format: Format) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let mut connection = readers.get()?;
    let snapshot = connection.transaction()?;
    let counts = counts(&snapshot)?;
    let mut list = List::to_stdout(format, COLUMNS, "No destinations; add a [[destination]] to config.toml.")?;
    for destination in &context.config.destination {
        list.row(&row(&snapshot, context, destination, &counts)?)?;
    }
    list.finish()?;
    Ok(Outcome::Done)
}

/// After a change: the sentence for people, the destination as it is now for programs.
pub fn say(
    context: &Context,
    database: &Database,
    name: &str,
    format: Format,
    sentence: &str,
) -> anyhow::Result<Outcome> {
    if format == Format::Table {
        writeln!(std::io::stdout(), "{sentence}")?;
        return Ok(Outcome::Done);
    }
    let connection = database.readers().get()?;
    let counts = counts(&connection)?;
    let mut list = List::to_stdout(format, COLUMNS, "")?;
    for destination in context.config.destination.iter().filter(|destination| destination.name == name) {
        list.row(&row(&connection, context, destination, &counts)?)?;
    }
    list.finish()?;
    Ok(Outcome::Done)
}

type Counts = BTreeMap<(String, String), i64>;

fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    connection
        .prepare("SELECT destination, state, sum(events) FROM deliveries GROUP BY destination, state")?
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
        .collect()
}

fn row(
    connection: &Connection,
    context: &Context,
    destination: &config::Destination,
    counts: &Counts,
) -> anyhow::Result<[Value; 13]> {
    let health = outbox::health(connection, &destination.name, context.clock.now())?;
    let count = |states: &[State]| {
        let of = |state: &State| counts.get(&(destination.name.clone(), state.to_string())).copied().unwrap_or(0);
        json!(states.iter().map(of).sum::<i64>())
    };
    Ok([
        json!(destination.name),
        json!(destination.kind),
        json!(health.state.as_str()),
        count(&[State::Waiting, State::Sending]),
        count(&[State::Retrying]),
        count(&[State::Held]),
        count(&[State::Delivered]),
        count(&[State::Dead]),
        json!(health.reason),
        json!(health.since),
        json!(health.probe_at),
        json!(health.wait_until),
        json!(health.batch_limit),
    ])
}
