//! `quintile import`: files in, through the real program.

mod again;
mod command;
mod customers;
mod formats;
mod large;
mod rejected;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
};

use quintile::{
    cli::demo::shop::{Shop, csv_record},
    config::IMPORT_COLUMNS,
    ledger::Rules,
    model::{Order, OrderStatus, Timestamp},
};
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::support::folder::Folder;

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
    dir: Folder,
}

impl Desk {
    fn new() -> Self {
        Self::with("currency = \"EUR\"", "")
    }

    /// `shop` goes below `[shop]`, `rest` after it.
    fn with(shop: &str, rest: &str) -> Self {
        let dir = Folder::new();
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

/// The made-up shop's history as a generic CSV, with what it adds up to.
struct MadeUp {
    text: String,
    orders: u64,
    counted: u64,
    net: i64,
}

fn made_up_csv(customers: u32) -> MadeUp {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(IMPORT_COLUMNS).unwrap();
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
    Rules::default()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}
