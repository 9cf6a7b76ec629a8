//! `GET /runs.csv`: the runs that the list shows, in its order.

use std::sync::Arc;

use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::Connection;

use super::Filter;
use crate::{
    model::spreadsheet::guarded,
    web::{
        dashboard::{
            App,
            export::{Sink, stream, time},
            statistics::{self, Run},
        },
        error::PageError,
    },
};

const HEADERS: [&str; 20] = [
    "id",
    "trigger",
    "as_of",
    "started_at",
    "scored_at",
    "emitted_at",
    "finished_at",
    "state",
    "scored",
    "changed",
    "error",
    "moved",
    "new",
    "left",
    "duration_ms",
    "baseline",
    "remap",
    "held",
    "missed",
    "attempts",
];

/// `GET /runs.csv`
pub async fn csv(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let filter = Filter::from_pairs(&pairs)?;
    stream(&app, "runs.csv", move |connection, out| write(connection, filter, out)).await
}

fn write(connection: &Connection, filter: Filter, out: &mut Sink) -> anyhow::Result<()> {
    out.rows([HEADERS.map(str::to_owned).to_vec()])?;
    filter.runs().walk(connection, filter.order.ascending, |ids| {
        out.rows(statistics::by_ids(connection, ids)?.into_iter().map(row))
    })
}

fn row(run: Run) -> Vec<String> {
    vec![
        run.id.to_string(),
        run.trigger,
        run.as_of.to_string(),
        run.started_at.to_string(),
        time(run.scored_at),
        time(run.emitted_at),
        time(run.finished_at),
        run.state,
        run.scored.to_string(),
        run.changed.to_string(),
        guarded(run.error.as_deref().unwrap_or_default()).into_owned(),
        run.moved.to_string(),
        run.new.to_string(),
        run.left.to_string(),
        run.score_ms.map_or_else(String::new, |ms| (ms + run.emit_ms.unwrap_or(0)).to_string()),
        run.baseline.to_string(),
        run.remap.to_string(),
        run.held.to_string(),
        run.missed.to_string(),
        run.attempts.to_string(),
    ]
}
