//! A tool that is not always well: what the demo shows retries, dead letters and health with.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mood {
    /// It takes everything.
    Well,
    /// It does not know one customer in three.
    Picky,
    /// It takes nothing for now.
    Down,
}

/// The tool. Cheap to clone; clones share the mood.
#[derive(Debug, Clone, Default)]
pub struct Moody(Arc<AtomicU8>);

impl Moody {
    pub fn set(&self, mood: Mood) {
        self.0.store(mood as u8, Ordering::Relaxed);
    }

    fn is(&self, mood: Mood) -> bool {
        self.0.load(Ordering::Relaxed) == mood as u8
    }

    /// `POST /` takes a message, or not.
    pub fn router(&self) -> Router {
        Router::new().route("/", post(take)).with_state(self.clone())
    }
}

async fn take(State(tool): State<Moody>, Json(event): Json<Value>) -> Response {
    if tool.is(Mood::Down) {
        let body = json!({"error": "maintenance", "message": "We are back soon <support@loyalty.example>"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    let customer = event["data"]["customerId"].as_str().unwrap_or_default();
    let known = customer.parse().map_or(true, |id: u64| !id.is_multiple_of(3));
    if tool.is(Mood::Picky) && !known {
        let body = json!({"error": "unknown_member", "message": format!("there is no member {customer}")});
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(body)).into_response();
    }
    StatusCode::NO_CONTENT.into_response()
}
