//! Told to stop in the middle of something long.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use quintile::db::{self, Stopped};

use super::{NOWHERE, count, log::fill, post};
use crate::support::{
    merchant::Merchant,
    process::{Server, eventually, signal},
    scored_shop::Shop,
};

/// Goes on until somebody ends it.
const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
/// The same in a write, which SQLite takes back when it is cut off.
const ENDLESS_WRITE: &str = "INSERT INTO meta SELECT 'n' || i, 'x' FROM (WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n)";

#[test]
fn a_statement_that_takes_too_long_is_cut_off_and_nothing_is_half_done() {
    let shop = Shop::forty();
    let (writer, readers) = (shop.db.writer().clone(), shop.db.readers().clone());
    let writing = std::thread::spawn(move || {
        writer.write_blocking(|tx| {
            tx.execute("INSERT INTO meta VALUES ('half', 'done')", [])?;
            Ok(tx.execute(ENDLESS_WRITE, [])?)
        })
    });
    let reading = std::thread::spawn(move || -> anyhow::Result<i64> {
        Ok(readers.get()?.query_row(ENDLESS, [], |row| row.get(0))?)
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!writing.is_finished() && !reading.is_finished());
    let (asked, waiting) = (Instant::now(), shop.db.writer().clone());
    let behind = std::thread::spawn(move || waiting.write_blocking(|tx| Ok(tx.execute("DELETE FROM meta", [])?)));
    shop.db.ending().come();
    assert!(writing.join().unwrap().is_err() && reading.join().unwrap().is_err());
    assert!(behind.join().unwrap().is_err(), "what waits in the queue is not begun any more");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(shop.db.condition().trouble(), None, "the disk is not to blame");
    let kept: i64 =
        shop.outside().query_row("SELECT count(*) FROM meta WHERE key = 'half'", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 0);
}

/// Somebody who does not want to wait for what is in flight.
#[test]
fn a_second_signal_ends_the_program_at_once() {
    let merchant = Merchant::new(NOWHERE);
    let mut server = Server::start(merchant.path());
    assert_eq!(post(&server, 1).status, 200);
    let address = server.webhooks.strip_prefix("http://").unwrap().to_owned();
    let mut slow = TcpStream::connect(&address).unwrap();
    let head = "POST /webhooks/shopify HTTP/1.1\r\nhost: localhost\r\nx-shopify-hmac-sha256: Z3Vlc3M=\r\n\
                content-length: 100\r\nexpect: 100-continue\r\n\r\n";
    slow.write_all(head.as_bytes()).unwrap();
    let mut told = [0; 12];
    slow.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"HTTP/1.1 100", "its body is waited for, which may take ten seconds");

    signal(server.id(), "TERM");
    eventually("the end of listening", || TcpStream::connect(&address).is_err().then_some(()));
    let asked = Instant::now();
    signal(server.id(), "TERM");
    let (status, said) = server.end();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(count(&merchant, "orders"), 1, "nothing that was answered for is lost");
}

#[test]
fn a_backup_and_the_look_before_it_end_where_they_are() {
    let shop = Shop::forty();
    fill(&shop);
    let (ending, backup) = (shop.db.ending(), shop.folder.path().join("copy.db"));
    db::look_through(shop.db.path(), ending).unwrap();
    ending.announce();
    let looked = db::look_through(shop.db.path(), ending).unwrap_err();
    assert!(!db::tells_of_damage(&looked), "{looked:#}");
    db::back_up(shop.db.path(), &backup, ending).unwrap_err();
    let left: Vec<_> = std::fs::read_dir(shop.folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("copy.db")), "{left:?}");
}

#[test]
fn a_copy_is_of_one_moment_and_ends_where_it_is() {
    let shop = Shop::forty();
    fill(&shop);
    shop.execute("INSERT INTO meta VALUES ('one', '0'), ('two', '0')");
    let (done, writer) = (AtomicBool::new(false), shop.db.writer());
    let path = |name: &str| shop.folder.path().join(name);
    let copy = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let count = "UPDATE meta SET value = value + 1 WHERE key IN ('one', 'two')";
                writer.write_blocking(move |tx| Ok(tx.execute(count, [])?)).unwrap();
            }
        });
        let copy = shop.db.readers().copy_to(&path("copy.db"));
        done.store(true, Ordering::Relaxed);
        copy.unwrap()
    });
    let values = "SELECT count(DISTINCT value) FROM meta WHERE key IN ('one', 'two')";
    assert_eq!(copy.query_row(values, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    assert_eq!(db::faults(&copy, db::Depth::Everything).unwrap(), Vec::<String>::new());

    shop.db.ending().announce();
    let stopped = shop.db.readers().copy_to(&path("another.db")).unwrap_err();
    assert!(stopped.is::<Stopped>(), "{stopped:#}");
}

#[test]
fn a_run_stops_between_two_slices_and_the_next_start_goes_on() {
    let shop = Shop::forty();
    shop.db.ending().announce();
    let request = shop.night("2026-06-01");
    let stopped = shop.try_score(request).unwrap_err();
    assert!(stopped.is::<Stopped>(), "{stopped:#}");
    assert_eq!(shop.rows("SELECT state, emit_position < last_seq FROM runs"), ["scored 1"], "its first step is whole");
    let shop = shop.reopened();
    assert_eq!(shop.resume().emitted, 1);
    assert_eq!(shop.rows("SELECT runs.state, count(*) FROM runs JOIN deliveries ON run_id = runs.id"), ["done 40"]);
}
