//! What each of Shopify's topics does.

use serde_json::json;

use crate::support::shop::{DOMAIN, Shop, consent, customer, order};

#[tokio::test]
async fn an_order_lives_its_life() {
    let shop = Shop::open();
    let anna = customer(7001, "Anna@Example.com ");
    let placed = order(1001).by(&anna).status("pending").set("total_outstanding", "49.90");
    shop.tell("orders/create", &placed.json()).await;
    let order_row = "SELECT status, net, counted, refunded, name, ordered_at, customer_ref FROM orders";
    assert_eq!(shop.row(order_row), "pending | 0 | 0 | 0 | #1001 | 1793523600000 | 7001");

    let paid = order(1001).by(&anna).updated("2026-11-01T09:05:00Z");
    shop.tell("orders/paid", &paid.json()).await;
    assert_eq!(shop.row(order_row), "paid | 4990 | 1 | 0 | #1001 | 1793523600000 | 7001");
    let counters = "SELECT order_count, total_spent, avg_order_value, first_order_at, last_order_at FROM customers";
    assert_eq!(shop.row(counters), "1 | 4990 | 4990 | 1793523600000 | 1793523600000");

    let refunded =
        paid.clone().status("partially_refunded").current("39.90").refund("10.00").updated("2026-11-02T09:00:00Z");
    shop.tell("orders/updated", &refunded.json()).await;
    assert_eq!(shop.row(order_row), "partially_refunded | 3990 | 1 | 1000 | #1001 | 1793523600000 | 7001");
    assert_eq!(shop.row(counters), "1 | 3990 | 3990 | 1793523600000 | 1793523600000");

    // The older state comes again, from another topic: known to be older.
    shop.tell("orders/updated", &paid.json()).await;
    assert_eq!(shop.last().0, "stale");
    assert_eq!(shop.row(counters), "1 | 3990 | 3990 | 1793523600000 | 1793523600000");

    let cancelled = refunded.set("cancelled_at", "2026-11-03T09:00:00Z").updated("2026-11-03T09:00:00Z");
    shop.tell("orders/cancelled", &cancelled.json()).await;
    assert_eq!(shop.row(order_row), "cancelled | 0 | 0 | 1000 | #1001 | 1793523600000 | 7001");
    assert_eq!(shop.row(counters), "0 | 0 | 0 | - | -");
}

#[tokio::test]
async fn a_deleted_order_stays_deleted() {
    for deleted_first in [true, false] {
        let shop = Shop::open();
        let body = order(1001).guest("anna@example.com").json();
        if deleted_first {
            shop.tell("orders/delete", &json!({ "id": 1001 })).await;
            assert_eq!(shop.row("SELECT status, ordered_at FROM orders"), "unknown | -");
        }
        shop.tell("orders/create", &body).await;
        if !deleted_first {
            assert_eq!(shop.counters(), ["guest:anna@example.com | 1 | 4990"]);
            shop.tell("orders/delete", &json!({ "id": 1001 })).await;
        }
        shop.tell("orders/updated", &order(1001).guest("anna@example.com").updated("2026-11-20T10:00:00Z").json())
            .await;
        assert_eq!(shop.row("SELECT status, net, counted, deleted_at IS NULL FROM orders"), "paid | 4990 | 0 | 0");
        assert_eq!(shop.counters(), ["guest:anna@example.com | 0 | 0"]);
        assert!(shop.inbox().iter().all(|stored| stored.state == "done"));
    }
}

#[tokio::test]
async fn one_version_two_bodies() {
    // On a refund Shopify sends two bodies with one updated_at; the one sent later is the later.
    let before = order(1001).guest("anna@example.com").status("partially_refunded");
    let after = before.clone().current("9.90").refund("40.00");
    let (early, late) = ("2026-11-01T09:00:01.100Z", "2026-11-01T09:00:01.200Z");
    for (first, second, net) in [
        ((&before, early), (&after, late), 990),
        ((&after, late), (&before, early), 990),
        ((&after, early), (&before, late), 4990),
    ] {
        let shop = Shop::open();
        for (body, at) in [first, second] {
            shop.deliver(shop.webhook("orders/updated", body.json().to_string()).triggered(at)).await;
        }
        assert_eq!(shop.row("SELECT net FROM orders"), net.to_string());
    }
    // Without a time of sending, the one further along: refunds are never taken back.
    for bodies in [[&before, &after], [&after, &before]] {
        let shop = Shop::open();
        for body in bodies {
            shop.tell("orders/updated", &body.json()).await;
        }
        assert_eq!(shop.row("SELECT net FROM orders"), "990");
    }
    // One that does not say when it was sent is never older than one that does.
    let shop = Shop::open();
    shop.deliver(shop.webhook("orders/updated", before.json().to_string()).triggered(late)).await;
    shop.tell("orders/updated", &after.json()).await;
    assert_eq!(shop.row("SELECT net FROM orders"), "990");
}

