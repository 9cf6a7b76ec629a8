//! What a service manager that waits for it is told (systemd's `Type=notify` and `WatchdogSec=`): ready,
//! still alive, stopping. Where there is none, nothing is told.

use std::{pin::pin, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use sd_notify::NotifyState;

use crate::db::Writer;

/// Tells that everything runs, then again and again that the database still answers, then that it
/// stops; until `stop`. A no of the database is an answer too: a full disk does not heal by a restart.
pub async fn keep_told(status: &str, started: &Notify, writer: &Writer, stop: &CancellationToken) {
    if stop.run_until_cancelled(started.notified()).await.is_some() {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
        stop.run_until_cancelled(stay_alive(writer)).await;
    }
    stop.cancelled().await;
    tell(&[NotifyState::Stopping]);
}

/// Tells why it is not ready yet, and that the service manager is to wait for that as well.
pub fn keep_waiting(reason: &str) {
    /// As `TimeoutStartSec=` of the units: what comes then may take as long as without.
    const AS_LONG: Duration = Duration::from_secs(30 * 60);
    let extended = u32::try_from(AS_LONG.as_micros()).unwrap_or(u32::MAX);
    tell(&[NotifyState::Status(reason), NotifyState::ExtendTimeoutUsec(extended)]);
}

/// Twice in each period that the service manager waits for a sign of life, or nearly so.
async fn stay_alive(writer: &Writer) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    loop {
        answered_or_works(writer, period / 4).await;
        tell(&[NotifyState::Watchdog]);
        tokio::time::sleep(period / 2).await;
    }
}

/// Returns when the database answers; or when it has got on meanwhile with what it is at, looked at each
/// `patience`: the night of a large shop on a slow disk may keep others waiting for longer than a period.
async fn answered_or_works(writer: &Writer, patience: Duration) {
    let mut answer = pin!(writer.write(|_| Ok(())));
    loop {
        let before = writer.steps();
        let is_late = tokio::time::timeout(patience, &mut answer).await.is_err();
        if !is_late || writer.steps() != before {
            return;
        }
    }
}

fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        tracing::warn!(%error, "the service manager could not be told; it may restart quintile");
    }
}
