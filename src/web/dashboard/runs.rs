//! `GET /runs`: did the night work? `POST /runs`: score now.

pub mod detail;
pub mod export;
mod filter;

use std::sync::{Arc, atomic::Ordering};

use askama::Template;
use axum::{
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use tokio::sync::mpsc::error::TrySendError;

use self::filter::{Filter, TRIGGERS};
use super::{
    App,
    definitions::terms,
    order::{self, Column, Place},
    statistics::{self, Run},
    syncs,
    view::{self, Chrome, Moment},
    words,
};
use crate::web::error::PageError;

/// Runs on a page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs {
    chrome: Chrome,
    filter: Filter,
    columns: Vec<Column>,
    rows: Vec<Row>,
    /// What was fetched from the shop; under the newest runs alone.
    syncs: Vec<syncs::Row>,
    csv: String,
    first: Option<String>,
    next: Option<String>,
}

/// A run as a line of a list and the head of its own page.
pub struct Row {
    pub id: i64,
    pub href: String,
    pub as_of: Moment,
    pub trigger: &'static str,
    pub tone: &'static str,
    pub state: &'static str,
    /// These four are dashes of a run that scored nobody yet.
    pub scored: String,
    pub moved: String,
    pub new: String,
    pub left: String,
    pub duration: String,
    pub notes: Vec<String>,
}

/// `GET /runs`
pub async fn list(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let filter = Filter::from_pairs(&pairs)?;
    let after = Place::from_pairs(&pairs);
    let reader = Arc::clone(&app);
    let page = app
        .readers
        .read(move |connection| {
            let mut places = filter.runs().page(connection, filter.order.ascending, after.as_ref(), PAGE + 1)?;
            let next = order::cut(&mut places, PAGE);
            let newest = after.is_none() && !filter.is_narrow() && filter.order.is_usual();
            let run = statistics::in_force(connection)?;
            Ok(Runs {
                chrome: Chrome::new(&reader, connection, "runs", run.as_ref(), reader.clock.now())?,
                columns: filter.columns(),
                rows: statistics::by_ids(connection, &order::ids(&places))?
                    .iter()
                    .map(|run| row(&reader, run))
                    .collect(),
                syncs: if newest { syncs::latest(&reader, connection)? } else { Vec::new() },
                csv: filter.href("/runs.csv", None),
                first: after.as_ref().map(|_| filter.href("/runs", None)),
                next: next.map(|last| filter.href("/runs", Some(&last))),
                filter,
            })
        })
        .await?;
    view::html(&page)
}

/// `POST /runs`: asks for a run and goes back to the Overview, which says so. When one is already
/// asked for, that one will do.
pub async fn score_now(State(app): State<Arc<App>>) -> Result<Response, PageError> {
    if let Some(reason) = app.writer.condition().trouble() {
        return Err(view::nothing_done(&reason));
    }
    match app.score_now.try_send(()) {
        Ok(()) | Err(TrySendError::Full(())) => {
            app.asked.store(app.clock.now().millis(), Ordering::Relaxed);
            Ok(Redirect::to("/").into_response())
        }
        Err(TrySendError::Closed(())) => Err(PageError::Unavailable(
            "Scoring has stopped in this process. Restart quintile and try again.".to_owned(),
        )),
    }
}

pub fn row(app: &App, run: &Run) -> Row {
    let mut notes = Vec::new();
    if run.baseline {
        notes.push("first run".to_owned());
    }
    if run.remap {
        notes.push("new segment rules".to_owned());
    }
    if run.held {
        notes.push("deliveries held".to_owned());
    }
    if run.missed > 0 {
        notes.push(format!("stands for {} more", words::counted(run.missed, "missed night", "missed nights")));
    }
    if run.attempts > 1 {
        notes.push(format!("attempt {}", run.attempts));
    }
    let (tone, state) = match run.state.as_str() {
        "done" => ("ok", "Done"),
        "failed" => ("bad", "Failed"),
        "scored" => ("warn", "Sending"),
        _ => ("warn", "Scoring"),
    };
    let count = |number| if run.scored_at.is_some() { words::count(number) } else { "–".to_owned() };
    Row {
        id: run.id,
        href: format!("/runs/{}", run.id),
        as_of: Moment::new(app, run.as_of),
        trigger: TRIGGERS.iter().find(|(name, _)| *name == run.trigger).map_or("", |(_, words)| *words),
        tone,
        state,
        scored: count(run.scored),
        moved: count(run.moved),
        new: count(run.new),
        left: count(run.left),
        duration: run.score_ms.map_or_else(String::new, |ms| words::duration(ms + run.emit_ms.unwrap_or(0))),
        notes,
    }
}
