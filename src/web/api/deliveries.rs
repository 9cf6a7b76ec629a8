//! `GET /api/v1/deliveries`, `POST /api/v1/deliveries/retry`

use std::sync::Arc;

use axum::{Json, extract::State};
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    extract::{self, Body, Query},
    page::{Cursor, Limit, Page},
    problem::{BodyRefusals, Problem, Refusals},
};
use crate::{
    bug::NoResult,
    model::Timestamp,
    outbox::{self, Action, Delivery, DeliveryFilter, Filter, Hold, State as DeliveryState, count_matching},
    scoring::decide,
};

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// In this state: waiting, sending, retrying, held, delivered, dead, superseded, discarded.
    state: Option<String>,
    /// To this destination.
    destination: Option<String>,
    /// Entries at most.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Limit,
    /// `nextCursor` of the page before, as it is.
    cursor: Option<String>,
}

/// Deliveries, the newest first
#[utoipa::path(get, path = "/deliveries", operation_id = "listDeliveries", params(Wanted), responses((status = 200, description = "A page of them", body = Page<Delivery>), Refusals))]
pub async fn list(State(api): State<Api>, Query(wanted): Query<Wanted>) -> Result<Json<Page<Delivery>>, Problem> {
    let filled = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let mut filter = DeliveryFilter {
        state: filled(wanted.state).map(|text| state(&text, DeliveryState::ALL)).transpose()?,
        destination: filled(wanted.destination),
        before: Cursor::read("delivery", wanted.cursor.as_deref())?,
        limit: Some(wanted.limit.rows() + 1),
        ..DeliveryFilter::default()
    };
    let found = api.readers.read(move |connection| {
        filter.after = outbox::end_of_look(connection, &filter)?;
        Ok((outbox::deliveries(connection, &filter)?, filter.after))
    });
    let (found, end) = found.await.map_err(|error| Problem::internal(&error))?;
    let mut page = Page::new(found, wanted.limit, |last| Cursor::new("delivery", last.id));
    // Not full, and older ones were not looked at: the next page begins with that one.
    page.next_cursor = page.next_cursor.or(end.map(|end| Cursor::new("delivery", end + 1).to_string()));
    Ok(Json(page))
}

fn state(text: &str, choices: &[DeliveryState]) -> Result<DeliveryState, Problem> {
    choices.iter().copied().find(|state| state.as_str() == text).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|state| state.as_str()).collect();
        Problem::bad_request(format!("state is {text:?}; write {}", names.join(", ")))
    })
}

/// Which deliveries are tried again: those that all of the named conditions hold for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retry {
    /// This one.
    #[serde(deserialize_with = "id")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{1,18}$")]
    delivery_id: Option<i64>,
    /// Those of this run.
    #[serde(deserialize_with = "id")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{1,18}$")]
    run_id: Option<i64>,
    /// Those about this customer.
    #[serde(deserialize_with = "id")]
    #[schema(value_type = Option<String>, pattern = "^[0-9]{1,18}$")]
    customer_id: Option<i64>,
    /// retrying or dead; without it both.
    state: Option<String>,
    destination: Option<String>,
    /// Those that tell of a move to this segment.
    segment: Option<String>,
    /// Those queued at this time or later.
    #[serde(deserialize_with = "time")]
    #[schema(value_type = Option<Timestamp>)]
    since: Option<Timestamp>,
    /// Those queued before this time.
    #[serde(deserialize_with = "time")]
    #[schema(value_type = Option<Timestamp>)]
    until: Option<Timestamp>,
    /// Those of the first run, and of a run under new segment rules.
    baseline: bool,
    /// All there are; needed when nothing else is said.
    all: bool,
    /// Only count them.
    dry_run: bool,
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| extract::id(&text).ok_or_else(|| D::Error::custom(format!("{text:?} is no id")))).transpose()
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| Timestamp::parse_rfc3339(&text).map_err(D::Error::custom)).transpose()
}

impl Retry {
    fn filter(&self) -> Result<Filter, Problem> {
        let filter = Filter {
            delivery_id: self.delivery_id,
            state: self.state.as_deref().map(|text| state(text, Action::Retry.states())).transpose()?,
            hold: self.baseline.then_some(Hold::Baseline),
            run_id: self.run_id,
            destination: self.destination.clone(),
            segment: self.segment.clone(),
            customer_id: self.customer_id,
            since: self.since,
            until: self.until,
            ..Filter::default()
        };
        if filter == Filter::default() && !self.all {
            return Err(Problem::bad_request(
                "say which deliveries: deliveryId, runId, customerId, destination, state, segment, since, until, baseline, or all",
            ));
        }
        Ok(filter)
    }
}

/// How many there were.
#[derive(Debug, Serialize, ToSchema)]
pub struct Retried {
    matched: i64,
    /// 0 of a dry run.
    retried: usize,
}

/// Try failed deliveries now: those that wait for their next attempt, and dead ones as new messages
#[utoipa::path(
    post, path = "/deliveries/retry", operation_id = "retryDeliveries", request_body = Retry,
    responses((status = 200, description = "What was done", body = Retried), Refusals, BodyRefusals)
)]
pub async fn retry(State(api): State<Api>, Body(retry): Body<Retry>) -> Result<Json<Retried>, Problem> {
    let filter = retry.filter()?;
    let counted = filter.clone();
    let count = api.readers.read(move |connection| Ok(count_matching(connection, Action::Retry, &counted)?));
    let matched = count.await.map_err(|error| Problem::internal(&error))?;
    if retry.dry_run {
        return Ok(Json(Retried { matched, retried: 0 }));
    }
    let (worker, now) = (Arc::clone(&api), api.clock.now());
    // Goes on when the caller does not wait for it.
    let done = tokio::spawn(async move {
        let done = decide(&worker.writer, Action::Retry, &filter, now).await;
        worker.wake.notify_one();
        done
    });
    let done = done.await.map_err(|error| NoResult::from(error).into()).and_then(|done| done);
    Ok(Json(Retried { matched, retried: done.map_err(|error| Problem::unavailable(&error))? }))
}
