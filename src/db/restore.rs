//! Putting a backup in the place of the database.
//!
//! Three steps, each of which leaves the old database as it is until the last has renamed the new one
//! over it: [`Staged::new`] reads the backup from end to end and copies it beside the database,
//! [`Staged::open`] brings the copy up to this program's schema for whoever has to change something in
//! it, [`Staged::put_in_place`] keeps the old one under another name and swaps.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction};

use super::{
    Database, Lock, LockError,
    backup::{Contents, Depth, copy_into, faults, open_to_look, overwrites_in_copies, verify},
    files::{is_without_bytes, with_suffix},
    holder,
    lost::{Left, Lost, lost, refuse_log_alone},
    migrate::{CURRENT, Plan},
    swap::{BEFORE_RESTORE, COMPANIONS, finish, swap},
};
use crate::{invariants, model::Timestamp};

/// Its name in `meta`.
const RESTORED: &str = "restored at";

/// How long whoever had the copy open may take to close it.
const CLOSING: Duration = Duration::from_secs(5);
/// Before the schema that it has.
const BEFORE_MIGRATION: &str = ".schema-";

/// Ends the name of a copy that is not to come into its place yet.
const RESTORING: &str = ".restoring";

/// A copy of a backup beside the database that it will replace. Removed when dropped.
pub struct Staged {
    database: PathBuf,
    copy: PathBuf,
    /// Nobody else opens the database meanwhile.
    _lock: Lock,
    /// What the backup lacks, since its own log is damaged.
    pub lost: Option<Lost>,
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
    /// [`LockError::Held`] while a program has the database; the backup is not
    /// whole, not quintile's or newer than this program; the disk is full.
    pub fn new(backup: &Path, database: &Path) -> anyhow::Result<Self> {
        let lock = Lock::acquire(database, "quintile restore")?;
        // Somebody may have taken the lock file of a running `serve` for one that was left behind: it would write on
        // into the old file.
        let mut holders = holder::open_elsewhere(database).into_iter();
        if let Some(holder) = holders.find(|holder| holder.starts_with("quintile,")) {
            let database = database.display().to_string();
            return Err(LockError::Held { database, holder, has_opened: true }.into());
        }
        finish(database)?;
        refuse_log_alone(backup)?;
        let lost = lost(backup)?;
        ensure!(
            lost.is_some() || !is_same_file(backup, database),
            "{} is the database itself; name a backup",
            backup.display()
        );
        ensure!(
            lost.is_none_or(|lost| lost.left != Left::Nowhere),
            "{} is not whole, and the log beside it, which would make it so, is damaged; name another backup",
            backup.display()
        );
        let copy = with_suffix(database, RESTORING);
        let (contents, violations) = copy_verified(backup, &copy, lost).inspect_err(|_| clear_away(database))?;
        Ok(Self { database: database.to_owned(), copy, _lock: lock, lost, contents, violations })
    }

    /// The copy, to be changed before it is put in place; of this program's schema. Close it before.
    ///
    /// # Errors
    /// It cannot be brought up or written.
    pub fn open(&self) -> anyhow::Result<Database> {
        // The backup itself is what a failed migration would be taken back with.
        Database::open_with(&self.copy, "quintile restore", Plan { keeps_old: false, ..CURRENT })
    }

    /// The database that is there now, to look into. `None`: there is none, or it is damaged, or does not agree with
    /// itself: what it says is not to be done in a whole one. Reads all of it. Leaves nothing beside it that was not
    /// there.
    #[must_use]
    pub fn present(&self) -> Option<Connection> {
        let begins = |file: File| -> io::Result<bool> {
            let mut magic = [0; 16];
            (&file).read_exact(&mut magic)?;
            Ok(magic == *b"SQLite format 3\0")
        };
        if !File::open(&self.database).and_then(begins).unwrap_or(false) || !matches!(lost(&self.database), Ok(None)) {
            return None;
        }
        let has_no_log = is_without_bytes(&with_suffix(&self.database, "-wal"));
        let present = if has_no_log { open_without_log(&self.database) } else { open_to_look(&self.database) }.ok()?;
        let is_whole = faults(&present, Depth::Everything).is_ok_and(|faults| faults.is_empty());
        // The queries speak of the present schema.
        let agrees = is_whole && invariants::violations(&present).is_ok_and(|violations| violations.is_empty());
        agrees.then_some(present)
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
        swap(&self.copy, &self.database, &now.to_utc().format("%Y%m%dT%H%M%SZ").to_string())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        clear_away(&self.database);
    }
}

/// Removes a copy that did not come into the place of `database`; of one that did there is nothing but the lock
/// file. For whoever has the lock of `database`.
pub(super) fn clear_away(database: &Path) {
    let copy = with_suffix(database, RESTORING);
    let names = COMPANIONS.iter().chain(&[".lock"]).map(|companion| with_suffix(&copy, companion));
    for name in names.chain([copy.clone()]) {
        let _ = fs::remove_file(name);
    }
}

/// What the backup holds, and what does not agree in it.
fn copy_verified(backup: &Path, copy: &Path, lost: Option<Lost>) -> anyhow::Result<(Contents, Vec<String>)> {
    if lost.is_some_and(|lost| lost.left == Left::InFile) {
        copy_into(&open_without_log(backup)?, copy)?;
        return verify(copy);
    }
    let (contents, violations) = verify(backup)?;
    copy_into(&open_to_look(backup)?, copy)?;
    let (copied, _) = verify(copy)?;
    ensure!(copied == contents, "{} holds something else than {}", copy.display(), backup.display());
    Ok((contents, violations))
}

fn open_without_log(database: &Path) -> anyhow::Result<Connection> {
    let path = database.to_str().with_context(|| format!("{} is not a name that SQLite takes", database.display()))?;
    let path = path.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)
        .with_context(|| format!("cannot read {}", database.display()))?;
    overwrites_in_copies(&connection)?;
    Ok(connection)
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
