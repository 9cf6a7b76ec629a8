//! Lists of customers, what a preview shows, and how files are told apart.

use std::{cell::RefCell, fmt::Write as _, io::Write as _};

use super::*;
use crate::{
    config::Config,
    ledger::{Applied, Change},
    model::{Source, Timestamp},
};

/// The header of a customers export of 2025.
const SHOPIFY: &str = "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address Company,\
    Default Address Address1,Default Address Address2,Default Address City,Default Address Province Code,\
    Default Address Country Code,Default Address Zip,Default Address Phone,Phone,Accepts SMS Marketing,Total Spent,\
    Total Orders,Note,Tax Exempt,Tags";

fn open_with(bytes: impl AsRef<[u8]>, config: &Config, wanted: Option<Format>) -> Result<Input, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes.as_ref()).unwrap();
    open(file.path(), wanted, &Settings::from_config(config).unwrap())
        .map_err(|problem| problem.to_string().replace(&file.path().display().to_string(), "FILE"))
}

fn people(bytes: impl AsRef<[u8]>, config: &Config) -> (Vec<Person>, FileReport) {
    let input = open_with(bytes, config, None).unwrap();
    let all = RefCell::new(Vec::new());
    let mut take = |batch: Batch| {
        assert!(batch.orders.is_empty());
        let outcomes = (1..).zip(&batch.people).map(|(id, _)| {
            Ok(Applied {
                order: Change::Unchanged,
                customer: Some(Change::New),
                customer_id: Some(id),
                owner: Some(id),
            })
        });
        let outcomes = Outcomes { orders: Vec::new(), people: outcomes.collect() };
        all.borrow_mut().extend(batch.people);
        Ok((Batch::default(), outcomes))
    };
    let report = import(input, false, &mut take, &|_| {}).unwrap();
    (all.into_inner(), report)
}

fn texts(person: &Person) -> [&str; 7] {
    let Person { external_id, email, first_name, last_name, phone, consent, tags, .. } = person;
    [external_id, email, first_name, last_name, phone, consent, tags].map(|text| text.as_deref().unwrap_or("-"))
}

#[test]
fn shopifys_customers() {
    let file = format!(
        "{SHOPIFY}\n\
         '7210448301122,Teodora,Villaseñor,teo@example.com,no,Ranch,HC 31,,Elko,NV,US,'89801,(775) 555-0154,'+17755550154,no,7790.44,6,,yes,\"retail, vip\"\n\
         '7210448301123,,,,yes,,,,,,,,(801) 555-0188,,no,0.00,0,,no,\n\
         ,Guest,,Guest@Example.com,,,,,,,,,,,,,,,,\n\
         '7210448301124,No,Mail,none,yes,,,,,,,,,,,,,,,\n\
         ,Nobody,,,yes,,,,,,,,,,,,,,,\n\
         7.21045E+12,Cut,,c@example.com,yes,,,,,,,,,,,,,,,\n\
         '7,Odd,,d@example.com,maybe,,,,,,,,,,,,,,,\n\
         ,,,,,,,,,,,,,,,,,,,\n"
    );
    let (people, report) = people(file, &Config::default());
    assert_eq!(report.format, Format::ShopifyCustomersCsv);
    assert_eq!(
        people.iter().map(texts).collect::<Vec<_>>(),
        [
            [
                "7210448301122",
                "teo@example.com",
                "Teodora",
                "Villaseñor",
                "+17755550154",
                "not_subscribed",
                "retail, vip"
            ],
            ["7210448301123", "-", "-", "-", "(801) 555-0188", "subscribed", "-"],
            ["-", "Guest@Example.com", "Guest", "-", "-", "-", "-"],
            ["7210448301124", "-", "No", "Mail", "-", "subscribed", "-"],
        ]
    );
    assert!(people.iter().all(|person| person.source == Source::Shopify && person.updated_at.is_none()));
    assert_eq!((report.rows, report.orders), (8, OrderCounts::default()));
    assert_eq!((report.customers.new, report.customers.rejected), (4, 3));
    let reasons: Vec<_> = report.rejections.iter().map(|rejection| rejection.reason.as_str()).collect();
    assert_eq!(
        reasons,
        [
            "there is nothing in Customer ID and in Email, so nobody can tell who this is",
            "Customer ID was cut to 7.21045E+12 by a spreadsheet program; import the file as the shop made it",
            "Accepts Email Marketing: \"maybe\" says neither yes nor no; write yes, no, subscribed or unsubscribed",
        ]
    );
}

