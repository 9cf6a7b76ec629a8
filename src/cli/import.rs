//! `quintile import`

mod preview;

use std::{
    io::{self, Write},
    path::PathBuf,
    sync::atomic::AtomicBool,
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Context, Format, Outcome, UsageError};
use crate::{
    db::Database,
    intake::csv::{self, FileReport, Input, Limits, Preview, Settings},
    ledger::Rules,
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
                for_people(&mut out, report, preview, args.dry_run)?;
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
        let one = |input: Input| {
            let bar = progress_bar(&input);
            let report =
                csv::try_out(input, tx, &rules, now, &AtomicBool::new(false), &|bytes| bar.set_position(bytes));
            bar.finish_and_clear();
            report
        };
        Err(Undone(inputs.into_iter().map(one).collect::<Result<_, _>>()?).into())
    });
    match undone {
        Ok(never) => match never {},
        Err(error) => error.downcast::<Undone>().map(|Undone(reports)| reports),
    }
}

/// On standard error, and only when that is a terminal.
fn progress_bar(input: &Input) -> ProgressBar {
    let bar = if input.size > 0 { ProgressBar::new(input.size) } else { ProgressBar::new_spinner() };
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {bytes} of {total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    bar.with_message(input.path.display().to_string())
}

/// Ends a dry run, so that its transaction is rolled back.
#[derive(Debug, thiserror::Error)]
#[error("nothing was stored: this was a dry run")]
struct Undone(Vec<FileReport>);

/// `previews`: of a dry run.
fn as_json(reports: &[FileReport], previews: Option<&[Preview]>, duration_ms: u128) -> serde_json::Value {
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
            if let Some(preview) = previews.and_then(|previews| previews.get(index)) {
                if let Some(columns) = &preview.table {
                    file["columns"] = preview::columns_as_json(columns);
                }
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

fn for_people(out: &mut impl Write, report: &FileReport, preview: &Preview, dry_run: bool) -> io::Result<()> {
    let FileReport { file, format, rows, orders, customers, rejected_file, rejections, rounded } = report;
    writeln!(out, "{}: {}, {rows} rows", file.display(), format.described())?;
    if dry_run {
        if let Some(columns) = &preview.table {
            preview::columns_for_people(out, columns)?;
        }
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
    if let Some(warning) = preview.warning {
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
