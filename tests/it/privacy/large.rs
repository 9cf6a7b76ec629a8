//! An inbox that is too large to be searched at once.

use quintile::{
    db::Database,
    intake::privacy::{Worked, work_off},
};
use rusqlite::params;

use super::{ANNA, files_hold, holds, redact};
use crate::support::shop::{Shop, customer, merge, order};

/// Messages of others, and every thousandth of Anna's.
async fn shop_with(messages: i64) -> Shop {
    let shop = Shop::open();
    shop.tell("orders/create", &order(1).by(&customer(7001, ANNA)).json()).await;
    let write = shop.database.writer().write(move |tx| {
        let mut insert = tx.prepare(
            "INSERT INTO inbox (source, topic, body_hash, headers, body, state, received_at)
             VALUES ('shopify', 'checkouts/create', x'', '{}', ?1, 'ignored', 1)",
        )?;
        for number in 1..=messages {
            let email = if number % 1000 == 0 { ANNA.to_owned() } else { format!("c{number}@example.com") };
            let body = format!("{{\"id\":{number},\"email\":\"{email}\",\"note\":\"{}\"}}", "x".repeat(300));
            insert.execute(params![body.as_bytes()])?;
        }
        Ok(())
    });
    write.await.unwrap();
    shop
}

async fn work(database: &Database) -> Worked {
    let (readers, writer) = (database.readers().clone(), database.writer().clone());
    let folder = database.path().parent().unwrap().to_owned();
    tokio::task::spawn_blocking(move || work_off(&readers, &writer, &folder, &|| false)).await.unwrap().unwrap()
}

#[tokio::test]
async fn it_is_searched_to_its_end_also_after_a_crash() {
    let shop = shop_with(4500).await;
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    // The first slice went with the message itself; orders were not kept waiting for the rest.
    assert_eq!(shop.row("SELECT kind, position, last FROM privacy_tasks"), "erase | 1000 | 4501");
    assert!(holds(&shop, ANNA));
    // What comes meanwhile is looked at when it comes.
    shop.tell("checkouts/create", &serde_json::json!({ "id": 9, "email": ANNA })).await;

    // Cut off after another slice, as a crash would.
    let cut = "UPDATE inbox SET body = x'7b7d' WHERE id <= 2000 AND instr(body, 'anna@'); UPDATE privacy_tasks SET position = 2000";
    shop.database.writer().write(move |tx| Ok(tx.execute_batch(cut)?)).await.unwrap();
    let worked = work(&shop.database).await;
    assert_eq!((worked.messages, worked.erasures), (3, 1));
    assert_eq!(shop.row("SELECT count(*) FROM privacy_tasks"), "0", "what was looked for is forgotten too");
    assert!(!holds(&shop, ANNA));
    assert_eq!(shop.row("SELECT count(*) FROM inbox WHERE instr(body, '@example.com')"), "4496");
    assert_eq!(work(&shop.database).await, Worked::default());
}

/// No index leads from an e-mail to the orders of somebody else.
#[tokio::test]
async fn orders_of_others_with_the_e_mail_are_looked_for_while_orders_come_in() {
    let shop = shop_with(0).await;
    let others = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 250000)
                  INSERT INTO orders (source, source_id, customer_ref, email, email_key, status, currency, gross, net, counted, origin, received_at)
                  SELECT 'shopify', 'x' || i, '9', iif(i % 100000 = 7, ?1, 'c@example.com'), iif(i % 100000 = 7, ?1, 'c@example.com'),
                    'paid', 'EUR', 1, 1, 0, 'webhook', 1 FROM n";
    shop.database.writer().write(move |tx| Ok(tx.execute(others, [ANNA])?)).await.unwrap();
    let count = format!("SELECT count(*) FROM orders WHERE email = '{ANNA}' OR email_key = '{ANNA}'");
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    assert_eq!(shop.row(&count), "3", "her own is blank at once");

    // Killed in the middle, or told to stop there.
    let (readers, writer) = (shop.database.readers().clone(), shop.database.writer().clone());
    let folder = shop.config.database.path.parent().unwrap().to_owned();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    let stop = move || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 1;
    tokio::task::spawn_blocking(move || work_off(&readers, &writer, &folder, &stop)).await.unwrap().unwrap();
    assert_eq!(shop.row(&count), "2");
    let worked = work(&shop.database).await;
    assert_eq!((worked.orders, worked.erasures), (2, 1));
    assert!(shop.database.readers().empty_log().unwrap());
    assert!(!files_hold(&shop.config.database.path, ANNA));
    assert_eq!(shop.row("SELECT count(*) FROM privacy_tasks"), "0");
}

