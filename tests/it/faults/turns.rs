//! Two processes write at the same time, one of them for long: the other one gets its turns.
//!
//! Counted are turns, not seconds: on a machine that is busy both take longer.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use quintile::db::{Database, Writer};

use super::NOWHERE;
use crate::support::{
    folder::Folder,
    merchant::Merchant,
    process::{eventually, quintile},
};

/// How often somebody who writes one small thing after the other came to it, and how long it took at most.
#[derive(Debug, Default)]
struct Turns {
    taken: u32,
    longest: Duration,
}

fn take_turns(writer: &Writer, while_it: impl Fn() -> bool) -> Turns {
    let mut turns = Turns::default();
    while while_it() {
        let asked = Instant::now();
        writer.write_blocking(|tx| Ok(tx.execute("INSERT OR REPLACE INTO meta VALUES ('a turn', 'x')", [])?)).unwrap();
        turns.longest = turns.longest.max(asked.elapsed());
        turns.taken += 1;
        thread::sleep(Duration::from_millis(2));
    }
    turns
}

/// Holds the lock 60 times for 20 ms, and lets it go in between for no longer than the writer does by itself.
fn write_for_long(writer: &Writer) {
    for _ in 0..60 {
        let slice = writer.write_blocking(|tx| {
            tx.execute("INSERT OR REPLACE INTO meta VALUES ('a slice', 'x')", [])?;
            thread::sleep(Duration::from_millis(20));
            Ok(())
        });
        slice.unwrap();
    }
}

fn open(path: &Path) -> (Database, Database) {
    (Database::open(path, "test").unwrap(), Database::beside(path).unwrap())
}

#[test]
fn nobody_waits_until_the_other_has_done_all() {
    let folder = Folder::new();
    let (owner, beside) = open(&folder.path().join("quintile.db"));
    // At most one turn for each gap: 22 of the one beside, 4 of the owner.
    for (busy, other, least) in [(&beside, &owner, 8), (&owner, &beside, 2)] {
        let done = AtomicBool::new(false);
        let turns = thread::scope(|threads| {
            threads.spawn(|| {
                write_for_long(busy.writer());
                done.store(true, Ordering::Release);
            });
            take_turns(other.writer(), || !done.load(Ordering::Acquire))
        });
        eprintln!("beside 60 slices of 20 ms: {turns:?}");
        assert!(turns.taken >= least, "{turns:?}");
    }
}

/// Deliveries to a destination that is paused.
const QUEUE: &str = "
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
      INSERT INTO customers (id, source, external_id, created_at) SELECT i, 'shopify', i, 1 FROM n;
    INSERT INTO outbox (seq, event_id, type, customer_id, at)
      SELECT id, randomblob(16), 'customer/lapsed', id, id FROM customers;
    INSERT INTO deliveries (message_id, destination, seq, customer_id, state, due_at, created_at)
      SELECT randomblob(16), 'my-tool', id, id, 'waiting', 0, 1 FROM customers";

/// As `serve` does, that takes the shop's orders meanwhile.
#[test]
fn orders_come_in_while_a_command_looks_through_a_long_queue() {
    let merchant = Merchant::new(NOWHERE);
    merchant.run(&["init"]);
    merchant.run(&["destinations", "pause", "my-tool"]);
    merchant.sql().execute_batch(QUEUE).unwrap();
    let served = Database::open(&merchant.path().join("quintile.db"), "test").unwrap();
    let left = || -> i64 {
        let count = "SELECT count(*) FROM deliveries WHERE finished_at IS NULL";
        served.readers().get().unwrap().query_row(count, [], |row| row.get(0)).unwrap()
    };
    let mut command = quintile(merchant.path(), &["destinations", "resume", "my-tool", "--send", "none"]);
    let mut command = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    eventually("its beginning", || (left() < 120_000).then_some(()));
    let begun = Instant::now();
    let running = std::cell::RefCell::new(&mut command);
    let turns = take_turns(served.writer(), || running.borrow_mut().try_wait().unwrap().is_none());
    eprintln!("beside 120 slices in {:?}: {turns:?}", begun.elapsed());
    assert!(command.wait().unwrap().success());
    assert_eq!(left(), 0);
    assert!(turns.taken >= 8, "{turns:?}");
}
