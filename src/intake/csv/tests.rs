//! Files of orders, from bytes to orders.

use std::{cell::RefCell, fmt::Write as _, io::Write};

use super::*;
use crate::{
    config::Config,
    ledger::{Applied, Change},
    model::{Currency, Money, OrderStatus, Source, Zone},
};

const SHOPIFY: &str = "Name,Email,Financial Status,Paid at,Accepts Marketing,Currency,Total,Created at,Lineitem name,\
    Billing Name,Cancelled at,Payment Method,Refunded Amount,Outstanding Balance,Id,Phone";

pub(super) fn config() -> Config {
    let mut config = Config::default();
    config.import.timezone = Some("Europe/Berlin".parse().unwrap());
    config
}

pub(super) fn open_bytes(bytes: &[u8], config: &Config, wanted: Option<Format>) -> Result<Input, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let settings = Settings::from_config(config).map_err(|problem| problem.to_string())?;
    open(file.path(), wanted, &settings)
        .map_err(|problem| problem.to_string().replace(&file.path().display().to_string(), "FILE"))
}

/// Orders and rejections of a file, without a database.
pub(super) fn read_with(bytes: impl AsRef<[u8]>, config: &Config) -> (Vec<Order>, FileReport) {
    let input = open_bytes(bytes.as_ref(), config, None).unwrap();
    let all = RefCell::new(Vec::new());
    let mut take = |batch: Batch| {
        let outcomes = of_orders(batch.orders.iter().map(|_| nobody()));
        all.borrow_mut().extend(batch.orders);
        Ok((Batch::default(), outcomes))
    };
    let report = import(input, false, &mut take, &|_| {}).unwrap();
    (all.into_inner(), report)
}

pub(super) fn of_orders(applied: impl Iterator<Item = Applied>) -> Outcomes {
    Outcomes { orders: applied.map(Ok).collect(), people: Vec::new() }
}

pub(super) const fn nobody() -> Applied {
    Applied { order: Change::New, customer: None, customer_id: None, owner: None }
}

pub(super) fn read(bytes: impl AsRef<[u8]>) -> (Vec<Order>, FileReport) {
    read_with(bytes, &config())
}

/// The reason why the only row of a file is rejected.
fn reason(bytes: impl AsRef<[u8]>, config: &Config) -> String {
    let (orders, report) = read_with(bytes, config);
    assert_eq!((orders.len(), report.orders.rejected), (0, 1), "{orders:?}");
    report.rejections[0].reason.clone()
}

fn shopify(row: &str) -> Order {
    let (mut orders, report) = read(format!("{SHOPIFY}\n{row}\n"));
    assert_eq!((orders.len(), report.format), (1, Format::ShopifyCsv), "{:?}", report.rejections);
    orders.remove(0)
}

#[test]
fn a_shopify_order_with_all_its_columns() {
    let order = shopify(
        "#1001,Anna@Example.com,paid,2025-12-01 10:12:00 -0500,yes,EUR,412.50,2025-12-01 10:11:12 -0500,Mug,\
         Anna Maria Schmidt,,visa,0.00,0.00,5300000000001,'+49301234567",
    );
    assert_eq!((order.source, order.source_id.as_str()), (Source::Shopify, "5300000000001"));
    assert_eq!(order.name.as_deref(), Some("#1001"));
    assert_eq!((order.status, order.gross, order.refunded), (OrderStatus::Paid, Money(41_250), Money::ZERO));
    assert_eq!((order.outstanding, order.net_payment), (Some(Money::ZERO), None));
    assert_eq!(order.ordered_at.to_string(), "2025-12-01T15:11:12Z");
    assert_eq!((order.cancelled_at, order.updated_at, order.is_test, order.historical), (None, None, false, true));
    let person = order.person.unwrap();
    assert_eq!((person.source, person.external_id.as_deref()), (Source::Shopify, None));
    assert_eq!(person.email.as_deref(), Some("Anna@Example.com"));
    assert_eq!((person.first_name.as_deref(), person.last_name.as_deref()), (Some("Anna Maria"), Some("Schmidt")));
    assert_eq!((person.phone.as_deref(), person.consent.as_deref()), (Some("+49301234567"), Some("subscribed")));
}

