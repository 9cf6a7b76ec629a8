//! The files that came in through the page, as a list.

use rusqlite::Connection;

use super::stage;
use crate::{
    intake::uploads::{self, Import},
    web::dashboard::{
        App,
        order::{self, Column, Key, Order, Small, down, up},
        view::{self, Moment},
        words,
    },
};

/// Imports on a page.
const PAGE: usize = 50;
const KEYS: &[Key] = &[down("uploaded"), up("file"), up("state"), down("size")];

/// One page of the list.
pub struct Listed {
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    pub order: &'static str,
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
    pub fn load(app: &App, connection: &Connection, pairs: &[(String, String)]) -> rusqlite::Result<Self> {
        let order = order_of(pairs);
        let after: Option<i64> = view::parameter(pairs, "after").and_then(|id| id.parse().ok());
        let mut ids = ids(connection, order, after, PAGE + 1)?;
        let next = order::cut(&mut ids, PAGE);
        let next = next.map(|id| id.to_string());
        let page = |after| here(order, after);
        Ok(Self {
            columns: columns(order),
            rows: load(connection, &ids)?.iter().map(|import| row(app, import)).collect(),
            order: if order.is_usual() { "The newest first. " } else { "" },
            csv: order::address("/import.csv", order.pairs()),
            first: after.map(|_| page(None)),
            next: next.as_deref().map(|last| page(Some(("after", last)))),
        })
    }
}

pub fn order_of(pairs: &[(String, String)]) -> Order {
    Order::from_pairs(KEYS, pairs)
}

/// The ids of a page of the list. A merchant uploads few files.
pub fn ids(connection: &Connection, order: Order, after: Option<i64>, limit: usize) -> rusqlite::Result<Vec<i64>> {
    let value = match order.by() {
        "file" => "lower(file_name)",
        "state" => "state",
        "size" => "size",
        _ => "id",
    };
    let imports = Small { table: "imports", conditions: "TRUE".to_owned(), value };
    order::ids(connection, &imports, order.ascending, after, limit)
}

/// The imports of these ids; those that are gone are left out.
pub fn load(connection: &Connection, ids: &[i64]) -> rusqlite::Result<Vec<Import>> {
    ids.iter().filter_map(|id| uploads::find(connection, *id).transpose()).collect()
}

/// The list, which stands far down its page.
fn here(order: Order, after: Option<(&str, &str)>) -> String {
    format!("{}#files", order::address("/import", order.pairs().into_iter().chain(after)))
}

fn columns(order: Order) -> Vec<Column> {
    let sorted = |name, column| order.column(name, column, |order| here(order, None));
    vec![
        sorted("file", Column::new("File", None, "")),
        sorted("state", Column::new("State", None, "")),
        Column::new("What it is", None, "wide"),
        sorted("size", Column::new("Size", None, "n wide")),
        Column::new("Brought", None, "n wide"),
        sorted("uploaded", Column::new("Uploaded", None, "wide pad")),
    ]
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
