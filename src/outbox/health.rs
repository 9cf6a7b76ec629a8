//! How a destination fares, and what each answer makes of it. Pure: [`super::destinations`] stores
//! it.

use crate::model::{Timestamp, text_enum};

text_enum!(DestinationState { Active = "active", Failing = "failing", Paused = "paused", Disabled = "disabled" });

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Failures in a row after which a destination is failing.
const FAILURES: u32 = 5;
/// Waits before the first, second … probe of a failing destination; the last one from then on.
const PROBES_MS: [i64; 5] = [30 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR];
/// No probe and no pause is further away than this: a clock that was wrong for a while must not stop
/// a destination for years.
const LONGEST_WAIT_MS: i64 = 29 * HOUR;
/// Only failures for so long, and so many of them, disable a destination.
const DISABLED_AFTER: (i64, u32) = (5 * DAY, 10);

/// Whether and how a destination is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DestinationState {
    Active,
    /// Nothing but a probe now and then.
    Failing,
    /// The merchant stopped it: its queue is held.
    Paused,
    /// It asked for nothing more, or failed for days: its queue is held until the merchant resumes it.
    Disabled,
}

/// How one destination fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    pub state: DestinationState,
    /// A sentence for the merchant: why it is not active, or what to mend although it is.
    pub reason: Option<String>,
    pub since: Timestamp,
    /// In a row.
    pub failures: u32,
    /// The first of [`Self::failures`].
    pub failing_since: Option<Timestamp>,
    /// Failed probes since it is failing.
    pub probes: u32,
    /// While failing: one delivery may be tried from then on.
    pub probe_at: Option<Timestamp>,
    /// Nothing is sent before: it asked us to slow down.
    pub wait_until: Option<Timestamp>,
    /// Events per request at most, where it refused more.
    pub batch_limit: Option<u32>,
}

/// What an answer means for the destination as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: the answer speaks of this delivery alone.
    None,
    /// The merchant has to know of it, but it says nothing of how the destination fares (a blocked
    /// address).
    Notice,
    Success,
    Failure,
    /// It does not know us (401, 403): every other request would fail too.
    Refused,
    /// It wants nothing before this instant (429).
    Wait(Timestamp),
    /// It wants nothing more (410).
    Disable,
}

impl Health {
    /// Of a destination that nothing is known of.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self {
            state: DestinationState::Active,
            reason: None,
            since: now,
            failures: 0,
            failing_since: None,
            probes: 0,
            probe_at: None,
            wait_until: None,
            batch_limit: None,
        }
    }

    /// After a request. `reason` is the sentence about its answer.
    #[must_use]
    pub fn after(&self, effect: Effect, reason: Option<&str>, now: Timestamp) -> Self {
        let mut next = self.clone();
        match effect {
            Effect::None => {}
            Effect::Notice => {
                if matches!(self.state, DestinationState::Active | DestinationState::Failing) {
                    next.reason = reason.map(str::to_owned);
                }
            }
            Effect::Success => {
                (next.failures, next.failing_since) = (0, None);
                if self.state == DestinationState::Active {
                    next.reason = None;
                }
                next.wait_until = self.wait_until.filter(|until| *until > now);
                if self.state == DestinationState::Failing {
                    next.enter(DestinationState::Active, None, now);
                }
            }
            Effect::Wait(until) => next.wait_until = self.wait_until.max(Some(until)),
            Effect::Disable => next.enter(DestinationState::Disabled, reason, now),
            Effect::Failure | Effect::Refused => next.fail(effect == Effect::Refused, reason, now),
        }
        next.postpone_probe(now);
        next
    }

    /// A probe that told nothing is followed by another after the same wait, not at once.
    fn postpone_probe(&mut self, now: Timestamp) {
        if self.state == DestinationState::Failing && self.probe_at.is_none_or(|at| at <= now) {
            self.probe_at = Some(now.plus_millis(self.probe_wait_ms()));
        }
    }

    fn probe_wait_ms(&self) -> i64 {
        PROBES_MS[(self.probes as usize).min(PROBES_MS.len() - 1)]
    }

    fn fail(&mut self, at_once: bool, reason: Option<&str>, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        let first = *self.failing_since.get_or_insert(now);
        let (long, many) = DISABLED_AFTER;
        match self.state {
            DestinationState::Paused | DestinationState::Disabled => {}
            _ if self.failures >= many && now.millis() - first.millis() >= long => {
                let why = format!("failed for five days, last: {}", reason.unwrap_or("no answer"));
                self.enter(DestinationState::Disabled, Some(&why), now);
            }
            DestinationState::Active if at_once || self.failures >= FAILURES => {
                self.enter(DestinationState::Failing, reason, now);
                self.probe_at = Some(now.plus_millis(self.probe_wait_ms()));
            }
            DestinationState::Active => {}
            DestinationState::Failing => {
                self.reason = reason.map(str::to_owned);
                // What was on its way when it began to fail is no probe.
                if self.probe_at.is_none_or(|at| at <= now) {
                    self.probes = self.probes.saturating_add(1);
                    self.probe_at = Some(now.plus_millis(self.probe_wait_ms()));
                }
            }
        }
    }

    /// The merchant's word, or what an answer led to.
    pub(super) fn enter(&mut self, state: DestinationState, reason: Option<&str>, now: Timestamp) {
        if self.state != state {
            self.since = now;
        }
        self.state = state;
        self.reason = reason.map(str::to_owned);
        (self.probes, self.probe_at) = (0, None);
        if state == DestinationState::Active {
            (self.failures, self.failing_since) = (0, None);
        }
    }

    /// The merchant lets it be sent to again. That it failed before is told until it takes something.
    pub(super) fn resume(&mut self, now: Timestamp) {
        let before = match (self.state, self.reason.take()) {
            (DestinationState::Failing | DestinationState::Disabled, Some(reason)) => Some(reason),
            _ if self.failures > 0 => Some("its last try failed".to_owned()),
            _ => None,
        };
        let untried = before.map(|before| format!("it took nothing yet since it was resumed; before: {before}"));
        self.enter(DestinationState::Active, untried.as_deref(), now);
        (self.wait_until, self.batch_limit) = (None, None);
    }

    /// As stored, without what only a clock that was wrong can have left.
    pub(super) fn plausible(mut self, now: Timestamp) -> Self {
        let possible = |at: &Timestamp| at.millis() - now.millis() <= LONGEST_WAIT_MS;
        self.probe_at = self.probe_at.filter(possible);
        self.wait_until = self.wait_until.filter(possible);
        self
    }

    /// What may be sent now.
    #[must_use]
    pub fn gate(&self, now: Timestamp) -> Gate {
        let held_back = self.wait_until.filter(|until| *until > now);
        match self.state {
            DestinationState::Paused | DestinationState::Disabled => Gate::Closed,
            DestinationState::Active => held_back.map_or(Gate::Open, Gate::Until),
            DestinationState::Failing => match self.probe_at.filter(|at| *at > now).max(held_back) {
                Some(at) => Gate::Until(at),
                None => Gate::Probe,
            },
        }
    }
}

