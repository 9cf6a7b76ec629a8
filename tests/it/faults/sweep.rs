//! A log that was cut or damaged at any place, as by a power cut in the middle of a write or by a bad
//! disk: what is found is whole transactions up to some point, or nothing is gone on with.

use std::{fs, path::Path};

use quintile::db::Database;

use crate::support::folder::Folder;

const CASES: u64 = 1_000;
const TRANSACTIONS: i64 = 60;

/// A file and its log, as they lie on the disk while the program runs.
struct Moment {
    file: Vec<u8>,
    log: Vec<u8>,
}

/// Each transaction writes its number twice, far apart, and changes what all of them change.
fn lived() -> Moment {
    let folder = Folder::new();
    let path = folder.path().join("quintile.db");
    let database = Database::open(&path, "test").unwrap();
    database.writer().write_blocking(|tx| Ok(tx.execute("INSERT INTO meta VALUES ('latest', '0')", [])?)).unwrap();
    database.readers().empty_log().unwrap();
    let file = fs::read(&path).unwrap();
    for number in 1..=TRANSACTIONS {
        let write = database.writer().write_blocking(move |tx| {
            tx.execute("INSERT INTO meta VALUES ('a ' || ?1, hex(randomblob(?2)))", (number, 40 * number))?;
            tx.execute("INSERT INTO customers (id, source, created_at) VALUES (?1, 'csv', ?1)", [number])?;
            tx.execute("UPDATE meta SET value = ?1 WHERE key = 'latest'", [number])?;
            Ok(())
        });
        write.unwrap();
    }
    let log = fs::read(folder.path().join("quintile.db-wal")).unwrap();
    assert_eq!(fs::read(&path).unwrap(), file, "all of it is in the log");
    assert!(log.len() > 300_000, "{}", log.len());
    Moment { file, log }
}

/// What is found: how many transactions, all of them whole; `None`: it was refused.
fn found(path: &Path) -> Option<i64> {
    let database = Database::open(path, "test").ok()?;
    let reader = database.readers().get().unwrap();
    let whole: String = reader.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok");
    let (latest, notes, customers, highest): (i64, i64, i64, i64) = reader
        .query_row(
            "SELECT CAST((SELECT value FROM meta WHERE key = 'latest') AS INTEGER),
                    (SELECT count(*) FROM meta WHERE key LIKE 'a %'), count(*), coalesce(max(id), 0) FROM customers",
            [],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .unwrap();
    assert_eq!(
        [notes, customers, highest],
        [latest; 3],
        "whole transactions alone, and none is missing before the last"
    );
    // And it goes on from there.
    database.writer().write_blocking(|tx| Ok(tx.execute("INSERT INTO meta VALUES ('on', 'x')", [])?)).unwrap();
    Some(latest)
}

#[test]
fn a_damaged_log_gives_a_prefix_of_whole_transactions_1000_times() {
    let moment = lived();
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = Folder::new();
    let mut prefixes = std::collections::BTreeSet::new();
    let mut refused = 0;
    for case in 0..CASES {
        let mut log = moment.log.clone();
        let at = random.usize(..log.len());
        match case % 4 {
            // Cut off.
            0 => log.truncate(at),
            // The end was never written, only made room for.
            1 => log[at..].fill(0),
            // One bit.
            2 => log[at] ^= 1 << random.u8(..8),
            // A sector of something else.
            _ => {
                let end = (at + 512).min(log.len());
                log[at..end].iter_mut().for_each(|byte| *byte = random.u8(..));
            }
        }
        // Each under its own name: connections of the case before may be closed only now.
        let path = folder.path().join(format!("{case}.db"));
        fs::write(&path, &moment.file).unwrap();
        fs::write(folder.path().join(format!("{case}.db-wal")), &log).unwrap();
        let found = found(&path);
        fs::remove_file(&path).unwrap();
        match found {
            Some(prefix) => {
                assert!((0..=TRANSACTIONS).contains(&prefix));
                prefixes.insert(prefix);
            }
            None => refused += 1,
        }
    }
    eprintln!("{} different prefixes, {refused} refused", prefixes.len());
    assert!(prefixes.len() > 40, "the damage was all over the log: {prefixes:?}");
}
