//! `quintile import`

use std::{
    io::{self, Write},
    path::PathBuf,
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Context, Format, Outcome, UsageError};
use crate::{
    db::Database,
    intake::csv::{self, FileReport, Input, Limits, Settings},
    ledger::{Bulk, Rules},
    model::Timestamp,
};

/// Below the options in `--help`.
const HELP: &str = "\
Reads Shopify's orders export, and any CSV with the columns order_id, ordered_at, total, and \
customer_id or email (further: refunded, currency, status, first_name, last_name). [import] in \
config.toml maps other names and says how dates and amounts are written.

Importing a file again changes nothing. Rows that cannot be read are written to FILE.rejected.csv \
with line number and reason, and the exit code is 3.";

/// Bring orders in from files
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// CSV files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the files are
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    source_format: SourceFormat,
    /// Say what would happen and change nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `--source-format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum SourceFormat {
    /// Told from the content
    #[default]
    Auto,
    /// Shopify's orders export
    ShopifyCsv,
    /// The generic CSV
    Csv,
    /// Lines of a Shopify bulk operation
    ShopifyJsonl,
    /// Shopify's customers export
    ShopifyCustomersCsv,
}

impl SourceFormat {
    const fn wanted(self) -> Option<csv::Format> {
        match self {
            Self::Auto => None,
            Self::ShopifyCsv => Some(csv::Format::ShopifyCsv),
            Self::Csv => Some(csv::Format::Csv),
            Self::ShopifyJsonl => Some(csv::Format::ShopifyJsonl),
            Self::ShopifyCustomersCsv => Some(csv::Format::ShopifyCustomersCsv),
        }
    }
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    // Every file is looked at before anything is stored.
    let unusable = |problem: csv::Unusable| UsageError(problem.to_string());
    let settings = Settings::from_config(&context.config).map_err(unusable)?;
    let inputs = args
        .files
        .iter()
        .map(|path| csv::open(path, args.source_format.wanted(), &settings).map_err(unusable))
        .collect::<Result<Vec<_>, _>>()?;

    let database = context.open_database("quintile import")?;
    let rules = Rules::from_config(&context.config);
    let reports = if args.dry_run {
        try_out(inputs, &database, rules, context.clock.now())?
    } else {
        store(inputs, &database, &rules, context.clock.now())?
    };

    let duration_ms = started.elapsed().as_millis();
    let mut out = io::stdout().lock();
    match args.format {
        Format::Table => for_people(&mut out, &reports, duration_ms, args.dry_run)?,
        Format::Json => writeln!(out, "{}", as_json(&reports, duration_ms))?,
        Format::Csv => as_csv(&mut out, &reports)?,
    }
    out.flush()?;
    let rejected = reports.iter().any(|report| report.orders.rejected > 0);
    Ok(if rejected { Outcome::Partly } else { Outcome::Done })
}

