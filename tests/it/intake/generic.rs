//! `POST /webhooks/orders`: signed by the public Standard Webhooks library, answered as
//! `interfaces.md` says.

use axum::{
    body::Body,
    http::{Request, StatusCode},
};
use serde_json::{Value, json};

use crate::support::shop::{API_SECRET, Shop, standard_request};

fn order(id: &str) -> Value {
    json!({
        "id": id,
        "customer": { "id": "7001", "email": "anna@example.com", "firstName": "Anna", "lastName": "Apple", "phone": "+49301" },
        "orderedAt": "2026-11-20T10:00:00Z", "updatedAt": "2026-11-20T10:00:00Z", "currency": "EUR",
        "total": "49.90", "refunded": "0.00", "status": "paid", "test": false, "historical": false,
    })
}

fn with(mut body: Value, field: &str, value: impl Into<Value>) -> Value {
    body[field] = value.into();
    body
}

#[tokio::test]
async fn one_order_a_list_and_a_wrapped_list() {
    let shop = Shop::open();
    for (id, body) in [
        ("m1", json!({ "orders": [order("1001"), order("1002")] })),
        ("m2", order("1003")),
        ("m3", json!([order("POS/1004"), with(order("5"), "id", 1005)])),
    ] {
        let reply = shop.post_orders(id, &body.to_string()).await;
        assert_eq!(reply.status, StatusCode::OK);
        let count = if id == "m2" { 1 } else { 2 };
        assert_eq!(reply.json(), json!({ "accepted": count, "stale": 0, "rejected": [] }));
    }
    assert_eq!(
        shop.rows("SELECT source, source_id, origin FROM orders"),
        ["api | 1001 | api", "api | 1002 | api", "api | 1003 | api", "api | POS/1004 | api", "api | 1005 | api",]
    );
    assert_eq!(shop.counters(), ["api:7001 | 5 | 24950"]);
    assert_eq!(
        shop.row("SELECT email, first_name, last_name, phone FROM customers"),
        "anna@example.com | Anna | Apple | +49301"
    );
    assert_eq!(shop.row("SELECT DISTINCT source, topic, state FROM inbox"), "api | orders | done");
}

#[tokio::test]
async fn the_readmes_example_is_taken() {
    let readme = include_str!("../../../README.md");
    let example = readme.split("POST /webhooks/orders").nth(1).and_then(|rest| rest.split("```json\n").nth(1)).unwrap();
    let shop = Shop::open();
    let reply = shop.post_orders("m1", example.split("```").next().unwrap()).await;
    assert_eq!(reply.json(), json!({ "accepted": 1, "stale": 0, "rejected": [] }));
    assert_eq!(shop.row("SELECT net, counted, historical FROM orders"), "4990 | 1 | 0");
}

#[tokio::test]
async fn statuses() {
    let shop = Shop::open();
    for (id, status, refunded, net) in [
        ("1", "paid", json!("0.00"), 4990),
        ("2", "paid", json!("9.90"), 4000),
        ("3", "pending", json!("0.00"), 0),
        ("4", "refunded", json!("49.90"), 0),
        ("5", "refunded", Value::Null, 0),
        ("6", "partially_refunded", json!(9.9), 4000),
        ("7", "cancelled", json!("0.00"), 0),
        ("8", "Paid", Value::Null, 4990),
    ] {
        let body = with(with(order(id), "status", status), "refunded", refunded);
        let reply = shop.post_orders(id, &body.to_string()).await;
        assert_eq!(reply.json()["accepted"], 1, "{status} {}", reply.json());
        assert_eq!(
            shop.row(&format!("SELECT net FROM orders WHERE source_id = '{id}'")),
            net.to_string(),
            "{id} {status}"
        );
    }
    let body = with(with(order("9"), "test", true), "historical", true);
    shop.post_orders("9", &body.to_string()).await;
    assert_eq!(shop.row("SELECT is_test, historical, counted FROM orders WHERE source_id = '9'"), "1 | 1 | 0");
}

