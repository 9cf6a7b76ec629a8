//! `quintile runs`: what happened in the nights.

use serde_json::{Value, json};

use super::{
    Context, Outcome,
    output::{Column, Format, List},
};
use crate::{model::Timestamp, outbox};

/// List scoring runs, the newest first
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const COLUMNS: &[Column] = &[
    Column::text("id", "Run"),
    Column::text("trigger", "Trigger"),
    Column::text("asOf", "As of"),
    Column::hidden("startedAt"),
    Column::hidden("scoredAt"),
    Column::hidden("emittedAt"),
    Column::text("finishedAt", "Finished"),
    Column::text("state", "State"),
    Column::number("scored", "Scored"),
    Column::number("changed", "Changed"),
    Column::text("error", "Error"),
    Column::hidden("deliveries"),
];

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let connection = readers.get()?;
    let mut statement = connection.prepare(
        "SELECT id, trigger, as_of, started_at, scored_at, emitted_at, finished_at, state, scored, changed, error
           FROM runs ORDER BY id DESC",
    )?;
    let mut list = List::to_stdout(args.format, COLUMNS, "No runs yet; `quintile score` makes one.")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let time = |index| row.get::<_, Option<Timestamp>>(index).map(|time| json!(time));
        let text = |index| row.get::<_, Option<String>>(index).map(|text| json!(text));
        let number = |index| row.get::<_, i64>(index).map(Value::from);
        list.row(&[
            json!(row.get::<_, i64>(0)?.to_string()),
            text(1)?,
            time(2)?,
            time(3)?,
            time(4)?,
            time(5)?,
            time(6)?,
            text(7)?,
            number(8)?,
            number(9)?,
            text(10)?,
            json!(outbox::receipt(&connection, row.get(0)?)?),
        ])?;
    }
    list.finish()?;
    Ok(Outcome::Done)
}
