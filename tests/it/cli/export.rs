//! `quintile export`: everything out, as it stood at one moment, for its owner alone.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use quintile::{ledger::Rules, model::Timestamp};
use serde_json::{Value, json};

use super::{CONFIG, Home, finished};
use crate::support::shop::{OrderBody, Shop, customer, merge, order};

/// What a file of comma-separated values holds: each row by column.
fn csv(path: &Path) -> Vec<BTreeMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(Result::unwrap).collect()
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

/// Exports the database of `shop` from outside, with the program.
fn export(home: &Home, shop: &Shop, to: &str, format: &str) {
    let done = finished(on(home, shop, &["export", "--to", to, "--format", format]).output().unwrap());
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{}", done.out);
}

fn on(home: &Home, shop: &Shop, args: &[&str]) -> std::process::Command {
    let mut command = home.command(args);
    command.env("QUINTILE_DATABASE__PATH", &shop.config.database.path);
    command
}

/// A shop in which everything happened that changes what an order is worth, or whose it is.
async fn eventful_shop() -> Shop {
    let shop = Shop::open();
    let of = |id: u64| customer(id, &format!("c{id}@example.com"));
    for n in 1..=30_u64 {
        let day = format!("2026-10-{:02}T10:00:00.{:03}Z", 1 + n % 28, n);
        let body = order(n).by(&of(100 + n % 13)).total(&format!("{}.50", 10 + n * n % 90)).placed(&day).updated(&day);
        shop.tell("orders/create", &body.json()).await;
    }
    let update = |body: OrderBody| body.updated("2026-11-02T10:00:00Z").json();
    for body in [
        order(31).by(&of(101)).total("80.00").current("30.00").refund("50.00").status("partially_refunded"),
        order(32).by(&of(102)).total("80.00").current("0.00").refund("80.00").status("refunded"),
        order(33).by(&of(103)).total("80.00").current("125.00"), // more was put into it
        order(34).by(&of(104)).total("80.00").set("total_outstanding", "20.00").status("partially_paid"),
        order(35).by(&of(105)).status("pending"),
        order(36).by(&of(106)).set("test", true),
        order(37).by(&of(107)).set("cancelled_at", "2026-11-02T09:00:00Z"),
        order(38).by(&of(108)).status("voided"),
        order(39).guest("Guest@example.com"),
        order(40).guest("guest@example.com "),
        order(41), // nobody's
        order(42).by(&of(120)),
        order(43).by(&of(121)),
        order(44).by(&of(122)),
        order(45).by(&of(109)).set("name", "=1+1"),
    ] {
        shop.tell("orders/updated", &update(body)).await;
    }
    shop.tell("customers/merge", &merge(101, 102)).await;
    shop.tell("customers/create", &customer(300, "guest@example.com")).await; // the guest has an id now
    shop.tell("customers/delete", &json!({ "id": 120 })).await;
    shop.tell("orders/delete", &json!({ "id": 43 })).await;
    shop.tell("orders/delete", &json!({ "id": 4711 })).await; // never seen
    let redact = json!({ "shop_id": 1, "shop_domain": "apples.myshopify.com", "customer": { "id": 122, "email": "c122@example.com", "phone": null }, "orders_to_redact": [] });
    shop.tell("customers/redact", &redact).await;
    shop
}

/// Counters and scores by id.
fn standings(customers: &Value, id: &str) -> BTreeMap<String, Value> {
    let ranked = customers.as_array().unwrap().iter().filter(|it| it["r"] != Value::Null);
    let told = |it: &Value| {
        json!([
            it["orderCount"],
            it["totalSpent"],
            it["firstOrderAt"],
            it["lastOrderAt"],
            it["r"],
            it["f"],
            it["m"],
            it["segment"]
        ])
    };
    ranked.map(|it| (it[id].as_str().unwrap().to_owned(), told(it))).collect()
}

