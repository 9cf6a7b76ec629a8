//! One destination's share of the work: how many requests run at once, how fast, and how much of it a
//! kill may repeat. Each destination has its own, so one that hangs holds up nobody else.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::{Semaphore, oneshot};

use super::pace::Pace;
use crate::{
    model::Timestamp,
    outbox::{Effect, Gate, Health, Places},
};

/// Requests to one destination at a time, unless its tool allows fewer: enough for thousands a
/// second when it answers, few enough for a small tool.
pub const CONNECTIONS: usize = 16;
/// Claims per connection at most whose request waits, runs, or was answered and is not recorded yet:
/// the next requests go out while the last ones are recorded. A kill repeats as many deliveries, so it
/// is no more than keeps nearly a third of the speed of the client alone; a tool that takes longer to
/// answer than a commit does has little more open than its connections.
const OPEN_PER_CONNECTION: usize = 8;
/// The same for a destination of batches, each of which is many events: one runs, one is recorded.
const OPEN_BATCHES: usize = 2;

pub struct Lane {
    /// One permit per request that may run.
    pub slots: Arc<Semaphore>,
    /// What is claimed and not sent yet is given back, but a probe.
    pub stopped: Stopped,
    /// Of a destination of batches.
    row: Option<Row>,
    connections: usize,
    /// Requests that one delivery takes.
    requests: usize,
    /// Claimed, and what became of it not recorded yet.
    claimed: usize,
    /// Claims that may be open now.
    limit: usize,
    pace: Pace,
}

/// Requests of a destination of batches: one at a time, in the order of their claims, and none
/// after one that failed until everything behind it was given back.
#[derive(Default)]
struct Row {
    broken: Stopped,
    /// Ends when the request before does.
    last: Option<oneshot::Receiver<()>>,
}

/// A request's place in a [`Row`]. The next one's turn comes when this is dropped; unless it was
/// [`Self::done`], what stands behind it must not be sent.
pub struct Place {
    done: bool,
    broken: Stopped,
    before: Option<oneshot::Receiver<()>>,
    _next: oneshot::Sender<()>,
}

impl Place {
    /// Waits for its turn. Whether it may be sent then.
    pub async fn turn(&mut self) -> bool {
        if let Some(before) = self.before.take() {
            let _ = before.await; // nothing is ever sent: it was dropped
        }
        !self.broken.get()
    }

    /// Its request was taken.
    pub fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Before the next one's turn comes, which is when the fields are dropped.
        if !self.done {
            self.broken.set(true);
        }
    }
}

/// Whether a destination is sent to as usual; shared with the requests.
#[derive(Clone, Default)]
pub struct Stopped(Arc<AtomicBool>);

impl Stopped {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, stopped: bool) {
        self.0.store(stopped, Ordering::Release);
    }
}

impl Lane {
    /// `per_minute`: how many requests the tool takes; `requests`: how many one delivery needs;
    /// `batches`: it gets one request at a time.
    pub fn new(connections: usize, per_minute: Option<u32>, requests: usize, batches: bool, now: Timestamp) -> Self {
        let connections = if batches { 1 } else { connections };
        Self {
            slots: Arc::new(Semaphore::new(connections)),
            stopped: Stopped::default(),
            row: batches.then(Row::default),
            connections,
            requests,
            claimed: 0,
            limit: connections,
            pace: Pace::new(per_minute, now),
        }
    }

    /// How many more may be claimed, once `settling` of those that were are settled.
    pub fn places(&mut self, settling: usize, now: Timestamp) -> Places {
        let in_flight = self.claimed.saturating_sub(settling);
        let mut room = self.limit.saturating_sub(in_flight);
        if let Some(row) = self.row.as_ref().filter(|row| row.broken.get()) {
            if in_flight == 0 {
                row.broken.set(false);
            } else {
                room = 0;
            }
        }
        let paced = self.pace.available(now).div_ceil(self.requests);
        let more_at = if paced < room { self.pace.more_at(now) } else { None };
        Places { in_flight, free: room.min(paced), more_at }
    }

    pub fn claimed(&mut self, now: Timestamp) {
        self.claimed += 1;
        self.pace.start(self.requests, now);
    }

    /// The next place in the row, where there is one.
    pub fn queue(&mut self) -> Option<Place> {
        let row = self.row.as_mut()?;
        let (next, last) = oneshot::channel();
        Some(Place { done: false, broken: row.broken.clone(), before: row.last.replace(last), _next: next })
    }

    /// How the destination fares, as of the last write.
    pub fn heed(&self, health: &Health, now: Timestamp) {
        self.stopped.set(health.gate(now) != Gate::Open);
    }

    /// What became of a claim is recorded.
    pub fn settled(&mut self) {
        self.claimed = self.claimed.saturating_sub(1);
    }

    /// A request was sent and ended. After a failure nothing is claimed ahead: what is claimed counts
    /// as tried if the power goes, and a tool that fails now will fail those too.
    pub fn ended(&mut self, effect: Effect, now: Timestamp) {
        match effect {
            Effect::Success => {
                let most = if self.row.is_some() { OPEN_BATCHES } else { self.connections * OPEN_PER_CONNECTION };
                self.limit = (self.limit + 1).min(most);
                self.pace.succeeded(now);
                return;
            }
            Effect::Wait(_) => {
                self.pace.slow_down(now);
                self.stopped.set(true);
            }
            Effect::Refused | Effect::Disable => self.stopped.set(true),
            Effect::Failure | Effect::Notice | Effect::None => {}
        }
        self.limit = self.connections;
    }
}
