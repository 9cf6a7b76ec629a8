//! A disk that fails: whatever the program asks of the database's files, the system answers as that disk would.
//! strace does it, to the program as it runs.

use std::{
    fs::{self, File},
    process::{Child, Command},
};

use super::{everything_waits, waits_and_heals};
use crate::{
    faults::{NOWHERE, count, post},
    support::{
        merchant::Merchant,
        process::{QUINTILE, Server, Starting, eventually, kill, quintile_by, signal},
    },
};

const WRITES: &str = "write,pwrite64,pwritev,ftruncate,fallocate";
const SYNCS: &str = "fsync,fdatasync";

/// A server that a process beside it may trace, also where only parents may: it says so itself
/// (`PR_SET_PTRACER`), and a kernel that does not ask for that does not know it.
fn traceable(merchant: &Merchant) -> Server {
    const ALLOW: &str = "import ctypes, os, sys
ctypes.CDLL(None).prctl(0x59616d61, ctypes.c_ulong(-1), 0, 0, 0)
os.execv(sys.argv[1], sys.argv[1:])";
    let command = quintile_by("python3", &["-c", ALLOW, QUINTILE], merchant.path(), &["serve"]);
    Starting::by(command).serves().expect("it starts")
}

/// As long as this lives the disk fails.
struct Failing(Child);

impl Failing {
    /// Each of these `calls` on a file of the database fails with `error`.
    fn begin(merchant: &Merchant, server: &Server, calls: &str, error: &str) -> Self {
        let said = merchant.path().join("strace");
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &server.id().to_string()]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:error={error}")]);
        for name in ["quintile.db", "quintile.db-wal", "quintile.db-shm"] {
            command.arg("-P").arg(merchant.path().join(name));
        }
        let started = command.stderr(File::create(&said).unwrap()).spawn();
        let mut strace = started.expect("this test wants strace: `apt-get install strace`, or tests/run");
        eventually("strace", || {
            let said = fs::read_to_string(&said).unwrap();
            let ended = strace.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "strace may not trace a process beside it; be root, allow it (`sysctl kernel.yama.ptrace_scope=0`) or, \
                 in a container, add the capability SYS_PTRACE: {said}"
            );
            said.contains("attached").then_some(())
        });
        Self(strace)
    }

    /// It can be written again.
    fn end(mut self) {
        signal(self.0.id(), "INT");
        self.0.wait().unwrap();
    }
}

impl Drop for Failing {
    fn drop(&mut self) {
        kill(&mut self.0);
    }
}

async fn heals(calls: &str, error: &str) -> String {
    let fail = |merchant: &Merchant, server: &Server| Failing::begin(merchant, server, calls, error);
    waits_and_heals(traceable, fail, |failing, _| failing.end()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_became_read_only() {
    let said = heals(WRITES, "EROFS").await;
    assert!(said.contains("the disk is full or failing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_cannot_be_written() {
    let said = heals(WRITES, "EIO").await;
    assert!(said.contains("the disk is full or failing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_full() {
    let said = heals(WRITES, "ENOSPC").await;
    assert!(said.contains("the disk is full"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_loses_what_it_took() {
    let said = heals(SYNCS, "EIO").await;
    assert!(said.contains("the disk is full or failing"), "{said}");
}

/// What was written may be on the disk or not once the system said that it could not bring it there: nobody
/// may be told that it is.
#[test]
fn what_was_not_brought_to_the_disk_is_not_believed() {
    let merchant = Merchant::new(NOWHERE);
    let server = traceable(&merchant);
    let (taken, refused) = (0..10, 10..14);
    for number in taken.clone() {
        assert_eq!(post(&server, number).status, 200);
    }
    let failing = Failing::begin(&merchant, &server, SYNCS, "EIO");
    for number in refused.clone() {
        assert_eq!(post(&server, number).status, 503);
    }
    everything_waits(&server);
    assert_eq!(count(&merchant, "orders"), 10, "nobody sees what may be lost");
    server.kill();
    drop(failing);

    let server = Server::start(merchant.path());
    for number in taken {
        let order = format!("orders WHERE source_id = '{}'", 1000 + number);
        assert_eq!(count(&merchant, &order), 1, "order {number} was answered 200");
    }
    for number in refused {
        assert_eq!(post(&server, number).status, 200, "the shop comes again");
    }
    assert_eq!(count(&merchant, "orders"), 14);
    assert!(server.terminate().success());
    merchant.run(&["check", "--deep"]);
}
