//! Once a day, what is not kept for ever is forgotten.

use std::{path::PathBuf, time::Duration};

use rusqlite::{Connection, Transaction};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    db::{Readers, Writer, is_said},
    intake::{inbox, privacy::answers, uploads::Uploads},
    model::Timestamp,
    outbox,
    scoring::clock_suspect,
};

/// Rows per transaction: orders get in between.
const SLICE: usize = 1000;
const EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// Forgets at start and then once a day, until `shutdown`. A failure is logged and tried again the
/// next day: nothing depends on it.
pub(super) async fn run(store: Store, clock: Clock, shutdown: CancellationToken) {
    loop {
        let now = clock.now();
        let swept = tokio::select! {
            swept = store.sweep(now) => swept,
            () = shutdown.cancelled() => return,
        };
        match swept {
            Ok(Forgotten { deliveries: 0, messages: 0, answers: 0 }) => {}
            Ok(Forgotten { deliveries, messages, answers }) => {
                tracing::info!(deliveries, messages, answers, "forgot the bodies of old deliveries and messages");
            }
            Err(error) if is_said(&error) => {}
            Err(error) => {
                let error = format!("{error:#}");
                tracing::error!(error, "what is old was not all forgotten; tried again tomorrow");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// How many bodies and files were forgotten.
#[derive(Debug, Default, PartialEq, Eq)]
struct Forgotten {
    /// Of what was sent.
    deliveries: usize,
    /// Of what the shop sent.
    messages: usize,
    /// Files that answered requests for data.
    answers: usize,
}

/// What has something to forget.
pub(super) struct Store {
    pub readers: Readers,
    pub writer: Writer,
    pub uploads: Uploads,
    /// The database's file; answers lie beside it.
    pub database: PathBuf,
}

impl Store {
    /// Forgets everything whose time is over at `now`: nothing under a clock that is not believed.
    async fn sweep(&self, now: Timestamp) -> anyhow::Result<Forgotten> {
        if self.readers.read(move |connection| Ok(clock_suspect(connection, now)?)).await?.is_some() {
            return Ok(Forgotten::default());
        }
        let next = move |walk: &mut outbox::Expired, connection: &Connection| walk.next(connection, now, SLICE);
        let deliveries = self.walk(next, outbox::forget).await?;
        let next = move |walk: &mut inbox::Expired, connection: &Connection| walk.next(connection, now, SLICE);
        let messages = self.walk(next, inbox::forget).await?;
        self.uploads.forget_old(now).await?;
        let (writer, database) = (self.writer.clone(), self.database.clone());
        let answers = tokio::task::spawn_blocking(move || answers::forget_old(&writer, &database, now)).await??;
        Ok(Forgotten { deliveries, messages, answers })
    }

    /// Takes slices from a walk, until `next` has no other, and forgets each. Returns how many rows that were.
    async fn walk<W, N>(
        &self,
        next: N,
        forget: fn(&Transaction<'_>, &[i64]) -> rusqlite::Result<usize>,
    ) -> anyhow::Result<usize>
    where
        W: Default + Send + 'static,
        N: Fn(&mut W, &Connection) -> rusqlite::Result<Option<Vec<i64>>> + Copy + Send + 'static,
    {
        let (mut walk, mut forgotten) = (W::default(), 0);
        loop {
            let (walked, ids) = self
                .readers
                .read(move |connection| {
                    let ids = next(&mut walk, connection)?;
                    Ok((walk, ids))
                })
                .await?;
            walk = walked;
            let Some(ids) = ids else { return Ok(forgotten) };
            if !ids.is_empty() {
                forgotten += self.writer.write(move |tx| Ok(forget(tx, &ids)?)).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::SystemTime};

    use super::*;
    use crate::db::Database;

    #[tokio::test]
    async fn a_clock_that_is_not_believed_forgets_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&folder.path().join("shop.db"), "test").unwrap();
        let now = Timestamp::parse_rfc3339("2026-11-26T12:00:00Z").unwrap();
        let old = now.plus_millis(-100 * Timestamp::DAY);
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
                tx.execute(
                    "INSERT INTO inbox (source, topic, body_hash, headers, body, state, received_at)
                     VALUES ('shopify', 'orders/create', zeroblob(32), '{}', x'7b7d', 'done', ?1)",
                    [old],
                )?;
                tx.execute(
                    "INSERT INTO imports (file_name, state, report, created_at, finished_at)
                     VALUES ('old.csv', 'done', '{}', ?1, ?1)",
                    [old],
                )?;
                Ok(())
            })
            .await
            .unwrap();
        let uploads = Uploads::new(Arc::default(), &database, Clock::system());
        let path = database.path().to_owned();
        let store =
            Store { readers: database.readers().clone(), writer: database.writer().clone(), uploads, database: path };
        let answer = |number: i64, days: i64| {
            let path = folder.path().join(format!("data-request-{number}.json"));
            let made = SystemTime::UNIX_EPOCH
                + Duration::from_millis(now.plus_millis(-days * Timestamp::DAY).millis().unsigned_abs());
            std::fs::File::create(&path).unwrap().set_modified(made).unwrap();
            path
        };
        let (old, new) = (answer(1, 30), answer(2, 28));
        let imports = || {
            let reader = database.readers().get().unwrap();
            reader.query_row("SELECT count(*) FROM imports", [], |row| row.get::<_, i64>(0)).unwrap()
        };
        for wrong in [now.plus_millis(500 * Timestamp::DAY), now.plus_millis(-Timestamp::DAY)] {
            assert_eq!((store.sweep(wrong).await.unwrap(), imports()), (Forgotten::default(), 1));
            assert!(old.exists() && new.exists());
        }
        let tomorrow = now.plus_millis(Timestamp::DAY);
        let forgotten = Forgotten { deliveries: 1, messages: 1, answers: 1 };
        assert_eq!((store.sweep(tomorrow).await.unwrap(), imports()), (forgotten, 0));
        assert!(!old.exists() && new.exists());
    }
}
