//! What the pages ask of SQLite: with a million customers nothing may be read from end to end.

use std::sync::Mutex;

use rusqlite::trace::{TraceEvent, TraceEventCodes};

use crate::support::pages::Shop;

/// Tables that grow with the shop.
const LARGE: [&str; 9] =
    ["customers", "orders", "deliveries", "scores", "history", "outbox", "attempts", "inbox", "aliases"];

static STATEMENTS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Collects the statements of one connection. The pool hands the same one out again, because no
/// two requests of this test overlap.
fn listen(shop: &Shop) {
    let connection = shop.database.readers().get().unwrap();
    connection.trace_v2(
        TraceEventCodes::SQLITE_TRACE_STMT,
        Some(|event| {
            if let TraceEvent::Stmt(statement, _) = event {
                STATEMENTS.lock().unwrap().push(statement.sql().into_owned());
            }
        }),
    );
}

#[test]
fn no_page_reads_a_large_table_from_end_to_end() {
    let shop = Shop::scored(700);
    listen(&shop);
    for path in [
        "/",
        "/?by=revenue",
        "/customers",
        "/customers?dir=asc",
        "/customers?after=100",
        "/customers?segment=at_risk",
        "/customers?segment=at_risk&after=100",
        "/customers?r=5&f=4",
        "/customers?segment=potential&m=3",
        "/customers?q=anna",
        "/customers?q=anna.55%40example.com",
        "/customers?q=55",
        "/customers?q=anna&segment=lost&r=1",
        "/customers?q=anna&after=n300",
        "/customers?q=anna&same_email=1",
        "/customers?sort=spent",
        "/customers?q=anna&sort=spent",
        "/customers?q=anna&sort=email&dir=desc&f=1",
        "/runs?trigger=scheduled&changed=1&sort=moved",
        "/runs?sort=took&dir=asc&after=7",
        "/runs.csv?failed=1",
        "/import.csv",
        "/syncs",
        "/syncs.csv?failed=1&sort=missed",
        "/destinations?sort=health",
        "/customers?sort=email&segment=lost",
        "/customers?sort=last&f=1",
        "/customers?segment=none",
        "/customers?segment=none&after=300",
        "/customers?segment=none&sort=spent",
        "/customers?segment=none&q=anna",
        "/customers.csv?segment=none",
        "/segments",
        "/segments?from=12&to=25",
        "/segments?from=12&to=25&unchanged=1",
        "/segments.csv",
        "/segments/at_risk",
        "/segments/lost.csv",
        "/settings",
        "/customers?erased=29",
        "/customers/29",
        "/customers/58?before=1790000000000",
        "/customers.csv?segment=lost",
        "/runs",
        "/runs/25",
        "/runs/25?unchanged=1",
        "/runs.csv",
        "/readyz",
        "/deliveries",
        "/deliveries?state=waiting&destination=brevo",
        "/deliveries?state=delivered&after=0.200",
        "/deliveries?state=delivered&segment=lost&customer=29",
        "/deliveries?state=delivered&run=25",
        "/deliveries?state=delivered&order=oldest",
        "/deliveries?state=delivered&order=oldest&destination=brevo&after=0.200",
        "/deliveries?state=delivered&order=oldest&run=25",
        "/deliveries?state=delivered&run=25&destination=brevo&customer=29",
        "/deliveries.csv?state=delivered&run=24",
        "/deliveries/decide?action=retry&state=dead",
        "/deliveries/decide?action=release&state=held&destination=brevo&run=25&segment=lost&customer=29",
        "/deliveries/9",
        "/destinations",
        "/destinations.csv",
    ] {
        assert!(shop.get(path).status.is_success(), "{path}");
    }
    let mut statements = std::mem::take(&mut *STATEMENTS.lock().unwrap());
    statements.sort();
    statements.dedup();
    let selects: Vec<&String> = statements.iter().filter(|sql| sql.trim_start().starts_with("SELECT")).collect();
    assert!(selects.len() > 30, "only {} statements were seen", selects.len());

    // Also once SQLite knows how values are spread, as it does after a night.
    let optimize = |tx: &rusqlite::Transaction<'_>| Ok(tx.execute_batch("PRAGMA optimize(0x10002)")?);
    for optimized in [false, true] {
        if optimized {
            shop.database.writer().write_blocking(optimize).unwrap();
        }
        none_is_scanned(&shop, &selects);
    }
}

fn none_is_scanned(shop: &Shop, selects: &[&String]) {
    let connection = shop.database.readers().get().unwrap();
    for sql in selects {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let parameters = vec![rusqlite::types::Null; explain.parameter_count()];
        let steps: Vec<String> = explain
            .query_map(rusqlite::params_from_iter(parameters), |row| row.get(3))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap();
        for step in &steps {
            let scanned = step.strip_prefix("SCAN ").and_then(|rest| rest.split(' ').next());
            let table = match scanned {
                Some("c") => "customers",
                Some("s") => "scores",
                Some(table) => table,
                None => continue,
            };
            // One row of any table is enough to know that there are some.
            let bounded = sql.ends_with("LIMIT 1") && !sql.contains("WHERE") && !sql.contains("ORDER BY");
            assert!(bounded || !LARGE.contains(&table), "{sql}\n{steps:#?}");
        }
    }
}
