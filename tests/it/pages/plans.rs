//! What the pages ask of SQLite: with a million customers nothing may be read from end to end.
//!
//! Every address is asked for in a shop that is large, and again when it is twice as large. No statement may
//! take more steps of SQLite's machine then: that finds a scan, a walk over an index, a filter row by row and
//! a count, whatever the plan says, and it is the same on every machine. Plans are read too, for what costs
//! no steps.

mod addresses;
mod meter;
mod shop;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    addresses::Address,
    meter::{Cost, Costs, Meter},
};
use crate::support::{browser::Browser, pages::Shop};

/// More than any page looks through: the names compared for a search.
const LARGE: i64 = 110_000;
const LARGER: i64 = 2 * LARGE;

/// Steps of a statement at an address, at most, unless it is one of [`WALKS`]: about a millisecond.
const SHORT: i64 = 60_000;
/// Walks that are long on purpose and have an end: part of the statement, and what ends it. They do not grow either.
const WALKS: &[(&str, &str)] = &[
    ("first_name, last_name, email_key FROM customers WHERE id <", "100,000 names a page of a search, then older ones"),
    (
        "SELECT email_key, id FROM customers WHERE email_key IS NOT NULL",
        "20,000 e-mails of a search, or 100,000 that are compared",
    ),
    (
        "SELECT 1 FROM customer_scores s CROSS JOIN customers c ON c.id = s.customer_id WHERE s.customer_id = ?",
        "20,000 hits of a search that a filter is asked about",
    ),
    ("SELECT 1 FROM customers c", "the same"),
    ("SELECT customer_id FROM customer_scores WHERE customer_id", "finds the end of a look at 100,000 scores"),
    ("SELECT s.customer_id FROM customer_scores s CROSS JOIN customers c", "looks at them"),
    (
        "FROM customers c LEFT JOIN scores s ON s.customer_id = c.id WHERE c.id = ?1",
        "1,000 customers an answer of the API",
    ),
    ("(s.segment_id IS NULL OR NOT", "50,000 customers a page of those without a score"),
    ("SELECT 1 FROM deliveries INDEXED BY deliveries_state WHERE state = ?1 LIMIT", "10,000 of each state are counted"),
    ("SELECT 1 FROM deliveries INDEXED BY deliveries_open", "10,000 of each destination are counted"),
    ("SELECT 1 FROM inbox INDEXED BY inbox_state", "10,000 of each state are counted"),
    ("FROM runs CROSS JOIN deliveries d INDEXED BY deliveries_run", "10,000 of each state and destination are counted"),
    (
        "SELECT destination, events, due_at FROM deliveries WHERE state = ?1 ORDER BY id DESC LIMIT",
        "2,000 of each state are counted",
    ),
    (
        "WHERE run_id = ?1 AND destination = ?2 AND state = ?3 AND events = ?4 LIMIT",
        "100,000 of each kind are counted for a receipt",
    ),
    ("FROM deliveries d INDEXED BY deliveries_state", "10,000 deliveries a page, then older ones"),
    ("SELECT d.id, (?8 IS NULL OR d.hold = ?8)", "the same of a run"),
    ("SELECT coalesce(sum(n), 0)", "10,000 deliveries of a state are looked at before a decision"),
    ("SELECT d.id, d.destination, d.customer_id, d.message_id", "10,000 deliveries a transaction of a decision"),
    ("WHERE state = ?1 AND id > ?2 ORDER BY id LIMIT 1 OFFSET", "finds the end of that look"),
    ("id < ?2 ORDER BY id DESC LIMIT 1 OFFSET", "finds the end of a look for deliveries to one destination"),
    ("iif(due_at = 0, created_at, due_at)", "looks at 10,000"),
];
/// What grows with the shop on purpose: part of the address, part of the statement, and why.
const GROWING: &[(&str, &str, &str)] = &[
    (
        "/segments/lost",
        "SELECT c.last_order_at, c.order_count, c.total_spent FROM customer_scores s",
        "medians: counted beside the page, and kept",
    ),
    (
        "/runs/",
        "SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_run",
        "a receipt: up to 100,000 of each kind",
    ),
    (
        "/metrics",
        "SELECT min(created_at) FROM deliveries",
        "what is tried again: a destination that fails is hardly tried",
    ),
    ("/api/v1/deliveries/retry", "SELECT coalesce(sum(n), 0)", "a program is told the exact number"),
];
/// Statements that begin at an end of a table and stop at once.
const FIRST: &[&str] = &[
    "SELECT 1 FROM unqueued",
    "SELECT at FROM outbox ORDER BY seq DESC LIMIT 1",
    "FROM (SELECT source, received_at, delivery_key FROM inbox ORDER BY id DESC LIMIT ?1)",
    "FROM inbox INDEXED BY inbox_quarantined WHERE state = 'quarantined' ORDER BY id DESC LIMIT ?1)",
];

