//! What a file looks like before it is imported: which column is which, and its first rows as they
//! would be read. Made of the bytes that were read to tell what the file is, so it costs nothing.

use csv::ByteRecord;

use super::{
    Input, Parsed,
    detect::{Content, Table},
    header::Header,
    source::{Row, Source},
};
use crate::model::{Order, Person};

/// Rows shown.
const SHOWN: usize = 5;

/// What is shown of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// Of a CSV.
    pub table: Option<Columns>,
    /// What the merchant should know before importing it.
    pub warning: Option<&'static str>,
    pub rows: Vec<Shown>,
}

/// Which column of a CSV is which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// What separates cells.
    pub delimiter: char,
    /// Our name of a column, and the file's.
    pub read: Vec<(&'static str, String)>,
    /// How many columns are not read.
    pub others: usize,
}

/// A row as it would be read. Rows that say nothing new (further line items) are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub line: u64,
    pub read: Result<Read, String>,
}

/// What a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    Order(Box<Order>),
    Person(Box<Person>),
}

impl Input {
    /// The first rows and the mapping. Reads nothing of the file.
    #[must_use]
    pub fn preview(&self) -> Preview {
        let (table, warning) = match &self.content {
            Content::Table(table) => (Some(table.columns()), table.parser.warning()),
            Content::Lines { .. } => (None, None),
        };
        Preview { table, warning, rows: self.first_rows() }
    }

    fn first_rows(&self) -> Vec<Shown> {
        let (mut source, mut record) = (Source::new(self.content.clone(), std::io::empty()), ByteRecord::new());
        let mut shown = Vec::with_capacity(SHOWN);
        while shown.len() < SHOWN {
            let Ok(Some(Row { line, parsed })) = source.next(&mut record) else { break };
            if self.content.is_cut() && source.is_used_up() {
                break; // the last row goes on behind what was read
            }
            let read = match parsed {
                Ok(Parsed::Order { order, .. }) => Ok(Read::Order(order)),
                Ok(Parsed::Person(person)) => Ok(Read::Person(person)),
                Ok(Parsed::Passed) => continue,
                Err(reason) => Err(reason),
            };
            shown.push(Shown { line, read });
        }
        shown
    }
}

impl Table {
    fn columns(&self) -> Columns {
        let columns = self.parser.columns();
        let mut used: Vec<_> = columns.iter().filter_map(|(_, column)| *column).collect();
        used.sort_unstable();
        used.dedup();
        let header = Header::new(&self.header);
        Columns {
            delimiter: char::from(self.head.delimiter),
            others: self.header.len().saturating_sub(used.len()),
            read: columns.into_iter().map(|(ours, column)| (ours, header.name(column).to_owned())).collect(),
        }
    }
}
