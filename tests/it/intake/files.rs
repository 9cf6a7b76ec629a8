//! The ledger's rule for states without a version: files fill, and never overwrite what the shop
//! itself has told.

use quintile::{
    config::Config,
    ledger::{self, Change, LedgerError, Rules},
    model::{Currency, Money, Order, OrderStatus, Origin, Person, Source, Timestamp},
};

use crate::support::shop::{NOON, Shop, customer, order};

fn row(id: &str, total: i64) -> Order {
    Order {
        source: Source::Shopify,
        source_id: id.to_owned(),
        person: Some(Person {
            external_id: Some("7001".to_owned()),
            email: Some("file@example.com".to_owned()),
            first_name: Some("File".to_owned()),
            last_name: Some(String::new()),
            consent: Some("subscribed".to_owned()),
            consent_at: Some(Timestamp::from_millis(NOON)),
            ..Person::unknown(Source::Shopify)
        }),
        name: Some(format!("#{id}")),
        status: OrderStatus::Paid,
        is_test: false,
        currency: Currency::EUR,
        gross: Money(total),
        current: None,
        outstanding: None,
        refunded: Money::ZERO,
        net_payment: None,
        ordered_at: Timestamp::from_millis(NOON - 1_000_000),
        created_at: None,
        cancelled_at: None,
        updated_at: None,
        triggered_at: None,
        origin: Origin::Csv,
        historical: true,
    }
}

/// Imports rows in one transaction; what each did.
async fn import(shop: &Shop, rows: Vec<Order>) -> Vec<Change> {
    let rules = Rules::from_config(&shop.config);
    let imported = shop.database.writer().write(move |tx| {
        let now = Timestamp::from_millis(NOON);
        rows.iter().map(|row| Ok(ledger::apply_order(tx, &rules, row, now)?.order)).collect()
    });
    imported.await.unwrap()
}

const ROW: &str = "SELECT origin, net, historical, source_updated_at IS NULL FROM orders";

#[tokio::test]
async fn the_same_file_twice_changes_nothing_and_a_newer_one_wins() {
    let shop = Shop::open();
    assert_eq!(import(&shop, vec![row("1", 1000), row("2", 500)]).await, [Change::New, Change::New]);
    assert_eq!(import(&shop, vec![row("1", 1000), row("2", 500)]).await, [Change::Unchanged, Change::Unchanged]);
    assert_eq!(shop.counters(), ["shopify:7001 | 2 | 1500"]);
    assert_eq!(import(&shop, vec![row("1", 900)]).await, [Change::Updated]);
    assert_eq!(shop.counters(), ["shopify:7001 | 2 | 1400"]);
}

#[tokio::test]
async fn what_the_shop_told_wins_over_a_file_in_either_order() {
    let body = order(1).by(&customer(7001, "anna@example.com")).json();
    let person = "SELECT email, first_name, last_name, consent, consent_version IS NULL FROM customers";

    let shop = Shop::open();
    shop.tell("orders/create", &body).await;
    assert_eq!(import(&shop, vec![row("1", 1000)]).await, [Change::Stale]);
    assert_eq!(shop.row(ROW), "webhook | 4990 | 0 | 0");
    // What the shop does not speak of, a file may fill.
    assert_eq!(shop.row(person), "anna@example.com | Anna | Apple | subscribed | 1");

    let shop = Shop::open();
    assert_eq!(import(&shop, vec![row("1", 1000)]).await, [Change::New]);
    assert_eq!(shop.row(person), "file@example.com | File | - | subscribed | 1");
    shop.tell("orders/create", &body).await;
    // Still history: it was no live order of today's.
    assert_eq!(shop.row(ROW), "webhook | 4990 | 1 | 0");
    assert_eq!(shop.row(person), "anna@example.com | Anna | Apple | subscribed | 1");
    assert_eq!(shop.counters(), ["shopify:7001 | 1 | 4990"]);
}

#[tokio::test]
async fn a_file_does_not_bring_a_deleted_order_back() {
    for file_first in [true, false] {
        let shop = Shop::open();
        if file_first {
            import(&shop, vec![row("1", 1000)]).await;
        }
        shop.tell("orders/delete", &serde_json::json!({ "id": 1 })).await;
        if !file_first {
            assert_eq!(import(&shop, vec![row("1", 1000)]).await, [Change::Updated]);
        }
        assert_eq!(shop.row("SELECT origin, net, counted, deleted_at IS NULL FROM orders"), "csv | 1000 | 0 | 0");
        assert_eq!(shop.counters(), ["shopify:7001 | 0 | 0"]);
    }
}

#[tokio::test]
async fn rows_of_a_batch_are_refused_one_by_one() {
    let shop = Shop::open();
    let rules = Rules::from_config(&Config::default());
    let mut dollars = row("2", 500);
    dollars.currency = Currency::new("USD").unwrap();
    let rejected = shop.database.writer().write(move |tx| {
        let now = Timestamp::from_millis(NOON);
        ledger::apply_order(tx, &rules, &row("1", 1000), now)?;
        let error = ledger::apply_order(tx, &rules, &dollars, now).unwrap_err();
        ledger::apply_order(tx, &rules, &row("3", 1000), now)?;
        Ok(matches!(error, LedgerError::Rejected(_)))
    });
    assert!(rejected.await.unwrap());
    assert_eq!(shop.counters(), ["shopify:7001 | 2 | 2000"]);
}
