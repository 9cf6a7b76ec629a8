//! `quintile deliver`: the forwarder without the server.

use std::{io::Write, sync::Arc, time::Duration};

use anyhow::anyhow;
use tokio::sync::Notify;

use super::{
    Context, Format, Outcome, UsageError,
    signal::{listen_for_nudges, stop_signal},
};
use crate::{
    delivery::{Forwarder, Report},
    scoring,
};

/// Send what is waiting, without the server
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End when nothing is due; later retries stay in the queue
    #[arg(long)]
    until_idle: bool,
    /// Stop claiming after so many seconds; requests on their way may finish for ten more
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// How to print the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let database = context.open_database("quintile deliver")?;
    // A run that a crash stopped between its steps has events that nobody queued yet.
    scoring::resume(&database, &scoring::Settings::from_config(&context.config)?, &context.clock)?;
    let (writer, readers) = (database.writer().clone(), database.readers().clone());
    let wake = Arc::new(Notify::new());
    let forwarder = Forwarder::new(&context.config, writer, readers, context.clock.clone(), wake.clone())
        .map_err(|error| UsageError(format!("{error:#}")))?;
    let report = tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let shutdown = stop_signal()?;
        listen_for_nudges(wake)?;
        for (name, count) in forwarder.stranded().await? {
            eprintln!(
                "warning: open deliveries to {name:?}, which is no [[destination]] in {}: {count}; they wait until one has that name",
                context.config_path.display()
            );
        }
        let timeout = args.timeout.map(Duration::from_secs);
        anyhow::Ok(if args.until_idle {
            forwarder.drain(timeout, shutdown).await
        } else {
            forwarder.serve(timeout, shutdown).await
        })
    })?;
    print(&report, args.format)?;
    match report.error {
        Some(error) => Err(anyhow!(error)),
        // Without --until-idle the stop is the order that ends it, whatever is left.
        None if report.dead > 0 || report.refused > 0 || report.retrying > 0 => Ok(Outcome::Partly),
        None if report.cut_short && args.until_idle => Ok(Outcome::Partly),
        None => Ok(Outcome::Done),
    }
}

fn print(report: &Report, format: Format) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let Report { delivered, retrying, dead, held, unconsented, waiting, .. } = report;
    match format {
        Format::Json => {
            serde_json::to_writer(&mut out, report)?;
            writeln!(out)?;
        }
        Format::Csv => {
            writeln!(out, "delivered,retrying,dead,held,waiting\n{delivered},{retrying},{dead},{held},{waiting}")?;
        }
        Format::Table => {
            let undecided = "wait for your decision: `quintile deliveries release`, or `discard`";
            let held = match (*held - *unconsented, *unconsented) {
                (_, 0) => (*held, undecided.to_owned()),
                (0, _) => (*held, "go out by themselves once their customers agree to e-mail marketing".to_owned()),
                (decidable, unconsented) => (
                    *held,
                    format!("{decidable} {undecided}; {unconsented} go out by themselves once their customers agree"),
                ),
            };
            for (name, count, meaning) in [
                ("delivered", i64::try_from(*delivered)?, "taken by their tool"),
                ("retrying", *retrying, "failed so far, tried again later"),
                ("dead", i64::try_from(*dead)?, "given up; see `quintile deliveries --state dead`"),
                ("held", held.0, held.1.as_str()),
                ("waiting", *waiting, "not tried yet"),
            ] {
                writeln!(out, "{name:<10}{count:>10}  {meaning}")?;
            }
        }
    }
    Ok(())
}