#[tokio::test]
async fn customers_keep_what_is_not_spoken_of() {
    let shop = Shop::open();
    let mut anna = customer(7001, "anna@example.com");
    anna["tags"] = json!("loyal, Noël");
    anna["email_marketing_consent"] = json!({ "state": "SUBSCRIBED", "consent_updated_at": "2026-09-01T10:00:00Z" });
    shop.tell("customers/create", &anna).await;
    let row = "SELECT email, first_name, last_name, phone, consent, tags, order_count FROM customers";
    assert_eq!(shop.row(row), "anna@example.com | Anna | Apple | - | subscribed | loyal, Noël | 0");

    // As of API 2025-01: no tags, no consent. The phone is told, the last name is told to be gone.
    let mut later = customer(7001, "anna@apple.example");
    later["updated_at"] = json!("2026-10-02T10:00:00Z");
    later["phone"] = json!("+4930123456");
    later["last_name"] = json!(null);
    later["total_spent"] = json!("9999.00");
    later["orders_count"] = json!(99);
    shop.tell("customers/update", &later).await;
    assert_eq!(shop.row(row), "anna@apple.example | Anna | - | +4930123456 | subscribed | loyal, Noël | 0");

    // The older state comes late.
    shop.tell("customers/update", &anna).await;
    assert_eq!(shop.last().0, "stale");
    assert_eq!(shop.row(row), "anna@apple.example | Anna | - | +4930123456 | subscribed | loyal, Noël | 0");

    for (state, at, expected) in [
        ("unsubscribed", "2026-11-01T10:00:00Z", "unsubscribed"),
        ("subscribed", "2026-10-01T10:00:00Z", "unsubscribed"),
        ("subscribed", "2026-11-02T10:00:00Z", "subscribed"),
    ] {
        shop.tell("customers_email_marketing_consent/update", &consent(7001, state, at)).await;
        assert_eq!(shop.row("SELECT consent FROM customers"), expected, "{state} at {at}");
    }
    // A body rendered from before the change does not take it back.
    anna["updated_at"] = json!("2026-11-03T10:00:00Z");
    shop.tell("customers/update", &anna).await;
    assert_eq!(shop.row(row), "anna@example.com | Anna | Apple | - | subscribed | loyal, Noël | 0");
}

#[tokio::test]
async fn the_customer_in_an_order_is_as_new_as_they_say_themselves() {
    let shop = Shop::open();
    let mut anna = customer(7001, "new@example.com");
    anna["updated_at"] = json!("2026-10-20T10:00:00Z");
    shop.tell("customers/update", &anna).await;
    let then = customer(7001, "old@example.com"); // of 2026-10-01
    shop.tell("orders/updated", &order(1001).by(&then).updated("2026-11-20T10:00:00Z").json()).await;
    assert_eq!(shop.row("SELECT email, order_count FROM customers"), "new@example.com | 1");
}

#[tokio::test]
async fn a_deleted_customer_stays_deleted() {
    for deleted_first in [true, false] {
        let shop = Shop::open();
        let deletion = json!({ "id": 7001, "phone": null, "addresses": [], "tax_exemptions": [],
            "admin_graphql_api_id": "gid://shopify/Customer/7001" });
        let created = customer(7001, "anna@example.com");
        let both = [("customers/delete", &deletion), ("customers/create", &created)];
        for (topic, body) in if deleted_first { both } else { [both[1], both[0]] } {
            shop.tell(topic, body).await;
        }
        assert_eq!(
            shop.row("SELECT external_id, email, deleted_at IS NULL FROM customers"),
            "7001 | anna@example.com | 0"
        );
    }
}

#[tokio::test]
async fn topics_that_are_only_kept() {
    let shop = Shop::open();
    for (topic, body, state, reason) in [
        ("shop/redact", &json!({ "shop_id": 954_889, "shop_domain": DOMAIN }), "done", "the shop is gone"),
        (
            "shop/redact",
            &json!({ "shop_id": 954_889, "shop_domain": "{shop}.myshopify.com" }),
            "done",
            "the shop is gone",
        ),
        ("shop/redact", &json!({ "shop_id": 1, "shop_domain": "pears.myshopify.com" }), "quarantined", "another shop"),
        ("shop/redact", &json!({ "shop_id": 1 }), "quarantined", "another shop"),
        (
            "app/uninstalled",
            &json!({ "id": 954_889, "myshopify_domain": DOMAIN, "domain": null }),
            "done",
            "removed the app",
        ),
        ("app/uninstalled", &json!({ "id": 548_380_009, "myshopify_domain": null }), "done", "removed the app"),
        (
            "app/uninstalled",
            &json!({ "id": 1, "myshopify_domain": "pears.myshopify.com" }),
            "quarantined",
            "another shop",
        ),
        ("app/uninstalled", &json!({ "id": 1 }), "quarantined", "the body is not"),
        (
            "bulk_operations/finish",
            &json!({ "admin_graphql_api_id": "gid://shopify/BulkOperation/1", "status": "completed" }),
            "done",
            "asks for its result",
        ),
        ("refunds/create", &json!({ "id": 1, "order_id": 1001, "transactions": [] }), "done", "a hint"),
        ("products/update", &json!({ "id": 1 }), "ignored", "products/update"),
        (
            "customers/merge",
            &json!({ "admin_graphql_api_customer_kept_id": "gid://shopify/Customer/1",
                "admin_graphql_api_customer_deleted_id": "gid://shopify/Customer/2", "status": "failed" }),
            "ignored",
            "the merge is failed",
        ),
    ] {
        shop.tell(topic, body).await;
        let (stored, why) = shop.last();
        assert_eq!(stored, state, "{topic}");
        assert!(why.contains(reason), "{topic}: {why}");
    }
    assert_eq!(shop.rows("SELECT id FROM orders UNION ALL SELECT id FROM customers"), Vec::<String>::new());
}
