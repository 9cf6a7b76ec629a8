//! Who is who: ids, guests, e-mails that change hands, merges.

use serde_json::json;

use crate::support::shop::{Shop, customer, merge, order};

#[tokio::test]
async fn a_guest_is_their_email_however_it_is_written() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).guest(" Anna@Example.COM ").json()).await;
    shop.tell("orders/create", &order(2).guest("anna@example.com").json()).await;
    shop.tell("orders/create", &order(3).set("contact_email", "anna@example.com").json()).await;
    assert_eq!(shop.counters(), ["guest:anna@example.com | 3 | 14970"]);
}

#[tokio::test]
async fn nobodys_order_is_kept_and_counts_for_nobody() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).json()).await;
    shop.tell("orders/create", &order(2).drop("customer").drop("email").drop("contact_email").json()).await;
    assert_eq!(shop.rows("SELECT customer_id, net, counted FROM orders"), ["- | 4990 | 1", "- | 4990 | 1"]);
    assert_eq!(shop.counters(), Vec::<String>::new());
}

#[tokio::test]
async fn a_guest_becomes_a_customer_in_either_order() {
    for guest_first in [true, false] {
        let shop = Shop::open();
        let as_guest = order(1).guest("anna@example.com").json();
        let with_id = order(2).by(&customer(7001, "Anna@example.com")).json();
        let both = [&as_guest, &with_id];
        for body in if guest_first { both } else { [both[1], both[0]] } {
            shop.tell("orders/create", body).await;
        }
        assert_eq!(shop.counters(), ["shopify:7001 | 2 | 9980"], "guest first: {guest_first}");
        assert_eq!(shop.rows("SELECT kind, key FROM aliases"), ["email | anna@example.com"]);
        // Later guest orders go there at once.
        shop.tell("orders/create", &order(3).guest("ANNA@example.com").json()).await;
        assert_eq!(shop.counters(), ["shopify:7001 | 3 | 14970"]);
    }
}

#[tokio::test]
async fn an_email_that_goes_takes_the_guests_orders_along() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).guest("shared@example.com").json()).await;
    shop.tell("orders/create", &order(2).by(&customer(7001, "shared@example.com")).json()).await;
    assert_eq!(shop.counters(), ["shopify:7001 | 2 | 9980"]);

    let mut anna = customer(7001, "anna@example.com");
    anna["updated_at"] = json!("2026-11-10T10:00:00Z");
    shop.tell("customers/update", &anna).await;
    assert_eq!(shop.counters(), ["guest:shared@example.com | 1 | 4990", "shopify:7001 | 1 | 4990"]);
    assert_eq!(shop.rows("SELECT kind FROM aliases"), Vec::<String>::new());

    let mut bert = customer(7002, "shared@example.com");
    bert["updated_at"] = json!("2026-11-11T10:00:00Z");
    shop.tell("customers/create", &bert).await;
    assert_eq!(shop.counters(), ["shopify:7001 | 1 | 4990", "shopify:7002 | 1 | 4990"]);

    shop.tell("customers/delete", &json!({ "id": 7002 })).await;
    assert_eq!(
        shop.counters(),
        ["guest:shared@example.com | 1 | 4990", "shopify:7001 | 1 | 4990", "shopify:7002 | 0 | 0"]
    );
}

#[tokio::test]
async fn guests_stay_apart_where_the_merchant_says_so() {
    let shop = Shop::open_with(|config| config.orders.merge_guests_by_email = false);
    shop.tell("orders/create", &order(1).guest("anna@example.com").json()).await;
    shop.tell("orders/create", &order(2).by(&customer(7001, "anna@example.com")).json()).await;
    assert_eq!(shop.counters(), ["guest:anna@example.com | 1 | 4990", "shopify:7001 | 1 | 4990"]);
}

