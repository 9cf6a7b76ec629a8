//! How commands print: a table for people, JSON or CSV for programs.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::Value;

use crate::model::spreadsheet;

/// `--format`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// With a header line, for spreadsheets
    Csv,
}

/// A column of a list.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// In camelCase, as in JSON; CSV has it in `snake_case`.
    name: &'static str,
    /// Its head in the table; `None`: too much for a terminal, in JSON and CSV alone.
    title: Option<&'static str>,
    align: Align,
    /// A share: the table shows it in percent.
    percent: bool,
    /// Holds what a customer may have typed, which a spreadsheet must not run as a formula.
    guarded: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Align {
    Left,
    Right,
}

impl Column {
    pub const fn text(name: &'static str, title: &'static str) -> Self {
        Self { name, title: Some(title), align: Align::Left, percent: false, guarded: false }
    }

    pub const fn number(name: &'static str, title: &'static str) -> Self {
        Self { name, title: Some(title), align: Align::Right, percent: false, guarded: false }
    }

    /// A number of 0 to 1.
    pub const fn share(name: &'static str, title: &'static str) -> Self {
        Self { percent: true, ..Self::number(name, title) }
    }

    /// Not in the table.
    pub const fn hidden(name: &'static str) -> Self {
        Self { name, title: None, align: Align::Left, percent: false, guarded: false }
    }

    /// Typed by a customer.
    pub const fn guarded(self) -> Self {
        Self { guarded: true, ..self }
    }
}

/// Rows until the widths of a table's columns are settled; the rest is printed as it comes, so
/// that a million rows need no memory.
const MEASURED: usize = 500;

/// Prints rows in the format asked for, one by one.
pub struct List<W: Write> {
    columns: &'static [Column],
    out: Form<W>,
}

enum Form<W: Write> {
    Table { out: BufWriter<W>, waiting: Vec<Vec<String>>, widths: Option<Vec<usize>>, empty: &'static str },
    Json { out: BufWriter<W>, any: bool },
    Csv(Box<csv::Writer<W>>),
}

impl List<io::StdoutLock<'static>> {
    /// To standard output. `empty` is what a person reads when there are no rows.
    pub fn to_stdout(format: Format, columns: &'static [Column], empty: &'static str) -> io::Result<Self> {
        Self::new(io::stdout().lock(), format, columns, empty)
    }
}

impl<W: Write> List<W> {
    fn new(out: W, format: Format, columns: &'static [Column], empty: &'static str) -> io::Result<Self> {
        let out = match format {
            Format::Table => Form::Table { out: BufWriter::new(out), waiting: Vec::new(), widths: None, empty },
            Format::Json => Form::Json { out: BufWriter::new(out), any: false },
            Format::Csv => {
                let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
                writer.write_record(columns.iter().map(|column| snake_case(column.name))).map_err(io_error)?;
                Form::Csv(Box::new(writer))
            }
        };
        Ok(Self { columns, out })
    }

    /// One value per column, in their order.
    pub fn row(&mut self, values: &[Value]) -> io::Result<()> {
        let columns = self.columns;
        self.row_or_document(values, &Object { columns, values })
    }

    /// [`Self::row`], but in JSON `document`: for what has a published shape of its own.
    pub fn row_or_document(&mut self, values: &[Value], document: &impl Serialize) -> io::Result<()> {
        debug_assert_eq!(values.len(), self.columns.len());
        let columns = self.columns;
        match &mut self.out {
            Form::Table { out, waiting, widths, .. } => {
                let shown = columns.iter().zip(values).filter(|(column, _)| column.title.is_some());
                waiting.push(shown.map(|(column, value)| for_people(value, column.percent)).collect());
                if widths.is_none() && waiting.len() < MEASURED {
                    return Ok(());
                }
                print_waiting(out, columns, waiting, widths)
            }
            Form::Json { out, any } => {
                out.write_all(if *any { b",\n  " } else { b"[\n  " })?;
                *any = true;
                Ok(serde_json::to_writer(out, document)?)
            }
            Form::Csv(writer) => {
                let cells = columns.iter().zip(values).map(|(column, value)| for_csv(value, column.guarded));
                writer.write_record(cells).map_err(io_error)
            }
        }
    }

    /// Writes what is still held back.
    pub fn finish(mut self) -> io::Result<()> {
        match &mut self.out {
            Form::Table { out, waiting, widths, empty } => {
                if widths.is_none() && waiting.is_empty() {
                    writeln!(out, "{empty}")?;
                } else {
                    print_waiting(out, self.columns, waiting, widths)?;
                }
                out.flush()
            }
            Form::Json { out, any } => {
                out.write_all(if *any { b"\n]\n" } else { b"[]\n" })?;
                out.flush()
            }
            Form::Csv(writer) => writer.flush(),
        }
    }
}

/// Prints one object: its values one per line for people.
pub fn print_object(format: Format, columns: &'static [Column], values: &[Value]) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match format {
        Format::Table => {
            let width = columns.iter().map(|column| column.name.len()).max().unwrap_or_default();
            for (column, value) in columns.iter().zip(values) {
                writeln!(out, "{:width$}  {}", column.name, for_people(value, column.percent))?;
            }
            out.flush()
        }
        Format::Json => print_json(&Object { columns, values }),
        Format::Csv => {
            drop(out);
            let mut list = List::to_stdout(format, columns, "")?;
            list.row(values)?;
            list.finish()
        }
    }
}

