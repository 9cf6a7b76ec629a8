//! `GET /api/v1/customers`, `GET` and `DELETE /api/v1/customers/{id}`

use axum::{Json, extract::State};
use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    Api,
    extract::{self, Path, Query},
    page::{Cursor, Limit, Page},
    problem::{Missing, Problem, Refusals},
};
use crate::{
    config::Config,
    intake::privacy,
    ledger::Who,
    model::{Quintile, Timestamp},
    outbox::Route,
    scoring::{
        known_segments, note_decided,
        segment::{NONE, Scheme},
        told::Told,
    },
    web::{
        dashboard::{
            filter::{self, Filter},
            list::{self, Total},
        },
        store::store,
    },
};

/// A customer, as the latest run scored them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Customer {
    id: String,
    /// Where they come from: shopify, woocommerce, csv, api.
    source: String,
    /// Their id there; null: a guest.
    external_id: Option<String>,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
    /// Orders that count.
    order_count: i64,
    /// Net, in the shop's currency.
    #[schema(examples("412.50"))]
    total_spent: String,
    avg_order_value: String,
    #[schema(examples("EUR"))]
    currency: String,
    first_order_at: Option<Timestamp>,
    last_order_at: Option<Timestamp>,
    /// Recency: 5 is the fifth of the customers who bought last. Null: not scored.
    #[schema(minimum = 1, maximum = 5)]
    r: Option<u8>,
    /// Frequency
    #[schema(minimum = 1, maximum = 5)]
    f: Option<u8>,
    /// Monetary value
    #[schema(minimum = 1, maximum = 5)]
    m: Option<u8>,
    segment: Option<String>,
    previous_segment: Option<String>,
    segment_since: Option<Timestamp>,
}

impl Customer {
    fn new(customer: list::Customer, config: &Config) -> Self {
        let currency = config.shop.currency;
        let [r, f, m] = customer.scores.map_or([None; 3], |scores| scores.map(Some));
        Self {
            id: customer.id.to_string(),
            source: customer.source,
            external_id: customer.external_id,
            email: customer.email,
            first_name: customer.first_name,
            last_name: customer.last_name,
            order_count: customer.order_count,
            total_spent: customer.total_spent.to_decimal(currency),
            avg_order_value: customer.avg_order_value.to_decimal(currency),
            currency: currency.to_string(),
            first_order_at: customer.first_order_at,
            last_order_at: customer.last_order_at,
            r,
            f,
            m,
            segment: customer.segment,
            previous_segment: customer.previous_segment,
            segment_since: customer.segment_since,
        }
    }
}

/// Which customers.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
    /// In this segment; `none`: in none.
    segment: Option<String>,
    /// With this score for recency.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 5)]
    r: Option<Score>,
    /// With this score for frequency.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 5)]
    f: Option<Score>,
    /// With this score for monetary value.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 5)]
    m: Option<Score>,
    /// Whose id or external id is this, whose e-mail or name starts with it.
    search: Option<String>,
    /// Entries at most.
    #[serde(default)]
    #[param(value_type = Option<u32>, minimum = 1, maximum = 1000, default = 100)]
    limit: Limit,
    /// `nextCursor` of the page before, as it is.
    cursor: Option<String>,
}

/// A quintile in an address.
#[derive(Debug, Deserialize)]
#[serde(try_from = "u8")]
struct Score(Quintile);

impl TryFrom<u8> for Score {
    type Error = String;

    fn try_from(score: u8) -> Result<Self, String> {
        Quintile::new(score).map(Self).ok_or_else(|| format!("{score} is no score; write 1 to 5"))
    }
}

impl Wanted {
    /// The page's filter, newest first. An empty value is as if absent.
    fn filter(&self) -> Filter {
        let text = |value: &Option<String>| value.as_deref().map(str::trim).unwrap_or_default().to_owned();
        let pairs = [("q".to_owned(), text(&self.search)), ("segment".to_owned(), text(&self.segment))];
        let score = |score: &Option<Score>| score.as_ref().map(|Score(quintile)| *quintile);
        // Words alone: there is nothing that it could refuse.
        let words = Filter::from_pairs(&pairs).unwrap_or_default();
        Filter { r: score(&self.r), f: score(&self.f), m: score(&self.m), ..words }
    }
}

