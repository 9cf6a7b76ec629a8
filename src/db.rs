//! The embedded database: one writer connection behind a queue ([`Writer`]), a pool of
//! `query_only` readers, a lock file against a second instance, and migrations.
//!
//! Deliberately absent: a storage trait. Stages write SQL beside the function whose name says
//! what it does, and tests use a real file in a temporary folder.

mod backup;
mod condition;
mod ending;
mod files;
mod holder;
mod key;
mod lock;
mod log;
mod lost;
mod migrate;
mod passing;
mod place;
mod private;
mod restore;
mod sessions;
mod swap;
mod turns;
mod undone;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags, backup::StepResult, config::DbConfig};

use self::turns::Pace;

pub use backup::{Backup, Contents, Depth, back_up, faults, look_through, verify};
pub use condition::{Condition, Damaged, tells_of_damage};
pub use ending::{Ending, Stopped};
pub use files::{
    PARTIAL, copy_file, folder_of, is_same, is_without_bytes, make_whole, remove_if_there, sync_folder_of, write_file,
};
pub use key::{make_private_key, private_key};
pub use lock::{Lock, LockError};
pub use lost::{Left, Lost, lost};
pub use migrate::{APPLICATION_ID, Newer, SCHEMA, SCHEMA_VERSION};
pub use passing::passing;
pub use place::refuse_no_file;
pub use private::{create_private_file, hand_over, make_private_folder, private_file};
pub use restore::{Staged, is_set_aside, note_restored, restored_at};
pub use sessions::{EndedSession, end_session, ended_sessions};
pub use swap::is_missing;
pub use undone::is_said;
pub use writer::{QueueFull, Writer};

/// How long a statement waits for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long readers are waited for when the log is emptied: writers wait as long.
const EMPTYING: Duration = Duration::from_millis(500);
/// How long another process that puts a backup in place is waited for. It renames a few files.
const RESTORING: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
const GLANCE: Duration = Duration::from_millis(20);
/// Reader connections: pages, exports and scoring read at the same time; more would only share
/// the same cores.
pub const READERS: u32 = 8;

/// A pooled `query_only` connection.
pub type Reader = r2d2::PooledConnection<SqliteConnectionManager>;

/// Readers of one database file. Cheap to clone.
#[derive(Clone)]
pub struct Readers {
    pool: r2d2::Pool<SqliteConnectionManager>,
    condition: Condition,
}

/// An open database: the right to write it, and readers. One per process and file.
pub struct Database {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    /// `None`: opened beside the process that has it.
    lock: Option<Arc<Lock>>,
    found_log: bool,
}

impl Database {
    /// Takes the lock, creates or migrates the file, and starts the writer. `command` is what the
    /// lock file says is running ("quintile serve").
    ///
    /// # Errors
    /// Another process holds the file; the file is not quintile's, newer than this program, or
    /// cannot be written. Messages say what to do.
    pub fn open(path: &Path, command: &str) -> anyhow::Result<Self> {
        Self::open_with(path, command, migrate::CURRENT)
    }

    fn open_with(path: &Path, command: &str, plan: migrate::Plan<'_>) -> anyhow::Result<Self> {
        Self::open_sharing(path, command, writer::GROUP, plan)
    }