#[test]
fn what_shopify_states_are_worth() {
    use OrderStatus::*;
    for (status, refunded, outstanding, cancelled, method, expected) in [
        // An API order that is paid and yet carries its price as outstanding.
        ("paid", "0.00", "100.00", "", "", (Paid, None, false, false)),
        ("pending", "0.00", "100.00", "", "", (Pending, None, false, false)),
        ("partially_paid", "0.00", "60.00", "", "", (PartiallyPaid, Some(4_000), false, false)),
        ("partially_refunded", "30.00", "0.00", "", "", (PartiallyRefunded, Some(7_000), false, false)),
        ("refunded", "100.00", "0.00", "", "", (Refunded, Some(0), false, false)),
        // No word of what was given back: all of it was.
        ("refunded", "", "", "", "", (Refunded, None, false, false)),
        ("voided", "0.00", "100.00", "2025-12-02 10:00:00 +0100", "", (Voided, None, true, false)),
        ("authorized", "0.00", "100.00", "", "", (Authorized, None, false, false)),
        ("expired", "0.00", "100.00", "", "", (Expired, None, false, false)),
        ("overdue", "0.00", "100.00", "", "", (Unknown, None, false, false)),
        ("paid", "0.00", "0.00", "", "bogus", (Paid, None, false, true)),
    ] {
        let order = shopify(&format!(
            "#1,a@example.com,{status},,no,EUR,100.00,2025-12-01 10:11:12 +0100,Mug,Ann,{cancelled},{method},{refunded},{outstanding},1,"
        ));
        let net = order.net_payment.map(|net| net.0);
        assert!(status != "refunded" || order.refunded == order.gross);
        assert_eq!((order.status, net, order.cancelled_at.is_some(), order.is_test), expected, "{status}");
        assert_eq!(order.person.unwrap().consent.as_deref(), Some("not_subscribed"));
    }
}

#[test]
fn further_line_items_belong_to_the_order_above() {
    let file = format!(
        "{SHOPIFY}\n\
         #1001,a@example.com,paid,,no,EUR,10.00,2025-12-01 10:11:12 +0100,Mug,Ann,,,0.00,0.00,1,\n\
         #1001,a@example.com,,,,,,2025-12-01 10:11:12 +0100,Plate,,,,,,,\n\
         #1001,a@example.com,,,,,,,\"Bowl\nof two lines\",,,,,,,\n\
         \n\
         ,,,,,,,,,,,,,,,\n\
         #1002,,paid,,no,EUR,20.00,2025-12-01 11:11:12 +0100,Mug,Bob,,,0.00,0.00,2,\n\
         \n\
         #1003,b@example.com,,,,,,,Cup,,,,,,,\n\
         #1002,a@example.com,paid,,no,EUR,20.00,2025-12-01 11:11:12 +0100,Mug,Bob,,,0.00,0.00,2,\n"
    );
    let (orders, report) = read(file);
    let ids: Vec<_> = orders.iter().map(|order| order.source_id.as_str()).collect();
    assert_eq!(ids, ["1", "2"], "what comes again later is the same order");
    assert_eq!(orders[1].person.as_ref().and_then(|it| it.email.as_deref()), Some("a@example.com"));
    assert_eq!(report.rows, 7);
    assert_eq!(
        report.rejections,
        [Rejection {
            line: 10,
            reason: "Total is empty, and the row does not follow the first row of order #1003".to_owned()
        }]
    );
}

