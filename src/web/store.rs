//! Writing what a request brought.

use rusqlite::Transaction;
use tokio::sync::Notify;

use crate::{db::Writer, outbox::has_unqueued};

/// Runs `job` in a transaction; after its commit, wakes the forwarder if there is an event for it.
///
/// # Errors
/// [`QueueFull`](crate::db::QueueFull) when too many writes wait; those of `job`, of which then
/// nothing is stored.
pub async fn store<T: Send + 'static>(
    writer: &Writer,
    wake: &Notify,
    job: impl FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let (stored, is_news) = writer.try_write(move |tx| Ok((job(tx)?, has_unqueued(tx)?))).await?;
    if is_news {
        wake.notify_one();
    }
    Ok(stored)
}
