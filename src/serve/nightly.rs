//! After each night's run: what SQLite wants done now and then, a verified backup, an empty log.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    backups::Backups,
    bug::Stopped,
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
                }
            });
            if let Err(error) = worked.await {
                tracing::error!(error = %Stopped::from(error), "the work after the night's run was not done");
            }
        }
    }

    fn tend(&self, now: Timestamp) {
        let writer = self.database.writer();
        if let Err(error) = writer.write_blocking(|tx| Ok(db::optimize(tx)?)) {
            tracing::warn!(error = format!("{error:#}"), "the database was not optimized");
        }
        if let Err(error) = self.look_through() {
            self.database.condition().notice(&error);
            tracing::error!(error = format!("{error:#}"), "the database could not be looked through");
        }
        match self.backups.make(now) {
            Ok(Some(backup)) => {
                for violation in &backup.violations {
                    tracing::error!(violation, "what the database holds does not agree; please report this");
                }
                tracing::info!(path = %backup.path.display(), bytes = backup.bytes, "made a verified backup");
            }
            Ok(None) => {}
            Err(error) => {
                self.database.condition().notice(&error);
                tracing::error!(error = format!("{error:#}"), "no backup was made; tried again within an hour");
            }
        }
        if !self.litestream
            && let Err(error) = self.database.readers().empty_log()
        {
            tracing::warn!(error = format!("{error:#}"), "the log was not emptied");
        }
    }

    /// Reads the whole file: a copy has new indexes, so it would not show that an old one is damaged.
    fn look_through(&self) -> anyhow::Result<()> {
        let connection = self.database.readers().get()?;
        let faults = db::faults(&connection, db::Depth::Everything)?;
        if faults.is_empty() { Ok(()) } else { Err(db::Damaged(faults.join("; ")).into()) }
    }
}