/// What may be sent to a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    Open,
    /// One delivery, to see whether it works again.
    Probe,
    /// Nothing before this instant.
    Until(Timestamp),
    /// Nothing until the merchant says so.
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-23T02:00:00Z").unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        now().plus_millis(seconds * SECOND)
    }

    fn after(effects: impl IntoIterator<Item = (i64, Effect)>) -> Health {
        effects
            .into_iter()
            .fold(Health::new(now()), |health, (seconds, effect)| health.after(effect, Some("it fails"), at(seconds)))
    }

    #[test]
    fn five_failures_in_a_row_open_the_breaker_and_one_success_closes_it() {
        let four = after((0..4).map(|second| (second, Effect::Failure)));
        assert_eq!((four.state, four.gate(at(4))), (DestinationState::Active, Gate::Open));
        let interrupted = four.after(Effect::Success, None, at(4)).after(Effect::Failure, None, at(5));
        assert_eq!((interrupted.state, interrupted.failures), (DestinationState::Active, 1));
        let five = four.after(Effect::Failure, Some("answered 500"), at(4));
        assert_eq!((five.state, five.reason.as_deref()), (DestinationState::Failing, Some("answered 500")));
        assert_eq!((five.gate(at(33)), five.gate(at(34))), (Gate::Until(at(34)), Gate::Probe));
        let well = five.after(Effect::Success, None, at(40));
        assert_eq!(well, Health { since: at(40), ..Health::new(now()) });
    }

    #[test]
    fn probes_come_after_30_s_then_1_5_15_min_then_hourly() {
        let mut health = after([(0, Effect::Refused)]);
        let mut waits = Vec::new();
        let mut last = 0;
        for _ in 0..7 {
            let probe = health.probe_at.unwrap();
            let seconds = (probe.millis() - now().millis()) / SECOND;
            waits.push(seconds - last);
            last = seconds;
            assert_eq!(health.gate(probe), Gate::Probe);
            health = health.after(Effect::Failure, None, probe);
        }
        assert_eq!(waits, [30, 60, 300, 900, 3600, 3600, 3600]);
    }

    #[test]
    fn a_probe_that_told_nothing_is_followed_by_another_after_the_same_wait() {
        let failing = after([(0, Effect::Refused), (30, Effect::Failure)]);
        assert_eq!(failing.gate(at(90)), Gate::Probe);
        for effect in [Effect::None, Effect::Notice, Effect::Wait(at(95))] {
            let next = failing.after(effect, Some("it cannot be made"), at(90));
            assert_eq!((next.state, next.probes, next.failures), (DestinationState::Failing, 1, 2), "{effect:?}");
            assert_eq!((next.gate(at(149)), next.gate(at(150))), (Gate::Until(at(150)), Gate::Probe), "{effect:?}");
            // What was on its way before the probe is due puts nothing off.
            assert_eq!(failing.after(effect, None, at(80)).probe_at, failing.probe_at, "{effect:?}");
        }
    }

    #[test]
    fn a_notice_is_shown_until_something_is_taken_and_is_no_failure() {
        let noticed = after((0..50).map(|second| (second, Effect::Notice)));
        assert_eq!((noticed.state, noticed.failures), (DestinationState::Active, 0));
        assert_eq!((noticed.reason.as_deref(), noticed.gate(at(50))), (Some("it fails"), Gate::Open));
        assert_eq!(noticed.after(Effect::Success, None, at(51)), Health::new(now()));
    }

    #[test]
    fn what_failed_before_it_was_resumed_is_told_until_something_is_taken() {
        let resumed = |mut health: Health, paused: bool| {
            if paused {
                health.enter(DestinationState::Paused, Some("paused by hand"), at(60));
            }
            health.resume(at(61));
            assert_eq!((health.state, health.failures, health.gate(at(61))), (DestinationState::Active, 0, Gate::Open));
            health
        };
        let disabled = resumed(after([(0, Effect::Disable)]), false);
        assert_eq!(disabled.reason.as_deref(), Some("it took nothing yet since it was resumed; before: it fails"));
        assert_eq!(disabled.after(Effect::Success, None, at(62)).reason, None);
        for failed in [after([(0, Effect::Failure)]), after([(0, Effect::Refused)])] {
            let told = resumed(failed, true).reason;
            assert_eq!(told.as_deref(), Some("it took nothing yet since it was resumed; before: its last try failed"));
        }
        assert_eq!(resumed(after([(0, Effect::Success)]), true).reason, None);
    }

    #[test]
    fn a_clock_that_was_wrong_stops_nothing_for_years() {
        let year = 365 * 24 * 3600;
        let later = after([(year, Effect::Wait(at(year + 60))), (year, Effect::Refused)]).plausible(now());
        assert_eq!(later.gate(now()), Gate::Probe);
        let asked = after([(0, Effect::Wait(at(24 * 3600)))]);
        assert_eq!(asked.clone().plausible(now()), asked);
    }

    #[test]
    fn what_was_on_its_way_is_no_probe() {
        let opened = after([(0, Effect::Refused), (3, Effect::Failure), (4, Effect::Refused)]);
        assert_eq!((opened.probes, opened.probe_at), (0, Some(at(30))));
    }

    #[test]
    fn five_days_of_only_failures_disable_and_need_ten_of_them() {
        let day = 24 * 3600;
        let few = after((0..9).map(|n| (n * day, Effect::Failure)));
        assert_eq!(few.state, DestinationState::Failing, "nine are not enough");
        let many = few.after(Effect::Failure, Some("answered 500"), at(9 * day));
        assert_eq!(many.state, DestinationState::Disabled);
        assert_eq!(many.reason.as_deref(), Some("failed for five days, last: answered 500"));
        assert_eq!(many.gate(at(99 * day)), Gate::Closed);
        let soon = after((0..50).map(|n| (n * 3600, Effect::Failure)));
        assert_eq!(soon.state, DestinationState::Failing, "two days are not enough");
    }

    #[test]
    fn a_pause_that_was_asked_for_holds_up_everything_and_a_later_one_wins() {
        let asked = after([(0, Effect::Wait(at(60))), (1, Effect::Wait(at(20)))]);
        assert_eq!((asked.gate(at(59)), asked.gate(at(60))), (Gate::Until(at(60)), Gate::Open));
        let failing = asked.after(Effect::Refused, None, at(2));
        assert_eq!(failing.gate(at(40)), Gate::Until(at(60)), "later than the probe");
        assert_eq!(after([(0, Effect::Wait(at(60)))]).failures, 0, "it is no failure");
    }

    #[test]
    fn paused_and_disabled_stay_so_whatever_is_still_answered() {
        for state in [DestinationState::Paused, DestinationState::Disabled] {
            let mut health = Health::new(now());
            health.enter(state, Some("by hand"), now());
            for effect in [Effect::Success, Effect::Failure, Effect::Refused, Effect::Notice, Effect::None] {
                assert_eq!(health.after(effect, None, at(1)).state, state);
            }
            assert_eq!(health.gate(at(1)), Gate::Closed);
        }
        let disabled = after([(0, Effect::Disable)]);
        assert_eq!((disabled.state, disabled.reason.as_deref()), (DestinationState::Disabled, Some("it fails")));
    }
}
