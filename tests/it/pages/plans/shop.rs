//! A shop that is large at once and can grow, made so that whoever walks has to walk far: what filters
//! look for stands at the very end of every walk, and the newest run changed everybody.

use quintile::config::Secret;
use rusqlite::{Transaction, params};

use crate::support::{
    folder::Folder,
    pages::{NOW, Shop},
    receiver::SECRET,
};

const DAY: i64 = 86_400_000;
/// Nights before the newest run, each with [`CHANGES`] changes.
const NIGHTS: i64 = 29;
const CHANGES: i64 = 100;
/// The run that changed everybody.
pub const NEWEST: i64 = NIGHTS + 1;
/// Somebody with many orders, and with changes only in the oldest runs.
pub const REGULAR: i64 = 29;

/// With so many customers.
pub fn shop(customers: i64) -> Shop {
    let mut shop = Shop::empty_in(Folder::new().spoilt());
    for destination in &mut shop.config.destination {
        "https://hooks.example.com/".clone_into(&mut destination.url);
        destination.secret = Secret::new(SECRET);
    }
    shop.write(move |tx| {
        runs(tx)?;
        people(tx, 0, customers)?;
        for order in 0..30 {
            tx.execute(ORDER, params![-order, REGULAR, NOW - order * DAY])?;
        }
        for night in 1..=NIGHTS {
            changes(tx, night, (night * 100, night * 100 + CHANGES))?;
        }
        tx.execute(
            "UPDATE outbox SET customer_id = ?1 WHERE seq IN (SELECT min(seq) FROM outbox GROUP BY run_id)",
            [REGULAR],
        )?;
        changes(tx, NEWEST, (0, customers))?;
        small_tables(tx)?;
        statistics(tx)
    });
    shop
}

/// The same shop with more of everything that grows.
pub fn grow(shop: &Shop, from: i64, to: i64) {
    shop.write(move |tx| {
        people(tx, from, to)?;
        changes(tx, NEWEST, (from, to))?;
        statistics(tx)
    });
}

/// `?1` to `?2`, the first left out.
const NUMBERS: &str = "WITH RECURSIVE number(i) AS (SELECT ?1 + 1 UNION ALL SELECT i + 1 FROM number WHERE i < ?2)";
const ORDER: &str =
    "INSERT INTO orders (source, source_id, customer_id, status, currency, gross, net, counted, ordered_at, origin, received_at)
     VALUES ('shopify', ?1, ?2, 'paid', 'EUR', 100, 100, 1, ?3, 'webhook', ?3)";

fn runs(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    for run in 1..=NEWEST {
        tx.execute(
            "INSERT INTO runs (id, trigger, state, as_of, started_at, scored_at, emitted_at, finished_at, ties, window_days, rules, scored)
             VALUES (?1, 'scheduled', 'done', ?2, ?2, ?2, ?2, ?2, 'together', 0, 'x', 1)",
            [run, NOW - (NEWEST - run) * DAY],
        )?;
    }
    Ok(())
}

/// Whom the shop knows, what they bought, how they are scored and what the shop sent of them. Two share an
/// e-mail, twenty are not scored, one is in "lost" for other scores than the rest, one is in a segment alone, one has a name of her own.
fn people(tx: &Transaction<'_>, from: i64, to: i64) -> rusqlite::Result<()> {
    let each = |into: &str| tx.execute(&format!("{into} FROM number"), params![from, to, NOW]);
    let numbered = |insert: &str, select: &str| each(&format!("{insert} {NUMBERS} SELECT {select}"));
    numbered(
        "INSERT INTO customers (id, source, external_id, email, email_key, first_name, last_name, order_count, total_spent, avg_order_value,
           first_order_at, last_order_at, created_at)",
        "i, 'shopify', iif(i % 50 = 0, NULL, 'x' || i), 'person' || i || '@example.com', 'person' || i || '@example.com',
         iif(i = 7, 'Zoe', 'Anna'), 'Muster', iif(i BETWEEN 41 AND 60, 0, 1), i % 997, i % 997, ?3 - i % 900 * 86400000, ?3 - i % 900 * 86400000, ?3",
    )?;
    tx.execute("UPDATE customers SET email = 'zz@example.com', email_key = 'zz@example.com' WHERE id IN (11, 12)", [])?;
    numbered(
        "INSERT INTO orders (source, source_id, customer_id, status, currency, gross, net, counted, ordered_at, origin, received_at)",
        "'shopify', i, i, 'paid', 'EUR', 100, 100, 1, ?3, 'webhook', ?3",
    )?;
    tx.execute("INSERT OR IGNORE INTO segments (id, name) VALUES (1, 'lost'), (2, 'champion'), (3, 'few')", [])?;
    numbered(
        "INSERT INTO customer_scores (customer_id, r, f, m, segment_id, segment_run)",
        "i, iif(i % 10 < 6, 1, 5), iif(i % 10 < 6, 1, 5), iif(i % 10 < 6, 1, 5), iif(i % 10 < 6, 1, 2), ?3 > 0",
    )?;
    tx.execute("UPDATE customer_scores SET (r, f, m, segment_id) = (1, 2, 5, 1) WHERE customer_id = 7", [])?;
    tx.execute("UPDATE customer_scores SET segment_id = 3 WHERE customer_id = 8", [])?;
    tx.execute("DELETE FROM customer_scores WHERE customer_id BETWEEN 41 AND 60", [])?;
    numbered(
        "INSERT INTO inbox (source, topic, delivery_key, body_hash, headers, body, state, received_at)",
        "'shopify', 'orders/create', i, CAST(i AS BLOB), '{}', CAST('{}' AS BLOB), iif(i % 10 = 0, 'quarantined', 'done'), ?3",
    )?;
    numbered("INSERT INTO aliases (kind, source, key, customer_id, created_at)", "'id', 'shopify', 'old' || i, i, ?3")?;
    Ok(())
}

