//! A file that is not a whole database any more: nothing goes on with it, nothing is deleted, and the way
//! back is named.

use std::{
    fs::{self, OpenOptions},
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use quintile::db::{self, Database};

use super::{NOWHERE, count, get, import, named, post};
use crate::support::{
    http,
    merchant::Merchant,
    process::{Server, run},
};

/// A shop with a verified backup in its folder, stopped.
fn shop() -> Merchant {
    let merchant = Merchant::new(NOWHERE).spoilt();
    import(&merchant, "orders.csv", 0..200);
    merchant.run(&["score"]);
    fs::create_dir(merchant.path().join("backups")).unwrap();
    merchant.run(&["backup", "backups/quintile-20261101T020000Z.db"]);
    merchant.run(&["backup", "backups/quintile-20261102T020000Z.db"]);
    fs::write(merchant.path().join("backups/quintile-20261103T020000Z.db.partial"), "not verified").unwrap();
    merchant
}

const RESTORE: &str =
    "`quintile restore backups/quintile-20261102T020000Z.db` puts the newest verified backup in its place";

fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Spoils a file.
type Spoil<'a> = (&'a str, &'a dyn Fn(&Path));

#[test]
fn a_damaged_file_is_refused_at_the_start_and_left_as_it_is() {
    let merchant = shop();
    let path = merchant.path().join("quintile.db");
    let whole = fs::read(&path).unwrap();
    let page = u64::from(u16::from_be_bytes([whole[16], whole[17]]));
    let pages = whole.len() as u64 / page;
    let cut = |to: u64| move |path: &Path| OpenOptions::new().write(true).open(path).unwrap().set_len(to).unwrap();
    let (half, in_a_page) = (cut(pages / 2 * page), cut(page * 3 + 100));
    let spoils: [Spoil<'_>; 6] = [
        ("the header is gone", &|path| overwrite(path, 0, &[0; 100])),
        ("the header is another's", &|path| overwrite(path, 0, b"%PDF-1.7 is not a database")),
        ("cut in the middle", &half),
        ("cut in a page", &in_a_page),
        ("its root pages are zeroes", &|path| overwrite(path, page, &vec![0; 8 * usize::try_from(page).unwrap()])),
        ("all its pages but the first are noise", &|path| {
            let mut random = fastrand::Rng::with_seed(7);
            let noise: Vec<u8> = (page..pages * page).map(|_| random.u8(..)).collect();
            overwrite(path, page, &noise);
        }),
    ];
    for (what, spoil) in spoils {
        fs::write(&path, &whole).unwrap();
        spoil(&path);
        let before = fs::read(&path).unwrap();
        for command in ["serve", "score"] {
            let output = run(merchant.path(), &[command]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{what}: {said}");
            assert!(said.contains(RESTORE) && said.contains("stays as it is"), "{what}: {said}");
        }
        let check = run(merchant.path(), &["check"]);
        assert_eq!(check.status.code(), Some(1), "{what}");
        let said = String::from_utf8_lossy(&check.stdout).into_owned();
        assert!(said.contains(RESTORE), "{what}: {said}");
        assert_eq!(fs::read(&path).unwrap(), before, "{what}: nothing was written");
    }
    assert_eq!(named(merchant.path(), "quintile.db"), ["quintile.db", "quintile.db.lock"]);
    merchant.run(&["restore", "backups/quintile-20261102T020000Z.db"]);
    merchant.run(&["check", "--deep"]);
}

/// What only the look at the whole file shows, which the night brings: an index has not got what its table has.
#[test]
fn damage_that_the_night_finds_ends_the_program() {
    let merchant = Merchant::new(NOWHERE).spoilt();
    merchant.configure("cron = \"0 2 29 2 *\"", "cron = \"* * * * *\"");
    import(&merchant, "orders.csv", 0..300);
    fs::create_dir(merchant.path().join("backups")).unwrap();
    merchant.run(&["backup", "backups/quintile-20261102T020000Z.db"]);
    merchant
        .sql()
        .execute_batch(
            "UPDATE orders SET received_at = received_at - 172800000;
             PRAGMA writable_schema = ON;
             CREATE TEMP TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'orders_guest';
             DELETE FROM sqlite_schema WHERE name = 'orders_guest';
             PRAGMA writable_schema = RESET;
             UPDATE orders SET customer_ref = NULL, email_key = 'lost@example.com' WHERE id = 1;
             PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema SELECT * FROM kept;
             PRAGMA writable_schema = RESET;",
        )
        .unwrap();
    let (status, said) = Server::start(merchant.path()).end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("row 1 missing from index orders_guest") && said.contains(RESTORE), "{said}");
    assert_eq!(count(&merchant, "runs WHERE state = 'done'"), 1, "it started, and the night went well");
    assert_eq!(named(&merchant.path().join("backups"), "").len(), 1, "no other backup is made");
}

/// Single pages, each in turn: the structure of a small file is looked at from end to end.
#[test]
fn no_broken_page_is_overlooked() {
    let merchant = shop();
    let path = merchant.path().join("quintile.db");
    let whole = fs::read(&path).unwrap();
    let page = usize::from(u16::from_be_bytes([whole[16], whole[17]]));
    let used: usize = merchant.sql().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let mut overlooked = Vec::new();
    for number in 1..used {
        let mut spoilt = whole.clone();
        // What kind of page it is, its first free block, its cells.
        spoilt[number * page..number * page + 8].fill(0xA5);
        fs::write(&path, &spoilt).unwrap();
        if Database::open(&path, "test").is_ok() {
            overlooked.push(number + 1);
        }
    }
    // Pages of the list of free ones hold nothing.
    fs::write(&path, &whole).unwrap();
    let free: usize = merchant.sql().pragma_query_value(None, "freelist_count", |row| row.get(0)).unwrap();
    assert!(overlooked.len() <= free, "pages {overlooked:?} of {used}, {free} are free");
}

/// A pool that cannot open a connection tries again, and says no more than that none came free.
#[test]
fn damage_that_lets_no_reader_be_opened_is_noticed() {
    let merchant = shop();
    let path = merchant.path().join("quintile.db");
    let database = Database::open(&path, "test").unwrap();
    // The first page alone is in the log, and whole.
    database.writer().write_blocking(|tx| Ok(db::touch(tx)?)).unwrap();
    let length = usize::try_from(fs::metadata(&path).unwrap().len()).unwrap();
    overwrite(&path, 0, &vec![b'x'; length]);
    assert!(database.condition().damage().is_none());
    assert!(database.readers().get().is_err());
    assert!(database.condition().damage().is_some());
}

#[test]
fn damage_that_shows_while_running_ends_the_program() {
    let merchant = shop();
    let path = merchant.path().join("quintile.db");
    let mut server = Server::start(merchant.path());
    assert_eq!(post(&server, 1).status, 200);
    let length = fs::metadata(&path).unwrap().len();
    overwrite(&path, 0, &vec![b'x'; usize::try_from(length).unwrap()]);
    let log = fs::read(merchant.path().join("quintile.db-wal")).unwrap();
    let before = fs::read(&path).unwrap();
    // Somebody looks; what is still in memory may answer the first.
    for path in ["/customers", "/deliveries", "/runs", "/"] {
        let _ = http::get(&format!("{}{path}", server.dashboard));
    }
    let (status, said) = server.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(RESTORE), "{said}");
    assert_eq!(fs::read(&path).unwrap(), before, "nothing more was written");
    // What was written before anybody met the damage stands at the end of the log.
    let left = fs::read(merchant.path().join("quintile.db-wal")).unwrap();
    assert!(left.starts_with(&log), "and nothing deleted");

    merchant.run(&["restore", "backups/quintile-20261102T020000Z.db"]);
    let kept = named(merchant.path(), "quintile.db.before-restore-");
    assert_eq!(kept.len(), 2, "the damaged file and its log: {kept:?}");
    assert_eq!(fs::read(merchant.path().join(&kept[0])).unwrap(), before);
    let server = Server::start(merchant.path());
    assert_eq!(get(&server, "/customers").status, 200);
    assert_eq!(post(&server, 2).status, 200);
}

