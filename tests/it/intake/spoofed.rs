//! A signature covers the body alone: whoever has seen one can send it again under other headers. That
//! must change nothing.

use quintile::{
    intake::{
        Rules,
        inbox::{self, Filter, Replayed},
    },
    model::{Currency, Timestamp},
};
use rusqlite::Transaction;
use serde_json::{Value, json};

use crate::support::shop::{DOMAIN, NOON, Shop, consent, customer, merge, order};

const TOPICS: [&str; 15] = [
    "orders/create",
    "orders/updated",
    "orders/paid",
    "orders/cancelled",
    "orders/delete",
    "refunds/create",
    "customers/create",
    "customers/update",
    "customers/delete",
    "customers/merge",
    "customers_email_marketing_consent/update",
    "customers/data_request",
    "customers/redact",
    "shop/redact",
    "app/uninstalled",
];

/// What the shop has sent, each under its own topic.
fn sent() -> Vec<(&'static str, Value)> {
    let anna = customer(7001, "anna@example.com");
    let redact = |id: u64, email: &str| {
        json!({ "shop_id": 954_889, "shop_domain": DOMAIN, "orders_to_redact": [],
            "customer": { "id": id, "email": email, "phone": null } })
    };
    vec![
        ("customers/create", anna.clone()),
        ("customers/create", customer(7003, "cora@example.com")),
        ("customers/create", customer(7004, "dora@example.com")),
        ("customers/create", customer(7005, "emma@example.com")),
        ("orders/create", order(1).by(&anna).json()),
        ("orders/create", order(2).by(&anna).json()),
        ("orders/paid", order(3).by(&customer(7002, "bert@example.com")).json()),
        ("orders/create", order(4).guest("gina@example.com").json()),
        ("orders/updated", order(1).by(&anna).refund("9.90").current("40.00").updated("2026-11-02T10:00:00Z").json()),
        ("orders/cancelled", order(4).guest("gina@example.com").set("cancelled_at", "2026-11-02T10:00:00Z").json()),
        ("refunds/create", json!({ "id": 9, "order_id": 1, "transactions": [], "refund_line_items": [] })),
        ("orders/delete", json!({ "id": 2 })),
        (
            "customers/delete",
            json!({ "id": 7003, "admin_graphql_api_id": "gid://shopify/Customer/7003", "addresses": [] }),
        ),
        ("customers/merge", merge(7004, 7002)),
        ("customers_email_marketing_consent/update", consent(7001, "subscribed", "2026-11-02T10:00:00Z")),
        (
            "customers/data_request",
            json!({ "shop_id": 954_889, "shop_domain": DOMAIN, "orders_requested": [1], "data_request": { "id": 77 },
                "customer": { "id": 7002, "email": "bert@example.com", "phone": null } }),
        ),
        ("customers/redact", redact(7005, "emma@example.com")),
        ("shop/redact", json!({ "shop_id": 954_889, "shop_domain": DOMAIN })),
        (
            "app/uninstalled",
            json!({ "id": 954_889, "myshopify_domain": DOMAIN, "email": "owner@apples.example",
                "currency": "EUR", "created_at": "2026-11-02T10:00:00Z", "updated_at": "2026-11-02T10:00:00Z" }),
        ),
    ]
}

/// Everything that messages change, but for the record of the messages. Of customers those that the shop
/// has: its numbers of orders and of customers never meet.
fn state(shop: &Shop) -> Vec<String> {
    [
        "SELECT * FROM customers WHERE external_id IS NULL OR external_id LIKE '70__'",
        "SELECT * FROM orders",
        "SELECT * FROM outbox",
        "SELECT * FROM tombstones",
        "SELECT * FROM aliases",
        "SELECT kind, keys FROM privacy_tasks",
        // What the merchant is told to act on. Of bytes that come again none are kept.
        "SELECT DISTINCT body FROM inbox WHERE topic IN ('shop/redact', 'app/uninstalled') AND state = 'done' AND length(body) > 0",
    ]
    .into_iter()
    .flat_map(|sql| shop.rows(sql))
    .collect()
}

