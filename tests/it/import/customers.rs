//! Lists of customers: what they say of people whom orders have told of, and what they may not.

use serde_json::json;

use super::{Desk, GENERIC_HEADER, shopify_order};

const HEADER: &str =
    "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Phone,Total Spent,Total Orders,Tags";

const CUSTOMERS: &str =
    "SELECT external_id, email, first_name, last_name, phone, consent, tags, order_count, total_spent
    FROM customers WHERE merged_into IS NULL ORDER BY email";

#[test]
fn a_list_goes_before_what_orders_tell() {
    let desk = Desk::new();
    let orders = [
        super::SHOPIFY_HEADER.to_owned(),
        shopify_order(
            "#1",
            "1",
            "anna@example.com",
            "10.00",
            &[("Accepts Marketing", "yes"), ("Billing Name", "Anna Old")],
        ),
        shopify_order(
            "#2",
            "2",
            "bob@example.com",
            "20.00",
            &[("Accepts Marketing", "yes"), ("Billing Name", "Bob Box")],
        ),
    ];
    let list = format!(
        "{HEADER}\n'71,Anna,New,anna@example.com,no,'+491,9999.00,99,vip\n'72,,,carl@example.com,yes,,9999.00,99,\n,,,,yes,,,,\n"
    );
    desk.file("orders.csv", orders.join("\n")).file("list.csv", &list);
    let expected = [
        // Anna said no after her order; her orders are hers although they know no id.
        "71 anna@example.com Anna New +491 not_subscribed vip 1 1000",
        "- bob@example.com Bob Box - subscribed - 1 2000",
        // What the shop says a customer spent is no order.
        "72 carl@example.com - - - subscribed - 0 0",
    ];

    desk.import(&["orders.csv"]).ends_with(0);
    let done = desk.import(&["list.csv", "--format", "json"]);
    let report = &done.ends_with(3).json()["files"][0];
    assert_eq!(report["format"], "shopify-customers-csv");
    assert_eq!(
        (&report["rows"], &report["orders"]["new"], &report["orders"]["rejected"]),
        (&json!(3), &json!(0), &json!(0))
    );
    assert_eq!(report["customers"], json!({ "new": 2, "updated": 0, "rejected": 1 }));
    assert_eq!(report["rejectedFile"], "list.csv.rejected.csv");
    assert_eq!(desk.query(CUSTOMERS), expected);

    // Again, each file: nothing changes, whichever was imported last.
    let state = desk.state();
    assert_eq!(desk.report("list.csv")["customers"], json!({ "new": 0, "updated": 0, "unchanged": 2, "rejected": 1 }));
    let orders_again = desk.report("orders.csv");
    assert_eq!((&orders_again["orders"]["unchanged"], &orders_again["customers"]["updated"]), (&json!(2), &json!(0)));
    assert_eq!(desk.state(), state);

    let other_way = Desk::new();
    other_way.file("orders.csv", orders.join("\n")).file("list.csv", &list);
    other_way.import(&["list.csv", "orders.csv"]).ends_with(3);
    assert_eq!(other_way.query(CUSTOMERS), expected);
}

#[test]
fn a_newer_list_replaces_an_older_one() {
    let desk = Desk::new();
    let row = |consent: &str, name: &str| format!("{HEADER}\n71,{name},,anna@example.com,{consent},,,,\n");
    desk.file("list.csv", row("yes", "Anna")).import(&["list.csv"]).ends_with(0);
    desk.file("list.csv", row("no", "")).import(&["list.csv"]).ends_with(0);
    assert_eq!(desk.query("SELECT first_name, consent FROM customers"), ["Anna not_subscribed"], "empty says nothing");
}

