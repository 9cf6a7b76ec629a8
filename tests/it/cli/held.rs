//! Deciding about held deliveries.

use serde_json::{Value, json};

use super::{CONFIG, Home, ORDERS};
use crate::support::receiver::{Receiver, SECRET};

/// Ten customers scored, their deliveries held.
fn held(url: &str) -> Home {
    let home = Home::new(&format!(
        "{CONFIG}[forwarder]\nbaseline = \"hold\"\nallow_private = [\"127.0.0.0/8\"]\n[[destination]]\nname = \"my-tool\"\nurl = \"{url}\"\nallow_http = true\nsecret_env = \"TOOL_SECRET\"\n"
    ));
    home.write("orders.csv", ORDERS);
    home.ok(&["import", "orders.csv"]);
    let said = home.ok(&["score", "--as-of", "2025-11-23T02:00:00Z"]);
    assert!(said.contains("held: `quintile deliveries release --run 1` sends them"), "{said}");
    home
}

fn states(home: &Home) -> Vec<Value> {
    let mut states: Vec<Value> =
        home.json(&["deliveries"]).as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    states.dedup();
    states
}

async fn deliver(home: &Home) -> (Option<i32>, Value, String) {
    let mut command = home.command(&["deliver", "--until-idle", "--format", "json"]);
    command.env("TOOL_SECRET", SECRET);
    // Beside this thread, on which the receiver answers.
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report, String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn what_is_released_goes_out() {
    let tool = Receiver::start().await;
    let home = held(tool.url());
    let dry = home.json(&["deliveries", "release", "--run", "1", "--dry-run"]);
    assert_eq!((dry, states(&home)), (json!({"matched": 10, "released": 0}), vec![json!("held")]));
    let home_database = home.database();
    home.ok(&["deliveries", "discard", "--run", "1", "--dry-run"]);
    assert_eq!(
        home.ok(&["deliveries", "release", "--run", "1", "--destination", "my-tool", "--format", "json"]),
        "{\"matched\":10,\"released\":10}\n"
    );
    assert_eq!(states(&home), ["waiting"], "also beside the process that has the database");
    drop(home_database);
    let receipt = home.json(&["runs", "1"]);
    assert_eq!((&receipt[0]["changes"], &receipt[0]["open"], &receipt[0]["held"]), (&json!(10), &json!(10), &json!(0)));
    let reader = home.database();
    let still: bool = reader.readers().get().unwrap().query_row("SELECT held FROM runs", [], |row| row.get(0)).unwrap();
    assert!(!still, "the run waits no more");
    drop(reader);
    let (code, report, _) = deliver(&home).await;
    assert_eq!((code, &report["delivered"]), (Some(0), &json!(10)));
    assert_eq!(home.json(&["runs", "1"])[0]["delivered"], 10);
    for request in tool.received() {
        assert_eq!(request.json()["data"]["initial"], true);
    }
    assert_eq!(home.ok(&["deliveries", "release", "--baseline"]), "No held delivery matches.\n");
}

#[tokio::test]
async fn what_is_discarded_never_does() {
    let tool = Receiver::start().await;
    let home = held(tool.url());
    let done = home.ok(&["deliveries", "--format", "csv", "discard", "--baseline"]);
    assert_eq!((done.as_str(), states(&home)), ("matched,discarded\r\n10,10\r\n", vec![json!("discarded")]));
    assert_eq!(deliver(&home).await.0, Some(0));
    assert!(tool.received().is_empty());
    let checked = home.command(&["check", "--deep"]).env("TOOL_SECRET", SECRET).output().unwrap().stdout;
    assert!(String::from_utf8(checked).unwrap().contains("ok    contents"));
}

#[tokio::test]
async fn a_tool_that_wants_nothing_more_is_a_part_that_failed() {
    let tool = Receiver::start().await;
    tool.answers(410);
    let home = held(tool.url());
    home.ok(&["deliveries", "release", "--baseline"]);
    let (code, report, _) = deliver(&home).await;
    // The rest of the ten, if they were not on their way already, waits at the destination.
    let (held, waiting) = (report["held"].as_i64().unwrap(), report["waiting"].as_i64().unwrap());
    assert_eq!((code, held + waiting, &report["dead"]), (Some(3), 10, &json!(0)));
    assert!(held > 0);
    assert_eq!(deliver(&home).await.0, Some(0), "nothing was refused this time");
}

#[test]
fn what_waits_for_consent_is_not_for_the_merchant_to_release() {
    let home = Home::new(&format!(
        "{CONFIG}[forwarder]\nbaseline = \"quiet\"\n[[destination]]\nname = \"klaviyo\"\nkind = \"klaviyo\"\napi_key = \"key\"\n"
    ));
    home.write("orders.csv", ORDERS);
    home.ok(&["import", "orders.csv"]);
    home.ok(&["score", "--as-of", "2025-11-23T02:00:00Z"]);
    let said = home.ok(&["deliver", "--until-idle"]);
    let held = said.lines().find(|line| line.starts_with("held")).unwrap();
    assert!(held.ends_with("10  go out by themselves once their customers agree to e-mail marketing"), "{said}");
    let report = home.json(&["deliver", "--until-idle"]);
    assert_eq!((&report["held"], &report["unconsented"]), (&json!(10), &json!(10)));
}

#[tokio::test]
async fn a_renamed_destination_is_named() {
    let tool = Receiver::start().await;
    let home = held(tool.url());
    let config = std::fs::read_to_string(home.path("config.toml")).unwrap();
    home.write("config.toml", &config.replace("my-tool", "our-tool"));
    let (code, _, warning) = deliver(&home).await;
    assert_eq!(
        (code, warning.as_str()),
        (
            Some(0),
            "warning: open deliveries to \"my-tool\", which is no [[destination]] in config.toml: 10; they wait until one has that name\n"
        )
    );
}

const SAY_WHICH: &str = "say which deliveries: --delivery ID, --run ID, --destination NAME, --state S, --segment S, \
                         --customer ID, --since TIME, --until TIME, --baseline, --restored, or --all";

#[test]
fn it_must_be_said_which() {
    let home = held("https://tool.invalid/");
    for (args, said) in [
        (&["deliveries", "release"][..], SAY_WHICH),
        (&["deliveries", "discard", "--dry-run"], SAY_WHICH),
        (&["deliveries", "discard", "--run", "7"], "there is no run 7; `quintile runs` lists them"),
        (&["deliveries", "release", "--destination", "x"], "there is no destination \"x\"; there are my-tool"),
        (
            &["deliveries", "--state", "dead", "release", "--baseline"],
            "`release` cannot act on dead deliveries; it can on held",
        ),
    ] {
        assert_eq!(home.fails(2, args), format!("error: {said}\n"), "{args:?}");
    }
    assert_eq!(states(&home), ["held"]);
}
