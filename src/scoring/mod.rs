//! The nightly run: everyone is ranked into quintiles of recency, frequency and monetary value,
//! the scores name a segment, and every change of segment becomes an event.
//!
//! # One run
//!
//! 1. **score**: [`run`] ranks on a reader, in one snapshot and without a write lock
//!    (`score.sql`; [`cuts`] for large shops), and lists what differs from the scores in force
//!    ([`compare`]). Then one short transaction writes the rows that differ, their history, their
//!    events and the statistics ([`write`]). Orders that arrive in between count in the next run.
//! 2. **emit**: the events become deliveries in slices, the position saved with each ([`emit`]).
//!
//! After a crash at any instruction either nothing of step 1 is there or all of it; [`resume`]
//! finishes step 2 where it was. [`night`] says when a run is due, [`watch`] starts it then.
//!
//! This module alone writes `customer_scores`, `segments`, `runs`, `run_*` and `history`.

mod backfill;
mod changes;
mod compare;
mod cuts;
mod decide;
mod emit;
mod lapsed;
mod latest;
mod names;
pub mod night;
mod runs;
pub mod segment;
mod sql;
mod standing;
mod statistics;
pub mod told;
mod watch;
mod write;

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::NaiveDate;
use serde::ser::{SerializeMap, Serializer};

use crate::{
    clock::Clock,
    config::{Baseline, Config},
    db::{Database, Readers, Stopped},
    model::{Timestamp, text_enum},
    outbox::{Disposition, Ids, Route},
};

pub use crate::config::Ties;
pub use backfill::{Backfilled, backfill};
pub use decide::decide;
pub use emit::note_decided;
pub use latest::{SegmentNow, known_segments, segments_now};
pub use runs::{NotBegun, State, clock_suspect, latest_as_of};
pub use sql::{Parameters, Part, text};
pub use watch::Night;

use compare::{Before, Comparison, compare};
use emit::ScoreTook;
use runs::Begun;
use segment::Scheme;

/// How to rank and what to do with what changed.
#[derive(Debug, Clone)]
pub struct Settings {
    pub ties: Ties,
    /// 0: all history.
    pub window_days: u32,
    pub hold_above_percent: u32,
    pub include_without_orders: bool,
    /// Days without an order that are worth an event; ascending.
    pub lapsed_days: Vec<u32>,
    pub scheme: Scheme,
    pub baseline: Baseline,
    pub routes: Vec<Route>,
    /// Shops of at most so many customers are ranked by `score.sql`'s window functions, larger
    /// ones by cut values, with equal results. `None`: the built-in limit.
    pub ranked_in_sql: Option<i64>,
}

/// What started a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The night.
    Scheduled,
    /// A night that was missed.
    CatchUp,
    /// A person.
    Manual,
    /// Statistics of the past.
    Backfill,
}

text_enum!(Trigger { Scheduled = "scheduled", CatchUp = "catch_up", Manual = "manual", Backfill = "backfill" });

/// A run to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    pub trigger: Trigger,
    /// The local date of a night; at most one run each.
    pub slot: Option<NaiveDate>,
    /// Orders after this instant do not exist for the run.
    pub as_of: Timestamp,
    /// Nights a catch-up stands for beside its own.
    pub missed: u32,
}

impl Request {
    /// Somebody asks for a run now, not for one of the past.
    fn is_of_this_moment(&self, now: Timestamp) -> bool {
        const MOMENT_MS: i64 = 60_000;
        self.trigger == Trigger::Manual && (0..MOMENT_MS).contains(&(now.millis() - self.as_of.millis()))
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each printed by itself")]
pub struct Summary {
    /// `None`: a dry run.
    pub run_id: Option<i64>,
    pub as_of: Timestamp,
    pub trigger: Trigger,
    /// Customers ranked.
    pub scored: u64,
    /// Customers whose segment changed, first-time scored included.
    pub changed: u64,
    /// The first run: everyone was new.
    pub baseline: bool,
    /// The segment rules changed since the run before.
    pub remap: bool,
    /// Its deliveries wait for the merchant.
    pub held: bool,
    /// Only statistics were written: the as-of lies before the latest run, or it is a backfill.
    pub statistics_only: bool,
    /// Customers per segment, the best first.
    pub segments: Vec<(String, u64)>,
    pub duration: Duration,
    pub score_ms: u64,
    pub emit_ms: u64,
}

/// What a crash left, and what was done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resumed {
    /// Runs stopped in step 1: nothing of them was visible; nightly ones are due again.
    pub interrupted: usize,
    /// Runs whose step 2 was finished.
    pub emitted: u64,
}

/// Parts of a run, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Customers are ranked and compared.
    Rank,
    /// The transaction.
    Write,
    /// Events become deliveries.
    Emit,
}

