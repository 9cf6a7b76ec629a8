//! Nobody who was erased comes back, whichever way in brings them.

use quintile::{intake::csv, ledger::Rules, model::Timestamp};
use serde_json::{Value, json};

use super::{ANNA, NAMES, holds, invariants_hold, redact};
use crate::support::shop::{Shop, consent, customer, order};

const NAMELESS: &str = "7001 | - | - | - | - | - | - | - | 1";

async fn without_anna() -> Shop {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).by(&customer(7001, ANNA)).json()).await;
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    assert_eq!(shop.rows(NAMES), [NAMELESS]);
    shop
}

fn import(shop: &Shop, text: &str) -> csv::FileReport {
    let path = shop.config.database.path.with_file_name("orders.csv");
    std::fs::write(&path, text).unwrap();
    let input = csv::open(&path, None, &csv::Settings::from_config(&shop.config).unwrap()).unwrap();
    let (writer, rules) = (shop.database.writer(), Rules::from_config(&shop.config));
    let now = Timestamp::from_millis(shop.now());
    let report = std::thread::scope(|scope| {
        scope.spawn(|| csv::store(input, writer, &rules, now, csv::Limits::ALONE, &|_| {}).unwrap()).join().unwrap()
    });
    std::fs::remove_file(&path).unwrap();
    report
}

#[tokio::test]
async fn not_by_a_webhook() {
    let shop = without_anna().await;
    let mut again = customer(7001, ANNA);
    again["updated_at"] = json!("2026-11-22T10:00:00Z");
    shop.tell("customers/update", &again).await;
    shop.tell("orders/create", &order(2).by(&again).json()).await;
    shop.tell("orders/create", &order(3).guest("Anna@Example.COM").json()).await;
    shop.tell("customers_email_marketing_consent/update", &consent(7001, "subscribed", "2026-11-22T10:00:00Z")).await;
    assert_eq!(shop.rows(NAMES), [NAMELESS]);
    assert_eq!(shop.counters(), ["shopify:7001 | 3 | 14970"]);
    // Topics that nothing acts on, and bodies that cannot be used, are looked through as well.
    shop.tell("checkouts/create", &json!({ "id": 5, "email": ANNA })).await;
    shop.tell("customers/disable", &json!({ "id": 7001, "first_name": "Annabelle" })).await;
    shop.deliver(shop.webhook("orders/create", format!("{{\"email\":\"{ANNA}\""))).await;
    shop.tell("orders/create", &order(4).by(&again).set("currency", "USD").json()).await;
    assert_eq!(shop.last().0, "quarantined");
    // Her order without her, but with where it went.
    let nobodys = order(1).updated("2026-11-22T10:00:00Z").set("shipping_address", json!({ "name": "Annabelle" }));
    shop.tell("orders/updated", &nobodys.json()).await;
    shop.tell("refunds/create", &json!({ "id": 1, "order_id": 2, "note": "Annabelle called" })).await;
    assert!(!holds(&shop, ANNA) && !holds(&shop, "Annabelle"));
    invariants_hold(&shop);
}

#[tokio::test]
async fn not_by_another_id_with_the_email() {
    let shop = without_anna().await;
    let mut new = customer(7009, "ANNA@example.com");
    new["first_name"] = json!("Annabelle");
    shop.tell("customers/create", &new).await;
    shop.tell("orders/create", &order(2).by(&new).json()).await;
    // Known from now on by that id too.
    new["email"] = json!("annabelle@example.com");
    shop.tell("orders/create", &order(3).by(&new).updated("2026-11-22T10:00:00Z").json()).await;
    assert_eq!(shop.counters(), ["shopify:7001 | 3 | 14970"]);
    assert!(!holds(&shop, ANNA) && !holds(&shop, "annabelle"));
    invariants_hold(&shop);
}

#[tokio::test]
async fn not_by_an_order_that_alone_knows_the_email() {
    let shop = without_anna().await;
    let nameless = |id: u64, email: Value| {
        let mut customer = customer(id, ANNA);
        (customer["email"], customer["first_name"]) = (email, json!("Annabelle"));
        customer
    };
    for (number, field) in [(2, "email"), (3, "contact_email")] {
        let by = nameless(7000 + number, Value::Null);
        let order = order(number).by(&by).set("email", Value::Null).set(field, json!(ANNA));
        shop.tell("orders/create", &order.json()).await;
    }
    assert_eq!(shop.counters(), ["shopify:7001 | 3 | 14970"]);
    // Somebody else, whose order names her, stays who they are; what it says of her is not kept.
    let gift = order(4).by(&customer(7020, "bert@example.com")).set("contact_email", json!(ANNA));
    shop.tell("orders/create", &gift.json()).await;
    shop.tell(
        "orders/create",
        &order(5).by(&nameless(7021, Value::Null)).set("email", ANNA).set("currency", "USD").json(),
    )
    .await;
    assert_eq!(shop.last().0, "quarantined");
    shop.tell("customers_email_marketing_consent/update", &json!({ "customer_id": 7020, "email_address": ANNA })).await;
    assert_eq!(shop.counters().len(), 2);
    assert!(!holds(&shop, ANNA) && !holds(&shop, "Annabelle"));
    invariants_hold(&shop);
}