#[tokio::test]
async fn each_bad_order_is_refused_by_itself() {
    let shop = Shop::open();
    let mut orders = vec![order("1001")];
    let bad = [
        (
            with(order("1"), "total", "1,50"),
            json!("1"),
            "total is not usable: it is not an amount; write it like 1234.50",
        ),
        (with(order("2"), "total", Value::Null), json!("2"), "total is missing"),
        (
            with(order("3"), "status", "shipped"),
            json!("3"),
            "status is not one quintile knows; write paid, pending, refunded or cancelled",
        ),
        (
            with(order("4"), "orderedAt", "2026-11-20"),
            json!("4"),
            "orderedAt is not usable: it is not a time; write it like 2026-11-23T02:00:00Z",
        ),
        (
            with(order("5"), "currency", "USD"),
            json!("5"),
            "it is in USD, this shop's currency is EUR ([shop] currency); amounts are never converted",
        ),
        (with(order("6"), "total", "-1"), json!("6"), "its total -1.00 is negative"),
        (with(order("7"), "id", Value::Null), Value::Null, "id is missing"),
        (
            with(order("8"), "customer", "anna"),
            Value::Null,
            "the body is not an order: a value of another kind than expected",
        ),
        (json!(17), Value::Null, "the body is not an order: a value of another kind than expected"),
        (
            with(order("9"), "orderedAt", "1980-01-01T00:00:00Z"),
            json!("9"),
            "its order date 1980-01-01T00:00:00Z is not between 1990 and two days from now; correct the date in the shop",
        ),
    ];
    orders.extend(bad.iter().map(|case| case.0.clone()));
    orders.push(order("1002"));
    let body = json!({ "orders": orders }).to_string();
    let reply = shop.post_orders("m", &body).await;
    assert_eq!(reply.status, StatusCode::OK);
    let expected: Vec<Value> = bad.iter().map(|(_, id, reason)| json!({ "id": id, "reason": reason })).collect();
    let answer = reply.json();
    let mut rejected = answer["rejected"].as_array().unwrap().clone();
    let mut expected_sorted = expected.clone();
    rejected.sort_by_key(Value::to_string);
    expected_sorted.sort_by_key(Value::to_string);
    assert_eq!(rejected, expected_sorted);
    assert_eq!((&answer["accepted"], &answer["stale"]), (&json!(2), &json!(0)));
    assert_eq!(shop.counters(), ["api:7001 | 2 | 9980"]);
    let (state, reason) = shop.last();
    assert_eq!(state, "done");
    assert!(reason.starts_with("10 refused, the sender was told: order 1: total is not usable"), "{reason}");

    // None of them usable: worth a look.
    shop.post_orders("n", &json!([bad[0].0]).to_string()).await;
    assert_eq!(shop.last().0, "quarantined");
}

#[tokio::test]
async fn a_message_sent_again_gets_its_answer_again() {
    let shop = Shop::open();
    let body = json!([order("1001"), with(order("2"), "total", "x")]).to_string();
    let first = shop.post_orders("m", &body).await.json();
    let again = shop.post_orders("m", &body).await.json();
    assert_eq!(first, again);
    // Under a new id as well.
    assert_eq!(shop.post_orders("other", &body).await.json(), first);
    assert_eq!(shop.rows("SELECT delivery_key, duplicates FROM inbox"), ["m | 1", "other | 0"]);
    assert_eq!(shop.counters(), ["api:7001 | 1 | 4990"]);

    let newer = with(with(order("1001"), "updatedAt", "2026-11-21T10:00:00Z"), "total", "10.00");
    shop.post_orders("newer", &newer.to_string()).await;
    let stale = shop.post_orders("late", &order("1001").to_string()).await.json();
    assert_eq!(stale, json!({ "accepted": 0, "stale": 1, "rejected": [] }));
    assert_eq!(shop.last().0, "stale");
    assert_eq!(shop.counters(), ["api:7001 | 1 | 1000"]);
}

