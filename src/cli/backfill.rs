//! `quintile backfill`

use std::io::Write;

use super::{Context, Format, Outcome, UsageError, score};
use crate::scoring::{self, Backfilled, night::Schedule};

/// Write the statistics of past weeks, so that trends start on the first day; changes no customer
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many weeks back
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=520))]
    weeks: u32,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let settings = score::settings(context)?;
    let config = &context.config.scoring;
    let schedule = Schedule::new(&config.cron, config.timezone).map_err(|error| UsageError(error.to_string()))?;
    let database = context.open_database("quintile backfill")?;
    scoring::resume(&database, &settings, &context.clock)?;
    let bar = score::Bar::default();
    let done = scoring::backfill(&database, &settings, &schedule, args.weeks, &context.clock, &bar)?;
    bar.clear();
    print(&done, args.format, &mut std::io::stdout().lock())?;
    Ok(Outcome::Done)
}

fn print(done: &Backfilled, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Table => {
            for run in &done.runs {
                writeln!(out, "{}  {:>10} customers", run.as_of, run.scored)?;
            }
            writeln!(out, "{} weeks written, {} skipped.", done.runs.len(), done.skipped)?;
        }
        Format::Json => {
            serde_json::to_writer(&mut *out, &serde_json::json!({ "runs": done.runs, "skipped": done.skipped }))?;
            writeln!(out)?;
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(["run_id", "as_of", "scored"])?;
            for run in &done.runs {
                let id = run.run_id.map(|id| id.to_string()).unwrap_or_default();
                csv.write_record([id, run.as_of.to_string(), run.scored.to_string()])?;
            }
            csv.flush()?;
        }
    }
    Ok(())
}
