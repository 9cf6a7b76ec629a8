//! `POST /api/v1/orders`: what `/webhooks/orders` takes, from a program with a token in place of a
//! signature.

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, header},
};
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    Api,
    extract::json_bytes,
    problem::{BodyRefusals, Problem, Refusals},
};
use crate::{
    db::QueueFull,
    intake::{
        MAX_BODY, Message, Rules,
        api::{self, Answer, Outcome},
    },
    model::{Source, Timestamp},
    web::store::store,
};

/// Names the message, so that a copy of it changes nothing.
const KEY: &str = "idempotency-key";
const LONGEST_KEY: usize = 255;

/// Send orders: one, a list, or `{"orders": […]}`
///
/// Each is accepted or refused by itself, and the answer says which. The same orders may be sent
/// again and change nothing. Takes up to 8 MiB.
#[utoipa::path(
    post, path = "/orders", operation_id = "sendOrders", request_body = Orders,
    params(("Idempotency-Key" = Option<String>, Header, description = "A name for this message: a copy with the same name and body is answered again and changes nothing, but that what was refused before may be taken now.", max_length = 255)),
    responses((status = 200, description = "What became of each order", body = Answer), Refusals, BodyRefusals)
)]
pub async fn take(State(state): State<Api>, request: Request) -> Result<Json<Answer>, Problem> {
    let headers = request.headers().clone();
    let key = key(&headers)?;
    let body: Vec<u8> = json_bytes(request, MAX_BODY).await?.into();
    let message = Message {
        source: Source::Api,
        topic: api::TOPIC.to_owned(),
        delivery_key: Some(key),
        triggered_at: None,
        headers: json!({ "user-agent": text(&headers, header::USER_AGENT.as_str()) }),
        body,
        received_at: state.clock.now(),
    };
    let rules = Rules::from_config(&state.config);
    let prepared = api::Prepared::new(message, &rules);
    // Unlike a shop, who writes this waits for the answer and can mend it: nothing is kept.
    if let Some(reason) = prepared.unusable() {
        return Err(Problem::bad_request(reason));
    }
    let outcome = store(&state.writer, &state.wake, move |tx| prepared.store(tx, &rules)).await;
    match outcome {
        Ok(Outcome::Answered(answer)) => Ok(Json(answer)),
        Ok(Outcome::Unreadable(reason)) => Err(Problem::bad_request(reason)),
        Err(error) if error.is::<QueueFull>() => Err(Problem::not_now("too many writes are waiting; send it again")),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

/// The sender's name for the message, or one of ours: without one, two messages with the same bytes
/// would count as copies, and what came between them would be kept.
fn key(headers: &HeaderMap) -> Result<String, Problem> {
    if !headers.contains_key(KEY) {
        return Ok(Uuid::now_v7().to_string());
    }
    let given = headers.get_all(KEY).iter().count();
    let usable = |text: &&str| given == 1 && !text.is_empty() && text.len() <= LONGEST_KEY;
    let key = headers.get(KEY).and_then(|value| value.to_str().ok()).map(str::trim).filter(usable);
    // Keys of signed messages are others': nobody's copy is another's.
    key.map(|key| format!("api {key}")).ok_or_else(|| {
        Problem::bad_request(format!("write Idempotency-Key once, in up to {LONGEST_KEY} plain characters"))
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// What may be sent. [`intake::api`](crate::intake::api) reads it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what intake reads")]
#[serde(untagged)]
enum Orders {
    Many(Envelope),
    List(Vec<Order>),
    One(Box<Order>),
}

/// Up to 10,000 orders.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what intake reads")]
struct Envelope {
    #[schema(max_items = 10_000)]
    orders: Vec<Order>,
}

/// The latest state of an order.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what intake reads")]
#[schema(rename_all = "camelCase")]
struct Order {
    /// The shop's own.
    id: String,
    /// Neither id nor e-mail: nobody's order.
    customer: Option<OrderCustomer>,
    ordered_at: Timestamp,
    /// Which of two states is newer; without it, the one that comes later.
    updated_at: Option<Timestamp>,
    /// The shop's own currency; others are refused.
    #[schema(examples("EUR"))]
    currency: Option<String>,
    #[schema(examples("49.90"))]
    total: String,
    refunded: Option<String>,
    /// paid, pending, refunded, cancelled
    status: String,
    /// It never counts.
    test: Option<bool>,
    /// No news: starts nothing in a tool.
    historical: Option<bool>,
}

/// Who ordered.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what intake reads")]
#[schema(rename_all = "camelCase")]
struct OrderCustomer {
    id: Option<String>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    phone: Option<String>,
}
