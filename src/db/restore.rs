//! Putting a backup in the place of the database.
//!
//! Three steps, each of which leaves the old database as it is until the last has renamed the new one
//! over it: [`Staged::new`] reads the backup from end to end and copies it beside the database,
//! [`Staged::open`] brings the copy up to this program's schema for whoever has to change something in
//! it, [`Staged::put_in_place`] keeps the old file under another name and swaps.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, Transaction, ffi};

use super::{
    Database, Lock,
    backup::{Contents, Depth, copy_into, faults, open_to_look, sync_folder_of, verify, with_suffix},
    lost::lost,
    migrate::{CURRENT, Plan},
};
use crate::model::Timestamp;

/// Its name in `meta`.
const RESTORED: &str = "restored at";

/// What SQLite keeps beside a database; without them it may lack what was written last.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// How long whoever had the copy open may take to close it.
const CLOSING: Duration = Duration::from_secs(5);
/// Before the time at which another database came into its place.
const BEFORE_RESTORE: &str = ".before-restore-";
/// Before the schema that it has.
const BEFORE_MIGRATION: &str = ".schema-";

/// A copy of a backup beside the database that it will replace. Removed when dropped.
pub struct Staged {
    database: PathBuf,
    copy: PathBuf,
    /// Nobody else opens the database meanwhile.
    _lock: Lock,
    /// The backup is the database itself, as far as its damaged log can be read.
    pub is_rescue: bool,
    /// What the backup holds.
    pub contents: Contents,
    /// What does not agree in it.
    pub violations: Vec<String>,
}

/// Under which name the database is kept as it was before it was brought up from `schema`.
pub(super) fn before_migration(database: &Path, schema: i32) -> PathBuf {
    with_suffix(database, &format!("{BEFORE_MIGRATION}{schema}"))
}

/// Whether a file whose name goes on with `rest` after that of the database was kept of it.
#[must_use]
pub fn is_set_aside(rest: &str) -> bool {
    rest.starts_with(BEFORE_RESTORE) || rest.starts_with(BEFORE_MIGRATION)
}

impl Staged {
    /// Verifies `backup` and copies it beside `database`, which nobody may have open. A database whose log is
    /// damaged is the backup of itself: it holds what was stored before.
    ///
    /// # Errors
    /// [`LockError::Held`](super::LockError::Held) while a program has the database; the backup is not
    /// whole, not quintile's or newer than this program; the disk is full.
    pub fn new(backup: &Path, database: &Path) -> anyhow::Result<Self> {
        let lock = Lock::acquire(database, "quintile restore")?;
        let is_rescue = is_same_file(backup, database);
        ensure!(!is_rescue || lost(database)?.is_some(), "{} is the database itself; name a backup", backup.display());
        let (contents, violations) = verify(backup)?;
        let copy = with_suffix(database, ".restoring");
        let staged = Self { database: database.to_owned(), copy, _lock: lock, is_rescue, contents, violations };
        copy_into(&open_to_look(backup)?, &staged.copy)?;
        let (copied, _) = verify(&staged.copy)?;
        ensure!(copied == contents, "{} holds something else than {}", staged.copy.display(), backup.display());
        Ok(staged)
    }

    /// The copy, to be changed before it is put in place; of this program's schema. Close it before.
    ///
    /// # Errors
    /// It cannot be brought up or written.
    pub fn open(&self) -> anyhow::Result<Database> {
        // The backup itself is what a failed migration would be taken back with.
        Database::open_with(&self.copy, "quintile restore", Plan { keeps_old: false, ..CURRENT })
    }