/// The index of a log is memory: what a power cut leaves of it may be from before the log was emptied.
#[test]
fn a_log_that_is_empty_is_believed_before_an_index_from_before_the_computer_started() {
    let merchant = shop();
    let at = |name: &str| merchant.path().join(name);
    let server = Server::start(merchant.path());
    assert_eq!(post(&server, 1).status, 200);
    server.kill();
    let database = rusqlite::Connection::open(at("quintile.db")).unwrap();
    let index = fs::read(at("quintile.db-shm")).unwrap();
    database.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(database);
    let now = fs::metadata(at("quintile.db")).unwrap().modified().unwrap();
    // The second: the computer has no clock of its own, and started with an older time.
    for written in [UNIX_EPOCH + Duration::from_secs(1_000_000_000), now + Duration::from_secs(1800)] {
        fs::write(at("quintile.db-shm"), &index).unwrap();
        let refused = run(merchant.path(), &["customers"]);
        assert!(String::from_utf8_lossy(&refused.stderr).contains("cannot be read from byte 0"), "{refused:?}");
        let file = OpenOptions::new().write(true).open(at("quintile.db-shm")).unwrap();
        file.set_modified(written).unwrap();
        merchant.run(&["customers"]);
    }
    let server = Server::start(merchant.path());
    assert_eq!(post(&server, 2).status, 200);
}