#[test]
fn older_customers_exports_have_no_id() {
    let (people, report) = people(
        "First Name,Last Name,Email,Company,Address1,Phone,Accepts Marketing,Total Spent,Total Orders,Tags,Note,Tax Exempt\n\
         Ann,Apple,ann@example.com,,,,yes,10.00,1,,,no\n",
        &Config::default(),
    );
    assert_eq!(report.format, Format::ShopifyCustomersCsv);
    assert_eq!(texts(&people[0]), ["-", "ann@example.com", "Ann", "Apple", "-", "subscribed", "-"]);
}

#[test]
fn a_list_of_customers_by_other_names() {
    let mut config = Config::default();
    config.import.source = Source::WooCommerce;
    for (ours, theirs) in [("customer_id", "ID"), ("email", "user_email"), ("consent", "newsletter")] {
        config.import.customer_columns.insert(ours.to_owned(), theirs.to_owned());
    }
    let file = "ID,user_login,user_email,first_name,last_name,roles,newsletter\n\
                25,anna,anna@example.com,Anna,Apple,customer,1\n25,anna,anna@example.com,Anna,Avocado,customer,0\n";
    let (people, report) = people(file, &config);
    assert_eq!(report.format, Format::CustomersCsv);
    assert_eq!(people.len(), 1, "of two rows of one person the later one");
    assert_eq!(texts(&people[0]), ["25", "anna@example.com", "Anna", "Avocado", "-", "not_subscribed", "-"]);
    assert_eq!(people[0].source, Source::WooCommerce);

    let wrong = open_with("ID,mail\n", &config, Some(Format::CustomersCsv)).unwrap_err();
    assert!(
        wrong.starts_with("FILE has no column \"newsletter\", which [import.customer_columns] consent names"),
        "{wrong}"
    );
}

#[test]
fn orders_of_another_shop_and_their_line_items() {
    let mut config = Config::default();
    config.import.source = Source::WooCommerce;
    config.orders.paid_statuses.push("shipped".to_owned());
    for (ours, theirs) in [
        ("order_id", "Order Number"),
        ("ordered_at", "Order Date"),
        ("status", "Order Status"),
        ("email", "Email (Billing)"),
        ("total", "Order Total Amount"),
        ("refunded", "Order Refund Amount"),
    ] {
        config.import.columns.insert(ours.to_owned(), theirs.to_owned());
    }
    let file = "Order Number,Order Status,Order Date,Email (Billing),Order Refund Amount,Order Total Amount,Item Name\n\
                727,Completed,2026-01-02 10:11,a@example.com,0,29.35,Mug\n\
                ,,,,,,Plate\n\
                728,On hold,2026-01-02 10:12,a@example.com,,10,Mug\n\
                729,shipped,2026-01-02 10:13,a@example.com,-2,10,Mug\n\
                ,,2026-01-02 10:14,,,,Cup\n";
    let input = open_with(file, &config, None).unwrap();
    let orders = RefCell::new(Vec::new());
    let mut take = |batch: Batch| {
        let nobody = Applied { order: Change::New, customer: None, customer_id: None, owner: None };
        let outcomes = Outcomes { orders: batch.orders.iter().map(|_| Ok(nobody)).collect(), people: Vec::new() };
        orders.borrow_mut().extend(batch.orders);
        Ok((Batch::default(), outcomes))
    };
    let report = import(input, false, &mut take, &|_| {}).unwrap();
    let read: Vec<_> = orders
        .borrow()
        .iter()
        .map(|it: &Order| (it.source_id.clone(), it.source, it.status.as_str(), it.refunded.0))
        .collect();
    let woo = Source::WooCommerce;
    assert_eq!(
        read,
        [
            ("727".to_owned(), woo, "paid", 0),
            ("728".to_owned(), woo, "pending", 0),
            ("729".to_owned(), woo, "paid", 200)
        ]
    );
    assert_eq!(
        report.rejections,
        [Rejection { line: 6, reason: "total is empty".replace("total", "Order Total Amount") }]
    );
}

