//! When a pull is due. Pure.

use super::log::{State, Trigger};
use crate::model::Timestamp;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// So long before scoring the shop is asked once more.
pub const BEFORE_SCORING: i64 = 30 * MINUTE;
/// After the first failure; twice as long after each further one, up to the usual interval.
const AFTER_A_FAILURE: i64 = 10 * MINUTE;

/// The pull before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    pub state: State,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// Failures since the last one that was done.
    pub failures: u32,
}

/// Whether a pull is due at `now`, and why. `scoring`: the next time that customers are scored.
#[must_use]
pub fn due(last: Option<Last>, every_hours: u32, scoring: Option<Timestamp>, now: Timestamp) -> Option<Trigger> {
    let Some(last) = last else { return Some(Trigger::Scheduled) };
    // One that was cut off: whoever ran it is gone, since only one can run.
    let Some(next) = regular(last, every_hours) else { return Some(Trigger::Scheduled) };
    if scoring.is_some_and(|scoring| {
        let from = scoring.plus_millis(-BEFORE_SCORING);
        from <= now && now < scoring && last.started_at < from
    }) {
        return Some(Trigger::BeforeScoring);
    }
    // A clock that was set back must not stop the pulls.
    (now >= next || now < last.started_at).then_some(Trigger::Scheduled)
}

/// When the next pull begins by itself; `now` when it is due or under way.
#[must_use]
pub fn next(last: Option<Last>, every_hours: u32, scoring: Option<Timestamp>, now: Timestamp) -> Timestamp {
    let Some(regular) = last.and_then(|last| regular(last, every_hours)) else { return now };
    let before_scoring = scoring.map(|scoring| scoring.plus_millis(-BEFORE_SCORING));
    before_scoring
        .filter(|at| last.is_some_and(|last| last.started_at < *at))
        .map_or(regular, |at| at.min(regular))
        .max(now)
}

/// When the pull after `last` is due, scoring apart; `None`: at once, it was cut off.
fn regular(last: Last, every_hours: u32) -> Option<Timestamp> {
    let every = i64::from(every_hours) * HOUR;
    match last.state {
        State::Running => None,
        State::Done => Some(last.started_at.plus_millis(every)),
        State::Failed => {
            let pause = AFTER_A_FAILURE.saturating_mul(1 << last.failures.saturating_sub(1).min(20)).min(every);
            Some(last.finished_at.unwrap_or(last.started_at).plus_millis(pause))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(&format!("2026-11-{text}Z")).unwrap()
    }

    fn last(state: State, started: &str, failures: u32) -> Last {
        let started_at = at(started);
        Last { state, started_at, finished_at: Some(started_at.plus_millis(MINUTE)), failures }
    }

    #[test]
    fn every_six_hours_and_before_the_night() {
        let (scheduled, before) = (Some(Trigger::Scheduled), Some(Trigger::BeforeScoring));
        let night = Some(at("24T02:00:00"));
        for (last, scoring, now, expected) in [
            (None, None, "23T12:00:00", scheduled),
            (Some(last(State::Running, "23T12:00:00", 0)), None, "23T12:00:01", scheduled),
            (Some(last(State::Done, "23T12:00:00", 0)), night, "23T17:59:59", None),
            (Some(last(State::Done, "23T12:00:00", 0)), night, "23T18:00:00", scheduled),
            (Some(last(State::Done, "23T22:00:00", 0)), night, "24T01:29:59", None),
            (Some(last(State::Done, "23T22:00:00", 0)), night, "24T01:30:00", before),
            (Some(last(State::Done, "24T01:30:00", 0)), night, "24T01:45:00", None),
            (Some(last(State::Done, "24T01:31:00", 0)), night, "24T01:59:59", None),
            (Some(last(State::Failed, "23T22:00:00", 9)), night, "24T01:30:00", before),
            (Some(last(State::Failed, "23T12:00:00", 1)), None, "23T12:10:59", None),
            (Some(last(State::Failed, "23T12:00:00", 1)), None, "23T12:11:00", scheduled),
            (Some(last(State::Failed, "23T12:00:00", 3)), None, "23T12:40:59", None),
            (Some(last(State::Failed, "23T12:00:00", 3)), None, "23T12:41:00", scheduled),
            (Some(last(State::Failed, "23T12:00:00", 99)), None, "23T18:00:59", None),
            (Some(last(State::Failed, "23T12:00:00", 99)), None, "23T18:01:00", scheduled),
            (Some(last(State::Done, "23T12:00:00", 0)), None, "22T12:00:00", scheduled),
        ] {
            assert_eq!(due(last, 6, scoring, at(now)), expected, "{last:?} {now}");
        }
    }

    #[test]
    fn the_next_one_is_said_and_comes_then() {
        let night = Some(at("24T02:00:00"));
        for (last, scoring, now, expected) in [
            (None, None, "23T12:00:00", "23T12:00:00"),
            (Some(last(State::Running, "23T12:00:00", 0)), None, "23T12:00:01", "23T12:00:01"),
            (Some(last(State::Done, "23T12:00:00", 0)), night, "23T13:00:00", "23T18:00:00"),
            (Some(last(State::Done, "23T22:00:00", 0)), night, "23T23:00:00", "24T01:30:00"),
            (Some(last(State::Done, "24T01:30:00", 0)), night, "24T01:45:00", "24T07:30:00"),
            (Some(last(State::Failed, "23T12:00:00", 1)), None, "23T12:02:00", "23T12:11:00"),
            (Some(last(State::Done, "23T12:00:00", 0)), None, "23T20:00:00", "23T20:00:00"),
        ] {
            let next = next(last, 6, scoring, at(now));
            assert_eq!(next, at(expected), "{last:?} {now}");
            assert!(due(last, 6, scoring, next).is_some(), "{last:?} {now}");
        }
    }
}
