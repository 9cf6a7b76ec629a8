//! One turn of the forwarder: record what ended, claim what is due, start the requests.

use std::{collections::HashMap, time::Duration};

use tokio::{
    task::{Id, JoinError, JoinSet},
    time::timeout,
};

use super::{
    FINISH, Forwarder, Next, RECORD,
    lane::Lane,
    retry,
    send::{Ended, Job, Signals},
};
use crate::{
    bug::NoResult,
    clock::Clock,
    metrics::Metrics,
    model::Timestamp,
    outbox::{self, Claim, Claims, DestinationState, Ids, Places, Settlement, Turned, Verdict},
};

/// Deliveries claimed in one transaction: all that one destination may have open.
const CLAIM: usize = 128;
/// Deliveries settled in one transaction.
const SETTLE: usize = 256;
/// Events without a run that are queued in one transaction.
const QUEUE: usize = 256;
/// Deliveries that wait for a consent, looked at in one transaction.
const REVIEW: usize = 1000;
/// Milliseconds between two looks at them.
const REVIEW_MS: i64 = 3_600_000;

/// A clock that is set back by no more puts nothing off that anybody would notice.
const SET_BACK_MS: i64 = 1000;

/// Requests on their way, and replies that are not recorded yet.
pub(super) struct Sending {
    tasks: JoinSet<Ended>,
    /// What to record of a task that panics.
    fallbacks: HashMap<Id, Ended>,
    ended: Vec<Ended>,
    /// One per destination.
    lanes: Vec<Lane>,
    signals: Signals,
    clock: Clock,
}

impl Sending {
    pub fn new(lanes: Vec<Lane>, clock: Clock) -> Self {
        Self {
            tasks: JoinSet::new(),
            fallbacks: HashMap::new(),
            ended: Vec::new(),
            lanes,
            signals: Signals::default(),
            clock,
        }
    }

    /// Nothing on its way and nothing to record.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.ended.is_empty()
    }

    /// Nothing on its way.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits for a request to end and takes what else has ended.
    pub async fn collect(&mut self) {
        let joined = self.tasks.join_next_with_id().await;
        self.take(joined);
        self.collect_ready();
    }

    /// Takes what has ended, without waiting.
    pub fn collect_ready(&mut self) {
        while let joined @ Some(_) = self.tasks.try_join_next_with_id() {
            self.take(joined);
        }
    }

    async fn collect_all(&mut self) {
        while !self.is_idle() {
            self.collect().await;
        }
    }

    /// What each destination can take once the first `count` that ended are settled.
    fn places(&mut self, count: usize, now: Timestamp) -> Vec<Places> {
        let mut settling = vec![0; self.lanes.len()];
        for ended in &self.ended[..count] {
            settling[ended.route] += 1;
        }
        self.lanes.iter_mut().zip(settling).map(|(lane, settling)| lane.places(settling, now)).collect()
    }

    fn batch(&self, count: usize) -> Vec<Settlement> {
        self.ended[..count].iter().map(|ended| ended.settlement.clone()).collect()
    }

    fn take(&mut self, joined: Option<Result<(Id, Ended), JoinError>>) {
        let ended = match joined {
            Some(Ok((id, ended))) => {
                self.fallbacks.remove(&id);
                Some(ended)
            }
            Some(Err(error)) => {
                tracing::error!(error = %NoResult::from(&error), "a request has no outcome");
                self.fallbacks.remove(&error.id())
            }
            None => None,
        };
        if let Some(ended) = ended {
            if ended.settlement.verdict != Verdict::Unsent {
                self.lanes[ended.route].ended(ended.settlement.effect, self.clock.now());
            }
            self.ended.push(ended);
        }
    }
}

impl Forwarder {
    /// Takes back what an earlier start left in flight.
    pub(super) async fn reclaim(&self) -> anyhow::Result<Next> {
        let (boot, now) = (self.boot.clone(), self.clock.now());
        let count = self.writer.write(move |tx| Ok(outbox::reclaim(tx, &boot, now)?)).await?;
        if count > 0 {
            tracing::info!(count, "deliveries cut off by the last stop are sent again");
        }
        Ok(Next::Again)
    }

    /// Looks again, once an hour, at what waits until a customer agrees.
    async fn review(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        if self.reviewed_at.is_some_and(|at| (0..REVIEW_MS).contains(&(now.millis() - at.millis()))) {
            return Ok(());
        }
        let mut after = Some(0);
        while let Some(last) = after {
            // Many may wait for one.
            if self.writer.condition().ending().is_near() {
                return Ok(());
            }
            let routes = self.routes.clone();
            after = self.writer.write(move |tx| Ok(outbox::review_consent(tx, &routes, last, REVIEW, now)?)).await?;
        }
        self.reviewed_at = Some(now);
        Ok(())
    }

    /// What waits for its time waits no longer because the clock is set back. One that is set on is no
    /// reason to do anything: what is due earlier then is sent earlier, as after a sleep of the machine.
    async fn heed_clock(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let passed = i64::try_from(self.clock.passed().as_millis()).unwrap_or(i64::MAX);
        let ahead = now.millis().saturating_sub(passed);
        let back = self.ahead.map_or(0, |before| before.saturating_sub(ahead));
        if back > SET_BACK_MS {
            let routes = self.routes.clone();
            self.writer.write(move |tx| Ok(outbox::set_back(tx, &routes, back, now)?)).await?;
            tracing::warn!(
                seconds = back / 1000,
                "the clock was set back; what waits to be sent waits no longer for it"
            );
        }
        // Small steps back add up.
        if !(0..=SET_BACK_MS).contains(&back) || self.ahead.is_none() {
            self.ahead = Some(ahead);
        }
        Ok(())
    }

