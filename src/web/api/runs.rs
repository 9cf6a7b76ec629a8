//! `GET` and `POST /api/v1/runs`

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use tokio::sync::mpsc::error::TrySendError;
use utoipa::ToSchema;

use super::{
    Api,
    extract::Query,
    page::{Cursor, Page, Part},
    problem::{Problem, Refusals},
};
use crate::{model::Timestamp, web::dashboard::statistics};

/// A scoring run.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    id: String,
    /// scheduled, `catch_up`, manual, backfill
    trigger: String,
    /// Orders after this do not exist for it.
    as_of: Timestamp,
    started_at: Timestamp,
    /// From when on its scores are in force.
    scored_at: Option<Timestamp>,
    /// From when on its changes are on their way.
    emitted_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    /// scoring, scored, done, failed
    state: String,
    /// Customers.
    scored: i64,
    /// Events it made: moved, new and left together.
    changed: i64,
    error: Option<String>,
    /// Customers in another segment than in the run before.
    moved: i64,
    /// Customers scored for the first time.
    new: i64,
    /// Customers scored no more.
    left: i64,
}

impl From<statistics::Run> for Run {
    fn from(run: statistics::Run) -> Self {
        Self {
            id: run.id.to_string(),
            trigger: run.trigger,
            as_of: run.as_of,
            started_at: run.started_at,
            scored_at: run.scored_at,
            emitted_at: run.emitted_at,
            finished_at: run.finished_at,
            state: run.state,
            scored: run.scored,
            changed: run.changed,
            error: run.error,
            moved: run.moved,
            new: run.new,
            left: run.left,
        }
    }
}

/// Runs, the newest first
#[utoipa::path(get, path = "/runs", operation_id = "listRuns", params(Part), responses((status = 200, description = "A page of them", body = Page<Run>), Refusals))]
pub async fn list(State(api): State<Api>, Query(part): Query<Part>) -> Result<Json<Page<Run>>, Problem> {
    let before = Cursor::read("run", part.cursor.as_deref())?.unwrap_or(i64::MAX);
    let found = api.readers.read(move |connection| Ok(statistics::page(connection, before, part.limit.rows() + 1)?));
    let found = found.await.map_err(|error| Problem::internal(&error))?;
    let runs = found.into_iter().map(Run::from).collect();
    Ok(Json(Page::new(runs, part.limit, |last: &Run| Cursor::new("run", &last.id))))
}

/// That something will be done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Asked {
    accepted: bool,
}

/// Score everyone now
///
/// The run begins at once, or after the one that is going on; `GET /api/v1/runs` shows it. When one is
/// asked for already, that one will do.
#[utoipa::path(post, path = "/runs", operation_id = "startRun", responses((status = 202, description = "It will be done", body = Asked), Refusals))]
pub async fn start(State(api): State<Api>) -> Result<(StatusCode, Json<Asked>), Problem> {
    if let Some(reason) = api.writer.condition().trouble() {
        return Err(Problem::not_now(format!("nothing can be stored because {reason}; ask again once that is over")));
    }
    match api.score_now.try_send(()) {
        Ok(()) | Err(TrySendError::Full(())) => Ok((StatusCode::ACCEPTED, Json(Asked { accepted: true }))),
        Err(TrySendError::Closed(())) => Err(Problem::not_now("scoring has stopped in this process; restart quintile")),
    }
}
