//! How fast a destination may be sent to. Pure: a token bucket whose rate a tool that asks for less
//! halves, and that recovers while it does not.

use crate::model::Timestamp;

/// The rate is never less than one request in a minute.
const LEAST_PER_SECOND: f64 = 1.0 / 60.0;
/// A quarter more after so long without being asked for less.
const RECOVER_MS: i64 = 10_000;
const RECOVER_FACTOR: f64 = 1.25;
/// Measured over this.
const WINDOW_MS: i64 = 1000;

/// The rate of one destination, in requests.
#[derive(Debug, Clone)]
pub struct Pace {
    /// What the tool allows at most; `None`: no limit is known.
    ceiling: Option<f64>,
    /// Per second, now; `None`: as fast as it answers.
    rate: Option<f64>,
    /// The rate before it was asked for less.
    before: f64,
    /// Requests that may start now.
    tokens: f64,
    refilled_at: Timestamp,
    changed_at: Timestamp,
    /// Requests started in the window, and in the one before.
    window: (Timestamp, u32),
    measured: f64,
}

impl Pace {
    /// `per_minute`: what the tool allows; `None`: no limit is known.
    pub fn new(per_minute: Option<u32>, now: Timestamp) -> Self {
        let ceiling = per_minute.map(|count| f64::from(count.max(1)) / 60.0);
        Self {
            ceiling,
            rate: ceiling,
            before: 0.0,
            tokens: 1.0,
            refilled_at: now,
            changed_at: now,
            window: (now, 0),
            measured: 0.0,
        }
    }

    /// How many requests may start now.
    pub fn available(&mut self, now: Timestamp) -> usize {
        let Some(rate) = self.rate else { return usize::MAX };
        let passed = now.millis().saturating_sub(self.refilled_at.millis()).max(0);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of at most a few days")]
        let gained = rate * passed as f64 / 1000.0;
        // A tenth of a second's worth at once: smooth, and few commits. One more, so that what is
        // asked for a little late is not lost.
        self.tokens = (self.tokens + gained).min((rate / 10.0).max(1.0) + 1.0);
        self.refilled_at = now;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
        let whole = self.tokens.max(0.0) as usize;
        whole
    }

    /// When the next request may start, if the rate is what it waits for.
    pub fn more_at(&self, now: Timestamp) -> Option<Timestamp> {
        let rate = self.rate?;
        #[expect(clippy::cast_possible_truncation, reason = "at most a minute")]
        let wait = ((1.0 - self.tokens).max(0.0) * 1000.0 / rate).ceil() as i64;
        Some(now.plus_millis(wait))
    }

    /// `requests` start now.
    pub fn start(&mut self, requests: usize, now: Timestamp) {
        let count = u32::try_from(requests).unwrap_or(u32::MAX);
        if self.rate.is_some() {
            self.tokens -= f64::from(count);
        }
        let (since, started) = &mut self.window;
        let passed = now.millis().saturating_sub(since.millis());
        if !(0..WINDOW_MS).contains(&passed) {
            self.measured = if passed < 2 * WINDOW_MS { f64::from(*started) } else { 0.0 };
            (*since, *started) = (now, 0);
        }
        *started = started.saturating_add(count);
    }

    /// The tool asked us to slow down: half of what it was. Several that ask at once are one.
    pub fn slow_down(&mut self, now: Timestamp) {
        let since_change = now.millis().saturating_sub(self.changed_at.millis());
        if self.rate.is_some_and(|_| self.before > 0.0) && (0..WINDOW_MS).contains(&since_change) {
            return;
        }
        let running = self.rate.unwrap_or_else(|| self.measured.max(f64::from(self.window.1)));
        if self.before == 0.0 {
            self.before = running.max(LEAST_PER_SECOND);
        }
        self.rate = Some((running / 2.0).max(LEAST_PER_SECOND));
        self.tokens = self.tokens.min(1.0);
        self.changed_at = now;
    }

