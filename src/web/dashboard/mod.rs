//! The local dashboard: server-rendered pages over read-only queries. No page needs JavaScript,
//! and there is none.
//!
//! Each page is one file with its handler, its SQL and its template's fields. [`definitions`] says
//! what every number means; [`guard`] who may ask.

pub mod definitions;

mod chart;
mod customer;
mod customers;
mod deliveries;
mod destinations;
mod export;
mod faults;
pub(super) mod filter;
mod first_run;
mod guard;
mod health;
mod heat;
mod import;
mod kept;
pub(super) mod list;
mod login;
mod matrix;
mod messages;
mod metrics;
mod names;
mod nights;
mod notices;
mod order;
mod overview;
mod place;
mod runs;
mod said;
mod search;
mod segment;
mod segment_table;
mod segments;
mod settings;
pub(super) mod statistics;
mod syncs;
mod timeline;
mod view;
mod words;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicI64},
};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use tokio::sync::Notify;
use tower_http::{
    compression::CompressionLayer,
    csrf::{CsrfLayer, ProtectionError},
    limit::RequestBodyLimitLayer,
    timeout::{RequestBodyDeadlineLayer, RequestBodyTimeoutLayer},
};

use self::kept::Kept;
use crate::{
    backups::Backups,
    clock::Clock,
    config::{Config, Environment},
    db::{EndedSession, Readers, Writer},
    delivery::preview,
    intake::uploads::Uploads,
    metrics::Metrics,
    outbox::{Route, Shop},
    scoring::told::Told,
    web::{
        Limits,
        api::{self, ApiState},
        auth::Access,
        error::PageError,
        writable::Writable,
    },
};

/// Largest request body but for files; the other forms have none.
const BODY_LIMIT: usize = 64 * 1024;

/// What the dashboard needs from `serve`.
#[derive(Clone)]
pub struct DashboardState {
    pub config: Arc<Config>,
    /// Named in advice about settings.
    pub config_path: PathBuf,
    pub readers: Readers,
    pub clock: Clock,
    /// What the forwarder counts.
    pub metrics: Metrics,
    /// "Score now": one message asks for one run. A full channel means that one is asked for.
    pub score_now: tokio::sync::mpsc::Sender<()>,
    /// Files that come in through the page.
    pub uploads: Uploads,
    /// For what the merchant decides.
    pub writer: Writer,
    /// Told after a write that concerns the forwarder.
    pub wake: Arc<Notify>,
    /// Says where the secrets of destinations stand.
    pub environment: Environment,
    /// Told that a customer's data is to be searched for.
    pub privacy: Arc<Notify>,
    /// The copies that each night leaves.
    pub backups: Backups,
    /// The key that the database keeps for itself; that of sessions is made of it.
    pub database_key: [u8; 32],
    /// Sessions that were ended before their time.
    pub ended_sessions: Vec<EndedSession>,
    pub limits: Limits,
}

/// [`DashboardState`] and what is made of it once.
struct App {
    config: Arc<Config>,
    config_path: PathBuf,
    readers: Readers,
    clock: Clock,
    metrics: Metrics,
    score_now: tokio::sync::mpsc::Sender<()>,
    uploads: Uploads,
    writer: Writer,
    wake: Arc<Notify>,
    environment: Environment,
    /// What the queue has to know of the destinations; none when they cannot be used, which `serve` refuses.
    routes: Vec<Route>,
    /// Where their requests go, as far as it may be shown; in the same order.
    addresses: Vec<String>,
    outcomes: destinations::Outcomes,
    said: said::Said,
    privacy: Arc<Notify>,
    backups: Backups,
    writable: Writable,
    names: names::Names,
    /// Between two runs, by their ids.
    flows: Kept<(i64, i64), segments::flow::Flow>,
    /// Of a run and a segment.
    medians: Kept<(i64, String), Option<segment::Medians>>,
    erased: Mutex<Option<customer::erase::Erased>>,
    access: Access,
    /// Whose scores are shown.
    told: Told,
    /// When the numbers that a page showed last were scored (Unix milliseconds).
    scored: AtomicI64,
    /// When "Score now" was last pressed (Unix milliseconds), until its run shows in the database.
    asked: AtomicI64,
}

