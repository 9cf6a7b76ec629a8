//! `quintile score`

use std::{io::Write, sync::Mutex};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Context, Format, Outcome, UsageError};
use crate::{
    db::LockError,
    model::Timestamp,
    scoring::{self, Progress, Request, Settings, Step, Summary, Trigger},
};

/// Score everyone now: both steps of a nightly run
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Orders after this time do not exist for the run. Before the latest run, only statistics are written
    #[arg(long, value_name = "TIME")]
    as_of: Option<String>,
    /// Show what would change and write nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let settings = settings(context)?;
    let now = context.clock.now();
    let as_of = as_of(args.as_of.as_deref(), now)?;
    if as_of > now && !args.dry_run {
        eprintln!(
            "warning: {as_of} lies in the future; no nightly run starts until then, or until one is made as of now"
        );
    }
    let bar = Bar::default();
    let summary = if args.dry_run {
        scoring::dry_run(&context.readers()?, &settings, as_of, &bar)?
    } else {
        let database = context.open_database("quintile score").map_err(or_on_the_dashboard)?;
        scoring::resume(&database, &settings, &context.clock)?;
        let request = Request { trigger: Trigger::Manual, slot: None, as_of, missed: 0 };
        scoring::run(&database, &settings, request, &context.clock, &bar)?
    };
    bar.clear();
    print(&summary, args.format, &mut std::io::stdout().lock())?;
    Ok(Outcome::Done)
}

/// What this command does, a running `serve` does too when it is asked.
fn or_on_the_dashboard(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<LockError>() {
        Some(LockError::Held { holder, .. }) if holder.ends_with("(quintile serve)") => {
            anyhow!("{error}, or press Score now on its dashboard")
        }
        _ => error,
    }
}

/// Wrong rules and destinations are wrong configuration.
pub(super) fn settings(context: &Context) -> anyhow::Result<Settings> {
    Settings::from_config(&context.config).map_err(|error| UsageError(format!("{error:#}")).into())
}

fn as_of(text: Option<&str>, now: Timestamp) -> anyhow::Result<Timestamp> {
    let Some(text) = text else { return Ok(now) };
    Timestamp::parse_rfc3339(text).map_err(|error| UsageError(format!("--as-of: {error}")).into())
}

fn print(summary: &Summary, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Table => print_table(summary, out)?,
        Format::Json => {
            serde_json::to_writer(&mut *out, summary)?;
            writeln!(out)?;
        }
        Format::Csv => {
            let mut csv = csv::Writer::from_writer(out);
            csv.write_record(["run_id", "as_of", "trigger", "scored", "changed", "baseline", "segment", "customers"])?;
            for (segment, customers) in &summary.segments {
                csv.write_record([
                    summary.run_id.map(|id| id.to_string()).unwrap_or_default(),
                    summary.as_of.to_string(),
                    summary.trigger.to_string(),
                    summary.scored.to_string(),
                    summary.changed.to_string(),
                    summary.baseline.to_string(),
                    segment.clone(),
                    customers.to_string(),
                ])?;
            }
            csv.flush()?;
        }
    }
    Ok(())
}

fn print_table(summary: &Summary, out: &mut dyn Write) -> std::io::Result<()> {
    for (segment, customers) in &summary.segments {
        writeln!(out, "{segment:<20} {customers:>10}")?;
    }
    let what = match summary.run_id {
        Some(id) => format!("Run {id}"),
        None => "A dry run".to_owned(),
    };
    writeln!(
        out,
        "{what} as of {}: {} customers scored, {} changed segment, in {:.1} s.",
        summary.as_of,
        summary.scored,
        summary.changed,
        summary.duration.as_secs_f64()
    )?;
    if summary.statistics_only {
        writeln!(out, "A later run exists, so only the statistics were written; no customer was changed.")?;
    }
    if summary.baseline {
        writeln!(out, "This is the baseline: everyone was new to it.")?;
    }
    if let Some(id) = summary.run_id.filter(|_| summary.held) {
        writeln!(
            out,
            "Its deliveries are held: `quintile deliveries release --run {id}` sends them, `discard` in its place drops them."
        )?;
    }
    Ok(())
}

/// A progress bar on standard error, on a terminal only.
#[derive(Default)]
pub(super) struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    pub(super) fn clear(&self) {
        if let Some(bar) = self.lock().take() {
            bar.finish_and_clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Progress for Bar {
    fn begin(&self, step: Step, total: u64) {
        self.clear();
        let (message, template) = match step {
            Step::Rank => ("Ranking", "{msg:<9} {wide_bar} {human_pos}/{human_len} {eta}"),
            Step::Write => ("Writing", "{msg:<9} {spinner} {human_len} changes"),
            Step::Emit => ("Queueing", "{msg:<9} {wide_bar} {human_pos}/{human_len} {eta}"),
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        *self.lock() = Some(ProgressBar::new(total).with_style(style).with_message(message));
    }

    fn advance(&self, done: u64) {
        if let Some(bar) = self.lock().as_ref() {
            bar.set_position(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_that_of_the_interface() {
        let summary = Summary {
            run_id: Some(1),
            as_of: Timestamp::parse_rfc3339("2026-11-23T02:00:00Z").unwrap(),
            trigger: Trigger::Manual,
            scored: 3,
            changed: 2,
            baseline: false,
            remap: false,
            held: false,
            statistics_only: false,
            segments: vec![("champion".to_owned(), 2), ("at_risk".to_owned(), 1)],
            duration: std::time::Duration::from_millis(12),
            score_ms: 10,
            emit_ms: 2,
        };
        let mut out = Vec::new();
        print(&summary, Format::Json, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap().trim_end(), @r#"{"runId":"1","asOf":"2026-11-23T02:00:00Z","trigger":"manual","scored":3,"changed":2,"baseline":false,"remap":false,"held":false,"statisticsOnly":false,"segments":{"champion":2,"at_risk":1},"durationMs":12,"steps":{"scoreMs":10,"emitMs":2}}"#);
    }

    #[test]
    fn as_of_may_be_any_time() {
        let now = Timestamp::parse_rfc3339("2026-11-23T02:00:00Z").unwrap();
        assert_eq!(as_of(None, now).unwrap(), now);
        assert_eq!(as_of(Some("2026-11-23T02:00:00Z"), now).unwrap(), now);
        assert!(as_of(Some("2026-11-23T02:00:01Z"), now).unwrap() > now);
        assert!(as_of(Some("tomorrow"), now).unwrap_err().is::<UsageError>());
    }
}
