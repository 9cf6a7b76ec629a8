//! `quintile erase`: forget a person. Works beside a running `serve`.

use std::io::{self, Write};

use anyhow::{bail, ensure};
use serde_json::json;

use super::{
    Context, Format, Outcome,
    output::{Column, print_json, print_object},
};
use crate::{
    backups::Backups,
    db::{Database, folder_of},
    intake::privacy::{self, Forgotten, Worked},
    ledger::Who,
    outbox::Route,
    scoring,
};

/// Below the options in `--help`.
const HELP: &str = "\
What names the person is taken out of customers, orders, the queue and the messages of the shop; \
their orders go on counting for a customer without a name, whatever way in brings them again. It \
cannot be undone. Rows that were merged with theirs, guests and other ids with their e-mail are the \
same person.";

/// Forget a person: blank what names them, keep the numbers
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Whom {
    /// By e-mail, in upper or lower case; somebody unknown is kept out from now on
    #[arg(long, value_name = "E")]
    email: Option<String>,
    /// By the id that `quintile customers` shows
    #[arg(long, value_name = "ID")]
    customer: Option<i64>,
}

const COLUMNS: &[Column] = &[
    Column::text("customers", ""),
    Column::number("orders", ""),
    Column::number("cancelled", ""),
    Column::number("scrubbed", ""),
    Column::number("onTheirWay", ""),
    Column::number("messages", ""),
    Column::text("told", ""),
    Column::text("byHand", ""),
];

/// What was done, and what is left to the merchant.
struct Report {
    forgotten: Forgotten,
    /// Destinations that hear of it.
    told: Vec<String>,
    /// Destinations where the person has to be deleted by hand.
    by_hand: Vec<String>,
    /// The log could not be emptied yet.
    log_is_full: bool,
    /// Files of earlier requests for data that were deleted.
    deleted: usize,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let routes = Route::from_config(&context.config)?;
    let database = context.open_beside("quintile erase")?;
    let who = who(&args.whom, &database)?;
    let now = context.clock.now();
    let mut forgotten = database.writer().write_blocking(move |tx| {
        let forgotten = privacy::erase(tx, &who, now)?;
        // It may have been the last that a run waited for.
        scoring::note_decided(tx)?;
        Ok(forgotten)
    })?;
    let worked = work_off(&database)?;
    forgotten.messages += worked.messages;
    forgotten.erased.orders += worked.orders;
    let (told, by_hand) = Route::by_erasure(&routes);
    let report = Report {
        told: if forgotten.erased.events > 0 { told } else { Vec::new() },
        by_hand: if forgotten.erased.customers.is_empty() { Vec::new() } else { by_hand },
        deleted: worked.deleted,
        log_is_full: !database.readers().empty_log()?,
        forgotten,
    };
    print(&report, args, &Backups::from_config(&context.config))?;
    all_is_done(&worked)?;
    Ok(Outcome::Done)
}

/// # Errors
/// Something is left, be it of somebody else.
fn all_is_done(worked: &Worked) -> anyhow::Result<()> {
    ensure!(worked.left.is_empty(), "not all is done, `quintile serve` tries it again: {}", worked.left.join("; "));
    Ok(())
}

/// Does at once what was just asked for on somebody's behalf, and hands `serve` what there is to send.
pub(super) fn work_off(database: &Database) -> anyhow::Result<Worked> {
    // Before the search, which may take a while: what is on its way to the tools stops now.
    database.nudge();
    let folder = folder_of(database.path());
    let worked = privacy::work_off(database.readers(), database.writer(), folder, &|| false)?;
    if worked.customers > 0 {
        database.nudge();
    }
    Ok(worked)
}

fn who(whom: &Whom, database: &Database) -> anyhow::Result<Who> {
    if let Some(id) = whom.customer {
        let known = database.readers().get()?.prepare("SELECT 1 FROM customers WHERE id = ?1")?.exists([id])?;
        if !known {
            bail!("there is no customer {id}; `quintile customers` lists them");
        }
    }
    if whom.email.as_deref().is_some_and(|email| !email.trim().contains('@')) {
        bail!("that is no e-mail address; write it whole, like anna@example.com");
    }
    Ok(Who { customer_id: whom.customer, email: whom.email.clone(), ..Who::default() })
}

fn print(report: &Report, args: &Args, backups: &Backups) -> io::Result<()> {
    let Forgotten { erased, messages, .. } = &report.forgotten;
    let ids: Vec<String> = erased.customers.iter().map(ToString::to_string).collect();
    match args.format {
        Format::Table => for_people(report, &ids, backups),
        Format::Json => print_json(&json!({
            "customers": ids,
            "orders": erased.orders,
            "cancelled": erased.withdrawn.cancelled,
            "scrubbed": erased.withdrawn.scrubbed,
            "onTheirWay": erased.withdrawn.on_their_way,
            "messages": messages,
            "told": report.told,
            "byHand": report.by_hand,
            "backupsHoldForDays": backups.longest_days(),
            "setAside": backups.set_aside(),
        })),
        Format::Csv => print_object(
            Format::Csv,
            COLUMNS,
            &[
                json!(ids.join(" ")),
                json!(erased.orders),
                json!(erased.withdrawn.cancelled),
                json!(erased.withdrawn.scrubbed),
                json!(erased.withdrawn.on_their_way),
                json!(messages),
                json!(report.told.join(" ")),
                json!(report.by_hand.join(" ")),
            ],
        ),
    }
}

fn for_people(report: &Report, ids: &[String], backups: &Backups) -> io::Result<()> {
    let Forgotten { erased, messages, .. } = &report.forgotten;
    let mut out = io::stdout().lock();
    if ids.is_empty() {
        writeln!(out, "Nobody here had a name by this. What comes in with it from now on stays without one.")?;
    } else {
        writeln!(out, "Without a name from now on: customer {}. Their orders go on counting.", ids.join(", "))?;
    }
    writeln!(out, "  orders that named them              {}", erased.orders)?;
    writeln!(out, "  messages of the shop, scrubbed      {messages}")?;
    writeln!(out, "  deliveries that are never sent      {}", erased.withdrawn.cancelled)?;
    writeln!(out, "  deliveries of the past, scrubbed    {}", erased.withdrawn.scrubbed)?;
    if erased.withdrawn.on_their_way > 0 {
        writeln!(out, "  of these on their way at the moment {}", erased.withdrawn.on_their_way)?;
    }
    if !report.told.is_empty() {
        writeln!(out, "Told to erase them too: {}.", report.told.join(", "))?;
    }
    if !report.by_hand.is_empty() {
        writeln!(out, "Delete them by hand in: {}.", report.by_hand.join(", "))?;
    }
    for line in backups.holding() {
        writeln!(out, "{line}")?;
    }
    if report.deleted > 0 {
        writeln!(out, "What was beside the database to answer their requests for data is deleted.")?;
    }
    writeln!(out, "Imported files still hold what they held.")?;
    if report.log_is_full {
        writeln!(out, "Something reads the database at the moment; run this again in a minute to empty its log too.")?;
    }
    Ok(())
}
