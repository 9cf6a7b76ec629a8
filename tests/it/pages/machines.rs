//! What programs read: events by the page, and the numbers for Prometheus.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use quintile::model::Timestamp;
use quintile::outbox::{EventType, Ids, enqueue_one};
use serde_json::Value;

use crate::support::{
    folder::{ONCE, STATES, TURN},
    pages::{NOW, Shop},
};

fn shop_with_events(count: usize) -> Shop {
    let shop = Shop::with_customers(10);
    shop.write(move |tx| {
        let at = Timestamp::from_millis(NOW);
        let customer = tx.query_row("SELECT min(id) FROM customers", [], |row| row.get(0))?;
        let mut ids = Ids::new(at, 7);
        (0..count).try_for_each(|nth| {
            let kind = if nth == 0 { EventType::FirstOrder } else { EventType::Lapsed };
            enqueue_one(tx, kind, Some(customer), at, &mut ids).map(drop)
        })
    });
    shop
}

fn json(shop: &Shop, path: &str) -> Value {
    let answer = shop.get(path);
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "application/json"), "{path}");
    serde_json::from_str(&answer.body).unwrap()
}

fn seqs(page: &Value) -> Vec<i64> {
    page["data"].as_array().unwrap().iter().map(|event| event["seq"].as_i64().unwrap()).collect()
}

#[test]
fn events_come_by_the_page_and_end() {
    let shop = shop_with_events(5);
    let first = json(&shop, "/api/v1/events?limit=2");
    assert_eq!(seqs(&first), [1, 2]);
    assert_eq!(first["data"][0]["type"], "customer/first_order");
    assert_eq!(first["data"][0]["data"]["runId"], Value::Null);
    let second = json(&shop, &format!("/api/v1/events?limit=2&cursor={}", first["nextCursor"].as_str().unwrap()));
    let third = json(&shop, &format!("/api/v1/events?limit=2&cursor={}", second["nextCursor"].as_str().unwrap()));
    assert_eq!((seqs(&second), seqs(&third)), (vec![3, 4], vec![5]));
    assert_eq!(third["nextCursor"], Value::Null);
    assert_eq!(seqs(&json(&shop, "/api/v1/events?after_seq=3")), [4, 5]);
    let none = json(&shop, "/api/v1/events?after_seq=5");
    assert_eq!((seqs(&none), &none["nextCursor"]), (vec![], &Value::Null));
}

