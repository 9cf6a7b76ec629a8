//! Large files, and imports that are cut short.

use std::{
    fmt::Write as _,
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use quintile::{config::Config, db::Database, intake::csv as csv_files};
use serde_json::json;

use super::{Desk, at, made_up_csv, rules};

#[test]
fn a_large_file_is_complete() {
    let desk = Desk::new();
    let made_up = made_up_csv(4_000);
    // Rows that cannot be read, around the ends of batches.
    let mut text = String::new();
    let mut bad_lines = Vec::new();
    for (line, row) in made_up.text.lines().enumerate() {
        writeln!(text, "{row}").unwrap();
        if line % 1_999 == 1_998 {
            text.push_str("bad,,,never,,,,,,\n");
            bad_lines.push((line + 2 + bad_lines.len()).to_string());
        }
    }
    let report = desk.file("orders.csv", text).report("orders.csv");
    assert_eq!(report["orders"]["new"], made_up.orders);
    assert_eq!(report["orders"]["rejected"], bad_lines.len());
    assert!(bad_lines.len() > 2);
    assert_eq!(report["customers"], json!({ "new": 4_000, "updated": 0 }));
    let rejected = fs::read_to_string(desk.path("orders.csv.rejected.csv")).unwrap();
    let lines: Vec<_> = rejected.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!(lines, bad_lines);

    assert_eq!(
        desk.query("SELECT sum(order_count), sum(total_spent) FROM customers"),
        [format!("{} {}", made_up.counted, made_up.net)]
    );
    assert_eq!(
        desk.query(
            "SELECT count(*) FROM customers c WHERE (order_count, total_spent, first_order_at, last_order_at) IS NOT
             (SELECT count(*), coalesce(sum(net), 0), min(ordered_at), max(ordered_at) FROM orders WHERE customer_id = c.id AND counted)"
        ),
        ["0"]
    );
}

/// In a log all rows would be written once more.
#[test]
fn what_comes_into_a_new_file_goes_straight_there() {
    let desk = Desk::new();
    desk.file("orders.csv", &made_up_csv(12_000).text);
    let mut import = desk.command(&["orders.csv"]).stdout(Stdio::null()).spawn().unwrap();
    let size = |name: &str| fs::metadata(desk.path(name)).map_or(0, |metadata| metadata.len());
    let (mut longest_log, mut largest) = (0, 0);
    let ended = loop {
        if let Some(status) = import.try_wait().unwrap() {
            break status;
        }
        longest_log = longest_log.max(size("quintile.db-wal"));
        largest = largest.max(if desk.path("quintile.db-journal").exists() { size("quintile.db") } else { 0 });
        std::thread::sleep(Duration::from_millis(1));
    };
    assert!(ended.success());
    assert!(longest_log < 500_000, "{longest_log} bytes of log");
    assert!(largest > 1_000_000, "{largest} bytes stood in the file before it was complete");
}

#[test]
fn killed_anywhere_and_run_again_it_ends_the_same() {
    const KILLS: u32 = 6;
    let made_up = made_up_csv(12_000);
    let undisturbed = Desk::new();
    undisturbed.file("orders.csv", &made_up.text);
    let started = Instant::now();
    undisturbed.import(&["orders.csv"]).ends_with(0);
    let takes = started.elapsed();

    let desk = Desk::new();
    desk.file("orders.csv", &made_up.text);
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut killed = 0;
    for _ in 0..KILLS {
        killed += usize::from(kill_after(&desk, takes.mul_f64(random.f64())));
        if desk.path("quintile.db").exists() {
            assert_eq!(desk.query("PRAGMA integrity_check"), ["ok"], "seed {seed}");
        }
    }
    assert!(killed > 0, "seed {seed}");
    let report = desk.report("orders.csv");
    let orders = &report["orders"];
    assert_eq!(orders["new"].as_u64().unwrap() + orders["unchanged"].as_u64().unwrap(), made_up.orders, "seed {seed}");
    assert_eq!(desk.state(), undisturbed.state(), "seed {seed}");
}

/// Starts an import and kills it `after` that long; false when it ended first.
fn kill_after(desk: &Desk, after: Duration) -> bool {
    let started = Instant::now();
    let mut child = desk.command(&["orders.csv"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while started.elapsed() < after {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    true
}

#[test]
fn transactions_cut_short_end_the_same() {
    let made_up = made_up_csv(2_500);
    let whole = Desk::new();
    whole.file("orders.csv", &made_up.text).import(&["orders.csv"]).ends_with(0);

    let pieces = Desk::new();
    pieces.file("orders.csv", &made_up.text);
    let settings = csv_files::Settings::from_config(&Config::default()).unwrap();
    let input = csv_files::open(&pieces.path("orders.csv"), None, &settings).unwrap();
    let database = Database::open(&pieces.path("quintile.db"), "test").unwrap();
    let limits = csv_files::Limits { rows: 1, time: Duration::MAX };
    let now = at("2026-11-01T00:00:00Z");
    let report = csv_files::store(input, database.writer(), &rules(), now, limits, &|_| {}).unwrap();
    assert_eq!(report.orders.new, made_up.orders);
    assert_eq!(report.customers.new, 2_500);
    drop(database);
    assert_eq!(pieces.state(), whole.state());
}
