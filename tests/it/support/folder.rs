//! A temporary folder that looks at what a test leaves behind: of every database in it all invariants
//! must hold. Tests have no other.

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    sync::Mutex,
};

use quintile::{
    db::{APPLICATION_ID, SCHEMA_VERSION},
    invariants,
};
use rusqlite::Connection;
use tempfile::TempDir;

pub struct Folder {
    folder: TempDir,
    /// Begin the violations that the test made on purpose.
    excepted: Mutex<Vec<&'static str>>,
    spoilt: bool,
}

/// Customers that a fixture wrote without their orders.
pub const COUNTERS: &str = "not true: a customer's counters are those of their orders";
/// Customers that a test merged without their orders.
pub const MERGED: &str = "not true: a merged customer holds no orders";
/// One event that a test wrote many deliveries of.
pub const ONCE: &str = "not true: an event goes to a destination once";
/// Deliveries that a test held without saying why.
pub const STATES: &str = "not true: a delivery is finished when its state says so";
/// Customers that a test erased without what was sent about them.
pub const ERASED: &str = "not true: who was erased has no name, and nothing that was sent about them is kept";
/// Scores that a test changed without their history, or left out.
pub const HISTORY: &str = "not true: the scores in force are the last ones of the history";
/// Deliveries that a fixture queued without their turn.
pub const TURN: &str = "not true: of a customer's open deliveries to a destination one alone is due or sent";
/// Deliveries that a fixture numbered, or left out.
pub const GONE: &str = "not true: no delivery is gone";
/// Deliveries that a fixture ended in another order than theirs.
pub const ORDER: &str = "not true: what is delivered had no older news of its customer before it";
/// Events that a fixture wrote at a time of its own.
pub const TIMES: &str = "not true: a customer's events are in the order of time";
/// Runs that a fixture wrote with made-up numbers.
pub const RUNS: [&str; 7] = [
    "not true: a run scored everyone or nobody",
    "not true: a run has scored when its state says so",
    "not true: what a run changed, its history and its events are the same",
    "not true: a run's events are those from its first to its last",
    "not true: a run's events of one type are in the order of its customers",
    "not true: a run is emitted when its last event is",
    "not true: a delivery comes after its run got there",
];

impl Folder {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // As `quintile init DIR` makes one.
        #[cfg(unix)]
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self { folder, excepted: Mutex::default(), spoilt: false }
    }

    /// Where waiting for a disk would show nothing.
    #[cfg(target_os = "linux")]
    pub fn in_memory() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { folder, excepted: Mutex::default(), spoilt: false }
    }

    /// For a fixture that writes tables by hand and leaves out what it is not about: violations that
    /// begin like these are none.
    pub fn except(&self, violations: &[&'static str]) {
        self.excepted.lock().unwrap().extend(violations);
    }

    /// The test damages databases on purpose: none is looked at.
    pub fn spoilt(mut self) -> Self {
        self.spoilt = true;
        self
    }
}

impl Deref for Folder {
    type Target = TempDir;

    fn deref(&self) -> &TempDir {
        &self.folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.spoilt || std::thread::panicking() {
            return;
        }
        let excepted = self.excepted.lock().unwrap();
        for path in databases(self.folder.path()) {
            let mut violations = violations(&path);
            violations.retain(|violation| !excepted.iter().any(|excepted| violation.starts_with(excepted)));
            assert!(violations.is_empty(), "{} after this test: {violations:#?}", path.display());
        }
    }
}

/// Files that end in `.db`, here and in the folders below.
fn databases(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => databases(&path),
            path if path.extension().is_some_and(|extension| extension == "db") => vec![path],
            _ => Vec::new(),
        })
        .collect()
}

/// None of a file that is somebody else's, or of another schema.
pub fn violations(path: &Path) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).unwrap();
    if (number("application_id"), number("user_version")) != (APPLICATION_ID, SCHEMA_VERSION) {
        return Vec::new();
    }
    invariants::violations(&connection).unwrap()
}

#[test]
fn a_test_that_leaves_something_untrue_fails() {
    const UNTRUE: &str = "INSERT INTO customers (source, order_count, created_at) VALUES ('csv', 7, 1)";
    let leave = |sql: &'static str, excepted: &'static [&str]| {
        let folder = Folder::new();
        folder.except(excepted);
        let end = std::panic::catch_unwind(move || {
            let database = quintile::db::Database::open(&folder.path().join("below.db"), "test").unwrap();
            database.writer().write_blocking(move |tx| Ok(tx.execute_batch(sql)?)).unwrap();
        });
        end.err().map(|said| said.downcast_ref::<String>().unwrap().clone())
    };
    assert_eq!(leave("INSERT INTO meta VALUES ('a', 'b')", &[]), None);
    let said = leave(UNTRUE, &[]).unwrap();
    assert!(said.contains("below.db after this test") && said.contains(COUNTERS), "{said}");
    assert_eq!(leave(UNTRUE, &[COUNTERS]), None);
}
