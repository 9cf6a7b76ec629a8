//! The write-ahead log, and who copies it into the file.
//!
//! Usually a commit of the writer does, as soon as there is a little of it. Where there is much, because somebody
//! looked at an old state for long or one write was large, everybody who writes would wait for that, orders first,
//! and so would the end of the program: then a thread of its own copies it beside the writer.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use super::{ending::Ending, files::with_suffix};

/// Pages in the log before a commit copies them: 16 MiB. Each copy waits for the disk twice,
/// and a page that changes again and again is copied once.
pub(super) const FEW: i32 = 4_000;
/// Pages beyond which no commit does, 24 MiB: copying them takes longer than a webhook should wait.
const MANY: i64 = 6_000;
const PAGE_BYTES: u64 = 4096;
/// Between two attempts to copy beside the writer: a reader may still be at an old state.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two looks at how long it is: as much as is written meanwhile it may be longer.
const GLANCE: Duration = Duration::from_millis(200);
/// How long the end of the program waits until the log is copied. The next start reads one that is not.
const CLOSING: Duration = Duration::from_secs(2);

/// What the writer knows of the log.
pub(super) struct Log {
    database: PathBuf,
    path: PathBuf,
    /// Whether a commit copies it, as the connection is set.
    by_commits: bool,
    /// When it was last asked how much is left to copy, and whether that was much.
    asked: Option<(Instant, bool)>,
    /// The other thread is at it.
    is_copied: Arc<AtomicBool>,
    tried_at: Option<Instant>,
}

impl Log {
    pub fn of(connection: &Connection) -> Self {
        let database = PathBuf::from(connection.path().unwrap_or_default());
        let path = with_suffix(&database, "-wal");
        Self { database, path, by_commits: true, asked: None, is_copied: Arc::default(), tried_at: None }
    }

    /// Before a transaction, which may make the log long by itself.
    pub fn prepare(&mut self, connection: &Connection, is_large: bool) -> rusqlite::Result<()> {
        let now = Instant::now();
        // The question costs as much as a small commit.
        let recent = self.asked.filter(|(at, _)| now.saturating_duration_since(*at) < GLANCE);
        let is_long = match recent {
            Some((_, was_long)) => was_long,
            None => self.is_long(connection)?,
        };
        // A large one is asked after at once.
        self.asked = recent.or(Some((now, is_long))).filter(|_| !is_large);
        if is_long {
            self.copy_beside();
        }
        let by_commits = !is_long && !is_large;
        if by_commits != self.by_commits {
            connection.pragma_update(None, "wal_autocheckpoint", if by_commits { FEW } else { 0 })?;
            self.by_commits = by_commits;
        }
        Ok(())
    }

    /// At the end: copies it if that is quick. Otherwise closing the last connection must not do it.
    pub fn can_close(&self, connection: &Connection) -> rusqlite::Result<bool> {
        if !self.is_long(connection)? {
            return Ok(true);
        }
        let (interrupt, (_done, end)) = (connection.get_interrupt_handle(), mpsc::channel::<()>());
        thread::spawn(move || {
            if end.recv_timeout(CLOSING) == Err(mpsc::RecvTimeoutError::Timeout) {
                interrupt.interrupt();
            }
        });
        let _ = copy(connection); // cut off, or the other thread is at it: told by what is left
        Ok(uncopied(connection)? <= MANY)
    }

    fn is_long(&self, connection: &Connection) -> rusqlite::Result<bool> {
        // The file does not get shorter when it was copied: asked first, since that costs next to nothing.
        let bytes = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        Ok(bytes > MANY.unsigned_abs() * PAGE_BYTES && uncopied(connection)? > MANY)
    }

    fn copy_beside(&mut self) {
        let now = Instant::now();
        let is_early = self.tried_at.is_some_and(|at| now.saturating_duration_since(at) < AGAIN);
        if is_early || self.is_copied.swap(true, Ordering::AcqRel) {
            return;
        }
        self.tried_at = Some(now);
        let (database, is_copied) = (self.database.clone(), self.is_copied.clone());
        thread::spawn(move || {
            if let Err(error) = open(&database).and_then(|connection| copy(&connection)) {
                // The writer will meet what it is, and say so.
                tracing::debug!(%error, "the write-ahead log was not copied");
            }
            is_copied.store(false, Ordering::Release);
        });
    }
}

/// A connection beside the writer's.
pub(super) fn open(database: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(database, flags)?;
    super::configure(&connection)?;
    Ok(connection)
}

/// Copies what no reader needs any more, beside the writer. Whether nobody else was at it.
pub(super) fn copy(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get::<_, i64>(0).map(|busy| busy == 0))
}

/// The disk is full: what is copied need not stay in the log, which has room for more then.
pub(super) fn make_room(connection: &Connection) {
    if let Err(error) = copy(connection) {
        tracing::debug!(%error, "the write-ahead log was not copied");
    }
}

/// [`copy`] that waits for somebody else who is at it.
pub(super) fn copy_patiently(connection: &Connection, ending: &Ending) -> rusqlite::Result<()> {
    const BREATH: Duration = Duration::from_millis(50);
    while !copy(connection)? && !ending.is_near() {
        thread::sleep(BREATH);
    }
    Ok(())
}

/// Pages in the log that are not in the file yet.
fn uncopied(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| {
        let (all, copied): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(all - copied)
    })
}
