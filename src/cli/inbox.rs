//! `quintile inbox`: what the shop sent, what became of it, and trying it again. Works beside a
//! running `serve`.

use std::io::{self, Write};

use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};

use super::{
    Context, Outcome, UsageError, erase,
    output::{Column, Format, List, print_json},
};
use crate::{
    intake::{
        Rules,
        inbox::{self, Filter, KEPT_DAYS, Replayable, Replayed, State, Stored, replay},
    },
    model::{Source, Timestamp},
};

/// List messages of the shop, the newest first; read those again that could not be used
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    which: Which,
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Read quarantined and ignored messages again, by the rules of today; each takes its place as if
    /// it came only now, and changes nothing twice
    Replay(ReplayArgs),
}

#[derive(Debug, clap::Args)]
struct ReplayArgs {
    /// All that are quarantined or ignored
    #[arg(long)]
    all: bool,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
}

/// Which messages; all conditions must hold.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only messages in this state
    #[arg(long, global = true, value_parser = PossibleValuesParser::new(State::ALL.iter().map(|state| state.as_str())))]
    state: Option<String>,
    /// This one
    #[arg(long, value_name = "ID", global = true)]
    message: Option<i64>,
    /// Those of this source
    #[arg(long, global = true, value_parser = PossibleValuesParser::new(SOURCES))]
    source: Option<String>,
    /// Those about this, in the shop's words, like orders/create
    #[arg(long, global = true)]
    topic: Option<String>,
    /// Those received at this time or later, like 2026-11-23T00:00:00Z
    #[arg(long, value_name = "TIME", global = true, value_parser = Timestamp::parse_rfc3339)]
    since: Option<Timestamp>,
    /// Those received before this time
    #[arg(long, value_name = "TIME", global = true, value_parser = Timestamp::parse_rfc3339)]
    until: Option<Timestamp>,
}

/// Who sends messages.
const SOURCES: [&str; 3] = [Source::Shopify.as_str(), Source::WooCommerce.as_str(), Source::Api.as_str()];

const COLUMNS: &[Column] = &[
    Column::text("id", "Id"),
    Column::text("receivedAt", "Received"),
    Column::text("source", "Source"),
    Column::text("topic", "Topic").guarded(),
    Column::text("state", "State"),
    Column::number("duplicates", "Copies"),
    Column::hidden("bytes"),
    Column::text("reason", "Why").guarded(),
];

/// Messages read at a time, so that memory does not grow with their number.
const PAGE: usize = 1000;
/// Messages read again in one transaction: orders get in between.
const SLICE: usize = 100;

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let filter = args.which.filter();
    match &args.action {
        None => list(&filter, args.format, context),
        Some(Action::Replay(which)) => read_again(which, &filter, args.format, context),
    }
}

impl Which {
    fn filter(&self) -> Filter {
        Filter {
            id: self.message,
            state: self.state.as_deref().and_then(State::parse),
            source: self.source.as_deref().and_then(Source::parse),
            topic: self.topic.clone(),
            since: self.since,
            until: self.until,
        }
    }
}

fn list(filter: &Filter, format: Format, context: &Context) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let mut connection = readers.get()?;
    let snapshot = connection.transaction()?;
    let mut list = List::to_stdout(format, COLUMNS, "No messages.")?;
    let mut before = i64::MAX;
    loop {
        let page = inbox::list(&snapshot, filter, before, PAGE)?;
        for stored in &page {
            list.row(&row(stored))?;
        }
        let Some(oldest) = page.last() else { break };
        before = oldest.id;
    }
    list.finish()?;
    Ok(Outcome::Done)
}

fn row(stored: &Stored) -> [Value; 8] {
    [
        json!(stored.id.to_string()),
        json!(stored.received_at),
        json!(stored.source.as_str()),
        json!(stored.topic),
        json!(stored.state.as_str()),
        json!(stored.duplicates),
        json!(stored.bytes),
        json!(stored.reason),
    ]
}

fn read_again(args: &ReplayArgs, filter: &Filter, format: Format, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(state) = filter.state.filter(|state| !State::AGAIN.contains(state)) {
        return Err(UsageError(format!(
            "messages that are {state} were used already; `replay` reads again what is quarantined or ignored"
        ))
        .into());
    }
    if *filter == Filter::default() && !args.all {
        return Err(UsageError(
            "say which messages: --message ID, --state quarantined|ignored, --source S, --topic T, --since TIME, --until TIME, or --all".to_owned(),
        )
        .into());
    }
    if args.dry_run {
        let matched = inbox::count_replayable(&*context.readers()?.get()?, filter)?;
        print(matched, Replayed::default(), true, format)?;
        return Ok(Outcome::Done);
    }
    let database = context.open_beside("quintile inbox replay")?;
    let matched = inbox::count_replayable(&*database.readers().get()?, filter)?;
    let (rules, now) = (Rules::from_config(&context.config), context.clock.now());
    let (mut replayed, mut after) = (Replayed::default(), Some(0));
    while let Some(last) = after {
        let (rules, filter) = (rules.clone(), filter.clone());
        (replayed, after) = database.writer().write_blocking(move |tx| {
            let mut replayed = replayed;
            let after = replay(tx, &rules, &filter, last, SLICE, now, &mut replayed)?;
            Ok((replayed, after))
        })?;
    }
    // A request about somebody's data may have been among them.
    let worked = erase::work_off(&database)?;
    print(matched, replayed, false, format)?;
    // What is left is most likely of another request, and no matter of these messages.
    for left in &worked.left {
        eprintln!("note: not done yet, `quintile serve` tries it again: {left}");
    }
    Ok(if replayed.quarantined > 0 { Outcome::Partly } else { Outcome::Done })
}

fn print(matched: Replayable, replayed: Replayed, dry_run: bool, format: Format) -> io::Result<()> {
    let Replayable { kept: matched, forgotten } = matched;
    let Replayed { done, stale, ignored, quarantined } = replayed;
    let mut out = io::stdout().lock();
    match format {
        Format::Json => {
            drop(out);
            print_json(&json!({
                "matched": matched, "done": done, "stale": stale, "ignored": ignored, "quarantined": quarantined,
                "forgotten": forgotten
            }))
        }
        Format::Csv => write!(
            out,
            "matched,done,stale,ignored,quarantined,forgotten\r\n{matched},{done},{stale},{ignored},{quarantined},{forgotten}\r\n"
        ),
        Format::Table => {
            if matched == 0 && forgotten == 0 {
                writeln!(out, "No message that was quarantined or ignored matches.")?;
            } else if dry_run {
                writeln!(out, "Messages that match: {matched}; none was read again.")?;
            } else if matched > 0 {
                writeln!(
                    out,
                    "Read again: {matched}. Used: {done}, known better already: {stale}, still ignored: {ignored}, still not usable: {quarantined}."
                )?;
            }
            if forgotten > 0 {
                writeln!(
                    out,
                    "Ignored messages that cannot be read again: {forgotten}. What they said is not kept any more: {KEPT_DAYS} days, and not at all of customers who were erased."
                )?;
            }
            if quarantined > 0 {
                writeln!(out, "`quintile inbox --state quarantined` says why.")?;
            }
            Ok(())
        }
    }
}