#[tokio::test]
async fn a_copy_without_a_version_does_not_come_back_to_life() {
    let shop = Shop::open();
    let mut first = order("1001");
    first.as_object_mut().unwrap().remove("updatedAt");
    shop.post_orders("a", &first.to_string()).await;
    shop.later(1000);
    shop.post_orders("b", &with(first.clone(), "total", "10.00").to_string()).await;
    assert_eq!(shop.counters(), ["api:7001 | 1 | 1000"]);
    shop.later(1000);
    let copy = shop.post_orders("a", &first.to_string()).await;
    assert_eq!(copy.json()["accepted"], 1);
    assert_eq!(shop.counters(), ["api:7001 | 1 | 1000"], "a copy has no effect");
}

#[tokio::test]
async fn a_person_is_not_blanked_by_silence() {
    let shop = Shop::open();
    shop.post_orders("a", &order("1").to_string()).await;
    let mut quiet = with(order("2"), "customer", json!({ "id": "7001", "phone": null }));
    quiet["updatedAt"] = json!("2026-11-21T10:00:00Z");
    shop.post_orders("b", &quiet.to_string()).await;
    assert_eq!(shop.row("SELECT email, first_name, phone FROM customers"), "anna@example.com | Anna | -");
}

#[tokio::test]
async fn guests_and_nobody() {
    let shop = Shop::open();
    let guest = with(order("1"), "customer", json!({ "email": "guest@example.com" }));
    let nobody = with(order("2"), "customer", json!({ "firstName": "Nobody" }));
    let none = with(order("3"), "customer", Value::Null);
    let reply = shop.post_orders("m", &json!([guest, nobody, none]).to_string()).await;
    assert_eq!(reply.json()["accepted"], 3);
    assert_eq!(shop.counters(), ["guest:guest@example.com | 1 | 4990"]);
    assert_eq!(shop.row("SELECT count(*) FROM orders WHERE customer_id IS NULL"), "2");
}

#[tokio::test]
async fn what_was_refused_is_taken_when_it_comes_again_and_can_be() {
    let shop = Shop::open();
    let late = |id: &str| with(order(id), "orderedAt", "2026-11-26T10:00:00Z");
    let undated = with(order("3"), "updatedAt", Value::Null);
    let all = json!([late("1")]).to_string();
    let part = json!([late("2"), undated]).to_string();
    let stored = "SELECT state, reason IS NULL, duplicates FROM inbox ORDER BY id";
    assert_eq!(shop.post_orders("all", &all).await.json()["accepted"], 0);
    assert_eq!(shop.post_orders("part", &part).await.json()["accepted"], 1);
    for _ in 0..2 {
        assert_eq!(shop.post_orders("all", &all).await.json()["rejected"][0]["id"], "1");
    }
    assert_eq!(shop.rows(stored), ["quarantined | 0 | 2", "done | 0 | 0"]);

    shop.later(1000);
    shop.post_orders("newer", &with(undated, "total", "5.00").to_string()).await;
    // By now the order date can be.
    shop.later(2 * 86_400_000);
    for copies in 1..3 {
        let reply = shop.post_orders("all", &all).await.json();
        assert_eq!(reply, json!({ "accepted": 1, "stale": 0, "rejected": [] }));
        let reply = shop.post_orders("part", &part).await.json();
        assert_eq!(reply["rejected"], json!([]));
        assert_eq!(shop.rows("SELECT source_id, net FROM orders ORDER BY 1"), ["1 | 4990", "2 | 4990", "3 | 500"]);
        let all = format!("done | 1 | {}", 2 + copies);
        assert_eq!(shop.rows(stored), [all, format!("done | 1 | {copies}"), "done | 1 | 0".to_owned()]);
    }
}