#[test]
fn older_shopify_exports_lack_columns() {
    let (orders, report) = read(
        "Name,Email,Paid at,Total,Created at,Lineitem name\n\
         #1,a@example.com,2014-12-01 10:11:12 +0100,10.00,2014-12-01 10:11:12 +0100,Mug\n\
         #2,a@example.com,,10.00,2014-12-02 10:11:12 +0100,Mug\n",
    );
    assert_eq!(report.format, Format::ShopifyCsv);
    let states: Vec<_> = orders.iter().map(|order| (order.source_id.as_str(), order.status, order.currency)).collect();
    assert_eq!(states, [("#1", OrderStatus::Paid, Currency::EUR), ("#2", OrderStatus::Pending, Currency::EUR)]);

    let (orders, _) = read("Name,Email,Total,Created at,Lineitem name\n#1,a@example.com,1,2014-12-01,Mug\n");
    assert_eq!((orders[0].status, orders[0].person.as_ref().unwrap().consent.as_deref()), (OrderStatus::Paid, None));
}

#[test]
fn the_same_export_through_spreadsheet_programs() {
    let plain = "Name,Email,Financial Status,Total,Created at,Id,Billing Name\n\
                 #1001,a@example.com,paid,1234.50,2025-12-01 10:11:12 -0500,5300000000001,Jörg Müller\n";
    let (expected, _) = read(plain);
    let semicolons = plain.replace(',', ";");
    for (what, bytes) in [
        ("byte order mark", format!("\u{feff}{plain}").into_bytes()),
        ("semicolons", semicolons.clone().into_bytes()),
        ("tabs", plain.replace(',', "\t").into_bytes()),
        ("bars", plain.replace(',', "|").into_bytes()),
        ("sep=", format!("sep=;\r\n{semicolons}").into_bytes()),
        ("byte order mark and sep=", format!("\u{feff}sep=;\n{semicolons}").into_bytes()),
        ("Windows line ends", plain.replace('\n', "\r\n").into_bytes()),
        ("old Mac line ends", plain.replace('\n', "\r").into_bytes()),
        ("no line end", plain.trim_end().to_owned().into_bytes()),
        (
            "apostrophes",
            plain.replace("530", "'530").replace("2025-", "'2025-").replace("1234.5", "'1234.5").into_bytes(),
        ),
        ("Windows-1252", encoding_rs::WINDOWS_1252.encode(plain).0.into_owned()),
        (
            "quotation marks",
            format!("\"{}\"", plain.trim_end().replace(',', "\",\"").replace('\n', "\"\n\"")).into_bytes(),
        ),
        ("another case", plain.replacen("Financial Status", "FINANCIAL STATUS", 1).into_bytes()),
        ("spaces", plain.replace(',', " , ").into_bytes()),
        ("a column to spare", plain.replace('\n', ",\n").into_bytes()),
    ] {
        let (orders, report) = read(&bytes);
        assert_eq!((orders, report.format), (expected.clone(), Format::ShopifyCsv), "{what}: {:?}", report.rejections);
    }
}

#[test]
fn lines_are_counted_from_the_top_of_the_file() {
    let (_, report) =
        read("\u{feff}sep=;\norder_id;email;ordered_at;total\n1;a@b.example;2025-01-01;1\n2;a@b.example;nope;1\n");
    assert_eq!(report.rejections[0].line, 4);

    let rows = "order_id,email,ordered_at,total,first_name\nx,a@b.example,no,1,A\n\n1,a@b.example,2025-01-01,1,A\n\
                y,\"a@b.example\",no,1,\"B\nC\n\"\n2,a@b.example,2025-01-01,1,\"\nD\"\n\n\nz,a@b.example,no,1,E\nw,,no,,";
    let expected = [2, 5, 12, 13];
    for (what, file) in [
        ("LF", rows.to_owned()),
        ("LF at the end", format!("{rows}\n")),
        ("CRLF", rows.replace('\n', "\r\n")),
        ("CRLF at the end", format!("{rows}\n").replace('\n', "\r\n")),
        ("CR", rows.replace('\n', "\r")),
        ("both", rows.replacen('\n', "\r\n", 3)),
        ("byte order mark", format!("\u{feff}{rows}")),
    ] {
        let lines: Vec<_> = read(&file).1.rejections.iter().map(|rejection| rejection.line).collect();
        assert_eq!(lines, expected, "{what}");
        let lines: Vec<_> = read(format!("sep=,\r\n{file}")).1.rejections.iter().map(|it| it.line - 1).collect();
        if what != "byte order mark" {
            assert_eq!(lines, expected, "sep= and {what}");
        }
    }
    for file in ["order_id,email,ordered_at,total\n1,a@b.example,no,1", "order_id,email,ordered_at,total\r\n1,,no,1"] {
        assert_eq!(read(file).1.rejections[0].line, 2);
    }
}

