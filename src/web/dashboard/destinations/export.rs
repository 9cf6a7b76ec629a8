//! `GET /destinations.csv`: the cards as rows, without anything of a secret.

use std::sync::Arc;

use axum::{extract::State, response::Response};

use super::{gets, latency};
use crate::{
    model::spreadsheet::guarded,
    outbox,
    web::dashboard::{
        App,
        deliveries::queue,
        export::{stream, time},
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

/// `GET /destinations.csv`. `queue` stops at [`queue::COUNTED`], as on the page.
pub async fn csv(State(app): State<Arc<App>>) -> Response {
    let (reader, now) = (Arc::clone(&app), app.clock.now());
    stream(&app, "destinations.csv", move |connection, out| {
        out.rows([HEADERS.map(str::to_owned).to_vec()])?;
        let latencies = latency::of_newest(connection)?;
        for (index, destination) in reader.config.destination.iter().enumerate() {
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
                health.failures.to_string(),
                reader.addresses.get(index).map(|address| guarded(address).into_owned()).unwrap_or_default(),
                guarded(&gets(&reader, destination)).into_owned(),
                destination.batch.to_string(),
            ]])?;
        }
        Ok(())
    })
}
