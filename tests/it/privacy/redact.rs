//! `customers/redact`: what becomes of whom it names.

use quintile::{
    intake::privacy,
    ledger::Who,
    model::{Source, Timestamp},
};
use serde_json::{Value, json};

use super::{ANNA, NAMES, PHONE, data_request, holds, invariants_hold, redact};

use crate::support::shop::{Shop, customer, merge, order};

type Body = fn(Option<u64>, Option<&str>, Option<&str>) -> Value;

/// Anna with an id, a phone and an order; as a guest with another; and Bert.
async fn shop_with_anna() -> Shop {
    let shop = Shop::open();
    let mut anna = customer(7001, "Anna@Example.com");
    anna["phone"] = json!(PHONE);
    anna["tags"] = json!("loyal");
    shop.tell("customers/create", &anna).await;
    shop.tell("orders/create", &order(1).by(&anna).json()).await;
    shop.tell("orders/create", &order(2).guest(ANNA).json()).await;
    shop.tell("orders/create", &order(3).by(&customer(7002, "bert@example.com")).json()).await;
    assert_eq!(shop.counters(), ["shopify:7001 | 2 | 9980", "shopify:7002 | 1 | 4990"]);
    shop
}

fn anna_is_gone(shop: &Shop) {
    assert_eq!(shop.counters(), ["shopify:7001 | 2 | 9980", "shopify:7002 | 1 | 4990"], "the numbers stay");
    assert_eq!(
        shop.rows(NAMES),
        [
            "7001 | - | - | - | - | - | - | - | 1",
            "guest | - | - | - | - | - | - | - | 1",
            "7002 | bert@example.com | bert@example.com | Anna | Apple | - | - | - | 0",
        ]
    );
    assert_eq!(shop.rows("SELECT source_id, email FROM orders ORDER BY 1"), ["1 | -", "2 | -", "3 | bert@example.com"]);
    assert_eq!(shop.rows("SELECT key FROM aliases"), Vec::<String>::new());
    assert!(!holds(shop, ANNA));
    assert!(!holds(shop, "5550123"));
    assert!(holds(shop, "bert@example.com"), "the search finds what is there");
    invariants_hold(shop);
}

#[tokio::test]
async fn another_shop_forgets_nobody_here() {
    let shop = Shop::open();
    shop.tell("customers/create", &customer(7001, ANNA)).await;
    let requests = [("customers/data_request", data_request as Body), ("customers/redact", redact)];
    for (topic, body) in requests {
        let tell = async |domain: Value| {
            let mut body = body(Some(7001), Some(ANNA), None);
            body["shop_domain"] = domain;
            shop.tell(topic, &body).await;
            shop.last()
        };
        for domain in [json!("pears.myshopify.com"), json!("apples.myshopify.com.example"), json!(""), json!(5)] {
            let (state, reason) = tell(domain.clone()).await;
            assert!(state == "quarantined" && reason.contains("another shop than [shop] id"), "{domain}: {reason}");
        }
        assert_eq!(shop.row("SELECT email FROM customers"), ANNA);
        // As Shopify's own tools send it to try an address out, too.
        for domain in [json!("Apples.MyShopify.com"), json!("{shop}.myshopify.com"), Value::Null] {
            assert_eq!(tell(domain.clone()).await.0, "done", "{topic} {domain}");
        }
    }
    assert_eq!(shop.row("SELECT email FROM customers"), "-");
}

#[tokio::test]
async fn whoever_is_named_in_any_way_is_forgotten_and_the_numbers_stay() {
    for body in [
        redact(Some(7001), Some(ANNA), Some(PHONE)),
        redact(Some(7001), None, None),
        redact(None, Some("ANNA@example.com "), None),
        redact(None, None, Some("0049305550123")),
        json!({ "customer": null, "orders_to_redact": [1] }),
    ] {
        let shop = shop_with_anna().await;
        assert!(holds(&shop, ANNA));
        shop.tell("customers/redact", &body).await;
        assert_eq!(shop.last(), ("done".into(), "the customer was forgotten".into()), "{body}");
        anna_is_gone(&shop);
        let told = shop.rows("SELECT type, customer_id FROM outbox WHERE type = 'customer/redacted'");
        assert_eq!(told.len(), 2, "both ids under which destinations may hold her: {told:?}");
    }
}

