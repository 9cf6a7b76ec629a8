//! The power goes. The real program works under strace, which tells what it wrote and when it waited for
//! the disk; then its folder is laid out as a power cut at hundreds of moments may have left it, and opened.
//!
//! Whatever the program had said by then has to be so: an answer to the shop, a message to an email tool,
//! the report of a command.

mod recording;

use std::{cell::Cell, collections::BTreeSet, fs, path::Path};

use quintile::{
    db::{self, Database, Reader},
    outbox::msg_id,
};
use serde_json::json;

use self::recording::{Cut, Recording};
use super::{NOWHERE, count, import, named, orders_csv, post};
use crate::support::{
    folder::Folder,
    http,
    merchant::{Merchant, post_shopify, score_and_wait, score_now},
    process::{Server, eventually},
    receiver::Receiver,
};

const ORDERS: u32 = 200;

fn rows(reader: &Reader, what: &str) -> u32 {
    reader.query_row(&format!("SELECT count(*) FROM {what}"), [], |row| row.get(0)).unwrap()
}

fn texts(reader: &Reader, what: &str) -> BTreeSet<String> {
    let mut statement = reader.prepare(&format!("SELECT {what}")).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// Past the log, straight into the new file.
#[test]
fn the_first_import_is_there_as_a_whole_or_not_at_all() {
    let merchant = Merchant::new(NOWHERE);
    merchant.write("orders.csv", &orders_csv(0..ORDERS));
    Recording::of(&merchant, &["import", "orders.csv"]).cut(60, |cut| {
        let orders = cut.database(|reader| rows(reader, "orders"));
        assert!(orders == ORDERS || orders == 0 && !cut.has_reported(), "{orders} orders");
        if cut.goes_on {
            cut.run(&["import", "orders.csv"]);
            cut.run(&["check", "--deep"]);
            assert_eq!(cut.database(|reader| rows(reader, "orders")), ORDERS);
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_and_what_was_sent_is_stored() {
    let receiver = Receiver::start().await;
    tokio::task::block_in_place(|| {
        let merchant = Merchant::new(receiver.url());
        // The night is caught up with at the start.
        merchant.configure("cron = \"0 2 29 2 *\"", "cron = \"* * * * *\"");
        import(&merchant, "orders.csv", 0..ORDERS);
        merchant.sql().execute_batch("UPDATE orders SET received_at = received_at - 172800000").unwrap();
        let recording = Recording::of_server(&merchant, |server| live(&merchant, server));
        let all = Cut { folder: merchant.path(), done: &recording.operations, goes_on: false };
        let (answered, sent) = (all.answered().len(), all.sent().len());
        assert!(answered == 41 && sent > 200, "{answered} webhooks were answered, {sent} messages sent");
        recording.cut(120, look_at_the_night);
    });
}

/// A night with its backup while orders come; a file, a request for data; and a second run meanwhile.
fn live(merchant: &Merchant, server: &Server) {
    let posts = |numbers: std::ops::Range<u64>| numbers.for_each(|number| assert_eq!(post(server, number).status, 200));
    let is_there = |name: &str| !named(merchant.path(), name).is_empty();
    posts(0..20);
    eventually("the backup", || server.said().contains(BACKED_UP).then_some(()));
    eventually("the deliveries", || (count(merchant, "deliveries WHERE finished_at IS NULL") == 0).then_some(()));
    let who = json!({"customer": {"id": 7001, "email": "c7001@example.com"}});
    assert_eq!(post_shopify(server, "customers/data_request", "w-data", &who).unwrap().status, 200);
    eventually("the data", || is_there("data-request-").then_some(()));
    upload(server, &orders_csv(ORDERS..ORDERS + 9));
    std::thread::scope(|threads| {
        threads.spawn(|| posts(20..30));
        threads.spawn(|| posts(30..40));
        score_and_wait(merchant, server);
    });
    score_now(server).unwrap(); // the end is in the middle of this one
}

/// As a browser sends it.
fn upload(server: &Server, file: &str) {
    let body = format!(
        "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"more.csv\"\r\n\
         Content-Type: text/csv\r\n\r\n{file}\r\n--B--\r\n"
    );
    let headers = [
        ("content-type", "multipart/form-data; boundary=B"),
        ("origin", server.dashboard.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    let answer = http::post(&format!("{}/import", server.dashboard), &headers, body.as_bytes()).unwrap();
    assert_eq!(answer.status, 303, "{}", answer.body);
}

const BACKED_UP: &str = "made a verified backup";

fn look_at_the_night(cut: &Cut) {
    cut.database(|reader| {
        let missing = |said: BTreeSet<String>, known: &BTreeSet<String>| said.difference(known).next().cloned();
        let stored = texts(reader, "delivery_key FROM inbox");
        assert_eq!(missing(cut.answered(), &stored), None, "answered, not stored");
        // `w-7` is order 1007.
        let told = texts(reader, "delivery_key FROM inbox WHERE topic = 'orders/create' AND state = 'done'");
        let orders = texts(reader, "'w-' || (source_id - 1000) FROM orders WHERE source = 'shopify'");
        assert_eq!(told, orders, "one is not there without the other");

        let mut tried = reader.prepare("SELECT message_id FROM deliveries WHERE attempts > 0").unwrap();
        let tried = tried.query_map([], |row| row.get(0)).unwrap().map(|id| msg_id(&id.unwrap())).collect();
        assert_eq!(missing(cut.sent(), &tried), None, "sent, and not known any more");
        let lost = "outbox AS event JOIN runs AS run ON run.id = event.run_id AND run.emitted_at IS NOT NULL
                    WHERE event.seq NOT IN (SELECT seq FROM deliveries)";
        assert_eq!(rows(reader, lost), 0, "events without a delivery");

        look_at_files(cut.folder, reader);
    });
    let backups = backups(&cut.folder.join("backups"));
    assert!(!backups.is_empty() || !cut.has_said(BACKED_UP));
    if cut.goes_on {
        cut.run(&["score"]);
        cut.run(&["check", "--deep"]);
        cut.database(|reader| assert_eq!(rows(reader, "runs WHERE state IN ('scoring', 'scored')"), 0));
    }
}

/// Files that the database tells of are there and whole.
fn look_at_files(folder: &Path, reader: &Reader) {
    let answers = texts(
        reader,
        "'data-request-' || id || '.json' FROM inbox WHERE topic = 'customers/data_request' \
         AND NOT EXISTS (SELECT 1 FROM privacy_tasks WHERE inbox_id = inbox.id)",
    );
    for name in answers {
        let answer = fs::read(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        serde_json::from_slice::<serde_json::Value>(&answer).unwrap();
    }
    let ready = texts(reader, "'quintile.db.upload-' || id FROM imports WHERE state = 'ready' AND has_file");
    for name in ready {
        let file = fs::read_to_string(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(file, orders_csv(ORDERS..ORDERS + 9));
    }
}

/// Those that have their name, which are whole.
fn backups(folder: &Path) -> Vec<String> {
    let mut names = if folder.is_dir() { named(folder, "") } else { Vec::new() };
    names.retain(|name| !name.contains(".db.partial") && !name.contains(".shop"));
    for name in &names {
        let (_, violations) = db::verify(&folder.join(name)).unwrap();
        assert_eq!(violations, Vec::<String>::new(), "{name}");
    }
    names
}

#[test]
fn a_backup_that_has_its_name_is_whole() {
    let merchant = Merchant::new(NOWHERE);
    import(&merchant, "orders.csv", 0..ORDERS);
    Recording::of(&merchant, &["backup", "copy.db"]).cut(30, |cut| {
        let copy = cut.folder.join("copy.db");
        assert!(copy.exists() || !cut.has_reported());
        if copy.exists() {
            assert_eq!(db::verify(&copy).unwrap().0.orders, i64::from(ORDERS));
        }
        assert_eq!(cut.database(|reader| rows(reader, "orders")), ORDERS);
    });
}

/// A shop with a backup of [`ORDERS`] orders.
fn with_backup() -> Merchant {
    let merchant = Merchant::new(NOWHERE);
    import(&merchant, "orders.csv", 0..ORDERS);
    merchant.run(&["backup", "copy.db"]);
    merchant
}

/// Puts the backup in the place of a database that has, or comes to have, so many orders.
fn restore_over(merchant: &Merchant, orders: u32) {
    Recording::of(merchant, &["restore", "copy.db"]).cut(60, |cut| {
        let is_new = cut.database(|reader| {
            let is_new = db::restored_at(reader).unwrap().is_some();
            assert_eq!(rows(reader, "orders"), if is_new { ORDERS } else { orders });
            is_new
        });
        assert!(is_new || !cut.has_reported());
        if is_new {
            let kept = named(cut.folder, "quintile.db.before-restore-").remove(0);
            let (kept, _) = db::verify(&cut.folder.join(kept)).unwrap();
            assert_eq!(kept.orders, i64::from(orders), "the old one is kept");
        }
        if cut.goes_on {
            cut.run(&["restore", "copy.db"]);
            cut.run(&["check", "--deep"]);
        }
    });
}

#[test]
fn a_restore_leaves_the_old_database_with_its_log_or_the_new_one() {
    const SINCE: u32 = 10;
    let merchant = with_backup();
    let server = Server::start(merchant.path());
    (0..SINCE).for_each(|number| assert_eq!(post(&server, number.into()).status, 200));
    server.kill();
    assert_eq!(named(merchant.path(), "quintile.db-wal").len(), 1, "they are in the log alone");
    restore_over(&merchant, ORDERS + SINCE);
}

/// It is never gone on with as if its log had never been.
#[test]
fn a_restore_over_a_damaged_log_leaves_it_damaged_or_the_new_one() {
    let merchant = Merchant::new(NOWHERE).spoilt();
    let server = Server::start(merchant.path());
    (0..40).for_each(|number| assert_eq!(post(&server, number).status, 200));
    server.kill();
    let log = merchant.path().join("quintile.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, bytes).unwrap();
    let refused = Cell::new(0);
    Recording::of(&merchant, &["restore", "quintile.db"]).cut(60, |cut| {
        match Database::open(&cut.folder.join("quintile.db"), "test") {
            Ok(database) => {
                let reader = database.readers().get().unwrap();
                assert!(db::restored_at(&reader).unwrap().is_some());
                assert!((1..40).contains(&rows(&reader, "orders")));
                assert_eq!(named(cut.folder, "quintile.db.before-restore-").len(), 2, "the old one and its log");
            }
            Err(error) => {
                assert!(db::tells_of_damage(&error) && !cut.has_reported(), "{error:#}");
                refused.set(refused.get() + 1);
            }
        }
        assert_eq!(named(cut.folder, "quintile.db.restoring"), Vec::<String>::new(), "half a copy");
    });
    assert!(refused.get() > 0);
}

#[test]
fn a_restore_leaves_no_half_written_import() {
    let merchant = Merchant::new(NOWHERE);
    merchant.write("orders.csv", &orders_csv(0..ORDERS));
    let import = Recording::of(&merchant, &["import", "orders.csv"]);
    fs::remove_file(merchant.path().join("quintile.db")).unwrap();
    let backup = with_backup();
    fs::copy(backup.path().join("copy.db"), merchant.path().join("copy.db")).unwrap();
    // All of it is in the file, and what takes it back is there too. After that comes the return to the log.
    import.stop_before_unlink("quintile.db-journal", 1, merchant.path());
    let alone = Folder::new();
    fs::copy(merchant.path().join("quintile.db"), alone.path().join("quintile.db")).unwrap();
    let orders = Database::open(&alone.path().join("quintile.db"), "test").unwrap();
    assert_eq!(rows(&orders.readers().get().unwrap(), "orders"), ORDERS);
    restore_over(&merchant, 0);
}

#[test]
fn a_migration_leaves_the_old_schema_or_the_new_one_and_a_copy_of_the_old() {
    let merchant = Merchant::new(NOWHERE);
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/schema-2.db");
    fs::copy(fixture, merchant.path().join("quintile.db")).unwrap();
    Recording::of(&merchant, &["deliver", "--until-idle"]).cut(30, |cut| {
        assert_eq!(cut.database(|reader| rows(reader, "orders")), 1);
        let (kept, _) = db::verify(&cut.folder.join("quintile.db.schema-2")).unwrap();
        assert_eq!((kept.schema, kept.orders), (2, 1));
    });
}
