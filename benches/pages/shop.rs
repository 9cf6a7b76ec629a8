//! A shop with years behind it: scored by the program itself at both ends, with made-up nights between.

use std::{path::Path, process::Command};

use anyhow::ensure;
use quintile::model::Timestamp;
use rusqlite::{Connection, params};

use super::data::{self, END};

/// Nights, the first and the last of which were really scored.
pub const RUNS: i64 = 200;

const CONFIG: &str = r#"
[shop]
id = "bench.myshopify.com"
[database]
path = "quintile.db"
[webhooks]
listen = "127.0.0.1:0"
[dashboard]
listen = "127.0.0.1:0"
[scoring]
# No night comes due while pages are asked for, and what the last one changed waits for its tool.
cron = "0 0 31 12 *"
hold_above_percent = 100
[[destination]]
name = "tool"
url = "https://tool.example/hooks"
secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
"#;

/// Makes it in `folder`, unless it is there.
pub fn make(folder: &Path, customers: u64) -> anyhow::Result<()> {
    let made = folder.join(format!("made-{customers}"));
    if made.exists() {
        return Ok(());
    }
    eprintln!("making a shop of {customers} customers (some minutes) …");
    std::fs::create_dir_all(folder)?;
    let path = folder.join("quintile.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("quintile.db{suffix}")));
    }
    std::fs::write(folder.join("config.toml"), CONFIG)?;
    data::make(&path, customers)?;
    share_emails(&path)?;
    score(folder, END.plus_millis((1 - RUNS) * Timestamp::DAY))?;
    nights(&path, customers)?;
    data::live_a_day(&path, 1)?;
    score(folder, END.plus_millis(Timestamp::DAY))?;
    aftermath(&path, customers)?;
    std::fs::write(made, "")?;
    Ok(())
}

/// One customer in fifty has the e-mail of another.
fn share_emails(path: &Path) -> anyhow::Result<()> {
    Connection::open(path)?.execute_batch(
        "UPDATE customers SET (email, email_key) = (SELECT email, email_key FROM customers other WHERE other.id = customers.id - 50)
           WHERE id % 100 = 0",
    )?;
    Ok(())
}