    /// Records and claims in one write, then starts what was claimed.
    pub(super) async fn turn(&mut self) -> anyhow::Result<Next> {
        self.review().await?;
        self.sending.collect_ready();
        let now = self.clock.now();
        self.heed_clock(now).await?;
        let count = self.sending.ended.len().min(SETTLE);
        let places = self.sending.places(count, now);
        if count == 0 && !places.is_empty() && places.iter().all(|places| places.free == 0) {
            return Ok(Next::Paced(places.iter().filter_map(|places| places.more_at).min()));
        }
        let claims = Claims {
            boot: self.boot.clone(),
            number: self.number,
            shop: self.shop.clone(),
            routes: self.routes.clone(),
            places,
            start: self.first,
            limit: CLAIM,
            now,
            latest: now.plus_millis(retry::LONGEST_WAIT_MS),
        };
        self.number += CLAIM as u64;
        self.first = (self.first + 1) % self.routes.len().max(1);
        // Kept until they are recorded: a write that fails is tried again with the same.
        let batch = self.sending.batch(count);
        let written = self
            .writer
            .write(move |tx| {
                let mut ids = Ids::random(now);
                let settled = outbox::settle(tx, &batch, &mut ids, now)?;
                let queued = outbox::fan_out_unqueued(tx, &claims.routes, QUEUE, &mut ids, now)?;
                Ok((settled, queued, outbox::claim(tx, &claims)?))
            })
            .await;
        self.sending.signals.set_recordable(written.is_ok());
        let (settled, queued, claimed) = written?;
        settled.turned.iter().for_each(tell);
        self.recorded(count);
        for (lane, health) in self.sending.lanes.iter().zip(&claimed.health) {
            lane.heed(health, now);
        }
        let next_due = claimed.next_due;
        for claim in claimed.claims {
            self.start(claim);
        }
        let more = queued == QUEUE || next_due.is_some_and(|due| due <= now) || !self.sending.ended.is_empty();
        Ok(match claimed.paced {
            _ if more => Next::Again,
            true => Next::Paced(next_due),
            false => Next::Wait(next_due),
        })
    }

    fn start(&mut self, claim: Claim) {
        let now = self.clock.now();
        let lane = &mut self.sending.lanes[claim.route];
        lane.claimed(now);
        let job = Job {
            client: self.client.clone(),
            readers: self.readers.clone(),
            destinations: self.destinations.clone(),
            routes: self.routes.clone(),
            clock: self.clock.clone(),
            slots: lane.slots.clone(),
            stopped: lane.stopped.clone(),
            place: lane.queue(),
            quiet_baseline: self.quiet_baseline,
            signals: self.sending.signals.clone(),
        };
        let fallback = Ended::bug(&claim, now);
        let task = self.sending.tasks.spawn(job.send(claim));
        self.sending.fallbacks.insert(task.id(), fallback);
    }

    /// The orderly end: what waits for a connection is given back, what is on its way may finish
    /// for a while and is then cut off, and all of it is recorded.
    pub(super) async fn finish(&mut self) {
        self.sending.signals.closing.cancel();
        if timeout(FINISH, self.sending.collect_all()).await.is_err() {
            self.sending.signals.cut.cancel();
            self.sending.collect_all().await;
        }
        let now = self.clock.now();
        let recorded = timeout(RECORD, async {
            while !self.sending.ended.is_empty() {
                let count = self.sending.ended.len().min(SETTLE);
                let batch = self.sending.batch(count);
                self.writer.write(move |tx| Ok(outbox::settle(tx, &batch, &mut Ids::random(now), now)?)).await?;
                self.recorded(count);
            }
            anyhow::Ok(())
        });
        let problem = match recorded.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "the database is busy".to_owned(),
        };
        tracing::error!(
            error = problem,
            "the last replies were not recorded; the next start sends those deliveries again"
        );
    }

    /// Forgets what is recorded now.
    fn recorded(&mut self, count: usize) {
        let now = self.clock.now();
        for ended in self.sending.ended.drain(..count) {
            self.sending.lanes[ended.route].settled();
            count_attempt(&self.metrics, &self.routes[ended.route].name, &ended, now);
            match ended.settlement.verdict {
                Verdict::Delivered => self.report.delivered += 1,
                Verdict::Dead => self.report.dead += 1,
                Verdict::Held(_) => self.report.refused += 1,
                Verdict::Retry { .. } | Verdict::Split { .. } | Verdict::Unsent => {}
            }
        }
    }
}

fn count_attempt(metrics: &Metrics, destination: &str, ended: &Ended, now: Timestamp) {
    let millis = |millis: i64| Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    let settlement = &ended.settlement;
    match settlement.verdict {
        Verdict::Unsent => return,
        Verdict::Delivered => {
            metrics.delivered(destination, millis(now.millis().saturating_sub(ended.created_at.millis())));
        }
        _ => {}
    }
    metrics.attempt(destination, settlement.verdict.as_str(), millis(settlement.duration_ms));
}

/// Says once that a destination fares differently now.
fn tell(turned: &Turned) {
    let Turned { destination, before, after } = turned;
    let reason = after.reason.as_deref().unwrap_or_default();
    match after.state {
        DestinationState::Active => {
            let failed_ms = after.since.millis() - before.since.millis();
            tracing::info!(destination, failed_ms, "the destination works again");
        }
        DestinationState::Failing => {
            let next_probe_at = after.probe_at.map(|at| at.to_string());
            tracing::warn!(destination, reason, next_probe_at, "the destination is failing; its queue waits");
        }
        DestinationState::Paused | DestinationState::Disabled => tracing::error!(
            destination,
            reason,
            "the destination is {}; its queue is held until `quintile destinations resume`",
            after.state
        ),
    }
}
