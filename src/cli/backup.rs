//! `quintile backup FILE`: a verified copy of the database, beside a running `serve`.

use std::{io::Write, path::PathBuf};

use serde_json::json;

use super::{Context, Format, Outcome, UsageError, output::print_json};
use crate::db::{self, Backup};

/// Copy the database to a file, while everything goes on, and read the copy back
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file to write; it must not be there yet
    file: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// # Errors
/// The file is there already or cannot be written; the database is damaged.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if args.file.exists() {
        return Err(UsageError(format!("{} is there already; name a new file", args.file.display())).into());
    }
    // Refuses what is not there, not ours or not of this schema, with a hint.
    drop(context.readers()?);
    let backup = db::back_up(&context.config.database.path, &args.file, &db::Ending::default())?;
    print(&backup, args.format)?;
    Ok(if backup.violations.is_empty() { Outcome::Done } else { Outcome::Partly })
}

fn print(backup: &Backup, format: Format) -> std::io::Result<()> {
    let (path, contents) = (backup.path.display().to_string(), backup.contents);
    let mut out = std::io::stdout().lock();
    match format {
        Format::Json => print_json(&json!({
            "file": path, "bytes": backup.bytes, "schema": contents.schema, "orders": contents.orders,
            "customers": contents.customers, "runs": contents.runs, "violations": backup.violations,
        })),
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(["file", "bytes", "schema", "orders", "customers", "runs", "violations"])?;
            let numbers = [contents.schema.into(), contents.orders, contents.customers, contents.runs];
            let mut record = vec![path, backup.bytes.to_string()];
            record.extend(numbers.map(|number: i64| number.to_string()));
            record.push(backup.violations.join(" "));
            csv.write_record(record)?;
            csv.flush()
        }
        Format::Table => {
            writeln!(
                out,
                "wrote {path}: {} orders, {} customers, {} runs.",
                contents.orders, contents.customers, contents.runs
            )?;
            writeln!(out, "It was read back and is whole.")?;
            for violation in &backup.violations {
                writeln!(out, "But its contents do not agree: {violation}; please report this.")?;
            }
            Ok(())
        }
    }
}
