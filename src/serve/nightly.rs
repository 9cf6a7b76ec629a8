//! After each night's run: what SQLite wants done now and then, a verified backup, an empty log.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    backups::Backups,
    bug::NoResult,
    clock::Clock,
    db::{self, Database},
    model::Timestamp,
};

/// A night without a run still gets its backup, and one that failed is tried again.
const LOOK: Duration = Duration::from_secs(60 * 60);

pub(super) struct Nightly {
    pub database: Arc<Database>,
    pub backups: Backups,
    pub clock: Clock,
    /// Told when a night's run has ended, well or not.
    pub over: Arc<Notify>,
    /// The log is Litestream's to empty.
    pub litestream: bool,
}

impl Nightly {
    /// Until `shutdown`. Failures are logged and shown; the next look tries again.
    pub async fn run(self, shutdown: CancellationToken) {
        let this = Arc::new(self);
        loop {
            let night_is_over = tokio::select! {
                () = this.over.notified() => true,
                () = tokio::time::sleep(LOOK) => false,
                () = shutdown.cancelled() => return,
            };
            let now = this.clock.now();
            let worker = Arc::clone(&this);
            let worked = tokio::task::spawn_blocking(move || {
                if night_is_over || worker.backups.is_overdue(now) {
                    worker.tend(now);
                } else if worker.backups.failure().is_some() {
                    worker.back_up(now);
                }
            });
            if let Err(error) = worked.await {
                tracing::error!(error = %NoResult::from(error), "the work after the night's run was not done");
            }
        }
    }

    /// One after the other until the program is to stop: then the next look, after the next start, makes up
    /// for it.
    fn tend(&self, now: Timestamp) {
        if self.database.ending().is_near() {
            return;
        }
        let writer = self.database.writer();
        if let Err(error) = writer.write_blocking(|tx| Ok(db::optimize(tx)?)) {
            tracing::warn!(error = format!("{error:#}"), "the database was not optimized");
        }
        // A copy has new indexes, so it would not show that an old one is damaged.
        if let Err(error) = db::look_through(self.database.path(), self.database.ending()) {
            self.database.condition().notice(&error);
            if !self.database.ending().is_near() {
                tracing::error!(error = format!("{error:#}"), "the database could not be looked through");
            }
        }
        if self.database.ending().is_near() {
            return;
        }
        self.back_up(now);
        if !self.litestream
            && !self.database.ending().is_near()
            && let Err(error) = self.database.readers().empty_log()
        {
            tracing::warn!(error = format!("{error:#}"), "the log was not emptied");
        }
    }

    fn back_up(&self, now: Timestamp) {
        match self.backups.make(now) {
            Ok(Some(backup)) => {
                for violation in &backup.violations {
                    tracing::error!(violation, "what the database holds does not agree; please report this");
                }
                tracing::info!(path = %backup.path.display(), bytes = backup.bytes, "made a verified backup");
            }
            Ok(None) => {}
            Err(error) if self.database.ending().is_near() => {
                self.database.condition().notice(&error);
                tracing::info!("the backup was cut off by the stop; another is made after the next start");
            }
            Err(error) => {
                self.database.condition().notice(&error);
                tracing::error!(error = format!("{error:#}"), "the backup failed; tried again within an hour");
            }
        }
    }
}
