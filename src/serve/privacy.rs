//! Works off what webhooks ask for somebody's data: searches the inbox for erased people, writes the
//! files of those who asked.

use std::{mem, sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    bug::NoResult,
    db::{Database, folder_of},
    intake::privacy::{self, Worked},
};

/// How long until it is tried again when the disk is full or a file cannot be written.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// Works at start, where a crash may have left something, and whenever it is `asked`, until `shutdown`. Wakes the
/// forwarder when there is something to tell. `litestream`: at start it still copies the log, and is left alone.
pub(super) async fn run(
    database: Arc<Database>,
    litestream: bool,
    asked: Arc<Notify>,
    wake: Arc<Notify>,
    shutdown: CancellationToken,
) {
    let not_done = |error: &String| {
        tracing::error!(error, "a request about a customer's data is not done; tried again in an hour");
    };
    // Whether the log may hold somebody who was erased: also behind a crash.
    let mut log_is_full = database.found_log() && !litestream;
    loop {
        let (worker, stop) = (Arc::clone(&database), shutdown.clone());
        let worked = tokio::task::spawn_blocking(move || work(&worker, log_is_full, &stop)).await;
        match worked {
            Ok(Ok((mut worked, emptied))) => {
                log_is_full &= !emptied;
                mem::take(&mut worked.left).iter().for_each(not_done);
                let Worked { messages, customers, orders, files, deleted, erasures, .. } = &worked;
                if *customers > 0 {
                    wake.notify_one(); // destinations are told of them
                }
                if worked != Worked::default() {
                    tracing::info!(
                        messages,
                        customers,
                        orders,
                        files = files.len(),
                        deleted,
                        erasures,
                        "worked off requests about customers' data"
                    );
                }
            }
            Ok(Err(error)) => not_done(&format!("{error:#}")),
            Err(error) => not_done(&NoResult::from(error).to_string()),
        }
        tokio::select! {
            () = asked.notified() => log_is_full = true,
            () = tokio::time::sleep(AGAIN) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Whether the log was emptied comes second.
fn work(database: &Database, log_is_full: bool, stop: &CancellationToken) -> anyhow::Result<(Worked, bool)> {
    let readers = database.readers();
    let worked = privacy::work_off(readers, database.writer(), folder_of(database.path()), &|| stop.is_cancelled())?;
    let emptied = (log_is_full || worked.erasures > 0) && readers.empty_log()?;
    Ok((worked, emptied))
}
