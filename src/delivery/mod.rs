//! The forwarder: claims what is due, signs it, sends it, and records what became of it.
//!
//! One loop does the bookkeeping. Each turn is one write: it records the requests that ended and
//! claims new ones, so that many deliveries share a commit and nothing is sent that could not be
//! recorded. Requests run as tasks of their own and only send; no transaction is open meanwhile.
//!
//! Reading order: [`retry`] decides what an answer means, [`sign`] signs, [`destination`] reads the
//! configuration, [`plan`] makes requests of events, [`guard`] keeps requests away from private
//! addresses, [`client`] sends, [`verify`] checks what was sent; `lane` is one destination's share
//! of the work and `pace` its rate, `turn` one turn of the loop, `send` one
//! delivery; [`trial`] sends a marked event past the queue, [`preview`] shows what is sent.

pub mod client;
pub mod destination;
pub mod guard;
mod lane;
mod pace;
pub mod plan;
pub mod preview;
pub mod retry;
mod send;
pub mod sign;
pub mod trial;
mod turn;
mod veil;
pub mod verify;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    config::Config,
    db::{Readers, Writer, is_said},
    metrics::Metrics,
    model::Timestamp,
    outbox::{self, Ids, Route, Shop},
};
use client::Client;
use destination::Destination;
use guard::Guard;
use lane::{CONNECTIONS, Lane};
use turn::Sending;

/// Longest sleep: a clock that was set, or a machine that slept, is noticed within a minute.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
/// Waits while the database cannot be written: doubled from the first to the second.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// `deliver --until-idle` gives up on a database that cannot be written after so many tries.
const TRIES_UNTIL_IDLE: u32 = 4;
/// How long requests in flight may go on after the order to stop; with the recording of the last
/// ones it stays below ten seconds.
const FINISH: Duration = Duration::from_secs(8);
const RECORD: Duration = Duration::from_millis(1500);

/// What a forwarder did, and what is left.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Delivered by this forwarder.
    pub delivered: u64,
    /// Given up by this forwarder.
    pub dead: u64,
    /// Held by this forwarder: their destination asked for nothing more.
    #[serde(skip)]
    pub refused: u64,
    /// Now in the queue: tried, will be tried again.
    pub retrying: i64,
    /// Now in the queue: waiting for the merchant, or until a customer agrees.
    pub held: i64,
    /// Of those, the ones that go out by themselves once their customer agrees.
    pub unconsented: i64,
    /// Now in the queue: not tried yet.
    pub waiting: i64,
    /// It stopped although something was due: the time was over, or it was told to.
    pub cut_short: bool,
    /// Why the database could not be written.
    pub error: Option<String>,
}

/// Sends deliveries until told to stop. One per database.
pub struct Forwarder {
    shop: Shop,
    routes: Arc<[Route]>,
    destinations: Arc<[Destination]>,
    client: Client,
    writer: Writer,
    readers: Readers,
    clock: Clock,
    /// Somebody committed new deliveries, or moved the clock.
    wake: Arc<Notify>,
    /// Names this start of the program in its claims.
    boot: Arc<str>,
    /// Claims made so far.
    number: u64,
    /// The destination that is asked first in the next turn.
    first: usize,
    /// The baseline goes to tools that can take it without starting anything.
    quiet_baseline: bool,
    /// When what waits for a consent was last looked at.
    reviewed_at: Option<Timestamp>,
    /// How many milliseconds the clock was ahead of the time that has passed, as of the last turn.
    ahead: Option<i64>,
    metrics: Metrics,
    sending: Sending,
    report: Report,
}

/// What to do after a turn.
enum Next {
    /// More is due: take another turn at once.
    Again,
    /// Nothing is due before this.
    Wait(Option<Timestamp>),
    /// Something is due, but its destination takes no more requests before this.
    Paced(Option<Timestamp>),
}

impl Forwarder {
    /// # Errors
    /// A destination or `allow_private` cannot be used; the message names the key and what to
    /// write.
    pub fn new(
        config: &Config,
        writer: Writer,
        readers: Readers,
        clock: Clock,
        wake: Arc<Notify>,
    ) -> anyhow::Result<Self> {
        let routes = Route::from_config(config)?;
        let destinations = Destination::from_config(config)?;
        let client = Client::new(Guard::new(&config.forwarder.allow_private)?, CONNECTIONS, client::LIMITS)?;
        let boot = hex::encode(&Ids::random(clock.now()).next()[8..]);
        let lane = |(to, route): (&Destination, &Route)| {
            let plan = &to.plan;
            Lane::new(plan.connections(), plan.per_minute(), plan.requests(), route.batch > 1, clock.now())
        };
        let lanes = destinations.iter().zip(&routes).map(lane).collect();
        Ok(Self {
            shop: Shop::from_config(config),
            quiet_baseline: config.forwarder.baseline.is_quiet(),
            sending: Sending::new(lanes, clock.clone()),
            routes: routes.into(),
            destinations: destinations.into(),
            client,
            writer,
            readers,
            clock,
            wake,
            boot: boot.into(),
            number: 0,
            first: 0,
            reviewed_at: None,
            ahead: None,
            metrics: Metrics::default(),
            report: Report::default(),
        })
    }

