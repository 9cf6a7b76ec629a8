//! What went wrong inside, in words for the merchant. The log has the details. Pure.

use rusqlite::ErrorCode;

/// A failure of ours: what it is, and what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub what: &'static str,
    pub todo: &'static str,
}

/// The fault behind an error that kept a page from being made.
pub fn of(error: &anyhow::Error) -> Fault {
    let sqlite = error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>());
    let (what, todo) = match sqlite.map(rusqlite::Error::sqlite_error_code) {
        Some(Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => {
            ("Another program has the database to itself.", "Load the page again in a moment; if this stays, close it.")
        }
        Some(Some(ErrorCode::DiskFull)) => {
            ("The disk is full, so the database cannot be read.", "Make room on the disk, then load the page again.")
        }
        Some(Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)) => (
            "The database file is damaged.",
            "Run quintile check, then stop quintile and put the last backup back with quintile restore.",
        ),
        Some(Some(
            ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed,
        )) => (
            "The database file cannot be read.",
            "See whether its disk is there and quintile may read it; quintile check names the file.",
        ),
        Some(_) => (
            "The database answered otherwise than this version of quintile expects.",
            "Load the page again; if this stays, quintile check says what is wrong.",
        ),
        None if error.chain().any(<dyn std::error::Error>::is::<r2d2::Error>) => (
            "Every connection to the database is in use.",
            "Load the page again in a moment; if this stays, start quintile again.",
        ),
        None => (
            "Something failed inside quintile.",
            "Load the page again; if this stays, quintile check says what is wrong.",
        ),
    };
    Fault { what, todo }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn every_fault_has_words_and_a_next_step() {
        let sqlite =
            |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), Some("no such table".into()));
        for (code, what) in [
            (rusqlite::ffi::SQLITE_BUSY, "Another program has the database to itself."),
            (rusqlite::ffi::SQLITE_FULL, "The disk is full, so the database cannot be read."),
            (rusqlite::ffi::SQLITE_CORRUPT, "The database file is damaged."),
            (rusqlite::ffi::SQLITE_IOERR_READ, "The database file cannot be read."),
            (rusqlite::ffi::SQLITE_ERROR, "The database answered otherwise than this version of quintile expects."),
        ] {
            let error = Err::<(), _>(sqlite(code)).context("reading runs").unwrap_err();
            assert_eq!(of(&error).what, what, "{code}");
            assert!(of(&error).todo.ends_with('.'));
        }
        assert_eq!(of(&anyhow::anyhow!("a template")).what, "Something failed inside quintile.");
    }
}