fn store(inputs: Vec<Input>, database: &Database, rules: &Rules, now: Timestamp) -> anyhow::Result<Vec<FileReport>> {
    let one = |input: Input| {
        let bar = progress_bar(&input);
        let report = csv::store(input, database.writer(), rules, now, Limits::ALONE, &|bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        report
    };
    inputs.into_iter().map(one).collect()
}

/// All files in one transaction, which is undone: the report is what [`store`] would say.
fn try_out(inputs: Vec<Input>, database: &Database, rules: Rules, now: Timestamp) -> anyhow::Result<Vec<FileReport>> {
    let undone = database.writer().write_bulk_blocking(move |tx| -> anyhow::Result<std::convert::Infallible> {
        let mut bulk = Bulk::new(tx, &rules, now)?;
        let mut reports = Vec::with_capacity(inputs.len());
        for input in inputs {
            let bar = progress_bar(&input);
            let report = csv::import(input, false, &mut |batch| csv::apply(&mut bulk, batch), &|bytes| {
                bar.set_position(bytes);
            });
            bar.finish_and_clear();
            reports.push(report?);
        }
        bulk.finish()?;
        Err(Undone(reports).into())
    });
    match undone {
        Ok(never) => match never {},
        Err(error) => error.downcast::<Undone>().map(|Undone(reports)| reports),
    }
}

/// Ends a dry run, so that its transaction is rolled back.
#[derive(Debug, thiserror::Error)]
#[error("nothing was stored: this was a dry run")]
struct Undone(Vec<FileReport>);

/// On standard error, and only when that is a terminal.
fn progress_bar(input: &Input) -> ProgressBar {
    let bar = if input.size > 0 { ProgressBar::new(input.size) } else { ProgressBar::new_spinner() };
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    bar.with_message(input.path.display().to_string())
}

fn as_json(reports: &[FileReport], duration_ms: u128) -> serde_json::Value {
    let files: Vec<_> = reports
        .iter()
        .map(|report| {
            json!({
                "file": report.file.display().to_string(),
                "format": report.format.as_str(),
                "rows": report.rows,
                "orders": report.orders,
                "customers": report.customers,
                "rounded": report.rounded,
                "rejectedFile": report.rejected_file.as_ref().map(|path| path.display().to_string()),
            })
        })
        .collect();
    json!({ "files": files, "durationMs": duration_ms })
}

fn as_csv(out: &mut impl Write, reports: &[FileReport]) -> anyhow::Result<()> {
    let mut writer = ::csv::Writer::from_writer(out);
    writer.write_record([
        "file",
        "format",
        "rows",
        "orders_new",
        "orders_updated",
        "orders_unchanged",
        "orders_rejected",
        "customers_new",
        "customers_updated",
        "rejected_file",
        "rounded",
    ])?;
    for report in reports {
        let path = |path: &PathBuf| path.display().to_string();
        writer.write_record([
            path(&report.file),
            report.format.as_str().to_owned(),
            report.rows.to_string(),
            report.orders.new.to_string(),
            report.orders.updated.to_string(),
            report.orders.unchanged.to_string(),
            report.orders.rejected.to_string(),
            report.customers.new.to_string(),
            report.customers.updated.to_string(),
            report.rejected_file.as_ref().map(path).unwrap_or_default(),
            report.rounded.to_string(),
        ])?;
    }
    Ok(writer.flush()?)
}

fn for_people(out: &mut impl Write, reports: &[FileReport], duration_ms: u128, dry_run: bool) -> io::Result<()> {
    for FileReport { file, format, rows, orders, customers, rejected_file, rejections, rounded } in reports {
        let kind = match format {
            csv::Format::ShopifyCsv => "a Shopify orders export",
            _ => "a CSV of orders",
        };
        writeln!(out, "{}: {kind}, {rows} rows", file.display())?;
        writeln!(
            out,
            "  orders     {} new, {} updated, {} unchanged, {} rejected",
            orders.new, orders.updated, orders.unchanged, orders.rejected
        )?;
        writeln!(out, "  customers  {} new, {} updated", customers.new, customers.updated)?;
        if *rounded > 0 {
            writeln!(out, "  orders with amounts of too many decimals, which were rounded: {rounded}")?;
        }
        for rejection in rejections {
            writeln!(out, "  line {}: {}", rejection.line, rejection.reason)?;
        }
        if orders.rejected > rejections.len() as u64 {
            writeln!(out, "  and {} more", orders.rejected - rejections.len() as u64)?;
        }
        if let Some(path) = rejected_file {
            writeln!(out, "  rejected rows are in {}; correct and import that file", path.display())?;
        }
    }
    let seconds = format!("{}.{} s", duration_ms / 1000, duration_ms % 1000 / 100);
    if dry_run { writeln!(out, "Dry run, {seconds}: nothing was stored.") } else { writeln!(out, "Done in {seconds}.") }
}
