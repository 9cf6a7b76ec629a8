//! Being told to stop.

use tokio_util::sync::CancellationToken;

/// Cancelled at the first SIGTERM or Ctrl-C. A second one ends the process at once.
pub fn stop_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let stop = token.clone();
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        loop {
            #[cfg(unix)]
            let term = terminate.recv();
            #[cfg(not(unix))]
            let term = std::future::pending::<Option<()>>();
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = term => {}
            }
            if stop.is_cancelled() {
                std::process::exit(130);
            }
            stop.cancel();
        }
    });
    Ok(token)
}

/// Wakes `wake` whenever another command wrote something into the database that this process has
/// (see [`crate::db::Database::nudge`]). Where there are no such signals it does nothing.
pub fn listen_for_nudges(wake: std::sync::Arc<tokio::sync::Notify>) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        // A terminal that is resized sends it too: one look at the queue too many.
        let mut nudged = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::window_change())?;
        tokio::spawn(async move {
            while nudged.recv().await.is_some() {
                wake.notify_one();
            }
        });
    }
    #[cfg(not(unix))]
    drop(wake);
    Ok(())
}
