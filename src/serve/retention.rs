//! Once a day, what is not kept for ever is forgotten.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    db::{Readers, Writer},
    model::Timestamp,
    outbox::{self, Expired},
    scoring::clock_suspect,
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

/// Forgets everything whose time is over at `now`. Returns how many deliveries there were: none under a clock
/// that is not believed.
async fn sweep(readers: &Readers, writer: &Writer, now: Timestamp) -> anyhow::Result<usize> {
    if readers.read(move |connection| Ok(clock_suspect(connection, now)?)).await?.is_some() {
        return Ok(0);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;

    #[tokio::test]
    async fn a_clock_that_is_not_believed_forgets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("shop.db"), "test").unwrap();
        let now = Timestamp::parse_rfc3339("2026-11-26T12:00:00Z").unwrap();
        let old = now.plus_millis(-40 * Timestamp::DAY);
        database
            .writer()
            .write(move |tx| {
                tx.execute(
                    "INSERT INTO runs (trigger, state, as_of, started_at, scored_at, ties, window_days, rules)
                     VALUES ('manual', 'done', ?1, ?1, ?1, 'together', 0, '')",
                    [now],
                )?;
                tx.execute(
                    "INSERT INTO outbox (event_id, type, at) VALUES (zeroblob(16), 'customer/lapsed', ?1)",
                    [old],
                )?;
                tx.execute(
                    "INSERT INTO deliveries (message_id, destination, seq, state, body, created_at, finished_at)
                     VALUES (zeroblob(16), 'tool', 1, 'delivered', x'7b7d', ?1, ?1)",
                    [old],
                )?;
                Ok(())
            })
            .await
            .unwrap();
        let sweep = |at| sweep(database.readers(), database.writer(), at);
        for wrong in [now.plus_millis(500 * Timestamp::DAY), now.plus_millis(-Timestamp::DAY)] {
            assert_eq!(sweep(wrong).await.unwrap(), 0);
        }
        assert_eq!(sweep(now.plus_millis(Timestamp::DAY)).await.unwrap(), 1);
    }
}
