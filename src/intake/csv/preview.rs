//! What a file looks like before it is imported: which column is which, and its first rows as they
//! would be read. Made of the bytes that were read to tell what the file is, so it costs nothing.

use csv::ByteRecord;

use super::{Input, Parsed, Parser, rows::Rows};
use crate::model::{Order, Person};

/// Rows shown.
const SHOWN: usize = 5;

/// What is shown of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// What separates cells.
    pub delimiter: char,
    /// Our name of a column, and the file's.
    pub columns: Vec<(&'static str, String)>,
    /// How many columns are not read.
    pub others: usize,
    /// What the merchant should know before importing it.
    pub warning: Option<&'static str>,
    pub rows: Vec<Shown>,
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
        let mut parser = self.parser.clone();
        let columns: Vec<_> = parser
            .columns()
            .into_iter()
            .map(|(ours, column)| (ours, super::header::Header::new(&self.header).name(column).to_owned()))
            .collect();
        let mut used: Vec<_> = parser.columns().into_iter().filter_map(|(_, column)| column).collect();
        used.sort_unstable();
        used.dedup();
        Preview {
            delimiter: char::from(self.head.delimiter),
            others: self.header.len().saturating_sub(used.len()),
            warning: parser.warning(),
            rows: self.first_rows(&mut parser),
            columns,
        }
    }

    fn first_rows(&self, parser: &mut Parser) -> Vec<Shown> {
        let (mut rows, mut record) = (Rows::new(self.head.clone(), std::io::empty()), ByteRecord::new());
        let mut shown = Vec::with_capacity(SHOWN);
        while shown.len() < SHOWN {
            let Ok(Some(line)) = rows.read(&mut record) else { break };
            if self.head.is_cut() && rows.bytes() >= self.head.bytes.len() as u64 {
                break; // the last row goes on behind what was read
            }
            let read = match parser.parse(&record) {
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
