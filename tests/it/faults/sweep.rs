//! A log that was cut or damaged at any place, as by a power cut in the middle of a write or by a bad
//! disk: what is found is whole transactions up to some point; where others are behind that point, nothing is gone
//! on with.

use std::{fs, path::Path};

use quintile::{
    db::{Database, Left, Staged, lost, tells_of_damage},
    model::Timestamp,
};

use super::NOWHERE;
use crate::support::{
    folder::Folder,
    merchant::Merchant,
    process::{QUINTILE, quintile_by},
};

const CASES: u64 = 1_000;
const TRANSACTIONS: i64 = 60;
/// Of them, those that are in the file as well.
const COPIED: i64 = 40;

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

/// The same, while all of the log but the last transactions is in the file already, and the index says so.
fn copied() -> (Moment, Vec<u8>) {
    let folder = Folder::new();
    let path = folder.path().join("quintile.db");
    let database = Database::open(&path, "test").unwrap();
    let write = |number: i64| {
        let write = database.writer().write_blocking(move |tx| {
            tx.execute("INSERT OR REPLACE INTO meta VALUES ('latest', ?1)", [number])?;
            tx.execute("INSERT INTO meta VALUES ('a ' || ?1, hex(randomblob(?2)))", (number, 40 * number))?;
            tx.execute("INSERT INTO customers (id, source, created_at) VALUES (?1, 'csv', ?1)", [number])?;
            Ok(())
        });
        write.unwrap();
    };
    (1..=COPIED).for_each(write);
    // Who reads what is in the log keeps it from beginning anew.
    let mut reader = database.readers().get().unwrap();
    let reading = reader.transaction().unwrap();
    let _: i64 = reading.query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap();
    database.readers().checkpoint().unwrap();
    (COPIED + 1..=TRANSACTIONS).for_each(write);
    let read = |what: &str| fs::read(folder.path().join(format!("quintile.db{what}"))).unwrap();
    (Moment { file: read(""), log: read("-wal") }, read("-shm"))
}

/// What is found: how many transactions, all of them whole; `None`: it was refused.
fn found(path: &Path) -> Option<i64> {
    let database = match Database::open(path, "test") {
        Ok(database) => database,
        Err(error) => {
            assert!(tells_of_damage(&error), "{error:#}");
            return None;
        }
    };
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
        let log_path = folder.path().join(format!("{case}.db-wal"));
        fs::write(&log_path, &log).unwrap();
        let found = found(&path);
        let is_cut = case % 4 < 2;
        if let Some(prefix) = found {
            // Without the index, damage in the last one looks as if it had not been written to its end, and so may
            // damage in the last but one that hides where it ends.
            assert!(is_cut || prefix >= TRANSACTIONS - 2, "case {case} at {at} goes on with {prefix}");
            prefixes.insert(prefix);
        } else {
            assert!(!is_cut, "case {case} at {at}: nothing is behind it");
            assert_eq!(fs::read(&log_path).unwrap(), log, "nothing is deleted");
            refused += 1;
        }
        fs::remove_file(&path).unwrap();
    }
    eprintln!("{} different prefixes, {refused} refused", prefixes.len());
    assert!(prefixes.len() > 40 && refused > 400, "the damage was all over the log: {prefixes:?}, {refused}");
}

/// Each bit of the header: without it nothing of the log would be read.
#[test]
fn a_damaged_header_is_refused() {
    let moment = lived();
    let folder = Folder::new();
    let path = folder.path().join("quintile.db");
    fs::write(&path, &moment.file).unwrap();
    for bit in 0..32 * 8 {
        let mut log = moment.log.clone();
        log[bit / 8] ^= 1 << (bit % 8);
        fs::write(folder.path().join("quintile.db-wal"), &log).unwrap();
        assert_eq!(found(&path), None, "bit {bit}");
    }
}

