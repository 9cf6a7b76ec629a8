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
use tokio::time::timeout;

use super::{
    Problem,
    buckets::{Buckets, Client},
    room::{Place, Room},
};
use crate::{
    config::Webhooks,
    web::{Limits, peer},
};

/// A body up to this, in bytes, is read without a place in the [`Room`]: orders have a tenth of it. With
/// all connections busy 64 MiB.
const SMALL: usize = 256 * 1024;

/// Who has paid for a request, and out of which bucket.
#[derive(Clone, Copy)]
struct Paid {
    payer: IpAddr,
    bucket: Client,
}

/// A body that is there, and nothing is known of who signed it. Only [`Gate::signed_well`] hands it out.
pub(super) struct Arrived {
    body: Vec<u8>,
    place: Option<Place>,
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
    /// Largest body, in bytes.
    largest: usize,
    buckets: Mutex<Buckets>,
    room: Room,
}

impl Gate {
    pub(super) fn new(limits: Limits, webhooks: &Webhooks) -> Arc<Self> {
        let largest = webhooks.body_limit_mib as usize * 1024 * 1024;
        Arc::new(Self { limits, largest, buckets: Mutex::default(), room: Room::default() })
    }

    /// Middleware around what takes messages.
    pub(super) async fn admit(State(gate): State<Arc<Self>>, mut request: Request, next: Next) -> Response {
        if let Some(payer) = payer(&request) {
            let taken = gate.buckets().take(payer, Instant::now());
            match taken {
                Ok(bucket) => request.extensions_mut().insert(Paid { payer, bucket }),
                Err(wait_s) => return Problem::too_many(wait_s).into_response(),
            };
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
        let paid: Option<Paid> = parts.extensions.remove();
        let reading = self.read_all(body, paid.map(|paid| paid.payer));
        let (body, place) = timeout(self.limits.body, reading).await.unwrap_or_else(|_| {
            let time = self.limits.body;
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, format!("the body took longer than {time:?}")))
        })?;
        Ok(Arrived { body, place, paid })
    }

    /// What is taken: its signature is good, so it cost nothing, whatever becomes of it. A large body comes
    /// with its place in memory, to be kept as long as the body is.
    pub(super) fn signed_well(&self, mut arrived: Arrived) -> (Vec<u8>, Option<Place>) {
        if let Some(paid) = arrived.paid {
            self.buckets().give_back(paid.bucket);
        }
        if let Some(place) = &mut arrived.place {
            place.signed_well();
        }
        (arrived.body, arrived.place)
    }

    async fn read_all(&self, body: Body, payer: Option<IpAddr>) -> Result<(Vec<u8>, Option<Place>), Problem> {
        // Refused before it is read, where its size is told.
        let told = usize::try_from(body.size_hint().lower()).ok().filter(|told| *told <= self.largest);
        let told = told.ok_or_else(|| Problem::too_large(self.largest))?;
        let (mut read, mut place) = (Vec::with_capacity(told.min(SMALL)), None);
        let mut pieces = body.into_data_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the body did not arrive whole"))?;
            if read.len() + piece.len() > self.largest {
                return Err(Problem::too_large(self.largest));
            }
            if place.is_none() && read.len() + piece.len() > SMALL {
                let free = timeout(self.limits.body / 2, self.room.take(payer));
                place = Some(free.await.ok().flatten().ok_or_else(Problem::busy)?);
                read.reserve_exact(told.saturating_sub(read.len()));
            }
            read.extend_from_slice(&piece);
        }
        Ok((read, place))
    }
}

/// Whose bucket pays, and whose places in memory are taken; `None`: nobody's.
///
/// Through a tunnel everybody comes from this machine, the shop as well as whoever found the address.
/// If they shared a bucket, a stranger would empty it for the shop. So who comes from here pays out of
/// the bucket of the address that the tunnel names; where it names none, or none from elsewhere, nobody
/// pays, and the number of connections and of large bodies has to be limit enough. The same holds for a
/// proxy in the same network. A stranger from elsewhere cannot choose a bucket: their own address counts.
fn payer(request: &Request) -> Option<IpAddr> {
    let peer = peer::address(request)?;
    let payer = if peer::is_near(peer) { peer::forwarded_for(request.headers())? } else { peer };
    Some(peer::network(payer))
}