#[test]
fn orders_and_customers_of_a_woocommerce_shop() {
    // As in README.md.
    let readme = include_str!("../../../README.md");
    let start = readme.find("[import]\nsource = \"woocommerce\"").expect("the example");
    let example = &readme[start..start + readme[start..].find("```").unwrap()];
    let desk = Desk::with("currency = \"EUR\"\ntimezone = \"Europe/Berlin\"", example);
    desk.file(
        "orders.csv",
        "Order Number,Order Status,Order Date,Customer Note,First Name (Billing),Last Name (Billing),Email (Billing),Phone (Billing),Order Refund Amount,Order Total Amount,Item Name\n\
         727,Processing,2026-01-02 10:11,,Anna,Apple,anna@example.com,,0,29.35,Mug\n\
         728,Completed,2026-01-03 10:11,,Anna,Apple,anna@example.com,,9.35,29.35,Mug\n\
         728,Completed,2026-01-03 10:11,,Anna,Apple,anna@example.com,,9.35,29.35,Plate\n\
         729,Cancelled,2026-01-04 10:11,,Bob,Box,bob@example.com,,0,5,Mug\n",
    );
    desk.file(
        "users.csv",
        "ID,user_login,user_email,first_name,last_name,roles\n25,anna,anna@example.com,Anna,Avocado,customer\n",
    );
    desk.import(&["orders.csv", "users.csv"]).ends_with(0);
    assert_eq!(
        desk.query("SELECT source, source_id, status, net, counted FROM orders ORDER BY source_id"),
        ["woocommerce 727 paid 2935 1", "woocommerce 728 paid 2000 1", "woocommerce 729 cancelled 0 0"]
    );
    assert_eq!(
        desk.query("SELECT source, external_id, last_name, order_count, total_spent FROM customers WHERE external_id IS NOT NULL"),
        ["woocommerce 25 Avocado 2 4935"]
    );
}

#[test]
fn a_dry_run_shows_how_the_file_is_read() {
    let desk = Desk::with(
        "currency = \"EUR\"\ntimezone = \"Europe/Berlin\"",
        "[import]\ndecimal_comma = true\n[import.columns]\ntotal = \"Summe\"",
    );
    desk.file(
        "orders.csv",
        "order_id;customer_id;email;ordered_at;Summe;refunded;note;status\n\
         1;c1;anna@example.com;2026-01-02;1.234,50;;x;paid\n2;;bob@example.com;2026-01-02 10:00;20,00;5,00;x;refunded\n3;;;never;1,00;;x;paid\n",
    );
    let done = desk.import(&["orders.csv", "--dry-run"]);
    let text = done.ends_with(3).stdout();
    insta::assert_snapshot!(text.rsplit_once("Dry run").unwrap().0.trim_end(), @r##"
    orders.csv: a CSV of orders, 3 rows
      columns (between ';'; 1 more are not read)
        order_id     is  order_id
        customer_id  is  customer_id
        email        is  email
        ordered_at   is  ordered_at
        total        is  Summe
        refunded     is  refunded
        status       is  status
      first rows, as they are read
        line 2: order 1, 2026-01-01T23:00:00Z, 1234.50 EUR, paid, customer c1, anna@example.com
        line 3: order 2, 2026-01-02T09:00:00Z, 20.00 EUR, 5.00 refunded, refunded, bob@example.com
        line 4: rejected, ordered_at: "never" is not a date like 2026-11-23 02:00:00; say how the file writes dates with [import] date_format, like "%d.%m.%Y"
      orders     2 new, 0 updated, 0 unchanged, 1 rejected
      customers  2 new, 0 updated
      line 4: ordered_at: "never" is not a date like 2026-11-23 02:00:00; say how the file writes dates with [import] date_format, like "%d.%m.%Y"
    "##);
    let report = &desk.import(&["orders.csv", "--dry-run", "--format", "json"]).json()["files"][0];
    assert_eq!(report["columns"]["total"], "Summe");
    assert_eq!(report["preview"][0]["total"], "1234.50");
    assert_eq!(report["preview"][1]["customer"]["email"], "bob@example.com");
    assert_eq!(report["preview"][2]["line"], 4);
    assert_eq!(desk.query("SELECT count(*) FROM orders"), ["0"]);
    assert!(desk.report("orders.csv").get("preview").is_none(), "an import shows no preview");
}

#[test]
fn the_source_of_a_file_decides_whose_orders_it_holds() {
    let row = format!("{GENERIC_HEADER}\n1,c1,,2026-01-02,10.00,,,,,\n");
    for source in ["csv", "shopify", "woocommerce", "api"] {
        let desk = Desk::with("", &format!("[import]\nsource = \"{source}\""));
        desk.file("orders.csv", &row).import(&["orders.csv"]).ends_with(0);
        assert_eq!(
            desk.query("SELECT o.source, c.source, origin FROM orders o JOIN customers c"),
            [format!("{source} {source} csv")]
        );
    }
}