/// Prints one JSON document.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    serde_json::to_writer_pretty(&mut out, value)?;
    writeln!(out)?;
    out.flush()
}

/// A row with its names, in the columns' order.
struct Object<'a> {
    columns: &'a [Column],
    values: &'a [Value],
}

impl Serialize for Object<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns.iter().map(|column| column.name).zip(self.values))
    }
}

fn print_waiting(
    out: &mut impl Write,
    columns: &[Column],
    waiting: &mut Vec<Vec<String>>,
    widths: &mut Option<Vec<usize>>,
) -> io::Result<()> {
    let shown = || columns.iter().filter_map(|column| Some((column.title?, column.align)));
    let first = widths.is_none();
    let widths = widths.get_or_insert_with(|| {
        let widest = |(index, (title, _)): (usize, (&str, Align))| {
            waiting.iter().map(|row| row[index].chars().count()).chain([title.chars().count()]).max().unwrap_or(0)
        };
        shown().enumerate().map(widest).collect()
    });
    if first {
        let titles: Vec<String> = shown().map(|(title, _)| title.to_owned()).collect();
        writeln!(out, "{}", table_line(&titles, widths, shown().map(|(_, align)| align)))?;
    }
    for row in waiting.drain(..) {
        writeln!(out, "{}", table_line(&row, widths, shown().map(|(_, align)| align)))?;
    }
    Ok(())
}

fn table_line(cells: &[String], widths: &[usize], aligns: impl Iterator<Item = Align>) -> String {
    let cell = |((cell, width), align): ((&String, &usize), Align)| match align {
        Align::Left => format!("{cell:<width$}"),
        Align::Right => format!("{cell:>width$}"),
    };
    let cells: Vec<String> = cells.iter().zip(widths).zip(aligns).map(cell).collect();
    cells.join("  ").trim_end().to_owned()
}

/// Without control characters: what a customer typed must not drive a terminal.
fn for_people(value: &Value, percent: bool) -> String {
    match value {
        Value::Number(share) if percent => format!("{:.1} %", share.as_f64().unwrap_or_default() * 100.0),
        Value::Null => "–".to_owned(),
        Value::Bool(value) => if *value { "yes" } else { "no" }.to_owned(),
        Value::String(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect(),
        other => other.to_string(),
    }
}

fn for_csv(value: &Value, guarded: bool) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if guarded => spreadsheet::guarded(text).into_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Keeps the kind, by which `cli::main` knows a reader that went away.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// "firstOrderAt" → "`first_order_at`"
fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column] = &[
        Column::text("firstName", "Name").guarded(),
        Column::number("orderCount", "Orders"),
        Column::hidden("lastOrderAt"),
    ];

    fn print(format: Format, rows: &[[Value; 3]]) -> String {
        let mut out = Vec::new();
        let mut list = List::new(&mut out, format, COLUMNS, "Nobody yet.").unwrap();
        for row in rows {
            list.row(row).unwrap();
        }
        list.finish().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_list_in_three_formats() {
        let rows = [
            [json!("Jürgen"), json!(12), json!(null)],
            [json!("=cmd()"), json!(-3), json!("2026-11-23T02:00:00Z")],
            [json!("a,\"b\"\x1b[2J"), json!(null), json!(null)],
        ];
        assert_eq!(
            print(Format::Table, &rows),
            "Name       Orders\nJürgen         12\n=cmd()         -3\na,\"b\" [2J       –\n"
        );
        assert_eq!(
            print(Format::Csv, &rows),
            "first_name,order_count,last_order_at\r\nJürgen,12,\r\n'=cmd(),-3,2026-11-23T02:00:00Z\r\n\"a,\"\"b\"\"\u{1b}[2J\",,\r\n"
        );
        let json: Value = serde_json::from_str(&print(Format::Json, &rows)).unwrap();
        assert_eq!(json[1], json!({"firstName": "=cmd()", "orderCount": -3, "lastOrderAt": "2026-11-23T02:00:00Z"}));
    }

    #[test]
    fn people_read_shares_in_percent() {
        assert_eq!(for_people(&json!(0.181), true), "18.1 %");
        assert_eq!(for_people(&json!(0.181), false), "0.181");
        assert_eq!(for_people(&json!(0.0), true), "0.0 %");
    }

    #[test]
    fn an_empty_list_is_one_too() {
        assert_eq!(print(Format::Table, &[]), "Nobody yet.\n");
        assert_eq!(print(Format::Json, &[]), "[]\n");
        assert_eq!(print(Format::Csv, &[]), "first_name,order_count,last_order_at\r\n");
    }

    #[test]
    fn a_long_table_keeps_its_widths() {
        let rows: Vec<_> = (0..2 * MEASURED + 7).map(|n| [json!("x"), json!(n), json!(null)]).collect();
        let table = print(Format::Table, &rows);
        assert_eq!(table.lines().count(), rows.len() + 1);
        assert!(table.lines().all(|line| line.len() == "Name  Orders".len()));
    }
}
