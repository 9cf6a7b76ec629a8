//! Pulls by itself while `serve` runs.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    Busy, Ended, Sync,
    log::{self, State},
    schedule::{self, Last},
};
use crate::{model::Timestamp, outbox::has_unqueued};

/// How often it is asked whether a pull is due.
const BEAT: Duration = Duration::from_secs(60);

impl Sync {
    /// Pulls if a pull is due; `scoring`: the next time that customers are scored.
    ///
    /// # Errors
    /// As [`Sync::run`].
    pub async fn beat(&self, scoring: Option<Timestamp>) -> anyhow::Result<Option<Ended>> {
        let (latest, failures) = self
            .database
            .readers()
            .read(|connection| Ok((log::latest(connection)?, log::history(connection)?.failures)))
            .await?;
        let last = latest.map(|entry| Last {
            state: entry.state,
            started_at: entry.started_at,
            finished_at: entry.finished_at,
            failures,
        });
        match schedule::due(last, self.every_hours, scoring, self.clock.now()) {
            Some(trigger) => self.run(trigger, false).await.map(Some),
            None => Ok(None),
        }
    }

    /// Whether orders that came in became events.
    async fn has_news(&self) -> bool {
        self.database.readers().read(|connection| Ok(has_unqueued(connection)?)).await.unwrap_or(false)
    }
}

/// Pulls whenever it is due, until `shutdown`; a pull that is going on then is dropped where it is and
/// goes on there after the next start. `wake` is told when there is something for the forwarder.
pub async fn watch(
    sync: Sync,
    scoring: impl Fn() -> Option<Timestamp> + Send,
    wake: Arc<Notify>,
    shutdown: CancellationToken,
) {
    loop {
        let next_scoring = scoring();
        let beaten = tokio::select! {
            beaten = sync.beat(next_scoring) => beaten,
            () = shutdown.cancelled() => return,
        };
        match beaten {
            Ok(None) => {}
            Ok(Some(ended)) => {
                report(&ended);
                if sync.has_news().await {
                    wake.notify_one();
                }
            }
            Err(error) if error.is::<Busy>() => tracing::debug!(%error, "no pull was started"),
            Err(error) => tracing::error!(error = format!("{error:#}"), "no pull was started"),
        }
        tokio::select! {
            () = sync.timer.sleep(BEAT) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

fn report(ended: &Ended) {
    let entry = &ended.entry;
    let (orders, customers, missed) = (entry.counts.orders, entry.counts.customers, entry.counts.missed);
    if entry.state == State::Done {
        tracing::info!(orders = orders.read, customers = customers.read, missed, "pulled from the shop");
    } else {
        let error = entry.error.as_deref().unwrap_or_default();
        tracing::error!(
            error,
            orders = orders.read,
            "the pull from the shop did not get to its end; it is tried again"
        );
    }
}
