//! `GET /syncs`: what was fetched from the shop, and did it work?

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::Connection;

use super::{Row, rows};
use crate::web::{
    dashboard::{
        App,
        definitions::terms,
        order::{self, Column, Key, Order, Place, Small, down},
        statistics,
        view::{self, Chrome},
    },
    error::PageError,
};

/// Pulls on a page.
const PAGE: usize = 50;
/// Where nothing could have told of what was missed, there is no number.
const KEYS: &[Key] = &[down("started"), down("orders"), down("new"), down("updated"), down("deleted"), down("missed")];

#[derive(Template)]
#[template(path = "syncs.html")]
struct Syncs {
    chrome: Chrome,
    filter: Filter,
    columns: Vec<Column>,
    rows: Vec<Row>,
    csv: String,
    first: Option<String>,
    next: Option<String>,
    /// There is something to ask the shop with.
    is_set_up: bool,
}

/// What the address of the list says.
#[derive(Clone, Copy)]
pub struct Filter {
    failed: bool,
    pub order: Order,
}

impl Default for Filter {
    /// All, the newest first.
    fn default() -> Self {
        Self::from_pairs(&[])
    }
}

impl Filter {
    pub fn from_pairs(pairs: &[(String, String)]) -> Self {
        Self { failed: view::parameter(pairs, "failed") == Some("1"), order: Order::from_pairs(KEYS, pairs) }
    }

    fn href(self, path: &str, after: Option<&Place>) -> String {
        let after = after.map(Place::text);
        let failed = self.failed.then_some(("failed", "1"));
        let after = after.as_deref().map(|place| ("after", place));
        order::address(path, failed.into_iter().chain(self.order.pairs()).chain(after))
    }

    /// The same, the newest first.
    fn in_usual_order(self) -> String {
        Self { order: Self::default().order, ..self }.href("/syncs", None)
    }

    /// A page of those that it shows, behind `after`.
    pub fn page(self, connection: &Connection, after: Option<&Place>, limit: usize) -> rusqlite::Result<Vec<Place>> {
        self.syncs().page(connection, self.order.ascending, after, limit)
    }

    /// All that it shows. There are a few a day: all of them may be looked at.
    pub fn syncs(self) -> Small {
        let value = match self.order.by() {
            "orders" => "orders_read",
            "new" => "orders_new",
            "updated" => "orders_updated",
            "deleted" => "orders_deleted",
            "missed" => "coalesce(orders_missed, -1)",
            _ => "id",
        };
        let conditions = if self.failed { "state = 'failed'" } else { "TRUE" };
        Small { table: "syncs", conditions: conditions.to_owned(), value: value.to_owned() }
    }

    fn columns(self) -> Vec<Column> {
        let sorted =
            |name, column| self.order.column(name, column, |order| Self { order, ..self }.href("/syncs", None));
        vec![
            sorted("started", Column::new("Started", None, "")),
            Column::new("State", None, ""),
            Column::new("What changed", None, ""),
            sorted("orders", Column::new("Orders", None, "n")),
            sorted("new", Column::new("New", None, "n")),
            sorted("updated", Column::new("Updated", None, "n")),
            sorted("deleted", Column::new("Deleted", None, "n")),
            sorted("missed", Column::new("Missed", Some(terms::MISSED), "n")),
            Column::new("Note", None, "pad"),
        ]
    }
}

/// `GET /syncs`
pub async fn page(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let (filter, reader) = (Filter::from_pairs(&pairs), Arc::clone(&app));
    let after = Place::from_pairs(&pairs);
    let page = app
        .readers
        .read(move |connection| {
            let mut places = filter.page(connection, after.as_ref(), PAGE + 1)?;
            let next = order::cut(&mut places, PAGE);
            let run = statistics::in_force(connection)?;
            Ok(Syncs {
                chrome: Chrome::new(&reader, connection, "import", run.as_ref(), reader.clock.now())?,
                filter,
                columns: filter.columns(),
                rows: rows(&reader, connection, &order::ids(&places))?,
                csv: filter.href("/syncs.csv", None),
                first: after.as_ref().map(|_| filter.href("/syncs", None)),
                next: next.map(|last| filter.href("/syncs", Some(&last))),
                is_set_up: reader.config.shopify.is_configured(),
            })
        })
        .await?;
    view::html(&page)
}
