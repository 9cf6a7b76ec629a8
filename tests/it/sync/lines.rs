//! `quintile import` of a bulk operation's file.

use std::{io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

use super::nodes::{customer, order, with};
use crate::support::{merchant::Merchant, process};

const AT: &str = "2026-11-01T10:00:00Z";

fn lines(objects: &[Value]) -> String {
    objects.iter().flat_map(|object| [object.to_string(), "\n".to_owned()]).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn write(merchant: &Merchant, name: &str, content: &[u8]) -> PathBuf {
    let path = merchant.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn merchant() -> Merchant {
    let merchant = Merchant::sending("");
    merchant.run(&["init"]);
    merchant
}

fn import(merchant: &Merchant, file: &str) -> Value {
    merchant.json(&["import", file])["files"][0].clone()
}

fn customers(merchant: &Merchant) -> Vec<String> {
    let listed = merchant.json(&["customers"]);
    let told = |customer: &Value| {
        format!(
            "{} {} {}",
            customer["externalId"].as_str().unwrap_or("guest"),
            customer["orderCount"],
            customer["totalSpent"].as_str().unwrap()
        )
    };
    let mut told: Vec<String> = listed.as_array().unwrap().iter().map(told).collect();
    told.sort();
    told
}

#[test]
fn flat_lines_come_in_once_plain_or_packed() {
    let merchant = merchant();
    let guest = with(order(3, None, "7.00", AT), [("email", json!("Guest@example.com"))]);
    let objects = [customer(7, AT), order(1, Some(7), "20.00", AT), order(2, Some(7), "30.00", AT), guest];
    write(&merchant, "orders.jsonl", lines(&objects).as_bytes());
    let report = import(&merchant, "orders.jsonl");
    assert_eq!((&report["format"], &report["rows"]), (&json!("shopify-jsonl"), &json!(4)));
    assert_eq!(report["orders"], json!({ "new": 3, "updated": 0, "unchanged": 0, "rejected": 0 }));
    assert_eq!(customers(&merchant), ["7 2 50.00", "guest 1 7.00"]);

    // The same again, packed, under a name that says nothing, behind a byte order mark.
    write(&merchant, "what", &gzip(&format!("\u{feff}{}", lines(&objects))));
    let report = import(&merchant, "what");
    assert_eq!(report["orders"], json!({ "new": 0, "updated": 0, "unchanged": 3, "rejected": 0 }));
    assert_eq!(report["customers"], json!({ "new": 0, "updated": 0 }));
    assert_eq!(customers(&merchant), ["7 2 50.00", "guest 1 7.00"]);
}

#[test]
fn children_need_not_follow_their_parents() {
    let merchant = merchant();
    let item = |id: u64, parent: &str| json!({ "id": format!("gid://shopify/LineItem/{id}"), "quantity": 1, "__parentId": parent });
    let of_customer = |id: u64, customer: u64| {
        with(
            order(id, None, "10.00", AT),
            [("__parentId", json!(format!("gid://shopify/Customer/{customer}"))), ("email", Value::Null)],
        )
    };
    let objects = [
        of_customer(1, 8),
        customer(7, AT),
        item(1, "gid://shopify/Order/1"),
        of_customer(2, 7),
        json!({ "title": "no id", "__parentId": "gid://shopify/Order/2" }),
        of_customer(3, 8),
        customer(8, AT),
    ];
    write(&merchant, "nested.jsonl", lines(&objects).as_bytes());
    let report = import(&merchant, "nested.jsonl");
    assert_eq!(
        (&report["rows"], &report["orders"]["new"], &report["orders"]["rejected"]),
        (&json!(7), &json!(3), &json!(0))
    );
    assert_eq!(customers(&merchant), ["7 1 10.00", "8 2 20.00"]);
}

#[test]
fn bad_lines_are_set_aside_with_their_numbers() {
    let merchant = merchant();
    let deep = "[".repeat(10_000);
    let text = [
        order(1, Some(7), "20.00", AT).to_string(),
        String::new(),
        "{\"id\":".to_owned(),
        with(order(2, Some(7), "1e400", AT), []).to_string(),
        with(order(3, Some(7), "-5.00", AT), []).to_string(),
        with(order(4, Some(7), "5.00", AT), [("processedAt", json!("0000-01-01T00:00:00Z"))]).to_string(),
        with(order(5, Some(7), "5.00", AT), [("processedAt", json!("9999-01-01T00:00:00Z"))]).to_string(),
        "{\"id\":\"gid://shopify/Order/6\",\"email\":\"\\ud800\"}".to_owned(),
        deep,
        json!({ "id": "gid://shopify/Product/1" }).to_string(),
        format!("{{\"id\":\"{}\"}}", "x".repeat(9 * 1024 * 1024)),
        order(7, Some(7), "30.00", AT).to_string(),
    ]
    .join("\n");
    write(&merchant, "bad.jsonl", text.as_bytes());
    let output =
        process::run(merchant.path(), &["import", "bad.jsonl", "--source-format", "shopify-jsonl", "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let report = &report["files"][0];
    assert_eq!(report["orders"], json!({ "new": 2, "updated": 0, "unchanged": 0, "rejected": 9 }));
    let rejected = std::fs::read(merchant.path().join("bad.jsonl.rejected.csv")).unwrap();
    let mut rows = csv::ReaderBuilder::new().flexible(true).from_reader(rejected.as_slice());
    assert_eq!(rows.headers().unwrap(), &csv::StringRecord::from(vec!["line", "reason", "json"]));
    let reasons: Vec<(String, String)> =
        rows.records().map(|row| row.unwrap()).map(|row| (row[0].to_owned(), row[1].to_owned())).collect();
    let expected = [
        ("3", "the body is not JSON"),
        ("4", "totalPriceSet is not usable"),
        ("5", "its total -5.00 is negative"),
        ("6", "its order date"),
        ("7", "its order date"),
        ("8", "the body is not"),
        ("9", "64 levels deep"),
        ("10", "neither an order nor a customer"),
        ("11", "longer than 8388608 bytes"),
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for ((line, reason), (number, words)) in reasons.iter().zip(expected) {
        assert!(line == number && reason.contains(words), "{line}: {reason}, not {number}: {words}");
    }
}

#[test]
fn a_dry_run_stores_nothing_and_a_cut_archive_says_where() {
    let merchant = merchant();
    let objects: Vec<Value> = (1..=3000).map(|id| order(id, Some(id % 50 + 1), "20.00", AT)).collect();
    let packed = gzip(&lines(&objects));
    write(&merchant, "orders.jsonl.gz", &packed);
    let report = merchant.json(&["import", "orders.jsonl.gz", "--dry-run"])["files"][0].clone();
    assert_eq!((&report["orders"]["new"], &report["customers"]["new"]), (&json!(3000), &json!(50)));
    assert_eq!(merchant.json(&["customers"]), json!([]));

    write(&merchant, "cut.jsonl.gz", &packed[..packed.len() - 100]);
    let output = process::run(merchant.path(), &["import", "cut.jsonl.gz"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("the import of cut.jsonl.gz stopped; run it again, nothing is stored twice"), "{told}");
    assert_eq!(import(&merchant, "orders.jsonl.gz")["rows"], json!(3000));
    assert_eq!(customers(&merchant).len(), 50);
}
