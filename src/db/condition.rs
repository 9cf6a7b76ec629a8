//! What reads and writes have shown about the file: whether it is damaged, and whether it can be
//! written. Shared by the writer and all readers of a database.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use rusqlite::{Error, ErrorCode};
use tokio::sync::watch;

use super::ending::Ending;
use crate::refrain::Refrain;

/// Why nothing can be written.
const FULL: &str = "the disk is full";

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Condition(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    damage: watch::Sender<Option<String>>,
    trouble: Mutex<Trouble>,
    /// Writes that found the queue full.
    crowd: Mutex<Refrain>,
    ending: Ending,
}

#[derive(Debug, Default)]
struct Trouble {
    /// Why the last writes failed.
    reason: Option<String>,
    /// Noticed since the group of writes began that is going on.
    is_fresh: bool,
    /// Writes that failed for it.
    refused: Refrain,
    /// The log has it, and not yet that it is over.
    is_said: bool,
}

/// The file is not a whole database any more. Nothing is written from then on.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the database is damaged ({0}); nothing more is written to it")]
pub struct Damaged(pub String);

impl Condition {
    /// Looks whether an error of a read tells of damage.
    pub fn notice(&self, error: &anyhow::Error) {
        if let Some(text) = damage(error) {
            self.note_damage(text);
        }
    }

    /// [`Self::notice`] before somebody makes words of it.
    pub(super) fn notice_sqlite(&self, error: &Error) {
        if is_damage(error) {
            self.note_damage(error.to_string());
        }
    }

    /// Looks whether an error of a write tells of damage, or that nothing can be written.
    pub(super) fn notice_write(&self, error: &anyhow::Error) {
        self.notice(error);
        if let Some(reason) = error.chain().find_map(|cause| cause.downcast_ref().and_then(obstacle)) {
            let mut trouble = self.trouble_mut();
            (trouble.reason, trouble.is_fresh) = (Some(reason.to_owned()), true);
        }
    }

    /// The end of the program.
    #[must_use]
    pub fn ending(&self) -> &Ending {
        &self.0.ending
    }

    fn note_damage(&self, text: String) {
        self.0.damage.send_if_modified(|known| {
            let is_new = known.is_none();
            if is_new {
                tracing::error!(error = text, "the database is damaged; nothing more is written to it");
                *known = Some(text);
            }
            is_new
        });
    }

    /// What was seen of damage.
    #[must_use]
    pub fn damage(&self) -> Option<Damaged> {
        self.0.damage.borrow().clone().map(Damaged)
    }

    /// Ends when damage is seen.
    pub async fn damaged(&self) -> Damaged {
        let mut seen = self.0.damage.subscribe();
        let text = seen.wait_for(Option::is_some).await.ok().and_then(|text| text.clone());
        match text {
            Some(text) => Damaged(text),
            None => std::future::pending().await, // not reached: we hold the sender
        }
    }

    /// Why nothing can be written at the moment, a sentence without its full stop.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble_mut().reason.clone()
    }

    /// Nothing can be written since the disk is full.
    pub(super) fn is_full(&self) -> bool {
        self.trouble_mut().reason.as_deref() == Some(FULL)
    }

    pub(super) fn begin_writes(&self) {
        self.trouble_mut().is_fresh = false;
    }

    /// A group of writes was committed.
    pub(super) fn end_writes(&self) {
        let mut trouble = self.trouble_mut();
        // Where it comes and goes all the time, once a minute is enough.
        if !trouble.is_fresh && trouble.reason.take().is_some() && std::mem::take(&mut trouble.is_said) {
            let refused = trouble.refused.take().unwrap_or(0);
            tracing::info!(refused, "the database can be written again");
        }
    }

    /// A write failed because nothing can be written. Said once, and then counted: a flood of them must not
    /// fill what is left of the disk.
    pub(super) fn note_refused(&self) {
        let mut trouble = self.trouble_mut();
        if trouble.refused.comes(Instant::now()) {
            trouble.is_said = true;
            tracing::error!(reason = trouble.reason, "the database cannot be written");
        }
    }

    /// A write found the queue full.
    pub(super) fn note_crowd(&self) {
        if self.crowd_mut().comes(Instant::now()) {
            tracing::warn!("a write was refused: too many are waiting");
        }
    }

    /// Says how many writes were refused since that was last said, if there were any and a minute has passed.
    /// To be called every few seconds.
    pub fn remind(&self) {
        let now = Instant::now();
        if let Some(refused) = self.crowd_mut().due(now) {
            tracing::warn!(refused, "writes were refused: too many were waiting");
        }
        let mut trouble = self.trouble_mut();
        if let Some(refused) = trouble.refused.due(now) {
            trouble.is_said = trouble.reason.is_some();
            tracing::error!(refused, reason = trouble.reason, "the database could not be written");
        }
    }

    pub(super) fn note_trouble(&self, reason: String) {
        let mut trouble = self.trouble_mut();
        (trouble.reason, trouble.is_fresh) = (Some(reason), true);
    }

    fn trouble_mut(&self) -> std::sync::MutexGuard<'_, Trouble> {
        // A sentence has no state in between.
        self.0.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn crowd_mut(&self) -> std::sync::MutexGuard<'_, Refrain> {
        self.0.crowd.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words of SQLite for damage, if `error` tells of it.
fn damage(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| match cause.downcast_ref::<Error>() {
        Some(error) if is_damage(error) => Some(error.to_string()),
        _ => cause.downcast_ref::<Damaged>().map(|Damaged(text)| text.clone()),
    })
}

/// Whether `error` says that the file is not a whole database.
#[must_use]
pub fn tells_of_damage(error: &anyhow::Error) -> bool {
    damage(error).is_some()
}

fn is_damage(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// What keeps a write from the disk, where it is not the write itself.
pub(super) fn obstacle(error: &Error) -> Option<&'static str> {
    Some(match error.sqlite_error_code()? {
        ErrorCode::DiskFull => FULL,
        // Aborted: SQLite took a transaction back by itself, which it does when the disk fails it.
        ErrorCode::SystemIoFailure | ErrorCode::OperationAborted => "the disk is full or failing",
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            "the file or its disk cannot be written"
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => "another program is writing to the file",
        _ => return None,
    })
}
