//! Others at the same file: a second instance, and a program that is not ours.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    time::{Duration, Instant},
};

use super::{NOWHERE, count, get, post};
use crate::support::{
    merchant::Merchant,
    process::{Server, eventually, quintile, run},
    scored_shop::Shop,
};

#[test]
fn a_second_server_ends_at_once_and_names_the_first() {
    let merchant = Merchant::new(NOWHERE);
    let first = Server::start(merchant.path());
    let second = run(merchant.path(), &["serve"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    let expected = format!("is in use by process {} (quintile serve); stop it first", first.id());
    assert!(said.contains(&expected), "{said}");
    assert_eq!(post(&first, 1).status, 200, "the first is undisturbed");

    first.kill(); // SIGKILL: the lock goes with the process, its file stays
    assert!(merchant.path().join("quintile.db.lock").exists());
    let third = Server::start(merchant.path());
    assert_eq!(post(&third, 2).status, 200);
    assert_eq!(count(&merchant, "orders"), 2);
}

#[test]
fn a_foreign_lock_is_waited_for_then_the_shop_is_told_to_come_again() {
    let merchant = Merchant::new(NOWHERE);
    let server = Server::start(merchant.path());
    assert_eq!(post(&server, 1).status, 200);
    let other = merchant.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Instant::now();
    let refused = post(&server, 2);
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    // Nobody waits for those who came before as well.
    std::thread::scope(|threads| {
        for order in 3..=5 {
            threads.spawn({
                let server = &server;
                move || {
                    std::thread::sleep(Duration::from_millis(300) * (order - 3));
                    let asked = Instant::now();
                    assert_eq!(post(server, order.into()).status, 503);
                    assert!(asked.elapsed() < Duration::from_secs(7), "{:?}", asked.elapsed());
                }
            });
        }
    });
    let holder = format!("process {}", std::process::id());
    eventually("the reason in the log", || {
        let said = server.said();
        (said.contains("another program is writing to the file") && said.contains(&holder)).then_some(())
    });
    // Looking goes on, and says why nothing else does.
    let page = get(&server, "/");
    assert_eq!(page.status, 200);
    assert!(page.body.contains("Nothing can be stored") && page.body.contains(&holder), "{}", page.body);
    assert_eq!(get(&server, "/readyz").status, 503);

    other.execute_batch("COMMIT").unwrap();
    assert_eq!(post(&server, 2).status, 200);
    eventually("readiness", || (get(&server, "/readyz").status == 200).then_some(()));
    assert!(!get(&server, "/").body.contains("Nothing can be stored"));
    assert_eq!(count(&merchant, "orders"), 2);
}

/// As while the first import of a shop is under way, which goes straight into the file.
#[test]
fn who_looks_at_a_file_that_is_shared_with_nobody_is_told_who_has_it() {
    let merchant = Merchant::new(NOWHERE);
    merchant.run(&["score"]);
    let other = merchant.sql();
    other.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE").unwrap();
    let looked = run(merchant.path(), &["customers"]);
    let said = String::from_utf8_lossy(&looked.stderr).into_owned();
    assert!(!looked.status.success() && said.contains("try again when that is done"), "{said}");
    assert!(said.contains(&format!("process {}", std::process::id())), "{said}");
    drop(other);
    assert!(run(merchant.path(), &["customers"]).status.success());
}

/// A program that only waits its turn is not refused: five seconds are long.
#[test]
fn a_short_lock_is_not_noticed() {
    let merchant = Merchant::new(NOWHERE);
    let server = Server::start(merchant.path());
    let other = merchant.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::scope(|threads| {
        let posted = threads.spawn(|| post(&server, 1));
        std::thread::sleep(Duration::from_secs(1));
        other.execute_batch("COMMIT").unwrap();
        assert_eq!(posted.join().unwrap().status, 200);
    });
}

#[test]
fn a_run_that_met_a_foreign_lock_is_made_later() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let shop = Shop::forty();
    let config = crate::support::scored_shop::config();
    let night =
        quintile::scoring::Night::new(&config, shop.db.clone(), shop.clock.clone(), std::sync::Arc::default()).unwrap();
    let other = shop.outside();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = runtime.block_on(night.beat()).unwrap_err();
    assert!(format!("{error:#}").contains("database is locked"), "{error:#}");
    assert_eq!(shop.one::<i64>("SELECT count(*) FROM runs WHERE state <> 'failed'"), 0);
    other.execute_batch("COMMIT").unwrap();
    shop.wait(10 * 60 * 1000);
    let summary = runtime.block_on(night.beat()).unwrap().expect("the night's run is still due");
    assert_eq!(summary.scored, 40);
}

#[test]
fn a_command_that_writes_waits_and_then_says_who_writes() {
    let merchant = Merchant::new(NOWHERE);
    merchant.run(&["init"]);
    let other = merchant.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let output = quintile(merchant.path(), &["erase", "--email", "anna@example.com"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("another program is writing to the file"), "{said}");
    other.execute_batch("COMMIT").unwrap();
    eventually("the erasure", || {
        run(merchant.path(), &["erase", "--email", "anna@example.com"]).status.success().then_some(())
    });
}

/// The system frees all locks of a process on a file when it closes that file once: who has opened the database must
/// not look at it by itself any more.
#[test]
#[cfg(target_os = "linux")]
fn a_server_keeps_its_locks() {
    let merchant = Merchant::new(NOWHERE);
    let server = Server::start(merchant.path());
    let index = fs::metadata(merchant.path().join("quintile.db-shm")).unwrap().ino();
    let locks = fs::read_to_string("/proc/locks").unwrap();
    let is_its = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields[1] == "POSIX" && fields[4] == server.id().to_string() && fields[5].ends_with(&format!(":{index}"))
    };
    assert!(locks.lines().any(is_its), "process {}, file {index}: {locks}", server.id());
}