/// Where an index stands beside a log that was cut, damaged or taken away, none is gone on with but one that was
/// harmed behind its end. What is [`Left`] of each that was refused, as a restore of the file out of itself shows:
/// so many whole transactions at least, or nothing.
fn refused_with_an_index(moment: &Moment, index: &[u8], at_least: i64) -> Vec<Left> {
    let mut random = fastrand::Rng::new();
    let folder = Folder::new();
    let refused = (0..200).filter_map(|case| {
        let mut log = moment.log.clone();
        let at = random.usize(..log.len());
        match case % 4 {
            0 => log.truncate(at),
            1 => log[at..].fill(0),
            2 => log[at] ^= 1 << random.u8(..8),
            _ => log.clear(),
        }
        let name = |what: &str| folder.path().join(format!("{case}.db{what}"));
        for (what, bytes) in [("", &moment.file[..]), ("-wal", &log), ("-shm", index)] {
            fs::write(name(what), bytes).unwrap();
        }
        if case % 8 == 7 {
            fs::remove_file(name("-wal")).unwrap();
        }
        let left = if let Some(all) = found(&name("")) {
            assert_eq!(all, TRANSACTIONS, "case {case} at {at}");
            None
        } else {
            let lost = lost(&name("")).unwrap().unwrap();
            let restored = Staged::new(&name(""), &name("")).and_then(|staged| {
                staged.put_in_place(Timestamp::from_millis(case))?;
                Ok(found(&name("")).unwrap())
            });
            match (lost.left, restored) {
                (Left::Nowhere, restored) => assert!(restored.unwrap_err().to_string().contains("name another backup")),
                (Left::InFile, restored) => assert_eq!(restored.unwrap(), at_least, "case {case} at {at}"),
                (Left::InBoth, restored) => {
                    let restored = restored.unwrap();
                    assert!((at_least..=TRANSACTIONS).contains(&restored), "case {case} at {at}: {restored}");
                }
            }
            Some(lost.left)
        };
        for file in fs::read_dir(folder.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        left
    });
    refused.collect()
}

/// What is left of the log would be laid over newer pages of the file.
#[test]
fn a_log_that_ends_before_what_was_stored_is_refused_and_what_is_left_is_kept() {
    let (moment, index) = copied();
    let refused = refused_with_an_index(&moment, &index, COPIED);
    let in_file = refused.iter().filter(|left| **left == Left::InFile).count();
    assert!(refused.len() > 190 && in_file > 80 && in_file < 190, "{in_file} of {refused:?}");
}

/// Killed in the middle of the copying: the file has some pages of what the log says, and not all.
#[test]
fn a_log_that_was_being_copied_is_read_whole_or_refused() {
    let moment = lived();
    let merchant = Merchant::new(NOWHERE);
    let name = |what: &str| merchant.path().join(format!("quintile.db{what}"));
    fs::write(name(""), &moment.file).unwrap();
    fs::write(name("-wal"), &moment.log).unwrap();
    let path = name("").display().to_string();
    let kill = "inject=pwrite64:signal=KILL:when=20";
    let strace = ["-f", "-o", "/dev/null", "-P", &path, "-e", "trace=pwrite64", "-e", kill, QUINTILE];
    // It copies when it closes.
    let ended = quintile_by("strace", &strace, merchant.path(), &["score"]).output();
    let ended = ended.expect("this test wants strace: `apt-get install strace`, or tests/run");
    assert!(!ended.status.success(), "{ended:?}");
    let [file, log, index] = ["", "-wal", "-shm"].map(|what| fs::read(name(what)).unwrap());
    assert!(file != moment.file && log.len() >= moment.log.len());
    assert_eq!(lost(&name("")).unwrap(), None, "nothing is lost as it is");

    let refused = refused_with_an_index(&Moment { file, log }, &index, 0);
    assert!(refused.len() > 190 && refused.iter().all(|left| *left == Left::Nowhere), "{refused:?}");
    assert_eq!(found(&name("")), Some(TRANSACTIONS));
}

/// Power cuts one after the other, each in a transaction that is larger than the one before it or smaller, so that
/// pieces of it stay behind what is written next.
#[test]
fn a_torn_end_is_never_taken_for_damage() {
    const SECTOR: usize = 512;
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = Folder::new();
    let origin = folder.path().join("0.db");
    drop(Database::open(&origin, "test").unwrap());
    let (mut file, mut log) = (fs::read(&origin).unwrap(), Vec::new());
    let (mut stored, mut pieces) = (Vec::<i64>::new(), 0);
    for cut in 1..=300 {
        let name = |what: &str| folder.path().join(format!("{cut}.db{what}"));
        fs::write(name(""), &file).unwrap();
        fs::write(name("-wal"), &log).unwrap();
        let database = Database::open(&name(""), "test").unwrap_or_else(|error| panic!("cut {cut}: {error:#}"));
        let found: Vec<i64> = {
            let reader = database.readers().get().unwrap();
            let mut select = reader.prepare("SELECT id FROM customers ORDER BY id").unwrap();
            select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        // What was stored, and the last one if its end came to the disk.
        assert!(found.starts_with(&stored) && found.len() <= stored.len() + 1, "cut {cut}: {found:?}, {stored:?}");
        stored = found;
        let write = |id: i64, bytes: usize| {
            let write = database.writer().write_blocking(move |tx| {
                tx.execute("INSERT INTO customers (id, source, created_at) VALUES (?1, 'csv', ?1)", [id])?;
                tx.execute("INSERT OR REPLACE INTO meta VALUES ('large', hex(zeroblob(?1)))", [bytes / 2])?;
                // Some of it comes into the log before its end, and again at its end.
                if bytes.is_multiple_of(3) {
                    tx.cache_flush()?;
                    tx.execute("UPDATE meta SET value = ?1 || value WHERE key = 'large'", [id])?;
                }
                // Or never comes to an end.
                anyhow::ensure!(!bytes.is_multiple_of(5), "taken back");
                Ok(())
            });
            write.is_ok()
        };
        for step in 0..random.i64(0..4) {
            let id = cut * 10 + step;
            if write(id, random.usize(..40_000)) {
                stored.push(id);
            }
        }
        if random.u8(..20) == 0 {
            database.readers().empty_log().unwrap();
        }
        let before = (fs::read(name("")).unwrap(), fs::read(name("-wal")).unwrap());
        write(cut * 10 + 9, random.usize(..40_000));
        file = fs::read(name("")).unwrap();
        let whole = fs::read(name("-wal")).unwrap();
        // Of what was written last, each sector came to the disk or did not.
        log = before.1;
        assert_eq!(file, before.0, "all of it went into the log");
        log.resize(whole.len().max(log.len()), 0);
        for at in (0..whole.len()).step_by(SECTOR) {
            let end = (at + SECTOR).min(whole.len());
            if log[at..end] != whole[at..end] && random.bool() {
                log[at..end].copy_from_slice(&whole[at..end]);
                pieces += 1;
            }
        }
    }
    assert!(pieces > 1_000 && stored.len() > 200, "{pieces} pieces, {} stored", stored.len());
}