#[test]
fn line_numbers_hold_wherever_the_reading_is_cut() {
    for ending in ["\n", "\r\n", "\r"] {
        let mut file = format!("order_id,email,ordered_at,total{ending}");
        for id in 2..40_000 {
            // Rows of many lengths, so that a buffer ends anywhere in one.
            let total = if id % 9_973 == 0 { "none".to_owned() } else { format!("1.{:0>1$}", 0, id % 7 + 1) };
            write!(file, "{id},a@b.example,2025-01-01,{total}{ending}").unwrap();
        }
        let (orders, report) = read(file);
        assert_eq!(orders.len(), 40_000 - 2 - 4);
        let lines: Vec<_> = report.rejections.iter().map(|rejection| rejection.line).collect();
        assert_eq!(lines, [9_973, 19_946, 29_919, 39_892], "{ending:?}");
    }
}

#[test]
fn an_order_named_twice_is_stored_once() {
    let file = "order_id,email,ordered_at,total\n1,a@b.example,2025-01-01,1.005\n2,a@b.example,2025-01-01,2\n\
                1,a@b.example,2025-01-01,none\n1,a@b.example,2025-01-01,3\n";
    let (orders, report) = read(file);
    let stored: Vec<_> = orders.iter().map(|order| (order.source_id.as_str(), order.gross)).collect();
    assert_eq!(stored, [("2", Money(200)), ("1", Money(300))], "the later row wins");
    assert_eq!((report.rows, report.rounded), (4, 0));
    assert_eq!(report.orders, OrderCounts { new: 2, updated: 0, unchanged: 0, rejected: 1 });
}

#[test]
fn a_generic_order_with_all_its_columns() {
    let (orders, report) = read(
        "order_id,customer_id,email,ordered_at,total,refunded,currency,status,first_name,last_name\n\
         A-1,c7,anna@example.com,2026-11-23T02:00:00Z,49.90,10.00,eur,paid,Anna,Schmidt\n",
    );
    let order = &orders[0];
    assert_eq!(report.format, Format::Csv);
    assert_eq!((order.source, order.source_id.as_str(), order.historical), (Source::Csv, "A-1", true));
    assert_eq!((order.gross, order.refunded, order.current), (Money(4_990), Money(1_000), Some(Money(3_990))));
    assert_eq!((order.status, order.currency, order.updated_at), (OrderStatus::Paid, Currency::EUR, None));
    let person = order.person.as_ref().unwrap();
    assert_eq!((person.source, person.external_id.as_deref()), (Source::Csv, Some("c7")));
    assert_eq!((person.first_name.as_deref(), person.last_name.as_deref()), (Some("Anna"), Some("Schmidt")));
}

#[test]
fn the_words_of_other_shops() {
    for (word, status, net) in [
        ("", OrderStatus::Paid, 500),
        ("Paid", OrderStatus::Paid, 500),
        ("completed", OrderStatus::Paid, 500),
        ("wc-processing", OrderStatus::Paid, 500),
        ("on-hold", OrderStatus::Pending, 500),
        ("On hold", OrderStatus::Pending, 500),
        ("canceled", OrderStatus::Cancelled, 500),
        ("failed", OrderStatus::Voided, 500),
        ("refunded", OrderStatus::Refunded, 0), // no amount: all of it
        ("partially_refunded", OrderStatus::PartiallyRefunded, 500),
    ] {
        let (orders, _) = read(format!("order_id,email,ordered_at,total,status\n1,a@b.example,2025-01-01,5,{word}\n"));
        assert_eq!((orders[0].status, orders[0].current), (status, Some(Money(net))), "{word:?}");
    }
}