/// The log of a program that was killed, damaged in its middle: what came before can be gone on with, what came
/// after was answered and is not let go of without a word.
#[test]
fn a_log_that_is_damaged_in_its_middle_is_refused_and_what_came_before_can_be_kept() {
    let merchant = shop();
    let path = merchant.path().join("quintile.db");
    let log_path = merchant.path().join("quintile.db-wal");
    let server = Server::start(merchant.path());
    let before = count(&merchant, "orders");
    for number in 1..=40 {
        assert_eq!(post(&server, number).status, 200);
    }
    server.kill();
    let whole = fs::read(&log_path).unwrap();
    let mut log = whole.clone();
    let middle = log.len() / 2;
    log[middle] ^= 1;
    fs::write(&log_path, &log).unwrap();
    let file = fs::read(&path).unwrap();

    let keep = "`quintile restore quintile.db` goes on with what was stored before the damage";
    for command in [&["serve"][..], &["score"], &["customers"], &["backup", "copy.db"], &["export", "--to", "out"]] {
        let output = run(merchant.path(), command);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains("quintile.db-wal cannot be read from byte"), "{command:?}: {said}");
        assert!(said.contains(keep) && said.contains(RESTORE), "{command:?}: {said}");
    }
    let check = run(merchant.path(), &["check"]);
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.code() == Some(1) && said.contains(keep), "{said}");
    assert_eq!((fs::read(&path).unwrap(), fs::read(&log_path).unwrap()), (file.clone(), log.clone()), "left as it was");

    let output = run(merchant.path(), &["restore", "quintile.db"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("What came in after the log was damaged is missing"), "{said}");
    let kept = named(merchant.path(), "quintile.db.before-restore-");
    assert_eq!(kept.len(), 2, "the file and its log: {kept:?}");
    assert_eq!(fs::read(merchant.path().join(&kept[0])).unwrap(), file);
    assert_eq!(fs::read(merchant.path().join(&kept[1])).unwrap(), log);
    let left = count(&merchant, "orders") - before;
    assert!((1..40).contains(&left), "{left} of 40");
    merchant.run(&["check", "--deep"]);
    let refused = run(merchant.path(), &["restore", "quintile.db"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is the database itself; name a backup"));
    let output = run(merchant.path(), &["restore", &kept[0]]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("What came in after the log was damaged is missing"), "a backup may have a log too: {said}");
    // What the shop sends again is taken as if it never came, and what it does not comes with a sync.
    let server = Server::start(merchant.path());
    for number in 1..=40 {
        assert_eq!(post(&server, number).status, 200);
    }
    assert_eq!(count(&merchant, "orders") - before, 40);
}

fn everything(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// SQLite deletes the log of a file in which there is nothing.
#[test]
fn a_log_whose_file_is_gone_or_empty_is_kept() {
    let merchant = shop();
    let at = |name: &str| merchant.path().join(name);
    let server = Server::start(merchant.path());
    (1..=5).for_each(|number| assert_eq!(post(&server, number).status, 200));
    server.kill();
    let log = fs::read(at("quintile.db-wal")).unwrap();
    for what in ["gone", "empty"] {
        fs::remove_file(at("quintile.db")).unwrap();
        if what == "empty" {
            fs::write(at("quintile.db"), "").unwrap();
        }
        let said_of = format!("the file is {what}, and its log quintile.db-wal is not");
        for command in [&["serve"][..], &["score"], &["customers"], &["check"], &["backup", "copy.db"]] {
            let output = run(merchant.path(), command);
            let said = everything(&output);
            assert_eq!(output.status.code(), Some(1), "{what}, {command:?}: {said}");
            assert!(said.contains(&said_of) && said.contains(RESTORE), "{what}, {command:?}: {said}");
            assert!(!said.contains("goes on with what was stored"), "{what}, {command:?}: {said}");
        }
        assert_eq!(fs::read(at("quintile.db-wal")).unwrap(), log, "{what}");
        fs::write(at("quintile.db"), "").unwrap();
    }
    let itself = run(merchant.path(), &["restore", "quintile.db"]);
    assert!(itself.status.code() == Some(1) && everything(&itself).contains("is empty, and its log"), "{itself:?}");
    merchant.run(&["restore", "backups/quintile-20261102T020000Z.db"]);
    assert_eq!(count(&merchant, "orders"), 200);
    let kept = named(merchant.path(), "quintile.db.before-restore-");
    assert_eq!(kept.len(), 2, "the empty file and its log: {kept:?}");
    assert_eq!(fs::read(at(&kept[1])).unwrap(), log);
    let refused = run(merchant.path(), &["restore", &kept[0]]);
    assert!(refused.status.code() == Some(1) && everything(&refused).contains("is empty, and its log"), "{refused:?}");
    assert_eq!(fs::read(at(&kept[1])).unwrap(), log);
}

#[test]
fn no_empty_shop_comes_in_the_place_of_one_that_has_backups() {
    const WAYS: &str = "`quintile restore backups/quintile-20261102T020000Z.db` puts the newest in its place, made \
        2026-11-02T02:00:00Z; for an empty shop move backups/quintile-*.db away first";
    let merchant = shop();
    let at = |name: &str| merchant.path().join(name);
    for is_there in [false, true] {
        for name in named(merchant.path(), "quintile.db") {
            fs::remove_file(at(&name)).unwrap();
        }
        if is_there {
            fs::write(at("quintile.db"), "").unwrap();
        }
        let erase = ["erase", "--email", "c1@example.com"];
        let init = if is_there { "check" } else { "init" };
        for command in [&["serve"][..], &["score"], &["import", "orders.csv"], &["customers"], &[init], &erase] {
            let output = run(merchant.path(), command);
            let said = everything(&output);
            assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
            assert!(said.contains("quintile.db is gone or empty") && said.contains(WAYS), "{command:?}: {said}");
        }
        assert_eq!(fs::metadata(at("quintile.db")).map(|file| file.len()).ok(), is_there.then_some(0));
    }
    merchant.run(&["restore", "backups/quintile-20261102T020000Z.db"]);
    assert_eq!(count(&merchant, "orders"), 200);

    fs::remove_file(at("quintile.db")).unwrap();
    fs::rename(at("backups"), at("old")).unwrap();
    merchant.run(&["init"]);
    assert_eq!(count(&merchant, "orders"), 0);
}

#[test]
fn a_shop_with_another_id_than_before_is_told_of_its_backups() {
    const SAID: &str = "backups has the backups of the shop before.myshopify.com under the same name; name another \
        folder in [backup] (if it is the same shop with another id, delete backups/quintile.shop)";
    let merchant = shop();
    let at = |name: &str| merchant.path().join(name);
    merchant.write("backups/quintile.shop", "before.myshopify.com");
    let check = run(merchant.path(), &["check"]);
    let said = everything(&check);
    assert!(check.status.code() == Some(1) && said.contains(&format!("fail  backup folder: {SAID}")), "{said}");

    for name in named(merchant.path(), "quintile.db") {
        fs::remove_file(at(&name)).unwrap();
    }
    for command in [["serve"], ["customers"], ["score"], ["init"]] {
        let output = run(merchant.path(), &command);
        let said = everything(&output);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains(&format!("quintile.db is gone or empty, and {SAID}")), "{command:?}: {said}");
        assert!(!at("quintile.db").exists(), "{command:?}");
    }
    fs::remove_file(at("backups/quintile.shop")).unwrap();
    let said = everything(&run(merchant.path(), &["customers"]));
    assert!(said.contains("`quintile restore backups/quintile-20261102T020000Z.db` puts the newest"), "{said}");

    // The note alone is no backup.
    merchant.write("backups/quintile.shop", "before.myshopify.com");
    for name in named(&at("backups"), "quintile-") {
        fs::remove_file(at("backups").join(name)).unwrap();
    }
    merchant.run(&["init"]);
}

/// Leaves the first half.
fn cut(path: &Path) {
    let whole = fs::read(path).unwrap();
    fs::write(path, &whole[..whole.len() / 2]).unwrap();
}

#[test]
fn of_a_damaged_backup_its_whole_copy_is_named_first() {
    let merchant = shop();
    let at = |name: &str| merchant.path().join(name);
    merchant.configure("[forwarder]", "[backup]\ncopy_to = \"second\"\n[forwarder]");
    fs::create_dir(at("second")).unwrap();
    let [old, new] = ["01", "02"].map(|day| format!("quintile-202611{day}T020000Z.db"));
    for name in [&old, &new] {
        fs::copy(at("backups").join(name), at("second").join(name)).unwrap();
    }
    let told = |named: &str| {
        let refused = run(merchant.path(), &["restore", &format!("{named}/{new}")]);
        let said = everything(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        said
    };
    let whole = fs::read(at("second").join(&new)).unwrap();
    for (damaged, other) in [("second", "backups"), ("backups", "second")] {
        cut(&at(damaged).join(&new));
        let command = format!("`quintile restore {other}/{new}` puts its other copy in place, made 2026-11-02T");
        let said = told(damaged);
        assert!(said.contains(&command), "{said}");
        fs::write(at(damaged).join(&new), &whole).unwrap();
    }
    for folder in ["backups", "second"] {
        cut(&at(folder).join(&new));
    }
    for folder in ["backups", "second"] {
        let said = told(folder);
        assert!(said.contains(&format!("`quintile restore backups/{old}` puts the one before it in place")), "{said}");
    }
}

#[test]
fn of_a_whole_backup_that_is_refused_no_other_is_named() {
    let merchant = shop();
    let new = "backups/quintile-20261102T020000Z.db";
    let is_refused = |words: &str| {
        let refused = run(merchant.path(), &["restore", new]);
        let said = everything(&refused);
        assert!(refused.status.code() == Some(1) && said.contains(words), "{said}");
        assert!(!said.contains("in place, made"), "{said}");
    };
    let server = Server::start(merchant.path());
    fs::remove_file(merchant.path().join("quintile.db.lock")).unwrap();
    is_refused(&format!("is in use by quintile, process {}; stop it", server.id()));
    drop(server);
    let copy = rusqlite::Connection::open(merchant.path().join(new)).unwrap();
    copy.pragma_update(None, "user_version", 999).unwrap();
    drop(copy);
    is_refused("was written by a newer quintile");
}

#[test]
fn of_a_damaged_backup_the_one_before_is_named() {
    let merchant = shop();
    let [old, new] = ["01", "02"].map(|day| format!("backups/quintile-202611{day}T020000Z.db"));
    let before = "puts the one before it in place";
    for name in [&new, &old] {
        cut(&merchant.path().join(name));
        let refused = run(merchant.path(), &["restore", name]);
        let said = everything(&refused);
        assert!(refused.status.code() == Some(1) && said.contains("malformed"), "{said}");
        let command = format!("nothing was changed; `quintile restore {old}` {before}, made 2026-11-01T02:00:00Z");
        assert_eq!(said.contains(&command), *name == new, "{said}");
        assert_eq!(said.contains(before), *name == new, "{said}");
        if *name == new {
            merchant.run(&["restore", &old]);
        }
    }
}

#[test]
fn a_header_that_says_another_schema_is_damage_and_told_in_a_line() {
    for (version, told) in [
        (0, "its header says schema 0, which there is none of"),
        (-5, "its header says schema -5, which there is none of"),
        (1, "its header says schema 1, and its tables are of another: "),
        (2, "its header says schema 2, and its tables are of another: duplicate column name"),
        (3, "its header says schema 3, and its tables are of another: duplicate column name"),
    ] {
        let merchant = shop();
        merchant.sql().pragma_update(None, "user_version", version).unwrap();
        let commands = [&["score"][..], &["customers"]];
        for command in &commands[..if version < 1 { 2 } else { 1 }] {
            let output = run(merchant.path(), command);
            let said = everything(&output);
            assert_eq!(output.status.code(), Some(1), "{version}: {said}");
            assert!(said.contains(told) && said.contains(RESTORE), "{version}: {said}");
            let is_short = said.lines().count() == 1 && !said.contains("ALTER") && !said.contains("CREATE");
            assert!(is_short, "{version}: {said}");
        }
        merchant.run(&["restore", "backups/quintile-20261102T020000Z.db"]);
        assert_eq!(count(&merchant, "orders"), 200);
    }
}
