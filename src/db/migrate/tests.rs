//! Older files are brought up, newer ones and those of others stay untouched. `tests/fixtures`
//! holds a real file of every released schema, made by the program of that time.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::*;
use crate::db::Database;

/// Two steps of the kinds there are: add a column, rebuild a table.
const STEPS: [&str; 2] = [
    "ALTER TABLE meta ADD COLUMN note TEXT;",
    "CREATE TABLE customers_new (id INTEGER PRIMARY KEY, external_id TEXT, nickname TEXT) STRICT;
     INSERT INTO customers_new SELECT id, external_id, first_name FROM customers;
     DROP TABLE customers;
     ALTER TABLE customers_new RENAME TO customers;",
];

fn fixture(version: i32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema-{version}.db"))
}

/// A copy of the fixture, to spoil.
fn copy_of(version: i32) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("quintile.db");
    fs::copy(fixture(version), &path).unwrap();
    (folder, path)
}

fn version_of(path: &Path) -> i32 {
    read_header(path).unwrap().version
}

/// Every object of the schema, comments and spaces taken out.
fn schema_of(connection: &Connection) -> BTreeSet<String> {
    let without_comments = |sql: String| {
        let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
        lines
            .flat_map(str::split_whitespace)
            .collect::<Vec<_>>()
            .join(" ")
            .replace(" ,", ",")
            .replace(", ", ",")
            .replace("( ", "(")
            .replace(" )", ")")
    };
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(|sql| without_comments(sql.unwrap())).collect()
}

/// Run by hand when a version is released, never afterwards:
/// `cargo test --lib db::migrate -- --ignored write_fixture`
#[test]
#[ignore = "writes the fixture of the current version"]
fn write_fixture() {
    let path = fixture(SCHEMA_VERSION);
    let _ = fs::remove_file(&path);
    let connection = open_and_migrate(&path, CURRENT).unwrap();
    connection
        .execute_batch(
            "INSERT INTO customers (id, source, external_id, email, email_key, first_name, order_count, total_spent,
               avg_order_value, first_order_at, last_order_at, created_at)
             VALUES (1, 'shopify', '7001', 'Anna@example.com', 'anna@example.com', 'Anna', 1, 4990, 4990,
               1795000000000, 1795000000000, 1795000000000);
             INSERT INTO orders (source, source_id, customer_id, customer_ref, status, currency, gross, net, counted,
               ordered_at, origin, received_at)
             VALUES ('shopify', '1001', 1, '7001', 'paid', 'EUR', 4990, 4990, 1, 1795000000000, 'webhook', 1795000000000);
             INSERT INTO runs (id, trigger, state, as_of, started_at, scored_at, emitted_at, finished_at, ties,
               window_days, rules, scored, changed, first_seq, last_seq, emit_position)
             VALUES (1, 'manual', 'done', 1795100000000, 1795100000000, 1795100000000, 1795100000000, 1795100000000,
               'together', 0, 'x', 1, 1, 1, 1, 1);
             INSERT INTO run_segments (run_id, segment, rank, customers, revenue) VALUES (1, 'champion', 0, 1, 4990);
             INSERT INTO segments (name) VALUES ('champion');
             INSERT INTO customer_scores (customer_id, r, f, m, segment_id, segment_run) VALUES (1, 5, 5, 5, 1, 1);
             INSERT INTO history (customer_id, run_id, r, f, m, segment, moved) VALUES (1, 1, 5, 5, 5, 'champion', 1);
             INSERT INTO outbox (event_id, type, customer_id, run_id, new_segment, cause, r, f, m, at)
             VALUES (zeroblob(16), 'rfm/segment.changed', 1, 1, 'champion', 'baseline', 5, 5, 5, 1795100000000);
             INSERT INTO deliveries (message_id, destination, seq, customer_id, run_id, state, created_at, finished_at)
             VALUES (zeroblob(16), 'my-tool', 1, 1, 1, 'delivered', 1795100000000, 1795100000000);
             PRAGMA journal_mode = DELETE;
             VACUUM;",
        )
        .unwrap();
}