#[test]
fn columns_by_other_names() {
    let mut config = config();
    for (ours, theirs) in
        [("order_id", "Bestellnummer"), ("ordered_at", "Datum"), ("total", "Summe"), ("email", "E-Mail")]
    {
        config.import.columns.insert(ours.to_owned(), theirs.to_owned());
    }
    config.import.decimal_comma = true;
    config.import.date_format = "%d.%m.%Y %H:%M".to_owned();
    let (orders, report) =
        read_with("Bestellnummer;Datum;Summe;E-Mail;Name\n17;01.12.2025 10:11;1.234,50;a@b.example;x\n", &config);
    assert_eq!(report.format, Format::Csv);
    assert_eq!((orders[0].gross, orders[0].ordered_at.to_string().as_str()), (Money(123_450), "2025-12-01T09:11:00Z"));

    let wrong = open_bytes(b"Bestellnummer;Datum;Betrag;E-Mail\n", &config, None).unwrap_err();
    assert_eq!(
        wrong,
        "FILE has no column \"Summe\", which [import.columns] total names; its columns are Bestellnummer, Datum, Betrag, E-Mail"
    );
}

#[test]
fn dates_that_name_no_zone_are_the_shops() {
    let file = "order_id,email,ordered_at,total\n1,a@example.com,2025-07-01,5\n";
    let ordered_at = |config: &Config| read_with(file, config).0[0].ordered_at.to_string();
    let mut config = Config::default();
    config.shop.timezone = "America/New_York".parse().unwrap();
    assert_eq!(ordered_at(&config), "2025-07-01T04:00:00Z");
    config.import.timezone = Some(Zone::UTC);
    assert_eq!(ordered_at(&config), "2025-07-01T00:00:00Z");
}

#[test]
fn people_in_the_generic_csv() {
    let (orders, report) = read(
        "order_id,customer_id,email,ordered_at,total\n\
         1,,Guest@Example.com,2025-01-01,5\n\
         2,c1,,2025-01-01,5\n\
         3,,,2025-01-01,5\n\
         4,,n/a,2025-01-01,5\n",
    );
    let people: Vec<_> = orders
        .iter()
        .map(|order| order.person.as_ref().map(|p| (p.external_id.as_deref(), p.email.as_deref())))
        .collect();
    assert_eq!(people, [Some((None, Some("Guest@Example.com"))), Some((Some("c1"), None)), None, None]);
    assert_eq!(report.orders.rejected, 0);
}

