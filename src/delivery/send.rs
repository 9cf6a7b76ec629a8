//! One request: wait for a connection of the destination, sign, send, judge the reply.

use std::{sync::Arc, time::Instant};

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{
    client::{Client, Exchange, Request},
    destination::Destination,
    retry::{self, Failure, Reply, Try},
    sign,
};
use crate::{
    clock::Clock,
    model::Timestamp,
    outbox::{Claim, Settlement, Verdict, msg_id},
};

const AGENT: &str = concat!("quintile/", env!("CARGO_PKG_VERSION"));

/// What the loop tells the requests.
#[derive(Clone)]
pub struct Signals {
    /// What waits for a connection is given back.
    pub closing: CancellationToken,
    /// What is on its way is cut off.
    pub cut: CancellationToken,
    /// Whether the last write succeeded. While it did not, nothing more is sent: a reply could not
    /// be recorded.
    recordable: watch::Sender<bool>,
}

impl Default for Signals {
    fn default() -> Self {
        Self { closing: CancellationToken::new(), cut: CancellationToken::new(), recordable: watch::Sender::new(true) }
    }
}

impl Signals {
    pub fn set_recordable(&self, recordable: bool) {
        self.recordable.send_if_modified(|now| std::mem::replace(now, recordable) != recordable);
    }

    async fn recordable(&self) {
        // Fails only without a sender, and we are one.
        let _ = self.recordable.subscribe().wait_for(|recordable| *recordable).await;
    }
}

/// A request that ended, to be recorded.
#[derive(Clone)]
pub struct Ended {
    pub route: usize,
    pub settlement: Settlement,
}

impl Ended {
    fn new(claim: &Claim, started_at: Timestamp, verdict: Verdict) -> Self {
        let settlement = Settlement {
            delivery_id: claim.delivery_id,
            token: claim.token.clone(),
            attempt: claim.attempt,
            started_at,
            duration_ms: 0,
            status: None,
            error: None,
            answer: Vec::new(),
            verdict,
        };
        Self { route: claim.route, settlement }
    }

    /// A bug on our side is recorded as a failed attempt, so that it comes to an end.
    pub fn bug(claim: &Claim, now: Timestamp) -> Self {
        let reply = Reply::Failure(Failure::Other("a bug in quintile stopped the request".to_owned()));
        let mut ended = Self::new(claim, now, retry::judge(&reply, this(claim), now));
        ended.settlement.error = retry::explain(&reply, ended.settlement.verdict);
        ended
    }
}

fn this(claim: &Claim) -> Try {
    Try { message_id: claim.message_id, attempt: claim.attempt, counted: claim.counted }
}

/// What a request needs.
pub struct Job {
    pub client: Client,
    pub destinations: Arc<[Destination]>,
    pub clock: Clock,
    pub slots: Arc<Semaphore>,
    pub signals: Signals,
}

impl Job {
    pub async fn send(self, mut claim: Claim) -> Ended {
        let free = async {
            let slot = self.slots.acquire().await;
            self.signals.recordable().await;
            slot
        };
        let _slot = tokio::select! {
            biased;
            () = self.signals.closing.cancelled() => {
                return Ended::new(&claim, self.clock.now(), Verdict::Unsent);
            }
            slot = free => slot,
        };
        let destination = &self.destinations[claim.route];
        let body = std::mem::take(&mut claim.body);
        let (started, started_at) = (Instant::now(), self.clock.now());
        let headers = headers(destination, &claim, started_at, &body);
        let request = Request { method: Method::POST, url: destination.url.clone(), headers, body };
        let exchange = tokio::select! {
            exchange = self.client.send(request) => Some(exchange),
            () = self.signals.cut.cancelled() => None,
        };
        let mut ended = self.end(&claim, destination, started_at, exchange);
        ended.settlement.duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        ended
    }

    /// `exchange`: `None` when it was cut off by a stop.
    fn end(&self, claim: &Claim, to: &Destination, started_at: Timestamp, exchange: Option<Exchange>) -> Ended {
        let now = self.clock.now();
        let Some(exchange) = exchange else {
            // It may have arrived: the attempt counts, and the next one is due at once.
            let mut ended = Ended::new(claim, started_at, Verdict::Retry { at: now, spared: false });
            ended.settlement.error = Some("interrupted".to_owned());
            return ended;
        };
        let verdict = retry::judge(&exchange.reply, this(claim), now);
        let mut ended = Ended::new(claim, started_at, verdict);
        let settlement = &mut ended.settlement;
        settlement.error = retry::explain(&exchange.reply, verdict);
        settlement.answer = exchange.body;
        if let Reply::Answer(answer) = exchange.reply {
            settlement.status = Some(answer.status);
        }
        if let Some(error) = &settlement.error {
            let (delivery_id, attempt) = (claim.delivery_id, claim.attempt);
            tracing::warn!(
                delivery_id,
                attempt,
                destination = to.name,
                error,
                next = describe(verdict),
                "not delivered"
            );
        }
        ended
    }
}

fn describe(verdict: Verdict) -> String {
    match verdict {
        Verdict::Retry { at, .. } => format!("again at {at}"),
        Verdict::Dead => "dead".to_owned(),
        Verdict::Held(_) => "held".to_owned(),
        Verdict::Delivered | Verdict::Unsent => String::new(),
    }
}

fn headers(destination: &Destination, claim: &Claim, at: Timestamp, body: &[u8]) -> HeaderMap {
    let id = msg_id(&claim.message_id);
    let timestamp = at.seconds();
    let signature = sign::signature(&destination.keys, &id, timestamp, body);
    let text = |text: String| {
        // Our own ids, numbers and base64: visible ASCII, all of it.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    };
    HeaderMap::from_iter([
        (HeaderName::from_static("webhook-id"), text(id)),
        (HeaderName::from_static("webhook-timestamp"), timestamp.into()),
        (HeaderName::from_static("webhook-signature"), text(signature)),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (USER_AGENT, HeaderValue::from_static(AGENT)),
        (HeaderName::from_static("quintile-event"), HeaderValue::from_static(claim.kind.as_str())),
        (HeaderName::from_static("quintile-attempt"), claim.attempt.into()),
    ])
}