/// Statements without a plan.
const NO_READING: [&str; 6] = ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "PRAGMA"];

/// Costs of each address, by its place in the list.
type Asked = BTreeMap<usize, Costs>;

fn ask_for_all(shop: &Shop, all: &[Address], number: usize) -> Asked {
    shop::bring_back(shop);
    let meter = Meter::new(shop);
    let ask = |(place, address): (usize, &Address)| {
        let numbered = |text: &str| text.replace("{n}", &number.to_string());
        let (path, body) = (numbered(&address.path), numbered(&address.body));
        let kind = if path.starts_with("/api/") { "application/json" } else { "application/x-www-form-urlencoded" };
        let mut browser = Browser::new(&shop.router());
        let (costs, answer) =
            meter.costs_of(|| browser.send(address.method.clone(), &path, &[("content-type", kind)], &body));
        let status = answer.status.as_u16();
        assert!(matches!(status, 200..=399 | 404 | 409), "{path}: {status} {}", answer.body);
        (place, costs)
    };
    all.iter().enumerate().map(ask).collect()
}

/// With one blank between words.
fn folded(sql: &str) -> String {
    sql.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn no_page_takes_longer_in_a_larger_shop() {
    let (shop, all) = (shop::shop(LARGE), addresses::all());
    let first = ask_for_all(&shop, &all, 1);
    // What was asked for may have made somebody.
    shop::grow(&shop, LARGE + 1_000, LARGER);
    let larger = ask_for_all(&shop, &all, 2);
    // Also once SQLite knows how values are spread, as it does after a night.
    shop.write(|tx| tx.execute_batch("PRAGMA optimize(0x10002)"));
    let informed = ask_for_all(&shop, &all, 3);
    let mut wrong = Vec::new();
    for (place, address) in all.iter().enumerate() {
        let asked = format!("{} {} {}", address.method, address.path, address.body);
        for later in [&larger[&place], &informed[&place]] {
            for (sql, cost) in later {
                let steps = |cost: &Cost| if address.is_in_pieces() { cost.longest } else { cost.all };
                let (small, large) = (first[&place].get(sql).map_or(0, steps), steps(cost));
                let is_growing = GROWING.iter().any(|(at, part, _)| asked.contains(at) && folded(sql).contains(part));
                let is_walk = WALKS.iter().any(|(part, _)| folded(sql).contains(part));
                if large > small + small / 4 + 1_000 && !is_growing {
                    wrong.push(format!("{asked}\n  grows from {small} to {large} steps: {sql}"));
                }
                if large > SHORT && !is_walk && !is_growing {
                    wrong.push(format!("{asked}\n  takes {large} steps: {sql}"));
                }
            }
        }
    }
    let reader = shop.database.readers().get().unwrap();
    let statements: BTreeSet<String> =
        larger.values().chain(informed.values()).flat_map(Costs::keys).map(|sql| folded(sql)).collect();
    for sql in statements.iter().filter(|sql| !NO_READING.iter().any(|verb| sql.starts_with(verb))) {
        let mut listed = FIRST.iter().chain(GROWING.iter().map(|(_, part, _)| part));
        if !listed.any(|part| sql.contains(part)) {
            wrong.extend(text::scanned(&reader, sql).iter().map(|table| format!("reads {table}: {sql}")));
        }
    }
    let walks = WALKS.iter().map(|(part, _)| part);
    for part in walks.chain(FIRST).chain(GROWING.iter().map(|(_, part, _)| part)) {
        if !statements.iter().any(|sql| sql.contains(part)) {
            wrong.push(format!("no statement is listed: {part}"));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
