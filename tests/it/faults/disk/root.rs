//! Disks as they are, made for the test and filled, broken and mended: only root can. tests/run runs these
//! where it may: `cargo test --test it -- --ignored faults::disk::root`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use quintile::db::Database;

use super::everything_waits;
use crate::{
    faults::{NOWHERE, get, named, post, waiting::waits},
    support::{
        folder::{Folder, violations},
        merchant::Merchant,
        process::{Server, Starting, eventually, quintile, run},
    },
};

/// Runs a program of the system, by a shell that knows where root's are.
fn system(program: &str, arguments: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    shell.args(["-c", "PATH=$PATH:/usr/sbin:/sbin; exec \"$0\" \"$@\"", program]).args(arguments);
    shell.output().expect("a shell runs")
}

fn must(program: &str, arguments: &[&str]) {
    let ended = system(program, arguments);
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{program} {arguments:?}: {said}; this wants root, and a machine that lets it");
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A small disk of its own.
struct Disk {
    at: PathBuf,
    /// Where it stands, if it is not in memory.
    image: PathBuf,
}

impl Disk {
    fn in_memory(at: &Path, options: &str) -> Self {
        fs::create_dir(at).unwrap();
        must("mount", &["-t", "tmpfs", "-o", options, "tmpfs", text(at)]);
        Self { at: at.to_owned(), image: PathBuf::new() }
    }

    /// As Linux machines have them.
    fn ext4(at: &Path) -> Self {
        fs::create_dir(at).unwrap();
        let image = at.with_extension("image");
        File::create(&image).unwrap().set_len(32 << 20).unwrap();
        must("mkfs.ext4", &["-q", "-F", text(&image)]);
        let disk = Self { at: at.to_owned(), image };
        disk.mount();
        disk
    }

    fn mount(&self) {
        must("mount", &["-o", "loop,errors=remount-ro", text(&self.image), text(&self.at)]);
    }

    /// The file system finds a fault in itself.
    fn give_up(&self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let mount =
            mounts.lines().find(|mount| mount.split(' ').nth(1) == Some(text(&self.at))).expect("it is mounted");
        let device = mount.split(' ').next().unwrap().trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{device}/trigger_fs_error"), "1").unwrap();
        eventually("a read-only disk", || fs::write(self.at.join("probe"), "").is_err().then_some(()));
    }

    /// As after a restart of the machine.
    fn mend(&self) {
        must("umount", &[text(&self.at)]);
        let ended = system("e2fsck", &["-f", "-y", text(&self.image)]);
        assert!(matches!(ended.status.code(), Some(0 | 1)), "what was wrong is mended: {ended:?}");
        self.mount();
    }

    fn remount(&self, how: &str) {
        must("mount", &["-o", &format!("remount,{how}"), text(&self.at)]);
    }

    /// Writes as much as there is room for.
    fn fill(&self) {
        let _ = fs::write(self.at.join("filler"), vec![0; 8 << 20]);
    }

    /// Makes as many files as there is room for.
    fn crowd(&self) {
        fs::create_dir(self.at.join("filler")).unwrap();
        let full = (0..1000).find(|name| File::create(self.at.join(format!("filler/{name}"))).is_err());
        assert!(full.is_some());
    }

    fn clear(&self) {
        let filler = self.at.join("filler");
        if filler.is_dir() { fs::remove_dir_all(filler) } else { fs::remove_file(filler) }.unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        system("umount", &["-l", text(&self.at)]);
    }
}

/// A merchant whose database is on a disk at this place.
fn merchant() -> (Merchant, PathBuf) {
    let merchant = Merchant::new(NOWHERE);
    merchant.configure("[webhooks]", "[database]\npath = \"disk/quintile.db\"\n[webhooks]");
    let at = merchant.path().join("disk");
    (merchant, at)
}

fn orders(at: &Path) -> u64 {
    let database = rusqlite::Connection::open(at.join("quintile.db")).unwrap();
    database.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap()
}

/// The start ends, and names what cannot be written.
fn is_refused(merchant: &Merchant) {
    let output = run(merchant.path(), &["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("disk/quintile.db") && said.contains("writable"), "{said}");
}

/// What is in the log fills the disk, and could be copied into pages of the database that are free.
#[test]
#[ignore = "needs root: tests/run runs it where it may"]
fn one_that_the_log_alone_fills() {
    let (merchant, at) = merchant();
    let _disk = Disk::in_memory(&at, "size=10m");
    Server::start(merchant.path()).kill();
    let database = rusqlite::Connection::open(at.join("quintile.db")).unwrap();
    database.execute_batch("CREATE TABLE t AS SELECT zeroblob(4000000) AS b; DROP TABLE t").unwrap();
    database.close().unwrap();
    let server = Server::start(merchant.path());
    let mut refused = 0;
    for number in 1..=300 {
        while post(&server, number).status != 200 {
            refused += 1;
            assert!(refused < 20, "order {number} finds no room");
        }
    }
    assert!(refused > 0, "the disk was never full");
    server.kill();
    assert_eq!(orders(&at), 300);
}

/// As [`super::a_full_disk_stops_what_writes_and_nothing_else_and_heals_by_itself`], with the real thing.
#[test]
#[ignore = "needs root: tests/run runs it where it may"]
fn one_that_is_filled_and_emptied_again() {
    let (merchant, at) = merchant();
    let disk = Disk::in_memory(&at, "size=4m");
    let server = Server::start(merchant.path());
    assert_eq!(post(&server, 1).status, 200);
    disk.fill();
    let mut number = 1;
    let refused = eventually("the refusal", || {
        number += 1;
        let answer = post(&server, number);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.status, 503, "{}", refused.body);
    everything_waits(&server);
    disk.clear();
    eventually("a stored order", || (post(&server, number).status == 200).then_some(()));
    eventually("readiness", || (get(&server, "/readyz").status == 200).then_some(()));
    assert!(server.terminate().success());
    assert_eq!(violations(&at.join("quintile.db")), Vec::<String>::new());
    assert!(orders(&at) >= number - 1, "{} of {number}", orders(&at));
}

#[test]
#[ignore = "needs root: tests/run runs it where it may"]
fn a_write_of_nothing_heals_nothing() {
    let folder = Folder::new();
    let at = folder.path().join("disk");
    let disk = Disk::in_memory(&at, "size=2m");
    let database = Database::open(&at.join("quintile.db"), "test").unwrap();
    let note = |key: &'static str| {
        database.writer().write_blocking(move |tx| Ok(tx.execute("INSERT INTO meta VALUES (?1, 'x')", [key])?))
    };
    let write_nothing = || database.writer().write_blocking(|_| Ok(()));
    disk.fill();
    note("one").unwrap_err();
    let trouble = database.condition().trouble();
    assert!(trouble.is_some());
    write_nothing().unwrap_err();
    assert_eq!(database.condition().trouble(), trouble);
    disk.clear();
    write_nothing().unwrap();
    assert_eq!(database.condition().trouble(), None);
    note("two").unwrap();
    drop(database);
}

#[test]
#[ignore = "needs root: tests/run runs it where it may"]
fn a_start_waits_for_room() {
    let (merchant, at) = merchant();
    let disk = Disk::in_memory(&at, "size=4m,nr_inodes=64");
    for (number, occupy) in [(1, Disk::fill as fn(&Disk)), (2, Disk::crowd)] {
        assert!(Server::start(merchant.path()).terminate().success());
        // A stop in the middle of something leaves the log and its index, and with them there is room enough.
        assert_eq!(orders(&at), number - 1);
        assert!(!at.join("quintile.db-wal").exists(), "whoever closes it last takes them away");
        occupy(&disk);
        let start = Starting::by(quintile(merchant.path(), &["serve"]));
        let line = eventually("the reason", || waits(&start));
        assert!(line.contains("not started yet: the disk is full; "), "{line}");
        disk.clear();
        let server = start.serves().expect("it starts");
        assert_eq!(post(&server, number).status, 200);
        assert!(server.terminate().success());
        assert_eq!(orders(&at), number);
    }
}

/// As Linux does it when it finds that something is wrong: from then on nothing is written to that disk, until
/// somebody starts the machine again, which mends it.
#[test]
#[ignore = "needs root: tests/run runs it where it may"]
fn one_that_becomes_read_only_while_running() {
    let (merchant, at) = merchant();
    let disk = Disk::ext4(&at);
    let server = Server::start(merchant.path());
    let taken = (0..20).filter(|number| *number != 10); // which `everything_waits` sends
    for number in taken.clone() {
        assert_eq!(post(&server, number).status, 200);
    }
    disk.give_up();
    everything_waits(&server);
    assert!(server.terminate().success());
    is_refused(&merchant);

    disk.mend();
    let server = Server::start(merchant.path());
    assert_eq!(get(&server, "/readyz").status, 200);
    let database = rusqlite::Connection::open(at.join("quintile.db")).unwrap();
    for number in taken {
        let known = "SELECT count(*) FROM orders WHERE source_id = ?1";
        let rows: u64 = database.query_row(known, [(1000 + number).to_string()], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1, "order {number} was answered 200");
    }
    drop(database);
    assert_eq!(post(&server, 10).status, 200);
    assert!(server.terminate().success());
    assert_eq!(orders(&at), 20);
    assert_eq!(violations(&at.join("quintile.db")), Vec::<String>::new());
}

#[test]
#[ignore = "needs root: tests/run runs it where it may"]
fn one_that_is_read_only_at_the_start() {
    let (merchant, at) = merchant();
    let disk = Disk::in_memory(&at, "size=16m");
    disk.remount("ro");
    is_refused(&merchant);
    disk.remount("rw");
    assert!(Server::start(merchant.path()).terminate().success());
    disk.remount("ro");
    is_refused(&merchant);
}

/// As containers have single files of their host: nothing can be renamed over one.
#[test]
#[ignore = "needs root: tests/run runs it where it may"]
fn a_database_that_is_mounted_by_itself_is_not_touched_by_a_restore() {
    let merchant = Merchant::new(NOWHERE);
    let at = |name: &str| merchant.path().join(name);
    merchant.run(&["init"]);
    merchant.run(&["backup", "copy.db"]);
    fs::rename(at("quintile.db"), at("elsewhere.db")).unwrap();
    File::create(at("quintile.db")).unwrap();
    must("mount", &["--bind", text(&at("elsewhere.db")), text(&at("quintile.db"))]);
    let output = run(merchant.path(), &["restore", "copy.db"]);
    let found = named(merchant.path(), "quintile.db");
    merchant.run(&["customers"]);
    must("umount", &[text(&at("quintile.db"))]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("mount its folder instead"), "{said}");
    assert_eq!(found, ["quintile.db", "quintile.db.lock"]);
}
