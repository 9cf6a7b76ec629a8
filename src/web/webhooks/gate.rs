//! What a message has to pass before its signature is checked: who sends too much that is not signed is
//! told to wait, and no flood of large bodies fills the memory.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Problem,
    buckets::{Buckets, Client},
};
use crate::{
    intake::MAX_BODY,
    web::{Limits, peer},
};

/// A body up to this, in bytes, is read without asking: orders have a tenth of it. With all
/// connections busy 64 MiB.
const SMALL: usize = 256 * 1024;
/// Larger bodies that are in memory at a time: 64 MiB again.
const LARGE: usize = 8;

/// Whose token a request has taken.
#[derive(Clone, Copy)]
struct Paid(Client);

/// A body that is there, and nothing is known of who signed it. Only [`Gate::signed_well`] hands it out.
pub(super) struct Arrived {
    body: Vec<u8>,
    place: Option<OwnedSemaphorePermit>,
    paid: Option<Paid>,
}

impl Arrived {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.body
    }
}

/// One for all routes that take messages.
pub(super) struct Gate {
    limits: Limits,
    buckets: Mutex<Buckets>,
    large: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, buckets: Mutex::default(), large: Arc::new(Semaphore::new(LARGE)) })
    }

    /// Middleware around what takes messages.
    pub(super) async fn admit(State(gate): State<Arc<Self>>, mut request: Request, next: Next) -> Response {
        match client(&request).map(|client| gate.buckets().take(client, Instant::now())).transpose() {
            Ok(None) => {}
            Ok(Some(client)) => {
                request.extensions_mut().insert(Paid(client));
            }
            Err(wait_s) => return Problem::too_many(wait_s).into_response(),
        }
        next.run(request).await
    }

    /// What a panic left behind is still good: every change here is one step.
    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole body, if it is small and quick enough.
    pub(super) async fn read(&self, request: Request) -> Result<Arrived, Problem> {
        let (mut parts, body) = request.into_parts();
        let (body, place) = timeout(self.limits.body, self.read_all(body)).await.unwrap_or_else(|_| {
            let time = self.limits.body;
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {time:?}")))
        })?;
        Ok(Arrived { body, place, paid: parts.extensions.remove() })
    }

    /// What is taken: its signature is good, so it cost nothing, whatever becomes of it. A large body comes
    /// with its place in memory, to be kept as long as the body is.
    pub(super) fn signed_well(&self, arrived: Arrived) -> (Vec<u8>, Option<OwnedSemaphorePermit>) {
        if let Some(Paid(client)) = arrived.paid {
            self.buckets().give_back(client);
        }
        (arrived.body, arrived.place)
    }

    async fn read_all(&self, body: Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Problem> {
        // Refused before it is read, where its size is told.
        let told = usize::try_from(body.size_hint().lower()).ok().filter(|told| *told <= MAX_BODY);
        let told = told.ok_or_else(Problem::too_large)?;
        let (mut read, mut place) = (Vec::with_capacity(told.min(SMALL)), None);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body did not arrive whole"))?;
            if read.len() + piece.len() > MAX_BODY {
                return Err(Problem::too_large());
            }
            if place.is_none() && read.len() + piece.len() > SMALL {
                let free = timeout(self.limits.body / 2, Arc::clone(&self.large).acquire_owned());
                place = Some(free.await.ok().and_then(Result::ok).ok_or_else(Problem::busy)?);
                read.reserve_exact(told.saturating_sub(read.len()));
            }
            read.extend_from_slice(&piece);
        }
        Ok((read, place))
    }
}

/// Whose bucket pays; `None`: nobody's.
///
/// Through a tunnel everybody comes from this machine, the shop as well as whoever found the address.
/// If they shared a bucket, a stranger would empty it for the shop. So who comes from here pays out of
/// the bucket of the address that the tunnel names; where it names none, or none from elsewhere, nobody
/// pays, and the number of connections and of large bodies has to be limit enough. The same holds for a proxy in the same
/// network. A stranger from elsewhere cannot choose a bucket: their own address counts.
fn client(request: &Request) -> Option<IpAddr> {
    let peer = peer::address(request)?;
    let payer = if peer::is_near(peer) { peer::forwarded_for(request.headers())? } else { peer };
    Some(peer::network(payer))
}
