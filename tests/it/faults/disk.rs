//! A disk that takes nothing more: full, failing, or not to be written at all.

mod failing;
mod root;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::Command,
    time::{Duration, Instant},
};

use super::{NOWHERE, count, get, post};
use crate::support::{
    http,
    merchant::{Merchant, score_and_wait},
    process::{QUINTILE, Server, Starting, eventually, quintile, signal},
    receiver::Receiver,
};

/// A server that is told of a file too large instead of being killed for it, as it would be on a disk
/// that is full. `before` is what the shell does first.
pub fn limited(merchant: &Merchant, before: &str) -> Starting {
    let mut command = quintile(merchant.path(), &[]);
    let mut shell = Command::new("sh");
    shell.current_dir(merchant.path()).args(["-c", &format!("trap '' XFSZ; {before}; exec \"$0\" serve"), QUINTILE]);
    shell.stdin(std::process::Stdio::null());
    shell.envs(command.env("LC_ALL", "C").get_envs().filter_map(|(name, value)| Some((name, value?))));
    Starting::by(shell)
}

fn server_to_be_limited(merchant: &Merchant) -> Server {
    limited(merchant, ":").serves().expect("it starts")
}

/// No file of the process can grow, or be written at all beyond its first byte.
pub fn limit(process: u32, limit: &str) {
    let set = Command::new("prlimit").args(["--pid", &process.to_string(), &format!("--fsize={limit}:")]).status();
    assert!(set.expect("prlimit runs").success());
}

/// A server that `start` started stops writing while `fail` keeps its disk from taking anything, and nothing
/// else; `heal` ends that, and it goes on. Returns what it said.
async fn waits_and_heals<F>(
    start: impl FnOnce(&Merchant) -> Server,
    fail: impl FnOnce(&Merchant, &Server) -> F,
    heal: impl FnOnce(F, &Server),
) -> String {
    let receiver = Receiver::start().await;
    let merchant = Merchant::new(receiver.url());
    tokio::task::block_in_place(|| {
        let server = start(&merchant);
        // So few that the tool does not count as failing, which would be left alone for longer than this takes.
        for number in 0..3 {
            assert_eq!(post(&server, number).status, 200);
        }
        receiver.answers(503);
        score_and_wait(&merchant, &server);
        eventually("the refusals", || (count(&merchant, "deliveries WHERE state = 'retrying'") == 3).then_some(()));
        receiver.answers(200);
        // Due in a minute otherwise: they are to come due while the disk takes nothing.
        let soon = "UPDATE deliveries SET due_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) + 3000";
        assert_eq!(merchant.sql().execute(soon, []).unwrap(), 3);
        signal(server.id(), "WINCH"); // as commands beside it tell that they wrote something
        let fault = fail(&merchant, &server);
        everything_waits(&server);
        let sent = eventually("the end of requests under way", || {
            let before = receiver.received().len();
            std::thread::sleep(Duration::from_millis(500));
            (receiver.received().len() == before).then_some(before)
        });
        std::thread::sleep(Duration::from_secs(6)); // long after they came due
        assert_eq!(receiver.received().len(), sent, "nothing is sent whose outcome could not be stored");
        assert!(count(&merchant, "deliveries WHERE state <> 'delivered'") > 0);

        let healed = Instant::now();
        heal(fault, &server);
        eventually("a stored order", || (post(&server, 11).status == 200).then_some(()));
        everything_goes_on(&merchant, &server);
        assert!(healed.elapsed() < Duration::from_secs(30), "they had come due: {:?}", healed.elapsed());
        let said = server.said();
        assert!(server.terminate().success());
        merchant.run(&["check", "--deep"]);
        said
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_what_writes_and_nothing_else_and_heals_by_itself() {
    let fill = |_: &Merchant, server: &Server| limit(server.id(), "1");
    waits_and_heals(server_to_be_limited, fill, |(), server| limit(server.id(), "unlimited")).await;
}

#[test]
fn a_full_disk_is_said_once_and_then_counted() {
    let merchant = Merchant::new(NOWHERE);
    let server = server_to_be_limited(&merchant);
    assert_eq!(post(&server, 1).status, 200);
    limit(server.id(), "1");
    for number in 2..22 {
        assert_eq!(post(&server, number).status, 503);
        assert_eq!(http::get(&format!("{}/healthz", server.webhooks)).unwrap().status, 503);
    }
    eventually("the first line", || server.said().contains("the database cannot be written").then_some(()));
    let said = server.said();
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    assert!(lines.len() == 1 && lines[0].contains("the database cannot be written"), "{said}");
    assert!(lines[0].contains("the disk is full"), "it says why: {said}");

    limit(server.id(), "unlimited");
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
