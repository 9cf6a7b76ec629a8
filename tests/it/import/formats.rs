//! What the kinds of file become.

use serde_json::json;

use super::{Desk, GENERIC_HEADER, SHOPIFY_HEADER, at, shopify_order, shopify_row};

#[test]
fn a_shopify_export_becomes_orders_and_customers() {
    let desk = Desk::new();
    let export = [
        SHOPIFY_HEADER.to_owned(),
        shopify_order(
            "#1004",
            "5004",
            "anna@example.com",
            "20.00",
            &[("Billing Name", "Anna Weber"), ("Accepts Marketing", "yes")],
        ),
        shopify_row(&[("Name", "#1004"), ("Email", "anna@example.com"), ("Lineitem name", "\"Plate, blue\"")]),
        shopify_order(
            "#1003",
            "5003",
            "ben@example.com",
            "30.00",
            &[("Financial Status", "partially_refunded"), ("Refunded Amount", "12.50")],
        ),
        shopify_order("#1002", "5002", "", "99.00", &[]),
        shopify_order(
            "#1001",
            "5001",
            "ANNA@example.com",
            "10.00",
            &[("Created at", "2024-02-03 04:05:06 +0100"), ("Billing Name", "Anna Schmidt")],
        ),
        shopify_order("#1000", "5000", "ben@example.com", "40.00", &[("Cancelled at", "2025-12-02 10:00:00 -0500")]),
    ]
    .join("\n");
    let report = desk.file("orders.csv", export).report("orders.csv");
    assert_eq!(
        report,
        json!({
            "file": "orders.csv",
            "format": "shopify-csv",
            "rows": 6,
            "orders": { "new": 5, "updated": 0, "unchanged": 0, "rejected": 0 },
            "customers": { "new": 2, "updated": 0 },
            "rounded": 0,
            "rejectedFile": null,
        })
    );
    assert_eq!(
        desk.query(
            "SELECT source, source_id, name, status, net, counted, origin, historical, source_updated_at FROM orders ORDER BY 2"
        ),
        [
            "shopify 5000 #1000 cancelled 0 0 csv 1 -",
            "shopify 5001 #1001 paid 1000 1 csv 1 -",
            "shopify 5002 #1002 paid 9900 1 csv 1 -",
            "shopify 5003 #1003 partially_refunded 1750 1 csv 1 -",
            "shopify 5004 #1004 paid 2000 1 csv 1 -",
        ]
    );
    assert_eq!(
        desk.query("SELECT external_id, email_key, first_name, last_name, consent, order_count, total_spent FROM customers ORDER BY 2"),
        [
            "- anna@example.com Anna Weber subscribed 2 3000", // the name on the newest order, wherever it stands
            "- ben@example.com - - - 1 1750",
        ]
    );
}

#[test]
fn a_generic_csv_becomes_orders_and_customers() {
    let desk = Desk::new();
    desk.file(
        "orders.csv",
        format!(
            "{GENERIC_HEADER}\n\
             1,c1,anna@example.com,2026-01-02T10:00:00Z,10.00,,EUR,paid,Anna,Weber\n\
             2,,guest@example.com,2026-01-03,20.00,5.00,EUR,,,\n\
             3,c1,anna@example.com,2026-01-04T10:00:00Z,30.00,,EUR,pending,Anna,Weber\n\
             4,,ANNA@example.com,2026-01-05T10:00:00Z,40.00,,EUR,completed,,\n"
        ),
    );
    let report = desk.report("orders.csv");
    assert_eq!(report["format"], "csv");
    assert_eq!(report["orders"], json!({ "new": 4, "updated": 0, "unchanged": 0, "rejected": 0 }));
    assert_eq!(report["customers"], json!({ "new": 2, "updated": 0 }));
    // The guest order with Anna's e-mail is Anna's.
    assert_eq!(
        desk.query("SELECT coalesce(external_id, email), order_count, total_spent FROM customers WHERE merged_into IS NULL ORDER BY 1"),
        ["c1 2 5000", "guest@example.com 1 1500"]
    );
}

#[test]
fn shops_with_other_digits() {
    for (currency, total, minor) in [("JPY", "96990", "96990"), ("KWD", "1.234", "1234"), ("EUR", "1.234", "123")] {
        let desk = Desk::with(&format!("currency = \"{currency}\""), "");
        desk.file("generic.csv", format!("order_id,email,ordered_at,total\n1,a@example.com,2026-01-02,{total}\n"));
        desk.file(
            "shopify.csv",
            [SHOPIFY_HEADER, &shopify_order("#2", "5002", "a@example.com", total, &[("Currency", currency)])]
                .join("\n"),
        );
        desk.import(&["generic.csv", "shopify.csv"]).ends_with(0);
        assert_eq!(
            desk.query("SELECT gross, net, currency FROM orders"),
            vec![format!("{minor} {minor} {currency}"); 2]
        );
    }
}

#[test]
fn a_german_spreadsheet() {
    let desk = Desk::with(
        "currency = \"EUR\"",
        "[import]\ndecimal_comma = true\ndate_format = \"%d.%m.%Y %H:%M\"\ntimezone = \"Europe/Berlin\"\n\
         [import.columns]\norder_id = \"Nr\"\nordered_at = \"Datum\"\ntotal = \"Summe\"\nemail = \"E-Mail\"\nlast_name = \"Name\"",
    );
    desk.file("export.csv", b"Nr;Datum;Summe;E-Mail;Name\r\n17;01.07.2026 10:00;1.234,50;m@example.com;M\xfcller\r\n");
    desk.import(&["export.csv"]).ends_with(0);
    assert_eq!(
        desk.query(
            "SELECT source_id, ordered_at, net, last_name FROM orders o JOIN customers c ON c.id = o.customer_id"
        ),
        [format!("17 {} 123450 Müller", at("2026-07-01T08:00:00Z").millis())]
    );
}

#[test]
fn shopify_exports_of_shops_with_no_or_three_decimals() {
    for (code, total, refunded, expected) in [
        ("JPY", "2935", "935", "2935 935 2000"),
        ("JPY", "2935.00", "935.00", "2935 935 2000"),
        ("CLP", "\"12,990\"", "0", "12990 0 12990"),
        ("KWD", "29.350", "9.350", "29350 9350 20000"),
        ("KWD", "\"1,029.350\"", "0.000", "1029350 0 1029350"),
    ] {
        let desk = Desk::with(&format!("currency = \"{code}\""), "");
        let status = if refunded.trim_matches(['0', '.']).is_empty() { "paid" } else { "partially_refunded" };
        let more = [("Currency", code), ("Refunded Amount", refunded), ("Financial Status", status)];
        let row = shopify_order("#1", "1", "anna@example.com", total, &more);
        desk.file("orders.csv", format!("\u{feff}{SHOPIFY_HEADER}\n{row}\n")).import(&["orders.csv"]).ends_with(0);
        assert_eq!(desk.query("SELECT gross, refunded, net FROM orders"), [expected], "{code} {total}");
    }
    let desk = Desk::with("currency = \"CLP\"", "");
    let row = shopify_order("#1", "1", "anna@example.com", "12.990", &[("Currency", "CLP")]);
    let said = desk.file("orders.csv", format!("{SHOPIFY_HEADER}\n{row}\n")).import(&["orders.csv"]);
    assert!(said.ends_with(3).stdout().contains("\"12.990\" may be thousands or decimals"), "{}", said.stdout());
}
