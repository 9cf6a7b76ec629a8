//! The rows of a file of any format, each with what it says.

use std::io::Read;

use csv::ByteRecord;

use super::{
    Parsed, Parser,
    detect::{Content, HEAD},
    rows::Rows,
};
use crate::{
    intake::bulk::{FileLines, History, Node},
    ledger::Rules,
};

/// A row that was read.
pub(super) struct Row {
    /// 1 is the file's first.
    pub line: u64,
    /// What it says, or why it cannot be used.
    pub parsed: Result<Parsed, String>,
}

/// What reads a file.
pub(super) enum Source<R: Read> {
    Table { rows: Rows<R>, parser: Box<Parser> },
    Lines { lines: FileLines<R>, rules: Rules },
}

impl<R: Read> Source<R> {
    /// `rest` is what follows behind what was looked at.
    pub fn new(content: Content, rest: R) -> Self {
        match content {
            Content::Table(table) => Self::Table { rows: Rows::new(table.head, rest), parser: Box::new(table.parser) },
            Content::Lines { head, rules } => Self::Lines { lines: FileLines::new(head, rest), rules },
        }
    }

    /// The next row; `record` is filled with its cells, JSON lines having one. `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn next(&mut self, record: &mut ByteRecord) -> anyhow::Result<Option<Row>> {
        match self {
            Self::Table { rows, parser } => {
                let Some(line) = rows.read(record)? else { return Ok(None) };
                Ok(Some(Row { line, parsed: parser.parse(record) }))
            }
            Self::Lines { lines, rules } => {
                let Some(line) = lines.read()? else { return Ok(None) };
                record.clear();
                record.push_field(line.text.as_deref().unwrap_or_default());
                let parsed = line.node(rules, History::All).map(Parsed::from).map_err(|refused| refused.reason);
                Ok(Some(Row { line: line.number, parsed }))
            }
        }
    }

    /// Bytes of the file that are behind us.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Table { rows, .. } => rows.bytes(),
            Self::Lines { lines, .. } => lines.bytes(),
        }
    }

    /// Of what was looked at alone: whether its end has been reached, in the middle of a row maybe.
    pub fn is_used_up(&self) -> bool {
        match self {
            Self::Table { rows, .. } => rows.bytes() >= HEAD as u64,
            Self::Lines { lines, .. } => lines.position() >= HEAD as u64,
        }
    }
}

impl From<Node> for Parsed {
    fn from(node: Node) -> Self {
        match node {
            Node::Order { order, rounded } => Self::Order { order, rounded },
            Node::Person(person) => Self::Person(person),
            Node::Part => Self::Passed,
        }
    }
}

impl Content {
    /// The names of the cells.
    pub fn header(&self) -> ByteRecord {
        match self {
            Self::Table(table) => table.header.clone(),
            Self::Lines { .. } => ByteRecord::from(vec!["json"]),
        }
    }

    /// Whether the file goes on behind what was looked at.
    pub const fn is_cut(&self) -> bool {
        match self {
            Self::Table(table) => table.head.bytes.len() >= HEAD,
            Self::Lines { head, .. } => head.len() >= HEAD,
        }
    }

    /// Whether a later row is the newer state. Lines say when their object changed.
    pub const fn last_row_wins(&self) -> bool {
        matches!(self, Self::Table(_))
    }
}