    /// [`Self::open`] with a commit for every write: what sharing commits is measured against.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_committing_each(path: &Path, command: &str) -> anyhow::Result<Self> {
        Self::open_sharing(path, command, 1, migrate::CURRENT)
    }

    /// [`Self::open`] under its lock, taken before: whoever tries again keeps others out meanwhile.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_under(lock: Arc<Lock>, path: &Path) -> anyhow::Result<Self> {
        lock.sign();
        Self::open_locked(lock, path, writer::GROUP, migrate::CURRENT)
    }

    fn open_sharing(
        path: &Path,
        command: &str,
        writes_per_commit: usize,
        plan: migrate::Plan<'_>,
    ) -> anyhow::Result<Self> {
        Self::open_locked(Arc::new(Lock::acquire(path, command)?), path, writes_per_commit, plan)
    }

    fn open_locked(
        lock: Arc<Lock>,
        path: &Path,
        writes_per_commit: usize,
        plan: migrate::Plan<'_>,
    ) -> anyhow::Result<Self> {
        swap::finish(path)?;
        restore::clear_away(path);
        lost::refuse_lost(path)?;
        let found_log = std::fs::metadata(files::with_suffix(path, "-wal")).is_ok_and(|log| log.len() > 0);
        let connection = migrate::open_and_migrate(path, plan)?;
        let readers = Readers::open_unasked(path)?;
        let writer = Writer::start(connection, writes_per_commit, Pace::OWNER, readers.condition.clone())
            .context("cannot start the writer thread")?;
        lock.sign_opened();
        Ok(Self { path: path.to_owned(), writer, readers, lock: Some(lock), found_log })
    }

    /// Opens the file while another process, usually `quintile serve`, has it: for small writes that
    /// cannot wait until it is stopped. SQLite keeps the two apart, and neither makes the other wait for long
    /// (`db::turns`). Neither creates nor migrates.
    ///
    /// # Errors
    /// There is no file, or it is not quintile's, or its schema is not this program's.
    pub fn beside(path: &Path) -> anyhow::Result<Self> {
        let readers = Readers::open(path)?;
        let connection = migrate::open_and_migrate(path, migrate::CURRENT)?;
        let writer = Writer::start(connection, writer::GROUP, Pace::BESIDE, readers.condition.clone())
            .context("cannot start the writer thread")?;
        Ok(Self { path: path.to_owned(), writer, readers, lock: None, found_log: true })
    }

    /// Whether a log was there before: whoever had the file was killed, or somebody else has it.
    #[must_use]
    pub const fn found_log(&self) -> bool {
        self.found_log
    }

    /// Whether no other process has the file.
    #[must_use]
    pub const fn is_owner(&self) -> bool {
        self.lock.is_some()
    }

    /// Tells the process that has the file that something was written: without it that process
    /// would notice within a minute. The signal is one that programs ignore unless they ask for it.
    pub fn nudge(&self) {
        #[cfg(unix)]
        if let Some(holder) = lock::holder(&self.path).filter(|_| self.lock.is_none())
            && let Some(process) = holder.process.and_then(|process| i32::try_from(process).ok())
            && let Some(process) = rustix::process::Pid::from_raw(process)
        {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::WINCH);
        }
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The queue to the one writer connection. Clone it freely.
    #[must_use]
    pub const fn writer(&self) -> &Writer {
        &self.writer
    }

    #[must_use]
    pub const fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Whether the file is damaged or cannot be written, as far as it has shown.
    #[must_use]
    pub const fn condition(&self) -> &Condition {
        &self.readers.condition
    }

    /// The end of the program, for what goes on slice by slice.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        self.condition().ending()
    }
}

