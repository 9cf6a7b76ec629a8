//! `quintile import`: files in, through the real program.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use quintile::{
    cli::demo::shop::{CSV_HEADER, Shop, csv_record},
    config::Config,
    db::Database,
    intake::csv as csv_files,
    ledger::{self, Rules},
    model::{Currency, Order, OrderStatus, Origin, Timestamp},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

/// The header of an orders export of December 2025, all 79 columns.
const SHOPIFY_HEADER: &str = "Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,Currency,\
    Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Shipping Method,Created at,Lineitem quantity,Lineitem name,\
    Lineitem price,Lineitem compare at price,Lineitem sku,Lineitem requires shipping,Lineitem taxable,\
    Lineitem fulfillment status,Billing Name,Billing Street,Billing Address1,Billing Address2,Billing Company,Billing City,\
    Billing Zip,Billing Province,Billing Country,Billing Phone,Shipping Name,Shipping Street,Shipping Address1,\
    Shipping Address2,Shipping Company,Shipping City,Shipping Zip,Shipping Province,Shipping Country,Shipping Phone,Notes,\
    Note Attributes,Cancelled at,Payment Method,Payment Reference,Refunded Amount,Vendor,Outstanding Balance,Employee,\
    Location,Device ID,Id,Tags,Risk Level,Source,Lineitem discount,Tax 1 Name,Tax 1 Value,Tax 2 Name,Tax 2 Value,Tax 3 Name,\
    Tax 3 Value,Tax 4 Name,Tax 4 Value,Tax 5 Name,Tax 5 Value,Phone,Receipt Number,Duties,Billing Province Name,\
    Shipping Province Name,Payment ID,Payment Terms Name,Next Payment Due At,Payment References";

const GENERIC_HEADER: &str =
    "order_id,customer_id,email,ordered_at,total,refunded,currency,status,first_name,last_name";

/// A folder with a configuration, a database and files.
struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self::with("currency = \"EUR\"", "")
    }

    /// `shop` goes below `[shop]`, `rest` after it.
    fn with(shop: &str, rest: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.toml"), format!("[shop]\nid = \"mugs.myshopify.com\"\n{shop}\n{rest}\n"))
            .unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path(name), content).unwrap();
        self
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quintile"));
        command.current_dir(self.dir.path()).arg("import").args(args);
        command
    }

    fn import(&self, args: &[&str]) -> Done {
        Done(self.command(args).output().unwrap())
    }

    /// Imports and takes the report, which must be of one file.
    fn report(&self, file: &str) -> Value {
        let mut report = self.import(&[file, "--format", "json"]).json();
        report["files"].as_array_mut().unwrap().remove(0)
    }

    fn reading(&self) -> Connection {
        Connection::open_with_flags(self.path("quintile.db"), OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
    }

    /// One row of text cells per row, cells joined by a space.
    fn query(&self, sql: &str) -> Vec<String> {
        rows(&self.reading(), sql)
    }

    /// All that imports store, but for the times of storing.
    fn state(&self) -> Vec<String> {
        [
            "SELECT c.external_id, c.email, c.first_name, c.last_name, c.consent, c.order_count, c.total_spent,
               c.avg_order_value, c.first_order_at, c.last_order_at, m.external_id
             FROM customers c LEFT JOIN customers m ON m.id = c.merged_into ORDER BY 1, 2",
            "SELECT o.source, source_id, coalesce(c.external_id, c.email_key), o.email, name, status, currency, gross, current,
               refunded, net, counted, ordered_at, cancelled_at, origin, historical
             FROM orders o LEFT JOIN customers c ON c.id = o.customer_id ORDER BY 1, 2",
        ]
        .iter()
        .flat_map(|sql| self.query(sql))
        .collect()
    }
}

