//! `quintile restore FILE`: a backup in the place of the database.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::json;

use super::{Context, Format, Outcome, UsageError, output::print_json, score};
use crate::{
    backups,
    db::{self, Database, LockError, SCHEMA_VERSION, Staged},
    intake::privacy,
    ledger::{Erasures, LedgerError},
    outbox::{self, Ids},
    scoring,
};

/// Below the options in `--help`.
const HELP: &str = "\
The backup is read from end to end first; when it is not whole, nothing is changed. The present \
database is kept beside the new one. A database that `serve` refuses because its log is damaged can \
be named itself: it goes on with what was stored before the damage. What waited to be sent when the \
backup was made may have been \
sent since, so it is held until you say which: `quintile deliveries release --restored` sends it, \
`quintile deliveries discard --restored` does not. Whoever was erased since stays erased, where the \
present database is whole.";

/// Put a backup in the place of the database; `serve` must be stopped
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// What `quintile backup` or a night wrote
    file: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Events without a run that are queued in one transaction.
const QUEUE: usize = 1000;

/// # Errors
/// The database is in use; the backup is not whole, not quintile's, of another currency, or newer than
/// this program; the disk is full. The database is as before then, or the message says that the next start goes on.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let database = &context.config.database.path;
    if !args.file.exists() {
        return Err(UsageError(format!("there is no file {}", args.file.display())).into());
    }
    db::refuse_no_file(&args.file, "name a backup").map_err(|error| UsageError(error.to_string()))?;
    db::refuse_no_file(database, "[database] path must name a file")?;
    let staged = Staged::new(&args.file, database).map_err(|error| match error.downcast_ref() {
        Some(LockError::Held { holder, .. }) => {
            anyhow::anyhow!("{} is in use by {holder}; stop it, then restore", database.display())
        }
        _ => or_the_one_before(error, args, context),
    })?;
    let Staged { contents, lost, .. } = staged;
    let violations = staged.violations.clone();
    let erasures = staged.present().and_then(|present| Erasures::read(&present).ok());
    let (held, erased) = {
        let copy = staged.open()?;
        context.check_currency(copy.readers())?;
        // Held first: what tells the tools of an erasure goes out.
        (hold(&copy, context)?, erase_again(&copy, erasures, context)?)
    };
    let kept = staged.put_in_place(context.clock.now())?;
    let kept = kept.as_deref().map(Path::display).map(|path| path.to_string());
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => print_json(&json!({
            "file": args.file.display().to_string(), "schema": contents.schema, "orders": contents.orders,
            "customers": contents.customers, "runs": contents.runs, "held": held, "kept": kept,
            "erasedAgain": erased, "logWasDamaged": lost.is_some(), "violations": violations,
        }))?,
        Format::Csv => {
            writeln!(out, "orders,customers,runs,held,kept,erasedAgain")?;
            let (kept, erased) =
                (kept.unwrap_or_default(), erased.map(|erased| erased.to_string()).unwrap_or_default());
            writeln!(out, "{},{},{},{held},{kept},{erased}", contents.orders, contents.customers, contents.runs)?;
        }
        Format::Table => {
            writeln!(
                out,
                "{} holds {} orders, {} customers and {} runs again.",
                database.display(),
                contents.orders,
                contents.customers,
                contents.runs
            )?;
            if contents.schema < SCHEMA_VERSION {
                writeln!(out, "It was brought up from schema {} to {SCHEMA_VERSION}.", contents.schema)?;
            }
            if let Some(kept) = kept {
                writeln!(out, "The database that was there is kept as {kept}; delete it when you are sure.")?;
            }
            if held > 0 {
                writeln!(out, "Deliveries that waited in the backup, held until you decide: {held}. Send them with")?;
                writeln!(
                    out,
                    "`quintile deliveries release --restored`, or give them up with `… discard --restored`."
                )?;
            }
            let since = if lost.is_some() { "after the log was damaged" } else { "after the backup was made" };
            match erased {
                Some(0) => {}
                Some(erased) => writeln!(out, "Customers erased {since}, now erased here too: {erased}.")?,
                None => {
                    writeln!(out, "Whoever was erased {since} has a name here again: run `quintile erase` for them.")?;
                }
            }
            writeln!(out, "What came in {since} is missing: run `quintile sync` for Shopify, or import the orders")?;
            writeln!(out, "since then. Then start `quintile serve` again.")?;
            for violation in &violations {
                writeln!(out, "Its contents do not agree: {violation}; please report this.")?;
            }
        }
    }
    Ok(if violations.is_empty() { Outcome::Done } else { Outcome::Partly })
}

/// Of a backup that is not whole says where its copy is, or which one came before it.
fn or_the_one_before(error: anyhow::Error, args: &Args, context: &Context) -> anyhow::Error {
    if error.is::<LockError>()
        || error.is::<db::Newer>()
        || db::passing(&error, &context.config.database.path).is_some()
    {
        return error;
    }
    match backups::older(&context.config, &context.config_path, &args.file) {
        Some(older) => error.context(format!("nothing was changed; {older}")),
        None => error,
    }
}

/// Erases in the copy who was erased in the present database since. Returns how many; `None`: nobody knows whom.
fn erase_again(copy: &Database, erasures: Option<Erasures>, context: &Context) -> anyhow::Result<Option<usize>> {
    let now = context.clock.now();
    let Some(erasures) = erasures else { return Ok(None) };
    let erased = copy.writer().write_blocking(move |tx| {
        if !erasures.are_of(tx)? {
            return Ok(None);
        }
        let erased = privacy::erase_again(tx, &erasures, now)?;
        // It may have been the last that a run waited for.
        scoring::note_decided(tx)?;
        Ok(Some(erased))
    });
    match erased {
        // What cannot be in the copy is damage of the present one that nobody had noticed.
        Err(error) if is_contradiction(&error) => Ok(None),
        erased => erased,
    }
}

fn is_contradiction(error: &anyhow::Error) -> bool {
    let Some(LedgerError::Sqlite(error)) = error.downcast_ref() else { return false };
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation)
}

/// Queues what had no deliveries yet, as the next start would, and holds everything that would go out.
fn hold(copy: &Database, context: &Context) -> anyhow::Result<usize> {
    let settings = score::settings(context)?;
    scoring::resume(copy, &settings, &context.clock)?;
    let now = context.clock.now();
    loop {
        let routes = settings.routes.clone();
        let queued = copy
            .writer()
            .write_blocking(move |tx| Ok(outbox::fan_out_unqueued(tx, &routes, QUEUE, &mut Ids::random(now), now)?))?;
        if queued < QUEUE {
            break;
        }
    }
    copy.writer().write_blocking(move |tx| {
        db::note_restored(tx, now)?;
        Ok(outbox::hold_restored(tx)?)
    })
}