impl Readers {
    /// Opens an existing database for reading alone; another process may be writing it.
    ///
    /// # Errors
    /// There is no file, or it is not quintile's, or its schema is not this program's; another process is putting
    /// a backup in its place.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        finish_restore(path)?;
        // Whoever has opened it has read its log, and writes it.
        if !lock::holder(path).is_some_and(|holder| holder.has_opened) {
            lost::refuse_lost(path)?;
        }
        if !path.exists() {
            bail!("there is no database at {}; `quintile init` makes one, or set [database] path", path.display());
        }
        place::check_is_file(path)?;
        migrate::check_readable(path)?;
        Self::open_unasked(path)
    }

    /// For the process that has just opened it. Any other look at the files would free the locks that SQLite has on
    /// them: the system frees all of a process when it closes a file once.
    fn open_unasked(path: &Path) -> anyhow::Result<Self> {
        let condition = Condition::default();
        let (ending, noticed) = (condition.ending().clone(), condition.clone());
        let manager = SqliteConnectionManager::file(path)
            .with_flags(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .with_init(move |connection| {
                let set = || -> rusqlite::Result<()> {
                    configure(connection)?;
                    ending.cut_off(connection)?;
                    connection.pragma_update(None, "query_only", true)
                };
                // The pool tries again, and says no more than that none came free.
                set().inspect_err(|error| noticed.notice_sqlite(error))
            });
        let pool = r2d2::Pool::builder()
            .max_size(READERS)
            .min_idle(Some(0))
            .connection_timeout(BUSY_TIMEOUT)
            .test_on_check_out(false)
            .build(manager)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { pool, condition })
    }

    /// A connection of the pool; blocks while all are in use.
    ///
    /// # Errors
    /// None came free within five seconds, or the file cannot be opened.
    pub fn get(&self) -> anyhow::Result<Reader> {
        self.pool.get().context("no reader connection came free")
    }

    /// A connection if one is free at this moment: for a look so short that it need not leave its
    /// thread.
    #[must_use]
    pub fn try_get(&self) -> Option<Reader> {
        self.pool.try_get()
    }

    /// Copies the write-ahead log into the database file, beside the writer and without making it
    /// wait. What a reader still needs stays in the log.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn checkpoint(&self) -> anyhow::Result<()> {
        log::copy(&*self.get()?)?;
        Ok(())
    }

    /// Copies the whole write-ahead log into the database file and empties it, so that what was
    /// overwritten is in neither. Whether it came to that: somebody who reads for long keeps it as it
    /// is, and is not waited for long, since writers wait meanwhile.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn empty_log(&self) -> anyhow::Result<bool> {
        let connection = self.get()?;
        // Writers wait while it is emptied, so hardly anything is left to copy then.
        log::copy_patiently(&connection, self.condition.ending())?;
        connection.busy_timeout(EMPTYING)?;
        let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        turns::wait_for_locks(&connection)?;
        Ok(busy? == 0)
    }

    /// A copy of the database, as of now, in a new file at `path`, for work that is thrown away with
    /// it: the copy does not survive a power cut. Nobody waits for it.
    ///
    /// # Errors
    /// The file cannot be written, or the program is to stop.
    pub fn copy_to(&self, path: &Path) -> anyhow::Result<Connection> {
        const PAGES: i32 = 4_000; // 16 MiB
        let mut copy = Connection::open(path)?;
        {
            let mut source = self.get()?;
            let snapshot = source.transaction()?;
            // It begins with the first look, and what others write meanwhile is not in it.
            let _: i64 = snapshot.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
            let backup = rusqlite::backup::Backup::new(&snapshot, &mut copy)?;
            loop {
                match backup.step(PAGES)? {
                    StepResult::Done => break,
                    StepResult::More => self.condition.ending().check()?,
                    _ => bail!("somebody else has the copy open"),
                }
            }
        }
        copy.pragma_update(None, "journal_mode", "TRUNCATE")?;
        configure(&copy)?;
        copy.pragma_update(None, "synchronous", "OFF")?;
        Ok(copy)
    }

    /// Runs `read` on a blocking thread, in one read transaction, so that all its statements see
    /// the same state.
    ///
    /// # Errors
    /// Those of `read`, and of [`Self::get`].
    pub async fn read<T, F>(&self, read: F) -> anyhow::Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> anyhow::Result<T> + Send + 'static,
    {
        let readers = self.clone();
        let result = tokio::task::spawn_blocking(move || {
            let mut connection = readers.get()?;
            let snapshot = connection.transaction()?;
            read(&snapshot)
        })
        .await
        .map_err(crate::bug::NoResult::from)
        .context("a read was interrupted")?;
        if let Err(error) = &result {
            self.condition.notice(error);
        }
        result
    }
}

/// Goes on with a restore that was cut off, before somebody reads the database: its log may have been moved away
/// already. Whoever is at it is waited for a little.
fn finish_restore(path: &Path) -> anyhow::Result<()> {
    let until = Instant::now() + RESTORING;
    while swap::unfinished(path)?.is_some() {
        match Lock::acquire(path, "quintile, finishing a restore") {
            Ok(_lock) => swap::finish(path)?,
            Err(LockError::Held { .. }) if Instant::now() < until => thread::sleep(GLANCE),
            Err(LockError::Held { holder, .. }) => {
                bail!("a backup is being put in the place of {} by {holder}; try again", path.display())
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The smallest write that reaches the disk: sets the schema version to what it is. Shows that the
/// database can be written without leaving a trace in it.
///
/// # Errors
/// The database cannot be written.
pub fn touch(tx: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    tx.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// For a bulk job that comes to making an index: SQLite sorts in as much memory as pages may take, beside
/// them. What it does then goes through the file in order, for which few pages are enough.
///
/// # Errors
/// Those of SQLite.
pub fn keep_few_pages(tx: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    const KIB: i64 = 12_000;
    let _ = tx.cache_flush(); // those that must be written cannot be dropped; with a reader they stay
    tx.pragma_update(None, "cache_size", -KIB)
}

/// Brings what SQLite knows of the spread of values up to date, where much has changed; looks at a part of
/// each index only.
///
/// # Errors
/// Those of SQLite.
pub fn optimize(tx: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    tx.execute_batch("PRAGMA optimize")
}

/// Settings of every connection, writer and reader.
fn configure(connection: &Connection) -> rusqlite::Result<()> {
    turns::wait_for_locks(connection)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}