#[tokio::test]
async fn exported_orders_imported_again_score_alike() {
    let shop = eventful_shop().await;
    let (old, home) = (Home::new(CONFIG), Home::new(CONFIG));
    let copy = old.path("quintile.db");
    let connection = rusqlite::Connection::open(&shop.config.database.path).unwrap();
    connection.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let as_of = "2026-11-24T02:00:00Z";
    old.ok(&["score", "--as-of", as_of]);
    old.ok(&["export", "--to", "out", "--format", "csv"]);

    fs::copy(old.path("out/orders.csv"), home.path("orders.csv")).unwrap();
    home.ok(&["import", "orders.csv"]);
    home.ok(&["score", "--as-of", as_of]);
    let before = standings(&old.json(&["customers"]), "id");
    assert!(before.len() > 12, "{before:?}");
    assert_eq!(standings(&home.json(&["customers"]), "externalId"), before);

    let orders = csv(&old.path("out/orders.csv"));
    assert_eq!(orders.len(), 45, "all but the one that nobody has seen");
    let of = |name: &str| orders.iter().find(|order| order["external_id"] == name).unwrap();
    for (id, status, total, refunded, net) in [
        ("31", "paid", "80.00", "50.00", "30.00"),
        ("32", "refunded", "80.00", "80.00", "0.00"),
        ("33", "paid", "125.00", "0.00", "125.00"),
        ("34", "paid", "80.00", "20.00", "60.00"),
        ("35", "pending", "49.90", "0.00", "0.00"),
        ("36", "cancelled", "49.90", "0.00", "0.00"),
        ("37", "cancelled", "49.90", "0.00", "0.00"),
        ("38", "cancelled", "49.90", "0.00", "0.00"),
    ] {
        let order = of(id);
        let told: Vec<&str> = ["status", "total", "refunded", "net"].iter().map(|name| order[*name].as_str()).collect();
        assert_eq!(told, [status, total, refunded, net], "{id}");
    }
    assert_eq!(of("34")["shop_status"], "partially_paid");
    assert_eq!(of("45")["name"], "=1+1", "as it is: programs read it");
    assert_eq!((of("42")["customer_id"].as_str(), of("42")["email"].as_str()), ("", ""), "the customer is gone");
    assert_eq!((of("44")["customer_id"].as_str(), of("44")["email"].as_str()), ("", ""), "forgotten");
    assert_eq!(of("43")["status"], "cancelled", "deleted");
    assert_eq!(of("39")["customer_id"], of("40")["customer_id"]);
}

#[tokio::test]
async fn every_format_holds_every_row_for_its_owner_alone() {
    let shop = eventful_shop().await;
    let home = Home::new(CONFIG);
    let counts = |table: &str| shop.row(&format!("SELECT count(*) FROM {table}")).parse::<u64>().unwrap();
    for format in ["jsonl", "csv", "sql"] {
        export(&home, &shop, format, format);
        let folder = home.path(format);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let manifest = manifest(&folder);
        assert_eq!((&manifest["format"], &manifest["currency"]), (&json!(format), &json!("EUR")));
        assert_eq!(manifest["schema"], quintile::db::SCHEMA_VERSION);
        assert_eq!(manifest["scoring"], json!({ "ties": "together", "windowDays": 0, "includeWithoutOrders": false }));
        let mut written = BTreeSet::from(["manifest.json".to_owned()]);
        for table in manifest["tables"].as_array().unwrap() {
            let (name, file) = (table["table"].as_str().unwrap(), table["file"].as_str().unwrap());
            written.insert(file.to_owned());
            let text = fs::read_to_string(folder.join(file)).unwrap();
            let rows = match format {
                "jsonl" => text.lines().filter(|line| serde_json::from_str::<Value>(line).unwrap().is_object()).count(),
                "csv" => csv(&folder.join(file)).len(),
                _ => {
                    let block = text.split(&format!("COPY \"{name}\" (")).nth(1).unwrap();
                    block.lines().skip(1).take_while(|line| *line != "\\.").count()
                }
            };
            assert_eq!(table["rows"], rows, "{format} {name}");
            let stored = match name {
                "events" => counts("outbox"),
                "delivery_events" => counts("batched"),
                "orders" if format != "sql" => counts("orders WHERE ordered_at IS NOT NULL"),
                other => counts(other),
            };
            assert_eq!(rows as u64, stored, "{format} {name}");
        }
        let there: BTreeSet<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{entry:?}");
                entry.file_name().into_string().unwrap()
            })
            .collect();
        assert_eq!(there, written);
    }
}