/// Is told how far a run is.
pub trait Progress {
    /// A step of `total` customers or events begins.
    fn begin(&self, step: Step, total: u64);
    /// So many of them are done.
    fn advance(&self, done: u64);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: Step, _: u64) {}
    fn advance(&self, _: u64) {}
}

impl Settings {
    /// # Errors
    /// Segment rules or destinations that cannot be used; the message names the key.
    pub fn from_config(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            ties: config.scoring.ties,
            window_days: config.scoring.window_days,
            hold_above_percent: config.scoring.hold_above_percent,
            include_without_orders: config.scoring.include_without_orders,
            lapsed_days: config.scoring.lapsed_days.clone(),
            scheme: Scheme::from_config(config)?,
            baseline: config.forwarder.baseline,
            routes: Route::from_config(config)?,
            ranked_in_sql: None,
        })
    }

    const fn parameters(&self, as_of: Timestamp) -> Parameters {
        Parameters {
            as_of,
            window_days: self.window_days,
            include_without_orders: self.include_without_orders,
            ties: self.ties,
        }
    }

    const fn ties_text(&self) -> &'static str {
        match self.ties {
            Ties::Together => "together",
            Ties::Split => "split",
        }
    }
}

/// A whole run: step 1, then step 2. Blocking; call it on a thread that may wait.
///
/// # Errors
/// [`NotBegun`] when another run is going on or the night was scored already; else what went wrong
/// with the database. A failed step 1 changed nothing and its row says why. After a failed step 2
/// the run is scored, and [`resume`] or the next run finishes it.
pub fn run(
    db: &Database,
    settings: &Settings,
    request: Request,
    clock: &Clock,
    progress: &dyn Progress,
) -> anyhow::Result<Summary> {
    let started = Instant::now();
    // Events of an older run first: those of one customer stay in order.
    emit::emit_pending(db, settings, clock, None, &Silent)?;
    let now = clock.now();
    let begun = {
        let settings = settings.clone();
        db.writer().write_blocking(move |tx| runs::begin(tx, &settings, &request, now))?
    };
    let (mut summary, took) = match score(db, settings, request, begun, clock, progress) {
        Ok(scored) => scored,
        // The next start finds it open, and knows by that why it was not finished.
        Err(error) if db.ending().has_come() => return Err(error.context(Stopped)),
        Err(error) => {
            let (text, now) = (format!("{error:#}"), clock.now());
            tracing::error!(
                run = begun.id,
                attempt = begun.attempts,
                error = text,
                "scoring failed; nothing was changed"
            );
            db.writer()
                .write_blocking(move |tx| Ok(runs::fail(tx, begun, &request, &text, now)?))
                .context("the failure of a run could not be recorded")?;
            return Err(error);
        }
    };
    let emitting = Instant::now();
    emit::emit_pending(db, settings, clock, Some(took), progress)
        .with_context(|| format!("run {} is scored, but its deliveries are not all queued yet", begun.id))?;
    summary.emit_ms = millis(emitting.elapsed());
    summary.duration = started.elapsed();
    tracing::info!(
        run = begun.id,
        trigger = %request.trigger,
        as_of = %request.as_of,
        scored = summary.scored,
        changed = summary.changed,
        held = summary.held,
        score_ms = summary.score_ms,
        emit_ms = summary.emit_ms,
        "scored"
    );
    Ok(summary)
}

/// Step 1.
fn score(
    db: &Database,
    settings: &Settings,
    request: Request,
    run: Begun,
    clock: &Clock,
    progress: &dyn Progress,
) -> anyhow::Result<(Summary, ScoreTook)> {
    let started = Instant::now();
    let (before, comparison) = rank(db.readers(), settings, request, progress)?;
    let lapsed = find_lapsed(db.readers(), settings, &before, request.as_of)?;
    let rank_ms = millis(started.elapsed());

    let baseline = before.baseline && comparison.moved > 0;
    let large = emit::is_large(comparison.moved, comparison.statistics.ranked(), settings.hold_above_percent);
    let scale = emit::Scale { baseline, remap: before.remap, large };
    // Nothing waits for the merchant where nothing is sent.
    let held = (comparison.moved > 0 || !lapsed.is_empty())
        && match emit::disposition(settings.baseline, scale) {
            Disposition::Hold(_) => !settings.routes.is_empty(),
            Disposition::Quiet => settings.routes.iter().any(|route| !route.can_be_quiet),
            Disposition::Send | Disposition::Discard => false,
        };
    let mut summary = summary(settings, request, &before, &comparison);
    summary.run_id = Some(run.id);
    summary.held = held;

    progress.begin(Step::Write, comparison.moved);
    let (scheme, clock) = (settings.scheme.clone(), clock.clone());
    let writing = Instant::now();
    let changed = db.writer().write_alone_blocking(move |tx| {
        let at = runs::instant(tx, clock.now())?;
        let header = write::Header { run_id: run.id, baseline, remap: before.remap, held, at };
        Ok(write::write(tx, &header, &scheme, &comparison, &lapsed, &mut Ids::random(at))?)
    })?;
    let write_ms = millis(writing.elapsed());
    summary.changed = changed;
    summary.score_ms = millis(started.elapsed());
    let took = ScoreTook { run_id: run.id, score_ms: summary.score_ms, rank_ms, write_ms };
    Ok((summary, took))
}

