//! The start of `serve` where the database cannot be used at that moment and may be later by itself: another
//! program is writing to it, its disk is full or failing. A service manager gives up after a few starts, on a
//! machine that nobody looks at; so it is waited here, for as long as it takes.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use tokio_util::sync::CancellationToken;

use super::{Context, service_manager::keep_waiting};
use crate::{
    bug::NoResult,
    db::{self, Database, Lock},
};

/// Between two tries. Each waits for a lock by itself, as long as any statement does.
const PAUSE: Duration = Duration::from_secs(2);
/// What is waited for is said so often.
const EVERY: Duration = Duration::from_secs(60);

/// The database, once it can be written; `None`: told to stop before that.
///
/// # Errors
/// What will not pass by itself: those of [`Context::open_database`].
pub async fn open(context: &Context, stop: &CancellationToken) -> anyhow::Result<Option<Database>> {
    let begun = Instant::now();
    let mut said: Option<(Instant, String)> = None;
    let lock = Arc::default();
    loop {
        let (trying, lock) = (context.clone(), Arc::clone(&lock));
        let tried = tokio::task::spawn_blocking(move || try_to_open(&trying, &lock));
        let Some(tried) = stop.run_until_cancelled(tried).await else { return Ok(None) };
        let error = match tried.map_err(NoResult::from)? {
            Ok(database) => {
                if said.is_some() {
                    tracing::info!(waited_s = begun.elapsed().as_secs(), "the database can be used; starting");
                }
                return Ok(Some(database));
            }
            Err(error) => error,
        };
        let Some(reason) = db::passing(&error, &context.config.database.path) else { return Err(error) };
        keep_waiting(&format!("not started yet: {reason}"));
        if said.as_ref().is_none_or(|(at, before)| *before != reason || at.elapsed() >= EVERY) {
            tracing::error!(error = format!("{error:#}"), "not started yet: {reason}; it starts when that is over");
            said = Some((Instant::now(), reason));
        }
        if stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await.is_none() {
            return Ok(None);
        }
    }
}

/// Keeps the `lock` once it was taken, so that whoever comes meanwhile finds that somebody waits.
fn try_to_open(context: &Context, lock: &OnceLock<Arc<Lock>>) -> anyhow::Result<Database> {
    let path = &context.config.database.path;
    let lock = if let Some(lock) = lock.get() {
        lock
    } else {
        let taken = Lock::acquire(path, "quintile serve")?;
        lock.get_or_init(|| Arc::new(taken))
    };
    context.refuse_empty()?;
    let database = Database::open_under(lock.clone(), path)?;
    database.try_out()?;
    context.check_database(&database)?;
    Ok(database)
}
