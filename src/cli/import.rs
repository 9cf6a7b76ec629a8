//! `quintile import`

mod preview;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Context, Format, Outcome, UsageError};
use crate::{
    db::Database,
    intake::{
        bulk,
        csv::{self, FileReport, Limits, Preview, Settings},
    },
    ledger::{Bulk, Rules},
    model::Timestamp,
};

/// Below the options in `--help`.
const HELP: &str = "\
Reads Shopify's exports of orders and of customers, and the JSON lines of its bulk operations (also \
gzip); any CSV with the columns order_id, ordered_at, \
total, and customer_id or email (further: refunded, currency, status, first_name, last_name); and \
lists of customers with customer_id or email (further: first_name, last_name, phone, consent, tags). \
[import] in config.toml maps other names, and says how dates and amounts are written and whose ids \
these are. --dry-run shows how the first rows are read and what would change.

Importing a file again changes nothing. Rows that cannot be read are written to FILE.rejected.csv \
with line number and reason, and the exit code is 3.";

/// Bring orders and customers in from files
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// CSV or JSONL files
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
    /// The generic list of customers
    CustomersCsv,
}

impl SourceFormat {
    const fn wanted(self) -> Option<csv::Format> {
        match self {
            Self::Auto => None,
            Self::ShopifyCsv => Some(csv::Format::ShopifyCsv),
            Self::Csv => Some(csv::Format::Csv),
            Self::ShopifyJsonl => Some(csv::Format::ShopifyJsonl),
            Self::ShopifyCustomersCsv => Some(csv::Format::ShopifyCustomersCsv),
            Self::CustomersCsv => Some(csv::Format::CustomersCsv),
        }
    }
}

/// A file of either kind, ready to be imported.
enum Input {
    Table(Box<csv::Input>),
    Lines(bulk::Input),
}

impl Input {
    fn open(path: &Path, wanted: Option<csv::Format>, settings: &Settings) -> Result<Self, csv::Unusable> {
        let lines = wanted.map_or_else(|| bulk::recognises(path), |wanted| wanted == csv::Format::ShopifyJsonl);
        if lines {
            bulk::open(path).map(Self::Lines)
        } else {
            csv::open(path, wanted, settings).map(Box::new).map(Self::Table)
        }
    }

    /// Of a table: how its first rows are read. The lines of a bulk operation say it themselves.
    fn preview(&self) -> Option<Preview> {
        match self {
            Self::Table(input) => Some(input.preview()),
            Self::Lines(_) => None,
        }
    }

    /// Stores the file, with a bar.
    fn store(self, database: &Database, rules: &Rules, now: Timestamp) -> anyhow::Result<FileReport> {
        let bar = self.progress_bar();
        let progress = |bytes| bar.set_position(bytes);
        let report = match self {
            Self::Table(input) => csv::store(*input, database.writer(), rules, now, Limits::ALONE, &progress),
            Self::Lines(input) => bulk::store(input, database.writer(), rules, now, &progress),
        };
        bar.finish_and_clear();
        report
    }

    /// Applies the file in a transaction, with a bar; rejected rows are not written.
    fn try_out(self, ledger: &mut Bulk<'_>, rules: &Rules) -> anyhow::Result<FileReport> {
        let bar = self.progress_bar();
        let progress = |bytes| bar.set_position(bytes);
        let report = match self {
            Self::Table(input) => csv::import(*input, false, &mut |batch| csv::apply(ledger, batch), &progress),
            Self::Lines(input) => {
                let mut apply = |nodes: Vec<bulk::Node>| bulk::apply_history(ledger, &nodes);
                bulk::import(input, rules, false, &mut apply, &progress)
            }
        };
        bar.finish_and_clear();
        report
    }

    /// On standard error, and only when that is a terminal.
    fn progress_bar(&self) -> ProgressBar {
        let (path, size) = match self {
            Self::Table(input) => (&input.path, input.size),
            Self::Lines(input) => (&input.path, input.size),
        };
        let bar = if size > 0 { ProgressBar::new(size) } else { ProgressBar::new_spinner() };
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left") {
            bar.set_style(style);
        }
        bar.with_message(path.display().to_string())
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
        .map(|path| Input::open(path, args.source_format.wanted(), &settings).map_err(unusable))
        .collect::<Result<Vec<_>, _>>()?;

