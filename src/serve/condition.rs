//! Watches over the file: ends the program when it is damaged, and notices that it can be written again.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::db::{Database, touch};

/// While nothing can be written it is tried so often; otherwise only those who write notice. As often it is
/// looked whether there is more to say of that.
const AGAIN: Duration = Duration::from_secs(5);

/// Until `shutdown`.
///
/// # Errors
/// The file is damaged: going on would be to trust what it says.
pub(super) async fn watch(database: Arc<Database>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let condition = database.condition();
    loop {
        tokio::select! {
            damaged = condition.damaged() => return Err(damaged.into()),
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(AGAIN) => {}
        }
        condition.remind();
        if condition.trouble().is_some() {
            // Success is what it takes, and it is noted by the writer.
            let _ = database.writer().try_write(|tx| Ok(touch(tx)?)).await;
        }
    }
}