    /// With another client: other limits, other authorities, other names.
    #[must_use]
    pub fn with_client(self, client: Client) -> Self {
        Self { client, ..self }
    }

    /// Counts attempts there.
    #[must_use]
    pub fn counting(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Sends what is due, now and later, until `shutdown`; then finishes what is in flight within
    /// ten seconds.
    pub async fn run(mut self, shutdown: CancellationToken) {
        match self.stranded().await {
            Ok(stranded) => {
                for (destination, count) in stranded {
                    tracing::warn!(
                        destination,
                        count,
                        "deliveries wait for a destination that the configuration lacks"
                    );
                }
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "the queue could not be looked through"),
        }
        self.work(&shutdown, false, None).await;
        self.finish().await;
    }

    /// Sends until nothing is due, until `timeout`, or until `shutdown`. Later retries are left in
    /// the queue.
    pub async fn drain(self, timeout: Option<Duration>, shutdown: CancellationToken) -> Report {
        self.work_and_report(&shutdown, true, timeout).await
    }

    /// [`Self::run`] that can end after a while and says what it did.
    pub async fn serve(self, timeout: Option<Duration>, shutdown: CancellationToken) -> Report {
        self.work_and_report(&shutdown, false, timeout).await
    }

    /// Destinations that the configuration does not have (any more), with the deliveries that wait
    /// for them.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn stranded(&self) -> anyhow::Result<Vec<(String, i64)>> {
        let routes = self.routes.clone();
        self.readers
            .read(move |connection| Ok(outbox::stranded(connection, routes.iter().map(|route| route.name.as_str()))?))
            .await
    }

    async fn work_and_report(
        mut self,
        shutdown: &CancellationToken,
        until_idle: bool,
        timeout: Option<Duration>,
    ) -> Report {
        self.report.cut_short = !self.work(shutdown, until_idle, timeout).await;
        self.finish().await;
        match self.readers.read(|connection| Ok(outbox::open(connection)?)).await {
            Ok(outbox::Open { waiting, retrying, held, unconsented }) => {
                Report { retrying, held, unconsented, waiting, ..self.report }
            }
            Err(error) => Report { error: Some(format!("{error:#}")), ..self.report },
        }
    }

    /// The loop. Returns whether it ended because nothing was due.
    async fn work(&mut self, shutdown: &CancellationToken, until_idle: bool, timeout: Option<Duration>) -> bool {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut reclaimed = false;
        let mut failures = 0;
        loop {
            let turn = if reclaimed { self.turn().await } else { self.reclaim().await };
            let pause = match turn {
                Ok(next) => {
                    reclaimed = true;
                    failures = 0;
                    match next {
                        Next::Again => Duration::ZERO,
                        Next::Paced(at) => sleep_until(at, self.clock.now()),
                        Next::Wait(due) => {
                            let now = self.clock.now();
                            let idle = self.sending.is_empty() && due.is_none_or(|due| due > now);
                            if idle && until_idle {
                                return true;
                            }
                            sleep_until(due, now)
                        }
                    }
                }
                Err(error) => {
                    failures += 1;
                    if failures == 1 && !is_said(&error) && !self.writer.condition().ending().is_near() {
                        tracing::error!(
                            error = format!("{error:#}"),
                            "sending is paused until the database can be written"
                        );
                    }
                    if until_idle && failures >= TRIES_UNTIL_IDLE {
                        self.report.error = Some(format!("{error:#}"));
                        return false;
                    }
                    (PAUSE.0 * (1 << (failures - 1).min(10))).min(PAUSE.1)
                }
            };
            if !self.wait(shutdown, deadline, pause, failures > 0).await {
                return false;
            }
        }
    }

    /// Waits for the next reason to take a turn. Returns false when it is time to stop.
    async fn wait(
        &mut self,
        shutdown: &CancellationToken,
        deadline: Option<Instant>,
        pause: Duration,
        paused: bool,
    ) -> bool {
        let left = deadline.map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        if shutdown.is_cancelled() || left.is_zero() {
            return false;
        }
        if pause.is_zero() {
            self.sending.collect_ready();
            return true;
        }
        tokio::select! {
            () = shutdown.cancelled() => return false,
            () = sleep(pause.min(left)) => {}
            // A full disk is not freed by news.
            () = self.wake.notified(), if !paused => {}
            () = self.sending.collect(), if !paused && !self.sending.is_idle() => {}
        }
        true
    }
}

/// How long to sleep when nothing is due before `due`.
fn sleep_until(due: Option<Timestamp>, now: Timestamp) -> Duration {
    let millis = due.map_or(i64::MAX, |due| due.millis().saturating_sub(now.millis()));
    Duration::from_millis(u64::try_from(millis).unwrap_or(0)).clamp(Duration::from_millis(1), LONGEST_SLEEP)
}