#[tokio::test]
async fn forgetting_twice_is_forgetting_once() {
    let shop = shop_with_anna().await;
    for body in [redact(Some(7001), Some(ANNA), None), redact(Some(7001), None, None), redact(None, Some(ANNA), None)] {
        shop.tell("customers/redact", &body).await;
        anna_is_gone(&shop);
    }
    assert_eq!(shop.row("SELECT count(*) FROM outbox WHERE type = 'customer/redacted'"), "2");
    assert_eq!(shop.row("SELECT count(*) FROM customers"), "3");
}

#[tokio::test]
async fn who_came_since_is_forgotten_by_the_same_order_or_phone_too() {
    let shop = Shop::open();
    let mut body = redact(None, None, Some(PHONE));
    body["orders_to_redact"] = json!([1]);
    shop.tell("customers/redact", &body).await;
    shop.tell("orders/create", &order(1).by(&customer(7001, ANNA)).json()).await;
    assert!(holds(&shop, ANNA), "nothing said that this is she");
    shop.tell("customers/redact", &body).await;
    assert_eq!(shop.last(), ("done".to_owned(), "the customer was forgotten".to_owned()));
    assert!(!holds(&shop, ANNA));
    assert_eq!(shop.row("SELECT redacted_at IS NOT NULL FROM customers WHERE external_id = '7001'"), "1");
    invariants_hold(&shop);
}

#[tokio::test]
async fn who_was_never_seen_stays_nameless_when_they_come() {
    for (body, nameless) in [
        (redact(Some(7001), Some(ANNA), None), "shopify:7001 | 2 | 9980"),
        (redact(Some(7001), None, None), "shopify:7001 | 1 | 4990"),
        (redact(None, Some(ANNA), None), "- | 2 | 9980"),
    ] {
        let shop = Shop::open();
        shop.tell("customers/redact", &body).await;
        assert_eq!(shop.row("SELECT count(*) FROM outbox"), "0", "nobody was told of her");
        shop.tell("orders/create", &order(1).by(&customer(7001, "Anna@example.com")).json()).await;
        shop.tell("orders/create", &order(2).guest(ANNA).json()).await;
        shop.tell("customers/update", &customer(7001, ANNA)).await;
        assert!(shop.counters().contains(&nameless.to_owned()), "{body}: {:?}", shop.counters());
        let named = "SELECT count(*) FROM customers WHERE external_id = '7001' AND (email IS NOT NULL OR first_name IS NOT NULL)";
        assert_eq!(shop.row(named), "0", "{body}");
        // An id alone says nothing of the e-mail that another message brings.
        assert_eq!(holds(&shop, ANNA), body["customer"]["email"].is_null(), "{body}");
        invariants_hold(&shop);
    }
}

#[tokio::test]
async fn a_guest_is_forgotten() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).guest(ANNA).json()).await;
    shop.tell("customers/redact", &redact(None, Some(ANNA), None)).await;
    shop.tell("orders/create", &order(2).guest("ANNA@EXAMPLE.COM").json()).await;
    assert_eq!(shop.rows("SELECT order_count, total_spent, email, external_id FROM customers"), ["2 | 9980 | - | -"]);
    assert!(!holds(&shop, ANNA));
    invariants_hold(&shop);
}

#[tokio::test]
async fn who_was_merged_is_forgotten_as_one_whichever_is_told_first() {
    let messages = [
        ("orders/create", order(1).by(&customer(7001, "old@example.com")).json()),
        ("orders/create", order(2).by(&customer(7002, ANNA)).json()),
        ("orders/create", order(3).guest("old@example.com").json()),
        ("customers/merge", merge(7001, 7002)),
        ("customers/redact", redact(Some(7001), Some("old@example.com"), None)),
    ];
    for sequence in
        [[0, 1, 2, 3, 4], [0, 1, 2, 4, 3], [4, 3, 2, 1, 0], [3, 4, 0, 2, 1], [0, 4, 1, 3, 2], [1, 0, 4, 2, 3]]
    {
        let shop = Shop::open();
        for index in sequence {
            let (topic, body) = &messages[index];
            shop.tell(topic, body).await;
        }
        assert_eq!(shop.counters(), ["shopify:7002 | 3 | 14970"], "{sequence:?}");
        assert_eq!(shop.row("SELECT count(*) FROM customers WHERE redacted_at IS NULL"), "0", "{sequence:?}");
        assert_eq!(
            shop.row("SELECT count(*) FROM customers WHERE coalesce(email, first_name, last_name) IS NOT NULL"),
            "0"
        );
        assert!(!holds(&shop, "old@example.com"), "{sequence:?}");
        invariants_hold(&shop);
    }
}

