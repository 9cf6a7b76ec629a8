//! `GET /destinations.csv`: the cards as rows, without anything of a secret.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::latency;
use crate::{
    model::spreadsheet::guarded,
    outbox,
    web::dashboard::{
        App,
        deliveries::queue,
        export::{stream, time},
    },
};

const HEADERS: [&str; 10] =
    ["name", "kind", "state", "reason", "since", "next_probe_at", "wait_until", "queue", "answers_ms", "latency_ms"];

/// `GET /destinations.csv`. `queue` stops at [`queue::COUNTED`], as on the page.
pub async fn csv(State(app): State<Arc<App>>) -> Response {
    let (config, now) = (Arc::clone(&app.config), app.clock.now());
    stream(&app, "destinations.csv", move |connection, out| {
        out.rows([HEADERS.map(str::to_owned).to_vec()])?;
        let latencies = latency::of_newest(connection)?;
        for destination in &config.destination {
            let name = &destination.name;
            let health = outbox::health(connection, name, now)?;
            let latency = latencies.get(name).copied().unwrap_or_default();
            let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
            out.rows([vec![
                guarded(name).into_owned(),
                destination.kind.clone(),
                health.state.to_string(),
                guarded(health.reason.as_deref().unwrap_or_default()).into_owned(),
                time(Some(health.since)),
                time(health.probe_at),
                time(health.wait_until),
                queue::open(connection, name)?.to_string(),
                number(latency.answers),
                number(latency.arrives),
            ]])?;
        }
        Ok(())
    })
}
