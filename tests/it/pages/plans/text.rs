//! What SQLite says of a statement before it runs: which tables it would read from end to end.

use std::collections::BTreeSet;

use rusqlite::Connection;

/// Tables that grow with the shop.
const LARGE: [&str; 11] = [
    "customers",
    "orders",
    "deliveries",
    "scores",
    "history",
    "outbox",
    "attempts",
    "inbox",
    "aliases",
    "batched",
    "unqueued",
];

/// The tables that `sql` reads from end to end, each with the step of the plan that does.
///
/// So is what is no table and not made by the statement itself: a large one could hide there.
pub fn scanned(connection: &Connection, sql: &str) -> Vec<String> {
    let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    let parameters = vec![rusqlite::types::Null; explain.parameter_count()];
    let steps: Vec<String> = explain
        .query_map(rusqlite::params_from_iter(parameters), |row| row.get(3))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let of = |step: &String| {
        let name = step.strip_prefix("SCAN ")?.split(' ').next()?.to_owned();
        large(connection, sql, &name).map(|table| format!("{table}: {step}"))
    };
    steps.iter().filter_map(of).collect()
}

/// The large table that a statement means by a name.
fn large(connection: &Connection, sql: &str, name: &str) -> Option<&'static str> {
    let meant = named(sql, name);
    let large = LARGE.into_iter().find(|table| name == *table || meant.contains(*table));
    let is_table = |name: &str| connection.table_exists(None, name).unwrap();
    let is_known = is_table(name)
        || meant.iter().any(|table| is_table(table))
        // Made by the statement itself, of what other steps tell.
        || name == "CONSTANT"
        || name.starts_with('(')
        || name.parse::<u32>().is_ok()
        || defines(sql, name)
        || meant.iter().any(|table| table.starts_with('(') || defines(sql, table));
    large.or((!is_known).then_some("something unknown"))
}

/// `name AS (…)` or `name (columns) AS (…)`
fn defines(sql: &str, name: &str) -> bool {
    words(sql).windows(2).any(|pair| pair[0] == name && (pair[1] == "AS" || pair[1] == "("))
}

/// What stands before an alias, `AS` or not: `customers c`, `outbox AS o`, `(SELECT …) number`.
fn named(sql: &str, alias: &str) -> BTreeSet<String> {
    let words: Vec<String> = words(sql).into_iter().filter(|word| !word.eq_ignore_ascii_case("as")).collect();
    words
        .windows(2)
        .filter(|pair| pair[1] == alias)
        .map(|pair| if pair[0] == ")" { "(".to_owned() } else { pair[0].clone() })
        .collect()
}

/// Names, and each other character alone.
fn words(sql: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for letter in sql.chars() {
        let is_name = letter.is_alphanumeric() || letter == '_';
        match words.last_mut() {
            Some(word) if is_name && inside => word.push(letter),
            _ if !letter.is_whitespace() => words.push(letter.to_string()),
            _ => {}
        }
        inside = is_name;
    }
    words
}

#[test]
fn names_are_those_of_the_statement() {
    for (sql, name, table) in [
        ("SELECT 1 FROM customers c", "c", "customers"),
        ("SELECT 1 FROM runs JOIN outbox AS o ON o.run_id = runs.id", "o", "outbox"),
        ("SELECT 1 FROM runs r, deliveries d", "d", "deliveries"),
        ("UPDATE orders SET net = 1", "orders", "orders"),
    ] {
        assert!(named(sql, name).contains(table) || name == table, "{sql}");
    }
    assert!(
        defines("WITH RECURSIVE n (i) AS (SELECT 1) SELECT i FROM n", "n")
            && defines("WITH again AS MATERIALIZED (SELECT 1) SELECT 2", "again")
    );
}