#[test]
fn every_released_schema_is_brought_up_to_a_fresh_one() {
    let fresh_folder = tempfile::tempdir().unwrap();
    let fresh = schema_of(&open_and_migrate(&fresh_folder.path().join("fresh.db"), CURRENT).unwrap());
    for version in 1..=SCHEMA_VERSION {
        let (_folder, path) = copy_of(version);
        assert_eq!(version_of(&path), version);
        let connection = open_and_migrate(&path, CURRENT).unwrap();
        assert_eq!(version_of(&path), SCHEMA_VERSION);
        assert_eq!(
            schema_of(&connection),
            fresh,
            "a released schema.sql is changed by a step in CURRENT, not in place (before the first release: write_fixture)"
        );
        let violations = crate::invariants::violations(&connection).unwrap();
        assert!(violations.is_empty(), "{violations:?}");
    }
}

/// In a fresh file and in one that was brought up: the words that Rust knows, and no others.
#[test]
fn columns_of_words_take_those_words_alone() {
    use crate::model::{OrderStatus, Origin, Source};
    let words = |all: Vec<&'static str>| move || all.clone();
    let sources = words(Source::ALL.iter().map(|word| word.as_str()).collect());
    let origins = words(Origin::ALL.iter().map(|word| word.as_str()).collect());
    let statuses = words(OrderStatus::ALL.iter().map(|word| word.as_str()).collect());
    let cases = [
        ("orders", "source", sources()),
        ("orders", "origin", origins()),
        ("orders", "status", statuses()),
        ("customers", "source", sources()),
        ("outbox", "cause", vec!["order", "refund", "ranking", "baseline", "remap"]),
        (
            "deliveries",
            "state",
            vec!["waiting", "sending", "retrying", "held", "delivered", "dead", "superseded", "discarded"],
        ),
        ("deliveries", "hold", vec!["baseline", "run", "consent", "destination", "restored"]),
    ];
    for version in [1, SCHEMA_VERSION] {
        let (_folder, path) = copy_of(version);
        let connection = open_and_migrate(&path, CURRENT).unwrap();
        for (table, column, words) in &cases {
            let set = |word: &str| connection.execute(&format!("UPDATE {table} SET {column} = ?1"), [word]);
            for word in words {
                assert_eq!(set(word).unwrap(), 1, "{table}.{column} {word}");
            }
            for word in ["", "Paid", "other"] {
                let refused = set(word).unwrap_err().to_string();
                assert!(refused.starts_with("CHECK constraint failed"), "{table}.{column} {word}: {refused}");
            }
        }
    }
}

