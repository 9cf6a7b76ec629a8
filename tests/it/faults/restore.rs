//! A backup in the place of the database.

use std::{
    cell::Cell,
    fs,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Output, id},
    time::Duration,
};

use quintile::{
    clock::Clock,
    db::{Database, Ending, Lock, Staged, back_up, verify},
    intake::privacy,
    ledger::Who,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{NOWHERE, count, get, import, named};
use crate::support::{
    http,
    merchant::{Merchant, post_orders, post_shopify, shopify_order},
    process::{QUINTILE, Server, eventually, quintile_by, run, run_json},
    receiver::Receiver,
};

fn fixture(schema: i32) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/schema-{schema}.db"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_in_a_backup_waits_for_the_merchants_word() {
    let receiver = Receiver::start().await;
    let merchant = Merchant::new(receiver.url());
    tokio::task::block_in_place(|| {
        import(&merchant, "orders.csv", 0..40);
        merchant.run(&["score"]);
        let waiting = count(&merchant, "deliveries WHERE state = 'waiting'");
        assert_eq!(waiting, 40);
        merchant.run(&["backup", "copy.db"]);
        import(&merchant, "more.csv", 40..90);
        merchant.run(&["deliver", "--until-idle"]);
        assert_eq!(receiver.received().len(), 40);

        let server = Server::start(merchant.path());
        let refused = run(merchant.path(), &["restore", "copy.db"]);
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(1), "{said}");
        let holder = format!("is in use by process {} (quintile serve); stop it, then restore", server.id());
        assert!(said.contains(&holder), "{said}");
        // It looks like something left behind.
        fs::remove_file(merchant.path().join("quintile.db.lock")).unwrap();
        let holder = format!("is in use by quintile, process {}; stop it, then restore", server.id());
        is_refused(&merchant, &["restore", "copy.db"], &holder);
        // Whoever else has it open.
        let reader = merchant.sql();
        reader.execute_batch("BEGIN; SELECT * FROM meta").unwrap();
        is_refused(&merchant, &["restore", "copy.db"], &holder);
        drop(reader);
        assert_eq!(count(&merchant, "orders"), 90);
        assert!(server.terminate().success());

        let done = merchant.json(&["restore", "copy.db"]);
        assert_eq!((&done["orders"], &done["held"]), (&40.into(), &40.into()), "{done}");
        assert_eq!(count(&merchant, "orders"), 40);
        let kept = rusqlite::Connection::open(merchant.path().join(done["kept"].as_str().unwrap())).unwrap();
        let before: i64 = kept.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
        assert_eq!(before, 90, "the old database is kept beside");
        drop(kept);
        assert_eq!(named(merchant.path(), "quintile.db.restoring"), Vec::<String>::new());

        // Nothing goes out by itself.
        let server = Server::start(merchant.path());
        assert!(get(&server, "/").body.contains("Restored from a backup"));
        let page = get(&server, "/deliveries?state=held&hold=restored").body;
        assert!(page.contains("Held: restored") && page.contains("Send all of these"), "{page}");
        let asked = get(&server, "/deliveries/decide?state=held&hold=restored&action=release").body;
        assert!(
            asked.contains("Send 40 deliveries after all?") && asked.contains("name=\"hold\" value=\"restored\""),
            "{asked}"
        );
        assert_eq!(receiver.received().len(), 40);

        // One is given up by the command, one sent from the page, the rest by the command.
        let ids: Vec<i64> = (1..=2).collect();
        merchant.run(&["deliveries", "discard", "--delivery", &ids[0].to_string()]);
        let form = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", server.dashboard.as_str()),
            ("sec-fetch-site", "same-origin"),
        ];
        let sent =
            http::post(&format!("{}/deliveries/{}", server.dashboard, ids[1]), &form, b"action=release").unwrap();
        assert_eq!(sent.status, 303);
        eventually("the one that was released", || (receiver.received().len() == 41).then_some(()));
        let dry = merchant.json(&["deliveries", "release", "--restored", "--dry-run"]);
        assert_eq!(dry["matched"], 38);
        merchant.run(&["deliveries", "release", "--restored"]);
        eventually("the rest", || (receiver.received().len() == 79).then_some(()));
        assert!(!get(&server, "/").body.contains("Restored from a backup"));
        // The tool can tell what it has had before.
        let received = receiver.received();
        let ids = |from: usize| {
            received[from..]
                .iter()
                .map(|request| request.header("webhook-id").to_owned())
                .collect::<std::collections::BTreeSet<_>>()
        };
        let first: std::collections::BTreeSet<_> =
            received[..40].iter().map(|request| request.header("webhook-id").to_owned()).collect();
        assert!(ids(40).is_subset(&first), "the same messages, with the same ids");
    });
}