fn rows(connection: &Connection, sql: &str) -> Vec<String> {
    use rusqlite::types::ValueRef;
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let mut found = statement.query([]).unwrap();
    let mut rows = Vec::new();
    while let Some(row) = found.next().unwrap() {
        let cells: Vec<_> = (0..columns)
            .map(|column| match row.get_ref(column).unwrap() {
                ValueRef::Null => "-".to_owned(),
                ValueRef::Integer(number) => number.to_string(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            })
            .collect();
        rows.push(cells.join(" "));
    }
    rows
}

/// How a command ended.
struct Done(Output);

impl Done {
    fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.stdout(), self.stderr()))
    }

    #[track_caller]
    fn ends_with(&self, code: i32) -> &Self {
        assert_eq!(self.code(), Some(code), "{}{}", self.stdout(), self.stderr());
        self
    }
}

/// A full-width row of a Shopify export from the cells that matter.
fn shopify_row(cells: &[(&str, &str)]) -> String {
    let names: Vec<_> = SHOPIFY_HEADER.split(',').collect();
    assert_eq!(names.len(), 79);
    for (name, _) in cells {
        assert!(names.contains(name), "{name}");
    }
    let cell = |name: &&str| cells.iter().find(|(wanted, _)| wanted == name).map_or("", |(_, value)| value);
    names.iter().map(cell).collect::<Vec<_>>().join(",")
}

fn shopify_order(name: &str, id: &str, email: &str, total: &str, more: &[(&str, &str)]) -> String {
    let mut cells = vec![
        ("Name", name),
        ("Id", id),
        ("Email", email),
        ("Financial Status", "paid"),
        ("Currency", "EUR"),
        ("Total", total),
        ("Created at", "2025-12-01 10:11:12 -0500"),
        ("Lineitem name", "Mug"),
    ];
    cells.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
    cells.extend(more);
    shopify_row(&cells)
}

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