fn score(folder: &Path, as_of: Timestamp) -> anyhow::Result<()> {
    let done = Command::new(env!("CARGO_BIN_EXE_quintile"))
        .args(["score", "--as-of", &as_of.to_string()])
        .current_dir(folder)
        .output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// The nights between: in each, one customer in a hundred changes segment, and the tool is told.
fn nights(path: &Path, customers: u64) -> anyhow::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -400000; PRAGMA foreign_keys = OFF")?;
    let tx = connection.transaction()?;
    let customers = i64::try_from(customers)?;
    for run in 2..RUNS {
        let as_of = END.plus_millis((run - RUNS) * Timestamp::DAY);
        tx.execute(
            "INSERT INTO runs (id, trigger, slot, state, as_of, started_at, scored_at, emitted_at, finished_at, ties, window_days,
               rules, scored, changed, score_ms, rank_ms, write_ms, emit_ms)
             SELECT ?1, 'scheduled', date(?2 / 1000, 'unixepoch'), 'done', ?2, ?2, ?2, ?2, ?2, ties, window_days, rules, scored,
               ?3 / 100, score_ms, rank_ms, write_ms, emit_ms FROM runs WHERE id = 1",
            params![run, as_of, customers],
        )?;
        tx.execute("INSERT INTO run_segments SELECT ?1, segment, rank, max(0, customers + (?1 * 7919 + rank * 104729) % 1000 - 500), revenue FROM run_segments WHERE run_id = 1", [run])?;
        tx.execute(
            "INSERT INTO run_cells SELECT ?1, r, f, m, customers, revenue FROM run_cells WHERE run_id = 1",
            [run],
        )?;
        tx.execute("INSERT INTO run_quintiles SELECT ?1, dimension, quintile, customers, lowest, highest FROM run_quintiles WHERE run_id = 1", [run])?;
        // 7919 is prime: the customers of a night differ.
        tx.execute(
            "WITH RECURSIVE place(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM place WHERE i + 1 < ?2 / 100),
               names(n, segment) AS (SELECT row_number() OVER (ORDER BY rank) - 1, segment FROM run_segments WHERE run_id = 1)
             INSERT INTO outbox (event_id, type, customer_id, run_id, old_segment, new_segment, cause, r, f, m, at)
             SELECT randomblob(16), (SELECT type FROM outbox WHERE run_id = 1 LIMIT 1), 1 + (i * 7919 + ?1 * 104729) % ?2, ?1, old.segment, new.segment,
               'ranking', 1 + i % 5, 1 + i % 4, 1 + i % 3, ?3
             FROM place JOIN names old ON old.n = i % 7 JOIN names new ON new.n = (i % 7 + 1 + i % 6) % 7",
            params![run, customers, as_of],
        )?;
        tx.execute(
            "INSERT INTO history (customer_id, run_id, r, f, m, segment, moved)
             SELECT customer_id, run_id, r, f, m, new_segment, 1 FROM outbox WHERE run_id = ?1 ORDER BY customer_id",
            [run],
        )?;
        tx.execute(
            "INSERT INTO run_moves SELECT run_id, old_segment, new_segment, count(*) FROM outbox WHERE run_id = ?1 GROUP BY 2, 3",
            [run],
        )?;
        tx.execute(
            "INSERT INTO deliveries (message_id, destination, seq, customer_id, run_id, state, attempts, body, last_status, created_at, finished_at)
             SELECT randomblob(16), 'tool', seq, customer_id, run_id, 'delivered', 1, CASE WHEN ?2 THEN zeroblob(600) END, 200, at, at + 900
             FROM outbox WHERE run_id = ?1",
            params![run, run > RUNS - 10],
        )?;
    }
    tx.execute(
        "INSERT INTO attempts (delivery_id, number, started_at, duration_ms, status, answer)
         SELECT id, 1, created_at, 40, 200, zeroblob(20) FROM deliveries",
        [],
    )?;
    tx.execute(
        "UPDATE runs SET (first_seq, last_seq, emit_position) = (SELECT min(seq), max(seq), max(seq) FROM outbox WHERE run_id = runs.id) WHERE id > 1",
        [],
    )?;
    tx.commit()?;
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

/// The tool has stopped answering: some wait, are tried again, were given up; some are held.
fn aftermath(path: &Path, customers: u64) -> anyhow::Result<()> {
    let connection = Connection::open(path)?;
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO inbox (source, topic, delivery_key, body_hash, headers, body, state, received_at)
         SELECT 'shopify', 'orders/updated', i, CAST(i AS BLOB), '{}', zeroblob(300), iif(i % 20 = 0, 'stale', 'done'), ?2 FROM n",
        params![i64::try_from(customers)?, END],
    )?;
    connection.execute_batch(
        "UPDATE deliveries SET state = 'dead', finished_at = created_at, due_at = NULL, last_status = 410, last_error = 'the receiver is gone'
           WHERE run_id = 199 AND id % 10 = 0;
         UPDATE deliveries SET state = 'retrying', attempts = 3, due_at = created_at + 3600000, last_status = 503, last_error = 'the receiver answered 503'
           WHERE state = 'waiting' AND id % 50 = 0;
         UPDATE deliveries SET state = 'held', hold = 'consent', due_at = NULL WHERE state = 'waiting' AND id % 50 = 1;
         -- A small segment of its own, which can be sorted.
         INSERT INTO segments (name) VALUES ('few');
         UPDATE customer_scores SET segment_id = (SELECT id FROM segments WHERE name = 'few') WHERE customer_id % 60 = 0;
         INSERT INTO run_segments SELECT id, 'few', 20, (SELECT count(*) FROM scores WHERE segment = 'few'), 0 FROM runs
           WHERE id = (SELECT max(id) FROM runs);
         INSERT OR REPLACE INTO destinations (name, state, reason, since) VALUES ('tool', 'paused', 'paused by the merchant', 0);
         PRAGMA wal_checkpoint(TRUNCATE)",
    )?;
    Ok(())
}