    let previews: Vec<_> = inputs.iter().map(Input::preview).collect();
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
        Format::Table => {
            for (report, preview) in reports.iter().zip(&previews) {
                for_people(&mut out, report, preview.as_ref(), args.dry_run)?;
            }
            closing(&mut out, duration_ms, args.dry_run)?;
        }
        Format::Json => {
            let shown = args.dry_run.then_some(previews.as_slice());
            writeln!(out, "{}", as_json(&reports, shown, duration_ms))?;
        }
        Format::Csv => as_csv(&mut out, &reports)?,
    }
    out.flush()?;
    let rejected = reports.iter().any(|report| report.rejected() > 0);
    Ok(if rejected { Outcome::Partly } else { Outcome::Done })
}

fn store(inputs: Vec<Input>, database: &Database, rules: &Rules, now: Timestamp) -> anyhow::Result<Vec<FileReport>> {
    inputs.into_iter().map(|input| input.store(database, rules, now)).collect()
}

/// All files in one transaction, which is undone: the report is what [`store`] would say.
fn try_out(inputs: Vec<Input>, database: &Database, rules: Rules, now: Timestamp) -> anyhow::Result<Vec<FileReport>> {
    let undone = database.writer().write_bulk_blocking(move |tx| -> anyhow::Result<std::convert::Infallible> {
        let mut bulk = Bulk::of_many(tx, &rules, now)?;
        let mut reports = Vec::with_capacity(inputs.len());
        for input in inputs {
            reports.push(input.try_out(&mut bulk, &rules)?);
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

/// `previews`: of a dry run.
fn as_json(reports: &[FileReport], previews: Option<&[Option<Preview>]>, duration_ms: u128) -> serde_json::Value {
    let files: Vec<_> = reports
        .iter()
        .enumerate()
        .map(|(index, report)| {
            let mut file = json!({
                "file": report.file.display().to_string(),
                "format": report.format.as_str(),
                "rows": report.rows,
                "orders": report.orders,
                "customers": report.customers,
                "rounded": report.rounded,
                "rejectedFile": report.rejected_file.as_ref().map(|path| path.display().to_string()),
            });
            if let Some(preview) = previews.and_then(|previews| previews.get(index)?.as_ref()) {
                file["columns"] = preview::columns_as_json(preview);
                file["preview"] = preview::rows_as_json(preview);
            }
            file
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

fn for_people(out: &mut impl Write, report: &FileReport, preview: Option<&Preview>, dry_run: bool) -> io::Result<()> {
    let FileReport { file, format, rows, orders, customers, rejected_file, rejections, rounded } = report;
    writeln!(out, "{}: {}, {rows} rows", file.display(), format.described())?;
    if let Some(preview) = preview.filter(|_| dry_run) {
        preview::columns_for_people(out, preview)?;
        preview::rows_for_people(out, preview)?;
    }
    if format.is_of_customers() {
        writeln!(
            out,
            "  customers  {} new, {} updated, {} unchanged, {} rejected",
            customers.new, customers.updated, customers.unchanged, customers.rejected
        )?;
    } else {
        writeln!(
            out,
            "  orders     {} new, {} updated, {} unchanged, {} rejected",
            orders.new, orders.updated, orders.unchanged, orders.rejected
        )?;
        writeln!(out, "  customers  {} new, {} updated", customers.new, customers.updated)?;
    }
    if *rounded > 0 {
        writeln!(out, "  orders with amounts of too many decimals, which were rounded: {rounded}")?;
    }
    if let Some(warning) = preview.and_then(|preview| preview.warning) {
        writeln!(out, "  note: {warning}")?;
    }
    for rejection in rejections {
        writeln!(out, "  line {}: {}", rejection.line, rejection.reason)?;
    }
    if report.rejected() > rejections.len() as u64 {
        writeln!(out, "  and {} more", report.rejected() - rejections.len() as u64)?;
    }
    if let Some(path) = rejected_file {
        writeln!(out, "  rejected rows are in {}; correct and import that file", path.display())?;
    }
    Ok(())
}

fn closing(out: &mut impl Write, duration_ms: u128, dry_run: bool) -> io::Result<()> {
    let seconds = format!("{}.{} s", duration_ms / 1000, duration_ms % 1000 / 100);
    if dry_run { writeln!(out, "Dry run, {seconds}: nothing was stored.") } else { writeln!(out, "Done in {seconds}.") }
}
