//! WooCommerce's webhooks, from the signed bytes to the counters.

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use quintile::{
    config::Secret,
    intake::{
        Rules,
        inbox::{self, Filter, Replayed},
    },
    model::Timestamp,
};
use rusqlite::Transaction;
use serde_json::{Value, json};

use crate::support::shop::{Reply, Shop, sign};

const SECRET: &str = "wc&secret<>made up";

fn open() -> Shop {
    Shop::open_with(|config| {
        config.webhooks.woocommerce.secrets = vec![Secret::new("the one before"), Secret::new(SECRET)];
    })
}

/// A webhook as WooCommerce sends it, signed.
struct Hook {
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Hook {
    fn new(topic: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let (resource, event) = topic.split_once('.').unwrap();
        let headers = vec![
            ("X-WC-Webhook-Source", "https://mugs.example/".to_owned()),
            ("X-WC-Webhook-Topic", topic.to_owned()),
            ("X-WC-Webhook-Resource", resource.to_owned()),
            ("X-WC-Webhook-Event", event.to_owned()),
            ("X-WC-Webhook-ID", "3".to_owned()),
            ("X-WC-Webhook-Delivery-ID", "9f1e0d3c".to_owned()),
            ("X-WC-Webhook-Signature", sign(SECRET, &body)),
        ];
        Self { headers, body }
    }

    fn header(self, name: &'static str, value: &str) -> Self {
        self.without(name).beside(name, value)
    }

    /// Adds a header beside one of that name.
    fn beside(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    async fn send(self, shop: &Shop) -> Reply {
        let mut request = Request::post("/webhooks/woocommerce")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "WooCommerce/10.3.5 Hookshot (WordPress/6.8.3)");
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        shop.request(request.body(Body::from(self.body)).unwrap()).await
    }

    /// It must be answered 200.
    async fn tell(self, shop: &Shop) {
        let reply = self.send(shop).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", String::from_utf8_lossy(&reply.body));
    }
}

/// As WooCommerce does, with a delivery id of the second.
async fn tell(shop: &Shop, topic: &str, body: &Value) {
    let id = format!("{:x}", shop.now() / 1000);
    Hook::new(topic, body.to_string()).header("X-WC-Webhook-Delivery-ID", &id).tell(shop).await;
}

/// A paid order of customer 25 over 29.35, in the shape of the REST API.
fn order(id: u64) -> Value {
    json!({
        "id": id, "parent_id": 0, "number": id.to_string(), "status": "processing", "currency": "EUR",
        "date_created": "2026-11-02T11:00:00", "date_created_gmt": "2026-11-02T10:00:00",
        "date_modified": "2026-11-02T11:00:06", "date_modified_gmt": "2026-11-02T10:00:06",
        "discount_total": "0.00", "shipping_total": "10.00", "total": "29.35", "total_tax": "1.35",
        "prices_include_tax": false, "customer_id": 25,
        "billing": { "first_name": "Anna", "last_name": "Apple", "email": "Anna@Example.com", "phone": "(555) 555-5555" },
        "shipping": { "first_name": "Bob", "last_name": "Other" },
        "date_paid_gmt": "2026-11-02T10:00:06", "line_items": [{ "id": 1, "total": "19.35" }], "refunds": [],
    })
}

trait Set {
    fn set(self, field: &str, value: impl Into<Value>) -> Self;
    /// As of this second of the order's first minute.
    fn modified(self, second: u8) -> Self;
    fn refunded(self, amounts: &[&str]) -> Self;
}

impl Set for Value {
    fn set(mut self, field: &str, value: impl Into<Value>) -> Self {
        self[field] = value.into();
        self
    }

    fn modified(self, second: u8) -> Self {
        self.set("date_modified_gmt", format!("2026-11-02T10:00:{second:02}"))
    }