/// Whoever has seen one can send it again, without end.
#[tokio::test]
async fn what_was_forgotten_is_not_searched_for_again() {
    let shop = shop_with(1500).await;
    let bert = customer(7002, "bert@example.com");
    shop.tell("customers/create", &bert).await;
    let of_anna = redact(Some(7001), Some(ANNA), None);
    let into_anna = merge(7002, 7001);
    shop.tell("customers/redact", &of_anna).await;
    shop.tell("customers/merge", &into_anna).await;
    assert_eq!(shop.row("SELECT count(*) FROM customers WHERE redacted_at IS NULL"), "0");
    let state = || shop.rows("SELECT id, keys FROM privacy_tasks UNION ALL SELECT type, customer_id FROM outbox");
    let searches = state();
    assert_eq!(shop.row("SELECT count(*) FROM privacy_tasks"), "2", "one for Anna, one for Bert");
    for _ in 0..2 {
        shop.tell("customers/redact", &of_anna).await;
        let (told, reason) = shop.last();
        assert!(told == "ignored" && reason.contains("the same request as message 1503"), "{told}: {reason}");
        assert_eq!(shop.row("SELECT length(body) FROM inbox ORDER BY id DESC LIMIT 1"), "0");
        shop.tell("customers/merge", &into_anna).await;
        assert_eq!(shop.last().0, "done");
        assert_eq!(state(), searches);
    }
    work(&shop.database).await;
    assert!(!holds(&shop, ANNA) && !holds(&shop, "bert@example.com"));
    // Another request, by other bytes.
    shop.tell("customers/redact", &redact(Some(7001), None, None)).await;
    assert_eq!(shop.last().0, "done");
}

#[tokio::test]
async fn it_stops_when_told_and_goes_on_later() {
    let shop = shop_with(4500).await;
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    let (readers, writer) = (shop.database.readers().clone(), shop.database.writer().clone());
    let folder = shop.config.database.path.parent().unwrap().to_owned();
    let asked = std::sync::atomic::AtomicUsize::new(0);
    // Asked before the task and after each slice.
    let stop = move || asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) >= 2;
    let stopped =
        tokio::task::spawn_blocking(move || work_off(&readers, &writer, &folder, &stop)).await.unwrap().unwrap();
    assert_eq!((stopped.messages, stopped.erasures), (2, 0));
    assert_eq!(shop.row("SELECT position FROM privacy_tasks"), "3000");
    assert_eq!(work(&shop.database).await.messages, 2);
    assert!(!holds(&shop, ANNA));
}

#[tokio::test]
async fn two_at_a_time_do_it_once() {
    let shop = shop_with(4500).await;
    shop.tell("customers/redact", &redact(Some(7001), Some(ANNA), None)).await;
    let beside = Database::beside(&shop.config.database.path).unwrap();
    let (here, there) = tokio::join!(work(&shop.database), work(&beside));
    assert!(here.erasures + there.erasures >= 1);
    drop(beside);
    assert!(shop.database.readers().empty_log().unwrap());
    assert!(!files_hold(&shop.config.database.path, ANNA));
    assert_eq!(shop.row("SELECT count(*) FROM privacy_tasks"), "0");
}