#[tokio::test]
async fn other_ids_with_the_email_are_the_same_person_but_not_a_tills_customers() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).by(&customer(7001, ANNA)).json()).await;
    shop.tell("orders/create", &order(2).by(&customer(7002, ANNA)).json()).await;
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    assert_eq!(shop.row("SELECT count(*) FROM customers WHERE redacted_at IS NOT NULL"), "2");
    assert_eq!(shop.counters(), ["shopify:7001 | 1 | 4990", "shopify:7002 | 1 | 4990"]);

    for id in 100..130 {
        shop.tell("orders/create", &order(id).by(&customer(id, "till@example.com")).json()).await;
    }
    shop.tell("customers/redact", &redact(Some(100), Some("till@example.com"), None)).await;
    assert_eq!(shop.row("SELECT count(*) FROM customers WHERE redacted_at IS NOT NULL"), "3", "one more");
    shop.tell("orders/create", &order(200).by(&customer(200, "till@example.com")).json()).await;
    assert_eq!(
        shop.row("SELECT redacted_at IS NULL, email FROM customers WHERE external_id = '200'"),
        "1 | till@example.com"
    );
}

#[tokio::test]
async fn orders_of_the_forgotten_keep_their_owner_and_say_nothing() {
    let shop = shop_with_anna().await;
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    // The shop forgot her too: the order names nobody, and was refunded in part.
    let nobodys = order(1).status("partially_refunded").current("9.90").updated("2026-11-20T10:00:00Z");
    shop.tell("orders/updated", &nobodys.json()).await;
    assert_eq!(shop.counters(), ["shopify:7001 | 2 | 5980", "shopify:7002 | 1 | 4990"]);
    shop.tell("orders/delete", &json!({ "id": 2 })).await;
    assert_eq!(shop.counters(), ["shopify:7001 | 1 | 990", "shopify:7002 | 1 | 4990"]);
    shop.tell("customers/delete", &json!({ "id": 7001 })).await;
    assert!(!holds(&shop, ANNA));
    invariants_hold(&shop);
}

#[tokio::test]
async fn an_email_on_somebody_elses_order_goes_too() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).by(&customer(7001, ANNA)).json()).await;
    let gift = order(2).by(&customer(7002, "bert@example.com")).set("note", "for anna@example.com");
    shop.tell("orders/create", &gift.json()).await;
    shop.tell("checkouts/create", &json!({ "id": 5, "email": "Anna@example.com", "total_price": "1.00" })).await;
    shop.deliver(shop.webhook("orders/create", format!("{{\"id\":9,\"email\":\"{ANNA}\","))).await;
    assert_eq!(shop.last().0, "quarantined");
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    assert!(!holds(&shop, ANNA));
    let bodies =
        shop.rows("SELECT CAST(body AS TEXT) FROM inbox WHERE topic IN ('checkouts/create') OR state = 'quarantined'");
    assert_eq!(bodies, ["{\"id\":5,\"total_price\":\"1.00\"}", ""]);
    assert_eq!(
        shop.row("SELECT email, first_name FROM customers WHERE external_id = '7002'"),
        "bert@example.com | Anna"
    );
}

#[tokio::test]
async fn a_request_about_nobody_is_quarantined() {
    let shop = Shop::open();
    let short = redact(None, None, Some("12"));
    for body in [json!({}), redact(None, None, None), short, json!({ "customer": { "id": "x" } }), json!([])] {
        shop.tell("customers/redact", &body).await;
        assert_eq!(shop.last().0, "quarantined", "{body}");
    }
    assert_eq!(shop.row("SELECT count(*) FROM customers"), "0");
}

#[tokio::test]
async fn nothing_of_many_neighbours_is_lost_and_nothing_is_left_on_pages_that_were_split() {
    let shop = Shop::open();
    for id in 1..=300 {
        let email = if id == 150 { ANNA.to_owned() } else { format!("c{id}@example.com") };
        let mut who = customer(7000 + id, &email);
        // Bodies of all sizes, some on pages of their own.
        who["note"] = json!("x".repeat(usize::try_from(id).unwrap() * 37));
        shop.tell("customers/create", &who).await;
        shop.tell("orders/create", &order(id).by(&who).json()).await;
    }
    assert!(holds(&shop, ANNA));
    shop.tell("customers/redact", &redact(Some(7150), Some(ANNA), None)).await;
    assert!(!holds(&shop, ANNA));
    assert_eq!(shop.row("SELECT count(*) FROM customers WHERE email IS NOT NULL"), "299");
    assert_eq!(shop.row("SELECT count(*) FROM inbox WHERE instr(body, '@') > 0"), "598");
}

