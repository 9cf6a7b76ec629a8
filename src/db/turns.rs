//! Taking turns with another process at the same file.
//!
//! SQLite has no queue for its write lock: it goes to whoever asks at the right moment. By itself SQLite asks more and
//! more rarely, in the end ten times a second, and a process that writes slice after slice leaves the lock free for
//! microseconds between two of them: the other one could wait until all is done. So whoever waits here asks all
//! the time, and whoever has written for a while without a break leaves a gap that cannot be missed.

use std::{
    cell::Cell,
    thread,
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode};

use super::BUSY_TIMEOUT;

/// Between two questions whether a lock is free.
const ASK: Duration = Duration::from_millis(1);

thread_local! {
    static SINCE: Cell<Option<Instant>> = const { Cell::new(None) };
    static UNTIL: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Makes the statements of `connection` wait for a lock of another process, [`BUSY_TIMEOUT`] at most.
pub(super) fn wait_for_locks(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_handler(Some(ask_again))
}

/// Whether to ask again, after `asked` times for the same lock.
fn ask_again(asked: i32) -> bool {
    let now = Instant::now();
    let since = SINCE.get().filter(|_| asked > 0).unwrap_or(now);
    SINCE.set(Some(since));
    if now >= UNTIL.get().unwrap_or(since + BUSY_TIMEOUT) {
        return false;
    }
    thread::sleep(ASK);
    true
}

/// How long the writer waits for the lock: a write that came while others waited for it has waited with them, and
/// is told as soon as it would be alone.
#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since when every transaction has found it held.
    held_since: Option<Instant>,
}

impl Patience {
    /// Runs `begin`, which takes the lock for a write that came at `came`.
    pub fn wait<T>(&mut self, came: Instant, begin: impl FnOnce() -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let now = Instant::now();
        UNTIL.set(Some(self.until(came, now)));
        let begun = begin();
        UNTIL.set(None);
        let is_held = matches!(&begun, Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy));
        self.held_since = is_held.then_some(self.held_since.unwrap_or(now));
        begun
    }

    /// What was written by us before it came to the lock does not count.
    fn until(&self, came: Instant, now: Instant) -> Instant {
        self.held_since.map_or(now, |held| came.max(held)) + BUSY_TIMEOUT
    }
}

/// When the writer leaves the lock to others. Pure.
#[derive(Debug)]
pub(super) struct Turns {
    pace: Pace,
    /// Written since the last gap.
    written: Duration,
    begun_at: Instant,
    ended_at: Instant,
}

/// After so much writing without a gap there is one of this length.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    writes: Duration,
    gap: Duration,
}

impl Pace {
    /// Of the process that has the file. The orders of the shop come in here, so it gives away a hundredth.
    pub const OWNER: Self = Self { writes: Duration::from_millis(250), gap: Duration::from_millis(3) };
    /// Of one beside it: nobody waits for what it does but who called it.
    pub const BESIDE: Self = Self { writes: Duration::from_millis(50), gap: Duration::from_millis(5) };
}

impl Turns {
    pub fn new(pace: Pace, now: Instant) -> Self {
        Self { pace, written: Duration::ZERO, begun_at: now, ended_at: now }
    }

    /// A transaction begins.
    pub fn begin(&mut self, now: Instant) {
        if now.saturating_duration_since(self.ended_at) >= self.pace.gap {
            self.written = Duration::ZERO;
        }
        self.begun_at = now;
    }

    /// It has ended. How long the lock is left alone now.
    pub fn end(&mut self, now: Instant) -> Option<Duration> {
        self.ended_at = now;
        self.written += now.saturating_duration_since(self.begun_at);
        (self.written >= self.pace.writes).then_some(self.pace.gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_while_others_waited_has_waited_too() {
        let start = Instant::now();
        let at = |second| start + Duration::from_secs(second);
        let mut patience = Patience::default();
        assert_eq!(patience.until(at(0), at(8)), at(13), "it was not the lock that it waited for");
        patience.held_since = Some(at(8));
        assert_eq!(patience.until(at(7), at(13)), at(13), "it came before the lock was asked for");
        assert_eq!(patience.until(at(12), at(13)), at(17));
        assert_eq!(patience.until(at(20), at(20)), at(25));

        let held = || Err::<(), _>(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(5), None));
        patience.held_since = None;
        patience.wait(at(0), held).unwrap_err();
        let since = patience.held_since.expect("it was held");
        patience.wait(at(0), held).unwrap_err();
        assert_eq!(patience.held_since, Some(since), "and still is");
        patience.wait(at(0), || Ok(())).unwrap();
        assert_eq!((patience.held_since, UNTIL.get()), (None, None));
    }

    #[test]
    fn who_writes_without_a_break_makes_one() {
        let start = Instant::now();
        let mut turns = Turns::new(Pace::BESIDE, start);
        // A gap, then transactions one after the other: from and until which millisecond, and what is left then.
        let mut take = |from: u64, until: u64| {
            turns.begin(start + Duration::from_millis(from));
            turns.end(start + Duration::from_millis(until)).map(|gap| gap.as_millis())
        };
        assert_eq!([take(10, 30), take(31, 50), take(51, 61)], [None, None, None]);
        assert_eq!(take(62, 72), Some(5), "fifty of them were written");
        assert_eq!([take(77, 97), take(98, 120)], [None, None]);
        assert_eq!(take(200, 240), None, "there was a break");
        assert_eq!(take(241, 251), Some(5));
        assert_eq!(take(256, 900), Some(5), "a long one alone");
    }
}