    fn refunded(self, amounts: &[&str]) -> Self {
        let refunds: Vec<_> =
            amounts.iter().enumerate().map(|(id, total)| json!({ "id": id, "reason": "", "total": total })).collect();
        self.set("refunds", refunds)
    }
}

fn customer() -> Value {
    json!({
        "id": 25, "date_created_gmt": "2026-10-01T10:00:00", "date_modified_gmt": "2026-11-03T10:00:00",
        "email": "anna@home.example", "first_name": "", "last_name": "", "role": "customer", "username": "anna",
        "billing": { "first_name": "Anna", "last_name": "Avocado", "email": "anna@example.com", "phone": "" },
        "is_paying_customer": true,
    })
}

const ORDER: &str = "SELECT status, gross, refunded, net, counted FROM orders";
const PERSON: &str = "SELECT external_id, email, first_name, last_name, phone, consent FROM customers";

#[tokio::test]
async fn an_order_and_its_customer() {
    let shop = open();
    tell(&shop, "order.created", &order(727)).await;
    assert_eq!(
        shop.row(
            "SELECT source, source_id, name, status, gross, net, counted, ordered_at, origin, historical FROM orders"
        ),
        format!("woocommerce | 727 | #727 | paid | 2935 | 2935 | 1 | {} | webhook | 0", 1_793_613_600_000_i64)
    );
    assert_eq!(shop.row(PERSON), "25 | Anna@Example.com | Anna | Apple | (555) 555-5555 | -");
    assert_eq!(shop.counters(), ["woocommerce:25 | 1 | 2935"]);
    assert_eq!(
        shop.row("SELECT source, topic, state, json_extract(headers, '$.x-wc-webhook-source'), instr(headers, 'signature') FROM inbox"),
        "woocommerce | order.created | done | https://mugs.example/ | 0"
    );

    // The account knows better than the checkout, and what it leaves empty blanks nothing.
    tell(&shop, "customer.updated", &customer()).await;
    tell(&shop, "order.updated", &order(727).modified(50)).await;
    assert_eq!(shop.row(PERSON), "25 | anna@home.example | Anna | Avocado | (555) 555-5555 | -");
    tell(&shop, "customer.deleted", &json!({ "id": 25 })).await;
    assert_eq!(shop.row("SELECT deleted_at IS NULL, order_count FROM customers"), "0 | 1");
}

#[tokio::test]
async fn what_statuses_and_refunds_are_worth() {
    for (status, refunds, expected) in [
        ("processing", &[][..], "paid | 2935 | 0 | 2935 | 1"),
        ("completed", &[], "paid | 2935 | 0 | 2935 | 1"),
        ("completed", &["-10.00", "-0.35"], "partially_refunded | 2935 | 1035 | 1900 | 1"),
        ("completed", &["-29.35"], "refunded | 2935 | 2935 | 0 | 0"),
        ("refunded", &["-29.35"], "refunded | 2935 | 2935 | 0 | 0"),
        ("refunded", &[], "refunded | 2935 | 2935 | 0 | 0"),
        ("pending", &[], "pending | 2935 | 0 | 0 | 0"),
        ("on-hold", &[], "pending | 2935 | 0 | 0 | 0"),
        ("checkout-draft", &[], "pending | 2935 | 0 | 0 | 0"),
        ("failed", &[], "voided | 2935 | 0 | 0 | 0"),
        ("cancelled", &["-29.35"], "cancelled | 2935 | 2935 | 0 | 0"),
        ("trash", &[], "cancelled | 2935 | 0 | 0 | 0"),
        ("shipped", &[], "unknown | 2935 | 0 | 0 | 0"),
    ] {
        let shop = open();
        tell(&shop, "order.updated", &order(1).set("status", status).refunded(refunds)).await;
        assert_eq!(shop.row(ORDER), expected, "{status} {refunds:?}");
        let (state, note) = shop.last();
        assert_eq!((state.as_str(), note.contains("paid_statuses")), ("done", status == "shipped"), "{note}");
    }

    let own = Shop::open_with(|config| {
        config.webhooks.woocommerce.secrets = vec![Secret::new(SECRET)];
        config.orders.paid_statuses = vec!["completed".to_owned(), "shipped".to_owned()];
    });
    tell(&own, "order.created", &order(1)).await;
    assert_eq!(own.row(ORDER), "pending | 2935 | 0 | 0 | 0");
    tell(&own, "order.updated", &order(1).set("status", "shipped").modified(30)).await;
    assert_eq!(own.row(ORDER), "paid | 2935 | 0 | 2935 | 1");
}

#[tokio::test]
async fn currencies_with_other_digits() {
    for (code, total, refund, expected) in [
        ("JPY", "2935", "-935", "partially_refunded | 2935 | 935 | 2000 | 1"),
        ("KWD", "29.350", "-9.350", "partially_refunded | 29350 | 9350 | 20000 | 1"),
    ] {
        let shop = Shop::open_with(|config| {
            config.webhooks.woocommerce.secrets = vec![Secret::new(SECRET)];
            config.shop.currency = quintile::model::Currency::new(code).unwrap();
        });
        tell(&shop, "order.created", &order(1).set("currency", code).set("total", total).refunded(&[refund])).await;
        assert_eq!(shop.row(ORDER), expected, "{code}");
    }
}

#[tokio::test]
async fn a_guest_is_customer_0() {
    let shop = open();
    tell(&shop, "order.created", &order(1).set("customer_id", 0)).await;
    tell(&shop, "order.created", &order(2).set("customer_id", 0)).await;
    assert_eq!(shop.counters(), ["guest:anna@example.com | 2 | 5870"]);
    let nobody = json!({ "first_name": "", "last_name": "", "email": "", "phone": "" });
    tell(&shop, "order.created", &order(3).set("customer_id", 0).set("billing", nobody)).await;
    assert_eq!(shop.row("SELECT count(*), sum(customer_id IS NULL), sum(net) FROM orders"), "3 | 1 | 8805");

    // She makes an account.
    tell(&shop, "customer.created", &customer().set("email", "anna@example.com")).await;
    assert_eq!(shop.counters(), ["woocommerce:25 | 2 | 5870"]);
}

#[tokio::test]
async fn states_in_any_order_end_alike() {
    let states = [
        ("order.created", order(1).set("status", "pending")),
        ("order.updated", order(1).modified(20)),
        ("order.updated", order(1).set("status", "completed").modified(30)),
        ("order.updated", order(1).set("status", "completed").refunded(&["-9.35"]).modified(40)),
        ("customer.updated", customer()),
    ];
    let mut ends = Vec::new();
    for first in 0..states.len() {
        let shop = open();
        for step in 0..states.len() * 2 {
            let (topic, body) = &states[(first + step * 3) % states.len()];
            tell(&shop, topic, body).await;
        }
        ends.push((shop.row(ORDER), shop.row(PERSON), shop.counters()));
    }
    assert_eq!(ends[0].0, "partially_refunded | 2935 | 935 | 2000 | 1");
    assert!(ends.iter().all(|end| *end == ends[0]), "{ends:?}");
}

#[tokio::test]
async fn the_bin_and_back() {
    let shop = open();
    let counters = |shop: &Shop| shop.row("SELECT order_count, total_spent FROM customers");
    tell(&shop, "order.created", &order(1)).await;
    tell(&shop, "order.deleted", &json!({ "id": 1 })).await;
    assert_eq!(counters(&shop), "0 | 0");
    // Late, and older than the deletion.
    tell(&shop, "order.updated", &order(1).modified(40)).await;
    assert_eq!(counters(&shop), "0 | 0");
    tell(&shop, "order.updated", &order(1).set("status", "trash").set("date_modified_gmt", "2026-11-23T12:00:00"))
        .await;
    assert_eq!(counters(&shop), "0 | 0");

    shop.later(60_000);
    tell(&shop, "order.restored", &order(1).set("date_modified_gmt", "2026-11-23T12:00:30")).await;
    assert_eq!(counters(&shop), "1 | 2935");
    assert_eq!(shop.row("SELECT deleted_at FROM orders"), "-");
    tell(&shop, "order.deleted", &json!({ "id": 1 })).await;
    assert_eq!(counters(&shop), "0 | 0");

    // A shop without a webhook for what is restored tells of it by the next change.
    shop.later(60_000);
    tell(&shop, "order.updated", &order(1).set("status", "completed").set("date_modified_gmt", "2026-11-23T12:01:30"))
        .await;
    assert_eq!(counters(&shop), "1 | 2935");

    // Restored by a message that is older than what is known: what is known holds.
    shop.later(60_000);
    tell(&shop, "order.deleted", &json!({ "id": 1 })).await;
    tell(&shop, "order.restored", &order(1).modified(59)).await;
    assert_eq!(counters(&shop), "1 | 2935");

    // By a clock that is ahead of ours. What is older than what was deleted brings it not back.
    tell(&shop, "order.created", &order(3).set("date_modified_gmt", "2026-11-23T12:09:00")).await;
    tell(&shop, "order.deleted", &json!({ "id": 3 })).await;
    tell(&shop, "order.updated", &order(3).set("date_modified_gmt", "2026-11-23T12:08:00")).await;
    assert_eq!(counters(&shop), "1 | 2935");

    // Never seen before it was deleted.
    tell(&shop, "order.deleted", &json!({ "id": 2 })).await;
    tell(&shop, "order.restored", &order(2).set("date_modified_gmt", "2026-11-23T12:02:00")).await;
    assert_eq!(counters(&shop), "2 | 5870");
}

/// Nobody signs the topic: whoever has seen a body can send it again as what it never was.
#[tokio::test]
async fn a_body_from_before_the_bin_takes_no_order_back() {
    let shop = open();
    let counters = |shop: &Shop| shop.row("SELECT order_count, total_spent FROM customers");
    tell(&shop, "order.created", &order(1)).await;
    let trashed = order(1).set("status", "trash").set("date_modified_gmt", "2026-11-23T12:01:00");
    shop.later(60_000);
    tell(&shop, "order.deleted", &json!({ "id": 1 })).await;
    tell(&shop, "order.updated", &trashed).await;
    shop.later(60_000);
    for body in [&order(1), &trashed] {
        tell(&shop, "order.restored", body).await;
        assert_eq!(counters(&shop), "0 | 0", "{body}");
        assert_eq!(shop.row("SELECT deleted_at IS NULL FROM orders"), "0", "{body}");
    }

    // The shop itself made a state of that moment, and tells of it twice; its clock is behind ours.
    let back = order(1).set("date_modified_gmt", "2026-11-23T12:00:30").set("status", "completed");
    tell(&shop, "order.updated", &back).await;
    assert_eq!(counters(&shop), "0 | 0");
    tell(&shop, "order.restored", &back).await;
    assert_eq!(shop.row("SELECT deleted_at FROM orders"), "-");
}

#[tokio::test]
async fn a_deletion_of_one_kind_is_none_of_the_other() {
    for (topic, other, table) in
        [("order.deleted", "customer.deleted", "customers"), ("customer.deleted", "order.deleted", "orders")]
    {
        let shop = open();
        let deleted = || shop.row(&format!("SELECT deleted_at IS NOT NULL FROM {table}"));
        tell(&shop, "order.created", &order(25)).await;
        tell(&shop, topic, &json!({ "id": 25 })).await;
        tell(&shop, other, &json!({ "id": 25 })).await;
        let (state, reason) = shop.last();
        assert_eq!((state.as_str(), deleted().as_str()), ("quarantined", "0"));
        assert!(reason.contains(&format!("came as {topic} before")), "{reason}");

        // The one that was true holds again.
        shop.later(60_000);
        tell(&shop, topic, &json!({ "id": 25 })).await;
        assert_eq!(shop.last().0, "done");

        // One number may well be of both: who has looked at the message says so.
        replay(&shop, Filter::default()).await;
        assert_eq!(deleted(), "0");
        let id = shop.row("SELECT id FROM inbox WHERE state = 'quarantined'").parse().unwrap();
        replay(&shop, Filter { id: Some(id), ..Filter::default() }).await;
        assert_eq!(deleted(), "1");
    }
}

/// Reads again what the filter means, under the configuration of now.
async fn replay(shop: &Shop, filter: Filter) -> Replayed {
    let (rules, now) = (Rules::from_config(&shop.config), Timestamp::from_millis(shop.now()));
    let write = move |tx: &Transaction<'_>| {
        let mut replayed = Replayed::default();
        inbox::replay(tx, &rules, &filter, 0, 9, now, &mut replayed)?;
        Ok(replayed)
    };
    shop.database.writer().write(write).await.unwrap()
}

