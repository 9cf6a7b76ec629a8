//! The webhooks listener: the only one to expose.
//!
//! A request is checked in the order of what it costs: who sends it ([`gate`]), headers, size, and when
//! its body is read, the signature. 2xx is answered after the commit, so it means that the message is stored; what
//! is ours to repair is answered 503, so that the sender tries again.

mod buckets;
mod gate;
mod refusals;
mod room;
mod woocommerce;

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRef, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{from_fn_with_state, map_response, map_response_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rusqlite::Transaction;
use serde_json::{Value, json};
use tokio::sync::Notify;

use self::{
    gate::Gate,
    refusals::{ELSEWHERE, OUT_OF_TIME, QUARANTINED, UNSIGNED},
    room::Place,
};
use crate::{
    clock::Clock,
    config::Config,
    db::{Writer, is_said},
    intake::{self, Message, Received, Rules, api, signature},
    metrics::Metrics,
    model::{Source, Timestamp},
    web::{Limits, store, writable::Writable},
};

pub use self::refusals::Refusals;

/// What a sender is told to wait when we cannot store, in seconds.
const RETRY_AFTER: u64 = 5;
/// Headers kept in the inbox, and nothing else: no signature, no cookie, no token.
const KEPT: [&str; 4] = ["content-type", "user-agent", "webhook-id", "webhook-timestamp"];
/// What Shopify says about a message, as `X-Shopify-{name}` or `Shopify-{name}`.
const KEPT_OF_SHOPIFY: [&str; 12] = [
    "action",
    "api-version",
    "event-id",
    "handle",
    "name",
    "order-id",
    "shop-domain",
    "sub-topic",
    "test",
    "topic",
    "triggered-at",
    "webhook-id",
];
/// What WooCommerce says about a message, as `X-WC-Webhook-{name}`.
const KEPT_OF_WOOCOMMERCE: [&str; 6] = ["delivery-id", "event", "id", "resource", "source", "topic"];

/// What the routes need.
#[derive(Clone)]
pub struct WebhookState {
    pub config: Arc<Config>,
    pub rules: Rules,
    pub writer: Writer,
    pub clock: Clock,
    /// Wakes the forwarder. Nothing here waits for it.
    pub wake: Arc<Notify>,
    /// Wakes what works off requests about somebody's data.
    pub privacy: Arc<Notify>,
    /// What the log is told of messages that are refused.
    pub refusals: Refusals,
    pub metrics: Metrics,
    pub limits: Limits,
}

/// [`WebhookState`] and what is made of it once.
#[derive(Clone)]
struct App {
    state: WebhookState,
    gate: Arc<Gate>,
}

impl FromRef<App> for WebhookState {
    fn from_ref(app: &App) -> Self {
        app.state.clone()
    }
}

impl FromRef<App> for Arc<Gate> {
    fn from_ref(app: &App) -> Self {
        Self::clone(&app.gate)
    }
}

/// `POST /webhooks/shopify`, `POST /webhooks/woocommerce`, `POST /webhooks/orders`, `GET /healthz`.
pub fn router(state: WebhookState) -> Router {
    let gate = Gate::new(state.limits, &state.config.webhooks);
    let metrics = state.metrics.clone();
    Router::new()
        .route("/webhooks/shopify", post(shopify))
        .route("/webhooks/woocommerce", post(woocommerce::receive))
        .route("/webhooks/orders", post(orders))
        .route_layer(from_fn_with_state(Arc::clone(&gate), Gate::admit))
        .route("/healthz", get(healthz).with_state(Writable::new(state.writer.clone())))
        .layer(map_response(as_problem))
        .layer(map_response_with_state(metrics, count))
        .with_state(App { state, gate })
}

/// Why a request gets no 2xx, as an RFC 9457 problem document.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    detail: String,
    /// Seconds until another try is worth it.
    retry_after: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), retry_after: None }
    }

    fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    /// Ours to repair. The details are in the log, not in the answer.
    fn unavailable(error: &anyhow::Error) -> Self {
        if !is_said(error) {
            tracing::error!(error = format!("{error:#}"), "a webhook was not stored");
        }
        Self::not_now("this message was not stored; please send it again")
    }

    /// Too many large ones are being read.
    fn busy() -> Self {
        Self::not_now("too many large messages come in at once; please send it again")
    }

    fn not_now(detail: &str) -> Self {
        Self { retry_after: Some(RETRY_AFTER), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    /// Too much that was not signed well.
    fn too_many(wait_s: u64) -> Self {
        let detail =
            "too many messages without a good signature came from your address; check the secret, and send slower";
        Self { retry_after: Some(wait_s), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("error");
        let body =
            json!({ "type": "about:blank", "title": title, "status": self.status.as_u16(), "detail": self.detail });
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// Errors that the layers below answer by themselves get a body like all others; their headers
/// (`Allow`) stay.
async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let detail = match status {
        StatusCode::NOT_FOUND => {
            "there is nothing at this address; send to /webhooks/shopify, /webhooks/woocommerce or /webhooks/orders"
                .to_owned()
        }
        StatusCode::METHOD_NOT_ALLOWED => "this address does not take this method; see the Allow header".to_owned(),
        _ => return response,
    };
    let (kept, _) = response.into_parts();
    let mut problem = Problem::new(status, detail).into_response();
    if let Some(allow) = kept.headers.get(header::ALLOW) {
        problem.headers_mut().insert(header::ALLOW, allow.clone());
    }
    problem
}

/// Counts what is refused, for whatever reason.
async fn count(State(metrics): State<Metrics>, response: Response) -> Response {
    if !response.status().is_success() {
        metrics.refused(response.status().as_u16());
    }
    response
}

async fn shopify(
    State(state): State<WebhookState>,
    State(gate): State<Arc<Gate>>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let headers = request.headers().clone();
    let signature = shopify_header(&headers, "hmac-sha256")
        .map_err(|_| Problem::unauthorized("more than one signature"))?
        .ok_or_else(|| Problem::unauthorized("there is no X-Shopify-Hmac-Sha256 header"))?;
    let arrived = gate.read(request).await?;
    if !signature::shopify(&state.config.webhooks.shopify.secrets, arrived.bytes(), signature) {
        state.refusals.note(Source::Shopify, UNSIGNED, arrived.bytes().len());
        return Err(Problem::unauthorized("the signature does not match any accepted secret"));
    }
    let (body, place) = gate.signed_well(arrived);

    let required = |name: &str| {
        shopify_header(&headers, name)?
            .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, format!("there is no X-Shopify-{name} header")))
    };
    let topic = required("Topic")?.to_ascii_lowercase();
    let shop = required("Shop-Domain")?;
    if !shop.eq_ignore_ascii_case(&state.config.shop.id) {
        if state.refusals.comes(Source::Shopify, ELSEWHERE) {
            tracing::warn!(?shop, "refused a webhook of another shop than [shop] id");
        }
        return Err(Problem::unauthorized("this is not the shop whose webhooks are taken here"));
    }
    let triggered_at = shopify_header(&headers, "triggered-at")?.and_then(|text| Timestamp::parse_rfc3339(text).ok());
    let message = Message {
        source: Source::Shopify,
        topic,
        delivery_key: shopify_header(&headers, "webhook-id")?.map(str::to_owned),
        triggered_at,
        headers: kept_headers(&headers),
        body,
        received_at: state.clock.now(),
    };
    keep(&state, message, place).await
}

/// Stores a signed message and makes its change; 200 whatever it says.
async fn keep(state: &WebhookState, message: Message, place: Option<Place>) -> Result<StatusCode, Problem> {
    let (source, topic, rules) = (message.source, message.topic.clone(), state.rules.clone());
    let prepared = intake::Prepared::new(message, &state.rules);
    let received = store(state, place, move |tx| prepared.store(tx, &rules)).await?;
    if matches!(received, Received::Quarantined(_)) && state.refusals.comes(source, QUARANTINED) {
        tracing::warn!(%source, topic, "quarantined a signed webhook; its reason is in the inbox");
    }
    // A merge may erase somebody too.
    let is_privacy = matches!(topic.as_str(), "customers/redact" | "customers/data_request" | "customers/merge");
    if is_privacy && received == Received::Done {
        state.privacy.notify_one();
    }
    Ok(StatusCode::OK)
}

async fn orders(
    State(state): State<WebhookState>,
    State(gate): State<Arc<Gate>>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let signed = |name: &str| {
        one(&headers, name)
            .map_err(|_| Problem::unauthorized(format!("more than one {name} header")))?
            .ok_or_else(|| Problem::unauthorized(format!("there is no {name} header")))
    };
    let standard = signature::Standard {
        id: signed("webhook-id")?,
        timestamp: signed("webhook-timestamp")?,
        signature: signed("webhook-signature")?,
    };
    let arrived = gate.read(request).await?;
    let now = state.clock.now();
    let sent = signature::standard_webhooks(&state.config.webhooks.orders.secrets, standard, arrived.bytes(), now);
    let sent = sent.map_err(|refused| {
        let reason = if refused == signature::Refused::NoMatch { UNSIGNED } else { OUT_OF_TIME };
        state.refusals.note(Source::Api, reason, arrived.bytes().len());
        Problem::unauthorized(refused.to_string())
    })?;
    let (body, place) = gate.signed_well(arrived);
    let message = Message {
        source: Source::Api,
        topic: api::TOPIC.to_owned(),
        delivery_key: Some(standard.id.to_owned()),
        triggered_at: Some(sent),
        headers: kept_headers(&headers),
        body,
        received_at: now,
    };
    let prepared = api::Prepared::new(message, &state.rules);
    let rules = state.rules.clone();
    let outcome = store(&state, place, move |tx| prepared.store(tx, &rules)).await?;
    match outcome {
        api::Outcome::Answered(answer) => Ok(axum::Json(answer).into_response()),
        api::Outcome::Unreadable(reason) => Err(Problem::new(StatusCode::BAD_REQUEST, reason)),
    }
}

/// Runs `job` in a transaction; after its commit, wakes the forwarder if there is an event for it. The place of its
/// body is kept until then, also where the sender hangs up meanwhile.
async fn store<T: Send + 'static>(
    state: &WebhookState,
    place: Option<Place>,
    job: impl FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    let job = move |tx: &Transaction<'_>| {
        let _place = place;
        job(tx)
    };
    store::store(&state.writer, &state.wake, job).await.map_err(|error| Problem::unavailable(&error))
}