#[tokio::test]
async fn why_an_order_was_refused_repeats_nothing_of_it() {
    let shop = Shop::open();
    let order =
        json!({ "id": "p1", "customer": { "email": ANNA }, "orderedAt": ANNA, "total": ANNA, "status": "paid" });
    let dated = json!({ "id": "p2", "customer": { "email": ANNA }, "orderedAt": "2026-11-20T10:00:00Z", "total": ANNA, "status": "paid" });
    shop.post_orders("m1", &json!({ "orders": [order, dated] }).to_string()).await;
    shop.tell("orders/create", &crate::support::shop::order(1).set("updated_at", ANNA).json()).await;
    assert!(holds(&shop, ANNA));
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    assert!(!holds(&shop, ANNA), "{:?}", shop.rows("SELECT reason FROM inbox"));
    assert!(shop.row("SELECT reason FROM inbox WHERE id = 1").contains("total is not usable"));
}

#[tokio::test]
async fn what_stands_in_addresses_of_pages_goes_too() {
    let shop = Shop::open();
    let bert = customer(7002, "bert@example.com");
    let written = [ANNA, "anna%40example.com", "anna%2540example.com", r"anna\u0040example.com"];
    for (number, email) in (1..).zip(written) {
        let site = format!("/login?email={email}&utm=1#top");
        shop.tell("orders/create", &order(number).by(&bert).set("landing_site", site).json()).await;
    }
    // As other programs write JSON.
    let body = order(9).by(&bert).set("note", "AT").json().to_string().replace("AT", r"/?email=anna\u0040example.com");
    shop.deliver(shop.webhook("orders/create", body)).await;
    let stored = [ANNA, written[1], written[2], written[3], r"anna\\u0040example.com"];
    assert!(stored.iter().all(|email| holds(&shop, email)));
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    for email in stored {
        assert!(!holds(&shop, email), "{email}");
    }
    assert_eq!(shop.counters(), ["shopify:7001 | 0 | 0", "shopify:7002 | 5 | 24950"]);
    assert_eq!(shop.row("SELECT email FROM customers WHERE external_id = '7002'"), "bert@example.com");
    // One that comes later is looked at when it comes.
    shop.tell("orders/create", &order(10).by(&bert).set("landing_site", "/?email=anna%40example.com").json()).await;
    assert!(!holds(&shop, "anna%40example.com"));
}

#[tokio::test]
async fn what_stands_between_punctuation_goes_too() {
    let shop = Shop::open();
    let bert = customer(7002, "bert@example.com");
    let notes = ["tell AT!", "für „AT“", "*AT*", "AT…", "_AT_", "AT%", "`AT`", "AT–urgent", "mail:AT&", "'AT'."];
    let with = |id: u64, note: &str| order(id).by(&bert).set("note", note.replace("AT", ANNA)).json();
    for (id, note) in (1..).zip(notes) {
        shop.tell("orders/create", &with(id, note)).await;
    }
    shop.tell("orders/create", &with(20, "is joAT, not jo-AT")).await;
    let named = "SELECT json_extract(CAST(body AS TEXT), '$.id') FROM inbox WHERE instr(body, 'anna@')";
    assert_eq!(shop.rows(named).len(), notes.len() + 1);
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    assert_eq!(shop.rows(named), ["20"], "that is somebody else");
    for (id, note) in (30..).zip(notes) {
        shop.tell("orders/create", &with(id, note)).await;
    }
    assert_eq!(shop.rows(named), ["20"]);
    assert_eq!(shop.row("SELECT order_count FROM customers WHERE external_id = '7002'"), "21");
}

#[tokio::test]
async fn messages_with_escaped_ids_are_found() {
    let shop = Shop::open();
    let written = [(r"POS\/1", r"K\/17"), (r"\u00fc2", r"K\u00fc18"), (r"\u00f6", r"\u00fc"), ("p4", "K19")];
    for (index, (order, customer)) in written.into_iter().enumerate() {
        let body = r#"{"id":"ORDER","customer":{"id":"CUSTOMER","firstName":"Secret"},"orderedAt":"2026-11-20T10:00:00Z",
            "total":"1.00","status":"paid"}"#;
        let body = body.replace("ORDER", order).replace("CUSTOMER", customer);
        assert_eq!(shop.post_orders(&format!("m{index}"), &body).await.json()["accepted"], 1, "{body}");
    }
    for id in ["K/17", "Kü18", "ü", "K19"] {
        assert!(holds(&shop, "Secret"));
        let who = Who { external_id: Some((Source::Api, id.to_owned())), ..Who::default() };
        let now = Timestamp::from_millis(shop.now());
        let forgotten = shop.database.writer().write(move |tx| Ok(privacy::erase(tx, &who, now)?)).await.unwrap();
        assert_eq!(forgotten.messages, 1, "{id}");
    }
    assert!(!holds(&shop, "Secret"));
}

