//! `quintile deliveries retry`, `replay`, `release` and `discard`: what the merchant does with
//! deliveries. Works beside a running `serve`.

use std::io::Write;

use rusqlite::{Connection, OptionalExtension};

use super::must_know;
use crate::{
    cli::{Context, Format, Outcome, UsageError, score},
    model::Timestamp,
    outbox::{self, Action, DestinationState, Filter, Gate, Hold, State, count_matching},
    scoring,
};

/// Which deliveries; all conditions must hold.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command")]
pub struct Args {
    /// Those of the first run, and of a run under new segment rules
    #[arg(long)]
    baseline: bool,
    /// Those that are held since a backup was restored
    #[arg(long, conflicts_with = "baseline")]
    restored: bool,
    /// This one
    #[arg(long, value_name = "ID")]
    delivery: Option<i64>,
    /// Those of one run
    #[arg(long, value_name = "ID")]
    run: Option<i64>,
    /// Those that tell of a move to this segment
    #[arg(long, value_name = "SEGMENT")]
    segment: Option<String>,
    /// Those about one customer
    #[arg(long, value_name = "ID")]
    customer: Option<i64>,
    /// Those queued at this time or later, like 2026-11-23T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    since: Option<Timestamp>,
    /// Those queued before this time
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse_rfc3339)]
    until: Option<Timestamp>,
    /// All that the action can be meant for
    #[arg(long)]
    all: bool,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
}

pub fn run(action: Action, args: &Args, list: &super::Args, context: &Context) -> anyhow::Result<Outcome> {
    let filter = filter(action, args, list)?;
    let mut notes = Vec::new();
    let (matched, done) = if args.dry_run {
        (count(&*context.readers()?.get()?, action, &filter, context)?, 0)
    } else {
        let command = format!("quintile deliveries {}", words(action).0);
        let database = context.open_beside(&command)?;
        if database.is_owner() {
            // A run that a crash stopped between its steps holds more than is queued yet.
            scoring::resume(&database, &score::settings(context)?, &context.clock)?;
        }
        let matched = count(&*database.readers().get()?, action, &filter, context)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let done = runtime.block_on(scoring::decide(database.writer(), action, &filter, context.clock.now()))?;
        database.nudge();
        if action != Action::Discard {
            notes = standing_in_the_way(&*database.readers().get()?, &filter, context)?;
        }
        (matched, done)
    };
    print(action, matched, done, args.dry_run, list.format)?;
    for note in notes {
        eprintln!("note: {note}");
    }
    Ok(Outcome::Done)
}

fn filter(action: Action, args: &Args, list: &super::Args) -> anyhow::Result<Filter> {
    let state = list.state.as_deref().and_then(State::parse);
    if let Some(state) = state.filter(|state| !action.states().contains(state)) {
        let states: Vec<&str> = action.states().iter().map(|state| state.as_str()).collect();
        let name = words(action).0;
        return Err(
            UsageError(format!("`{name}` cannot act on {state} deliveries; it can on {}", states.join(", "))).into()
        );
    }
    let hold = match (args.baseline, args.restored) {
        (true, _) => Some(Hold::Baseline),
        (_, true) => Some(Hold::Restored),
        _ => None,
    };
    let filter = Filter {
        delivery_id: args.delivery,
        state,
        hold,
        run_id: args.run,
        destination: list.destination.clone(),
        segment: args.segment.clone(),
        customer_id: args.customer,
        since: args.since,
        until: args.until,
        ..Filter::default()
    };
    if filter == Filter::default() && !args.all {
        return Err(UsageError(
            "say which deliveries: --delivery ID, --run ID, --destination NAME, --state S, --segment S, --customer ID, --since TIME, --until TIME, --baseline, --restored, or --all".to_owned(),
        )
        .into());
    }
    Ok(filter)
}

/// How many there are; refuses a destination or run that does not exist.
fn count(connection: &Connection, action: Action, filter: &Filter, context: &Context) -> anyhow::Result<i64> {
    if let Some(name) = &filter.destination {
        must_know(connection, context, name)?;
    }
    for (id, table, look) in [
        (filter.run_id, "run", "runs"),
        (filter.delivery_id, "delivery", "deliveries"),
        (filter.customer_id, "customer", "customers"),
    ] {
        let Some(id) = id else { continue };
        let found =
            connection.query_row(&format!("SELECT 1 FROM {look} WHERE id = ?1"), [id], |_| Ok(())).optional()?;
        found.ok_or_else(|| {
            let plural = if look == "runs" { "lists them" } else { "lists what there is" };
            UsageError(format!("there is no {table} {id}; `quintile {look}` {plural}"))
        })?;
    }
    Ok(count_matching(connection, action, filter)?)
}

/// Why what was released or tried again may not go out at once.
fn standing_in_the_way(connection: &Connection, filter: &Filter, context: &Context) -> anyhow::Result<Vec<String>> {
    let mut notes = Vec::new();
    let now = context.clock.now();
    let names = context.config.destination.iter().map(|destination| destination.name.as_str());
    for name in names.filter(|name| filter.destination.as_deref().is_none_or(|wanted| wanted == *name)) {
        let health = outbox::health(connection, name, now)?;
        match (health.state, health.gate(now)) {
            (DestinationState::Paused | DestinationState::Disabled, _) => notes.push(format!(
                "{name} is {}; its queue waits for `quintile destinations resume {name} --send all|latest|none`",
                health.state
            )),
            (_, Gate::Until(at)) => notes.push(format!("{name} is sent to again at {at}")),
            _ => {}
        }
    }
    let consent: i64 = connection.query_row(
        "SELECT count(*) FROM (SELECT 1 FROM deliveries WHERE state = 'held' AND hold = 'consent' LIMIT 1000)",
        [],
        |row| row.get(0),
    )?;
    if consent > 0 {
        let more = if consent == 1000 { " or more" } else { "" };
        notes.push(format!(
            "{consent}{more} deliveries wait until their customers agree to e-mail; see [consent] in config.toml"
        ));
    }
    Ok(notes)
}

/// The action, what became of its deliveries, and what happens to them.
const fn words(action: Action) -> (&'static str, &'static str, &'static str) {
    match action {
        Action::Release => ("release", "released", "will be sent by `quintile serve` or `quintile deliver`"),
        Action::Discard => ("discard", "discarded", "will never be sent; what waited behind them goes out next"),
        Action::Retry => ("retry", "retried", "will be tried at once by `quintile serve` or `quintile deliver`"),
        Action::Replay => ("replay", "replayed", "will be sent again, as new messages with the same events"),
    }
}

fn print(action: Action, matched: i64, done: usize, dry_run: bool, format: Format) -> std::io::Result<()> {
    let (_, name, then) = words(action);
    let what = if action == Action::Release { "held delivery" } else { "delivery" };
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{{\"matched\":{matched},\"{name}\":{done}}}"),
        Format::Csv => write!(out, "matched,{name}\r\n{matched},{done}\r\n"),
        Format::Table if matched == 0 => writeln!(out, "No {what} matches."),
        Format::Table if dry_run => writeln!(out, "Deliveries that match: {matched}; none was {name}."),
        Format::Table => writeln!(out, "Deliveries {name}: {done}. They {then}."),
    }
}
