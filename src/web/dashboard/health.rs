//! `GET /healthz` and `GET /readyz`, for whatever watches the program.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;

use super::App;
use crate::scoring::clock_suspect;

/// The program answers.
pub async fn healthz() -> Response {
    Json(json!({"status": "ok"})).into_response()
}

/// The program can do its work: the database can be read and written, and the clock believed. 503 with
/// the reason when not.
pub async fn readyz(State(app): State<Arc<App>>) -> Response {
    let now = app.clock.now();
    match app.readers.read(move |connection| Ok(clock_suspect(connection, now)?)).await {
        Err(error) => unavailable(&format!("the database cannot be read: {error:#}")),
        Ok(_) if app.score_now.is_closed() => unavailable("scoring has stopped; restart quintile"),
        Ok(Some(suspect)) => unavailable(&format!("clock_suspect: {suspect}")),
        Ok(None) => match app.writable.check().await {
            Ok(()) => Json(json!({"status": "ready"})).into_response(),
            Err(reason) => unavailable(&reason),
        },
    }
}

fn unavailable(reason: &str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "unavailable", "reason": reason}))).into_response()
}
