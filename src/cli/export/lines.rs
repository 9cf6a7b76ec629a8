//! JSON lines and CSV: the conventions of every command and page. Ids are text, money is decimal in
//! the currency's own digits, times are RFC 3339.

use std::{borrow::Cow, io::Write};

use anyhow::Context as _;
use indicatif::ProgressBar;
use rusqlite::{Connection, types::ValueRef};

use super::tables::{Kind, Table, Words};
use crate::{
    model::{Currency, Money, Timestamp},
    outbox::{evt_id, msg_id},
};

/// A value as it is written.
pub(super) enum Cell<'a> {
    Null,
    /// A number or a truth value.
    Bare(Cow<'a, str>),
    Text(Cow<'a, str>),
}

/// How rows become lines.
pub(super) trait Lines {
    fn head(&mut self, table: &Table) -> anyhow::Result<()>;
    fn cell(&mut self, cell: &Cell<'_>) -> anyhow::Result<()>;
    fn end(&mut self) -> anyhow::Result<()>;
    /// Writes what is still held back.
    fn finish(self) -> anyhow::Result<()>;
}

/// Writes a table; returns the count of its rows.
pub(super) fn write(
    snapshot: &Connection,
    table: &Table,
    words: &Words,
    mut out: impl Lines,
    progress: &ProgressBar,
) -> anyhow::Result<u64> {
    let mut statement = snapshot.prepare(&table.select(words))?;
    let mut rows = statement.query([])?;
    out.head(table)?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        for (index, (name, kind, _)) in table.columns.iter().enumerate() {
            let cell = cell(row.get_ref(index)?, *kind, words.currency)
                .with_context(|| format!("{} of row {} of {}", name, count + 1, table.name))?;
            out.cell(&cell)?;
        }
        out.end()?;
        count += 1;
        progress.inc(1);
    }
    out.finish()?;
    Ok(count)
}

fn cell(value: ValueRef<'_>, kind: Kind, currency: Currency) -> anyhow::Result<Cell<'_>> {
    let bare = |text: String| Cell::Bare(text.into());
    let text = |text: String| Cell::Text(text.into());
    Ok(match (value, kind) {
        (ValueRef::Null, _) => Cell::Null,
        (ValueRef::Integer(flag), Kind::Flag) => Cell::Bare(if flag == 1 { "true" } else { "false" }.into()),
        (ValueRef::Integer(number), Kind::Number) => bare(number.to_string()),
        (ValueRef::Integer(id), Kind::Id) => text(id.to_string()),
        (ValueRef::Integer(minor), Kind::Money) => text(Money(minor).to_decimal(currency)),
        (ValueRef::Integer(millis), Kind::Time) => text(Timestamp::from_millis(millis).to_string()),
        (ValueRef::Blob(id), Kind::Event) => text(evt_id(id.try_into()?)),
        (ValueRef::Blob(id), Kind::Message) => text(msg_id(id.try_into()?)),
        (ValueRef::Text(bytes) | ValueRef::Blob(bytes), Kind::Text) => Cell::Text(String::from_utf8_lossy(bytes)),
        (other, kind) => anyhow::bail!("{} is no {kind:?}", other.data_type()),
    })
}

/// One object per line.
pub(super) struct Json<W> {
    out: W,
    /// The keys with what stands before and after them: `,"orderCount":`.
    keys: Vec<String>,
    next: usize,
}

impl<W: Write> Json<W> {
    pub const fn new(out: W) -> Self {
        Self { out, keys: Vec::new(), next: 0 }
    }
}

impl<W: Write> Lines for Json<W> {
    fn head(&mut self, table: &Table) -> anyhow::Result<()> {
        let before = std::iter::once('{').chain(std::iter::repeat(','));
        self.keys = before
            .zip(table.columns)
            .map(|(before, (name, ..))| format!("{before}\"{}\":", camel_case(name)))
            .collect();
        Ok(())
    }

    fn cell(&mut self, cell: &Cell<'_>) -> anyhow::Result<()> {
        self.out.write_all(self.keys[self.next].as_bytes())?;
        self.next += 1;
        match cell {
            Cell::Null => self.out.write_all(b"null")?,
            Cell::Bare(text) => self.out.write_all(text.as_bytes())?,
            Cell::Text(text) => serde_json::to_writer(&mut self.out, text)?,
        }
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.next = 0;
        Ok(self.out.write_all(b"}\n")?)
    }

    fn finish(self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// With a header line; an empty cell is no value. No guard against formulas: an export is read by
/// programs, and an apostrophe before every phone number would be wrong there.
pub(super) struct Csv<W: Write>(csv::Writer<W>);

impl<W: Write> Csv<W> {
    pub fn new(out: W) -> Self {
        Self(csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out))
    }
}

impl<W: Write> Lines for Csv<W> {
    fn head(&mut self, table: &Table) -> anyhow::Result<()> {
        Ok(self.0.write_record(table.columns.iter().map(|(name, ..)| name))?)
    }

    fn cell(&mut self, cell: &Cell<'_>) -> anyhow::Result<()> {
        Ok(self.0.write_field(match cell {
            Cell::Null => "",
            Cell::Bare(text) | Cell::Text(text) => text,
        })?)
    }

    fn end(&mut self) -> anyhow::Result<()> {
        Ok(self.0.write_record(None::<&[u8]>)?)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        Ok(self.0.flush()?)
    }
}

/// `first_order_at` → "firstOrderAt"
fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        camel.push_str(&first.to_ascii_uppercase());
        camel.push_str(rest);
    }
    camel
}
