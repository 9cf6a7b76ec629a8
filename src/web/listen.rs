//! Serving a router on a socket until told to stop.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Answers requests until `shutdown`; then takes no new ones and waits up to `grace` for those in
/// flight.
///
/// # Errors
/// The socket failed.
pub async fn listen(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    grace: Duration,
) -> anyhow::Result<()> {
    let stop = shutdown.clone();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(async move { stop.cancelled().await });
    let overdue = async {
        shutdown.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        served = serving => served.context("a listener failed"),
        () = overdue => {
            tracing::warn!(grace_s = grace.as_secs(), "closed connections that were still open");
            Ok(())
        }
    }
}
