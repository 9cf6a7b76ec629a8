//! `GET /api/v1/events`: for whoever prefers to poll, the events as destinations get them.

use axum::{Json, extract::State};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    extract::Query,
    page::{Cursor, Limit, Page},
    problem::{Problem, Refusals},
};
use crate::{
    model::Timestamp,
    outbox::{Envelope, Fields, events},
};

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// The last `seq` you have seen; 0 for all. Not together with `cursor`.
    #[param(value_type = Option<i64>, minimum = 0)]
    after_seq: Option<Seq>,
    /// Entries at most.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Limit,
    /// `nextCursor` of the page before, as it is.
    cursor: Option<String>,
}

/// A place in the order of events.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "i64")]
struct Seq(i64);

impl TryFrom<i64> for Seq {
    type Error = String;

    fn try_from(seq: i64) -> Result<Self, String> {
        if seq >= 0 { Ok(Self(seq)) } else { Err(format!("after_seq is {seq}; write a seq, or 0 for all")) }
    }
}

/// Events, the oldest first
///
/// `nextCursor` is null at the end; ask again later with `after_seq`.
#[utoipa::path(get, path = "/events", operation_id = "listEvents", params(Wanted), responses((status = 200, description = "A page of them", body = Page<Event>), Refusals))]
pub async fn list(State(api): State<Api>, Query(wanted): Query<Wanted>) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    let cursor: Option<i64> = Cursor::read("seq", wanted.cursor.as_deref())?;
    if cursor.is_some() && wanted.after_seq.is_some() {
        return Err(Problem::bad_request("write either after_seq or cursor"));
    }
    let after = cursor.or(wanted.after_seq.map(|Seq(seq)| seq)).unwrap_or(0);
    let shop = api.shop.clone();
    let found = api.readers.read(move |connection| {
        let found = events(connection, after, wanted.limit.rows() + 1)?;
        let page = Page::new(found, wanted.limit, |last| Cursor::new("seq", last.seq));
        // As text: a tree of values would lose the published order of the keys.
        let told = |event| to_raw_value(&Envelope { shop: &shop, fields: Fields::ALL, event });
        Ok(Page { data: page.data.iter().map(told).collect::<Result<_, _>>()?, next_cursor: page.next_cursor })
    });
    found.await.map(Json).map_err(|error| Problem::internal(&error))
}

/// Something that became true of a customer. [`Envelope`] writes it.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what Envelope writes")]
#[schema(rename_all = "camelCase")]
pub struct Event {
    /// rfm/segment.changed, `customer/first_order`, customer/lapsed, customer/redacted
    #[schema(rename = "type", value_type = String)]
    kind: (),
    timestamp: Timestamp,
    #[schema(examples("evt_01JDBQC1S8E0R8X6VJ2S3T4V5W"))]
    id: String,
    /// Ascending; some may be left out.
    seq: i64,
    data: EventData,
}

/// What an event says.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what Envelope writes")]
#[schema(rename_all = "camelCase")]
struct EventData {
    shop_id: String,
    customer_id: Option<String>,
    old_segment: Option<String>,
    new_segment: Option<String>,
    event_timestamp: Timestamp,
    run_id: Option<i64>,
    /// order, refund, ranking, baseline, remap
    cause: Option<String>,
    /// Present in the first run's events.
    #[schema(nullable = false)]
    initial: Option<bool>,
    /// Of customer/lapsed.
    #[schema(nullable = false)]
    lapsed_days: Option<u32>,
    rfm: Option<Rfm>,
    customer: Option<EventPerson>,
}

/// Scores of 1 to 5.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what Envelope writes")]
struct Rfm {
    #[schema(minimum = 1, maximum = 5)]
    r: u8,
    #[schema(minimum = 1, maximum = 5)]
    f: u8,
    #[schema(minimum = 1, maximum = 5)]
    m: u8,
}

/// Whom an event is about, as known now. Of somebody who was erased only the ids are there.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what Envelope writes")]
#[schema(rename_all = "camelCase")]
struct EventPerson {
    source: String,
    external_id: Option<String>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    phone: Option<String>,
    #[schema(nullable = false)]
    order_count: Option<i64>,
    #[schema(nullable = false)]
    total_spent: Option<String>,
    #[schema(nullable = false)]
    currency: Option<String>,
    last_order_at: Option<Timestamp>,
}
