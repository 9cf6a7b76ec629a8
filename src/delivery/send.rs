//! One delivery: wait for a connection of the destination, then request by request make, sign and
//! send it, and judge the reply.

use std::{sync::Arc, time::Instant};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{
    client::{Client, Exchange, Request},
    destination::{Destination, Message},
    lane::{Place, Stopped},
    plan::{Meaning, Plan},
    retry::{self, Failure, Judgement, Reply, Try},
};
use crate::{
    clock::Clock,
    db::Readers,
    model::Timestamp,
    outbox::{self, Claim, Effect, Route, Settlement, Verdict, msg_id},
};

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

/// A delivery whose sending ended, to be recorded.
#[derive(Clone)]
pub struct Ended {
    pub route: usize,
    pub created_at: Timestamp,
    pub settlement: Settlement,
}

impl Ended {
    fn new(claim: &Claim, started_at: Timestamp, judgement: Judgement) -> Self {
        let settlement = Settlement {
            delivery_id: claim.delivery_id,
            token: claim.token.clone(),
            attempt: claim.attempt,
            started_at,
            duration_ms: 0,
            status: None,
            error: None,
            answer: Vec::new(),
            step: claim.step,
            verdict: judgement.verdict,
            effect: judgement.effect,
        };
        Self { route: claim.route, created_at: claim.created_at, settlement }
    }

    fn unsent(claim: &Claim, now: Timestamp) -> Self {
        Self::new(claim, now, Judgement { verdict: Verdict::Unsent, effect: Effect::None })
    }

    /// A bug on our side is recorded as a failed attempt, so that it comes to an end.
    pub fn bug(claim: &Claim, now: Timestamp) -> Self {
        let reply = Reply::Failure(Failure::Other("a bug in quintile stopped the request".to_owned()));
        let this = Try {
            message_id: claim.message_id,
            attempt: claim.attempt,
            counted: claim.counted,
            events: 1,
            spared: false,
        };
        let judgement = Judgement { effect: Effect::None, ..retry::judge(&reply, this, now) };
        let mut ended = Self::new(claim, now, judgement);
        ended.settlement.error = retry::explain(&reply, judgement.verdict);
        ended
    }
}

/// What a request needs.
pub struct Job {
    pub client: Client,
    pub readers: Readers,
    pub destinations: Arc<[Destination]>,
    pub routes: Arc<[Route]>,
    pub clock: Clock,
    pub slots: Arc<Semaphore>,
    pub stopped: Stopped,
    /// Its turn, where requests go one after the other.
    pub place: Option<Place>,
    pub signals: Signals,
    /// The baseline goes out without starting anything.
    pub quiet_baseline: bool,
}

impl Job {
    pub async fn send(mut self, claim: Claim) -> Ended {
        let mut place = self.place.take();
        let free = async {
            let in_turn = match &mut place {
                Some(place) => place.turn().await,
                None => true,
            };
            let slot = self.slots.acquire().await;
            self.signals.recordable().await;
            (in_turn, slot)
        };
        let (in_turn, _slot) = tokio::select! {
            biased;
            () = self.signals.closing.cancelled() => return Ended::unsent(&claim, self.clock.now()),
            free = free => free,
        };
        if !in_turn || (self.stopped.get() && !claim.probe) || !self.may_send(&claim).await {
            return Ended::unsent(&claim, self.clock.now());
        }
        let (started, started_at) = (Instant::now(), self.clock.now());
        let mut ended = self.requests(&claim, started_at).await;
        ended.settlement.duration_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        if let Some(place) = place.filter(|_| ended.settlement.verdict == Verdict::Delivered) {
            place.done();
        }
        self.log(&claim, &ended);
        ended
    }

    /// Whether the claim still stands: it may have waited long for its turn, and somebody in it may
    /// have been erased or have changed their mind meanwhile, by this process or another one.
    async fn may_send(&self, claim: &Claim) -> bool {
        let (id, token) = (claim.delivery_id, claim.token.clone());
        // A few rows by their ids: microseconds, where handing it to another thread would cost several times that.
        let asked = if let Some(connection) = self.readers.try_get() {
            outbox::may_send(&connection, &self.routes[claim.route], id, &token).map_err(Into::into)
        } else {
            let (routes, route) = (self.routes.clone(), claim.route);
            self.readers.read(move |connection| Ok(outbox::may_send(connection, &routes[route], id, &token)?)).await
        };
        asked.unwrap_or_else(|error| {
            tracing::warn!(delivery_id = id, error = format!("{error:#}"), "not sent: the queue could not be asked");
            false
        })
    }