/// All routes of the dashboard listener.
pub fn router(state: DashboardState) -> Router {
    let api = api::router(ApiState {
        shop: Shop::from_config(&state.config),
        config: state.config.clone(),
        readers: state.readers.clone(),
        writer: state.writer.clone(),
        clock: state.clock.clone(),
        score_now: state.score_now.clone(),
        wake: state.wake.clone(),
        privacy: state.privacy.clone(),
    });
    let access = Access::new(&state.config, &state.database_key, &state.ended_sessions);
    let DashboardState {
        config,
        config_path,
        readers,
        clock,
        metrics,
        score_now,
        uploads,
        writer,
        wake,
        environment,
        privacy,
        limits,
        backups,
        ..
    } = state;
    let (names, told) = (names::Names::from_config(&config), Told::from_config(&config));
    let app = Arc::new(App {
        routes: Route::from_config(&config).unwrap_or_default(),
        addresses: preview::addresses(&config),
        outcomes: destinations::Outcomes::default(),
        said: said::Said::default(),
        config,
        config_path,
        readers,
        clock,
        metrics,
        score_now,
        uploads,
        writable: Writable::new(writer.clone()),
        writer,
        wake,
        environment,
        privacy,
        backups,
        names,
        flows: Kept::default(),
        medians: Kept::default(),
        erased: Mutex::default(),
        access,
        told,
        scored: AtomicI64::new(view::NEVER),
        asked: AtomicI64::new(i64::MIN),
    });
    let pages = Router::new()
        .route("/", get(overview::page))
        .route("/segments", get(segments::page))
        .route("/segments.csv", get(export::segments))
        .route("/segments/{segment}", get(segment::page))
        .route("/settings", get(settings::page))
        .route("/customers", get(customers::page))
        .route("/customers.csv", get(export::customers))
        .route("/customers/{id}", get(customer::page))
        .route("/customers/{id}/erase", post(customer::erase::erase))
        .route("/runs", get(runs::list).post(runs::score_now))
        .route("/runs.csv", get(runs::export::csv))
        .route("/runs/{id}", get(runs::detail::page))
        .route("/deliveries", get(deliveries::page))
        .route("/deliveries.csv", get(deliveries::export::csv))
        .route("/deliveries/decide", get(deliveries::decide::ask).post(deliveries::decide::act))
        .route("/deliveries/{id}", get(deliveries::detail::page).post(deliveries::decide::act_on_one))
        .route("/destinations", get(destinations::page))
        .route("/destinations.csv", get(destinations::export::csv))
        .route("/destinations/{name}/{action}", post(destinations::actions::act))
        .route("/import.csv", get(import::export::csv))
        .route("/import/sample.csv", get(import::sample))
        .route("/import/{id}", get(import::detail::page))
        .route("/import/{id}/try", post(import::detail::try_out))
        .route("/import/{id}/start", post(import::detail::start))
        .route("/import/{id}/discard", post(import::detail::discard))
        .route("/import/{id}/rejected.csv", get(import::detail::rejected))
        .route("/syncs", get(syncs::page))
        .route("/syncs.csv", get(syncs::export::csv))
        .route("/login", get(login::page).post(login::sign_in))
        .route("/logout", post(login::sign_out))
        .route("/assets/quintile.css", get(view::style))
        .route("/assets/favicon.svg", get(view::icon))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .layer(RequestBodyLimitLayer::new(BODY_LIMIT))
        .layer(RequestBodyDeadlineLayer::new(limits.body));
    // Its size is limited where it is written, and it may last as long as it moves.
    let upload = Router::new()
        .route("/import", get(import::page).post(import::upload))
        .layer(DefaultBodyLimit::disable())
        .layer(RequestBodyTimeoutLayer::new(limits.body));
    pages
        .merge(upload)
        .merge(api)
        .fallback(view::not_found)
        .method_not_allowed_fallback(view::wrong_method)
        .layer(CsrfLayer::new().with_rejection_response(from_elsewhere))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .layer(CompressionLayer::new())
        .with_state(app)
}

/// The answer to a form that another site submitted.
fn from_elsewhere(_: ProtectionError) -> Response {
    PageError::Forbidden(
        "This was sent from another site, so nothing was done. Open the dashboard itself and press the button there."
            .to_owned(),
    )
    .into_response()
}
