//! `GET /syncs.csv`: what the list of pulls shows, in its order.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::{Row, types::ValueRef};

use super::list::Filter;
use crate::{
    model::{Timestamp, spreadsheet::guarded},
    web::{
        dashboard::{
            App,
            export::{stream, time},
        },
        error::PageError,
    },
};

/// Columns of the table, and of the file under the same names.
const COLUMNS: [&str; 21] = [
    "id",
    "trigger",
    "mode",
    "state",
    "since",
    "started_at",
    "finished_at",
    "attempts",
    "orders_read",
    "orders_new",
    "orders_updated",
    "orders_rejected",
    "orders_deleted",
    "orders_missed",
    "customers_read",
    "customers_new",
    "customers_updated",
    "customers_rejected",
    "customers_deleted",
    "error",
    "remarks",
];
/// Of these, those that are times.
const TIMES: [&str; 3] = ["since", "started_at", "finished_at"];

/// `GET /syncs.csv`. `since` is empty where everything was asked for.
pub async fn csv(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let filter = Filter::from_pairs(&pairs);
    stream(&app, "syncs.csv", move |connection, out| {
        out.rows([COLUMNS.map(str::to_owned).to_vec()])?;
        let sql = format!("SELECT {} FROM syncs WHERE id = ?1", COLUMNS.join(", "));
        let mut statement = connection.prepare(&sql)?;
        let row = |row: &Row<'_>| COLUMNS.iter().enumerate().map(|(index, name)| cell(row, index, name)).collect();
        filter.syncs().walk(connection, filter.order.ascending, |ids| {
            let rows = ids.iter().map(|id| statement.query_row([id], row));
            out.rows(rows.collect::<rusqlite::Result<Vec<Vec<String>>>>()?)
        })
    })
    .await
}

fn cell(row: &Row<'_>, index: usize, name: &str) -> rusqlite::Result<String> {
    if TIMES.contains(&name) {
        return row.get::<_, Option<Timestamp>>(index).map(time);
    }
    Ok(match row.get_ref(index)? {
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Text(text) => guarded(&String::from_utf8_lossy(text)).into_owned(),
        _ => String::new(),
    })
}
