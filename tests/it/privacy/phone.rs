//! Who is known to a request by a phone alone, in a shop with so many customers that not all of their phones are
//! looked at while orders wait.

use std::sync::atomic::{AtomicUsize, Ordering};

use quintile::intake::privacy::{Worked, work_off};
use serde_json::{Value, json};

use super::{ANNA, NAMES, PHONE, data_request, files_hold, invariants_hold, redact};
use crate::support::shop::{Shop, customer, order};

/// More than one slice of those who are looked through while others write.
const MANY: i64 = 120_000;
/// More than are looked through at once.
const MORE_THAN_FEW: i64 = 21_000;

/// Anna with a phone and an order, then `others` who have other phones, then Bert and Cleo.
async fn shop_with(others: i64) -> Shop {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).by(&called(7001, ANNA, PHONE)).json()).await;
    shop.tell("customers/create", &called(7001, ANNA, PHONE)).await;
    let fill = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                INSERT INTO customers (source, external_id, phone, created_at)
                SELECT 'shopify', 'x' || i, '+49 40 ' || (1000000 + i), 1 FROM n WHERE ?1 > 0";
    shop.database.writer().write(move |tx| Ok(tx.execute(fill, [others])?)).await.unwrap();
    shop.tell("customers/create", &called(7002, "bert@example.com", "030 777777")).await;
    shop.tell("customers/create", &called(7003, "cleo@example.com", "0049305550123")).await;
    shop
}

fn called(id: u64, email: &str, phone: &str) -> Value {
    let mut who = customer(id, email);
    who["phone"] = json!(phone);
    who
}

async fn work(shop: &Shop, stop_after: usize) -> Worked {
    let (readers, writer) = (shop.database.readers().clone(), shop.database.writer().clone());
    let folder = shop.config.database.path.parent().unwrap().to_owned();
    let asked = AtomicUsize::new(0);
    let stop = move || asked.fetch_add(1, Ordering::Relaxed) >= stop_after;
    tokio::task::spawn_blocking(move || work_off(&readers, &writer, &folder, &stop)).await.unwrap().unwrap()
}

/// What is known of those who were not made up.
fn names(shop: &Shop) -> Vec<String> {
    let names = NAMES.replace("ORDER BY id", "WHERE external_id LIKE '70%' ORDER BY external_id");
    shop.rows(&names)
}

#[tokio::test]
async fn they_are_looked_for_while_orders_come_in() {
    let shop = shop_with(MANY).await;
    shop.tell("customers/redact", &redact(None, None, Some(PHONE))).await;
    assert_eq!(shop.last(), ("done".into(), "the customer was forgotten".into()));
    assert_eq!(
        shop.row("SELECT count(*) FROM customers WHERE redacted_at IS NOT NULL"),
        "1",
        "nobody's name is gone yet"
    );
    // From now on nobody comes in by it: neither somebody new nor somebody known.
    shop.tell("orders/create", &order(5).by(&called(7005, "", PHONE)).json()).await;
    shop.tell("customers/update", &called(7002, "", PHONE)).await;
    assert_eq!(shop.row("SELECT phone FROM customers WHERE external_id = '7002'"), "030 777777");
    // She has another one by now; and somebody in her household came later.
    let update = called(7003, "cleo@example.com", "030 999999").to_string().replace("2026-10-01", "2026-10-02");
    shop.deliver(shop.webhook("customers/update", update)).await;
    shop.tell("customers/create", &called(7004, "dora@example.com", PHONE)).await;

    // Killed in the middle, or told to stop there: before the task is asked, then behind its first slice.
    let worked = work(&shop, 1).await;
    assert_eq!((worked.customers, worked.erasures), (1, 0), "Anna is among the first");
    assert_eq!(shop.row("SELECT count(*) FROM privacy_tasks"), "1");
    let worked = work(&shop, usize::MAX).await;
    assert_eq!((worked.customers, worked.erasures), (0, 1));
    assert_eq!(shop.row("SELECT count(*) FROM privacy_tasks"), "0");
    assert_eq!(
        names(&shop),
        [
            "7001 | - | - | - | - | - | - | - | 1",
            "7002 | bert@example.com | bert@example.com | Anna | Apple | 030 777777 | - | - | 0",
            "7003 | cleo@example.com | cleo@example.com | Anna | Apple | 030 999999 | - | - | 0",
            "7004 | dora@example.com | dora@example.com | Anna | Apple | +49 30 5550123 | - | - | 0",
            "7005 | - | - | - | - | - | - | - | 1",
        ]
    );
    let annas = "SELECT order_count, total_spent FROM customers WHERE external_id = '7001'";
    assert_eq!(shop.row(annas), "2 | 9980", "what came for the phone alone counts for her");
    let told = "SELECT count(*) FROM outbox o JOIN customers c ON c.id = o.customer_id
                WHERE o.type = 'customer/redacted' AND c.external_id = '7001'";
    assert_eq!(shop.row(told), "1");
    assert!(shop.database.readers().empty_log().unwrap());
    assert!(!files_hold(&shop.config.database.path, ANNA));
    invariants_hold(&shop);

    // Whatever comes later counts for her too.
    shop.tell("orders/create", &order(6).by(&called(7006, "", PHONE)).json()).await;
    shop.tell("orders/create", &order(7).by(&customer(7001, ANNA)).json()).await;
    assert_eq!(shop.row(annas), "4 | 19960");
    invariants_hold(&shop);
}

#[tokio::test]
async fn a_large_shop_ends_as_a_small_one_does() {
    for request in [redact(None, None, Some(PHONE)), redact(Some(7009), Some("unknown@example.com"), Some(PHONE))] {
        let mut ends = Vec::new();
        for others in [0, MORE_THAN_FEW] {
            let shop = shop_with(others).await;
            shop.tell("customers/redact", &request).await;
            shop.tell("orders/create", &order(5).by(&called(7005, "", PHONE)).json()).await;
            shop.tell("orders/create", &order(9).by(&customer(7009, "another@example.com")).json()).await;
            while shop.row("SELECT count(*) FROM privacy_tasks") != "0" {
                work(&shop, usize::MAX).await;
            }
            let counters: Vec<String> = shop
                .rows("SELECT external_id, order_count, total_spent FROM customers WHERE order_count > 0 ORDER BY 1");
            let told = shop.rows(
                "SELECT c.external_id FROM outbox o JOIN customers c ON c.id = o.customer_id
                 WHERE o.type = 'customer/redacted' ORDER BY 1",
            );
            invariants_hold(&shop);
            ends.push((names(&shop), counters, told));
        }
        assert_eq!(ends[0].2, ["7001", "7003"], "both have the phone");
        assert_eq!(ends[0], ends[1], "{request}");
    }
}

#[tokio::test]
async fn the_file_of_one_who_asks_holds_what_is_known_of_them() {
    let shop = shop_with(MORE_THAN_FEW).await;
    shop.tell("customers/data_request", &data_request(None, None, Some(PHONE))).await;
    let [path] = work(&shop, usize::MAX).await.files.try_into().unwrap();
    let known: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let ids: Vec<_> = known["customers"].as_array().unwrap().iter().map(|it| it["externalId"].clone()).collect();
    assert_eq!(ids, ["7001", "7003"]);
    assert_eq!(known["orders"].as_array().unwrap().len(), 1);
}
