//! JSON for programs under `/api/v1`, on the dashboard listener and behind its guard.
//!
//! One resource is one file: its handlers, their queries and the shapes they answer with. Lists take
//! `limit` and an opaque `cursor` ([`page`]), errors are problem documents ([`problem`]). What the
//! handlers say of themselves becomes the OpenAPI document ([`document`]).

mod customers;
mod deliveries;
mod destinations;
mod document;
mod events;
mod extract;
mod orders;
mod page;
mod problem;
mod runs;
mod segments;

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{Method, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::{Notify, mpsc};
use tower_http::limit::RequestBodyLimitLayer;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    clock::Clock,
    config::{Config, Scope},
    db::{Readers, Writer},
    intake::MAX_BODY,
    outbox::Shop,
};

pub use problem::Problem;

/// Largest request body but for orders.
const BODY_LIMIT: usize = 64 * 1024;
/// Where all of it is.
const PREFIX: &str = "/api/v1";

/// What the routes need.
pub struct ApiState {
    pub config: Arc<Config>,
    pub shop: Shop,
    pub readers: Readers,
    pub writer: Writer,
    pub clock: Clock,
    /// One message asks for one run.
    pub score_now: mpsc::Sender<()>,
    /// Wakes the forwarder.
    pub wake: Arc<Notify>,
    /// Wakes what searches the shop's messages for somebody who was erased.
    pub privacy: Arc<Notify>,
}

type Api = Arc<ApiState>;

/// Everything under `/api/v1`.
pub fn router<S: Clone + Send + Sync + 'static>(state: ApiState) -> Router<S> {
    let small = OpenApiRouter::new()
        .routes(routes!(segments::list))
        .routes(routes!(customers::list))
        .routes(routes!(customers::one, customers::erase))
        .routes(routes!(runs::list, runs::start))
        .routes(routes!(events::list))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::retry))
        .routes(routes!(destinations::list))
        .routes(routes!(destinations::test))
        .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
        .layer(map_response(|answer| async { in_our_words(answer, BODY_LIMIT) }));
    let large = OpenApiRouter::new()
        .routes(routes!(orders::take))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyLimitLayer::new(MAX_BODY))
        .layer(map_response(|answer| async { in_our_words(answer, MAX_BODY) }));
    let all = small.merge(large).with_state::<S>(Arc::new(state));
    let (router, described) = OpenApiRouter::with_openapi(document::base()).nest(PREFIX, all).split_for_parts();
    let document = document::complete(described);
    let json = [(header::CONTENT_TYPE, "application/json")];
    router
        .route(&format!("{PREFIX}/openapi.json"), get(move || async move { (json, document) }))
        .method_not_allowed_fallback(problem::wrong_method)
}

/// What the layer below refuses by itself gets a body like all others.
fn in_our_words(answer: Response, limit: usize) -> Response {
    if answer.status() == StatusCode::PAYLOAD_TOO_LARGE { Problem::too_large(limit).into_response() } else { answer }
}

/// What a token must be good for to make a request here.
#[must_use]
pub fn scope_of(method: &Method, path: &str) -> Scope {
    match *method {
        Method::GET | Method::HEAD => Scope::Read,
        Method::POST if path == "/api/v1/orders" => Scope::Ingest,
        _ => Scope::Admin,
    }
}
