//! What is exported is all there is, and is documented.

use std::collections::BTreeSet;

use super::*;

/// A new table is either exported or left out on purpose.
#[test]
fn every_table_is_decided_about() {
    let database = rusqlite::Connection::open_in_memory().unwrap();
    database.execute_batch(crate::db::SCHEMA).unwrap();
    let list = |sql: &str| -> BTreeSet<String> {
        let mut statement = database.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let tables = list("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
    let decided: BTreeSet<String> = COPIED.iter().chain(LEFT_OUT).map(|name| (*name).to_owned()).collect();
    assert_eq!(tables, decided, "put the table into COPIED (and TABLES), or into LEFT_OUT with a reason");
    let views = list("SELECT replace(replace(sql, char(10), ' '), ';', ' ') FROM sqlite_schema WHERE type = 'view'");
    for name in COPIED {
        let is_in = |text: &str| format!(" {text} ").contains(&format!(" {name} "));
        let read = TABLES.iter().any(|table| is_in(table.from)) || views.iter().any(|view| is_in(view));
        assert!(read, "no file tells of {name}");
    }
}

/// The documentation lists every file with its columns.
#[test]
fn the_columns_are_documented() {
    let documented = include_str!("../../../../docs/outgrowing.md");
    for table in TABLES {
        let columns: Vec<&str> = table.columns.iter().map(|(name, ..)| *name).collect();
        let row = documented.lines().find(|line| line.starts_with(&format!("| `{}` |", table.name)));
        let row = row.unwrap_or_else(|| panic!("docs/outgrowing.md has no row for {}", table.name));
        assert!(row.ends_with(&format!("| {} |", columns.join(", "))), "{row} should list {}", columns.join(", "));
    }
}

/// What each query asks for exists, and is read in the order in which it is stored.
#[test]
fn every_query_runs() {
    let database = rusqlite::Connection::open_in_memory().unwrap();
    database.execute_batch(crate::db::SCHEMA).unwrap();
    let words = Words { currency: Currency::EUR, ranked: "c.order_count > 0" };
    for table in TABLES {
        let sql = table.select(&words);
        let statement = database.prepare(&sql).unwrap_or_else(|error| panic!("{}: {error}", table.name));
        let named: Vec<&str> = table.columns.iter().map(|(name, ..)| *name).collect();
        assert_eq!(statement.column_names(), named);
        let plan: Vec<String> = database
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap()
            .query_map([], |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        // A sort would hold a million rows back before the first is written.
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{}: {plan:?}", table.name);
    }
}
