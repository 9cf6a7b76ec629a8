//! `GET /destinations.csv`: the cards as rows, without anything of a secret.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Response,
};

use super::{
    fares::{self, Fare, Filter},
    gets,
};
use crate::{
    model::spreadsheet::guarded,
    web::{
        dashboard::{
            App,
            export::{stream, time},
        },
        error::PageError,
    },
};

const HEADERS: [&str; 14] = [
    "name",
    "kind",
    "state",
    "reason",
    "since",
    "next_probe_at",
    "wait_until",
    "queue",
    "answers_ms",
    "latency_ms",
    "failures",
    "goes_to",
    "gets",
    "batch",
];

/// `GET /destinations.csv`. `queue` stops at [`queue::COUNTED`](crate::web::dashboard::deliveries::queue::COUNTED), as on
/// the page.
pub async fn csv(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let (reader, now, filter) = (Arc::clone(&app), app.clock.now(), Filter::from_pairs(&pairs));
    stream(&app, "destinations.csv", move |connection, out| {
        out.rows([HEADERS.map(str::to_owned).to_vec()])?;
        let fares = fares::load(&reader, connection, filter, now)?;
        out.rows(fares.iter().map(|fare| row(&reader, fare)))
    })
    .await
}

fn row(app: &App, fare: &Fare) -> Vec<String> {
    let Fare { index, health, queue, latency } = fare;
    let destination = &app.config.destination[*index];
    let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
    vec![
        guarded(&destination.name).into_owned(),
        destination.kind.clone(),
        health.state.to_string(),
        guarded(health.reason.as_deref().unwrap_or_default()).into_owned(),
        time(Some(health.since)),
        time(health.probe_at),
        time(health.wait_until),
        queue.to_string(),
        number(latency.answers),
        number(latency.arrives),
        health.failures.to_string(),
        app.addresses.get(*index).map(|address| guarded(address).into_owned()).unwrap_or_default(),
        guarded(&gets(app, destination)).into_owned(),
        destination.batch.to_string(),
    ]
}