#[test]
fn a_request_that_cannot_be_read_gets_a_problem_document() {
    let shop = shop_with_events(1);
    for (method, path, status) in [
        (Method::GET, "/api/v1/events?limit=0", 400),
        (Method::GET, "/api/v1/events?after_seq=x", 400),
        (Method::GET, "/api/v1/events?cursor=x", 400),
        (Method::PUT, "/api/v1/events", 405),
    ] {
        let answer = shop.send(method, path, &[("host", "127.0.0.1:8787")]);
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (status, "application/problem+json"),
            "{path}"
        );
        let problem: Value = serde_json::from_str(&answer.body).unwrap();
        assert!(problem["status"] == status && problem["detail"].is_string() && problem["title"].is_string());
    }
    for path in ["/api/v1/events", "/metrics"] {
        let foreign = shop.send(Method::GET, path, &[("host", "evil.example")]);
        assert_eq!(foreign.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
}

#[test]
fn the_metrics_are_what_prometheus_can_read() {
    let shop = Shop::scored(60);
    shop.folder.except(&[ONCE, STATES]);
    shop.write(|tx| {
        tx.execute(
            "INSERT INTO deliveries (message_id, destination, seq, state, created_at, due_at)
             SELECT randomblob(16), 'a \"tool\"', min(seq), 'waiting', ?1, ?1 FROM outbox",
            [NOW - 5000],
        )?;
        tx.execute(
            "WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 10001)
             INSERT INTO deliveries (message_id, destination, seq, state, created_at)
             SELECT randomblob(16), 'a \"tool\"', (SELECT min(seq) FROM outbox), 'held', ?1 FROM n",
            [NOW - 9000],
        )
        .map(drop)
    });
    let answer = shop.get("/metrics");
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    let mut kinds: BTreeMap<&str, (bool, &str)> = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in answer.body.lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
            assert!(!help.is_empty() && kinds.insert(name, (true, "")).is_none(), "{line}");
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            kinds.get_mut(name).expect("HELP first").1 = kind;
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            assert!(kinds.get(name).is_some_and(|(help, kind)| *help && !kind.is_empty()), "{line}");
            assert!(value.parse::<f64>().is_ok() && samples.insert(series, value).is_none(), "{line}");
        }
    }
    assert_eq!(samples[r#"quintile_deliveries{destination="a \"tool\"",state="waiting"}"#], "1");
    assert_eq!(samples[r#"quintile_oldest_waiting_delivery_age_seconds{destination="a \"tool\""}"#], "5");
    assert_eq!(samples[r#"quintile_deliveries{destination="a \"tool\"",state="held"}"#], "10000", "no more is read");
    assert!(samples[r#"quintile_runs_total{state="done"}"#].parse::<i64>().unwrap() >= 14);
    assert!(samples.contains_key("quintile_last_run_changes"));
    assert_eq!(kinds["quintile_delivery_attempts_total"].1, "counter");
}

/// What is stuck at one destination, however much, takes nothing from the numbers of another.
#[test]
fn each_destination_has_numbers_of_its_own() {
    let shop = Shop::scored(60);
    shop.folder.except(&[ONCE, TURN]);
    shop.write(|tx| {
        let queue = |destination: &str, count: i64, columns: &str, values: &str| {
            tx.execute(
                &format!(
                    "WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {count})
                     INSERT INTO deliveries (message_id, destination, seq, customer_id, created_at, {columns})
                     SELECT randomblob(16), '{destination}', (SELECT min(seq) FROM outbox), n, {values} FROM n"
                ),
                [],
            )
        };
        let ago = |seconds: i64| NOW - 1000 * seconds;
        queue("stuck", 10_050, "state, due_at, run_id", &format!("{}, 'waiting', 0, 1", ago(900)))?;
        queue("stuck", 3, "state, run_id", &format!("{}, 'waiting', 1", ago(800)))?; // behind others
        queue("stuck", 10_050, "state, attempts, due_at", &format!("{}, 'retrying', 1, {NOW} + n", ago(1000)))?;
        queue("new", 10_050, "state, hold", &format!("{}, 'held', 'run'", ago(5000)))?;
        queue("new", 5, "state, due_at, run_id", &format!("{}, 'waiting', 0, 2", ago(7)))?;
        queue("new", 2, "state, claim, attempts, run_id", &format!("{}, 'sending', 'x:1', 1, 2", ago(60)))?;
        queue("idle", 1, "state, finished_at", &format!("{}, 'delivered', {NOW}", ago(9000))).map(drop)
    });
    let metrics = shop.get("/metrics").body;
    for line in [
        r#"quintile_deliveries{destination="stuck",state="waiting"} 10000"#,
        r#"quintile_deliveries{destination="stuck",state="retrying"} 10000"#,
        r#"quintile_deliveries{destination="stuck",state="held"} 0"#,
        r#"quintile_deliveries{destination="new",state="held"} 10000"#,
        r#"quintile_deliveries{destination="new",state="waiting"} 5"#,
        r#"quintile_deliveries{destination="new",state="sending"} 2"#,
        r#"quintile_deliveries_open{destination="new"} 10000"#,
        r#"quintile_oldest_waiting_delivery_age_seconds{destination="stuck"} 1000"#,
        r#"quintile_oldest_waiting_delivery_age_seconds{destination="new"} 60"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    assert!(!metrics.contains("destination=\"idle\""));
}
