//! A signature covers the body alone: whoever has seen one can send it again under other headers. That
//! must change nothing.

use serde_json::{Value, json};

use crate::support::shop::{DOMAIN, Shop, consent, customer, merge, order};

const TOPICS: [&str; 14] = [
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
            // Another file for the merchant, beside the first, is no harm.
            if topic == "customers/data_request" && own.starts_with("customers/") {
                continue;
            }
            let spoofed = shop.webhook(topic, body.to_string()).triggered("2026-11-23T12:30:00Z");
            shop.deliver(spoofed).await;
            assert_eq!(state(&shop), before, "{own} again as {topic}: {:?}", shop.last());
        }
    }
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
