//! `quintile sync`: a pull from the shop now, or what the pulls so far have done.

use std::sync::Arc;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{
    Context, Outcome,
    output::{self, Column, Format, List},
};
use crate::sync::{
    Sync, Timer,
    log::{self, Entry, State, Trigger},
};

/// Below the options in `--help`.
const HELP: &str = "\
Fetches from Shopify's Admin API what [shopify] in config.toml opens: everything the first time, \
then what changed since the last time. One that was cut off goes on where it was. `quintile serve` \
does the same by itself every few hours; this command works beside it.

Exit code 0: everything is here; 1: it did not get to its end; 2: the shop does not let quintile \
in; 3: some orders could not be used, the notes say why.";

/// Fetch orders and customers from the shop now
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Fetch everything again
    #[arg(long)]
    full: bool,
    /// Fetch nothing; list what was fetched so far, the newest first
    #[arg(long, conflicts_with = "full")]
    log: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Rows that `--log` lists: a month of them.
const LISTED: u32 = 200;

const COLUMNS: &[Column] = &[
    Column::text("id", "Sync"),
    Column::text("trigger", "Trigger"),
    Column::text("mode", "Mode"),
    Column::text("state", "State"),
    Column::text("since", "Changed since"),
    Column::hidden("watermark"),
    Column::text("startedAt", "Started"),
    Column::hidden("finishedAt"),
    Column::hidden("attempts"),
    Column::number("ordersRead", "Orders"),
    Column::number("ordersNew", "New"),
    Column::number("ordersUpdated", "Updated"),
    Column::number("ordersRejected", "Rejected"),
    Column::number("ordersDeleted", "Deleted"),
    Column::number("ordersMissed", "Missed by webhook"),
    Column::number("customersRead", "Customers"),
    Column::hidden("customersNew"),
    Column::hidden("customersUpdated"),
    Column::hidden("customersRejected"),
    Column::hidden("customersDeleted"),
    Column::hidden("webhooksMade"),
    Column::hidden("swept"),
    Column::hidden("position"),
    Column::text("notes", "Notes"),
    Column::text("error", "Error"),
];

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if args.log {
        return list(&*context.readers()?.get()?, args.format);
    }
    let database = Arc::new(context.open_beside("quintile sync")?);
    let sync = Sync::new(&context.config, database.clone(), context.clock.clone(), Timer::system())?;
    let runtime = tokio::runtime::Runtime::new()?;
    let ended = runtime.block_on(sync.run(Trigger::Manual, args.full))?;
    database.nudge();
    output::print_object(args.format, COLUMNS, &values(&ended.entry))?;
    match ended.error {
        Some(error) => Err(error),
        None if ended.entry.counts.orders.rejected + ended.entry.counts.customers.rejected > 0 => Ok(Outcome::Partly),
        None => Ok(Outcome::Done),
    }
}

fn list(connection: &Connection, format: Format) -> anyhow::Result<Outcome> {
    let mut list = List::to_stdout(format, COLUMNS, "Nothing was fetched yet; `quintile sync` does.")?;
    for entry in log::list(connection, LISTED)? {
        list.row(&values(&entry))?;
    }
    list.finish()?;
    Ok(Outcome::Done)
}

fn values(entry: &Entry) -> [Value; COLUMNS.len()] {
    let (orders, customers) = (entry.counts.orders, entry.counts.customers);
    // Of one that was done there is nothing to go on from.
    let position = entry.position.as_ref().filter(|_| entry.state != State::Done);
    [
        json!(entry.id.to_string()),
        json!(entry.trigger.as_str()),
        json!(entry.mode.as_str()),
        json!(entry.state.as_str()),
        json!(entry.since),
        json!(entry.watermark),
        json!(entry.started_at),
        json!(entry.finished_at),
        json!(entry.attempts),
        json!(orders.read),
        json!(orders.new),
        json!(orders.updated),
        json!(orders.rejected),
        json!(orders.deleted),
        json!(entry.counts.missed),
        json!(customers.read),
        json!(customers.new),
        json!(customers.updated),
        json!(customers.rejected),
        json!(customers.deleted),
        json!(entry.subscribed),
        json!(entry.swept),
        json!(position.map(|position| serde_json::to_string(position).unwrap_or_default())),
        json!((!entry.notes.is_empty()).then(|| entry.notes.join("; "))),
        json!(entry.error),
    ]
}