#[test]
fn rows_are_rejected_with_a_reason() {
    let header = "order_id,email,ordered_at,total,refunded,currency,status\n";
    let reasons: Vec<_> = [
        ",a@b.example,2025-01-01,5,,,",
        "1,a@b.example,,5,,,",
        "1,a@b.example,2025-01-01,,,,",
        "1,a@b.example,01.02.2025,5,,,",
        "1,a@b.example,2025-01-01,five,,,",
        "1,a@b.example,2025-01-01,\"5,00\",,,",
        "1,a@b.example,2025-01-01,-5,,,",
        "1,a@b.example,2025-01-01,5,?,,",
        "1,a@b.example,2025-01-01,5,,€,",
        "1,a@b.example,2025-01-01,5,,,lost",
        "5.3E+12,a@b.example,2025-01-01,5,,,",
        "1,a@b.example,2025-01-01,99999999999999999999,,,",
        "1,a@b.example,2025-01-01",
        "1,a@b.example,2025-01-01,5,,,paid,more",
    ]
    .into_iter()
    .map(|row| reason(format!("{header}{row}\n"), &config()))
    .collect();
    insta::assert_snapshot!(reasons.join("\n"), @r##"
    order_id is empty
    ordered_at is empty
    total is empty
    ordered_at: "01.02.2025" is not a date like 2026-11-23 02:00:00; say how the file writes dates with [import] date_format, like "%d.%m.%Y"
    total: "five" is not an amount; write it like 1234.50
    total: "5,00" is not an amount like 1234.50; if the file writes 1.234,50, set [import] decimal_comma = true
    total is negative; a refund belongs in the column refunded of its order
    refunded: "?" is not an amount; write it like 1234.50
    currency "€" is not three letters
    status "lost" is not known; write paid, pending, refunded or cancelled, or if such orders count, name it in [orders] paid_statuses
    order_id was cut to 5.3E+12 by a spreadsheet program; import the file as the shop made it
    total: 99999999999999999999 is larger than any order can be (the limit is 900000000000000 minor units)
    the row has 3 cells, the header has 7; is a quotation mark or a comma missing?
    the row has 8 cells, the header has 7; is a quotation mark or a comma missing?
    "##);
}

#[test]
fn shopify_rows_are_rejected_with_a_reason() {
    let header = "Name,Email,Financial Status,Total,Created at,Currency,Id\n";
    let reasons: Vec<_> = [
        ",a@b.example,paid,5.00,2025-12-01 10:11:12 +0100,EUR,1",
        "#1,a@b.example,paid,,2025-12-01 10:11:12 +0100,EUR,1",
        "#1,a@b.example,paid,5.00,,EUR,1",
        "#1,a@b.example,paid,5.00,12/01/2025 10:11,EUR,1",
        "#1,a@b.example,paid,5.00,2025-12-01 10:11:12 +0100,EUR,\"5,3E+12\"",
        "#1,a@b.example,paid,\"5,00\",2025-12-01 10:11:12 +0100,EUR,1",
        "#1,a@b.example,paid,-5.00,2025-12-01 10:11:12 +0100,EUR,1",
        "#1,a@b.example,paid,5.00,2025-12-01 10:11:12 +0100,EURO,1",
    ]
    .into_iter()
    .map(|row| reason(format!("{header}{row}\n"), &config()))
    .collect();
    insta::assert_snapshot!(reasons.join("\n"), @r##"
    Name is empty
    Total is empty, and the row does not follow the first row of order #1
    Created at is empty
    Created at: "12/01/2025 10:11" is not a date like 2026-11-23 02:00:00; say how the file writes dates with [import] date_format, like "%d.%m.%Y"
    a spreadsheet program has cut the Id to 5,3E+12; import the file as Shopify sent it, without saving it again
    Total: "5,00" is not an amount like 1234.50; if the file writes 1.234,50, set [import] decimal_comma = true
    Total is negative
    Currency "EURO" is not three letters
    "##);
}

#[test]
fn files_that_cannot_be_used() {
    let problems: Vec<_> = [
        &b""[..],
        b"\xef\xbb\xbf \n\n",
        b"PK\x03\x04\x14\x00",
        b"\x1f\x8b\x08\x00",
        b"\xff\xfeN\x00a\x00",
        b"SQLite format 3\x00",
        b"First Name,Last Name,Accepts Email Marketing,Total Spent,Total Orders\n",
        b"Name,Email,Financial Status,Created at\n",
        b"Name,Email,Total,Lineitem name\n",
        b"order_id,ordered_at,total\n",
        b"foo,bar\n",
        b"just some text\n",
    ]
    .into_iter()
    .map(|bytes| open_bytes(bytes, &config(), None).unwrap_err())
    .collect();
    insta::assert_snapshot!(problems.join("\n"), @r##"
    FILE is empty
    FILE is empty
    FILE is a ZIP archive or an Excel workbook; unpack it, or save it as "CSV UTF-8"
    FILE is compressed; unpack it first (gunzip)
    FILE is UTF-16 text; save it as "CSV UTF-8"
    FILE is not a text file; a CSV of orders is expected
    FILE is read as a Shopify customers export, but has no column "Customer ID" or "Email"; its columns are First Name, Last Name, Accepts Email Marketing, Total Spent, Total Orders. Export the customers again as "Plain CSV file"
    FILE is read as a Shopify orders export, but has no column "Total"; its columns are Name, Email, Financial Status, Created at. Export the orders again as "Plain CSV file"
    FILE is read as a Shopify orders export, but has no column "Created at"; its columns are Name, Email, Total, Lineitem name. Export the orders again as "Plain CSV file"
    FILE is none of the files that quintile knows. It has 3 columns between commas: order_id, ordered_at, total. If these are orders, say which is which under [import.columns] in config.toml:
      email = "the file's name for it"
    If these are customers, do so under [import.customer_columns].
    FILE is none of the files that quintile knows. It has 2 columns between commas: foo, bar. If these are orders, say which is which under [import.columns] in config.toml:
      order_id = "the file's name for it"
      ordered_at = "the file's name for it"
      total = "the file's name for it"
      email = "the file's name for it"
    If these are customers, do so under [import.customer_columns].
    FILE is none of the files that quintile knows. It has one column: just some text. If these are orders, say which is which under [import.columns] in config.toml:
      order_id = "the file's name for it"
      ordered_at = "the file's name for it"
      total = "the file's name for it"
      email = "the file's name for it"
    If these are customers, do so under [import.customer_columns].
    "##);

    let problem = open_bytes(b"order_id,ordered_at\n", &config(), Some(Format::Csv)).unwrap_err();
    assert!(problem.contains("has no column total, customer_id or email;"), "{problem}");
    let problem = open_bytes(b"order_id,email,ordered_at,total\n", &config(), Some(Format::ShopifyCsv)).unwrap_err();
    assert!(problem.contains("has no column \"Name\""), "{problem}");
    let settings = Settings::from_config(&config()).unwrap();
    let problem = open(std::path::Path::new("/nowhere/at.csv"), None, &settings).unwrap_err().to_string();
    assert!(problem.starts_with("/nowhere/at.csv cannot be read: "), "{problem}");
    let problem = open(std::path::Path::new("/"), None, &settings).unwrap_err().to_string();
    assert!(problem.starts_with("/ cannot be read: it is a folder"), "{problem}");
}

#[test]
fn a_quotation_mark_without_its_partner_does_not_swallow_memory() {
    let mut file =
        String::from("order_id,email,ordered_at,total\n1,a@b.example,2025-01-01,5\n2,\"a@b.example,2025-01-01,5\n");
    for id in 3..200_000 {
        writeln!(file, "{id},a@b.example,2025-01-01,5").unwrap();
    }
    let input = open_bytes(file.as_bytes(), &config(), None).unwrap();
    let mut rows = 0;
    let mut take = |batch: Batch| {
        rows += batch.len();
        Ok((Batch::default(), of_orders(batch.orders.iter().map(|_| nobody()))))
    };
    let error = format!("{:#}", import(input, false, &mut take, &|_| {}).unwrap_err());
    assert!(error.contains("cannot read on at line 3: "), "{error}");
    assert!(error.ends_with("a quotation mark (\") that opens is not closed"), "{error}");
    assert_eq!(rows, 1, "the rows before it were applied");
}

#[test]
fn a_customer_is_counted_once() {
    use Change::{New, Stale, Unchanged, Updated};
    let told = [
        // (order, person, person's row, row that counts)
        (New, New, 1, 1),
        (New, Updated, 1, 1), // new in this file
        (New, Stale, 70, 70),
        (Updated, Unchanged, 70, 70),
        (Unchanged, Updated, 71, 71),
        (Unchanged, Unchanged, 72, 72),
        (New, New, 73, 74), // a guest whose e-mail is a customer's
    ];
    let mut file = String::from("order_id,email,ordered_at,total\n");
    for id in 0..told.len() {
        writeln!(file, "{id},a@b.example,2025-01-01,1").unwrap();
    }
    let input = open_bytes(file.as_bytes(), &config(), None).unwrap();
    let mut take = |batch: Batch| {
        let outcomes = told.map(|(order, customer, id, owner)| Applied {
            order,
            customer: Some(customer),
            customer_id: Some(id),
            owner: Some(owner),
        });
        Ok((batch, of_orders(outcomes.into_iter())))
    };
    let report = import(input, false, &mut take, &|_| {}).unwrap();
    assert_eq!(report.customers, CustomerCounts { new: 1, updated: 3, ..CustomerCounts::default() });
    assert_eq!(report.orders, OrderCounts { new: 4, updated: 1, unchanged: 2, rejected: 0 });
}
