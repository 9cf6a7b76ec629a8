//! The columns of a file, found by name, and the cells of a row.

use std::borrow::Cow;

use csv::ByteRecord;

use super::cell::{bare, bare_name, decode};

/// The header of a file: its column names as they stand there, in order.
#[derive(Debug, Clone)]
pub(super) struct Header(Vec<String>);

/// Where a column stands; absent from this file when `None`.
pub(super) type Column = Option<usize>;

impl Header {
    pub fn new(record: &ByteRecord) -> Self {
        Self(record.iter().map(|name| bare(&decode(name)).to_owned()).collect())
    }

    /// The column of this name, in any case; `Order ID` is also `order_id`. The first of two.
    pub fn find(&self, name: &str) -> Column {
        let wanted = key(name);
        self.0.iter().position(|column| key(column) == wanted)
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The name of a column as the file has it.
    pub fn name(&self, column: Column) -> &str {
        column.and_then(|at| self.0.get(at)).map_or("", String::as_str)
    }

    /// For messages: the first few names.
    pub fn listed(&self) -> String {
        const SHOWN: usize = 8;
        let mut names: Vec<_> = self.0.iter().take(SHOWN).map(|name| super::cell::shorten(name)).collect();
        if self.0.len() > SHOWN {
            names.push(format!("and {} more", self.0.len() - SHOWN));
        }
        names.join(", ")
    }
}

/// The column that looks most like `ours` by what shops call such columns.
pub(super) fn guess<'a>(header: &'a Header, ours: &str) -> Option<&'a str> {
    let words: &[&[&str]] = match ours {
        "order_id" => &[
            &["order", "number"],
            &["order", "id"],
            &["order", "no"],
            &["order", "#"],
            &["bestellnummer"],
            &["number"],
        ],
        "ordered_at" => &[&["order", "date"], &["created"], &["date"], &["datum"]],
        "total" => &[&["order", "total"], &["total"], &["amount"], &["summe"], &["gesamt"]],
        "email" => &[&["billing", "mail"], &["mail"]],
        _ => &[],
    };
    let matches = |name: &str, words: &[&str]| {
        let name = name.to_lowercase();
        words.iter().all(|word| name.contains(word))
    };
    let is_table = header.len() > 1;
    words.iter().filter(|_| is_table).find_map(|words| header.names().find(|name| matches(name, words)))
}

fn key(name: &str) -> String {
    name.trim().chars().map(|c| if matches!(c, ' ' | '-') { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// One row's cells.
#[derive(Clone, Copy)]
pub(super) struct Row<'a>(pub &'a ByteRecord);

impl<'a> Row<'a> {
    /// The cell without spaces and spreadsheet apostrophes; empty when there is none.
    pub fn get(self, column: Column) -> Cow<'a, str> {
        match column.and_then(|at| self.0.get(at)).map_or(Cow::Borrowed(""), decode) {
            Cow::Borrowed(text) => Cow::Borrowed(bare(text)),
            Cow::Owned(text) => Cow::Owned(bare(&text).to_owned()),
        }
    }

    /// `None` when the file has no such column or the cell is empty: a file says nothing then, and
    /// never blanks what is known.
    pub fn some(self, column: Column) -> Option<String> {
        let text = self.get(column);
        (!text.is_empty()).then(|| text.into_owned())
    }

    /// [`Self::some`] of a cell with somebody's name, which may begin with an apostrophe ("'t Hooft").
    pub fn name(self, column: Column) -> Option<String> {
        let text = column.and_then(|at| self.0.get(at)).map_or(Cow::Borrowed(""), decode);
        let text = bare_name(&text);
        (!text.is_empty()).then(|| text.to_owned())
    }

    /// The cell if it can be an e-mail address. What shops write in its place ("n/a", "guest") would
    /// make one customer of everyone.
    pub fn email(self, column: Column) -> Option<String> {
        self.some(column).filter(|text| text.contains('@'))
    }

    /// Nothing but separators, as spreadsheet programs leave below a table.
    pub fn is_blank(self) -> bool {
        self.0.iter().all(|cell| cell.iter().all(u8::is_ascii_whitespace))
    }

    /// Refuses a row whose cells may have slipped into other columns: a comma outside quotation
    /// marks, or a line cut short. Empty cells past the end do no harm.
    ///
    /// # Errors
    /// The reason, for the merchant.
    pub fn check_width(self, header: &Header) -> Result<(), String> {
        let (cells, columns) = (self.0.len(), header.len());
        let surplus_is_blank = || self.0.iter().skip(columns).all(|cell| cell.iter().all(u8::is_ascii_whitespace));
        if cells == columns || (cells > columns && surplus_is_blank()) {
            Ok(())
        } else {
            Err(format!("the row has {cells} cells, the header has {columns}; is a quotation mark or a comma missing?"))
        }
    }
}