#[test]
fn an_older_file_is_brought_up_step_by_step() {
    let (_folder, path) = copy_of(1);
    let connection = open_and_migrate(&path, Plan { steps: &STEPS, ..CURRENT }).unwrap();
    assert_eq!(version_of(&path), 3);
    let nickname: String =
        connection.query_row("SELECT nickname FROM customers WHERE id = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(nickname, "Anna");
    let orders: i64 =
        connection.query_row("SELECT count(*) FROM orders WHERE customer_id = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(orders, 1, "dropping the old table did not empty those that refer to it");
    assert!(connection.pragma_query_value(None, "foreign_keys", |row| row.get::<_, bool>(0)).unwrap());
    connection.execute("INSERT INTO meta VALUES ('key', 'value', 'note')", []).unwrap();

    // A file in the middle starts there: the first step would fail on it.
    drop(connection);
    let steps = ["SELECT no_such_function()", STEPS[0], "CREATE TABLE fourth (id INTEGER PRIMARY KEY) STRICT"];
    open_and_migrate(&path, Plan { steps: &steps, ..CURRENT }).unwrap();
    assert_eq!(version_of(&path), 4);
}

#[test]
fn a_step_that_fails_changes_nothing() {
    for (broken, message) in [
        ("CREATE TABLE half (id INTEGER) STRICT; INSERT INTO nowhere VALUES (1)", "no such table: nowhere"),
        ("DELETE FROM customers", "would refer to nothing"),
    ] {
        let (_folder, path) = copy_of(1);
        let error = open_and_migrate(&path, Plan { steps: &[STEPS[0], broken], ..CURRENT }).unwrap_err();
        assert!(format!("{error:#}").contains(message), "{error:#}");
        assert_eq!(version_of(&path), 1);
        let connection = open_and_migrate(&path, CURRENT).unwrap();
        assert_eq!(
            schema_of(&connection).iter().filter(|sql| sql.contains("note ") || sql.contains("half")).count(),
            0
        );
        assert!(crate::invariants::violations(&connection).unwrap().is_empty());
    }
}

/// Runs in a child process, which is killed in the middle of the step.
#[test]
fn a_kill_in_the_middle_leaves_the_old_version() {
    const CHILD: &str = "QUINTILE_TEST_MIGRATE";
    const ENDLESS: &str = "CREATE TABLE filler (n INTEGER) STRICT;
        INSERT INTO filler WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;";
    #[expect(clippy::disallowed_methods, reason = "how a test tells its child what to do")]
    if let Ok(path) = std::env::var(CHILD) {
        let _ = open_and_migrate(Path::new(&path), Plan { steps: &[STEPS[0], ENDLESS], ..CURRENT });
        unreachable!("the step has no end");
    }
    let (folder, path) = copy_of(1);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "db::migrate::tests::a_kill_in_the_middle_leaves_the_old_version", "--nocapture"])
        .env(CHILD, &path)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The step is well under way once it has spilled pages into the log.
    let log = folder.path().join("quintile.db-wal");
    let deadline = Instant::now() + Duration::from_secs(30);
    while fs::metadata(&log).map_or(0, |meta| meta.len()) < 4 << 20 {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "the migration did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(version_of(&path), 1);
    let connection = open_and_migrate(&path, CURRENT).unwrap();
    let integrity: String = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    assert!(schema_of(&connection).iter().all(|sql| !sql.contains("filler") && !sql.contains("note ")));
}

/// Writes a file that is not for this program.
type Maker<'a> = &'a dyn Fn(&Path);

#[test]
fn what_is_not_ours_or_too_new_stays_byte_for_byte() {
    let other = |sql: &'static str| move |path: &Path| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    let newer = |path: &Path| {
        fs::copy(fixture(1), path).unwrap();
        other("PRAGMA user_version = 999")(path);
    };
    let makers: [(Maker<'_>, &str); 4] = [
        (
            &other("CREATE TABLE notes (text); INSERT INTO notes VALUES ('mine')"),
            "is not a quintile database; [database] path must name another file",
        ),
        (&other("PRAGMA application_id = 7"), "is not a quintile database"),
        (&|path| fs::write(path, "Dear diary, ".repeat(100)).unwrap(), "as a database"),
        (
            &newer,
            &format!(
                "was written by a newer quintile (schema 999, this program knows {SCHEMA_VERSION}); use that version, nothing was changed"
            ),
        ),
    ];
    for (make, message) in makers {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("quintile.db");
        make(&path);
        let before = fs::read(&path).unwrap();
        let error = Database::open(&path, "test").err().expect(message);
        assert!(format!("{error:#}").contains(message), "{error:#}");
        let error = crate::db::Readers::open(&path).err().expect(message);
        assert!(format!("{error:#}").contains(message), "{error:#}");
        assert_eq!(fs::read(&path).unwrap(), before, "{message}");
    }
}

#[test]
fn a_reader_leaves_an_older_file_to_the_writer() {
    let (_folder, path) = copy_of(1);
    let error = crate::db::Readers::open(&path).err().unwrap().to_string();
    let expected = format!("has schema 1, this program reads {SCHEMA_VERSION}; `quintile serve` brings it up");
    assert!(error.contains(&expected), "{error}");
}
