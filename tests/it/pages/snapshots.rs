//! Every page as text, with its empty and its error states: a change of any word or number shows in a
//! diff. `cargo test` fails on a difference and writes nothing; what was meant is taken over with
//!
//! ```text
//! INSTA_UPDATE=always cargo test --test it snapshots
//! ```

use axum::http::Method;
use quintile::config::Secret;

use crate::support::{
    folder::ERASED,
    pages::{Answer, NOW, Shop},
    receiver::SECRET,
    text::text,
};

/// Keeps what differs from machine to machine and from release to release out of the text.
fn shown(shop: &Shop, page: &Answer) -> String {
    const SIZES: [&str; 5] =
        ["Size:", "of which free", "Write-ahead log beside it:", "SQLite:", "Schema of the database:"];
    let folder = shop.database.path().parent().unwrap().display().to_string();
    let line = |line: &str| match SIZES.iter().find(|name| line.trim_start_matches("- ").starts_with(*name)) {
        Some(name) => format!("- {name} …"),
        None => line.replace(&folder, "DIR").replace(env!("CARGO_PKG_VERSION"), "VERSION"),
    };
    text(page).lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Compares each page with `snapshots/NAME.snap`.
#[track_caller]
fn pages(shop: &Shop, pages: &[(&str, &str)]) {
    for (name, path) in pages {
        compare(shop, name, &shop.get(path));
    }
}

#[track_caller]
fn compare(shop: &Shop, name: &str, page: &Answer) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, shown(shop, page)));
}

/// Two tools, of which one has something in every state; ids that are the same each time.
fn shop() -> Shop {
    let mut shop = super::deliveries::shop();
    // Not there, so nothing is said of who may read it.
    shop.config_path = "quintile.toml".into();
    "klaviyo".clone_into(&mut shop.config.destination[0].kind);
    shop.config.destination[1].to = vec!["at_risk".to_owned(), "lost".to_owned()];
    shop.config.destination[1].secret = Secret::new(SECRET);
    shop.execute(
        "UPDATE outbox SET event_id = unhex(printf('%032x', seq));
         UPDATE deliveries SET message_id = unhex(printf('%032x', id));
         INSERT INTO attempts (delivery_id, number, started_at, duration_ms, status, answer)
           SELECT id, 1, 1795395610000, 120, 503, CAST('busy' AS BLOB) FROM deliveries WHERE state = 'retrying';",
    );
    shop
}

#[test]
fn overview() {
    pages(&shop(), &[("overview", "/"), ("overview_by_revenue", "/?by=revenue")]);
    let mut empty = Shop::empty();
    pages(&empty, &[("overview_without_orders", "/")]);
    empty.config.destination.clear();
    pages(&empty, &[("overview_without_a_tool", "/")]);
    pages(&Shop::with_customers(30), &[("overview_without_a_run", "/")]);
    let small = Shop::scored(20);
    small.write(|tx| {
        tx.execute(
            "INSERT INTO runs (trigger, state, as_of, started_at, finished_at, error, retry_at, ties, window_days, rules)
             VALUES ('scheduled', 'failed', ?1, ?1, ?1, 'the disk is full', ?1 + 300000, 'together', 0, 'x')",
            [NOW],
        )
        .map(drop)
    });
    pages(&small, &[("overview_of_a_small_shop_after_a_failed_night", "/")]);
}

#[test]
fn segments() {
    pages(
        &shop(),
        &[
            ("segments", "/segments"),
            ("segments_over_two_weeks", "/segments?from=12&to=25&unchanged=1"),
            ("segments_of_a_run_that_is_not_there", "/segments?from=999"),
            ("segment", "/segments/at_risk"),
            ("segment_unknown", "/segments/xyz"),
        ],
    );
    pages(
        &Shop::with_customers(30),
        &[("segments_without_a_run", "/segments"), ("segment_without_a_run", "/segments/lost")],
    );
}

#[test]
fn customers() {
    let shop = shop();
    shop.folder.except(&[ERASED]);
    shop.execute(
        "UPDATE customers SET redacted_at = 1, email = NULL, first_name = NULL, last_name = NULL WHERE id = 8",
    );
    let id: i64 = shop.value("SELECT customer_id FROM history WHERE run_id = 25 AND moved = 1 LIMIT 1");
    pages(
        &shop,
        &[
            ("customers", "/customers?segment=hibernating"),
            ("customers_sorted", "/customers?segment=hibernating&sort=spent&dir=asc"),
            ("customers_not_scored", "/customers?segment=none"),
            ("customers_found", "/customers?q=anna.5"),
            ("customers_found_and_sorted", "/customers?q=anna.5&sort=orders"),
            ("customers_not_found", "/customers?q=nobody%40nowhere"),
            ("customers_of_an_unknown_segment", "/customers?segment=xyz"),
            ("customer", &format!("/customers/{id}")),
            ("customer_without_an_order", "/customers/40"),
            ("customer_erased", "/customers/8"),
            ("customer_unknown", "/customers/99999"),
        ],
    );
    pages(&Shop::empty(), &[("customers_without_anybody", "/customers")]);
}

