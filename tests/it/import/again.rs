//! Files that come again, or after something else.

use quintile::{
    cli::demo::shop::Shop,
    db::Database,
    ledger,
    model::{OrderStatus, Origin},
};
use serde_json::json;

use super::{Desk, GENERIC_HEADER, SHOPIFY_HEADER, at, made_up_csv, rules, shopify_order};

#[test]
fn the_same_file_twice_changes_nothing() {
    let desk = Desk::new();
    let made_up = made_up_csv(400);
    desk.file("made-up.csv", &made_up.text).file(
        "shopify.csv",
        [
            SHOPIFY_HEADER.to_owned(),
            shopify_order("#2", "5002", "a@example.com", "20.00", &[("Billing Name", "Ann Two")]),
            shopify_order(
                "#1",
                "5001",
                "a@example.com",
                "10.00",
                &[("Billing Name", "Ann One"), ("Accepts Marketing", "no")],
            ),
        ]
        .join("\n"),
    );
    for file in ["made-up.csv", "shopify.csv"] {
        let first = desk.report(file);
        let before = desk.state();
        let again = desk.report(file);
        assert_eq!(
            again["orders"],
            json!({ "new": 0, "updated": 0, "unchanged": first["orders"]["new"], "rejected": 0 })
        );
        assert_eq!(again["customers"], json!({ "new": 0, "updated": 0 }));
        assert_eq!(desk.state(), before);
    }
}

#[test]
fn an_export_with_fewer_columns_takes_nothing_away() {
    let desk = Desk::new();
    let rich = [
        "Name,Id,Email,Financial Status,Total,Outstanding Balance,Refunded Amount,Cancelled at,Created at,Lineitem name",
        "#1,5001,a@example.com,partially_refunded,49.90,0.00,20.00,,2026-01-02 10:00:00 +0100,Mug",
        "#2,5002,a@example.com,partially_paid,49.90,40.00,0.00,,2026-01-02 10:00:00 +0100,Mug",
        "#3,5003,a@example.com,paid,10.00,0.00,0.00,,2026-01-02 10:00:00 +0100,Mug",
        "#4,5004,a@example.com,paid,10.00,0.00,0.00,2026-01-03 10:00:00 +0100,2026-01-02 10:00:00 +0100,Mug",
    ];
    let poor = [
        "Name,Id,Email,Financial Status,Total,Created at,Lineitem name",
        "#1,5001,a@example.com,partially_refunded,49.90,2026-01-02 10:00:00 +0100,Mug",
        "#2,5002,a@example.com,partially_paid,49.90,2026-01-02 10:00:00 +0100,Mug",
        "#3,5003,,paid,10.00,2026-01-02 10:00:00 +0100,Mug",
        "#4,5004,a@example.com,paid,10.00,2026-01-02 10:00:00 +0100,Mug",
    ];
    desk.file("rich.csv", rich.join("\n")).file("poor.csv", poor.join("\n"));
    desk.import(&["rich.csv"]).ends_with(0);
    let before = desk.state();
    assert_eq!(desk.query("SELECT net || ' ' || customer_id FROM orders"), ["0 1", "990 1", "1000 1", "2990 1"]);
    for file in ["poor.csv", "rich.csv"] {
        assert_eq!(desk.report(file)["orders"], json!({ "new": 0, "updated": 0, "unchanged": 4, "rejected": 0 }));
        assert_eq!(desk.state(), before, "{file}");
    }
    // What it does tell holds.
    desk.file("paid.csv", poor.join("\n").replace("partially_refunded", "refunded"));
    assert_eq!(desk.report("paid.csv")["orders"]["updated"], json!(1));
    assert_eq!(desk.query("SELECT net FROM orders WHERE source_id = '5001'"), ["0"]);
}

