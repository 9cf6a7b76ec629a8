//! The night watch: asks once a minute, and once at start, whether a run is due, and sees to it
//! that at most one runs at a time, whoever started it.
//!
//! The scheduler crate is only the heartbeat. It cannot be the night clock itself: it freezes the
//! offset from UTC when a job is made, forgets what was due while the program was off, and starts
//! a job again while it still runs.

use std::sync::{Arc, Mutex};

use anyhow::Context;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;

use super::{
    Request, Settings, Silent, Summary, Trigger,
    night::{self, ClockSuspect, Last, Schedule, Slot},
    resume, run, runs,
};
use crate::{bug::NoResult, clock::Clock, config::Config, db::Database, model::Timestamp};

/// Second zero of every minute.
const HEARTBEAT: &str = "0 * * * * *";
/// How long a stop waits for a run that is going on. Killing it would be safe too.
const FINISH: std::time::Duration = std::time::Duration::from_secs(10);

/// Starts runs: the nightly ones by itself, others when asked. Cheap to clone.
#[derive(Clone)]
pub struct Night(Arc<Inner>);

struct Inner {
    db: Arc<Database>,
    settings: Settings,
    schedule: Schedule,
    clock: Clock,
    /// Told when a run may have queued deliveries.
    emitted: Arc<Notify>,
    /// Told when a night's run has ended, well or not.
    over: Arc<Notify>,
    /// Held by the thread of the run that is going on: nobody who waits for it lets go of it by leaving.
    running: Arc<tokio::sync::Mutex<()>>,
    /// What was last said about the clock, so that it is said once and not every minute.
    suspected: Mutex<Option<ClockSuspect>>,
}

impl Night {
    /// `emitted` is notified after every run, for the forwarder.
    ///
    /// # Errors
    /// A schedule, segment rules or destinations that cannot be used; the message names the key.
    pub fn new(config: &Config, db: Arc<Database>, clock: Clock, emitted: Arc<Notify>) -> anyhow::Result<Self> {
        let settings = Settings::from_config(config)?;
        let schedule = Schedule::new(&config.scoring.cron, config.scoring.timezone)?;
        let (running, suspected) = (Arc::default(), Mutex::new(None));
        let over = Arc::default();
        Ok(Self(Arc::new(Inner { db, settings, schedule, clock, emitted, over, running, suspected })))
    }

    /// What is told when a night's run has ended, well or not.
    #[must_use]
    pub fn over(&self) -> Arc<Notify> {
        self.0.over.clone()
    }

    /// When the next nightly run is due.
    #[must_use]
    pub fn next(&self) -> Option<Slot> {
        night::next_due(&self.0.schedule, self.0.clock.now())
    }

    /// A run now, or after the one that is going on, as of then.
    ///
    /// # Errors
    /// As [`run`]; the program is to stop.
    pub async fn score_now(&self) -> anyhow::Result<Summary> {
        let running = self.0.running.clone().lock_owned().await;
        self.0.db.ending().check()?;
        let inner = self.0.clone();
        let running = blocking(move || inner.take_up().map(|()| running)).await?;
        let as_of = self.0.clock.now();
        self.run(running, Request { trigger: Trigger::Manual, slot: None, as_of, missed: 0 }).await
    }

    /// One heartbeat: takes up what a crash or a full disk left of a run, and makes the run that is due, if
    /// one is. Does nothing while a run is going on.
    ///
    /// # Errors
    /// As [`run`]; a failed run is tried again by a later heartbeat.
    pub async fn beat(&self) -> anyhow::Result<Option<Summary>> {
        let Ok(running) = self.0.running.clone().try_lock_owned() else { return Ok(None) };
        let inner = self.0.clone();
        let (request, running) = blocking(move || {
            inner.take_up()?;
            Ok((inner.due()?, running))
        })
        .await?;
        match request {
            Some(request) => Ok(Some(self.run(running, request).await?)),
            None => Ok(None),
        }
    }