/// Each try of a message is signed with the time of that try.
#[tokio::test]
async fn what_was_taken_undoes_nothing_when_the_rest_comes_again() {
    for status in ["refunded", "cancelled"] {
        let shop = Shop::open();
        let body = json!([order("1001"), with(order("2"), "total", "x")]).to_string();
        assert_eq!(shop.post_orders("m", &body).await.json()["accepted"], 1);
        shop.later(10_000);
        let mut ended = with(order("1001"), "status", status);
        ended["customer"]["lastName"] = json!("Berg");
        shop.post_orders("ended", &ended.to_string()).await;
        shop.later(10_000);
        for copies in 1..3 {
            let again = shop.post_orders("m", &body).await.json();
            assert_eq!((&again["accepted"], &again["stale"]), (&json!(0), &json!(1)), "{status}: {again}");
            assert_eq!(again["rejected"][0]["id"], "2");
            assert_eq!(shop.rows("SELECT source_id, net FROM orders"), ["1001 | 0"], "{status}");
            assert_eq!(shop.row("SELECT last_name FROM customers"), "Berg");
            let stored =
                "SELECT state, reason LIKE '1 refused, the sender was told: %', duplicates FROM inbox WHERE id = 1";
            assert_eq!(shop.row(stored), format!("done | 1 | {copies}"), "what was done stays done");
        }
    }
}

#[tokio::test]
async fn what_is_signed_but_unreadable_is_400_and_kept() {
    let shop = Shop::open();
    for (id, body) in [("1", "{"), ("2", "17"), ("3", "{\"orders\": 1}"), ("4", "")] {
        let reply = shop.post_orders(id, body).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(reply.headers["content-type"], "application/problem+json");
        assert!(reply.json()["detail"].as_str().unwrap().starts_with("the body is not"), "{}", reply.json());
        assert_eq!(shop.last().0, "quarantined");
    }
    let many = json!(vec![0; 20_001]);
    for (id, body) in [("5", many.to_string()), ("6", json!({ "orders": many }).to_string())] {
        let detail = shop.post_orders(id, &body).await.json()["detail"].take();
        assert_eq!(detail, "it holds 20001 orders; send at most 10000 at a time");
    }
    assert_eq!(shop.post_orders("1", "{").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(shop.inbox().len(), 6);
}

#[tokio::test]
async fn signatures() {
    let shop = Shop::open();
    let body = order("1001").to_string();
    let seconds = shop.now() / 1000;
    let good = || standard_request(API_SECRET, "m", seconds, &body);
    let edit = |name: &'static str, value: Option<&str>| {
        let mut request = good();
        match value {
            Some(value) => request.headers_mut().insert(name, value.parse().unwrap()),
            None => request.headers_mut().remove(name),
        };
        request
    };
    let mut two = good();
    let signature = two.headers()["webhook-signature"].clone();
    two.headers_mut().append("webhook-signature", signature);
    let other = "whsec_YW5vdGhlciBvbmUgZW50aXJlbHk=";
    for (why, request) in [
        ("no id", edit("webhook-id", None)),
        ("another id", edit("webhook-id", Some("n"))),
        ("no time", edit("webhook-timestamp", None)),
        ("another time", edit("webhook-timestamp", Some(&(seconds + 1).to_string()))),
        ("no signature", edit("webhook-signature", None)),
        ("an unknown version", edit("webhook-signature", Some("v9,AAAA"))),
        ("two signature headers", two),
        ("another secret", standard_request(other, "m", seconds, &body)),
        ("too old", standard_request(API_SECRET, "m", seconds - 301, &body)),
        ("from the future", standard_request(API_SECRET, "m", seconds + 301, &body)),
        ("another body", {
            let mut request = good();
            *request.body_mut() = Body::from("{}");
            request
        }),
        ("unsigned rubbish", Request::post("/webhooks/orders").body(Body::from("{")).unwrap()),
    ] {
        let reply = shop.request(request).await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{why}");
    }
    assert_eq!(shop.inbox(), []);

    // While a secret is replaced the sender signs with both.
    let both = standard_request(other, "m", seconds, &body).headers()["webhook-signature"].to_str().unwrap().to_owned()
        + " "
        + good().headers()["webhook-signature"].to_str().unwrap();
    let reply = shop.request(edit("webhook-signature", Some(&both))).await;
    assert_eq!(reply.status, StatusCode::OK);
    for (id, seconds) in [("old", seconds - 300), ("new", seconds + 300)] {
        let request = standard_request(API_SECRET, id, seconds, &body);
        assert_eq!(shop.request(request).await.status, StatusCode::OK, "{id}");
    }
}
