//! The three steps from an empty shop to one that works.

use axum::http::StatusCode;
use quintile::model::Timestamp;

use crate::support::{folder::Folder, pages::Shop};

/// The class of each of the three steps.
fn states(shop: &Shop) -> Vec<String> {
    shop.get("/").attributes(".steps li", "class")
}

#[test]
fn a_new_shop_is_led_through_three_steps() {
    let mut shop = Shop::empty();
    let destinations = std::mem::take(&mut shop.config.destination);
    let page = shop.get("/");
    assert_eq!(page.text(".empty h2"), "No orders yet");
    assert_eq!(states(&shop), ["next", "later", "later"]);
    assert_eq!(page.attributes(".steps a", "href"), ["/import", "/destinations"]);
    assert_eq!(page.attributes(".steps form", "action").len(), 0, "nobody can be scored yet");

    let mut shop = Shop::with_customers(30);
    shop.config.destination.clear();
    let page = shop.get("/");
    assert_eq!(page.text(".empty h2"), "Your orders are in");
    assert_eq!(states(&shop), ["done", "next", "later"]);
    assert_eq!(page.attributes(".steps form", "action"), ["/runs"]);
    shop.config.destination = destinations;
    assert_eq!(states(&shop), ["done", "next", "later"], "a tool that took nothing yet may not work");
    assert_eq!(shop.get("/").texts(".steps a")[1], "Send a test");
    assert_eq!(page.texts(".steps .pill"), ["Done", "Next"]);
    shop.execute(
        "INSERT INTO outbox (event_id, type, customer_id, at) VALUES (zeroblob(16), 'customer/first_order', 1, 0);
         INSERT INTO deliveries (message_id, destination, seq, customer_id, state, attempts, created_at, finished_at)
           VALUES (zeroblob(16), 'klaviyo', 1, 1, 'delivered', 1, 0, 1)",
    );
    assert_eq!(states(&shop), ["done", "next", "done"]);

    // Once there are figures the last step stands above them, for the time in which somebody new looks.
    let mut shop = Shop::scored(30);
    shop.execute("DELETE FROM attempts; DELETE FROM deliveries; UPDATE runs SET scored_at = as_of");
    assert_eq!(states(&shop), ["done", "done", "next"]);
    let page = shop.get("/");
    assert_eq!((page.text(".empty h2"), page.texts(".kpi").len()), ("Your customers are scored".to_owned(), 1));
    assert_eq!(page.attributes(".steps a", "href"), ["/customers", "/segments", "/destinations"]);
    shop.config.destination.clear();
    assert_eq!(states(&shop), ["done", "done", "next"]);
    shop.pass(15 * Timestamp::DAY);
    assert_eq!(states(&shop), Vec::<String>::new(), "who wants no tool is not asked for ever");

    assert_eq!(states(&Shop::scored(30)), Vec::<String>::new(), "figures have taken their place");
}

#[test]
fn the_sample_is_a_file_that_an_import_can_read() {
    let shop = Shop::empty();
    let sample = shop.get("/import/sample.csv");
    assert_eq!(sample.status, StatusCode::OK);
    assert_eq!(sample.header("content-disposition"), "attachment; filename=\"sample.csv\"");
    let folder = Folder::new();
    let path = folder.path().join("sample.csv");
    std::fs::write(&path, &sample.body).unwrap();
    let config = folder.path().join("config.toml");
    std::fs::write(&config, "").unwrap();
    let command = || {
        let mut command = assert_cmd::Command::cargo_bin("quintile").unwrap();
        command.arg("--config").arg(&config);
        command
    };
    let output = command().args(["import", "--format", "json"]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["files"][0]["orders"]["new"], 6, "{report}");
    assert_eq!(report["files"][0]["orders"]["rejected"], 0, "{report}");
}
