//! The shop's bucket of points. Each query costs some; the bucket refills by the second. Pure.
//! <https://shopify.dev/docs/api/usage/limits>

use std::time::Duration;

use serde::Deserialize;

use crate::model::Timestamp;

/// `extensions.cost` of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// What the query was charged before it ran; it is refused when the bucket holds less.
    #[serde(default)]
    pub requested_query_cost: f64,
    pub throttle_status: Status,
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub maximum_available: f64,
    pub currently_available: f64,
    /// Points per second.
    pub restore_rate: f64,
}

/// What is known of the bucket.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bucket(Option<(Status, Timestamp)>);

/// Nothing is waited for longer than this at once, whatever an answer says.
const LONGEST: Duration = Duration::from_secs(300);
/// Points that stay in the bucket for the shop's other apps.
const RESERVE: f64 = 50.0;

impl Bucket {
    pub const fn learn(&mut self, cost: &Cost, now: Timestamp) {
        self.0 = Some((cost.throttle_status, now));
    }

    /// How long until the bucket holds `points`; zero while nothing is known of it.
    #[must_use]
    pub fn wait(&self, points: f64, now: Timestamp) -> Duration {
        let Some((status, at)) = self.0 else { return Duration::ZERO };
        let rate = if status.restore_rate > 0.0 { status.restore_rate } else { 1.0 };
        #[expect(clippy::cast_precision_loss, reason = "seconds of waiting, not money")]
        let since = now.millis().saturating_sub(at.millis()).max(0) as f64 / 1000.0;
        // A bucket that can never hold so much is full at its maximum.
        let needed = (points + RESERVE).min(status.maximum_available);
        let lacking = needed - rate.mul_add(since, status.currently_available);
        // `max` also takes the place of what is not a number.
        Duration::try_from_secs_f64((lacking / rate).max(0.0)).unwrap_or(LONGEST).min(LONGEST)
    }
}

/// How long to leave the shop alone after the `tries`-th refusal in a row: a second, then twice as
/// long each time; longer when the shop says so.
#[must_use]
pub fn back_off(tries: u32, asked: Option<Duration>) -> Duration {
    let own = Duration::from_secs(1 << tries.saturating_sub(1).min(6));
    own.max(asked.unwrap_or_default()).min(LONGEST)
}

/// `Retry-After` in seconds, which Shopify writes as "2.0".
#[must_use]
pub fn retry_after(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok().map(|duration| duration.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn bucket(available: f64) -> Bucket {
        let throttle_status = Status { maximum_available: 2000.0, currently_available: available, restore_rate: 100.0 };
        let mut bucket = Bucket::default();
        bucket.learn(&Cost { requested_query_cost: 500.0, throttle_status }, at(0));
        bucket
    }

    #[test]
    fn a_low_bucket_is_waited_for() {
        for (available, points, now, seconds) in [
            (2000.0, 500.0, 0, 0.0),
            (550.0, 500.0, 0, 0.0),
            (50.0, 500.0, 0, 5.0),
            (50.0, 500.0, 3, 2.0),
            (50.0, 500.0, 60, 0.0),
            (0.0, 5000.0, 0, 20.0), // more than it holds: until it is full
            (0.0, f64::NAN, 0, 20.0),
        ] {
            let wait = bucket(available).wait(points, at(now)).as_secs_f64();
            assert!((wait - seconds).abs() < 0.001, "{available} {points} {now}: {wait}");
        }
        assert_eq!(Bucket::default().wait(500.0, at(0)), Duration::ZERO);
    }

    #[test]
    fn odd_answers_never_wait_for_ever() {
        let throttle_status = Status { maximum_available: f64::MAX, currently_available: -1e300, restore_rate: 1e-300 };
        let mut bucket = Bucket::default();
        bucket.learn(&Cost { requested_query_cost: 1.0, throttle_status }, at(0));
        assert_eq!(bucket.wait(1.0, at(0)), LONGEST);
        for text in ["", "soon", "-1", "NaN", "inf"] {
            assert_eq!(retry_after(text), None, "{text}");
        }
        assert_eq!(retry_after(" 2.0"), Some(Duration::from_secs(2)));
        assert_eq!(retry_after("86400"), Some(LONGEST));
    }

    #[test]
    fn refusals_are_answered_with_patience() {
        let waits: Vec<u64> = (1..=9).map(|tries| back_off(tries, None).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 64, 64]);
        assert_eq!(back_off(1, Some(Duration::from_secs(20))).as_secs(), 20);
        assert_eq!(back_off(7, Some(Duration::from_secs(2))).as_secs(), 64);
    }
}