#[tokio::test]
async fn a_body_under_another_topic_changes_nothing() {
    let shop = Shop::open();
    for (topic, body) in sent() {
        shop.tell(topic, &body).await;
        assert_eq!(shop.last().0, "done", "{topic} {body}");
    }
    let before = state(&shop);
    for (own, body) in sent() {
        for topic in TOPICS {
            let spoofed = shop.webhook(topic, body.to_string()).triggered("2026-11-23T12:30:00Z");
            shop.deliver(spoofed).await;
            assert_eq!(state(&shop), before, "{own} again as {topic}: {:?}", shop.last());
        }
    }
}

/// Two states with one `updated_at`, the earlier first.
fn pairs() -> Vec<(&'static [&'static str], Value, Value)> {
    const ORDERS: [&str; 4] = ["orders/create", "orders/updated", "orders/paid", "orders/cancelled"];
    const CUSTOMERS: [&str; 2] = ["customers/create", "customers/update"];
    let mut anna = customer(7001, "anna@example.com");
    anna["updated_at"] = json!("2026-11-23T11:59:01Z");
    let mut moved = anna.clone();
    moved["email"] = json!("a@example.com");
    moved["first_name"] = Value::Null;
    let placed = order(1).by(&anna).total("100.00");
    let refunded = placed.clone().status("partially_refunded").refund("60.00").current("40.00");
    // Not further along by itself: only that it was sent later tells that it is the truth.
    let larger = placed.clone().total("120.00");
    let of_moved = placed.clone().by(&moved);
    vec![
        (&ORDERS, placed.json(), refunded.json()),
        (&ORDERS, placed.json(), larger.json()),
        (&ORDERS, placed.json(), of_moved.json()),
        (&CUSTOMERS, anna, moved),
    ]
}

#[tokio::test]
async fn a_body_under_another_time_of_sending_changes_nothing() {
    const SENT: [&str; 2] = ["2026-11-23T11:59:01.100Z", "2026-11-23T11:59:01.200Z"];
    const FORGED: [Option<&str>; 5] = [
        Some("2099-01-01T00:00:00Z"),
        Some("2026-11-23T11:59:01.300Z"),
        Some("1999-01-01T00:00:00Z"),
        Some("soon"),
        None,
    ];
    for (topics, before, after) in pairs() {
        let told = [&before, &after];
        for first in [0, 1] {
            let shop = Shop::open();
            let tell = async |which: usize, topic: &str, at: Option<&str>| {
                let webhook = shop.webhook(topic, told[which].to_string());
                shop.deliver(at.map_or(webhook.clone(), |at| webhook.triggered(at))).await;
            };
            let again = async |which: &[usize]| {
                let known = state(&shop);
                for which in which {
                    for topic in topics {
                        for at in FORGED {
                            tell(*which, topic, at).await;
                            assert_eq!(state(&shop), known, "{} again as {topic} sent {at:?}", told[*which]);
                        }
                    }
                }
            };
            tell(first, topics[0], Some(SENT[first])).await;
            again(&[first]).await;
            // What comes for the first time is believed.
            tell(1 - first, topics[1], Some(SENT[1 - first])).await;
            assert_eq!(shop.last().0, if first == 0 { "done" } else { "stale" }, "{after}");
            again(&[0, 1]).await;
            tell(1, topics[1], Some(SENT[1])).await;
            assert_eq!(shop.last().0, "done", "the truth again: {after}");

            // As if the later state alone had come.
            let alone = Shop::open();
            alone.deliver(alone.webhook(topics[0], after.to_string()).triggered(SENT[1])).await;
            let what = "SELECT status, net, refunded, email, triggered_at FROM orders
                UNION ALL SELECT email, first_name, total_spent, order_count, email_version FROM customers";
            assert_eq!(shop.rows(what), alone.rows(what));
        }
    }
}

