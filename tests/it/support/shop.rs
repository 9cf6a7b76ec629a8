//! A made-up shop that talks to the webhooks listener: it writes bodies in the shapes of Shopify
//! and of the generic API, signs them, and looks into the database.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use quintile::{
    clock::Clock,
    config::{Config, Secret},
    db::Database,
    ledger::Rules,
    metrics::Metrics,
    model::Timestamp,
    web::{
        Limits,
        webhooks::{Refusals, WebhookState, router},
    },
};
use serde_json::{Value, json};
use sha2::Sha256;
use tower::ServiceExt;

use super::folder::Folder;

pub const SECRET: &str = "shpss_made_up";
pub const OLD_SECRET: &str = "shpss_before";
pub const DOMAIN: &str = "apples.myshopify.com";
pub const API_SECRET: &str = "whsec_bWFkZSB1cCBmb3IgdGVzdHMgYWxvbmU=";
/// 2026-11-23T12:00:00Z: what the shop's clock says first.
pub const NOON: i64 = 1_795_435_200_000;

pub struct Shop {
    pub database: Database,
    pub config: Config,
    pub router: Router,
    /// What the forwarder waits on.
    pub wake: Arc<tokio::sync::Notify>,
    now: Arc<AtomicI64>,
    sent: AtomicI64,
    pub folder: Folder,
}

/// An answer of the listener.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A row of the inbox.
#[derive(Debug, PartialEq, Eq)]
pub struct Stored {
    pub topic: String,
    pub state: String,
    pub reason: Option<String>,
    pub duplicates: i64,
}

impl Shop {
    pub fn open() -> Self {
        Self::open_with(|_| {})
    }

    pub fn open_with(change: impl FnOnce(&mut Config)) -> Self {
        Self::open_as(change, Limits::default())
    }

    /// Whose listener bears this much.
    pub fn open_within(limits: Limits) -> Self {
        Self::open_as(|_| {}, limits)
    }

    fn open_as(change: impl FnOnce(&mut Config), limits: Limits) -> Self {
        let folder = Folder::new();
        let mut config = Config::default();
        DOMAIN.clone_into(&mut config.shop.id);
        config.database.path = folder.path().join("quintile.db");
        config.webhooks.shopify.secrets = vec![Secret::new(OLD_SECRET), Secret::new(SECRET)];
        config.webhooks.orders.secrets = vec![Secret::new(API_SECRET)];
        change(&mut config);
        let database = Database::open(&config.database.path, "test").unwrap();
        let now = Arc::new(AtomicI64::new(NOON));
        let clock = Arc::clone(&now);
        let wake = Arc::default();
        let router = router(WebhookState {
            config: Arc::new(config.clone()),
            rules: Rules::from_config(&config),
            writer: database.writer().clone(),
            wake: Arc::clone(&wake),
            privacy: Arc::default(),
            refusals: Refusals::default(),
            metrics: Metrics::default(),
            limits,
            clock: Clock::from_fn(move || Timestamp::from_millis(clock.load(Ordering::Relaxed))),
        });
        Self { database, config, router, wake, now, sent: AtomicI64::new(0), folder }
    }

    pub fn now(&self) -> i64 {
        self.now.load(Ordering::Relaxed)
    }

