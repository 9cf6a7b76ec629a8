//! A start that meets what passes by itself: on a machine that nobody looks at it has to wait for the end of it.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::{
    NOWHERE, count,
    disk::{limit, limited},
    post,
};
use crate::support::{
    merchant::Merchant,
    process::{QUINTILE, Server, Starting, eventually, quintile, quintile_by, run},
};

/// A shop that took an order, and does not run.
fn shop() -> Merchant {
    let merchant = Merchant::new(NOWHERE);
    let server = Server::start(merchant.path());
    assert_eq!(post(&server, 1).status, 200);
    assert!(server.terminate().success());
    merchant
}

/// What it says that it waits for, if it does.
pub fn waits(start: &Starting) -> Option<String> {
    start.said().lines().find(|line| line.contains("not started yet")).map(str::to_owned)
}

/// After some `seconds` in which it tried again it waits on, and does not say it again; then `help` ends it, and
/// orders come in.
fn goes_on_after(merchant: &Merchant, start: Starting, seconds: u64, help: impl FnOnce()) -> Server {
    sleep(Duration::from_secs(seconds));
    let said = start.said();
    // The tests' configurations can be read by others, which is said first.
    let lines = said.lines().filter(|line| !line.contains("others can read the secrets"));
    assert_eq!(lines.count(), 1, "{said}");
    help();
    let server = start.serves().expect("it starts");
    eventually("the end of it", || server.said().contains("the database can be used; starting").then_some(()));
    let before = count(merchant, "orders");
    assert_eq!(post(&server, 2).status, 200);
    assert_eq!(count(merchant, "orders"), before + 1);
    server
}

/// Another program holds the file, as `begin` says, when `serve` starts.
fn held(begin: &str) {
    let merchant = shop();
    let other = merchant.sql();
    other.execute_batch(begin).unwrap();
    let start = Starting::by(quintile(merchant.path(), &["serve"]));
    let line = eventually("the reason", || waits(&start));
    assert!(line.contains(&format!("process {}", std::process::id())), "{line}");
    let server = goes_on_after(&merchant, start, 8, || drop(other));
    assert_eq!(count(&merchant, "orders"), 2);
    assert!(server.terminate().success());
}

#[test]
fn another_program_that_writes() {
    held("BEGIN IMMEDIATE");
}

#[test]
fn another_program_that_shares_the_file_with_nobody() {
    held("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE");
}

#[test]
fn a_disk_that_is_full() {
    let merchant = shop();
    let start = limited(&merchant, "ulimit -S -f 0");
    let line = eventually("the reason", || waits(&start));
    assert!(line.contains("the disk is full"), "{line}");
    let process = start.id();
    let server = goes_on_after(&merchant, start, 4, || limit(process, "unlimited"));
    assert_eq!(count(&merchant, "orders"), 2);

    // By now the lock file says whose it is.
    let second = run(merchant.path(), &["serve"]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains(&format!("is in use by process {process} (quintile serve); stop it first")), "{said}");
    assert!(server.terminate().success());
}

#[test]
fn a_disk_that_is_full_before_there_is_a_database() {
    let merchant = Merchant::new(NOWHERE);
    let start = limited(&merchant, "ulimit -S -f 0");
    eventually("the reason", || waits(&start));
    let process = start.id();
    goes_on_after(&merchant, start, 4, || limit(process, "unlimited"));
    assert_eq!(count(&merchant, "orders"), 1);
}

#[test]
fn nobody_takes_the_place_of_one_that_waits() {
    let merchant = shop();
    let other = merchant.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Starting::by(quintile(merchant.path(), &["serve"]));
    let holder = format!("is in use by process {} (quintile serve); stop it first", start.id());
    eventually("the reason", || waits(&start));
    // In the pause between two tries, and while it tries.
    for _ in 0..8 {
        let asked = Instant::now();
        let second = quintile_by("timeout", &["20", QUINTILE], merchant.path(), &["serve"]).output().unwrap();
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(second.status.code() == Some(1) && said.contains(&holder), "{said}");
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        sleep(Duration::from_secs(1));
    }
    // What works beside one that serves does so here, and is told who writes.
    let erased = run(merchant.path(), &["erase", "--email", "anna@example.com"]);
    let said = String::from_utf8_lossy(&erased.stderr).into_owned();
    assert!(!erased.status.success() && said.contains("another program is writing to the file"), "{said}");
    let server = goes_on_after(&merchant, start, 0, || drop(other));
    assert_eq!(count(&merchant, "orders"), 2);
    assert!(server.terminate().success());
}

#[test]
fn told_to_stop_it_waits_no_longer() {
    let merchant = shop();
    let other = merchant.sql();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let start = Starting::by(quintile(merchant.path(), &["serve"]));
    eventually("the reason", || waits(&start));
    sleep(Duration::from_secs(3)); // now it waits for the lock again
    ends_at_once(start);
    drop(other);

    let start = limited(&merchant, "ulimit -S -f 0");
    eventually("the reason", || waits(&start));
    ends_at_once(start);
}

fn ends_at_once(start: Starting) {
    let told = Instant::now();
    assert!(start.terminate().success());
    assert!(told.elapsed() < Duration::from_secs(2), "{:?}", told.elapsed());
}