/// Also their e-mails in pages that were moved on while the copy was written.
#[test]
fn who_is_erased_after_a_restore_is_in_no_file() {
    let merchant = Merchant::new(NOWHERE);
    import(&merchant, "orders.csv", 0..300);
    merchant.run(&["backup", "copy.db"]);
    let copy = merchant.path().join("copy.db");
    let restored = Merchant::new(NOWHERE);
    restored.run(&["restore", copy.to_str().unwrap()]);
    let database = Database::open(&restored.path().join("quintile.db"), "test").unwrap();
    let now = Clock::system().now();
    for number in 0..300 {
        let who = Who { email: Some(format!("c{number}@example.com")), ..Who::default() };
        let forgotten = database.writer().write_blocking(move |tx| Ok(privacy::erase(tx, &who, now)?)).unwrap();
        assert!(forgotten.erased.customers.len() == 1 && !forgotten.goes_on, "{number}: {forgotten:?}");
    }
    assert!(database.readers().empty_log().unwrap());
    drop(database);
    for name in named(restored.path(), "quintile.db") {
        let bytes = fs::read(restored.path().join(&name)).unwrap();
        let left = bytes.windows(12).filter(|window| window == b"@example.com").count();
        assert_eq!(left, 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_erased_since_the_backup_stays_erased() {
    let receiver = Receiver::start().await;
    let merchant = Merchant::new(receiver.url());
    tokio::task::block_in_place(|| {
        import(&merchant, "orders.csv", 0..40);
        merchant.run(&["score"]);
        merchant.run(&["deliver", "--until-idle"]);
        merchant.run(&["erase", "--email", "c3@example.com"]);
        merchant.run(&["backup", "copy.db"]);
        import(&merchant, "more.csv", 40..50);
        let erase = || ["1", "2", "42"].map(|n| merchant.run(&["erase", "--email", &format!("c{n}@example.com")]));
        erase();
        let done = merchant.json(&["restore", "copy.db"]);
        // The removal of the third waited in the backup.
        assert_eq!((&done["erasedAgain"], &done["held"], &done["customers"]), (&2.into(), &1.into(), &40.into()));
        merchant.run(&["check", "--deep"]);
        merchant.run(&["import", "more.csv"]);
        merchant.run(&["import", "orders.csv"]);
        let named = |n: u32| {
            let named = format!("customers WHERE email_key = 'c{n}@example.com'");
            count(&merchant, &named) + count(&merchant, &named.replace("customers", "orders"))
        };
        assert_eq!([1, 2, 3, 42].map(named), [0; 4], "no way in brings them back");
        assert!(named(4) > 0 && named(43) > 0);
        assert_eq!((count(&merchant, "orders"), count(&merchant, "orders WHERE customer_id IS NULL")), (50, 0));
        merchant.run(&["check", "--deep"]);

        let before = receiver.received().len();
        merchant.run(&["deliver", "--until-idle"]);
        let told = &receiver.received()[before..];
        let removals =
            told.iter().filter(|request| String::from_utf8_lossy(&request.body).contains("customer/redacted"));
        assert_eq!(removals.count(), 2, "what tells of an erasure is not held");

        // The same again, now that the present one comes out of a backup; and in the table.
        let said = said(&run(merchant.path(), &["restore", "copy.db"]));
        assert!(said.contains("Customers erased after the backup was made, now erased here too: 2."), "{said}");
        assert_eq!([1, 2, 3, 42].map(named), [0; 4]);
    });
}

#[test]
fn a_restore_erases_who_was_erased_and_nobody_else() {
    const FAMILY: &str = "fam@example.com";
    let merchant = Merchant::new(NOWHERE);
    let server = Server::start(merchant.path());
    let messages = Cell::new(0);
    let told = |topic: &str, body: &Value| {
        let id = format!("w-{}", messages.replace(messages.get() + 1));
        assert_eq!(post_shopify(&server, topic, &id, body).unwrap().status, 200, "{topic} {body}");
    };
    let customer = |id: u64, email: &str, day: u32| json!({ "id": id, "email": email, "first_name": "Ben", "updated_at": format!("2026-11-{day:02}T10:00:00Z") });
    let order = |id: u64, customer: u64, field: &str, value: &str| {
        let mut order = shopify_order(id, customer, "10.00", "2026-11-01T10:00:00Z");
        order[field] = value.into();
        order
    };
    // Two who share an e-mail; somebody in a gift's note; one whose order waits; a guest; an order with somebody's e-mail.
    told("customers/create", &customer(8001, FAMILY, 2));
    told("customers/create", &customer(8002, FAMILY, 2));
    told("orders/create", &order(1, 7001, "note", "a gift for zoe@example.com"));
    let mut foreign = order(2, 7002, "email", "carl@example.com");
    foreign["currency"] = "USD".into();
    told("orders/create", &foreign);
    let mut guest = order(3, 0, "email", "greta@example.com");
    guest.as_object_mut().unwrap().remove("customer");
    told("orders/create", &guest);
    told("orders/create", &order(4, 7001, "email", "dora@example.com"));
    merchant.run(&["backup", "copy.db"]);

    // One of the two gets an e-mail of his own, the waiting one is a customer, the guest buys elsewhere.
    told("customers/update", &customer(8002, "ben@example.com", 3));
    told("customers/create", &customer(7002, "carl@example.com", 3));
    let at = "2026-11-05T10:00:00Z";
    let elsewhere = json!({ "id": "A1", "customer": { "email": "greta@example.com" }, "orderedAt": at, "total": "5.00", "currency": "EUR", "status": "paid" });
    assert_eq!(post_orders(&server, "A1", &elsewhere).unwrap().status, 200);
    let erased = [FAMILY, "zoe@example.com", "carl@example.com", "greta@example.com", "dora@example.com"];
    for email in erased {
        merchant.run(&["erase", "--email", email]);
    }
    assert!(server.terminate().success());
    let ben = "customers WHERE external_id = '8002' AND first_name = 'Ben' AND email_key IS";
    assert_eq!(count(&merchant, &format!("{ben} 'ben@example.com'")), 1);
    let is_nowhere = |email: &str| {
        let bytes = fs::read(merchant.path().join("quintile.db")).unwrap();
        assert!(!bytes.windows(email.len()).any(|window| window == email.as_bytes()), "{email}");
    };
    erased.into_iter().for_each(is_nowhere);

    let done = merchant.json(&["restore", "copy.db"]);
    assert_eq!((&done["erasedAgain"], &done["orders"]), (&2.into(), &3.into()), "{done}");
    erased.into_iter().for_each(is_nowhere);
    merchant.run(&["check", "--deep"]);
    assert_eq!(count(&merchant, &format!("{ben} NULL")), 1, "he was not erased");
    assert_eq!(count(&merchant, "customers WHERE external_id = '7001' AND email IS NOT NULL"), 1, "nor was she");

    let server = Server::start(merchant.path());
    let told = |topic: &str, body: &Value| post_shopify(&server, topic, "again", body).unwrap().status;
    assert_eq!(told("customers/update", &customer(8002, "ben@example.com", 3)), 200);
    assert_eq!(told("customers/create", &customer(7002, "carl@example.com", 3)), 200);
    assert_eq!(count(&merchant, &format!("{ben} 'ben@example.com'")), 1);
    assert_eq!(count(&merchant, "customers WHERE external_id = '7002' AND first_name IS NULL"), 1);
    assert!(server.terminate().success());
}

/// By which it is known as the same shop.
#[test]
fn a_backup_from_before_anybody_was_erased_is_of_the_same_database() {
    let merchant = Merchant::new(NOWHERE);
    import(&merchant, "orders.csv", 0..4);
    merchant.run(&["backup", "copy.db"]);
    merchant.run(&["erase", "--email", "c1@example.com"]);
    assert_eq!(merchant.json(&["restore", "copy.db"])["erasedAgain"], 1);
    assert_eq!(count(&merchant, "customers WHERE email_key = 'c1@example.com'"), 0);
}

#[test]
fn a_damaged_database_says_of_nobody_that_they_were_erased() {
    let merchant = Merchant::new(NOWHERE).spoilt();
    import(&merchant, "orders.csv", 0..4);
    merchant.run(&["backup", "copy.db"]);
    for damage in [
        "UPDATE customers SET redacted_at = 0 WHERE email_key = 'c2@example.com'",
        "PRAGMA ignore_check_constraints = on; UPDATE tombstones SET kind = 'emaim' WHERE kind = 'email'",
    ] {
        merchant.run(&["erase", "--email", "c1@example.com"]);
        merchant.sql().execute_batch(damage).unwrap();
        let said = said(&run(merchant.path(), &["restore", "copy.db"]));
        assert!(said.contains("Whoever was erased after the backup was made has a name here again"), "{said}");
        assert_eq!(count(&merchant, "customers WHERE redacted_at IS NOT NULL"), 0);
        merchant.run(&["check", "--deep"]);
    }
}

#[test]
fn where_nobody_knows_who_was_erased_since_it_is_said() {
    let merchant = Merchant::new(NOWHERE);
    import(&merchant, "orders.csv", 0..4);
    merchant.run(&["erase", "--email", "c3@example.com"]);
    merchant.run(&["backup", "copy.db"]);
    let copy = merchant.path().join("copy.db");
    let other = Merchant::new(NOWHERE);
    let restored = |merchant: &Merchant| {
        let said = said(&run(merchant.path(), &["restore", copy.to_str().unwrap()]));
        said.contains("Whoever was erased after the backup was made has a name here again: run `quintile erase`")
    };
    assert!(restored(&other), "there is no database");
    assert!(!restored(&other), "it is the same now, and nobody was erased");
    fs::write(other.path().join("quintile.db"), "Dear diary").unwrap();
    assert!(restored(&other), "it cannot be read");
    let third = Merchant::new(NOWHERE);
    import(&third, "orders.csv", 0..4);
    third.run(&["erase", "--email", "c1@example.com"]);
    assert!(restored(&third), "it is another");
    assert_eq!(count(&third, "customers WHERE email_key = 'c1@example.com'"), 1);
}

#[test]
fn what_is_not_a_whole_backup_changes_nothing() {
    let merchant = Merchant::new(NOWHERE);
    import(&merchant, "orders.csv", 0..60);
    merchant.run(&["backup", "copy.db"]);
    let database = merchant.path().join("quintile.db");
    let before = fs::read(&database).unwrap();
    let whole = fs::read(merchant.path().join("copy.db")).unwrap();
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("cut.sqlite", whole[..whole.len() / 2].to_vec(), "malformed"),
        ("noise.sqlite", [&whole[..8192], &vec![0xA5; whole.len() - 8192][..]].concat(), "malformed"),
        ("text.sqlite", b"Dear diary, ".repeat(1000), "as a database"),
        ("empty.sqlite", Vec::new(), ""),
        ("newer.sqlite", newer(&whole), "was written by a newer quintile"),
    ];
    for (name, bytes, message) in cases {
        fs::write(merchant.path().join(name), &bytes).unwrap();
        let output = run(merchant.path(), &["restore", name]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(message), "{name}: {said}");
        assert_eq!(fs::read(&database).unwrap(), before, "{name}");
        assert_eq!(fs::read(merchant.path().join(name)).unwrap(), bytes, "{name}");
    }
    assert_eq!(run(merchant.path(), &["restore", "quintile.db"]).status.code(), Some(1), "itself");
    assert_eq!(run(merchant.path(), &["restore", "nothing.db"]).status.code(), Some(2));
    assert_eq!(named(merchant.path(), "quintile.db"), ["quintile.db", "quintile.db.lock"], "nothing is left");
}

/// `whole` with a schema that this program does not know.
fn newer(whole: &[u8]) -> Vec<u8> {
    const USER_VERSION: std::ops::Range<usize> = 60..64;
    let mut newer = whole.to_vec();
    newer[USER_VERSION].copy_from_slice(&999u32.to_be_bytes());
    newer
}

#[test]
fn an_older_backup_is_brought_up_and_stays_as_it_was() {
    for schema in 1..quintile::db::SCHEMA_VERSION {
        let merchant = Merchant::new(NOWHERE);
        let done = run_json(merchant.path(), &["restore", fixture(schema).to_str().unwrap(), "--format", "json"]);
        assert_eq!((&done["schema"], &done["kept"]), (&schema.into(), &serde_json::Value::Null));
        merchant.run(&["check", "--deep"]);
        assert_eq!(merchant.json(&["customers"])[0]["email"], "Anna@example.com");
        assert_eq!(named(merchant.path(), "quintile.db"), ["quintile.db", "quintile.db.lock"]);
    }
}

#[test]
fn before_a_migration_the_file_is_kept_as_it_was() {
    let merchant = Merchant::new(NOWHERE);
    fs::copy(fixture(2), merchant.path().join("quintile.db")).unwrap();
    let kept = merchant.path().join("quintile.db.schema-2");
    let other = rusqlite::Connection::open(merchant.path().join("quintile.db")).unwrap();
    other.execute_batch("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE").unwrap();
    let refused = run(merchant.path(), &["deliver", "--until-idle"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(!kept.exists(), "nothing is copied while somebody else writes it");
    drop(other);
    merchant.run(&["deliver", "--until-idle"]);
    let (contents, _) = quintile::db::verify(&kept).unwrap();
    assert_eq!((contents.schema, contents.orders, contents.customers), (2, 1, 1));
    merchant.run(&["check", "--deep"]);
    let erased = run(merchant.path(), &["erase", "--customer", "1"]);
    let said = String::from_utf8_lossy(&erased.stdout).into_owned();
    assert!(said.contains("quintile.db.schema-2") && said.contains("up to 28 more days"), "{said}");
}

#[test]
fn who_had_the_copy_open_a_moment_ago_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    drop(Database::open(&at("quintile.db"), "quintile test").unwrap());
    back_up(&at("quintile.db"), &at("copy.db"), &Ending::default()).unwrap();
    let staged = Staged::new(&at("copy.db"), &at("quintile.db")).unwrap();
    // A connection of the pool that was still being opened when all others were closed.
    let late = rusqlite::Connection::open(at("quintile.db.restoring")).unwrap();
    late.execute_batch("PRAGMA journal_mode = WAL; PRAGMA user_version").unwrap();
    assert!(at("quintile.db.restoring-wal").exists());
    let closing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        drop(late);
    });
    staged.put_in_place(Clock::system().now()).unwrap();
    closing.join().unwrap();
    assert_eq!(named(folder.path(), "quintile.db.restoring"), Vec::<String>::new());
    drop(Database::open(&at("quintile.db"), "quintile test").unwrap());
}

#[test]
fn what_a_reader_keeps_out_of_the_file_is_kept_beside_it() {
    let merchant = Merchant::new(NOWHERE);
    import(&merchant, "orders.csv", 0..40);
    merchant.run(&["backup", "copy.db"]);
    let reader = merchant.sql();
    let look = || reader.query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0)).unwrap();
    reader.execute_batch("BEGIN").unwrap();
    assert_eq!(look(), 40);
    import(&merchant, "more.csv", 40..90);
    merchant.run(&["restore", "copy.db"]);
    assert_eq!(look(), 40);
    drop(reader);
    assert_eq!(count(&merchant, "orders"), 40);
    let kept = named(merchant.path(), "quintile.db.before-restore-").remove(0);
    assert_eq!(quintile::db::verify(&merchant.path().join(kept)).unwrap().0.orders, 90);
}

