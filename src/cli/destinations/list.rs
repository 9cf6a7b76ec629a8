//! `quintile destinations list`.

use std::io::Write;

use serde_json::{Value, json};

use crate::{
    cli::{
        Context, Outcome,
        output::{Column, Format, List},
    },
    db::Database,
    outbox::{Standing, standings},
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
    let mut list = List::to_stdout(format, COLUMNS, "No destinations; add a [[destination]] to config.toml.")?;
    for standing in standings(&snapshot, &context.config.destination, i64::MAX, context.clock.now())? {
        list.row(&row(&standing))?;
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
    let mut list = List::to_stdout(format, COLUMNS, "")?;
    let all = standings(&connection, &context.config.destination, i64::MAX, context.clock.now())?;
    for standing in all.iter().filter(|standing| standing.name == name) {
        list.row(&row(standing))?;
    }
    list.finish()?;
    Ok(Outcome::Done)
}

fn row(standing: &Standing) -> [Value; 13] {
    [
        json!(standing.name),
        json!(standing.kind),
        json!(standing.state.as_str()),
        json!(standing.waiting),
        json!(standing.retrying),
        json!(standing.held),
        json!(standing.delivered),
        json!(standing.dead),
        json!(standing.reason),
        json!(standing.since),
        json!(standing.next_probe_at),
        json!(standing.wait_until),
        json!(standing.batch_limit),
    ]
}