#[tokio::test]
async fn two_ids_with_one_email_stay_two() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).by(&customer(7002, "anna@example.com")).json()).await;
    shop.tell("orders/create", &order(2).guest("anna@example.com").json()).await;
    shop.tell("orders/create", &order(3).by(&customer(7001, "anna@example.com")).json()).await;
    // The guest's order belongs to the lower id, whichever came first.
    assert_eq!(shop.counters(), ["shopify:7001 | 2 | 9980", "shopify:7002 | 1 | 4990"]);
}

#[tokio::test]
async fn an_order_changes_hands() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).by(&customer(7001, "anna@example.com")).json()).await;
    let moved = order(1).by(&customer(7002, "bert@example.com")).updated("2026-11-02T10:00:00Z");
    shop.tell("orders/updated", &moved.json()).await;
    assert_eq!(shop.counters(), ["shopify:7001 | 0 | 0", "shopify:7002 | 1 | 4990"]);
}

#[tokio::test]
async fn an_order_goes_from_nobody_to_a_guest_to_a_customer_and_back() {
    let shop = Shop::open();
    let at = |day: u32| format!("2026-11-0{day}T10:00:00Z");
    let owners = [
        (order(1).json(), vec![]),
        (order(1).guest("anna@example.com").updated(&at(2)).json(), vec!["guest:anna@example.com | 1 | 4990"]),
        (
            order(1).by(&customer(7001, "anna@shop.example")).updated(&at(3)).json(),
            vec!["guest:anna@example.com | 0 | 0", "shopify:7001 | 1 | 4990"],
        ),
        (order(1).updated(&at(4)).json(), vec!["guest:anna@example.com | 0 | 0", "shopify:7001 | 0 | 0"]),
    ];
    for (body, counters) in owners {
        shop.tell("orders/updated", &body).await;
        assert_eq!(shop.counters(), counters);
    }
}

#[tokio::test]
async fn merges_follow_chains_whenever_they_are_told() {
    let messages = [
        ("orders/create", order(1).by(&customer(7001, "a@example.com")).json()),
        ("orders/create", order(2).by(&customer(7002, "b@example.com")).json()),
        ("orders/create", order(3).by(&customer(7003, "c@example.com")).json()),
        ("orders/create", order(4).guest("a@example.com").json()),
        ("customers/merge", merge(7001, 7002)),
        ("customers/merge", merge(7002, 7003)),
    ];
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [4, 0, 5, 1, 3, 2], [5, 3, 4, 2, 0, 1]] {
        let shop = Shop::open();
        for index in order {
            let (topic, body) = &messages[index];
            shop.tell(topic, body).await;
        }
        assert_eq!(shop.counters(), ["shopify:7003 | 4 | 19960"], "{order:?}");
        // Orders of the merged ids go on counting there.
        shop.tell("orders/create", &crate::support::shop::order(5).by(&customer(7001, "a@example.com")).json()).await;
        assert_eq!(shop.counters(), ["shopify:7003 | 5 | 24950"], "{order:?}");
    }
}

#[tokio::test]
async fn contradicting_merges_end_and_end_the_same() {
    let circle = [merge(7001, 7002), merge(7002, 7003), merge(7003, 7001), merge(7001, 7004)];
    for order_of in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2]] {
        let shop = Shop::open();
        for id in [7001, 7002, 7003, 7004] {
            shop.tell("orders/create", &order(id).by(&customer(id, "x@example.com")).json()).await;
        }
        for index in order_of {
            shop.tell("customers/merge", &circle[index]).await;
        }
        assert_eq!(shop.counters(), ["shopify:7001 | 3 | 14970", "shopify:7004 | 1 | 4990"], "{order_of:?}");
    }
}

#[tokio::test]
async fn a_shop_that_gives_no_email_still_has_customers() {
    let shop = Shop::open();
    let mut nameless = customer(7001, "");
    for field in ["email", "first_name", "last_name", "phone"] {
        nameless.as_object_mut().unwrap().remove(field);
    }
    shop.tell("orders/create", &order(1).set("customer", nameless).json()).await;
    assert_eq!(shop.counters(), ["shopify:7001 | 1 | 4990"]);
    assert_eq!(shop.row("SELECT email, email_key, first_name FROM customers"), "- | - | -");
}
