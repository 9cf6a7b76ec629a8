//! `quintile deliveries release` and `discard`: what becomes of deliveries that wait for the
//! merchant.

use std::io::Write;

use rusqlite::{Connection, OptionalExtension};

use super::must_know;
use crate::{
    cli::{Context, Format, Outcome, UsageError, score},
    db::Database,
    model::Timestamp,
    outbox::{Decision, HeldFilter, count_held, decide_held},
    scoring,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Those of the first run, and of a run under new segment rules
    #[arg(long)]
    baseline: bool,
    /// Those of one run
    #[arg(long, value_name = "ID")]
    run: Option<i64>,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
}

/// Deliveries decided in one transaction, so that the journal stays small.
const SLICE: usize = 1000;

pub fn run(decision: Decision, args: &Args, list: &super::Args, context: &Context) -> anyhow::Result<Outcome> {
    let filter = HeldFilter { baseline: args.baseline, run_id: args.run, destination: list.destination.clone() };
    if filter == HeldFilter::default() {
        return Err(UsageError("say which held deliveries: --baseline, --run ID, --destination NAME".to_owned()).into());
    }
    let (matched, decided) = if args.dry_run {
        (count(&*context.readers()?.get()?, &filter, context)?, 0)
    } else {
        let command = match decision {
            Decision::Release => "quintile deliveries release",
            Decision::Discard => "quintile deliveries discard",
        };
        let database = context.open_database(command)?;
        // A run that a crash stopped between its steps holds more than is queued yet.
        scoring::resume(&database, &score::settings(context)?, &context.clock)?;
        let matched = count(&*database.readers().get()?, &filter, context)?;
        (matched, decide(&database, &filter, decision, context.clock.now())?)
    };
    print(decision, matched, decided, args.dry_run, list.format)?;
    Ok(Outcome::Done)
}

/// How many there are; refuses a destination or run that does not exist.
fn count(connection: &Connection, filter: &HeldFilter, context: &Context) -> anyhow::Result<i64> {
    if let Some(name) = &filter.destination {
        must_know(connection, context, name)?;
    }
    if let Some(id) = filter.run_id {
        let found = connection.query_row("SELECT 1 FROM runs WHERE id = ?1", [id], |_| Ok(())).optional()?;
        found.ok_or_else(|| UsageError(format!("there is no run {id}; `quintile runs` lists them")))?;
    }
    Ok(count_held(connection, filter)?)
}

/// All of them, slice by slice. Returns how many there were.
fn decide(database: &Database, filter: &HeldFilter, decision: Decision, now: Timestamp) -> anyhow::Result<i64> {
    let (mut after, mut total) = (0, 0);
    loop {
        let filter = filter.clone();
        let decided = database.writer().write_blocking(move |tx| {
            let decided = decide_held(tx, &filter, decision, after, SLICE, now)?;
            if decided.is_none() {
                scoring::note_decided(tx)?;
            }
            Ok(decided)
        })?;
        let Some(decided) = decided else { return Ok(total) };
        total += i64::try_from(decided.count)?;
        after = decided.last;
    }
}

fn print(decision: Decision, matched: i64, decided: i64, dry_run: bool, format: Format) -> std::io::Result<()> {
    let (name, done) = match decision {
        Decision::Release => ("released", "will be sent by `quintile serve` or `quintile deliver`"),
        Decision::Discard => ("discarded", "will never be sent; what waited behind them goes out next"),
    };
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => writeln!(out, "{{\"matched\":{matched},\"{name}\":{decided}}}"),
        Format::Csv => write!(out, "matched,{name}\r\n{matched},{decided}\r\n"),
        Format::Table if matched == 0 => writeln!(out, "No held delivery matches."),
        Format::Table if dry_run => writeln!(out, "Held deliveries that match: {matched}; none was {name}."),
        Format::Table => writeln!(out, "Deliveries {name}: {decided}. They {done}."),
    }
}
