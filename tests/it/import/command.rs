//! The command: what it says, and what it refuses.

use quintile::db::Database;

use super::{Desk, GENERIC_HEADER, made_up_csv};

#[test]
fn a_dry_run_says_what_would_happen_and_stores_nothing() {
    let desk = Desk::new();
    let made_up = made_up_csv(1_500); // more than one batch
    desk.file("orders.csv", format!("{}x,,,never,,,,,,\n", made_up.text));
    let dry = desk.import(&["orders.csv", "orders.csv", "--dry-run", "--format", "json"]);
    let mut said = dry.ends_with(3).json();
    assert_eq!(desk.query("SELECT count(*) FROM orders UNION ALL SELECT count(*) FROM customers"), ["0", "0"]);
    assert!(!desk.path("orders.csv.rejected.csv").exists());
    assert_eq!(said["files"][0]["orders"]["new"], made_up.orders);
    assert_eq!(said["files"][1]["orders"]["unchanged"], made_up.orders);

    let mut done = desk.import(&["orders.csv", "orders.csv", "--format", "json"]).ends_with(3).json();
    for report in [&mut said, &mut done] {
        report["durationMs"].take();
        for file in report["files"].as_array_mut().unwrap() {
            file["rejectedFile"].take();
            // Only what a dry run shows.
            let members = file.as_object_mut().unwrap();
            assert_eq!(members.remove("columns").is_some(), members.remove("preview").is_some());
        }
    }
    assert_eq!(said, done);
}

#[test]
fn what_people_read() {
    let desk = Desk::new();
    desk.file("orders.csv", format!("{GENERIC_HEADER}\n1,c1,,2026-01-02,10.005,,,,,\n2,c1,,2026-01-02,ten,,,,,\n"));
    let done = desk.import(&["orders.csv"]);
    let text = done.ends_with(3).stdout();
    let (report, last) = text.trim_end().rsplit_once('\n').unwrap();
    insta::assert_snapshot!(report, @r##"
    orders.csv: a CSV of orders, 2 rows
      orders     1 new, 0 updated, 0 unchanged, 1 rejected
      customers  1 new, 0 updated
      orders with amounts of too many decimals, which were rounded: 1
      line 3: total: "ten" is not an amount; write it like 1234.50
      rejected rows are in orders.csv.rejected.csv; correct and import that file
    "##);
    assert!(last.starts_with("Done in ") && last.ends_with(" s."), "{last}");
    assert_eq!(done.stderr(), "", "no progress bar without a terminal");

    let csv = desk.import(&["orders.csv", "--format", "csv"]);
    insta::assert_snapshot!(csv.stdout(), @r##"
    file,format,rows,orders_new,orders_updated,orders_unchanged,orders_rejected,customers_new,customers_updated,rejected_file,rounded
    orders.csv,csv,2,0,0,1,1,0,0,orders.csv.rejected.csv,1
    "##);
}

#[test]
fn a_file_that_cannot_be_used_stops_the_import_before_it_starts() {
    let desk = Desk::new();
    desk.file("good.csv", format!("{GENERIC_HEADER}\n1,c1,,2026-01-02,10.00,,,,,\n"))
        .file("bad.csv", "Bestellung/Datum/Summe\n")
        .file("customers.csv", "First Name,Last Name,Accepts Email Marketing,Total Spent,Total Orders\n");
    let said: String = [
        &["good.csv", "bad.csv"][..],
        &["good.csv", "missing.csv"],
        &["customers.csv"],
        &["good.csv", "--source-format", "shopify-csv"],
        &["good.csv", "--source-format", "shopify-jsonl"],
    ]
    .iter()
    .map(|args| desk.import(args).ends_with(2).stderr())
    .collect();
    insta::assert_snapshot!(said, @r##"
    error: bad.csv is none of the files that quintile knows. It has one column: Bestellung/Datum/Summe. If these are orders, say which is which under [import.columns] in config.toml:
      order_id = "the file's name for it"
      ordered_at = "the file's name for it"
      total = "the file's name for it"
      email = "the file's name for it"
    If these are customers, do so under [import.customer_columns].
    error: missing.csv cannot be read: No such file or directory (os error 2); is the path right?
    error: customers.csv is read as a Shopify customers export, but has no column "Customer ID" or "Email"; its columns are First Name, Last Name, Accepts Email Marketing, Total Spent, Total Orders. Export the customers again as "Plain CSV file"
    error: good.csv is read as a Shopify orders export, but has no column "Name"; its columns are order_id, customer_id, email, ordered_at, total, refunded, currency, status, and 2 more. Export the orders again as "Plain CSV file"
    error: good.csv does not hold JSON lines: its first one does not start with {
    "##);
    assert!(!desk.path("quintile.db").exists());
    desk.import(&[]).ends_with(2);
    desk.import(&["good.csv", "--source-format", "excel"]).ends_with(2);
}

#[test]
fn a_setting_that_cannot_be_used_names_its_key() {
    for (import, expected) in [
        ("date_format = \"%H:%M\"", "[import] date_format = \"%H:%M\" does not name day, month and year"),
        ("columns = { order = \"Nr\" }", "import.columns.order: there is no such column"),
        ("columns = { total = \"Summe\" }", "orders.csv has no column \"Summe\", which [import.columns] total names"),
    ] {
        let desk = Desk::with("", &format!("[import]\n{import}"));
        let done = desk.file("orders.csv", format!("{GENERIC_HEADER}\n")).import(&["orders.csv"]);
        assert!(done.ends_with(2).stderr().contains(expected), "{}", done.stderr());
    }
}

#[test]
fn another_process_keeps_the_database() {
    let desk = Desk::new();
    desk.file("orders.csv", format!("{GENERIC_HEADER}\n1,c1,,2026-01-02,10.00,,,,,\n"));
    let _held = Database::open(&desk.path("quintile.db"), "quintile serve").unwrap();
    let done = desk.import(&["orders.csv"]);
    assert!(done.ends_with(1).stderr().contains("(quintile serve); stop it first"), "{}", done.stderr());
}
