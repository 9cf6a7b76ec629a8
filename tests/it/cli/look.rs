//! The commands that look: lists in three formats, filters, one customer.

use std::{
    fmt::Write,
    io::{BufRead, BufReader, Read},
    process::Stdio,
};

use serde_json::{Value, json};

use super::{CONFIG, Folder, Home, ORDERS};
use crate::support::folder::MERGED;

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Sorted, as `serde_json` keeps them.
fn sorted<const N: usize>(mut names: [&'static str; N]) -> Vec<&'static str> {
    names.sort_unstable();
    names.to_vec()
}

#[test]
fn before_the_first_run_there_is_nothing_to_see() {
    let home = Home(Folder::new());
    home.ok(&["init"]);
    for list in ["segments", "customers", "runs", "events", "deliveries"] {
        assert_eq!(home.json(&[list]), json!([]), "{list}");
        assert!(home.ok(&[list]).lines().count() == 1, "{list} says so in a line");
    }
    for (list, head) in [
        ("segments", "segment,customers,customer_share,revenue,revenue_share,change"),
        (
            "customers",
            "id,source,external_id,email,first_name,last_name,order_count,total_spent,avg_order_value,currency,first_order_at,last_order_at,r,f,m,segment,previous_segment,segment_since",
        ),
        (
            "runs",
            "id,trigger,as_of,started_at,scored_at,emitted_at,finished_at,state,scored,changed,error,moved,new,left",
        ),
        ("events", "seq,id,type,timestamp,shop_id,customer_id,old_segment,new_segment,cause,run_id,r,f,m"),
        (
            "deliveries",
            "id,message_id,destination,state,events,attempts,next_attempt_at,last_status,last_error,created_at,finished_at",
        ),
    ] {
        assert_eq!(home.ok(&[list, "--format", "csv"]), format!("{head}\r\n"));
    }
}

#[test]
fn customers_are_listed_found_and_shown() {
    let home = Home::with_orders();
    let customers = home.json(&["customers"]);
    let anna = &customers[0];
    assert_eq!(
        *anna,
        json!({
            "id": "1", "source": "csv", "externalId": "c1", "email": "anna@example.com", "firstName": "Anna",
            "lastName": "Ärmel", "orderCount": 2, "totalSpent": "412.50", "avgOrderValue": "206.25", "currency": "EUR",
            "firstOrderAt": "2025-11-20T10:00:00Z", "lastOrderAt": "2025-11-21T10:00:00Z", "r": null, "f": null,
            "m": null, "segment": null, "previousSegment": null, "segmentSince": null,
        })
    );
    assert_eq!(customers.as_array().unwrap().len(), 11, "Kim too, whose order is not paid");
    assert_eq!(customers[10]["orderCount"], 0);
    assert_eq!(customers[10]["lastOrderAt"], Value::Null);

    for (text, found) in [
        ("ANNA@", vec!["1"]),
        ("ärmel", vec!["1"]),
        ("anna ärmel", vec!["1"]),
        ("c2", vec!["2"]),
        ("3", vec!["3"]),
        ("example.com", (1..=11).map(|_| "").collect()),
        ("%", vec![]),
    ] {
        let customers = home.json(&["customers", "--search", text]);
        let ids: Vec<&str> = customers.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap()).collect();
        if found.first() == Some(&"") { assert_eq!(ids.len(), found.len()) } else { assert_eq!(ids, found, "{text}") }
    }

    assert_eq!(home.json(&["customer", "1"]), *anna);
    assert!(home.ok(&["customer", "1"]).contains("totalSpent       412.50\n"));
    assert_eq!(home.fails(1, &["customer", "99"]), "error: there is no customer 99; `quintile customers` lists them\n");
    assert!(home.fails(1, &["customer", "anna"]).starts_with("error: there is no customer \"anna\""));

    let csv = home.ok(&["customers", "--format", "csv"]);
    assert!(csv.contains("1,csv,c1,anna@example.com,Anna,Ärmel,2,412.50,206.25,EUR,"), "{csv}");
    assert!(csv.contains("Ben,'=SUM(A1),2,"), "a spreadsheet must not run a customer's name: {csv}");

    home.0.except(&[MERGED]);
    home.database()
        .writer()
        .write_blocking(|tx| {
            tx.execute_batch(
                "UPDATE customers SET merged_into = 1 WHERE id = 2; UPDATE customers SET deleted_at = 1 WHERE id = 3",
            )?;
            Ok(())
        })
        .unwrap();
    assert_eq!(home.json(&["customers"]).as_array().unwrap().len(), 9);
    assert!(home.fails(1, &["customer", "2"]).contains("customer 2 was merged into customer 1"));
    assert!(home.fails(1, &["customer", "3"]).contains("customer 3 was deleted in the shop"));
}

#[test]
fn wrong_filters_name_the_right_ones() {
    let home = Home::with_orders();
    assert_eq!(
        home.fails(2, &["customers", "--segment", "champions"]),
        "error: there is no segment \"champions\"; --segment takes champion, loyal, new, potential, at_risk, hibernating, lost\n"
    );
    let states = home.fails(2, &["deliveries", "--state", "waitng"]);
    for state in ["waiting", "sending", "retrying", "held", "delivered", "dead", "superseded", "discarded"] {
        assert!(states.contains(state), "{states}");
    }
    assert_eq!(
        home.fails(2, &["deliveries", "--destination", "x"]),
        "error: there is no destination \"x\"; config.toml has none\n"
    );
}

#[test]
fn a_run_is_seen_from_every_side() {
    let home = Home::with_orders();
    let score = home.json(&["score", "--as-of", "2025-11-23T02:00:00Z"]);
    assert_eq!((&score["scored"], &score["changed"], &score["baseline"]), (&json!(10), &json!(10), &json!(true)));
    assert_eq!(score["held"], false, "nothing waits where nothing is sent");

    let segments = home.json(&["segments"]);
    let rows = segments.as_array().unwrap();
    assert_eq!(keys(&rows[0]), sorted(["segment", "customers", "customerShare", "revenue", "revenueShare", "change"]));
    assert_eq!(rows[0]["segment"], "champion");
    let sum = |key: &str| rows.iter().map(|row| row[key].as_f64().unwrap()).sum::<f64>();
    assert!((sum("customers") - 10.0).abs() < f64::EPSILON);
    assert!((sum("customerShare") - 1.0).abs() < 0.01 && (sum("revenueShare") - 1.0).abs() < 0.01);
    assert!(rows.iter().all(|row| row["change"].is_null()), "nothing to compare the first run with");
    let revenue: f64 = rows.iter().map(|row| row["revenue"].as_str().unwrap().parse::<f64>().unwrap()).sum();
    assert!((revenue - 872.5).abs() < 0.001);

    let anna = home.json(&["customer", "1"]);
    assert_eq!(
        (&anna["r"], &anna["f"], &anna["m"], &anna["segment"]),
        (&json!(5), &json!(5), &json!(5), &json!("champion"))
    );
    let kim = home.json(&["customer", "11"]);
    assert_eq!((&kim["r"], &kim["segment"]), (&Value::Null, &Value::Null));
    let champions = home.json(&["customers", "--segment", "champion"]);
    assert_eq!(champions.as_array().unwrap().len() as u64, rows[0]["customers"].as_u64().unwrap());

    let runs = home.json(&["runs"]);
    assert_eq!(
        keys(&runs[0]),
        sorted([
            "id",
            "trigger",
            "asOf",
            "startedAt",
            "scoredAt",
            "emittedAt",
            "finishedAt",
            "state",
            "scored",
            "changed",
            "error",
            "moved",
            "new",
            "left"
        ])
    );
    assert_eq!(
        (&runs[0]["id"], &runs[0]["trigger"], &runs[0]["state"]),
        (&json!("1"), &json!("manual"), &json!("done"))
    );
    assert_eq!((&runs[0]["asOf"], &runs[0]["scored"]), (&json!("2025-11-23T02:00:00Z"), &json!(10)));

    let events = home.json(&["events"]);
    assert_eq!(events.as_array().unwrap().len(), 10);
    assert_eq!(keys(&events[0]), sorted(["type", "timestamp", "id", "seq", "data"]));
    assert_eq!(events[0]["data"]["cause"], "baseline");
    assert_eq!(anna["segmentSince"], events[0]["data"]["eventTimestamp"]);
    let rest = home.json(&["events", "--after-seq", "7"]);
    assert_eq!(
        rest.as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect::<Vec<_>>(),
        [8, 9, 10]
    );
    assert_eq!(home.ok(&["events", "--format", "csv"]).lines().count(), 11);

    // A better customer comes: what changes is told as a difference.
    home.write(
        "more.csv",
        &format!(
            "{}\n14,c12,lea@example.com,2025-11-22T10:00:00Z,900.00,EUR,paid,Lea,\n",
            ORDERS.lines().next().unwrap()
        ),
    );
    home.ok(&["import", "more.csv"]);
    home.ok(&["score", "--as-of", "2025-11-24T02:00:00Z"]);
    let after = home.json(&["segments"]);
    for (before, after) in rows.iter().zip(after.as_array().unwrap()) {
        let difference = after["customers"].as_i64().unwrap() - before["customers"].as_i64().unwrap();
        assert_eq!(after["change"], json!(difference), "{}", after["segment"]);
    }
    let total: i64 = after.as_array().unwrap().iter().map(|row| row["change"].as_i64().unwrap()).sum();
    assert_eq!(total, 1);
    assert_eq!(home.json(&["runs"])[0]["id"], "2", "the newest first");
    assert!(home.ok(&["check", "--deep"]).contains("ok    contents"));
}

#[test]
fn who_lost_the_last_order_is_in_no_segment_at_once() {
    let home = Home::with_orders();
    home.ok(&["score", "--as-of", "2025-11-23T02:00:00Z"]);
    let ids = |segment: &str| -> Vec<String> {
        let customers = home.json(&["customers", "--segment", segment]);
        customers.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
    };
    assert!(ids("champion").contains(&"1".to_owned()));
    let cancelled: Vec<&str> =
        ORDERS.lines().filter(|line| line.contains(",c1,") || line.starts_with("order")).collect();
    home.write("cancelled.csv", &cancelled.join("\n").replace(",paid,", ",cancelled,"));
    home.ok(&["import", "cancelled.csv"]);
    let anna = home.json(&["customer", "1"]);
    assert_eq!(anna, home.json(&["customers"])[0]);
    for key in ["r", "f", "m", "segment"] {
        assert_eq!(anna[key], Value::Null, "{key}");
    }
    assert!(!ids("champion").contains(&"1".to_owned()));
    assert!(
        home.ok(&["customers", "--format", "csv"])
            .contains("1,csv,c1,anna@example.com,Anna,Ärmel,0,0.00,0.00,EUR,,,,,,,")
    );

    home.write("config.toml", &format!("{CONFIG}include_without_orders = true\n"));
    assert_eq!(home.json(&["customer", "1"])["segment"], "champion");
    assert!(ids("champion").contains(&"1".to_owned()));
}

#[test]
fn a_run_as_of_the_future_is_made_with_a_warning() {
    let home = Home::with_orders();
    let tried = home.run(&["score", "--as-of", "2999-01-01T00:00:00Z", "--dry-run"]);
    assert_eq!((tried.code, tried.err.as_str()), (0, ""));
    let done = home.run(&["score", "--as-of", "2999-01-01T00:00:00Z", "--format", "json"]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert_eq!(serde_json::from_str::<Value>(&done.out).unwrap()["scored"], 10);
    assert_eq!(
        done.err,
        "warning: 2999-01-01T00:00:00Z lies in the future; no nightly run starts until then, or until one is made as of now\n"
    );
    let check = home.run(&["check"]);
    assert_eq!(check.code, 1);
    assert!(
        check.out.contains("before the latest run, as of 2999-01-01T00:00:00Z; no nightly run starts"),
        "{}",
        check.out
    );
    // Who scores now says that the clock is right.
    let now = home.run(&["score", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&now.out).unwrap()["statisticsOnly"], false);
    assert!(now.err.contains("the clock was ahead"), "{}", now.err);
    assert!(!home.run(&["check"]).out.contains("before the latest run"));
}

#[test]
fn deliveries_are_listed_by_state_and_destination() {
    let home = Home::new(&format!(
        "{CONFIG}[forwarder]\nbaseline = \"hold\"\n[[destination]]\nname = \"my-tool\"\nurl = \"https://tool.invalid/\"\nsecret_env = \"NOT_SET_HERE\"\n"
    ));
    home.write("orders.csv", ORDERS);
    home.ok(&["import", "orders.csv"]);
    home.ok(&["score", "--as-of", "2025-11-23T02:00:00Z"]);
    let deliveries = home.json(&["deliveries"]);
    assert_eq!(deliveries.as_array().unwrap().len(), 10);
    assert_eq!(
        keys(&deliveries[0]),
        sorted([
            "id",
            "messageId",
            "destination",
            "state",
            "events",
            "attempts",
            "nextAttemptAt",
            "lastStatus",
            "lastError",
            "createdAt",
            "finishedAt"
        ])
    );
    assert_eq!((&deliveries[0]["destination"], &deliveries[0]["state"]), (&json!("my-tool"), &json!("held")));
    assert_eq!(home.json(&["deliveries", "--state", "held", "--destination", "my-tool"]), deliveries);
    assert_eq!(home.json(&["deliveries", "--state", "dead"]), json!([]));
    assert_eq!(home.fails(2, &["deliver", "--until-idle"]).lines().count(), 1, "what signs needs the secret");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = Home::new(CONFIG);
    let mut orders = String::from("order_id,email,ordered_at,total\n");
    for n in 0..20_000 {
        writeln!(orders, "{n},customer{n}@example.com,2025-11-20T10:00:00Z,10.00").unwrap();
    }
    home.write("orders.csv", &orders);
    home.ok(&["import", "orders.csv"]);
    for format in ["table", "json", "csv"] {
        let mut child = home
            .command(&["customers", "--format", format])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut String::new()).unwrap();
        drop(out);
        let status = child.wait().unwrap();
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        assert_eq!((status.code(), err.as_str()), (Some(0), ""), "{format}");
    }
}