#[test]
fn what_a_file_is_taken_for() {
    let mapped = |columns: &[(&str, &str)], people: &[(&str, &str)]| {
        let mut config = Config::default();
        let owned = |of: &[(&str, &str)]| of.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        (config.import.columns, config.import.customer_columns) = (owned(columns), owned(people));
        config
    };
    let plain = mapped(&[], &[]);
    for (header, config, expected) in [
        ("order_id,email,ordered_at,total", &plain, Ok(Format::Csv)),
        ("Name,Email,Financial Status,Total,Created at,Id", &plain, Ok(Format::ShopifyCsv)),
        ("First Name,Last Name,Email,Total Orders", &plain, Ok(Format::ShopifyCustomersCsv)),
        ("customer_id;email;first_name;consent", &plain, Ok(Format::CustomersCsv)),
        ("order_id,email,ordered_at", &plain, Err("  total = ")),
        ("email", &plain, Err("It has one column: email.")),
        ("a,b,order_id,total", &mapped(&[("ordered_at", "a"), ("email", "b")], &[]), Ok(Format::Csv)),
        ("a,b,order_id,total", &mapped(&[("ordered_at", "c"), ("email", "b")], &[]), Err("no column \"c\"")),
        ("mail,first_name", &mapped(&[("ordered_at", "x")], &[("email", "mail")]), Ok(Format::CustomersCsv)),
    ] {
        let found = open_with(format!("{header}\n"), config, None).map(|input| input.format);
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{header}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{header}: {found}"),
            (found, _) => panic!("{header}: {found:?}"),
        }
    }

    let unknown = "Order Number;Order Date;Email (Billing);Order Total Amount\n";
    insta::assert_snapshot!(open_with(unknown, &plain, None).unwrap_err(), @r##"
    FILE is none of the files that quintile knows. It has 4 columns between semicolons: Order Number, Order Date, Email (Billing), Order Total Amount. If these are orders, say which is which under [import.columns] in config.toml:
      order_id = "Order Number"
      ordered_at = "Order Date"
      total = "Order Total Amount"
      email = "Email (Billing)"
    If these are customers, do so under [import.customer_columns].
    "##);
}

#[test]
fn what_a_preview_shows() {
    let mut file = "Name,Email,Total,Created at,Lineitem name,Lineitem price\n".to_owned();
    for order in 1..=2000 {
        let total = if order == 2 { "much" } else { "10.00" };
        writeln!(file, "#{order},a@example.com,{total},2025-12-01 10:11:12 +0100,Mug,5").unwrap();
        writeln!(file, "#{order},a@example.com,,,Plate,5").unwrap();
    }
    let preview = open_with(&file, &Config::default(), None).unwrap().preview();
    let columns = preview.table.as_ref().unwrap();
    assert_eq!((columns.delimiter, columns.others), (',', 2));
    assert!(preview.warning.unwrap().contains("no column \"Id\""));
    assert_eq!(columns.read[0], ("order_id", "Name".to_owned()));
    let lines: Vec<_> = preview.rows.iter().map(|row| row.line).collect();
    assert_eq!(lines, [2, 4, 6, 8, 10]);
    let Ok(Read::Order(first)) = &preview.rows[0].read else { panic!("{:?}", preview.rows[0]) };
    assert_eq!(first.ordered_at, Timestamp::parse_rfc3339("2025-12-01T09:11:12Z").unwrap());
    assert!(preview.rows[1].read.as_ref().unwrap_err().starts_with("Total: \"much\" is not an amount"));

    // A row that the first bytes hold in part is not shown as if it were whole.
    let long = format!("order_id,email,ordered_at,total\n1,a@b.example,2025-01-01,1\n2,\"{}", "x".repeat(70_000));
    let preview = open_with(long, &Config::default(), None).unwrap().preview();
    assert_eq!(preview.rows.len(), 1);
    assert!(
        open_with("order_id,email,ordered_at,total\n", &Config::default(), None).unwrap().preview().rows.is_empty()
    );
}