#[tokio::test]
async fn not_by_a_file_however_the_email_is_written() {
    let shop = without_anna().await;
    let file = "order_id,customer_id,email,ordered_at,total,first_name,last_name
a1,,ANNA@Example.com,2025-11-20T10:00:00Z,10.00,Annabelle,Apple
a2,c7,anna@example.COM,2025-11-21T10:00:00Z,20.00,Annabelle,Apple
a3,c8,bert@example.com,2025-11-21T10:00:00Z,30.00,Bert,Birne
";
    let report = import(&shop, file);
    assert_eq!((report.orders.new, report.customers.new), (3, 1), "of her nothing is new");
    let again = import(&shop, file);
    assert_eq!((again.orders.unchanged, again.orders.updated, again.customers.updated), (3, 0, 0));
    assert_eq!(shop.counters(), ["csv:c8 | 1 | 3000", "shopify:7001 | 3 | 7990"]);
    assert!(!holds(&shop, ANNA) && !holds(&shop, "Annabelle") && holds(&shop, "birne"));
    invariants_hold(&shop);
}

#[tokio::test]
async fn not_by_the_api() {
    let shop = without_anna().await;
    let order = |id: &str, email: &str| {
        json!({ "id": id, "customer": { "email": email, "firstName": "Annabelle", "phone": "030 5550123" },
            "orderedAt": "2026-11-20T10:00:00Z", "total": "10.00", "status": "paid" })
    };
    let body = json!({ "orders": [order("p1", "Anna@example.com"), order("p2", "bert@example.com")] }).to_string();
    assert_eq!(shop.post_orders("m1", &body).await.json()["accepted"], 2);
    assert_eq!(shop.counters(), ["guest:bert@example.com | 1 | 1000", "shopify:7001 | 2 | 5990"]);
    assert!(!holds(&shop, ANNA));
    let stored = shop.row("SELECT CAST(body AS TEXT) FROM inbox WHERE source = 'api'");
    assert!(stored.contains("bert@example.com"), "of the others everything stays: {stored}");
    // A copy is still one.
    assert_eq!(shop.post_orders("m1", &body).await.json()["accepted"], 2);
    assert_eq!(shop.counters(), ["guest:bert@example.com | 1 | 1000", "shopify:7001 | 2 | 5990"]);
    invariants_hold(&shop);
}

#[tokio::test]
async fn a_household_that_shares_the_phone_is_not_erased_with_it() {
    let shop = Shop::open();
    let with_phone = |id, email: &str| {
        let mut who = customer(id, email);
        who["phone"] = json!("030 5550123");
        who
    };
    shop.tell("customers/create", &with_phone(7001, ANNA)).await;
    shop.tell("customers/create", &with_phone(7002, "bert@example.com")).await;
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), Some("0305550123"))).await;
    shop.tell("customers/update", &with_phone(7003, "cleo@example.com")).await;
    let named = shop.rows("SELECT external_id, phone FROM customers WHERE redacted_at IS NULL ORDER BY 1");
    assert_eq!(named, ["7002 | 030 5550123", "7003 | 030 5550123"]);
    // Where nothing else is told, the phone is all there is to know her by.
    shop.tell("customers/create", &with_phone(7004, "")).await;
    assert_eq!(shop.row("SELECT redacted_at IS NOT NULL, phone FROM customers WHERE external_id = '7004'"), "1 | -");
}

#[tokio::test]
async fn who_takes_the_email_over_keeps_their_own_name() {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).by(&customer(7001, ANNA)).json()).await;
    shop.tell("orders/create", &order(2).by(&customer(7002, "bert@example.com")).json()).await;
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    let mut bert = customer(7002, ANNA);
    bert["updated_at"] = json!("2026-11-22T10:00:00Z");
    shop.tell("customers/update", &bert).await;
    assert_eq!(shop.row("SELECT email, redacted_at FROM customers WHERE external_id = '7002'"), "bert@example.com | -");
    assert!(!holds(&shop, ANNA));
}