#[test]
fn values_are_written_as_everywhere() {
    let home = Home::with_orders();
    home.ok(&["score", "--as-of", "2025-11-23T02:00:00Z"]);
    let said = home.ok(&["export", "--to", "out"]);
    assert!(said.contains("customers                11\n"), "{said}");
    let lines = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(home.path("out").join(name)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    // The same members with the same values as the command shows, and some more.
    for (exported, shown) in lines("customers.jsonl").iter().zip(home.json(&["customers"]).as_array().unwrap()) {
        for (key, value) in shown.as_object().unwrap() {
            assert_eq!(&exported[key], value, "{key}");
        }
    }
    let (events, shown) = (lines("events.jsonl"), home.json(&["events"]));
    assert_eq!(events.len(), 10);
    for (event, shown) in events.iter().zip(shown.as_array().unwrap()) {
        for key in ["seq", "id", "type", "timestamp"] {
            assert_eq!(event[key], shown[key]);
        }
        for key in ["customerId", "oldSegment", "newSegment", "cause"] {
            assert_eq!(event[key], shown["data"][key]);
        }
    }
    let order = &lines("orders.jsonl")[0];
    assert_eq!(
        (&order["orderId"], &order["orderedAt"], &order["total"], &order["counted"], &order["test"]),
        (&json!("1"), &json!("2025-11-20T10:00:00Z"), &json!("400.00"), &json!(true), &json!(false))
    );
    assert_eq!(lines("runs.jsonl")[0]["asOf"], "2025-11-23T02:00:00Z");
    let quintiles = lines("run_quintiles.jsonl");
    assert_eq!(quintiles[0]["dimension"], "f");
    let of_frequency = quintiles.iter().filter(|it| it["dimension"] == "f");
    assert_eq!(of_frequency.map(|it| it["customers"].as_u64().unwrap()).sum::<u64>(), 10);
    assert!(quintiles[0]["orderCountFrom"].is_number() && quintiles[0]["lastOrderFrom"].is_null());
}

#[test]
fn nothing_is_overwritten_and_nothing_half_is_left() {
    let home = Home::with_orders();
    home.ok(&["export", "--to", "out"]);
    let before = fs::read(home.path("out/customers.jsonl")).unwrap();
    assert_eq!(
        home.fails(2, &["export", "--to", "out", "--format", "csv"]),
        "error: out is not empty, and an export overwrites nothing; name another folder, like --to out/export\n"
    );
    assert_eq!(fs::read(home.path("out/customers.jsonl")).unwrap(), before);
    home.write("file", "");
    assert_eq!(home.fails(2, &["export", "--to", "file"]), "error: file is a file; name a folder\n");
    home.fails(2, &["export"]);

    // A disk that is full.
    home.write("many.csv", &many_orders());
    home.ok(&["import", "many.csv"]);
    let program = home.command(&[]).get_program().to_owned();
    let output = std::process::Command::new("sh")
        .current_dir(home.path("."))
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" export --to full"])
        .arg(program)
        .output()
        .unwrap();
    let done = finished(output);
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(done.err.starts_with("error: cannot write full/"), "{}", done.err);
    assert_eq!(fs::read_dir(home.path("full")).unwrap().count(), 0, "half an export is no export");
}

fn many_orders() -> String {
    let row = |n| format!("{n},customer{}@example.com,2025-11-20T10:00:00Z,10.00\n", n % 500);
    std::iter::once("order_id,email,ordered_at,total\n".to_owned()).chain((1000..6000).map(row)).collect()
}

#[test]
fn all_files_tell_of_one_moment_beside_a_writer() {
    let home = Home::new(CONFIG);
    home.write("orders.csv", &many_orders());
    home.ok(&["import", "orders.csv"]);
    let database = home.database();
    let rules = Rules::from_config(&quintile::config::Config::default());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut written = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let order = one_more(written);
                let rules = rules.clone();
                let now = Timestamp::from_millis(1_795_435_200_000);
                let apply =
                    move |tx: &rusqlite::Transaction<'_>| Ok(quintile::ledger::apply_order(tx, &rules, &order, now)?);
                database.writer().write_blocking(apply).unwrap();
                written += 1;
            }
            written
        });
        for round in 0..3 {
            home.ok(&["export", "--to", &format!("out{round}"), "--format", "csv"]);
        }
        done.store(true, Ordering::Relaxed);
        assert!(writing.join().unwrap() > 0);
    });
    for round in 0..3 {
        let mut counted: BTreeMap<String, u64> = BTreeMap::new();
        for order in csv(&home.path(&format!("out{round}/orders.csv"))) {
            *counted.entry(order["customer_id"].clone()).or_default() += 1;
        }
        for customer in csv(&home.path(&format!("out{round}/customers.csv"))) {
            let orders = counted.get(&customer["id"]).copied().unwrap_or_default();
            assert_eq!(customer["order_count"], orders.to_string(), "round {round}, customer {}", customer["id"]);
        }
    }
}

/// An order of one of the customers of [`many_orders`].
fn one_more(number: u64) -> quintile::model::Order {
    use quintile::model::{Currency, Money, Order, OrderStatus, Origin, Person, Source};
    let email = Some(format!("customer{}@example.com", number * 37 % 500));
    Order {
        source: Source::Api,
        source_id: number.to_string(),
        person: Some(Person { email, ..Person::unknown(Source::Api) }),
        name: None,
        status: OrderStatus::Paid,
        is_test: false,
        currency: Currency::EUR,
        gross: Money(100),
        current: None,
        outstanding: None,
        refunded: Money::ZERO,
        net_payment: None,
        ordered_at: Timestamp::from_millis(1_795_000_000_000),
        created_at: None,
        cancelled_at: None,
        updated_at: Some(Timestamp::from_millis(1_795_000_000_000)),
        triggered_at: None,
        origin: Origin::Api,
        historical: false,
    }
}