/// Customers of a run that changed, and what became of their events: of ten deliveries to brevo one is held,
/// waits, is tried again or was given up, the others and all to klaviyo were delivered. Some hold two events.
fn changes(tx: &Transaction<'_>, run: i64, (from, to): (i64, i64)) -> rusqlite::Result<()> {
    let newest: i64 = tx.query_row("SELECT coalesce(max(seq), 0) FROM outbox", [], |row| row.get(0))?;
    tx.execute(
        &format!("INSERT INTO history (run_id, customer_id, r, f, m, segment, moved) {NUMBERS} SELECT ?3, i, 1, 1, 1, 'lost', 1 FROM number"),
        [from, to, run],
    )?;
    tx.execute(
        &format!(
            "INSERT INTO outbox (event_id, type, customer_id, run_id, old_segment, new_segment, cause, r, f, m, at)
             {NUMBERS} SELECT CAST(printf('%016d', ?3 * 10000000 + i) AS BLOB), 'rfm/segment.changed', i, ?3, 'champion', iif(i = 7, 'new', 'lost'), 'ranking', 1, 1, 1, ?4 FROM number"
        ),
        [from, to, run, NOW],
    )?;
    tx.execute(
        "UPDATE runs SET first_seq = coalesce(first_seq, ?2 + 1), last_seq = (SELECT max(seq) FROM outbox), changed = changed + ?3 WHERE id = ?1",
        [run, newest, to - from],
    )?;
    let last: i64 = tx.query_row("SELECT coalesce(max(id), 0) FROM deliveries", [], |row| row.get(0))?;
    let destination = if run == NEWEST { "brevo" } else { "klaviyo" };
    tx.execute(
        "INSERT INTO deliveries (message_id, destination, seq, customer_id, run_id, state, hold, events, attempts, due_at, created_at, finished_at)
         SELECT event_id, ?1, seq, customer_id, run_id,
           CASE kind WHEN 0 THEN 'held' WHEN 1 THEN 'waiting' WHEN 2 THEN 'retrying' WHEN 3 THEN 'dead' ELSE 'delivered' END,
           iif(kind = 0, 'run', NULL), iif(kind = 9, 2, 1), kind > 1, CASE kind WHEN 1 THEN 0 WHEN 2 THEN ?3 END, ?3 - 1000, iif(kind > 2, ?3 - 900, NULL)
         FROM (SELECT *, iif(?1 = 'brevo', seq % 10, 4) AS kind FROM outbox WHERE seq > ?2 ORDER BY seq)",
        params![destination, newest, NOW],
    )?;
    tx.execute(
        "INSERT INTO batched (delivery_id, seq, customer_id, row_id) SELECT id, seq, customer_id, id FROM deliveries WHERE id > ?1 AND events = 2",
        [last],
    )?;
    tx.execute(
        "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, status) SELECT id, 1, ?2, 40, 200 FROM deliveries WHERE id > ?1 AND attempts > 0",
        [last, NOW - 950],
    )?;
    Ok(())
}

/// What does not grow with the shop.
fn small_tables(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(
        "INSERT INTO syncs (trigger, mode, state, watermark, started_at, finished_at) VALUES ('manual', 'full', 'done', 1, 1, 2);",
    )
}

/// What the forms take away.
pub fn bring_back(shop: &Shop) {
    shop.execute(
        "INSERT OR IGNORE INTO imports (id, file_name, state, size, format, created_at, finished_at)
         VALUES (1, 'orders.csv', 'interrupted', 10, 'orders', 1, 2)",
    );
}

/// What each run counted.
fn statistics(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch(
        "DELETE FROM run_segments; DELETE FROM run_cells; DELETE FROM run_quintiles; DELETE FROM run_moves;",
    )?;
    tx.execute_batch(
        "CREATE TEMP TABLE cell AS SELECT r, f, m, segment, count(*) AS customers FROM scores GROUP BY r, f, m, segment;
         INSERT INTO run_segments SELECT id, segment, segment = 'lost', sum(customers), 1 FROM runs, cell GROUP BY id, segment;
         INSERT INTO run_cells SELECT id, r, f, m, sum(customers), 1 FROM runs, cell GROUP BY id, r, f, m;
         DROP TABLE cell;
         INSERT INTO run_quintiles SELECT id, dimension, quintile, 1, quintile, quintile FROM runs,
           (SELECT 'r' AS dimension UNION ALL SELECT 'f' UNION ALL SELECT 'm'), (SELECT 1 AS quintile UNION ALL SELECT 3 UNION ALL SELECT 5);
         INSERT INTO run_moves SELECT id, 'champion', 'lost', changed FROM runs;
         UPDATE runs SET scored = (SELECT count(*) FROM scores);",
    )
}