#[tokio::test]
async fn a_state_that_is_read_again_takes_no_later_deletion_back() {
    let mut shop = open();
    let dollars = |second| order(1).modified(second).set("currency", "USD");
    tell(&shop, "order.created", &dollars(1)).await;
    let restored = dollars(2);
    tell(&shop, "order.restored", &restored).await;
    shop.later(60_000);
    tell(&shop, "order.deleted", &json!({ "id": 1 })).await;
    shop.config.shop.currency = quintile::model::Currency::new("USD").unwrap();
    assert_eq!(replay(&shop, Filter::default()).await, Replayed { done: 2, ..Replayed::default() });
    assert_eq!(shop.row("SELECT deleted_at IS NULL, counted FROM orders"), "0 | 0");
    assert_eq!(shop.counters(), ["woocommerce:25 | 0 | 0"]);

    // One that came after it does.
    shop.later(60_000);
    tell(&shop, "order.restored", &dollars(3)).await;
    assert_eq!(shop.last().0, "quarantined");
    replay(&shop, Filter::default()).await;
    assert_eq!(shop.counters(), ["woocommerce:25 | 1 | 2935"]);
}

#[tokio::test]
async fn a_deletion_that_is_read_again_takes_no_later_state_away() {
    for (modified, topic, is_later, state) in [
        ("2026-11-23T12:00:30", "order.restored", true, "processing"),
        ("2026-11-23T12:00:30", "order.updated", true, "processing"),
        ("2026-11-23T12:00:30", "order.updated", true, "trash"),
        // The shop's clock is ahead: it came before it was deleted.
        ("2026-11-23T12:00:30", "order.updated", false, "processing"),
        ("2026-11-02T10:00:30", "order.updated", true, "processing"),
    ] {
        let shop = open();
        tell(&shop, "order.created", &order(25)).await;
        tell(&shop, "customer.deleted", &json!({ "id": 25 })).await;
        shop.later(1000);
        let changed = order(25).set("status", state).set("date_modified_gmt", modified);
        if !is_later {
            tell(&shop, topic, &changed).await;
            shop.later(1000);
        }
        tell(&shop, "order.deleted", &json!({ "id": 25 })).await;
        assert_eq!(shop.last().0, "quarantined");
        let id = shop.row("SELECT max(id) FROM inbox").parse().unwrap();
        shop.later(60_000);
        if is_later {
            tell(&shop, topic, &changed).await;
        }
        let is_alive = is_later && state == "processing" && modified.starts_with("2026-11-23");
        let replayed = replay(&shop, Filter { id: Some(id), ..Filter::default() }).await;
        assert_eq!((replayed.stale, replayed.done), (u64::from(is_alive), u64::from(!is_alive)), "{changed}");
        assert_eq!(shop.row("SELECT deleted_at IS NULL FROM orders"), u8::from(is_alive).to_string(), "{changed}");
    }
}

