//! Once a day, what is not kept for ever is forgotten.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    db::{Readers, Writer},
    model::Timestamp,
    outbox::{self, Expired},
};

/// Deliveries per transaction: orders get in between.
const SLICE: usize = 1000;
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Forgets at start and then once a day, until `shutdown`. A failure is logged and tried again the
/// next day: nothing depends on it.
pub(super) async fn run(readers: Readers, writer: Writer, clock: Clock, shutdown: CancellationToken) {
    let mut expired = Expired::default();
    loop {
        let now = clock.now();
        let swept = tokio::select! {
            swept = sweep(&readers, &writer, expired, now) => swept,
            () = shutdown.cancelled() => return,
        };
        expired = match swept {
            Ok((expired, forgotten)) => {
                tracing::info!(forgotten, "forgot the bodies of old deliveries");
                expired
            }
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "old deliveries were not forgotten; tried again tomorrow"
                );
                Expired::default()
            }
        };
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Forgets everything whose time is over at `now`. Returns where to go on the next day, and how many
/// deliveries there were.
async fn sweep(
    readers: &Readers,
    writer: &Writer,
    mut expired: Expired,
    now: Timestamp,
) -> anyhow::Result<(Expired, usize)> {
    let mut forgotten = 0;
    loop {
        let (next, ids) = readers
            .read(move |connection| {
                let ids = expired.next(connection, now, SLICE)?;
                Ok((expired, ids))
            })
            .await?;
        expired = next;
        if ids.is_empty() {
            return Ok((expired, forgotten));
        }
        forgotten += writer.write(move |tx| Ok(outbox::forget(tx, &ids)?)).await?;
    }
}
