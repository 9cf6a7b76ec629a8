//! Serving a router on a socket until told to stop, on terms that let nobody hold it up: see
//! [`Limits`].

mod patient;
mod places;

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::{HeaderValue, header::CONNECTION},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::{patient::Patient, places::Places};
use super::Limits;
use crate::{bug::NoResult, refrain::Refrain};

/// What is read ahead of a connection at most, and written behind: with all connections busy 32 MiB.
const BUFFER: usize = 64 * 1024;
/// The wait after the system could not hand out a connection: no file was free for it, and one is
/// when another connection has ended.
const BREATH: Duration = Duration::from_millis(200);
/// How often it is looked whether there is more to say of connections that were not taken.
const LOOK: Duration = Duration::from_secs(5);

/// The address as people on this machine open it.
#[must_use]
pub fn url(address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        format!("http://localhost:{}", address.port())
    } else {
        format!("http://{address}")
    }
}

/// Answers requests until `shutdown`; then takes no new ones and waits up to `grace` for those in
/// flight. A connection beyond the limit is closed at once: whoever sends webhooks sends them again. While
/// there is no place for another, each connection ends with its next answer.
pub async fn listen(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    grace: Duration,
) {
    let mut connections = JoinSet::new();
    let places = Places::default();
    let mut trouble = Trouble::default();
    let mut look = tokio::time::interval(LOOK);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(ended) = connections.join_next() => {
                note(&ended);
                continue;
            }
            _ = look.tick() => {
                trouble.remind();
                continue;
            }
            () = shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => match places.take(peer.ip(), &limits) {
                Some(place) => {
                    let conversation = converse(stream, peer, router.clone(), limits, places.clone(), shutdown.clone());
                    connections.spawn(async move {
                        conversation.await;
                        drop(place);
                    });
                }
                None => trouble.note_crowd(),
            },
            Err(error) => {
                trouble.note(&error);
                sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    let rest = async {
        while let Some(ended) = connections.join_next().await {
            note(&ended);
        }
    };
    if timeout(grace, rest).await.is_err() && !grace.is_zero() {
        tracing::warn!(grace_s = grace.as_secs(), "closed connections that were still open");
    }
}

/// One connection, from its first byte to its last.
async fn converse(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    limits: Limits,
    places: Places,
    shutdown: CancellationToken,
) {
    let _ = stream.set_nodelay(true); // slower without, not wrong
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        let (answer, places) = (router.clone().oneshot(request), places.clone());
        async move {
            let mut answer = answer.await?;
            if places.are_taken(&limits) {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(answer)
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_header_size(limits.head_bytes)
        .max_buf_size(BUFFER.max(limits.head_bytes));
    let mut connection = pin!(http.serve_connection(TokioIo::new(Patient::new(stream, limits.answer)), service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke off");
    }
}

fn note(ended: &Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(error = %NoResult::from(error), "a connection was not brought to its end");
    }
}

/// Connections that were not taken. Said when it begins and then counted: a flood must not fill the log.
#[derive(Default)]
struct Trouble {
    crowd: Refrain,
    failed: Refrain,
}

impl Trouble {
    fn note_crowd(&mut self) {
        if self.crowd.comes(Instant::now()) {
            tracing::warn!("too many connections are open; new ones are closed at once");
        }
    }

    fn note(&mut self, error: &std::io::Error) {
        if self.failed.comes(Instant::now()) {
            tracing::warn!("a connection could not be taken: {error}");
        }
    }

    fn remind(&mut self) {
        let now = Instant::now();
        if let Some(closed) = self.crowd.due(now) {
            tracing::warn!(closed, "connections were closed at once: too many were open");
        }
        if let Some(failed) = self.failed.due(now) {
            tracing::warn!(failed, "connections could not be taken");
        }
    }
}
