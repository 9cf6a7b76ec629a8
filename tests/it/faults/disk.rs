//! A disk that takes nothing more: full, or not to be written at all.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use quintile::db::Database;

use super::{NOWHERE, count, get, post};
use crate::support::{
    folder::{Folder, violations},
    http,
    merchant::{Merchant, score_and_wait},
    process::{QUINTILE, Server, eventually, quintile, run},
    receiver::{Answer, Receiver},
};

/// What the system does to a process.
fn system(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}

/// A server that is told of a file too large instead of being killed for it, as it would be on a disk
/// that is full.
fn server_to_be_limited(merchant: &Merchant) -> Server {
    let mut command = quintile(merchant.path(), &[]);
    let mut shell = Command::new("sh");
    shell.current_dir(merchant.path()).args(["-c", "trap '' XFSZ; exec \"$0\" serve", QUINTILE]);
    shell.stdin(std::process::Stdio::null());
    shell.envs(command.env("LC_ALL", "C").get_envs().filter_map(|(name, value)| Some((name, value?))));
    Server::try_start_as(shell).unwrap()
}

/// No file of the server can grow, or be written at all beyond its first byte.
fn limit(server: &Server, limit: &str) {
    assert!(system("prlimit", &["--pid", &server.id().to_string(), &format!("--fsize={limit}:")]), "prlimit failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_what_writes_and_nothing_else_and_heals_by_itself() {
    let receiver = Receiver::start().await;
    let merchant = Merchant::new(receiver.url());
    tokio::task::block_in_place(|| {
        let server = server_to_be_limited(&merchant);
        for number in 0..10 {
            assert_eq!(post(&server, number).status, 200);
        }
        // The tool is to be tried again while the disk is full.
        receiver.answers(Answer::from(503).header("retry-after", "2"));
        score_and_wait(&merchant, &server);
        eventually("the refusals", || (!receiver.received().is_empty()).then_some(()));
        receiver.answers(200);
        limit(&server, "1");
        everything_waits(&server);
        let sent = eventually("the end of requests under way", || {
            let before = receiver.received().len();
            std::thread::sleep(Duration::from_millis(500));
            (receiver.received().len() == before).then_some(before)
        });
        std::thread::sleep(Duration::from_secs(6)); // long after the next try was due
        assert_eq!(receiver.received().len(), sent, "nothing is sent whose outcome could not be stored");
        assert!(count(&merchant, "deliveries WHERE state <> 'delivered'") > 0);

        limit(&server, "unlimited");
        eventually("a stored order", || (post(&server, 11).status == 200).then_some(()));
        everything_goes_on(&merchant, &server);
        assert!(server.terminate().success());
        merchant.run(&["check", "--deep"]);
    });
}

#[test]
fn a_full_disk_is_said_once_and_then_counted() {
    let merchant = Merchant::new(NOWHERE);
    let server = server_to_be_limited(&merchant);
    assert_eq!(post(&server, 1).status, 200);
    limit(&server, "1");
    for number in 2..22 {
        assert_eq!(post(&server, number).status, 503);
        assert_eq!(http::get(&format!("{}/healthz", server.webhooks)).unwrap().status, 503);
    }
    eventually("the first line", || server.said().contains("the database cannot be written").then_some(()));
    let said = server.said();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(lines.len() == 1 && lines[0].contains("the database cannot be written"), "{said}");
    assert!(lines[0].contains("the disk is full"), "it says why: {said}");

    limit(&server, "unlimited");
    eventually("a stored order", || (post(&server, 22).status == 200).then_some(()));
    let healed = eventually("the end of it", || {
        server.said().lines().find(|line| line.contains("the database can be written again")).map(str::to_owned)
    });
    let refused: u64 = healed.split("refused=").nth(1).unwrap().split_whitespace().next().unwrap().parse().unwrap();
    assert!(refused >= 19, "the first was said at once: {healed}");
}

fn everything_waits(server: &Server) {
    let refused = post(server, 10);
    assert_eq!(refused.status, 503, "{}", refused.body);
    eventually("the banner", || get(server, "/").body.contains("Nothing can be stored").then_some(()));
    for path in ["/", "/customers", "/runs", "/deliveries", "/settings"] {
        let page = get(server, path);
        assert_eq!(page.status, 200, "{path}");
        assert!(page.body.contains("Nothing can be stored"), "{path}");
    }
    for form in ["/runs", "/customers/1/erase", "/destinations/my-tool/pause"] {
        let headers = [("origin", server.dashboard.as_str()), ("content-type", "application/x-www-form-urlencoded")];
        let told = http::post(&format!("{}{form}", server.dashboard), &headers, b"confirm=1").unwrap();
        assert_eq!(told.status, 503, "{form}: {}", told.body);
        assert!(told.body.contains("Nothing can be stored") && !told.body.contains("Score now</button>"), "{form}");
        assert!(told.body.contains("again once that is over"), "{form}: {}", told.body);
    }
    let ready = get(server, "/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("unavailable"), "{}", ready.body);
    assert!(get(server, "/metrics").body.contains("quintile_database_writable 0"));
}

fn everything_goes_on(merchant: &Merchant, server: &Server) {
    eventually("readiness", || (get(server, "/readyz").status == 200).then_some(()));
    assert!(!get(server, "/").body.contains("Nothing can be stored"));
    eventually("the deliveries", || (count(merchant, "deliveries WHERE finished_at IS NULL") == 0).then_some(()));
    assert_eq!(count(merchant, "deliveries WHERE state = 'delivered'"), count(merchant, "deliveries"));
}

/// A small disk of its own, which only root can make.
struct Disk(PathBuf);

impl Disk {
    fn mount(at: &Path, size: &str) -> Option<Self> {
        fs::create_dir(at).unwrap();
        let path = at.to_str().unwrap();
        let is_root =
            fs::metadata("/proc/self").is_ok_and(|process| std::os::unix::fs::MetadataExt::uid(&process) == 0);
        (is_root && system("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", path]))
            .then(|| Self(at.to_owned()))
    }

    fn remount(&self, how: &str) -> bool {
        system("mount", &["-o", &format!("remount,{how}"), self.0.to_str().unwrap()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        system("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

/// As [`a_full_disk_stops_what_writes_and_nothing_else_and_heals_by_itself`], with the real thing; for
/// whoever may mount one.
#[test]
fn a_disk_that_is_filled_and_emptied_again() {
    let merchant = Merchant::new(NOWHERE);
    let at = merchant.path().join("disk");
    let Some(disk) = Disk::mount(&at, "4m") else { return };
    merchant.configure("[webhooks]", "[database]\npath = \"disk/quintile.db\"\n[webhooks]");
    let server = Server::start(merchant.path());
    assert_eq!(post(&server, 1).status, 200);
    let _ = fs::write(at.join("filler"), vec![0; 8 << 20]); // as much as there is room for
    let mut number = 1;
    let refused = eventually("the refusal", || {
        number += 1;
        let answer = post(&server, number);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.status, 503, "{}", refused.body);
    everything_waits(&server);
    fs::remove_file(at.join("filler")).unwrap();
    eventually("a stored order", || (post(&server, number).status == 200).then_some(()));
    eventually("readiness", || (get(&server, "/readyz").status == 200).then_some(()));
    assert!(server.terminate().success());
    assert_eq!(violations(&at.join("quintile.db")), Vec::<String>::new());
    let orders: u64 = rusqlite::Connection::open(at.join("quintile.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM orders", [], |row| row.get(0))
        .unwrap();
    assert!(orders >= number - 1, "{orders} of {number}");
    drop(disk);
}

#[test]
fn a_write_of_nothing_heals_nothing() {
    let folder = Folder::new();
    let at = folder.path().join("disk");
    let Some(_disk) = Disk::mount(&at, "2m") else { return };
    let database = Database::open(&at.join("quintile.db"), "test").unwrap();
    let note = |key: &'static str| {
        database.writer().write_blocking(move |tx| Ok(tx.execute("INSERT INTO meta VALUES (?1, 'x')", [key])?))
    };
    let write_nothing = || database.writer().write_blocking(|_| Ok(()));
    let _ = fs::write(at.join("filler"), vec![0; 4 << 20]); // as much as there is room for
    note("one").unwrap_err();
    let trouble = database.condition().trouble();
    assert!(trouble.is_some());
    write_nothing().unwrap_err();
    assert_eq!(database.condition().trouble(), trouble);
    fs::remove_file(at.join("filler")).unwrap();
    write_nothing().unwrap();
    assert_eq!(database.condition().trouble(), None);
    note("two").unwrap();
}

#[test]
fn a_disk_that_becomes_read_only_while_running() {
    let merchant = Merchant::new(NOWHERE);
    let at = merchant.path().join("disk");
    let Some(disk) = Disk::mount(&at, "16m") else { return };
    merchant.configure("[webhooks]", "[database]\npath = \"disk/quintile.db\"\n[webhooks]");
    let server = Server::start(merchant.path());
    assert_eq!(post(&server, 1).status, 200);
    // The system refuses that while a file is open for writing, so a program is not met by it there;
    // where it is forced, the disk answers as a full one does.
    if disk.remount("ro") {
        everything_waits(&server);
        assert!(disk.remount("rw"));
        eventually("a stored order", || (post(&server, 2).status == 200).then_some(()));
    }
    assert!(server.terminate().success());
    assert!(disk.remount("ro"));
    let output = run(merchant.path(), &["serve"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("disk/quintile.db") && said.contains("writable"), "{said}");
}

#[test]
fn a_folder_that_cannot_be_written_is_named_at_the_start() {
    let merchant = Merchant::new(NOWHERE);
    let shop = merchant.path().join("shop");
    fs::create_dir(&shop).unwrap();
    fs::set_permissions(&shop, fs::Permissions::from_mode(0o555)).unwrap();
    merchant.configure("[webhooks]", "[database]\npath = \"shop/quintile.db\"\n[webhooks]");
    // Root may write everywhere, so it has to be somebody else.
    for path in [merchant.path(), &merchant.path().join("config.toml")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let is_root = fs::metadata(&shop).is_ok_and(|folder| std::os::unix::fs::MetadataExt::uid(&folder) == 0);
    let mut command = if is_root {
        let copy = merchant.path().join("program");
        fs::copy(QUINTILE, &copy).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", copy.to_str().unwrap(), "serve"]);
        command.current_dir(merchant.path());
        command
    } else {
        quintile(merchant.path(), &["serve"])
    };
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("shop/quintile.db") && said.contains("the folder must exist and be writable"), "{said}");
    fs::set_permissions(&shop, fs::Permissions::from_mode(0o755)).unwrap();
}
