//! `quintile erase` and `quintile inbox` as a merchant uses them, also while `serve` runs.

use serde_json::{Value, json};

use super::{ANNA, data_request, files_hold, redact};
use crate::support::{
    merchant::{Merchant, SHOP, post_shopify, shopify_order},
    process::{self, Server, eventually},
    receiver::{Received, Receiver},
};

/// Placed this moment: the first order of a customer is news.
fn annas_order(id: u64) -> Value {
    let mut order = shopify_order(id, 7001, "49.90", &quintile::clock::now().to_string());
    order["email"] = json!(ANNA);
    order["customer"]["email"] = json!(ANNA);
    order["customer"]["first_name"] = json!("Annabelle");
    order
}

fn post(server: &Server, topic: &str, id: &str, body: &Value) {
    let mut body = body.clone();
    if body["shop_domain"].is_string() {
        body["shop_domain"] = json!(SHOP);
    }
    let body = &body;
    assert_eq!(post_shopify(server, topic, id, body).unwrap().status, 200);
}

fn database_holds(merchant: &Merchant, text: &str) -> bool {
    files_hold(&merchant.path().join("quintile.db"), text)
}

fn told(receiver: &Receiver, kind: &str) -> Vec<Value> {
    receiver.received().iter().map(Received::json).filter(|event| event["type"] == kind).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_erased_while_serve_runs() {
    let receiver = Receiver::start().await;
    let merchant = Merchant::new(receiver.url());
    tokio::task::block_in_place(|| {
        let server = Server::start(merchant.path());
        post(&server, "orders/create", "w-1", &annas_order(1));
        eventually("the news of her first order", || told(&receiver, "customer/first_order").pop());
        eventually("its delivery", || {
            (merchant.json(&["deliveries", "--state", "delivered"]) != json!([])).then_some(())
        });
        assert!(database_holds(&merchant, ANNA));

        let report = merchant.json(&["erase", "--email", "ANNA@example.com"]);
        let id = report["customers"][0].as_str().unwrap().to_owned();
        let expected = json!({ "customers": [id], "orders": 1, "cancelled": 0, "scrubbed": 1, "onTheirWay": 0,
            "messages": 1, "told": ["my-tool"], "byHand": [], "backupsHoldForDays": 28, "setAside": [] });
        assert_eq!(report, expected);
        let redacted = eventually("the word to the tool", || told(&receiver, "customer/redacted").pop());
        assert_eq!(redacted["data"]["customerId"], id.as_str());
        assert!(!database_holds(&merchant, ANNA) && !database_holds(&merchant, "Annabelle"));

        post(&server, "orders/create", "w-2", &annas_order(2));
        let customers = merchant.json(&["customers"]);
        assert_eq!((&customers[0]["orderCount"], &customers[0]["email"]), (&json!(2), &json!(null)));
        assert_eq!(customers.as_array().unwrap().len(), 1);
        assert!(!database_holds(&merchant, ANNA) && !database_holds(&merchant, "Annabelle"));

        // The shop asks for the same by a webhook, and for somebody's data.
        post(&server, "orders/create", "w-3", &shopify_order(3, 7002, "10.00", &quintile::clock::now().to_string()));
        post(&server, "customers/redact", "w-4", &redact(Some(7002), None, None));
        eventually("the end of the search", || (!database_holds(&merchant, "c7002@example.com")).then_some(()));
        post(&server, "orders/create", "w-5", &shopify_order(4, 7003, "10.00", &quintile::clock::now().to_string()));
        post(&server, "customers/data_request", "w-6", &data_request(Some(7003), None, None));
        let file = eventually("the file", || {
            let messages = merchant.json(&["inbox", "--topic", "customers/data_request"]);
            let name = messages[0]["reason"].as_str()?.split(',').next()?.to_owned();
            std::fs::read_to_string(merchant.path().join(name)).ok()
        });
        assert!(file.contains("c7003@example.com") && !file.contains("c7001@"), "{file}");
        assert!(server.terminate().success());
        assert_eq!(quintile::invariants::violations(&merchant.sql()).unwrap(), Vec::<String>::new());
    });
}

#[test]
fn a_crash_right_behind_an_erasure_leaves_nothing_of_the_person() {
    let merchant = Merchant::sending("");
    let server = Server::start(merchant.path());
    post(&server, "orders/create", "w-1", &annas_order(1));
    // Whoever reads keeps the log from being emptied; who may only read leaves it behind.
    let file = merchant.path().join("quintile.db");
    let reader = rusqlite::Connection::open_with_flags(file, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM customers").unwrap();
    post(&server, "customers/redact", "w-2", &redact(Some(7001), Some(ANNA), None));
    server.kill();
    drop(reader);
    assert!(database_holds(&merchant, ANNA));
    let server = Server::start(merchant.path());
    eventually("an empty log", || (!database_holds(&merchant, ANNA)).then_some(()));
    assert!(server.terminate().success());
}

#[test]
fn a_report_says_what_was_done_and_what_is_left_to_do() {
    let merchant = Merchant::sending("[[destination]]\nname = \"news\"\nkind = \"klaviyo\"\napi_key = \"k\"\n");
    merchant.write(
        "orders.csv",
        "order_id,customer_id,email,ordered_at,total\n1,c1,anna@example.com,2025-11-20T10:00:00Z,10.00\n",
    );
    merchant.run(&["import", "orders.csv"]);
    std::fs::remove_file(merchant.path().join("orders.csv")).unwrap();
    let said = |arguments: &[&str]| {
        let output = process::run(merchant.path(), arguments);
        (output.status.code(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, out, _) = said(&["erase", "--customer", "1"]);
    assert_eq!(
        (code, out.as_str()),
        (
            Some(0),
            "Without a name from now on: customer 1. Their orders go on counting.
  orders that named them              1
  messages of the shop, scrubbed      0
  deliveries that are never sent      0
  deliveries of the past, scrubbed    0
Delete them by hand in: news.
Nightly backups hold them for up to 28 more days, then the last that does is gone.
Backups made by hand hold them until you delete those.
Imported files still hold what they held.
"
        )
    );
    assert!(!database_holds(&merchant, ANNA));
    let (code, out, _) = said(&["erase", "--email", ANNA]);
    assert!(code == Some(0) && out.starts_with("Nobody here had a name by this."), "{out}");
    assert_eq!(said(&["erase", "--customer", "9", "--format", "json"]).0, Some(1));
    assert!(said(&["erase", "--customer", "9"]).2.contains("there is no customer 9; `quintile customers` lists them"));
    assert!(said(&["erase", "--email", "anna"]).2.contains("write it whole, like anna@example.com"));
    assert_eq!(said(&["erase"]).0, Some(2), "nobody is meant");
    assert_eq!(said(&["erase", "--email", ANNA, "--customer", "1"]).0, Some(2), "it may be two people");
    assert_eq!(quintile::invariants::violations(&merchant.sql()).unwrap(), Vec::<String>::new());
}

#[test]
fn messages_are_listed_and_read_again_while_serve_runs() {
    let merchant = Merchant::sending("");
    let server = Server::start(merchant.path());
    let mut dollars = shopify_order(1, 7001, "49.90", "2026-11-01T10:00:00Z");
    dollars["currency"] = json!("USD");
    post(&server, "orders/create", "w-1", &dollars);
    post(&server, "orders/create", "w-1", &dollars);
    post(&server, "orders/create", "w-2", &shopify_order(2, 7001, "10.00", "2026-11-01T10:00:00Z"));
    post(&server, "products/update", "w-3", &json!({ "id": 1 }));
    let listed = merchant.json(&["inbox"]);
    let states: Vec<&str> = listed.as_array().unwrap().iter().map(|it| it["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["ignored", "done", "quarantined"], "the newest first");
    let one = merchant.json(&["inbox", "--state", "quarantined"]);
    assert_eq!(
        (&one[0]["id"], &one[0]["topic"], &one[0]["duplicates"]),
        (&json!("1"), &json!("orders/create"), &json!(1))
    );
    assert!(one[0]["reason"].as_str().unwrap().contains("it is in USD"));
    let replay = |more: &[&str]| {
        let output = process::run(merchant.path(), &[&["inbox", "replay"], more, &["--format", "json"]].concat());
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap_or_default())
    };
    let none = json!({ "matched": 1, "done": 0, "stale": 0, "ignored": 0, "quarantined": 0, "forgotten": 0 });
    assert_eq!(replay(&["--state", "quarantined", "--dry-run"]), (Some(0), none));
    let still = json!({ "matched": 1, "done": 0, "stale": 0, "ignored": 0, "quarantined": 1, "forgotten": 0 });
    assert_eq!(replay(&["--state", "quarantined"]), (Some(3), still), "it is in dollars still");
    let ignored = json!({ "matched": 1, "done": 0, "stale": 0, "ignored": 1, "quarantined": 0, "forgotten": 0 });
    assert_eq!(replay(&["--topic", "products/update"]), (Some(0), ignored));
    merchant.sql().execute("UPDATE inbox SET body = x'' WHERE state = 'ignored'", []).unwrap();
    let gone = json!({ "matched": 0, "done": 0, "stale": 0, "ignored": 0, "quarantined": 0, "forgotten": 1 });
    assert_eq!(replay(&["--topic", "products/update"]), (Some(0), gone));
    let told = process::run(merchant.path(), &["inbox", "replay", "--topic", "products/update"]);
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.starts_with("Ignored messages that cannot be read again: 1.") && told.contains("90 days"), "{told}");
    assert_eq!(merchant.json(&["inbox", "--state", "ignored"])[0]["bytes"], Value::Null);
    // What is left of somebody else's request is said, and no failure of this one.
    std::fs::write(merchant.path().join("data-request-9.json"), "not what quintile wrote").unwrap();
    assert_eq!(process::run(merchant.path(), &["erase", "--email", ANNA]).status.code(), Some(1));
    let told = process::run(merchant.path(), &["inbox", "replay", "--topic", "products/update"]);
    let said = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(0), "{said}");
    assert!(said.starts_with("note: ") && said.contains("data-request-9.json may be about"), "{said}");
    assert_eq!(replay(&[]).0, Some(2), "which are meant is not said");
    assert_eq!(replay(&["--state", "done"]).0, Some(2));
    let csv = process::run(merchant.path(), &["inbox", "--format", "csv", "--message", "2"]);
    let csv = String::from_utf8(csv.stdout).unwrap();
    assert!(csv.starts_with("id,received_at,source,topic,state,duplicates,bytes,reason\r\n2,"), "{csv}");
    assert_eq!(merchant.json(&["customers"])[0]["orderCount"], 1);
}
