//! The story of one order, from outside: a shop's webhook goes in over a real port, a signed change
//! of segment comes out over another.

use serde_json::json;

use crate::support::{
    http,
    merchant::{Merchant, post_orders, post_shopify, score_and_wait, shopify_order},
    process::{Server, eventually},
    receiver::{Received, Receiver},
};

/// 40 customers, each with one order; later ones larger and more recent.
fn history() -> String {
    let rows = (0..40).map(|n| {
        format!("h{n},{n},c{n}@example.com,2025-{:02}-{:02}T10:00:00Z,{}.00,EUR,paid\n", 1 + n / 4, 1 + n % 4, 20 + n)
    });
    "order_id,customer_id,email,ordered_at,total,currency,status\n".to_owned() + &rows.collect::<String>()
}

fn everything_is_delivered(merchant: &Merchant) {
    eventually("the end of all deliveries", || {
        let open = |state| merchant.json(&["deliveries", "--state", state]) != json!([]);
        (!open("waiting") && !open("sending")).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_becomes_a_delivered_change_of_segment() {
    let receiver = Receiver::start().await;
    let merchant = Merchant::new(receiver.url());
    let anna = tokio::task::block_in_place(|| {
        merchant.write("history.csv", &history());
        let report = merchant.json(&["import", "history.csv"]);
        assert_eq!(report["files"][0]["orders"], json!({"new": 40, "updated": 0, "unchanged": 0, "rejected": 0}));
        assert_eq!(report["files"][0]["customers"]["new"], 40);

        let server = Server::start(merchant.path());
        let order = shopify_order(9_007_199_254_740_995, 7001, "49.90", "2026-11-01T09:12:00+01:00");
        assert_eq!(post_shopify(&server, "orders/create", "w-1", &order).unwrap().status, 200);
        assert_eq!(post_shopify(&server, "orders/create", "w-1", &order).unwrap().status, 200);
        let answer = post_orders(
            &server,
            "msg_till-1",
            &json!({"id": "till-1", "customer": {"id": "5", "email": "till@example.com"}, "orderedAt": "2026-11-02T10:00:00Z",
                    "updatedAt": "2026-11-02T10:00:00Z", "currency": "EUR", "total": "12.00", "refunded": "0.00", "status": "paid"}),
        );
        let answer = answer.unwrap();
        assert_eq!(
            (answer.status, serde_json::from_str::<serde_json::Value>(&answer.body).unwrap()["accepted"].clone()),
            (200, json!(1))
        );
        score_and_wait(&merchant, &server);

        let customers = merchant.json(&["customers", "--search", "c7001@example.com"]);
        let anna = customers[0].clone();
        assert_eq!(anna["orderCount"], 1);
        assert_eq!(anna["totalSpent"], "49.90");
        assert_eq!(anna["lastOrderAt"], "2026-11-01T08:12:00Z");
        let page = http::get(&format!("{}/customers/{}", server.dashboard, anna["id"].as_str().unwrap())).unwrap();
        assert_eq!(page.status, 200);
        assert!(page.body.contains("c7001@example.com"));
        everything_is_delivered(&merchant);
        assert!(server.terminate().success());
        anna
    });

    // The baseline: everybody's first segment, in the order of the outbox, each signed.
    let baseline = receiver.wait_for(42).await;
    baseline.iter().for_each(Received::assert_verified);
    let first = baseline.iter().map(Received::json).find(|event| event["data"]["customerId"] == anna["id"]).unwrap();
    assert_eq!(first["type"], "rfm/segment.changed");
    assert_eq!(first["data"]["shopId"], "demo.myshopify.com");
    assert_eq!(first["data"]["oldSegment"], json!(null));
    assert_eq!(first["data"]["newSegment"], anna["segment"]);
    assert_eq!(first["data"]["cause"], "baseline");
    assert_eq!(first["data"]["customer"]["externalId"], "7001");
    assert_eq!(first["data"]["customer"]["firstName"], "Zoë");
    assert_eq!(first["data"]["customer"]["totalSpent"], "49.90");

    // She buys more: the next run moves her, and only those who moved are told of.
    tokio::task::block_in_place(|| {
        let server = Server::start(merchant.path());
        for (id, total) in [(9_007_199_254_740_996, "300.00"), (9_007_199_254_740_997, "250.00")] {
            let order = shopify_order(id, 7001, total, "2026-11-20T10:00:00Z");
            assert_eq!(post_shopify(&server, "orders/create", &format!("w-{id}"), &order).unwrap().status, 200);
        }
        score_and_wait(&merchant, &server);
        everything_is_delivered(&merchant);
        assert!(server.terminate().success());
    });
    let all = receiver.received();
    all.iter().for_each(Received::assert_verified);
    let moved: Vec<_> = all[42..].iter().map(Received::json).collect();
    let change = moved.iter().find(|event| event["data"]["customerId"] == anna["id"]).expect("she moved");
    assert_eq!(change["data"]["oldSegment"], anna["segment"]);
    assert_eq!(change["data"]["newSegment"], "champion");
    assert_eq!(change["data"]["cause"], "order");
    assert_eq!(change["data"]["rfm"], json!({"r": 5, "f": 5, "m": 5}));
    assert_eq!(change["data"]["customer"]["totalSpent"], "599.90");

    // Everything the commands say agrees with what the receiver got.
    tokio::task::block_in_place(|| {
        let events = merchant.json(&["events"]);
        let told: Vec<_> = all.iter().map(|request| request.json()["id"].clone()).collect();
        let mut known: Vec<_> = events.as_array().unwrap().iter().map(|event| event["id"].clone()).collect();
        let mut told_once = told.clone();
        let by_text = |id: &serde_json::Value| id.to_string();
        known.sort_by_key(by_text);
        told_once.sort_by_key(by_text);
        assert_eq!(told_once, known, "every event exactly once");
        let deliveries = merchant.json(&["deliveries", "--state", "delivered"]);
        assert_eq!(deliveries.as_array().unwrap().len(), known.len());
        assert_eq!(merchant.json(&["customer", anna["id"].as_str().unwrap()])["segment"], "champion");
        merchant.run(&["check", "--deep"]);
    });
}