#[tokio::test]
async fn of_two_deletions_the_later_one_counts() {
    let changed = |second: u8| order(1).set("date_modified_gmt", format!("2026-11-23T12:00:{second:02}"));
    for is_late in [false, true] {
        let shop = open();
        let counters = || shop.row("SELECT order_count, total_spent FROM customers");
        tell(&shop, "order.created", &order(1)).await;
        tell(&shop, "order.deleted", &json!({ "id": 1 })).await;
        if !is_late {
            tell(&shop, "order.updated", &changed(10)).await;
            assert_eq!(counters(), "1 | 2935");
        }
        shop.later(20_000);
        tell(&shop, "order.deleted", &json!({ "id": 1 })).await;
        if is_late {
            tell(&shop, "order.updated", &changed(10)).await;
        }
        assert_eq!(counters(), "0 | 0", "{is_late}");
        tell(&shop, "order.updated", &changed(30)).await;
        assert_eq!(counters(), "1 | 2935", "{is_late}");
    }
}

#[tokio::test]
async fn who_may_send() {
    let shop = open();
    let body = order(1).to_string();
    let hook = || Hook::new("order.created", body.clone());
    let signed_by = |secret: &str| sign(secret, body.as_bytes());
    for (what, sent, status) in [
        ("no signature", hook().without("X-WC-Webhook-Signature"), StatusCode::UNAUTHORIZED),
        ("another secret", hook().header("X-WC-Webhook-Signature", &signed_by("guess")), StatusCode::UNAUTHORIZED),
        ("an empty secret", hook().header("X-WC-Webhook-Signature", &signed_by("")), StatusCode::UNAUTHORIZED),
        ("no base64", hook().header("X-WC-Webhook-Signature", "sha256=abc"), StatusCode::UNAUTHORIZED),
        ("two signatures", hook().beside("X-WC-Webhook-Signature", &signed_by(SECRET)), StatusCode::UNAUTHORIZED),
        ("an empty signature", hook().header("X-WC-Webhook-Signature", ""), StatusCode::UNAUTHORIZED),
        ("no topic", hook().without("X-WC-Webhook-Topic"), StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(sent.send(&shop).await.status, status, "{what}");
    }
    assert_eq!(shop.inbox(), []);
    hook().header("X-WC-Webhook-Signature", &signed_by("the one before")).tell(&shop).await;
    assert_eq!(shop.inbox().len(), 1);

    let get = Request::get("/webhooks/woocommerce").body(Body::empty()).unwrap();
    assert_eq!(shop.request(get).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let large = Hook::new("order.created", vec![b' '; 9 * 1024 * 1024]);
    assert_eq!(large.send(&shop).await.status, StatusCode::PAYLOAD_TOO_LARGE);

    let one_site = Shop::open_with(|config| {
        config.webhooks.woocommerce.secrets = vec![Secret::new(SECRET)];
        "mugs.example".clone_into(&mut config.webhooks.woocommerce.source);
    });
    let copy = hook().header("X-WC-Webhook-Source", "https://staging.mugs.example/").send(&one_site).await;
    assert_eq!(copy.status, StatusCode::UNAUTHORIZED);
    hook().tell(&one_site).await;
    assert_eq!(one_site.inbox().len(), 1);
}

#[tokio::test]
async fn the_ping_of_a_saved_webhook() {
    let shop = open();
    let send = async |body: &'static str| {
        let request = Request::post("/webhooks/woocommerce")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .unwrap();
        shop.request(request).await.status
    };
    assert_eq!(send("webhook_id=142").await, StatusCode::OK);
    for other in ["webhook_id=", "webhook_id=1&x=2", "webhook_id=abc", "", "{\"id\":1}", "webhook=1"] {
        assert_eq!(send(other).await, StatusCode::UNAUTHORIZED, "{other}");
    }
    assert_eq!(shop.inbox(), []);
}

#[tokio::test]
async fn copies_are_counted_and_a_bulk_change_is_no_copy() {
    let shop = open();
    for _ in 0..3 {
        tell(&shop, "order.updated", &order(1)).await;
    }
    // WooCommerce gives all messages of one webhook in one second the same delivery id.
    tell(&shop, "order.updated", &order(2)).await;
    let stored: Vec<_> = shop.inbox().iter().map(|row| (row.state.clone(), row.duplicates)).collect();
    assert_eq!(stored, [("done".to_owned(), 2), ("done".to_owned(), 0)]);
    assert_eq!(shop.counters(), ["woocommerce:25 | 2 | 5870"]);
}

#[tokio::test]
async fn signed_and_unusable() {
    let shop = open();
    let text = |value: &Value| value.to_string();
    for (topic, body, expected) in [
        ("order.created", "{".to_owned(), "not JSON"),
        ("order.created", text(&json!([order(1)])), "not an order"),
        (
            "order.created",
            text(&json!({ "order": { "id": 1, "total": "1.00" } })),
            "legacy API; choose \"WP REST API Integration v3\"",
        ),
        ("customer.created", text(&json!({ "customer": { "id": 1 } })), "legacy API; choose"),
        ("order.updated", text(&customer()), "it has no total"),
        ("customer.updated", text(&order(1)), "about a customer, the body is not"),
        ("order.deleted", text(&order(1)), "the topic is a deletion, the body is not"),
        ("customer.deleted", text(&customer()), "the topic is a deletion, the body is not"),
        ("order.deleted", text(&json!({ "id": 0 })), "has no id"),
        ("order.created", text(&order(1).set("id", 0)), "the order has no id"),
        ("order.created", text(&order(1).set("total", "-1.00")), "its total -1.00 is negative"),
        ("order.created", text(&order(1).set("total", "1.2.3")), "total is not usable"),
        ("order.created", text(&order(1).set("total", "@")).replace("\"@\"", "1e400"), "larger than any order"),
        ("order.created", text(&order(1).set("currency", "USD")), "this shop's currency is EUR"),
        ("order.created", text(&order(1).set("date_created_gmt", Value::Null)), "no date_created_gmt; choose"),
        (
            "order.created",
            text(&order(1).set("date_created_gmt", "0000-00-00T00:00:00")),
            "date_created_gmt is not a time",
        ),
        ("order.created", text(&order(1).set("date_created_gmt", "9999-12-31T23:59:59")), "not between 1990"),
        ("order.created", text(&order(1).refunded(&["x"])), "a refund is not usable"),
        ("order.created", text(&order(1).set("customer_id", "x")), "customer_id is not an id"),
    ] {
        Hook::new(topic, body).tell(&shop).await;
        let (state, reason) = shop.last();
        assert_eq!(state, "quarantined", "{topic}: {reason}");
        assert!(reason.contains(expected), "{topic}: {reason}, expected {expected}");
    }
    assert_eq!(shop.row("SELECT count(*) FROM orders"), "0");

    tell(&shop, "coupon.created", &json!({ "id": 1 })).await;
    assert_eq!(shop.last(), ("ignored".to_owned(), "nothing here acts on the topic coupon.created".to_owned()));
}
