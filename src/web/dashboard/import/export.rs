//! `GET /import.csv`: the files that the list shows, in its order, and what each brought.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Response,
};

use super::list::{self, Filter};
use crate::{
    intake::uploads::Import,
    model::spreadsheet::guarded,
    web::{
        dashboard::{
            App,
            export::{stream, time},
        },
        error::PageError,
    },
};

const HEADERS: [&str; 16] = [
    "id",
    "file",
    "state",
    "reason",
    "format",
    "size_bytes",
    "uploaded_at",
    "finished_at",
    "rows",
    "orders_new",
    "orders_updated",
    "orders_unchanged",
    "customers_new",
    "customers_updated",
    "customers_unchanged",
    "rejected",
];

/// `GET /import.csv`. What an import brought is empty until it is done.
pub async fn csv(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let filter = Filter::from_pairs(&pairs)?;
    stream(&app, "imports.csv", move |connection, out| {
        out.rows([HEADERS.map(str::to_owned).to_vec()])?;
        filter
            .imports()
            .walk(connection, filter.order.ascending, |ids| out.rows(list::load(connection, ids)?.iter().map(row)))
    })
    .await
}

fn row(import: &Import) -> Vec<String> {
    let text = |value: Option<&str>| guarded(value.unwrap_or_default()).into_owned();
    let mut row = vec![
        import.id.to_string(),
        text(Some(&import.file_name)),
        import.state.to_string(),
        text(import.reason.as_deref()),
        text(import.format.as_deref()),
        import.size.to_string(),
        import.created_at.to_string(),
        time(import.finished_at),
    ];
    let brought = import.report.as_ref().map(|report| {
        let (orders, customers) = (&report.orders, &report.customers);
        [
            report.rows,
            orders.new,
            orders.updated,
            orders.unchanged,
            customers.new,
            customers.updated,
            customers.unchanged,
            report.rejected(),
        ]
    });
    match brought {
        Some(numbers) => row.extend(numbers.map(|number| number.to_string())),
        None => row.resize(HEADERS.len(), String::new()),
    }
    row
}
