//! The table "What an order is worth", through real bodies.

use quintile::config::Config;

use crate::support::shop::{OrderBody, Shop, order};

fn paid() -> OrderBody {
    order(1).guest("anna@example.com").total("100.00")
}

#[tokio::test]
async fn the_table() {
    let partly = |status: &str| paid().status(status).set("total_outstanding", "30.00");
    check(|_| {}, &[
        ("paid", paid(), 10_000, true),
        ("paid, edited down", paid().current("80.00"), 8_000, true),
        ("paid through the API, its price outstanding", paid().set("total_outstanding", "100.00"), 10_000, true),
        ("paid, amounts as numbers", paid().drop("current_total_price_set").set("current_total_price", 80.1), 8_010, true),
        ("test", paid().set("test", true), 0, false),
        ("cancelled", paid().set("cancelled_at", "2026-11-02T10:00:00Z"), 0, false),
        ("pending", partly("pending"), 0, false),
        ("authorized", partly("authorized"), 0, false),
        ("voided", partly("voided"), 0, false),
        ("expired", partly("expired"), 0, false),
        ("of a status to come", partly("on_the_moon"), 0, false),
        ("without a status", paid().drop("financial_status"), 0, false),
        ("partially paid", partly("partially_paid"), 7_000, true),
        ("partially refunded", paid().status("partially_refunded").current("60.00").refund("40.00"), 6_000, true),
        ("refunded", paid().status("refunded").current("0.00").refund("100.00"), 0, false),
        ("overpaid", paid().status("partially_refunded").current("60.00").set("total_outstanding", "-5.00"), 6_500, true),
        ("owes more than is left", partly("partially_refunded").current("20.00"), 0, false),
        ("an old body, paid", paid().old_shape(), 10_000, true),
        ("an old body, partially paid", partly("partially_paid").old_shape(), 10_000, true),
        (
            "an older body, refunds but no current price",
            paid().status("partially_refunded").refund("15.50").refund("4.50").drop("current_total_price").drop("current_total_price_set"),
            8_000,
            true,
        ),
        (
            "refunded more than it cost",
            paid().status("refunded").refund("150.00").drop("current_total_price").drop("current_total_price_set"),
            0,
            false,
        ),
        ("a set in the buyer's currency alone is not read", paid().set("current_total_price_set", serde_json::json!({
            "shop_money": { "amount": "1.00", "currency_code": "USD" }, "presentment_money": { "amount": "2.00", "currency_code": "USD" } })), 10_000, true),
        ("free", paid().total("0.00"), 0, false),
    ])
    .await;
}

#[tokio::test]
async fn cash_on_delivery() {
    check(
        |config| config.orders.count_pending = true,
        &[
            ("pending", paid().status("pending").set("total_outstanding", "100.00"), 10_000, true),
            ("authorized", paid().status("authorized").current("90.00"), 9_000, true),
            ("voided", paid().status("voided"), 0, false),
            ("expired", paid().status("expired"), 0, false),
            ("pending, cancelled", paid().status("pending").set("cancelled_at", "2026-11-02T10:00:00Z"), 0, false),
        ],
    )
    .await;
}

#[tokio::test]
async fn gifts() {
    check(
        |config| config.orders.count_zero_value = true,
        &[
            ("free", paid().total("0.00"), 0, true),
            ("refunded to nothing", paid().status("refunded").current("0.00").refund("100.00"), 0, false),
            ("free, a test", paid().total("0.00").set("test", true), 0, false),
            ("free, cancelled", paid().total("0.00").set("cancelled_at", "2026-11-02T10:00:00Z"), 0, false),
            ("free, not confirmed", paid().total("0.00").status("pending"), 0, false),
        ],
    )
    .await;
}

async fn check(configure: impl FnOnce(&mut Config), cases: &[(&str, OrderBody, i64, bool)]) {
    let shop = Shop::open_with(configure);
    for (number, (case, body, net, counted)) in (1..).zip(cases) {
        shop.tell("orders/updated", &body.clone().set("id", number).drop("admin_graphql_api_id").json()).await;
        let stored = shop.row(&format!("SELECT net, counted FROM orders WHERE source_id = '{number}'"));
        assert_eq!(stored, format!("{net} | {}", i64::from(*counted)), "{case}: {:?}", shop.last());
    }
    let (spent, count) =
        cases.iter().filter(|case| case.3).fold((0, 0), |(spent, count), case| (spent + case.2, count + 1));
    assert_eq!(shop.counters(), [format!("guest:anna@example.com | {count} | {spent}")]);
}

#[tokio::test]
async fn the_average_is_rounded_half_to_even() {
    let shop = Shop::open();
    let average = || shop.row("SELECT avg_order_value FROM customers");
    for (id, total, expected) in [(1, "0.01", "1"), (2, "0.02", "2"), (3, "0.05", "3"), (4, "0.02", "2")] {
        shop.tell("orders/create", &order(id).guest("anna@example.com").total(total).json()).await;
        // 1; 3/2 = 1.5; 8/3 = 2.67; 10/4 = 2.5
        assert_eq!(average(), expected, "after {total}");
    }
}

#[tokio::test]
async fn the_date_is_when_it_was_processed_else_created() {
    let shop = Shop::open();
    let imported = order(1).set("created_at", "2026-11-01T10:00:00Z").set("processed_at", "2019-05-01T10:00:00Z");
    shop.tell("orders/create", &imported.json()).await;
    shop.tell(
        "orders/create",
        &order(2).set("created_at", "2026-11-01T10:00:00Z").set("processed_at", serde_json::Value::Null).json(),
    )
    .await;
    assert_eq!(shop.rows("SELECT ordered_at FROM orders ORDER BY source_id"), ["1556704800000", "1793527200000"]);
}

#[tokio::test]
async fn other_currencies_have_other_digits() {
    for (code, total, net) in [("JPY", "96990", 96_990), ("KWD", "12.345", 12_345), ("EUR", "12.345", 1_234)] {
        let shop = Shop::open_with(|config| config.shop.currency = quintile::model::Currency::new(code).unwrap());
        let body = order(1).drop("total_price_set").drop("current_total_price_set").set("currency", code);
        let body = body.set("total_price", total).set("current_total_price", total);
        shop.tell("orders/create", &body.json()).await;
        assert_eq!(shop.row("SELECT net, currency FROM orders"), format!("{net} | {code}"));
        let rounded = shop.last().1;
        assert_eq!(rounded.contains("rounded"), code == "EUR", "{rounded}");
    }
}