#[tokio::test]
async fn a_phone_is_found_whatever_is_between_its_digits() {
    let shop = Shop::open();
    let phone = "+49\u{a0}30\u{a0}5550\u{2013}123";
    let body = order(1).drop("email").set("phone", phone).set("billing_address", json!({ "name": "Secret" })).json();
    shop.tell("orders/create", &body).await;
    let escaped = body.to_string().replace('\u{a0}', r"\u00a0").replace('\u{2013}', r"\u2013");
    shop.deliver(shop.webhook("orders/updated", escaped)).await;
    assert_eq!(shop.row("SELECT count(*) FROM inbox WHERE instr(body, 'Secret')"), "2");
    shop.tell("customers/redact", &redact(None, None, Some(PHONE))).await;
    assert!(!holds(&shop, "Secret"));
}

#[tokio::test]
async fn an_email_that_is_the_name_of_a_member_goes_too() {
    let shop = Shop::open();
    let order = json!({ "id": "p1", "customer": { "email": "bert@example.com" }, "orderedAt": "2026-11-20T10:00:00Z",
        "total": "1.00", "status": "paid" });
    let mut shared = order.clone();
    shared["sharedWith"] = json!({ ANNA: "50%" });
    let many = [json!({ "orders": [shared] }), json!([shared]), json!({ ANNA: 1, "orders": [order] }), shared];
    for (index, body) in many.iter().enumerate() {
        shop.post_orders(&format!("m{index}"), &body.to_string()).await;
    }
    assert_eq!(shop.row("SELECT count(*) FROM inbox WHERE instr(body, 'anna@')"), "4");
    shop.tell("customers/redact", &redact(None, Some(ANNA), None)).await;
    assert!(!holds(&shop, ANNA), "{:?}", shop.rows("SELECT CAST(body AS TEXT) FROM inbox"));
    for (index, body) in many.iter().enumerate() {
        shop.post_orders(&format!("n{index}"), &body.to_string()).await;
    }
    assert!(!holds(&shop, ANNA), "{:?}", shop.rows("SELECT CAST(body AS TEXT) FROM inbox"));
}

#[tokio::test]
async fn what_stands_beside_the_orders_of_a_body_goes_too() {
    let shop = Shop::open();
    let order = |id: &str, customers: &str| {
        format!(r#"{{"id":"{id}",{customers},"orderedAt":"2026-11-20T10:00:00Z","total":"1.00","status":"paid"}}"#)
    };
    let anna = format!(r#""customer":{{"id":"c1","email":"{ANNA}"}}"#);
    let bert = r#""customer":{"id":"c2","email":"bert@example.com"}"#;
    let twice = order("p2", &format!("{anna},{bert}"));
    let many = [
        format!(r#"{{"orders":[{}],"sentBy":{{"email":"{ANNA}"}}}}"#, order("p1", &anna)),
        format!(r#"{{"orders":[{twice}],"batch":7}}"#),
        format!("[{twice}]"),
        format!(r#"{{"orders":[{}],"sentBy":"bert@example.com"}}"#, order("p3", bert)),
    ];
    for (index, body) in many.iter().enumerate() {
        shop.post_orders(&format!("m{index}"), body).await;
    }
    let untouched = shop.row("SELECT CAST(body AS TEXT) FROM inbox WHERE id = 4");
    assert!(holds(&shop, ANNA));
    shop.tell("customers/redact", &redact(None, Some(ANNA), None)).await;
    assert!(!holds(&shop, ANNA), "{:?}", shop.rows("SELECT CAST(body AS TEXT) FROM inbox"));
    for (index, body) in many.iter().enumerate() {
        shop.post_orders(&format!("n{index}"), body).await;
    }
    assert!(!holds(&shop, ANNA), "what comes later is looked at when it comes");
    let bodies = shop.rows("SELECT CAST(body AS TEXT) FROM inbox WHERE source = 'api'");
    for bodies in bodies.chunks(4) {
        let [first, second, third, last] = bodies else { panic!("{bodies:?}") };
        assert!(first.contains(r#""id":"c1""#) && !first.contains("sentBy"), "{first}");
        assert!(second.contains("bert@example.com") && second.contains("batch"), "{second}");
        assert!(third.contains("bert@example.com"), "{third}");
        assert_eq!(last, &untouched);
    }
}