    /// A request was taken.
    pub fn succeeded(&mut self, now: Timestamp) {
        let Some(rate) = self.rate.filter(|_| self.before > 0.0) else { return };
        if (0..RECOVER_MS).contains(&now.millis().saturating_sub(self.changed_at.millis())) {
            return;
        }
        self.changed_at = now;
        let faster = rate * RECOVER_FACTOR;
        if faster >= self.before {
            (self.rate, self.before) = (self.ceiling, 0.0);
        } else {
            self.rate = Some(faster);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_795_000_000_000 + millis)
    }

    /// Starts all that it may for a while; returns how many that were.
    fn run(pace: &mut Pace, from: i64, to: i64, most: usize) -> usize {
        let mut started = 0;
        for millis in (from..to).step_by(10) {
            let count = pace.available(at(millis)).min(most);
            pace.start(count, at(millis));
            started += count;
        }
        started
    }

    #[test]
    fn a_known_limit_is_kept_without_bursts() {
        let mut pace = Pace::new(Some(400), at(0));
        let minute = run(&mut pace, 0, 60_000, 100);
        assert!((399..=402).contains(&minute), "{minute}");
        assert_eq!(run(&mut pace, 600_000, 601_000, 100), 8, "an idle time is not saved up");
    }

    #[test]
    fn without_a_limit_everything_may_start() {
        let mut pace = Pace::new(None, at(0));
        assert_eq!((pace.available(at(0)), pace.more_at(at(0))), (usize::MAX, None));
    }

    #[test]
    fn being_asked_for_less_halves_what_was_measured_and_it_recovers() {
        let mut pace = Pace::new(None, at(0));
        run(&mut pace, 0, 2000, 1); // a hundred a second
        pace.slow_down(at(2000));
        pace.slow_down(at(2001)); // the same moment
        let half = run(&mut pace, 2000, 3000, 100);
        assert!((45..=55).contains(&half), "{half}");
        pace.slow_down(at(4000));
        let quarter = run(&mut pace, 5000, 6000, 100);
        assert!((22..=30).contains(&quarter), "{quarter}");
        for seconds in 1..=120 {
            pace.succeeded(at(4000 + seconds * 1000));
        }
        assert_eq!(pace.available(at(125_000)), usize::MAX);
    }

    #[test]
    fn it_never_stops_altogether_and_returns_to_the_known_limit() {
        let mut pace = Pace::new(Some(60), at(0));
        for second in 1..60 {
            pace.slow_down(at(second * 2000));
        }
        let count = pace.available(at(120_000));
        pace.start(count, at(120_000));
        assert!(pace.available(at(121_000)) == 0 && pace.available(at(181_000)) == 1, "one in a minute");
        for second in 0..10_000 {
            pace.succeeded(at(200_000 + second * 1000));
        }
        let ten_seconds = run(&mut pace, 20_000_000, 20_010_000, 100);
        assert!((10..=12).contains(&ten_seconds), "{ten_seconds}");
    }

    #[test]
    fn the_next_start_is_told() {
        let mut pace = Pace::new(Some(60), at(0));
        pace.start(1, at(0));
        assert_eq!(pace.more_at(at(0)), Some(at(1000)));
        assert_eq!(pace.available(at(999)), 0);
        assert_eq!(pace.available(at(1000)), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing_for_long() {
        let mut pace = Pace::new(Some(60), at(1_000_000));
        pace.start(1, at(1_000_000));
        assert_eq!(pace.available(at(0)), 0);
        assert_eq!(pace.available(at(1000)), 1);
        pace.slow_down(at(1_000_000));
        pace.slow_down(at(2000));
        assert_eq!(run(&mut pace, 3000, 43_000, 1) / 10, 1, "a quarter: it asked twice");
        pace.slow_down(at(1_000_000));
        for second in 0..100 {
            pace.succeeded(at(50_000 + second * 1000));
        }
        assert_eq!(run(&mut pace, 150_000, 160_000, 1) / 10, 1, "and recovers");
    }
}
