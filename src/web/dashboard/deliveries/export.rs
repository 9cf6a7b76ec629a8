//! `GET /deliveries.csv`: exactly what the filter shows, however long.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::Connection;

use super::{
    filter::{Filter, Tab},
    most_urgent,
    queue::{self, Delivery},
    visible,
};
use crate::{
    model::spreadsheet::guarded,
    outbox::{Hold, msg_id},
    web::{
        dashboard::{
            App,
            export::{CHUNK, Sink, stream, time},
            names,
        },
        error::PageError,
    },
};

const HEADERS: [&str; 18] = [
    "id",
    "message_id",
    "destination",
    "state",
    "hold",
    "type",
    "customer_id",
    "old_segment",
    "new_segment",
    "run_id",
    "events",
    "attempts",
    "last_status",
    "last_error",
    "created_at",
    "finished_at",
    "customer",
    "next_try_at",
];

/// `GET /deliveries.csv`
pub async fn csv(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let filter = Filter::from_pairs(&pairs)?;
    names::must_know(&app, filter.segment.as_deref()).await?;
    stream(&app, "deliveries.csv", move |connection, out| {
        let tab = most_urgent(connection, &filter, queue::counts(connection)?)?;
        write(connection, &filter, tab, out)
    })
    .await
}

fn write(connection: &Connection, filter: &Filter, tab: Tab, out: &mut Sink) -> anyhow::Result<()> {
    out.rows([HEADERS.map(str::to_owned).to_vec()])?;
    let mut after = None;
    loop {
        let page = queue::page(connection, filter, tab, after, CHUNK)?;
        if !page.deliveries.is_empty() {
            out.rows(page.deliveries.iter().map(row))?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn row(delivery: &Delivery) -> Vec<String> {
    let text = |value: &str| guarded(value).into_owned();
    let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
    vec![
        delivery.id.to_string(),
        msg_id(&delivery.message_id),
        text(&delivery.destination),
        delivery.state.to_string(),
        delivery.hold.map_or("", Hold::as_str).to_owned(),
        delivery.kind.to_string(),
        number(delivery.customer.as_ref().map(|(id, _)| *id)),
        text(delivery.old.as_deref().unwrap_or_default()),
        text(delivery.new.as_deref().unwrap_or_default()),
        number(delivery.run_id),
        delivery.events.to_string(),
        delivery.attempts.to_string(),
        number(delivery.last_status),
        text(&visible::line(delivery.last_error.as_deref().unwrap_or_default())),
        delivery.created_at.to_string(),
        time(delivery.finished_at),
        text(delivery.customer.as_ref().map_or("", |(_, name)| name)),
        // Never tried: at its turn.
        time(delivery.due_at.filter(|at| at.millis() > 0 && delivery.finished_at.is_none())),
    ]
}