    pub fn later(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    pub async fn request(&self, request: Request<Body>) -> Reply {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Reply { status: parts.status, headers: parts.headers, body }
    }

    /// A Shopify webhook with a fresh id, signed.
    pub fn webhook(&self, topic: &str, body: impl Into<Vec<u8>>) -> Webhook {
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        Webhook::new(topic, body).header("X-Shopify-Webhook-Id", &format!("wh-{number}"))
    }

    /// Sends a Shopify webhook that must be answered 200.
    pub async fn tell(&self, topic: &str, body: &Value) {
        self.deliver(self.webhook(topic, body.to_string())).await;
    }

    /// Sends it; it must be answered 200.
    pub async fn deliver(&self, webhook: Webhook) {
        let reply = self.request(webhook.request()).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", String::from_utf8_lossy(&reply.body));
    }

    /// Posts to the generic API under a message id.
    pub async fn post_orders(&self, id: &str, body: &str) -> Reply {
        self.request(standard_request(API_SECRET, id, self.now() / 1000, body)).await
    }

    pub fn inbox(&self) -> Vec<Stored> {
        let reader = self.database.readers().get().unwrap();
        let mut statement = reader.prepare("SELECT topic, state, reason, duplicates FROM inbox ORDER BY id").unwrap();
        let rows = statement.query_map([], |row| {
            Ok(Stored { topic: row.get(0)?, state: row.get(1)?, reason: row.get(2)?, duplicates: row.get(3)? })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// State and reason of the newest message.
    pub fn last(&self) -> (String, String) {
        let last = self.inbox().pop().expect("something was stored");
        (last.state, last.reason.unwrap_or_default())
    }

    /// One row, its columns as text joined by " | ".
    pub fn row(&self, sql: &str) -> String {
        let mut rows = self.rows(sql);
        assert_eq!(rows.len(), 1, "{sql}: {rows:?}");
        rows.remove(0)
    }

    pub fn rows(&self, sql: &str) -> Vec<String> {
        rows(&self.database.readers().get().unwrap(), sql)
    }

    /// "orders, spent" of each customer who counts, by name ("shopify:7001", "guest:anna@…").
    pub fn counters(&self) -> Vec<String> {
        self.rows(&format!(
            "SELECT {LABEL}, order_count, total_spent FROM customers c WHERE merged_into IS NULL ORDER BY 1"
        ))
    }
}

/// A customer's name in tests, from the row `c`.
pub const LABEL: &str = "coalesce(c.source || ':' || c.external_id, 'guest:' || c.email_key)";

pub fn rows(connection: &rusqlite::Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        let texts: Vec<String> = (0..columns)
            .map(|column| match row.get_ref_unwrap(column) {
                rusqlite::types::ValueRef::Null => "-".to_owned(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                rusqlite::types::ValueRef::Real(number) => number.to_string(),
                rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                rusqlite::types::ValueRef::Blob(blob) => hex::encode(blob),
            })
            .collect();
        Ok(texts.join(" | "))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// A Shopify webhook before it is sent.
#[derive(Clone)]
pub struct Webhook {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Webhook {
    /// Signed, with topic and shop, without an id.
    pub fn new(topic: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let signature = sign(SECRET, &body);
        Self { headers: Vec::new(), body }
            .header("X-Shopify-Topic", topic)
            .header("X-Shopify-Shop-Domain", DOMAIN)
            .header("X-Shopify-Hmac-Sha256", &signature)
    }

    /// Sets a header in place of one of that name.
    pub fn header(self, name: &str, value: &str) -> Self {
        let mut webhook = self.without(name);
        webhook.headers.push((name.to_owned(), value.to_owned()));
        webhook
    }

    /// Adds a header beside one of that name.
    pub fn also(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    pub fn id(self, id: &str) -> Self {
        self.header("X-Shopify-Webhook-Id", id)
    }

    pub fn triggered(self, at: &str) -> Self {
        self.header("X-Shopify-Triggered-At", at)
    }

    /// The same headers in the newer family's names, in lower case.
    pub fn newer_family(mut self) -> Self {
        for (name, _) in &mut self.headers {
            name.make_ascii_lowercase();
            *name = name.split_off("x-".len());
        }
        self
    }

    pub fn request(&self) -> Request<Body> {
        let mut request = Request::post("/webhooks/shopify").header(header::CONTENT_TYPE, "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Body::from(self.body.clone())).unwrap()
    }
}

pub fn sign(secret: &str, body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(body);
    STANDARD.encode(mac.finalize().into_bytes())
}

/// Signed by the public library, not by ours.
pub fn standard_request(secret: &str, id: &str, seconds: i64, body: &str) -> Request<Body> {
    let signature = standardwebhooks::Webhook::new(secret).unwrap().sign(id, seconds, body.as_bytes()).unwrap();
    Request::post("/webhooks/orders")
        .header("webhook-id", id)
        .header("webhook-timestamp", seconds.to_string())
        .header("webhook-signature", signature)
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// An order's body in Shopify's shape: paid, nobody's, 49.90 EUR.
#[derive(Clone)]
pub struct OrderBody(Value);

pub fn order(id: u64) -> OrderBody {
    OrderBody(json!({
        "id": id, "admin_graphql_api_id": format!("gid://shopify/Order/{id}"), "name": format!("#{id}"),
        "currency": "EUR", "presentment_currency": "USD", "test": false, "financial_status": "paid",
        "email": "", "contact_email": null, "customer": null, "line_items": [], "refunds": [],
        "cancelled_at": null, "created_at": "2026-11-01T10:00:00+01:00", "processed_at": "2026-11-01T10:00:00+01:00",
        "updated_at": "2026-11-01T10:00:00+01:00",
    }))
    .total("49.90")
}

impl OrderBody {
    pub fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0[field] = value.into();
        self
    }

    pub fn drop(mut self, field: &str) -> Self {
        self.0.as_object_mut().unwrap().remove(field);
        self
    }

    /// As placed and now, paid in full.
    pub fn total(self, amount: &str) -> Self {
        let set = money_set(amount);
        self.set("total_price", amount).set("total_price_set", set).current(amount).set("total_outstanding", "0.00")
    }

    /// After edits and refunds.
    pub fn current(self, amount: &str) -> Self {
        let set = money_set(amount);
        self.set("current_total_price", amount).set("current_total_price_set", set)
    }

    pub fn status(self, status: &str) -> Self {
        self.set("financial_status", status)
    }

    pub fn by(self, customer: &Value) -> Self {
        let email = customer["email"].clone();
        self.set("customer", customer.clone()).set("email", email)
    }

    pub fn guest(self, email: &str) -> Self {
        self.set("email", email).set("contact_email", email)
    }

    pub fn placed(self, at: &str) -> Self {
        self.set("created_at", at).set("processed_at", at)
    }

    pub fn updated(self, at: &str) -> Self {
        self.set("updated_at", at)
    }

    /// Adds a successful refund.
    pub fn refund(mut self, amount: &str) -> Self {
        let refunds = self.0["refunds"].as_array_mut().unwrap();
        refunds.push(json!({ "id": refunds.len() + 1, "transactions": [
            { "kind": "refund", "status": "success", "amount": amount, "currency": "EUR" },
            { "kind": "refund", "status": "failure", "amount": "999.00", "currency": "EUR" },
            { "kind": "sale", "status": "success", "amount": "999.00", "currency": "EUR" },
        ]}));
        self
    }

    /// A body of the time before money sets, refunds and current prices.
    pub fn old_shape(self) -> Self {
        [
            "current_total_price",
            "current_total_price_set",
            "total_price_set",
            "total_outstanding",
            "refunds",
            "presentment_currency",
            "admin_graphql_api_id",
            "contact_email",
        ]
        .into_iter()
        .fold(self, Self::drop)
    }

    pub fn json(&self) -> Value {
        self.0.clone()
    }
}

/// The buyer's side is another currency and another number: reading it would show.
fn money_set(amount: &str) -> Value {
    json!({
        "shop_money": { "amount": amount, "currency_code": "EUR" },
        "presentment_money": { "amount": "777.77", "currency_code": "USD" },
    })
}

/// A customer's body in Shopify's shape, as of API 2025-01: no tags, no consent, no totals.
pub fn customer(id: u64, email: &str) -> Value {
    json!({
        "id": id, "admin_graphql_api_id": format!("gid://shopify/Customer/{id}"), "email": email,
        "first_name": "Anna", "last_name": "Apple", "phone": null, "state": "enabled", "verified_email": true,
        "created_at": "2026-10-01T10:00:00Z", "updated_at": "2026-10-01T10:00:00Z", "addresses": [],
    })
}

pub fn merge(deleted: u64, kept: u64) -> Value {
    json!({
        "admin_graphql_api_customer_kept_id": format!("gid://shopify/Customer/{kept}"),
        "admin_graphql_api_customer_deleted_id": format!("gid://shopify/Customer/{deleted}"),
        "admin_graphql_api_job_id": null, "status": "completed", "errors": [],
    })
}

pub fn consent(id: u64, state: &str, at: &str) -> Value {
    json!({ "customer_id": id, "email_address": "x@example.com",
        "email_marketing_consent": { "state": state, "opt_in_level": "single_opt_in", "consent_updated_at": at } })
}
