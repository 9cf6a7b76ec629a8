//! Why a database cannot be opened at a moment, where that may pass without anybody's help: another program
//! has it, its disk is full or failing. And the write that shows whether it has passed.

use std::{
    io::{self, ErrorKind, Write},
    path::Path,
};

use anyhow::Context;
use rusqlite::{Error, ErrorCode, TransactionBehavior};

use super::{
    Database, LockError, condition::obstacle, folder_of, holder, log, make_private_key, tells_of_damage, touch,
};

/// Another program has the file and shares it with nobody.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} is written by {holder}, which shares it with nobody, as the first import of a shop; try again when that is done"
)]
pub(super) struct Unshared {
    path: String,
    holder: String,
}

impl Unshared {
    pub fn now(path: &Path) -> Self {
        let holder = holder::writing_elsewhere(path).unwrap_or_else(|| "another program".to_owned());
        Self { path: path.display().to_string(), holder }
    }
}

/// What goes before a migration could not be done. Whoever has just brought a newer program is there to read
/// it, and trying again and again would fill what is left of the disk each time.
#[derive(Debug, thiserror::Error)]
#[error("the database could not be backed up first, so nothing was changed")]
pub(super) struct NotKept;

/// What `error`, which [`Database::open`] or [`Database::try_out`] gave for the file at `database`, waits
/// for: a sentence without its full stop. `None`: it will not pass by itself.
#[must_use]
pub fn passing(error: &anyhow::Error, database: &Path) -> Option<String> {
    if tells_of_damage(error) || error.is::<NotKept>() {
        return None;
    }
    error.chain().find_map(|cause| {
        if cause.is::<Unshared>() {
            return Some(of_another_program(database));
        }
        if let Some(error) = cause.downcast_ref() {
            return of_sqlite(error, database);
        }
        let error = match cause.downcast_ref() {
            Some(LockError::Io { error, .. }) => Some(error),
            _ => cause.downcast_ref(),
        };
        error.and_then(of_system).map(str::to_owned)
    })
}

fn of_sqlite(error: &Error, database: &Path) -> Option<String> {
    let of_folder = || write_beside(database).err().as_ref().and_then(of_system);
    let reason = match error.sqlite_error_code()? {
        ErrorCode::DatabaseBusy => return Some(of_another_program(database)),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => None,
        // SQLite does not tell why it cannot make the files that it keeps beside the database, and of one that
        // cannot grow it tells no more than of a disk that fails.
        ErrorCode::CannotOpen => of_folder(),
        ErrorCode::SystemIoFailure => of_folder().or_else(|| obstacle(error)),
        _ => obstacle(error),
    };
    reason.map(str::to_owned)
}

fn of_another_program(database: &Path) -> String {
    let holder = holder::writing_elsewhere(database).map(|holder| format!(": {holder}"));
    format!("another program is writing to the file{}", holder.unwrap_or_default())
}

fn of_system(error: &io::Error) -> Option<&'static str> {
    const FAILING: i32 = 5; // EIO has no kind of its own
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some("the disk is full"),
        _ if error.raw_os_error() == Some(FAILING) => Some("the disk is failing"),
        _ => None,
    }
}

/// A file without a name in the folder of the database, gone at once.
fn write_beside(database: &Path) -> io::Result<()> {
    tempfile::tempfile_in(folder_of(database))?.write_all(&[0; 4096])
}

impl Database {
    /// Writes what a server needs in any case, and waits until it is on the disk; beside the writer, which
    /// would say of each failure in the log.
    ///
    /// # Errors
    /// Nothing can be written at this moment, or at all: [`passing`] tells.
    pub fn try_out(&self) -> anyhow::Result<()> {
        let tried = log::open(&self.path).and_then(|mut connection| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            touch(&transaction)?;
            make_private_key(&transaction)?;
            transaction.commit()
        });
        tried.with_context(|| format!("cannot write {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn what_may_pass_by_itself_is_waited_for_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let sqlite =
            |code| anyhow::Error::new(Error::SqliteFailure(ffi::Error::new(code), None)).context("cannot read");
        let system = |code| io::Error::from_raw_os_error(code);
        let lock = |error| LockError::Io { path: "quintile.db.lock".to_owned(), error };
        let not_kept = Err::<(), _>(sqlite(ffi::SQLITE_FULL)).context(NotKept).context("cannot bring it up");
        for (error, waits_for) in [
            (sqlite(ffi::SQLITE_FULL), Some("the disk is full")),
            (sqlite(ffi::SQLITE_IOERR_SHMSIZE), Some("the disk is full or failing")),
            (sqlite(ffi::SQLITE_BUSY), Some("another program is writing to the file")),
            (Unshared::now(folder.path()).into(), Some("another program is writing to the file")),
            (lock(system(28)).into(), Some("the disk is full")),
            (lock(system(5)).into(), Some("the disk is failing")),
            (anyhow::Error::new(system(122)).context("cannot create quintile.db"), Some("the disk is full")),
            (not_kept.unwrap_err(), None),
            (sqlite(ffi::SQLITE_CORRUPT), None),
            (sqlite(ffi::SQLITE_NOTADB), None),
            (sqlite(ffi::SQLITE_READONLY), None),
            (sqlite(ffi::SQLITE_CANTOPEN), None), // the folder can be written
            (lock(system(30)).into(), None),      // read-only
            (lock(system(13)).into(), None),      // denied
            (LockError::Held { database: String::new(), holder: String::new(), has_opened: false }.into(), None),
            (anyhow!("not a quintile database"), None),
        ] {
            assert_eq!(passing(&error, &folder.path().join("quintile.db")).as_deref(), waits_for, "{error:#}");
        }
    }
}
