//! `quintile deliveries`: what went to your tools, and what did not yet.

mod act;

use clap::builder::PossibleValuesParser;
use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use super::{
    Context, Outcome, UsageError,
    output::{Column, Format, List},
};
use crate::outbox::{self, Delivery, DeliveryFilter, State, deliveries};

/// List deliveries, the newest first; retry, replay, release or discard them
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    /// Only deliveries in this state
    #[arg(long, global = true, value_parser = PossibleValuesParser::new(State::ALL.iter().map(|state| state.as_str())))]
    state: Option<String>,
    /// Only deliveries to this destination
    #[arg(long, value_name = "NAME", global = true)]
    destination: Option<String>,
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Try failed deliveries now: those that wait for their next attempt, and dead ones as new messages
    Retry(act::Args),
    /// Send finished deliveries again as new messages with the same events: dead ones, or those of --state
    Replay(act::Args),
    /// Send held deliveries after all, each after the older ones of its customer
    Release(act::Args),
    /// Never send held deliveries, or the open ones of --state; newer ones of their customers go out
    Discard(act::Args),
}

const COLUMNS: &[Column] = &[
    Column::text("id", "Id"),
    Column::hidden("messageId"),
    Column::text("destination", "Destination"),
    Column::text("state", "State"),
    Column::number("events", "Events"),
    Column::number("attempts", "Attempts"),
    Column::text("nextAttemptAt", "Next attempt"),
    Column::number("lastStatus", "Status"),
    Column::text("lastError", "Error"),
    Column::text("createdAt", "Created"),
    Column::text("finishedAt", "Finished"),
];

/// Deliveries read at a time, so that memory does not grow with their number.
const PAGE: usize = 1000;

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    match &args.action {
        None => list(args, context),
        Some(Action::Retry(which)) => act::run(outbox::Action::Retry, which, args, context),
        Some(Action::Replay(which)) => act::run(outbox::Action::Replay, which, args, context),
        Some(Action::Release(which)) => act::run(outbox::Action::Release, which, args, context),
        Some(Action::Discard(which)) => act::run(outbox::Action::Discard, which, args, context),
    }
}

fn list(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let mut connection = readers.get()?;
    let snapshot = connection.transaction()?;
    if let Some(name) = &args.destination {
        must_know(&snapshot, context, name)?;
    }
    let state = args.state.as_deref().and_then(State::parse);
    let mut filter =
        DeliveryFilter { state, destination: args.destination.clone(), limit: Some(PAGE), ..DeliveryFilter::default() };
    let mut list = List::to_stdout(args.format, COLUMNS, "No deliveries.")?;
    loop {
        let page = deliveries(&snapshot, &filter)?;
        for delivery in &page {
            list.row(&row(delivery))?;
        }
        let Some(oldest) = page.last() else { break };
        filter.before = Some(oldest.id);
    }
    list.finish()?;
    Ok(Outcome::Done)
}

/// Refuses a name that neither the configuration nor the queue has.
pub(super) fn must_know(connection: &Connection, context: &Context, name: &str) -> anyhow::Result<()> {
    let names: Vec<&str> = context.config.destination.iter().map(|destination| destination.name.as_str()).collect();
    let queued = || {
        connection
            .query_row("SELECT 1 FROM deliveries WHERE destination = ?1 LIMIT 1", [name], |_| Ok(()))
            .optional()
            .map(|found| found.is_some())
    };
    if names.contains(&name) || queued()? {
        return Ok(());
    }
    let there_are =
        if names.is_empty() { "config.toml has none".to_owned() } else { format!("there are {}", names.join(", ")) };
    Err(UsageError(format!("there is no destination {name:?}; {there_are}")).into())
}

fn row(delivery: &Delivery) -> [Value; 11] {
    [
        json!(delivery.id.to_string()),
        json!(delivery.message_id),
        json!(delivery.destination),
        json!(delivery.state.as_str()),
        json!(delivery.events),
        json!(delivery.attempts),
        json!(delivery.next_attempt_at),
        json!(delivery.last_status),
        json!(delivery.last_error),
        json!(delivery.created_at),
        json!(delivery.finished_at),
    ]
}
