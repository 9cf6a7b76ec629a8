//! The real program on a machine whose clock is wrong, as libfaketime shows it. What the program does
//! then is tested under injected clocks; this tests that there is no other clock than the injected one.

use std::process::Output;

use serde_json::Value;

use crate::support::{
    merchant::Merchant,
    process::{QUINTILE, quintile_by},
};

/// Runs a command that sees a clock so far off ("+500d").
fn run(merchant: &Merchant, offset: &str, arguments: &[&str]) -> Output {
    let mut command = quintile_by("faketime", &["-f", offset, QUINTILE], merchant.path(), arguments);
    command.output().expect("faketime is installed: tests/run --full does it")
}

/// What `check` says of the clock.
fn clock(merchant: &Merchant, offset: &str) -> String {
    let output = run(merchant, offset, &["check", "--deep", "--format", "json"]);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = findings.as_array().expect("a list");
    let of = |check: &str| findings.iter().find(|finding| finding["check"] == check).expect("looked at").clone();
    assert_eq!(of("contents")["state"], "ok", "{findings:?}");
    format!("{} {}", of("clock")["state"].as_str().unwrap(), of("clock")["message"].as_str().unwrap())
}

fn csv(rows: impl Iterator<Item = String>) -> String {
    let header = "order_id,customer_id,ordered_at,total,currency,status".to_owned();
    std::iter::once(header).chain(rows).collect::<Vec<_>>().join("\n")
}

#[test]
#[ignore = "wants faketime: tests/run --full installs it and runs this"]
fn a_machine_whose_clock_is_wrong() {
    let merchant = Merchant::new("http://127.0.0.1:9/");
    let rows = (0..40).map(|n| format!("o{n},c{n},2025-05-01T10:00:00Z,{}.00,EUR,paid", 10 + n));
    merchant.write("orders.csv", &csv(rows));
    merchant.run(&["import", "orders.csv"]);

    // Three days ahead: everybody gets a segment.
    assert!(run(&merchant, "+3d", &["score"]).status.success());
    assert!(clock(&merchant, "+3d").starts_with("ok"));
    assert!(clock(&merchant, "+0").starts_with("fail"), "{}", clock(&merchant, "+0"));
    assert!(clock(&merchant, "+500d").contains("more than a year after"), "{}", clock(&merchant, "+500d"));

    // Right again, and somebody says so: what changed since is told, later than what was told before.
    merchant.write("more.csv", &csv((0..9).map(|n| format!("p{n},c{n},2025-06-01T10:00:00Z,900.00,EUR,paid"))));
    merchant.run(&["import", "more.csv"]);
    merchant.run(&["score"]);
    assert!(clock(&merchant, "+0").starts_with("ok"), "{}", clock(&merchant, "+0"));
    let (runs, first, last): (i64, i64, i64) = merchant
        .sql()
        .query_row("SELECT count(DISTINCT run_id), min(at), max(at) FROM outbox", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!((runs, last - first), (2, 1), "a millisecond after the events of three days ahead");
}
