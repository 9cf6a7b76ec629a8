//! Copies of the database: by hand beside a running server, and each night by itself.

use std::{os::unix::fs::PermissionsExt, path::Path};

use rusqlite::Connection;
use serde_json::Value;

use super::{NOWHERE, count, get, import, named, post};
use crate::support::{
    merchant::Merchant,
    process::{self, Server, eventually},
};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_backup_beside_a_running_server_has_every_order_that_was_answered_before() {
    let merchant = Merchant::new(NOWHERE);
    let server = Server::start(merchant.path());
    for number in 0..20 {
        assert_eq!(post(&server, number).status, 200);
    }
    let made = std::thread::scope(|threads| {
        threads.spawn(|| (20..60).for_each(|number| assert_eq!(post(&server, number).status, 200)));
        merchant.json(&["backup", "copy.db"])
    });
    let copy = merchant.path().join("copy.db");
    assert_eq!(mode(&copy), 0o600);
    assert_eq!(named(merchant.path(), "copy.db"), ["copy.db"], "nothing half written is left");
    let orders = made["orders"].as_i64().unwrap();
    assert!((20..=60).contains(&orders), "{made}");
    let stored: i64 =
        Connection::open(&copy).unwrap().query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    assert_eq!((stored, &made["violations"]), (orders, &Value::Array(Vec::new())));
    assert_eq!(made["bytes"].as_u64().unwrap(), std::fs::metadata(&copy).unwrap().len());
    assert_eq!(count(&merchant, "orders"), 60, "nobody waited for it");

    let before = std::fs::read(&copy).unwrap();
    let again = process::run(merchant.path(), &["backup", "copy.db"]);
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&again.stderr), "error: copy.db is there already; name a new file\n");
    assert_eq!(std::fs::read(&copy).unwrap(), before);
    let nowhere = process::run(merchant.path(), &["backup", "not/there/copy.db"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("not/there/copy.db"), "{nowhere:?}");
}

/// SQLite cannot remove its journal and gives up.
#[test]
fn of_a_copy_that_the_disk_fails_nothing_is_left() {
    let merchant = Merchant::new(NOWHERE);
    import(&merchant, "orders.csv", 0..3);
    let journal = merchant.path().join("copy.db.partial-journal");
    let failing = ["-f", "-o", "/dev/null", "-e", "trace=unlink", "-e", "inject=unlink:error=EIO:when=1", "-P"];
    let before = [&failing[..], &[journal.to_str().unwrap(), process::QUINTILE]].concat();
    let output = process::quintile_by("strace", &before, merchant.path(), &["backup", "copy.db"]).output();
    let output = output.expect("this test wants strace");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("disk I/O error"), "{said}");
    assert_eq!(named(merchant.path(), "copy.db"), Vec::<String>::new());
}

#[test]
fn a_copy_of_what_does_not_agree_is_kept_and_says_so() {
    let merchant = Merchant::new(NOWHERE).spoilt();
    import(&merchant, "orders.csv", 0..3);
    merchant.sql().execute_batch("UPDATE customers SET total_spent = 1 WHERE id = 1").unwrap();
    let made = process::run(merchant.path(), &["backup", "copy.db"]);
    let said = String::from_utf8_lossy(&made.stdout).into_owned();
    assert_ne!(made.status.code(), Some(0), "{said}");
    let violation = "not true: a customer's counters are those of their orders: customer 1 has 1 orders";
    assert!(said.contains(&format!("But its contents do not agree: {violation}")), "{said}");
    let (_, violations) = quintile::db::verify(&merchant.path().join("copy.db")).unwrap();
    assert!(violations.len() == 1 && violations[0].starts_with(violation), "{violations:?}");
}

/// The night is caught up with at the start, since orders are there that no night has seen.
#[test]
fn after_the_nights_run_there_is_a_verified_backup_and_no_log() {
    let merchant = Merchant::new(NOWHERE);
    merchant.configure("cron = \"0 2 29 2 *\"", "cron = \"* * * * *\"");
    std::fs::create_dir(merchant.path().join("second")).unwrap();
    merchant.configure("[forwarder]", "[backup]\ncopy_to = \"second\"\n[forwarder]");
    import(&merchant, "orders.csv", 0..300);
    merchant.sql().execute_batch("UPDATE orders SET received_at = received_at - 172800000").unwrap();
    let server = Server::start(merchant.path());
    assert!(get(&server, "/settings").body.contains("None yet; the next night makes one"));

    let folder = merchant.path().join("backups");
    let copies = eventually("the backup", || {
        let done = folder.is_dir() && get(&server, "/metrics").body.contains("\nquintile_last_backup_size_bytes ");
        done.then(|| named(&folder, "quintile-"))
    });
    assert_eq!((copies.len(), mode(&folder), mode(&folder.join(&copies[0]))), (1, 0o700, 0o600));
    eventually("the second copy", || (named(&merchant.path().join("second"), "quintile-") == copies).then_some(()));
    let copy = Connection::open(folder.join(&copies[0])).unwrap();
    let runs: i64 = copy.query_row("SELECT count(*) FROM runs WHERE state = 'done'", [], |row| row.get(0)).unwrap();
    assert_eq!(runs, 1, "it was made after the run");
    eventually("the empty log", || {
        std::fs::metadata(merchant.path().join("quintile.db-wal")).is_ok_and(|log| log.len() == 0).then_some(())
    });
    assert!(count(&merchant, "sqlite_stat1") > 0, "SQLite knows what it has");
    let page = get(&server, "/settings").body;
    assert!(page.contains(&copies[0]) && page.contains("7 daily, 4 weekly"), "{page}");
    assert!(server.terminate().success());
    merchant.run(&["check", "--deep"]);
}
