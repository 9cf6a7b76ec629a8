//! `quintile runs`: what happened in the nights.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use super::{
    Context, Outcome, UsageError,
    output::{Column, Format, List},
};
use crate::{model::Timestamp, outbox, scoring::told::MOVES};

/// List scoring runs, the newest first; or what became of one run's changes at each destination
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The receipt of this run
    #[arg(value_name = "ID")]
    run: Option<i64>,
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
    Column::hidden("changed"),
    Column::text("error", "Error"),
    Column::number("moved", "Moved"),
    Column::number("new", "New"),
    Column::number("left", "Left"),
];

const RECEIPT: &[Column] = &[
    Column::text("destination", "Destination"),
    Column::number("changes", "Changes"),
    Column::number("delivered", "Delivered"),
    Column::number("open", "Open"),
    Column::number("held", "of them held"),
    Column::number("dead", "Dead"),
    Column::number("superseded", "Superseded"),
    Column::number("discarded", "Discarded"),
];

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let connection = readers.get()?;
    if let Some(id) = args.run {
        return receipt(&connection, id, args.format);
    }
    let mut statement = connection.prepare(&format!(
        "SELECT id, trigger, as_of, started_at, scored_at, emitted_at, finished_at, state, scored, changed, error, {}
           FROM runs ORDER BY id DESC",
        MOVES.join(", ")
    ))?;
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
            number(11)?,
            number(12)?,
            number(13)?,
        ])?;
    }
    list.finish()?;
    Ok(Outcome::Done)
}

fn receipt(connection: &Connection, id: i64, format: Format) -> anyhow::Result<Outcome> {
    let found = connection.query_row("SELECT 1 FROM runs WHERE id = ?1", [id], |_| Ok(())).optional()?;
    found.ok_or_else(|| UsageError(format!("there is no run {id}; `quintile runs` lists them")))?;
    let mut list = List::to_stdout(format, RECEIPT, "Nothing of this run went to a destination.")?;
    for receipt in outbox::receipt(connection, id, i64::MAX)? {
        list.row(&[
            json!(receipt.destination),
            json!(receipt.changes),
            json!(receipt.delivered),
            json!(receipt.open),
            json!(receipt.held),
            json!(receipt.dead),
            json!(receipt.superseded),
            json!(receipt.discarded),
        ])?;
    }
    list.finish()?;
    Ok(Outcome::Done)
}