#[tokio::test]
async fn what_does_not_say_of_when_it_is_is_of_when_it_was_first_sent() {
    const KNOWN: &str = "SELECT coalesce(consent, email) FROM customers";
    let undated = |mut body: Value, of: &str| {
        *body.pointer_mut(of).unwrap() = Value::Null;
        body
    };
    let agreed = |state: &str| {
        let body = undated(consent(7001, state, ""), "/email_marketing_consent/consent_updated_at");
        ("customers_email_marketing_consent/update", body)
    };
    let customer = |email: &str| ("customers/update", undated(customer(7001, email), "/updated_at"));
    for (first, second, end) in [
        (agreed("subscribed"), agreed("unsubscribed"), "unsubscribed"),
        // They may well have changed their mind twice: nobody is written to for an old consent, or against a word.
        (agreed("unsubscribed"), agreed("subscribed"), "unsubscribed"),
        (customer("anna@example.com"), customer("a@example.com"), "a@example.com"),
    ] {
        for is_sent in [true, false] {
            let shop = Shop::open();
            for (day, (topic, body)) in (21..).zip([&first, &second, &first]) {
                let webhook = shop.webhook(topic, body.to_string());
                let at = format!("2026-11-{day}T10:00:00Z");
                shop.deliver(if is_sent { webhook.triggered(&at) } else { webhook }).await;
                shop.later(60_000);
            }
            assert_eq!(shop.row(KNOWN), end, "{} {is_sent}", first.1);
        }
    }
}

#[tokio::test]
async fn a_deletion_was_when_the_shop_told_of_it_if_that_can_be() {
    const TOLD: &str = "2026-11-23T11:59:01Z";
    for sent in [Some(TOLD), Some("1970-01-01T00:00:00Z"), Some("9999-12-31T00:00:00Z"), Some("soon"), None] {
        for (topic, table) in [("orders/delete", "orders"), ("customers/delete", "customers")] {
            let shop = Shop::open();
            let webhook = shop.webhook(topic, json!({ "id": 1 }).to_string());
            shop.deliver(sent.map_or(webhook.clone(), |sent| webhook.triggered(sent))).await;
            let deleted_at = shop.row(&format!("SELECT deleted_at FROM {table}"));
            let told = if sent == Some(TOLD) { NOON - 59_000 } else { NOON };
            assert_eq!(deleted_at, told.to_string(), "{topic} sent {sent:?}");
        }
    }
}

#[tokio::test]
async fn what_the_inbox_reads_again_was_sent_when_it_was_first_sent() {
    let (topics, before, after) = pairs().swap_remove(0);
    let mut shop = Shop::open_with(|config| config.shop.currency = Currency::new("USD").unwrap());
    for (body, at) in
        [(&before, "2026-11-23T11:59:01.100Z"), (&after, "2026-11-23T11:59:01.200Z"), (&before, "2099-01-01T00:00:00Z")]
    {
        shop.deliver(shop.webhook(topics[1], body.to_string()).triggered(at)).await;
        assert_eq!(shop.last().0, "quarantined");
    }
    shop.config.shop.currency = Currency::EUR;
    let (rules, now) = (Rules::from_config(&shop.config), Timestamp::from_millis(shop.now()));
    let replay = move |tx: &Transaction<'_>| {
        let mut replayed = Replayed::default();
        inbox::replay(tx, &rules, &Filter::default(), 0, 100, now, &mut replayed)?;
        Ok(replayed)
    };
    let replayed = shop.database.writer().write(replay).await.unwrap();
    assert_eq!(replayed, Replayed { done: 2, stale: 1, ..Replayed::default() });
    assert_eq!(shop.row("SELECT net FROM orders"), "4000");
}

#[tokio::test]
async fn a_body_for_another_shop_is_refused() {
    let shop = Shop::open();
    for (topic, body) in sent() {
        let elsewhere = shop.webhook(topic, body.to_string()).header("X-Shopify-Shop-Domain", "pears.myshopify.com");
        assert_eq!(shop.request(elsewhere.request()).await.status, 401, "{topic}");
    }
    assert!(shop.inbox().is_empty());
}
