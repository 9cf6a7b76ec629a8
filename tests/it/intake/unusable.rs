//! Signed but unusable: answered 200, kept with a reason a merchant can read, applied nowhere.

use serde_json::{Value, json};

use crate::support::{
    folder::COUNTERS,
    shop::{Shop, customer, merge, order},
};

#[tokio::test]
async fn bodies_that_are_no_orders() {
    let deep = format!("{{\"id\":1,\"total_price\":\"1\",\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    let twice = order(1).json().to_string().replacen('{', "{\"total_price\":\"1.00\",", 1);
    check(
        "orders/create",
        &[
            (b"", "not JSON"),
            (b"{\"id\":", "not JSON: it breaks at line 1 column 6"),
            (b"webhook_id=7", "not JSON"),
            (b"NaN", "not JSON"),
            (b"{\"id\":1,\"total_price\":NaN}", "not JSON"),
            (b"{\"id\":1,\"email\":\"\xff\xfe\",\"total_price\":\"1\"}", "not UTF-8"),
            (b"{\"id\":1,\"email\":\"\\ud800\",\"total_price\":\"1\"}", "not JSON"),
            (b"[]", "not an order"),
            (b"null", "not an order"),
            (b"\"order\"", "not an order"),
            (b"{}", "no total_price"),
            (deep.as_bytes(), "nested more than 64 levels"),
            (twice.as_bytes(), "duplicate field `total_price`"),
        ],
    )
    .await;
}

#[tokio::test]
async fn fields_that_cannot_be_true() {
    let of = |field: &str, value: Value| {
        order(1).drop("current_total_price_set").drop("total_price_set").set(field, value).json().to_string()
    };
    let literal = |text: &str| of("total_price", json!("@")).replace("\"@\"", text);
    let cases = [
        (of("id", json!(null)), "has no id"),
        (of("id", json!(1.5)), "not a whole number"),
        (of("id", json!(-1)), "not a whole number"),
        (of("id", json!("abc")), "not an id"),
        (of("id", json!({ "a": 1 })), "not an id"),
        (of("id", json!("9".repeat(400))), "not an id"),
        (of("total_price", json!(null)), "no total_price"),
        (of("total_price", json!("NaN")), "total_price is not usable: it is not an amount"),
        (of("total_price", json!("1,50")), "write it like 1234.50"),
        (of("total_price", json!([])), "total_price is not an amount"),
        (of("total_price", json!("-1.00")), "its total -1.00 is negative"),
        (of("total_price", json!("9".repeat(400))), "larger than any order"),
        (of("total_price", json!("9000000000000.01")), "larger than any order"),
        (literal("1e400"), "larger than any order"),
        (literal("-0.01"), "its total -0.01 is negative"),
        (literal(&"9".repeat(400)), "larger than any order"),
        (of("total_outstanding", json!("much")), "total_outstanding is not usable"),
        (of("currency", json!("USD")), "it is in USD, this shop's currency is EUR"),
        (of("currency", json!("Euro")), "not a three-letter code"),
        (of("updated_at", json!("yesterday")), "updated_at is not usable"),
        (of("updated_at", json!(1_700_000_000)), "updated_at is not a time"),
        (of("updated_at", json!("2026-11-26T10:00:00Z")), "update time 2026-11-26T10:00:00Z is not between 1990"),
        (of("processed_at", json!("1989-12-31T23:59:59Z")), "order date 1989-12-31T23:59:59Z is not between 1990"),
        (of("processed_at", json!("0000-01-01T00:00:00Z")), "not between 1990"),
        (of("processed_at", json!("9999-12-31T23:59:59Z")), "not between 1990"),
        (of("processed_at", json!("2026-11-23T10:00:00")), "write it like 2026-11-23T02:00:00Z"),
        (of("processed_at", json!("2026-11-23T10:00:00+25:00")), "processed_at is not usable"),
        (of("cancelled_at", json!("2027-11-23T10:00:00Z")), "cancellation date"),
        (order(1).set("processed_at", Value::Null).set("created_at", Value::Null).json().to_string(), "has no date"),
        (of("customer", json!({ "id": "abc" })), "the customer's id is not an id"),
        (of("customer", json!("anna")), "another kind than expected"),
        (of("customer", json!({ "id": 7, "updated_at": "2099-01-01T00:00:00Z" })), "update time 2099"),
        (of("refunds", json!([{ "transactions": [{ "kind": "refund", "status": "success", "amount": "x" }] }])), "a refund is not usable"),
        (
            order(1).status("partially_refunded").drop("current_total_price").drop("current_total_price_set").set("refunds", json!([{ "transactions": [{ "kind": "refund", "status": "success", "amount": "5.00", "currency": "USD" }] }])).json().to_string(),
            "its refunds are in another currency than EUR",
        ),
    ];
    let cases: Vec<(&[u8], &str)> = cases.iter().map(|(body, reason)| (body.as_bytes(), *reason)).collect();
    check("orders/updated", &cases).await;
}

#[tokio::test]
async fn a_body_that_is_not_of_its_topic() {
    // A signed body sent again under another topic: the signature does not cover the topic.
    let order = order(1).json().to_string();
    let customer = customer(1, "anna@example.com").to_string();
    for (topic, body) in [
        ("orders/delete", &order),
        ("customers/delete", &order),
        ("customers/create", &order),
        ("orders/delete", &customer),
        ("customers/delete", &customer),
        ("orders/create", &customer),
        ("customers/merge", &customer),
        ("customers_email_marketing_consent/update", &customer),
        ("customers/update", &json!({ "id": 1, "order_id": 2, "transactions": [] }).to_string()),
    ] {
        let shop = Shop::open();
        shop.deliver(shop.webhook(topic, body.clone())).await;
        assert_eq!(shop.last().0, "quarantined", "{topic} {body}");
        assert_eq!(
            shop.rows("SELECT 1 FROM orders UNION ALL SELECT 1 FROM customers"),
            Vec::<String>::new(),
            "{topic}"
        );
    }
}

#[tokio::test]
async fn messages_that_name_nobody() {
    for (topic, body, reason) in [
        ("orders/delete", json!({}), "no id"),
        ("customers/delete", json!({ "id": null }), "no id"),
        ("customers/create", json!({ "email": "anna@example.com" }), "no id"),
        ("customers/merge", json!({ "status": "completed" }), "which customers"),
        ("customers/merge", merge(7, 7), "into itself"),
        ("customers_email_marketing_consent/update", json!({ "customer_id": 7 }), "no email_marketing_consent"),
    ] {
        check(topic, &[(body.to_string().as_bytes(), reason)]).await;
    }
}

#[tokio::test]
async fn at_the_edges_of_what_can_be_true() {
    let shop = Shop::open();
    let plain = |id: u64| order(id).drop("current_total_price_set").drop("total_price_set").drop("current_total_price");
    for body in [
        plain(1).set("processed_at", "1990-01-01T00:00:00Z"),
        plain(2).set("processed_at", "2026-11-25T12:00:00Z"),
        plain(3).set("processed_at", "2016-12-31T23:59:60Z"),
        plain(4).set("total_price", "9000000000000.00"),
        plain(5)
            .set("id", serde_json::from_str::<Value>("98765432109876543210987").unwrap())
            .drop("admin_graphql_api_id"),
        plain(6).set("id", "6").set("total_price", 0.005),
    ] {
        shop.tell("orders/create", &body.json()).await;
        assert_eq!(shop.last().0, "done", "{:?}", shop.last());
    }
    assert_eq!(
        shop.rows("SELECT source_id, ordered_at, net FROM orders ORDER BY id"),
        [
            "1 | 631152000000 | 4990",
            "2 | 1795608000000 | 4990",
            "3 | 1483228799000 | 4990",
            "4 | 1793523600000 | 900000000000000",
            "98765432109876543210987 | 1793523600000 | 4990",
            "6 | 1793523600000 | 0",
        ]
    );
}

#[tokio::test]
async fn a_sum_beyond_an_integer_is_refused_and_leaves_no_trace() {
    let shop = Shop::open();
    shop.folder.except(&[COUNTERS]);
    // 10,248 orders of the largest amount fit; put them there in one statement.
    shop.tell("orders/create", &order(1).guest("anna@example.com").total("9000000000000.00").json()).await;
    shop.database
        .writer()
        .write(|tx| {
            tx.execute_batch(
                "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 10248)
                 INSERT INTO orders (source, source_id, customer_id, email, email_key, status, currency, gross, net, counted, ordered_at, origin, received_at)
                 SELECT source, i, customer_id, email, email_key, status, currency, gross, net, counted, ordered_at, origin, received_at FROM orders, n",
            )?;
            Ok(())
        })
        .await
        .unwrap();
    shop.tell("orders/create", &order(20_000).guest("anna@example.com").total("9000000000000.00").json()).await;
    let (state, reason) = shop.last();
    assert_eq!(state, "quarantined");
    assert!(reason.contains("more than any shop sells"), "{reason}");
    assert_eq!(shop.row("SELECT count(*) FROM orders"), "10248");
}

async fn check(topic: &str, cases: &[(&[u8], &str)]) {
    let shop = Shop::open();
    for (body, expected) in cases {
        shop.deliver(shop.webhook(topic, *body)).await;
        let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
        let (state, reason) = shop.last();
        assert_eq!(state, "quarantined", "{text}");
        assert!(reason.contains(expected), "{text}\n  {reason}\n  expected {expected}");
        assert!(reason.len() < 250, "{reason}");
    }
    assert_eq!(shop.inbox().len(), cases.len());
    assert_eq!(shop.rows("SELECT 1 FROM orders UNION ALL SELECT 1 FROM customers"), Vec::<String>::new());
    // Still alive.
    shop.tell("orders/create", &order(42).guest("anna@example.com").json()).await;
    assert_eq!(shop.counters(), ["guest:anna@example.com | 1 | 4990"]);
}
