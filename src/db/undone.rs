//! Why a group of writes was undone, for its callers and for whoever looks at the program; and who says so in
//! the log.

use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::{Condition, condition::obstacle, holder, writer::QueueFull};

/// Why a group was undone.
pub(super) struct Undone {
    pub error: String,
    /// Nothing can be written at all.
    pub is_trouble: bool,
}

/// The group that a write belonged to was undone.
#[derive(Debug, thiserror::Error)]
#[error("the database could not be written: {0}")]
struct NotWritten(String);

impl Undone {
    /// Notes in `condition` what it shows. The answers of SQLite leave out who holds the file.
    pub fn by(error: &anyhow::Error, connection: &Connection, condition: &Condition) -> Self {
        condition.notice_write(error);
        let is_trouble = tells_of_trouble(error);
        let code = error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
        let holder = match code {
            Some(ErrorCode::DatabaseBusy) => {
                connection.path().and_then(|path| holder::writing_elsewhere(Path::new(path)))
            }
            _ => None,
        };
        let Some(holder) = holder else { return Self { error: error.to_string(), is_trouble } };
        let reason = format!("another program is writing to the file: {holder}");
        condition.note_trouble(reason.clone());
        Self { error: format!("{error}; {reason}"), is_trouble }
    }

    /// For a job of the group.
    pub fn to_error(&self) -> anyhow::Error {
        NotWritten(self.error.clone()).into()
    }
}

/// Whether the writer itself has logged why this write failed, so that its caller need not: where nothing can
/// be written, there are many callers.
#[must_use]
pub fn is_said(error: &anyhow::Error) -> bool {
    tells_of_trouble(error) || error.chain().any(|cause| cause.is::<QueueFull>() || cause.is::<NotWritten>())
}

/// Whether nothing can be written at all.
pub(super) fn tells_of_trouble(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.downcast_ref().and_then(obstacle).is_some())
}