#[test]
fn orders_that_came_without_their_ids_are_found_by_their_names() {
    let desk = Desk::new();
    let nameless = format!("{SHOPIFY_HEADER}\n{}", shopify_order("#1", "", "a@example.com", "10.00", &[]));
    desk.file("names.csv", nameless);
    let ids = [SHOPIFY_HEADER.to_owned(), shopify_order("#1", "5001", "a@example.com", "12.00", &[])];
    desk.file("ids.csv", ids.join("\n"));
    desk.import(&["names.csv"]).ends_with(0);
    assert_eq!(desk.query("SELECT source_id FROM orders"), ["#1"]);
    assert_eq!(desk.report("ids.csv")["orders"], json!({ "new": 0, "updated": 1, "unchanged": 0, "rejected": 0 }));
    assert_eq!(desk.query("SELECT source_id || ' ' || net FROM orders"), ["5001 1200"]);
}

#[test]
fn a_later_export_brings_orders_up_to_date() {
    let desk = Desk::new();
    let row = |total: &str, email: &str| format!("{GENERIC_HEADER}\n1,c1,{email},2026-01-02,{total},,,,,\n");
    desk.file("a.csv", row("10.00", "a@example.com")).file("b.csv", row("12.00", "new@example.com"));
    desk.import(&["a.csv"]).ends_with(0);
    let report = desk.report("b.csv");
    assert_eq!(report["orders"], json!({ "new": 0, "updated": 1, "unchanged": 0, "rejected": 0 }));
    assert_eq!(report["customers"], json!({ "new": 0, "updated": 1 }));
    assert_eq!(desk.query("SELECT net FROM orders"), ["1200"]);

    // Of an order that a file names twice, the later row stays; so it does when the file comes again.
    desk.file("twice.csv", format!("{GENERIC_HEADER}\n7,c7,,2026-01-02,1.00,,,,,\n7,c7,,2026-01-02,2.00,,,,,\n"));
    let report = desk.report("twice.csv");
    assert_eq!(report["rows"], 2);
    assert_eq!(report["orders"], json!({ "new": 1, "updated": 0, "unchanged": 0, "rejected": 0 }));
    assert_eq!(report["customers"], json!({ "new": 1, "updated": 0 }));
    let before = desk.state();
    let again = desk.report("twice.csv");
    assert_eq!(again["orders"], json!({ "new": 0, "updated": 0, "unchanged": 1, "rejected": 0 }));
    assert_eq!(desk.state(), before);
    assert_eq!(desk.query("SELECT total_spent FROM customers WHERE external_id = 'c7'"), ["200"]);
}

#[test]
fn a_file_never_overwrites_what_a_webhook_told() {
    let desk = Desk::new();
    let row = |total: &str| [SHOPIFY_HEADER, &shopify_order("#1", "5001", "a@example.com", total, &[])].join("\n");
    desk.file("orders.csv", row("10.00")).import(&["orders.csv"]).ends_with(0);

    // The webhook knows the order by the Id of the export.
    let database = Database::open(&desk.path("quintile.db"), "test").unwrap();
    let mut order = Shop::new(1, 1, 1, at("2026-01-01T00:00:00Z")).next().unwrap();
    order.source_id = "5001".to_owned();
    order.origin = Origin::Webhook;
    order.status = OrderStatus::Paid;
    order.cancelled_at = None;
    (order.gross.0, order.current, order.refunded.0) = (2_500, None, 0);
    let rules = rules();
    let now = at("2026-01-02T00:00:00Z");
    database.writer().write_blocking(move |tx| Ok(ledger::apply_order(tx, &rules, &order, now)?)).unwrap();
    drop(database);
    assert_eq!(desk.query("SELECT source_id, net FROM orders"), ["5001 2500"]);

    let report = desk.file("orders.csv", row("11.00")).report("orders.csv");
    assert_eq!(report["orders"], json!({ "new": 0, "updated": 0, "unchanged": 1, "rejected": 0 }));
    assert_eq!(desk.query("SELECT source_id, net FROM orders"), ["5001 2500"]);
}