async fn healthz(State(writable): State<Writable>) -> Response {
    if writable.check().await.is_ok() {
        axum::Json(json!({ "status": "ok" })).into_response()
    } else {
        Problem::not_now("the database cannot be written").into_response()
    }
}

/// The value of `X-Shopify-{name}` or of the newer `Shopify-{name}`. A sender in transition may
/// send both, but they must agree.
fn shopify_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let older = one(headers, &format!("x-shopify-{name}"))?;
    let newer = one(headers, &format!("shopify-{name}"))?;
    match (older, newer) {
        (Some(older), Some(newer)) if older != newer => {
            Err(Problem::new(StatusCode::BAD_REQUEST, format!("X-Shopify-{name} and Shopify-{name} differ")))
        }
        (older, newer) => Ok(older.or(newer)),
    }
}

/// The value of a header that may be there once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let bad = |what: &str| Problem::new(StatusCode::BAD_REQUEST, format!("{name}: {what}"));
    let mut values = headers.get_all(name).into_iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(bad("more than one such header"));
    }
    let text = first.to_str().map_err(|_| bad("not plain text"))?.trim();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// What the inbox keeps of the headers.
fn kept_headers(headers: &HeaderMap) -> Value {
    let kept = |name: &HeaderName| {
        let name = name.as_str();
        let of = |family: &str, kept: &[&str]| name.strip_prefix(family).is_some_and(|rest| kept.contains(&rest));
        KEPT.contains(&name)
            || of("x-shopify-", &KEPT_OF_SHOPIFY)
            || of("shopify-", &KEPT_OF_SHOPIFY)
            || of("x-wc-webhook-", &KEPT_OF_WOOCOMMERCE)
    };
    headers
        .iter()
        .filter(|(name, _)| kept(name))
        .map(|(name, value)| (name.to_string(), Value::from(String::from_utf8_lossy(value.as_bytes()).into_owned())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}