#[test]
fn rejected_rows_go_to_a_file_that_can_be_corrected() {
    let desk = Desk::new();
    desk.file(
        "orders.csv",
        b"sep=;\n\
          order_id;email;ordered_at;total;currency;note\n\
          1;a@example.com;2026-01-01;10.00;EUR;fine\n\
          2;b@example.com;02.01.2026;10.00;EUR;\"two\nlines; and M\xfcll\"\n\
          3;c@example.com;2026-01-03;10.00;USD;dollars\n\
          4;d@example.com;1970-01-01;10.00;EUR;zero\n",
    );
    let done = desk.import(&["orders.csv", "--format", "json"]);
    let report = &done.ends_with(3).json()["files"][0];
    assert_eq!(report["orders"], json!({ "new": 1, "updated": 0, "unchanged": 0, "rejected": 3 }));
    assert_eq!(report["rows"], 4);
    assert_eq!(report["rejectedFile"], "orders.csv.rejected.csv");
    let rejected = fs::read_to_string(desk.path("orders.csv.rejected.csv")).unwrap();
    insta::assert_snapshot!(rejected, @r##"
    line,reason,order_id,email,ordered_at,total,currency,note
    4,"ordered_at: ""02.01.2026"" is not a date like 2026-11-23 02:00:00; say how the file writes dates with [import] date_format, like ""%d.%m.%Y""",2,b@example.com,02.01.2026,10.00,EUR,"two
    lines; and Müll"
    6,"it is in USD, this shop's currency is EUR ([shop] currency); amounts are never converted",3,c@example.com,2026-01-03,10.00,USD,dollars
    7,its order date 1969-12-31T23:00:00Z is not between 1990 and two days from now; correct the date in the shop,4,d@example.com,1970-01-01,10.00,EUR,zero
    "##);

    let corrected =
        rejected.replace("02.01.2026", "2026-01-02").replace("USD", "EUR").replace("1970-01-01", "2026-01-04");
    desk.file("orders.csv.rejected.csv", corrected).import(&["orders.csv.rejected.csv"]).ends_with(0);
    assert_eq!(desk.query("SELECT source_id FROM orders ORDER BY 1"), ["1", "2", "3", "4"]);
    assert!(!desk.path("orders.csv.rejected.csv.rejected.csv").exists());
}

#[test]
fn rejected_rows_are_gone_when_the_file_is_right() {
    let desk = Desk::new();
    let row = |total: &str| format!("{GENERIC_HEADER}\n1,c1,,2026-01-02,{total},,,,,\n");
    desk.file("orders.csv", row("ten")).import(&["orders.csv"]).ends_with(3);
    let rejected = desk.path("orders.csv.rejected.csv");
    assert!(rejected.exists());
    desk.file("orders.csv", row("10.00")).import(&["orders.csv", "--dry-run"]).ends_with(0);
    assert!(rejected.exists(), "a dry run changes nothing");
    desk.import(&["orders.csv"]).ends_with(0);
    assert!(!rejected.exists());

    desk.file("orders.csv.rejected.csv", "what somebody else keeps\n").import(&["orders.csv"]).ends_with(0);
    assert!(rejected.exists());
}

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
        .file("customers.csv", "First Name,Last Name,Email,Accepts Email Marketing,Total Spent,Total Orders\n")
        .file("bulk.jsonl", "{\"id\":\"gid://shopify/Order/1\"}\n");
    let said: String = [
        &["good.csv", "bad.csv"][..],
        &["good.csv", "missing.csv"],
        &["customers.csv"],
        &["bulk.jsonl"],
        &["good.csv", "--source-format", "shopify-csv"],
        &["good.csv", "--source-format", "shopify-jsonl"],
    ]
    .iter()
    .map(|args| desk.import(args).ends_with(2).stderr())
    .collect();
    insta::assert_snapshot!(said, @r##"
    error: bad.csv has no column order_id, ordered_at, total, customer_id or email; its columns are Bestellung/Datum/Summe. Say which is which under [import.columns], like order_id = "the file's name for it"
    error: missing.csv cannot be read: No such file or directory (os error 2); is the path right?
    error: customers.csv is read as shopify-customers-csv, which is not in this version yet; customers come with their orders: import a Shopify orders export (CSV)
    error: bulk.jsonl is read as shopify-jsonl, which is not in this version yet; import a Shopify orders export (CSV)
    error: good.csv is read as a Shopify orders export, but has no column "Name"; its columns are order_id, customer_id, email, ordered_at, total, refunded, currency, status, and 2 more. Export the orders again as "Plain CSV file"
    error: good.csv is read as shopify-jsonl, which is not in this version yet; import a Shopify orders export (CSV)
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
fn another_process_keeps_the_database() {
    let desk = Desk::new();
    desk.file("orders.csv", format!("{GENERIC_HEADER}\n1,c1,,2026-01-02,10.00,,,,,\n"));
    let _held = Database::open(&desk.path("quintile.db"), "quintile serve").unwrap();
    let done = desk.import(&["orders.csv"]);
    assert!(done.ends_with(1).stderr().contains("(quintile serve); stop it first"), "{}", done.stderr());
}

#[test]
fn a_large_file_is_complete() {
    let desk = Desk::new();
    let made_up = made_up_csv(4_000);
    // Rows that cannot be read, around the ends of batches.
    let mut text = String::new();
    let mut bad_lines = Vec::new();
    for (line, row) in made_up.text.lines().enumerate() {
        writeln!(text, "{row}").unwrap();
        if line % 1_999 == 1_998 {
            text.push_str("bad,,,never,,,,,,\n");
            bad_lines.push((line + 2 + bad_lines.len()).to_string());
        }
    }
    let report = desk.file("orders.csv", text).report("orders.csv");
    assert_eq!(report["orders"]["new"], made_up.orders);
    assert_eq!(report["orders"]["rejected"], bad_lines.len());
    assert!(bad_lines.len() > 2);
    assert_eq!(report["customers"], json!({ "new": 4_000, "updated": 0 }));
    let rejected = fs::read_to_string(desk.path("orders.csv.rejected.csv")).unwrap();
    let lines: Vec<_> = rejected.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(lines, bad_lines);

    assert_eq!(
        desk.query("SELECT sum(order_count), sum(total_spent) FROM customers"),
        [format!("{} {}", made_up.counted, made_up.net)]
    );
    assert_eq!(
        desk.query(
            "SELECT count(*) FROM customers c WHERE (order_count, total_spent, first_order_at, last_order_at) IS NOT
             (SELECT count(*), coalesce(sum(net), 0), min(ordered_at), max(ordered_at) FROM orders WHERE customer_id = c.id AND counted)"
        ),
        ["0"]
    );
}

#[test]
fn killed_anywhere_and_run_again_it_ends_the_same() {
    const KILLS: u32 = 6;
    let made_up = made_up_csv(12_000);
    let undisturbed = Desk::new();
    undisturbed.file("orders.csv", &made_up.text);
    let started = Instant::now();
    undisturbed.import(&["orders.csv"]).ends_with(0);
    let takes = started.elapsed();

    let desk = Desk::new();
    desk.file("orders.csv", &made_up.text);
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut killed = 0;
    for _ in 0..KILLS {
        killed += usize::from(kill_after(&desk, takes.mul_f64(random.f64())));
        if desk.path("quintile.db").exists() {
            assert_eq!(desk.query("PRAGMA integrity_check"), ["ok"], "seed {seed}");
        }
    }
    assert!(killed > 0, "seed {seed}");
    let report = desk.report("orders.csv");
    let orders = &report["orders"];
    assert_eq!(orders["new"].as_u64().unwrap() + orders["unchanged"].as_u64().unwrap(), made_up.orders, "seed {seed}");
    assert_eq!(desk.state(), undisturbed.state(), "seed {seed}");
}

/// Starts an import and kills it `after` that long; false when it ended first.
fn kill_after(desk: &Desk, after: Duration) -> bool {
    let started = Instant::now();
    let mut child = desk.command(&["orders.csv"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while started.elapsed() < after {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

#[test]
fn transactions_cut_short_end_the_same() {
    let made_up = made_up_csv(2_500);
    let whole = Desk::new();
    whole.file("orders.csv", &made_up.text).import(&["orders.csv"]).ends_with(0);

    let pieces = Desk::new();
    pieces.file("orders.csv", &made_up.text);
    let settings = csv_files::Settings::from_config(&Config::default()).unwrap();
    let input = csv_files::open(&pieces.path("orders.csv"), None, &settings).unwrap();
    let database = Database::open(&pieces.path("quintile.db"), "test").unwrap();
    let limits = csv_files::Limits { rows: 1, time: Duration::MAX };
    let now = at("2026-11-01T00:00:00Z");
    let report = csv_files::store(input, database.writer(), &rules(), now, limits, &|_| {}).unwrap();
    assert_eq!(report.orders.new, made_up.orders);
    assert_eq!(report.customers.new, 2_500);
    drop(database);
    assert_eq!(pieces.state(), whole.state());
}

/// The made-up shop's history as a generic CSV, with what it adds up to.
struct MadeUp {
    text: String,
    orders: u64,
    counted: u64,
    net: i64,
}

fn made_up_csv(customers: u32) -> MadeUp {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(CSV_HEADER).unwrap();
    let (mut orders, mut counted, mut net) = (0, 0, 0);
    for order in Shop::new(11, customers, 104, at("2026-11-01T00:00:00Z")) {
        writer.write_record(csv_record(&order)).unwrap();
        orders += 1;
        let worth = worth(&order);
        counted += u64::from(worth > 0);
        net += worth;
    }
    MadeUp { text: String::from_utf8(writer.into_inner().unwrap()).unwrap(), orders, counted, net }
}

/// What an order of the made-up shop is worth, told apart from the ledger.
fn worth(order: &Order) -> i64 {
    match order.status {
        OrderStatus::Pending => 0,
        _ if order.cancelled_at.is_some() => 0,
        _ => order.gross.0 - order.refunded.0,
    }
}

fn rules() -> Rules {
    Rules { currency: Currency::EUR, count_pending: false, count_zero_value: false, merge_guests_by_email: true }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}