/// What a run at `as_of` would do. Writes nothing; a running `serve` is not disturbed.
///
/// # Errors
/// The database cannot be read.
pub fn dry_run(
    readers: &Readers,
    settings: &Settings,
    as_of: Timestamp,
    progress: &dyn Progress,
) -> anyhow::Result<Summary> {
    let started = Instant::now();
    let request = Request { trigger: Trigger::Manual, slot: None, as_of, missed: 0 };
    let (before, comparison) = rank(readers, settings, request, progress)?;
    let mut summary = summary(settings, request, &before, &comparison);
    summary.duration = started.elapsed();
    summary.score_ms = millis(summary.duration);
    Ok(summary)
}

/// While no run is going on: what a crash or a full disk left. A run stopped in step 1 is noted as failed
/// (nightly ones are due again); one stopped in step 2 is finished.
///
/// # Errors
/// The database cannot be written.
pub fn resume(db: &Database, settings: &Settings, clock: &Clock) -> anyhow::Result<Resumed> {
    let interrupted = if runs::any_interrupted(&*db.readers().get()?)? {
        let now = clock.now();
        db.writer().write_blocking(move |tx| Ok(runs::fail_interrupted(tx, now)?))?
    } else {
        0
    };
    let emitted = emit::emit_pending(db, settings, clock, None, &Silent)?;
    let resumed = Resumed { interrupted, emitted };
    if resumed != Resumed::default() {
        tracing::info!(interrupted, emitted, "took up runs that were stopped");
    }
    Ok(resumed)
}

/// Ranks and compares in one read snapshot.
fn rank(
    readers: &Readers,
    settings: &Settings,
    request: Request,
    progress: &dyn Progress,
) -> anyhow::Result<(Before, Comparison)> {
    let mut reader = readers.get()?;
    let snapshot = reader.transaction()?;
    let before = runs::before(&snapshot, settings, &request)?;
    let comparison = compare(&snapshot, &settings.parameters(request.as_of), settings, &before, progress)?;
    Ok((before, comparison))
}

/// Reads nothing unless the merchant asked for it.
fn find_lapsed(
    readers: &Readers,
    settings: &Settings,
    before: &Before,
    as_of: Timestamp,
) -> anyhow::Result<Vec<lapsed::Lapsed>> {
    if settings.lapsed_days.is_empty() {
        return Ok(Vec::new());
    }
    let reader = readers.get()?;
    Ok(lapsed::find(&reader, &settings.lapsed_days, before, &settings.parameters(as_of))?)
}

fn summary(settings: &Settings, request: Request, before: &Before, comparison: &Comparison) -> Summary {
    Summary {
        run_id: None,
        as_of: request.as_of,
        trigger: request.trigger,
        scored: comparison.statistics.ranked(),
        changed: comparison.moved,
        baseline: before.baseline && comparison.moved > 0,
        remap: before.remap,
        held: false,
        statistics_only: before.statistics_only,
        segments: comparison.statistics.segments(&settings.scheme),
        duration: Duration::ZERO,
        score_ms: 0,
        emit_ms: 0,
    }
}

/// Whole milliseconds.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// As `score --format json` prints it.
impl serde::Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Segments<'a>(&'a [(String, u64)]);
        impl serde::Serialize for Segments<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, customers)| (name, customers)))
            }
        }
        #[derive(serde::Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Steps {
            score_ms: u64,
            emit_ms: u64,
        }
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("runId", &self.run_id.map(|id| id.to_string()))?;
        map.serialize_entry("asOf", &self.as_of)?;
        map.serialize_entry("trigger", self.trigger.as_str())?;
        map.serialize_entry("scored", &self.scored)?;
        map.serialize_entry("changed", &self.changed)?;
        map.serialize_entry("baseline", &self.baseline)?;
        map.serialize_entry("remap", &self.remap)?;
        map.serialize_entry("held", &self.held)?;
        map.serialize_entry("statisticsOnly", &self.statistics_only)?;
        map.serialize_entry("segments", &Segments(&self.segments))?;
        map.serialize_entry("durationMs", &millis(self.duration))?;
        map.serialize_entry("steps", &Steps { score_ms: self.score_ms, emit_ms: self.emit_ms })?;
        map.end()
    }
}