    /// Beats at once, which takes up what a crash left, and then once a minute until told to stop. A run
    /// that is going on then has ten seconds to finish.
    ///
    /// # Errors
    /// The heartbeat cannot be started. A run that fails is logged and does not end the watch.
    pub async fn watch(&self, shutdown: CancellationToken) -> anyhow::Result<()> {
        if shutdown.run_until_cancelled(self.beat_and_log()).await.is_none() {
            self.finish().await;
            return Ok(());
        }
        let mut scheduler = JobScheduler::new().await.context("cannot start the heartbeat")?;
        let night = self.clone();
        let job = Job::new_async(HEARTBEAT, move |_, _| {
            let night = night.clone();
            Box::pin(async move { night.beat_and_log().await })
        })
        .context("cannot make the heartbeat")?;
        scheduler.add(job).await.context("cannot add the heartbeat")?;
        scheduler.start().await.context("cannot start the heartbeat")?;
        shutdown.cancelled().await;
        if let Err(error) = scheduler.shutdown().await {
            tracing::warn!(%error, "the heartbeat did not stop cleanly");
        }
        self.finish().await;
        Ok(())
    }

    async fn finish(&self) {
        if tokio::time::timeout(FINISH, self.0.running.lock()).await.is_err() {
            tracing::warn!("stopping while a run is going on; the next start takes it up");
        }
    }

    async fn beat_and_log(&self) {
        if let Err(error) = self.beat().await
            && !self.0.db.ending().is_near()
        {
            tracing::error!(error = format!("{error:#}"), "the night watch will try again");
        }
    }

    async fn run(&self, running: OwnedMutexGuard<()>, request: Request) -> anyhow::Result<Summary> {
        let inner = self.0.clone();
        let result = blocking(move || {
            let _running = running;
            run(&inner.db, &inner.settings, request, &inner.clock, &Silent)
        })
        .await;
        self.0.emitted.notify_one();
        if request.slot.is_some() {
            self.0.over.notify_one();
        }
        if let Err(error) = &result {
            self.0.db.condition().notice(error);
        }
        result
    }
}

impl Inner {
    /// Notes that a run was stopped whose failure could not be noted then, and queues the deliveries that
    /// could not be queued. The caller holds `running`, so nobody works on either.
    fn take_up(&self) -> anyhow::Result<()> {
        let resumed = resume(&self.db, &self.settings, &self.clock)?;
        if resumed.emitted > 0 {
            self.emitted.notify_one();
        }
        Ok(())
    }

    /// The run that is due now: a failed one whose time has come again, else the night's.
    fn due(&self) -> anyhow::Result<Option<Request>> {
        let now = self.clock.now();
        let reader = self.db.readers().get()?;
        if self.is_suspect(runs::clock_suspect(&reader, now)?) {
            return Ok(None);
        }
        if let Some(request) = runs::due_again(&reader, now)? {
            return Ok(Some(request));
        }
        let Some(last) = last(&reader, now)? else { return Ok(None) };
        let Some(due) = night::due(last, &self.schedule, now) else { return Ok(None) };
        let trigger = if due.is_late(now) { Trigger::CatchUp } else { Trigger::Scheduled };
        Ok(Some(Request { trigger, slot: Some(due.slot), as_of: due.as_of, missed: due.missed }))
    }

    fn is_suspect(&self, suspect: Option<ClockSuspect>) -> bool {
        let mut said = self.suspected.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(reason) = suspect
            && *said != suspect
        {
            tracing::error!(%reason, "the clock is not believed");
        }
        *said = suspect;
        suspect.is_some()
    }
}

/// From when on nights count; `None`: there is no order to score yet.
fn last(connection: &rusqlite::Connection, now: Timestamp) -> anyhow::Result<Option<Last>> {
    if let Some(slot) = runs::latest_slot(connection)? {
        return Ok(Some(Last::Slot(slot)));
    }
    // The order with the lowest id came first.
    let first: Option<Timestamp> =
        connection.query_row("SELECT (SELECT received_at FROM orders ORDER BY id LIMIT 1)", [], |row| row.get(0))?;
    // One that came in after now did so under a wrong clock: the night before is made up for.
    let first = first.map(|at| if at > now { now.plus_millis(-Timestamp::DAY) } else { at });
    Ok(first.map(Last::Since))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> anyhow::Result<T> + Send + 'static) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(NoResult::from).context("a run was interrupted")?
}