/// Customers, the newest first
#[utoipa::path(get, path = "/customers", operation_id = "listCustomers", params(Wanted), responses((status = 200, description = "A page of them", body = Page<Customer>), Refusals))]
pub async fn list(State(api): State<Api>, Query(wanted): Query<Wanted>) -> Result<Json<Page<Customer>>, Problem> {
    let after: Option<String> = Cursor::read("customer", wanted.cursor.as_deref())?;
    let after = after.as_deref().map(|text| {
        filter::Cursor::parse(text).ok_or_else(|| Problem::bad_request("this is no cursor; write nextCursor as it is"))
    });
    let (after, filter, limit) = (after.transpose()?, wanted.filter(), wanted.limit.rows());
    let told = Told::from_config(&api.config);
    let scheme = Scheme::from_config(&api.config).map_err(|error| Problem::internal(&error.into()))?;
    let found = api.readers.read(move |connection| {
        if let Some(segment) = filter.segment.as_ref().filter(|segment| *segment != NONE) {
            let known = known_segments(connection, &scheme)?;
            if !known.contains(segment) {
                return Ok(Err(format!("there is no segment {segment:?}; write {}", known.join(", "))));
            }
        }
        Ok(Ok(list::page(connection, told, &filter, Total::Unknown, after.as_ref(), limit)?))
    });
    let page = found.await.map_err(|error| Problem::internal(&error))?.map_err(Problem::bad_request)?;
    Ok(Json(Page {
        data: page.customers.into_iter().map(|customer| Customer::new(customer, &api.config)).collect(),
        next_cursor: page.next.map(|next| Cursor::new("customer", next).to_string()),
    }))
}

/// One customer
#[utoipa::path(
    get, path = "/customers/{id}", operation_id = "getCustomer", params(("id" = String, Path, description = "As lists show it.")),
    responses((status = 200, description = "The customer", body = Customer), Missing, Refusals)
)]
pub async fn one(State(api): State<Api>, Path(id): Path) -> Result<Json<Customer>, Problem> {
    let (wanted, told) = (extract::id(&id), Told::from_config(&api.config));
    let found = api.readers.read(move |connection| {
        let Some(id) = wanted else { return Ok(Err(format!("there is no customer {id:?}"))) };
        Ok(match absent(connection, id)? {
            Some(why) => Err(why),
            None => list::Customer::by_id(connection, told, id)?.ok_or_else(|| format!("there is no customer {id}")),
        })
    });
    let customer = found.await.map_err(|error| Problem::internal(&error))?.map_err(Problem::not_found)?;
    Ok(Json(Customer::new(customer, &api.config)))
}

/// Why a customer is in no list.
fn absent(connection: &Connection, id: i64) -> rusqlite::Result<Option<String>> {
    let state = connection
        .prepare_cached("SELECT merged_into, deleted_at IS NOT NULL FROM customers WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, bool>(1)?)))
        .optional()?;
    Ok(match state {
        Some((Some(into), _)) => Some(format!("customer {id} was merged into customer {into}")),
        Some((None, true)) => Some(format!("customer {id} was deleted in the shop")),
        Some((None, false)) => None,
        None => Some(format!("there is no customer {id}")),
    })
}

/// What was done to forget a person.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Erased {
    /// All that were this person.
    customers: Vec<String>,
    /// Orders that named them, so far: other people's of a large shop are searched after the answer.
    orders: usize,
    /// Deliveries that are never sent.
    cancelled: usize,
    /// Deliveries of the past that named them.
    scrubbed: usize,
    /// Deliveries on their way at this moment.
    on_their_way: usize,
    /// Messages of the shop that named them, so far: a large inbox is searched after the answer.
    messages: usize,
    /// Destinations that are told to erase them too.
    told: Vec<String>,
    /// Destinations where they have to be deleted by hand.
    by_hand: Vec<String>,
}

/// Forget a person: what names them is blanked, their orders go on counting
///
/// It cannot be undone. Rows that were merged with theirs, guests and other ids with their e-mail are
/// the same person.
#[utoipa::path(
    delete, path = "/customers/{id}", operation_id = "eraseCustomer", params(("id" = String, Path, description = "As lists show it.")),
    responses((status = 200, description = "What was done", body = Erased), Missing, Refusals)
)]
pub async fn erase(State(api): State<Api>, Path(id): Path) -> Result<Json<Erased>, Problem> {
    let missing = || Problem::not_found(format!("there is no customer {id:?}"));
    let customer = extract::id(&id).ok_or_else(missing)?;
    let routes = Route::from_config(&api.config).map_err(|error| Problem::internal(&error.into()))?;
    let now = api.clock.now();
    let done = store(&api.writer, &api.wake, move |tx| {
        if !tx.prepare("SELECT 1 FROM customers WHERE id = ?1")?.exists([customer])? {
            return Ok(None);
        }
        let forgotten = privacy::erase(tx, &Who { customer_id: Some(customer), ..Who::default() }, now)?;
        // It may have been the last that a run waited for.
        note_decided(tx)?;
        Ok(Some(forgotten))
    });
    let forgotten = done.await.map_err(|error| Problem::unavailable(&error))?.ok_or_else(missing)?;
    // What is on its way to the tools stops now; the search through the inbox may take a while.
    api.wake.notify_one();
    api.privacy.notify_one();
    let (told, by_hand) = Route::by_erasure(&routes);
    let erased = forgotten.erased;
    Ok(Json(Erased {
        told: if erased.events > 0 { told } else { Vec::new() },
        by_hand: if erased.customers.is_empty() { Vec::new() } else { by_hand },
        customers: erased.customers.iter().map(ToString::to_string).collect(),
        orders: erased.orders,
        cancelled: erased.withdrawn.cancelled,
        scrubbed: erased.withdrawn.scrubbed,
        on_their_way: erased.withdrawn.on_their_way,
        messages: forgotten.messages,
    }))
}