#[test]
fn runs() {
    let shop = shop();
    pages(
        &shop,
        &[
            ("runs", "/runs"),
            ("runs_filtered_and_sorted", "/runs?trigger=scheduled&changed=1&sort=moved"),
            ("runs_none_match", "/runs?trigger=manual&failed=1"),
            ("run", "/runs/25"),
            ("run_first", "/runs/12"),
            ("run_unknown", "/runs/999"),
            ("fetched_without_any", "/syncs"),
        ],
    );
    shop.execute(
        "INSERT INTO syncs (trigger, mode, state, since, watermark, started_at, finished_at, orders_read, orders_new, orders_missed, error)
         VALUES ('scheduled', 'full', 'done', NULL, 1, 1795000000000, 1795000060000, 41000, 41000, NULL, NULL),
                ('manual', 'incremental', 'failed', 1795000000000, 2, 1795100000000, 1795100060000, 3, 1, 2, 'the shop is closed')",
    );
    pages(&shop, &[("fetched", "/syncs"), ("fetched_failed_only", "/syncs?failed=1&sort=missed")]);
    pages(&Shop::empty(), &[("runs_without_any", "/runs")]);
}

#[test]
fn deliveries() {
    let shop = shop();
    let id = |state: &str| -> i64 { shop.value(&format!("SELECT min(id) FROM deliveries WHERE state = '{state}'")) };
    pages(
        &shop,
        &[
            ("deliveries", "/deliveries"),
            ("deliveries_waiting", "/deliveries?state=waiting&order=oldest"),
            ("deliveries_retrying", "/deliveries?state=retrying"),
            ("deliveries_held", "/deliveries?state=held"),
            ("deliveries_delivered_of_a_run", "/deliveries?state=delivered&run=24&destination=brevo"),
            ("deliveries_none_match", "/deliveries?state=held&customer=1"),
            ("deliveries_none_in_the_tab", "/deliveries?state=discarded"),
            ("deliveries_decide", "/deliveries/decide?action=retry&state=dead"),
            ("deliveries_decide_none", "/deliveries/decide?action=release&state=held&customer=1"),
            ("delivery_delivered", &format!("/deliveries/{}", id("delivered"))),
            ("delivery_retrying", &format!("/deliveries/{}", id("retrying"))),
            ("delivery_unknown", "/deliveries/999999"),
        ],
    );
    pages(&Shop::empty(), &[("deliveries_without_any", "/deliveries")]);
}

#[test]
fn destinations() {
    let mut shop = shop();
    shop.execute(
        "INSERT INTO destinations (name, state, reason, since, failures, failing_since, probes, probe_at) VALUES
           ('brevo', 'failing', 'refused our key (401)', 1795420800000, 5, 1795420800000, 1, 1795431660000),
           ('klaviyo', 'active', NULL, 1795000000000, 2, 1795420800000, 0, NULL)",
    );
    pages(&shop, &[("destinations", "/destinations")]);
    shop.config.destination.clear();
    pages(&shop, &[("destinations_left_behind", "/destinations")]);
}

#[test]
fn import_and_settings() {
    let mut shop = shop();
    pages(&shop, &[("import", "/import"), ("import_unknown", "/import/999"), ("settings", "/settings")]);
    shop.execute(
        "INSERT INTO imports (id, file_name, state, size, format, report, has_file, created_at, finished_at)
         VALUES (1, 'orders.csv', 'failed', 2048, 'orders, one row each', NULL, 0, 1795420800000, 1795420801000)",
    );
    pages(&shop, &[("import_of_a_file_that_failed", "/import/1"), ("import_with_files", "/import")]);
    shop.config.dashboard.password_hash = Secret::new("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA");
    pages(&shop, &[("sign_in", "/login")]);
}

#[test]
fn errors() {
    let shop = shop();
    pages(&shop, &[("error_not_here", "/nowhere")]);
    compare(&shop, "error_wrong_method", &shop.send(Method::PUT, "/customers", &[("host", "localhost")]));
    compare(&shop, "error_wrong_address", &shop.send(Method::GET, "/", &[("host", "evil.example")]));
    shop.execute("ALTER TABLE run_moves RENAME TO gone");
    pages(&shop, &[("error_of_ours", "/")]);
    shop.execute("ALTER TABLE gone RENAME TO run_moves");
}
