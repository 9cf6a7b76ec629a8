//! `customer/first_order`: whose first order it is, once for ever.

use std::time::Duration;

use quintile::{
    config::Destination,
    outbox::{Ids, Route, fan_out_unqueued},
};
use serde_json::json;

use crate::support::shop::{NOON, OrderBody, Shop, customer, merge, order};

/// Placed this morning.
fn today(id: u64) -> OrderBody {
    order(id).placed("2026-11-23T10:00:00+01:00").updated("2026-11-23T10:00:00+01:00")
}

fn told(shop: &Shop) -> Vec<String> {
    shop.rows(
        "SELECT coalesce(c.external_id, c.email_key), o.run_id, o.cause, o.at FROM outbox o
         JOIN customers c ON c.id = o.customer_id WHERE o.type = 'customer/first_order' ORDER BY o.seq",
    )
}

#[tokio::test]
async fn the_first_order_is_told_once_and_the_forwarder_is_woken() {
    let shop = Shop::open();
    let anna = customer(7001, "anna@example.com");
    let woken = || tokio::time::timeout(Duration::from_millis(1), shop.wake.notified());
    shop.tell("orders/create", &today(1).by(&anna).status("pending").json()).await;
    assert!(told(&shop).is_empty() && woken().await.is_err(), "it does not count yet");
    let paid = today(1).by(&anna).updated("2026-11-23T11:00:00+01:00");
    shop.tell("orders/paid", &paid.json()).await;
    assert_eq!(told(&shop), [format!("7001 | - | - | {}", shop.now())]);
    woken().await.expect("the forwarder is told");

    // Again, a second one, and a first one again after both were cancelled.
    shop.tell("orders/paid", &paid.json()).await;
    shop.tell("orders/create", &today(2).by(&anna).json()).await;
    for id in [1, 2] {
        let gone = today(id).by(&anna).set("cancelled_at", "2026-11-23T12:00:00+01:00");
        shop.tell("orders/cancelled", &gone.updated("2026-11-23T12:00:00+01:00").json()).await;
    }
    assert_eq!(shop.row("SELECT order_count FROM customers"), "0");
    shop.tell("orders/create", &today(3).by(&anna).json()).await;
    assert_eq!((shop.row("SELECT order_count FROM customers").as_str(), told(&shop).len()), ("1", 1));
}

#[tokio::test]
async fn what_is_told_of_a_customer_ascends_when_the_clock_goes_back() {
    let shop = Shop::open();
    shop.tell("orders/create", &today(1).by(&customer(7001, "anna@example.com")).json()).await;
    shop.later(-3_600_000);
    shop.tell("customers/redact", &json!({ "customer": { "id": 7001 }, "orders_to_redact": [] })).await;
    let events = shop.rows(&format!("SELECT type, at - {NOON} FROM outbox ORDER BY seq"));
    assert_eq!(events, ["customer/first_order | 0", "customer/redacted | 1"]);
}

#[tokio::test]
async fn the_past_is_no_news() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).guest("old@example.com").json()).await;
    let body = |id: &str, historical: bool| {
        json!({ "id": id, "customer": { "id": id }, "orderedAt": "2026-11-23T09:00:00Z", "updatedAt": "2026-11-23T09:00:00Z",
            "currency": "EUR", "total": "49.90", "status": "paid", "historical": historical })
        .to_string()
    };
    shop.post_orders("a", &body("1", true)).await;
    assert_eq!(told(&shop), Vec::<String>::new());
    shop.post_orders("b", &body("2", false)).await;
    assert_eq!(told(&shop), [format!("2 | - | - | {}", shop.now())]);
}

#[tokio::test]
async fn a_person_has_one_first_order_under_all_their_names() {
    let shop = Shop::open();
    let cancelled = |id: u64| today(id).set("cancelled_at", "2026-11-23T12:00:00+01:00");
    // A guest who becomes a customer, who is merged into another.
    shop.tell("orders/create", &today(1).guest("anna@example.com").json()).await;
    let gone = cancelled(1).guest("anna@example.com").updated("2026-11-23T12:00:00+01:00");
    shop.tell("orders/cancelled", &gone.json()).await;
    shop.tell("orders/create", &today(2).by(&customer(7001, "anna@example.com")).json()).await;
    let gone = cancelled(2).by(&customer(7001, "anna@example.com")).updated("2026-11-23T12:00:00+01:00");
    shop.tell("orders/cancelled", &gone.json()).await;
    shop.tell("customers/merge", &merge(7001, 7002)).await;
    shop.tell("orders/create", &today(3).by(&customer(7002, "other@example.com")).json()).await;
    assert_eq!(shop.row("SELECT max(order_count) FROM customers"), "1");
    assert_eq!(told(&shop).len(), 1, "{:?}", told(&shop));
}

#[tokio::test]
async fn each_event_gets_its_deliveries_once_and_in_slices() {
    let shop = Shop::open_with(|config| {
        config.destination = [("all", None), ("moves", Some("rfm/segment.changed")), ("to", None)]
            .map(|(name, event)| Destination {
                name: name.to_owned(),
                events: event.map(str::to_owned).into_iter().collect(),
                to: if name == "to" { vec!["champion".to_owned()] } else { Vec::new() },
                ..Destination::default()
            })
            .to_vec();
    });
    for id in 1..=5 {
        shop.tell("orders/create", &today(id).by(&customer(7000 + id, &format!("c{id}@example.com"))).json()).await;
    }
    let now = quintile::model::Timestamp::from_millis(shop.now());
    for (expected, left) in [(2, 3), (2, 1), (1, 0), (0, 0)] {
        let routes = Route::from_config(&shop.config).unwrap();
        let taken = shop
            .database
            .writer()
            .write(move |tx| Ok(fan_out_unqueued(tx, &routes, 2, &mut Ids::random(now), now)?))
            .await
            .unwrap();
        assert_eq!((taken, shop.row("SELECT count(*) FROM unqueued")), (expected, left.to_string()));
    }
    assert_eq!(
        shop.rows("SELECT destination, seq, state FROM deliveries"),
        ["all | 1 | waiting", "all | 2 | waiting", "all | 3 | waiting", "all | 4 | waiting", "all | 5 | waiting",]
    );
}
