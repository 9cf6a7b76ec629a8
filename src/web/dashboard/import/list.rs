//! The files that came in through the page, as a list.

use rusqlite::Connection;

use super::stage;
use crate::{
    intake::uploads::{self, Import, State},
    web::{
        dashboard::{
            App,
            order::{self, Column, Key, Order, Place, Small, down, up},
            view::{self, Moment},
            words,
        },
        error::PageError,
    },
};

/// Imports on a page.
const PAGE: usize = 50;
const KEYS: &[Key] = &[down("uploaded"), up("file"), up("state"), down("size")];

/// One page of the list.
pub struct Listed {
    pub filter: Filter,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    pub csv: String,
    pub first: Option<String>,
    pub next: Option<String>,
}

/// An import as a line of the list.
pub struct Row {
    pub href: String,
    pub name: String,
    pub at: Moment,
    pub tone: &'static str,
    pub state: &'static str,
    pub kind: String,
    pub size: String,
    pub what: String,
}

impl Listed {
    pub fn load(app: &App, connection: &Connection, filter: Filter, after: Option<&Place>) -> rusqlite::Result<Self> {
        let mut places = filter.imports().page(connection, filter.order.ascending, after, PAGE + 1)?;
        let next = order::cut(&mut places, PAGE);
        let imports = load(connection, &order::ids(&places))?;
        Ok(Self {
            columns: filter.columns(),
            rows: imports.iter().map(|import| row(app, import)).collect(),
            csv: filter.href("/import.csv", None),
            first: after.map(|_| filter.here(None)),
            next: next.map(|last| filter.here(Some(&last))),
            filter,
        })
    }
}

/// Which files the list shows, as its address says.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    pub state: Option<State>,
    pub order: Order,
}

impl Filter {
    /// # Errors
    /// [`PageError::BadRequest`] for a state that there is not: the list would show what nobody asked for.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, PageError> {
        let known = |text: &str| {
            State::parse(text).ok_or_else(|| {
                let names: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
                PageError::BadRequest(format!(
                    "No file is ever “{text}”, so there is nothing to show. The address may name one of {}.",
                    names.join(", ")
                ))
            })
        };
        let state = view::parameter(pairs, "state").filter(|text| !text.is_empty());
        Ok(Self { state: state.map(known).transpose()?, order: Order::from_pairs(KEYS, pairs) })
    }

    /// Each state there is, its word, and whether it is asked for.
    pub fn states(self) -> impl Iterator<Item = (State, &'static str, bool)> {
        State::ALL.iter().map(move |state| (*state, stage(*state).1, self.state == Some(*state)))
    }

    fn href(self, path: &str, after: Option<&Place>) -> String {
        let after = after.map(Place::text);
        let state = self.state.map(|state| ("state", state.as_str()));
        let after = after.as_deref().map(|place| ("after", place));
        order::address(path, state.into_iter().chain(self.order.pairs()).chain(after))
    }

    /// The list, which stands far down its page.
    fn here(self, after: Option<&Place>) -> String {
        format!("{}#files", self.href("/import", after))
    }

    /// The address of the same files, the newest first.
    pub fn in_usual_order(self) -> String {
        Self { order: Order::from_pairs(KEYS, &[]), ..self }.here(None)
    }

    /// The files that it shows. A merchant uploads few: all of them may be looked at.
    pub fn imports(self) -> Small {
        let value = match self.order.by() {
            "file" => "lower(file_name)".to_owned(),
            "state" => state_in_words(),
            "size" => "size".to_owned(),
            _ => "id".to_owned(),
        };
        let conditions = self.state.map_or_else(|| "TRUE".to_owned(), |state| format!("state = '{state}'"));
        Small { table: "imports", conditions, value }
    }

    fn columns(self) -> Vec<Column> {
        let sorted = |name, column| self.order.column(name, column, |order| Self { order, ..self }.here(None));
        vec![
            sorted("file", Column::new("File", None, "")),
            sorted("state", Column::new("State", None, "")),
            Column::new("What it is", None, ""),
            sorted("size", Column::new("Size", None, "n")),
            Column::new("Brought", None, "n"),
            sorted("uploaded", Column::new("Uploaded", None, "pad")),
        ]
    }
}

/// SQL; the state as the list says it.
fn state_in_words() -> String {
    let words: Vec<_> = State::ALL.iter().map(|state| format!("WHEN '{state}' THEN '{}'", stage(*state).1)).collect();
    format!("CASE state {} ELSE '' END", words.join(" "))
}

/// The imports of these ids; those that are gone are left out.
pub fn load(connection: &Connection, ids: &[i64]) -> rusqlite::Result<Vec<Import>> {
    ids.iter().filter_map(|id| uploads::find(connection, *id).transpose()).collect()
}

fn row(app: &App, import: &Import) -> Row {
    let (tone, state) = stage(import.state);
    Row {
        href: format!("/import/{}", import.id),
        name: import.file_name.clone(),
        at: Moment::new(app, import.created_at),
        tone,
        state,
        kind: import.format.as_deref().map(words::capital).unwrap_or_default(),
        size: words::bytes(u64::try_from(import.size).unwrap_or(0)),
        what: match &import.report {
            Some(report) if report.of_customers => words::counted_u64(report.rows, "customer", "customers"),
            Some(report) => words::counted_u64(report.orders.new, "new order", "new orders"),
            None => String::new(),
        },
    }
}
