//! `quintile export`: everything out, for whoever moves away or wants to look with other tools.
//!
//! One read transaction, so that all files tell of the same moment, beside a running server or not.
//! Rows are streamed: a million customers need no more memory than one.

mod lines;
mod postgres;
mod tables;

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Context, Outcome, UsageError};
use crate::{
    db::{SCHEMA_VERSION, make_private_folder, private_file},
    scoring::told::Told,
};
use tables::Words;

/// Write everything that is known to a folder: customers, orders, scores, history, events, deliveries
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write to: a new one, or an empty one
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// A file per table, one JSON object per line
    #[default]
    Jsonl,
    /// A file per table, RFC 4180; values as they are, without a guard against formulas
    Csv,
    /// One file for PostgreSQL's psql
    Sql,
}

impl Format {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Sql => "sql",
        }
    }
}

/// What the manifest and the command say about a table.
struct Exported {
    table: &'static str,
    file: String,
    rows: u64,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let mut connection = readers.get()?;
    let snapshot = connection.transaction()?;
    let mut folder = Folder::make(&args.to)?;
    let words =
        Words { currency: context.config.shop.currency, ranked: Told::from_config(&context.config).condition() };
    let exported = write_tables(&snapshot, args.format, &words, &mut folder)?;
    let manifest = manifest(args.format, context, &exported);
    folder.write("manifest.json", |out| {
        serde_json::to_writer_pretty(&mut *out, &manifest)?;
        Ok(out.write_all(b"\n")?)
    })?;
    folder.keep();
    report(&args.to, &exported)?;
    Ok(Outcome::Done)
}

fn write_tables(
    snapshot: &Connection,
    format: Format,
    words: &Words,
    folder: &mut Folder,
) -> anyhow::Result<Vec<Exported>> {
    let progress = progress();
    if format == Format::Sql {
        let file = "quintile.sql";
        return folder.write(file, |out| {
            let counted = postgres::write(snapshot, words, out, &progress)?;
            Ok(counted.into_iter().map(|(table, rows)| Exported { table, file: file.to_owned(), rows }).collect())
        });
    }
    let export = |table: &tables::Table| {
        let file = format!("{}.{}", table.name, format.as_str());
        progress.set_message(table.name);
        let rows = folder.write(&file, |out| match format {
            Format::Csv => lines::write(snapshot, table, words, lines::Csv::new(out), &progress),
            _ => lines::write(snapshot, table, words, lines::Json::new(out), &progress),
        })?;
        Ok(Exported { table: table.name, file, rows })
    };
    tables::TABLES.iter().map(export).collect()
}

/// On standard error, and only when that is a terminal.
fn progress() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {human_pos} rows, {elapsed}") {
        bar.set_style(style);
    }
    bar
}

/// Written last: a folder with a manifest is whole. The parameters are those of `scoring/score.sql`.
fn manifest(format: Format, context: &Context, exported: &[Exported]) -> Value {
    let (shop, scoring) = (&context.config.shop, &context.config.scoring);
    let tables: Vec<_> =
        exported.iter().map(|it| json!({ "table": it.table, "file": it.file, "rows": it.rows })).collect();
    json!({
        "quintile": env!("CARGO_PKG_VERSION"),
        "schema": SCHEMA_VERSION,
        "exportedAt": context.clock.now(),
        "format": format.as_str(),
        "shopId": shop.id,
        "currency": shop.currency.code(),
        "currencyDigits": shop.currency.digits(),
        "scoring": {
            "ties": scoring.ties,
            "windowDays": scoring.window_days,
            "includeWithoutOrders": scoring.include_without_orders,
        },
        "tables": tables,
    })
}

fn report(to: &Path, exported: &[Exported]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for Exported { table, rows, .. } in exported {
        writeln!(out, "{table:<16} {rows:>10}")?;
    }
    writeln!(out, "Written to {}. It names people: keep it where only you can read it.", to.display())
}

/// The folder of an export. What was written goes again unless it is [`kept`](Self::keep).
struct Folder<'a> {
    path: &'a Path,
    made: Vec<PathBuf>,
}

impl<'a> Folder<'a> {
    /// # Errors
    /// There is something in it, or it cannot be made.
    fn make(path: &'a Path) -> anyhow::Result<Self> {
        match fs::read_dir(path).map(|mut entries| entries.next().is_some()) {
            Ok(false) => {}
            Ok(true) => {
                let path = path.display();
                return Err(UsageError(format!(
                    "{path} is not empty, and an export overwrites nothing; name another folder, like --to {path}/export"
                ))
                .into());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => make_private_folder(path)?,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(UsageError(format!("{} is a file; name a folder", path.display())).into());
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read the folder {}", path.display())),
        }
        Ok(Self { path, made: Vec::new() })
    }

    /// Makes a file that only its owner may read, and brings it to the disk.
    fn write<T>(
        &mut self,
        name: &str,
        fill: impl FnOnce(&mut BufWriter<File>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let path = self.path.join(name);
        let written = || -> anyhow::Result<T> {
            let file = private_file().create_new(true).open(&path)?;
            self.made.push(path.clone());
            let mut out = BufWriter::with_capacity(1 << 16, file);
            let filled = fill(&mut out)?;
            out.into_inner()?.sync_all()?;
            Ok(filled)
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }

    fn keep(&mut self) {
        self.made.clear();
    }
}

impl Drop for Folder<'_> {
    fn drop(&mut self) {
        for path in &self.made {
            let _ = fs::remove_file(path);
        }
    }
}
