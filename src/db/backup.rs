//! A copy of the database that can be trusted: made beside a running program, read back whole, and only
//! then given its name.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    condition::Damaged,
    ending::Ending,
    files::{PARTIAL, remove_if_there, sync_folder_of, with_suffix},
    lost::refuse_log_alone,
    migrate::{SCHEMA_VERSION, check_header, read_header},
    private::create_private_file,
};
use crate::invariants;

/// A copy that was read back and is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    pub path: PathBuf,
    pub bytes: u64,
    pub contents: Contents,
    /// What does not agree in it, as [`invariants::violations`] says; empty for an older schema. The
    /// copy is kept all the same: none at all would be worse.
    pub violations: Vec<String>,
}

/// What a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    pub schema: i32,
    pub orders: i64,
    pub customers: i64,
    pub runs: i64,
}

impl Contents {
    fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let count = |table: &str| connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0));
        Ok(Self {
            schema: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
            orders: count("orders")?,
            customers: count("customers")?,
            runs: count("runs")?,
        })
    }

    /// Rows of these tables never go, so a later look finds at least as many.
    const fn is_within(&self, later: &Self) -> bool {
        self.orders <= later.orders && self.customers <= later.customers && self.runs <= later.runs
    }
}

/// Copies `database`, as of now, to `to`, replacing what is there only when the copy is whole. Nobody
/// who reads or writes waits for it.
///
/// # Errors
/// The database is damaged, or the copy cannot be written, or is not whole, or the program is to stop before it
/// is; then nothing is left of it.
pub fn back_up(database: &Path, to: &Path, ending: &Ending) -> anyhow::Result<Backup> {
    let partial = with_suffix(to, PARTIAL);
    let made = copy_and_verify(database, &partial, ending);
    if made.is_err() {
        let _ = remove(&partial); // its own error says less
    }
    let (contents, violations) = made?;
    fs::rename(&partial, to).with_context(|| format!("cannot write {}", to.display()))?;
    sync_folder_of(to)?;
    let bytes = fs::metadata(to).with_context(|| format!("cannot look at {}", to.display()))?.len();
    Ok(Backup { path: to.to_owned(), bytes, contents, violations })
}

fn copy_and_verify(database: &Path, copy: &Path, ending: &Ending) -> anyhow::Result<(Contents, Vec<String>)> {
    let before = {
        let source = open_to_look(database)?;
        ending.cut_off_early(&source)?;
        let before = Contents::read(&source)?;
        copy_into(&source, copy)?;
        before
    };
    read_back(copy, &before, ending)
}

/// Verifies the copy of a database that held at least `before`.
fn read_back(copy: &Path, before: &Contents, ending: &Ending) -> anyhow::Result<(Contents, Vec<String>)> {
    let (contents, violations) = verify_until(copy, ending)?;
    ensure!(before.is_within(&contents), "{} has fewer rows than what it is a copy of", copy.display());
    Ok((contents, violations))
}

/// Writes the database that `source` reads into a new file that only its owner can read, and waits
/// until it is on the disk.
pub(super) fn copy_into(source: &Connection, copy: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", copy.display());
    remove(copy).with_context(cannot)?;
    // SQLite takes an empty file, and would make one that everybody can read.
    create_private_file(copy)?;
    let text = copy.to_str().with_context(|| format!("{} is not a name that SQLite takes", copy.display()))?;
    source.execute("VACUUM INTO ?1", [text]).with_context(cannot)?;
    OpenOptions::new().write(true).open(copy).and_then(|file| file.sync_all()).with_context(cannot)
}

/// Removes a copy, with what SQLite leaves beside it when the disk fails it. One that is not there is fine.
fn remove(copy: &Path) -> io::Result<()> {
    for name in [with_suffix(copy, "-journal"), copy.to_owned()] {
        remove_if_there(&name)?;
    }
    Ok(())
}

/// Reads a database from its first page to its last. Returns what it holds, and what does not agree in
/// it.
///
/// # Errors
/// It is not whole, not quintile's, or newer than this program.
pub fn verify(path: &Path) -> anyhow::Result<(Contents, Vec<String>)> {
    verify_until(path, &Ending::default())
}

fn verify_until(path: &Path, ending: &Ending) -> anyhow::Result<(Contents, Vec<String>)> {
    if !path.exists() {
        bail!("there is no file {}", path.display());
    }
    refuse_log_alone(path)?;
    check_header(path, &read_header(path)?, SCHEMA_VERSION)?;
    let connection = open_to_look(path)?;
    ending.cut_off_early(&connection)?;
    let faults = faults(&connection, Depth::Everything).with_context(|| format!("{} is damaged", path.display()))?;
    ensure!(faults.is_empty(), "{} is damaged: {}", path.display(), faults.join("; "));
    let contents = Contents::read(&connection).with_context(|| format!("{} is no whole database", path.display()))?;
    // The queries speak of the present schema.
    let violations = if contents.schema == SCHEMA_VERSION { invariants::violations(&connection)? } else { Vec::new() };
    Ok((contents, violations))
}

/// Reads the whole database from its first page to its last, beside whoever uses it.
///
/// # Errors
/// It is damaged, or cannot be read, or the program is to stop before its end.
pub fn look_through(path: &Path, ending: &Ending) -> anyhow::Result<()> {
    let connection = open_to_look(path)?;
    ending.cut_off_early(&connection)?;
    let faults = faults(&connection, Depth::Everything)?;
    if faults.is_empty() { Ok(()) } else { Err(Damaged(faults.join("; ")).into()) }
}

/// How far damage is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// The structure of every page.
    Pages,
    /// Also whether each index has what its table has.
    Everything,
}

/// What is wrong with the file, at most a few lines; empty: it is whole.
///
/// # Errors
/// Those of SQLite; it may be too damaged to look.
pub fn faults(connection: &Connection, depth: Depth) -> rusqlite::Result<Vec<String>> {
    let look = match depth {
        Depth::Pages => "PRAGMA quick_check(3)",
        Depth::Everything => "PRAGMA integrity_check(3)",
    };
    let mut lines: Vec<String> =
        connection.prepare(look)?.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    lines.retain(|line| line != "ok");
    Ok(lines)
}

/// A connection that writes nothing into the file.
pub(super) fn open_to_look(path: &Path) -> anyhow::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).with_context(|| format!("cannot read {}", path.display()))?;
    super::turns::wait_for_locks(&connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    overwrites_in_copies(&connection)?;
    Ok(connection)
}

/// What `VACUUM INTO` writes takes this over from the connection that it is told to: in pages that were moved on while
/// it was written, rows would stay for good that are erased later.
pub(super) fn overwrites_in_copies(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "secure_delete", true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_with_fewer_rows_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.db");
        let fixture = format!("{}/tests/fixtures/schema-{SCHEMA_VERSION}.db", env!("CARGO_MANIFEST_DIR"));
        fs::copy(fixture, &copy).unwrap();
        let (held, _) = verify(&copy).unwrap();
        assert_eq!(read_back(&copy, &held, &Ending::default()).unwrap().0, held);
        for before in [
            Contents { orders: held.orders + 1, ..held },
            Contents { customers: held.customers + 1, ..held },
            Contents { runs: held.runs + 1, ..held },
        ] {
            let refused = read_back(&copy, &before, &Ending::default()).unwrap_err().to_string();
            assert!(refused.contains("has fewer rows"), "{before:?}: {refused}");
        }
    }
}
