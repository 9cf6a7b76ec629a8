//! A receiver of our own webhooks that checks every signature and counts: what the demo sends to,
//! and an example of the receiving side.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};

use crate::{
    clock::Clock,
    config::Secret,
    intake::signature::{self, Standard},
};

/// What came in so far. Cheap to clone; clones share the counts.
#[derive(Clone)]
pub struct Receiver {
    secrets: Arc<[Secret]>,
    clock: Clock,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// `webhook-id`s: the same message may come twice.
    messages: HashSet<String>,
    refused: u64,
}

impl Receiver {
    /// Accepts what `secret` signed, judged by `clock`.
    #[must_use]
    pub fn new(secret: Secret, clock: Clock) -> Self {
        Self { secrets: [secret].into(), clock, seen: Arc::default() }
    }

    /// `POST /` takes a message: 204, or 401 for a signature that does not hold.
    pub fn router(&self) -> Router {
        Router::new().route("/", post(take)).with_state(self.clone())
    }

    /// Different messages with a good signature.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).messages.len()
    }

    /// Requests without one.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).refused
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let standard = Standard {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    let verdict = signature::standard_webhooks(&receiver.secrets, standard, &body, receiver.clock.now());
    let mut seen = receiver.seen.lock().unwrap_or_else(PoisonError::into_inner);
    if verdict.is_ok() {
        seen.messages.insert(standard.id.to_owned());
        StatusCode::NO_CONTENT
    } else {
        seen.refused += 1;
        StatusCode::UNAUTHORIZED
    }
}
