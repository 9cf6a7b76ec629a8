//! JSON for programs, on the dashboard listener and behind its guard. Lists take `limit` and an
//! opaque `cursor`; errors are problem documents.

mod events;
mod problem;

use axum::{Router, routing::get};

use crate::{db::Readers, outbox::Shop};

/// What the routes need.
#[derive(Clone)]
pub struct ApiState {
    pub shop: Shop,
    pub readers: Readers,
}

/// Everything under `/api/v1`.
pub fn router<S: Clone + Send + Sync + 'static>(state: ApiState) -> Router<S> {
    Router::new()
        .route("/api/v1/events", get(events::list))
        .method_not_allowed_fallback(problem::wrong_method)
        .with_state(state)
}