    /// Sends the requests that are left of this delivery. That the tool asked for nothing more counts
    /// for the destination once they are through, or one of them has failed.
    async fn requests(&self, claim: &Claim, started_at: Timestamp) -> Ended {
        let mut asked = None;
        let mut ended = self.until_one_fails(claim, started_at, &mut asked).await;
        if let Some(asked) = asked {
            let settlement = &mut ended.settlement;
            settlement.effect = Effect::Disable;
            settlement.error = Some(match settlement.error.take() {
                Some(error) if error != asked => format!("{asked}; {error}"),
                _ => asked,
            });
        }
        ended
    }

    /// `asked`: what an answer said that took its request and wants nothing more.
    async fn until_one_fails(&self, claim: &Claim, started_at: Timestamp, asked: &mut Option<String>) -> Ended {
        let destination = &self.destinations[claim.route];
        let id = msg_id(&claim.message_id);
        let message = Message { claim, id: &id, quiet: claim.initial && self.quiet_baseline };
        let mut ended =
            Ended::new(claim, started_at, Judgement { verdict: Verdict::Delivered, effect: Effect::Success });
        for step in claim.step..destination.plan.steps() {
            if step > claim.step && !self.may_send(claim).await {
                let now = self.clock.now();
                ended.settlement.verdict = Verdict::Retry { at: now, spared: true };
                ended.settlement.effect = Effect::None;
                return ended;
            }
            let exchange = match destination.request(step, &message, self.clock.now()) {
                Ok(None) => {
                    ended.settlement.step = step + 1;
                    continue;
                }
                Ok(Some(request)) => self.exchange(request).await,
                Err(problem) => Some(Exchange::failed(Failure::Unrenderable(problem.to_string()))),
            };
            let now = self.clock.now();
            let Some(mut exchange) = exchange else {
                // It may have arrived: the attempt counts, and the next one is due at once.
                ended.settlement.verdict = Verdict::Retry { at: now, spared: false };
                ended.settlement.effect = Effect::None;
                ended.settlement.error = Some("interrupted".to_owned());
                return ended;
            };
            understand(&destination.plan, step, &mut exchange);
            let Judgement { verdict, effect } = retry::conclude(&exchange.reply, claim, self.stopped.get(), now);
            let settlement = &mut ended.settlement;
            (settlement.verdict, settlement.effect) = (verdict, effect);
            // The tool's own words may be in it.
            settlement.error =
                retry::explain(&exchange.reply, verdict).map(|error| destination.veil.take_out_text(&error));
            let skipped = exchange.reply.means(&Meaning::Skipped);
            settlement.answer = destination.veil.take_out(&exchange.body);
            settlement.status = match exchange.reply {
                Reply::Answer(answer) => Some(answer.status),
                Reply::Failure(_) => None,
            };
            if verdict != Verdict::Delivered {
                return ended;
            }
            settlement.step = step + 1;
            if effect == Effect::Disable {
                asked.clone_from(&settlement.error);
            }
            if skipped {
                return ended;
            }
        }
        ended
    }

    /// `None` when it was cut off by a stop.
    async fn exchange(&self, request: Request) -> Option<Exchange> {
        tokio::select! {
            exchange = self.client.send(request) => Some(exchange),
            () = self.signals.cut.cancelled() => None,
        }
    }

    fn log(&self, claim: &Claim, ended: &Ended) {
        let Settlement { verdict, error, duration_ms, status, .. } = &ended.settlement;
        let Some(error) = error.as_ref().filter(|_| *verdict != Verdict::Delivered) else { return };
        let next_attempt_at = match verdict {
            Verdict::Retry { at, .. } => at.to_string(),
            _ => String::new(),
        };
        tracing::warn!(
            delivery_id = claim.delivery_id,
            attempt = claim.attempt,
            destination = self.destinations[claim.route].name,
            events = claim.events,
            status,
            duration_ms,
            error,
            outcome = verdict.as_str(),
            next_attempt_at,
            "not delivered"
        );
    }
}

/// Adds to an answer what the destination's preset knows of it.
pub fn understand(plan: &Plan, step: usize, exchange: &mut Exchange) {
    if let Reply::Answer(answer) = &mut exchange.reply {
        let reading = plan.read(step, answer.status, &exchange.headers, &exchange.body);
        answer.meaning = reading.meaning;
        answer.retry_after = reading.retry_after.or(answer.retry_after.take());
    }
}