    /// Keeps the old database, with what stands beside it, and renames the copy over it. Returns where
    /// the old one is; `None`: there was none.
    ///
    /// # Errors
    /// The folder cannot be written. The message says where the old database is by then.
    pub fn put_in_place(self, now: Timestamp) -> anyhow::Result<Option<PathBuf>> {
        // A reader that was just being opened closes a moment after the others.
        let until = Instant::now() + CLOSING;
        for companion in COMPANIONS {
            let left = with_suffix(&self.copy, companion);
            while left.exists() {
                ensure!(Instant::now() < until, "{} is still open; try again", self.copy.display());
                thread::sleep(Duration::from_millis(10));
            }
        }
        let suffix = format!("{BEFORE_RESTORE}{}", now.to_utc().format("%Y%m%dT%H%M%SZ"));
        let kept = with_suffix(&self.database, &suffix);
        let had_one = self.database.exists();
        if had_one {
            let cannot = || format!("cannot keep {} as {}", self.database.display(), kept.display());
            take_in_log(&self.database)?;
            // A second name first: at every instant there is a database under the first one.
            fs::hard_link(&self.database, &kept).or_else(|_| copy(&self.database, &kept)).with_context(cannot)?;
            // Under the new database they would be taken for its own. The index is made anew from the log.
            let _ = fs::remove_file(with_suffix(&self.database, "-shm"));
            for companion in ["-wal", "-journal"] {
                let left = with_suffix(&self.database, companion);
                if fs::metadata(&left).is_ok_and(|file| file.len() == 0) {
                    let _ = fs::remove_file(&left);
                }
                match fs::rename(left, with_suffix(&kept, companion)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error).with_context(cannot),
                    _ => {}
                }
            }
        }
        fs::rename(&self.copy, &self.database).with_context(|| {
            format!("cannot put the backup in place; the old database is kept as {}", kept.display())
        })?;
        sync_folder_of(&self.database)?;
        Ok(had_one.then_some(kept))
    }
}

/// Brings what stands in the log, or is half written, into the file: between two renames there is a file without
/// its log. One that is damaged, which it is restored for, stays as it is with what stands beside it.
///
/// # Errors
/// Somebody reads or writes it.
fn take_in_log(database: &Path) -> anyhow::Result<()> {
    let is_free = match looks_whole(database).and_then(|whole| if whole { copy_log(database) } else { Ok(true) }) {
        Ok(is_free) => is_free,
        Err(error) => sqlite_error(&error).is_none_or(|error| error.code != ErrorCode::DatabaseBusy),
    };
    ensure!(is_free, "another program is using {}; stop it, then restore", database.display());
    Ok(())
}

fn looks_whole(database: &Path) -> anyhow::Result<bool> {
    let look = || anyhow::Ok(faults(&open_to_look(database)?, Depth::Pages)?);
    match look() {
        Ok(faults) => Ok(faults.is_empty() && lost(database)?.is_none()),
        // Half written, which only a connection that writes takes back.
        Err(error) if sqlite_error(&error).is_some_and(|it| it.extended_code == ffi::SQLITE_READONLY_ROLLBACK) => {
            Ok(true)
        }
        Err(error) => Err(error),
    }
}

/// Whether nobody kept it from copying all.
fn copy_log(database: &Path) -> anyhow::Result<bool> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    super::configure(&connection)?;
    Ok(connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |row| {
        let (all, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(all == copied)
    })?)
}

fn sqlite_error(error: &anyhow::Error) -> Option<ffi::Error> {
    error.downcast_ref::<rusqlite::Error>()?.sqlite_error().copied()
}

/// For a disk that knows no second names.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    OpenOptions::new().write(true).open(to)?.sync_all()
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After it was put in place there is nothing but the lock file.
        let mut names = vec![self.copy.clone(), with_suffix(&self.copy, ".lock")];
        names.extend(COMPANIONS.map(|companion| with_suffix(&self.copy, companion)));
        for name in names {
            let _ = fs::remove_file(name);
        }
    }
}

/// Notes in a copy that it comes out of a backup.
///
/// # Errors
/// Those of SQLite.
pub fn note_restored(tx: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
    tx.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", (RESTORED, now.to_string()))?;
    Ok(())
}

/// When this database was last put in place from a backup, if it ever was.
///
/// # Errors
/// Those of SQLite.
pub fn restored_at(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
        .query_row([RESTORED], |row| row.get(0))
        .optional()
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}