/// A shop with 90 orders and a backup of 40.
fn grown() -> Merchant {
    let merchant = Merchant::new(NOWHERE);
    import(&merchant, "orders.csv", 0..40);
    merchant.run(&["backup", "copy.db"]);
    import(&merchant, "more.csv", 40..90);
    merchant
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn is_refused(merchant: &Merchant, arguments: &[&str], words: &str) {
    let output = run(merchant.path(), arguments);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
    assert!(said.contains(words), "{arguments:?}: {said}");
}

const COMING: &str = "quintile.db.coming-20261126T020512Z";

/// By then the log of the old one is gone, and what is written goes down with it.
#[test]
fn while_a_backup_comes_into_its_place_nobody_opens_the_old_database() {
    let merchant = grown();
    let at = |name: &str| merchant.path().join(name);
    let lock = Lock::acquire(&at("quintile.db"), "quintile restore").unwrap();
    let holder = format!("process {} (quintile restore)", id());
    let in_use = format!("is in use by {holder}");
    is_refused(&merchant, &["erase", "--customer", "1"], &in_use);
    merchant.run(&["customers"]); // it is whole still

    fs::copy(at("copy.db"), at(COMING)).unwrap();
    let before = fs::read(at("quintile.db")).unwrap();
    for command in [&["customers"][..], &["check"]] {
        is_refused(&merchant, command, &format!("is being put in the place of quintile.db by {holder}"));
    }
    is_refused(&merchant, &["erase", "--customer", "1"], &in_use);
    assert_eq!(fs::read(at("quintile.db")).unwrap(), before);

    drop(lock);
    merchant.run(&["customers"]);
    assert_eq!(count(&merchant, "orders"), 40);
    assert_eq!(verify(&at("quintile.db.before-restore-20261126T020512Z")).unwrap().0.orders, 90);
    assert_eq!(named(merchant.path(), COMING), Vec::<String>::new());
}

#[test]
fn a_damaged_log_is_not_opened_beside_a_restore_either() {
    let merchant = Merchant::new(NOWHERE).spoilt();
    let server = Server::start(merchant.path());
    (0..40).for_each(|number| assert_eq!(super::post(&server, number).status, 200));
    server.kill();
    let log = merchant.path().join("quintile.db-wal");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let _lock = Lock::acquire(&merchant.path().join("quintile.db"), "quintile restore").unwrap();
    for command in [&["customers"][..], &["check"]] {
        is_refused(&merchant, command, "cannot be read from byte");
    }
    assert_eq!(fs::read(&log).unwrap(), bytes);
}

#[test]
fn two_restores_of_one_second_keep_what_was_there_twice() {
    let merchant = grown();
    let at = |name: &str| merchant.path().join(name);
    let now = Clock::system().now();
    let restore = || Staged::new(&at("copy.db"), &at("quintile.db")).unwrap().put_in_place(now).unwrap().unwrap();
    let kept = [restore(), restore(), restore()];
    assert_eq!(kept.each_ref().map(|kept| verify(kept).unwrap().0.orders), [90, 40, 40]);
    let first = kept[0].to_str().unwrap();
    assert_eq!([&kept[1], &kept[2]].map(|kept| kept.to_str().unwrap()), [format!("{first}-2"), format!("{first}-3")]);
    assert_eq!(count(&merchant, "orders"), 40);
}

/// `quintile restore copy.db` on a disk that answers like this.
fn restore_where(merchant: &Merchant, inject: &[&str]) -> Output {
    let before = [&["-f", "-o", "/dev/null"], inject, &[QUINTILE]].concat();
    quintile_by("strace", &before, merchant.path(), &["restore", "copy.db"]).output().expect("this test wants strace")
}

#[test]
fn a_disk_without_second_names_has_a_whole_copy_or_none() {
    let merchant = grown();
    let no_links = ["-e", "trace=linkat,copy_file_range", "-e", "inject=linkat:error=EPERM"];
    let no_room = [&no_links[..], &["-e", "inject=copy_file_range:error=ENOSPC"]].concat();
    let full = restore_where(&merchant, &no_room);
    assert!(full.status.code() == Some(1) && said(&full).contains("cannot keep"), "{}", said(&full));
    assert_eq!(named(merchant.path(), "quintile.db"), ["quintile.db", "quintile.db.lock"]);
    assert_eq!(count(&merchant, "orders"), 90);

    let done = restore_where(&merchant, &no_links);
    assert!(done.status.success(), "{}", said(&done));
    let kept = merchant.path().join(named(merchant.path(), "quintile.db.before-restore-").remove(0));
    assert_eq!((verify(&kept).unwrap().0.orders, fs::metadata(&kept).unwrap().nlink()), (90, 1));
    assert_eq!(count(&merchant, "orders"), 40);
}

/// What was told to have failed must not happen with the next command.
#[test]
fn a_restore_that_failed_does_not_come_later() {
    let merchant = grown();
    let folder = merchant.path().to_str().unwrap();
    let failed = restore_where(&merchant, &["-P", folder, "-e", "trace=fsync", "-e", "inject=fsync:error=EIO"]);
    assert_eq!(failed.status.code(), Some(1), "{}", said(&failed));
    assert_eq!(named(merchant.path(), "quintile.db"), ["quintile.db", "quintile.db.lock"]);
    merchant.run(&["customers"]);
    assert_eq!(count(&merchant, "orders"), 90);
}

#[test]
fn a_file_of_somebody_else_does_not_come_into_the_place_of_the_database() {
    let merchant = grown();
    merchant.write("quintile.db.coming-soon", "Dear diary");
    merchant.run(&["customers"]);
    let text = merchant.write(COMING, &"Dear diary, ".repeat(1000));
    is_refused(&merchant, &["customers"], "is no quintile database");
    fs::remove_file(text).unwrap();
    merchant.run(&["customers"]);
    assert_eq!(count(&merchant, "orders"), 90);
}

#[test]
fn a_database_behind_a_link_is_one_with_the_file_itself() {
    let merchant = Merchant::new(NOWHERE);
    let at = |name: &str| merchant.path().join(name);
    fs::create_dir(at("disk")).unwrap();
    std::os::unix::fs::symlink("disk/shop.db", at("quintile.db")).unwrap();
    let config = fs::read_to_string(at("config.toml")).unwrap();
    let direct = config.replace("[webhooks]", "[database]\npath = \"disk/shop.db\"\n[webhooks]");
    merchant.write("direct.toml", &direct);
    import(&merchant, "orders.csv", 0..40);
    merchant.run(&["backup", "copy.db"]);
    import(&merchant, "more.csv", 40..90);

    let server = Server::start(merchant.path());
    is_refused(&merchant, &["--config", "direct.toml", "serve"], &format!("is in use by process {}", server.id()));
    assert!(server.terminate().success());
    merchant.run(&["restore", "copy.db"]);
    assert!(fs::symlink_metadata(at("quintile.db")).unwrap().is_symlink());
    let orders = |name: &str| verify(&at(name)).unwrap().0.orders;
    assert_eq!((orders("disk/shop.db"), orders("quintile.db")), (40, 40));
    // With its log, if the stop left one.
    assert!(!named(&at("disk"), "shop.db.before-restore-").is_empty());
    assert_eq!(named(merchant.path(), "quintile.db"), ["quintile.db"]);
}
