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
    loop {
        let now = clock.now();
        let swept = tokio::select! {
            swept = sweep(&readers, &writer, now) => swept,
            () = shutdown.cancelled() => return,
        };
        match swept {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "forgot the bodies of old deliveries"),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "old deliveries were not forgotten; tried again tomorrow");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Forgets everything whose time is over at `now`. Returns how many deliveries there were.
async fn sweep(readers: &Readers, writer: &Writer, now: Timestamp) -> anyhow::Result<usize> {
    let (mut expired, mut forgotten) = (Expired::default(), 0);
    loop {
        let (next, ids) = readers
            .read(move |connection| {
                let ids = expired.next(connection, now, SLICE)?;
                Ok((expired, ids))
            })
            .await?;
        expired = next;
        let Some(ids) = ids else { return Ok(forgotten) };
        if !ids.is_empty() {
            forgotten += writer.write(move |tx| Ok(outbox::forget(tx, &ids)?)).await?;
        }
    }
}
