//! After each night's run: what SQLite wants done now and then, a verified backup, an empty log.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    backups::{Backups, Step},
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
                } else {
                    match worker.backups.failure().map(|failure| failure.step) {
                        Some(Step::Make) => worker.back_up(now),
                        Some(Step::Finish) => worker.finish(now),
                        None => {}
                    }
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
        // A copy has only what is found on the way through tables and indexes, so it would not show all damage.
        if let Err(error) = db::look_through(self.database.path(), self.database.ending()) {
            self.database.condition().notice(&error);
            if !self.database.ending().is_near() {
                tracing::error!(error = format!("{error:#}"), "the database could not be looked through");
            }
        }
        // The end that follows from damage takes a moment to come. Until then a copy may look whole, and would be
        // the one that is named to go back to.
        if self.database.ending().is_near() || self.database.condition().damage().is_some() {
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
                self.finish(now);
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

    /// What follows a backup, alone: where the second folder is away for a day, there are not 24 of them.
    fn finish(&self, now: Timestamp) {
        if let Err(error) = self.backups.finish(now)
            && !self.database.ending().is_near()
        {
            let error = format!("{error:#}");
            tracing::error!(error, "a backup was made, but not all that follows; that is tried again within an hour");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::config::Config;

    fn nightly(config: &Config, litestream: bool) -> Nightly {
        let database = Arc::new(Database::open(&config.database.path, "test").unwrap());
        Nightly {
            backups: Backups::from_config(config).until(database.ending()),
            clock: Clock::system(),
            over: Arc::default(),
            database,
            litestream,
        }
    }

    fn config_in(folder: &Path) -> Config {
        let mut config = Config::default();
        config.database.path = folder.join("shop.db");
        config.backup.folder = folder.join("nights");
        config
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !name.contains(".shop"));
        names.sort();
        names
    }

    /// A program whose clock goes as the test's does, which passes an hour at once when nothing is left to do.
    #[tokio::test(start_paused = true)]
    async fn each_hour_what_failed_is_tried_again_and_nothing_else() {
        const HOUR: Duration = Duration::from_secs(60 * 60);
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.database.path = folder.path().join("shop.db");
        config.backup.folder = folder.path().join("nights");
        config.backup.copy_to = folder.path().join("second");
        let [nights, second] = [&config.backup.folder, &config.backup.copy_to];
        let database = Arc::new(Database::open(&config.database.path, "test").unwrap());
        let (noon, start) = (Timestamp::parse_rfc3339("2026-11-02T12:00:00Z").unwrap(), Instant::now());
        let over = Arc::new(Notify::new());
        let nightly = Nightly {
            database: Arc::clone(&database),
            backups: Backups::from_config(&config).until(database.ending()),
            clock: Clock::from_fn(move || noon.plus_millis(i64::try_from(start.elapsed().as_millis()).unwrap())),
            over: Arc::clone(&over),
            litestream: false,
        };
        let (backups, shutdown) = (nightly.backups.clone(), CancellationToken::new());
        let running = tokio::spawn(nightly.run(shutdown.clone()));
        sleep(HOUR / 2).await;

        // None can be made.
        fs::write(nights, "no folder").unwrap();
        sleep(HOUR).await;
        assert_eq!(backups.failure().unwrap().step, Step::Make);
        fs::remove_file(nights).unwrap();
        sleep(HOUR).await;
        // It is made, and cannot be copied: from then on only that is tried.
        let made = ["shop-20261102T140000Z.db"];
        for _ in 0..3 {
            assert_eq!(
                (backups.failure().unwrap().step, names(nights)),
                (Step::Finish, made.map(str::to_owned).to_vec())
            );
            sleep(HOUR).await;
        }
        fs::create_dir(second).unwrap();
        sleep(HOUR).await;
        assert_eq!(
            (backups.failure(), names(nights), names(second)),
            (None, names(second), made.map(str::to_owned).to_vec())
        );
        // All is well: nothing is done until the night is over, or a day has none.
        sleep(15 * HOUR).await;
        assert_eq!(names(nights), made);
        over.notify_one();
        sleep(HOUR / 100).await;
        assert_eq!(names(nights).len(), 2);
        sleep(27 * HOUR).await;
        assert_eq!((names(nights).len(), names(second)), (3, names(nights)));
        shutdown.cancel();
        running.await.unwrap();
    }

    #[test]
    fn the_log_is_emptied_unless_it_is_left_to_litestream() {
        for litestream in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let config = config_in(folder.path());
            let nightly = nightly(&config, litestream);
            nightly.database.writer().write_blocking(|tx| Ok(db::touch(tx)?)).unwrap();
            nightly.tend(nightly.clock.now());
            assert_eq!(names(&config.backup.folder).len(), 1);
            let log = fs::metadata(folder.path().join("shop.db-wal")).unwrap().len();
            assert_eq!(log > 0, litestream, "{log} bytes");
        }
    }

    /// Nobody waits for the end of the program, which comes after this.
    #[test]
    fn a_damaged_database_gets_no_backup() {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(folder.path());
        let nightly = nightly(&config, false);
        // A page that nothing refers to: the copy has not got it, and is whole.
        rusqlite::Connection::open(&config.database.path)
            .unwrap()
            .execute_batch(
                "CREATE TABLE lost (text); PRAGMA writable_schema = ON;
                 DELETE FROM sqlite_schema WHERE name = 'lost'; PRAGMA writable_schema = RESET",
            )
            .unwrap();
        nightly.tend(nightly.clock.now());
        let damage = nightly.database.condition().damage().unwrap().to_string();
        assert!(damage.contains("never used"), "{damage}");
        assert!(!nightly.database.ending().is_near());
        assert_eq!(names(&config.backup.folder), [""; 0]);
    }
}
