//! When a delivery goes out, in words. Pure.

use super::queue::Delivery;
use crate::{
    model::Timestamp,
    outbox::{DestinationState, Gate, Health, Hold, State},
    web::dashboard::words,
};

/// What happens next with what has not ended; empty: it has. `health`: of its destination, `None` when
/// the configuration has no such destination.
pub fn next(delivery: &Delivery, health: Option<&Health>, now: Timestamp) -> String {
    let text = match delivery.state {
        State::Delivered | State::Dead | State::Superseded | State::Discarded => "",
        State::Sending => "on its way",
        State::Held => match delivery.hold {
            Some(Hold::Baseline | Hold::Run | Hold::Restored) => "when you decide",
            Some(Hold::Consent) => "when the customer agrees to e-mail",
            Some(Hold::Destination) | None => "when its destination is resumed",
        },
        State::Waiting | State::Retrying => return due(delivery, health, now),
    };
    text.to_owned()
}

fn due(delivery: &Delivery, health: Option<&Health>, now: Timestamp) -> String {
    let Some(health) = health else { return "never: the configuration has no such destination".to_owned() };
    let gate = match (health.gate(now), health.state) {
        (Gate::Closed, DestinationState::Disabled) => {
            return "when its destination is resumed: it is disabled".to_owned();
        }
        (Gate::Closed, _) => return "when its destination is resumed: it is paused".to_owned(),
        (Gate::Until(at), _) => Some(at),
        (Gate::Open | Gate::Probe, _) => None,
    };
    match (delivery.due_at, gate) {
        (None, _) => "after an older one of this customer".to_owned(),
        (Some(_), Some(at)) if health.state == DestinationState::Failing => {
            format!("when its destination answers again; next look {}", words::until(at, now))
        }
        (Some(due), gate) => match words::until(gate.map_or(due, |at| due.max(at)), now).as_str() {
            "now" => "at its turn".to_owned(),
            later => later.to_owned(),
        },
    }
}

/// A destination that is not sent to as usual: what the list says above it.
pub fn obstacle(name: &str, health: &Health, now: Timestamp) -> Option<String> {
    let reason = health.reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default();
    match (health.state, health.gate(now)) {
        (DestinationState::Paused, _) => Some(format!("{name} is paused, so nothing goes to it until you resume it.")),
        (DestinationState::Disabled, _) => {
            Some(words::sentence(&format!("{name} is disabled until you resume it{reason}")))
        }
        (DestinationState::Failing, _) => Some(words::sentence(&format!("{name} is failing{reason}"))),
        (DestinationState::Active, Gate::Until(at)) => {
            Some(format!("{name} asked to slow down; it is sent to again {}.", words::until(at, now)))
        }
        (DestinationState::Active, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::{Effect, EventType};

    fn now() -> Timestamp {
        Timestamp::parse_rfc3339("2026-11-23T12:00:00Z").unwrap()
    }

    fn delivery(state: State, due_at: Option<i64>) -> Delivery {
        Delivery {
            id: 1,
            message_id: [0; 16],
            destination: "tool".to_owned(),
            state,
            hold: None,
            events: 1,
            attempts: 1,
            due_at: due_at.map(|seconds| {
                if seconds == 0 { Timestamp::from_millis(0) } else { now().plus_millis(seconds * 1000) }
            }),
            last_status: None,
            last_error: None,
            created_at: now(),
            finished_at: None,
            run_id: None,
            seq: 1,
            replay_of: None,
            kind: EventType::SegmentChanged,
            old: None,
            new: None,
            customer: None,
        }
    }

    #[test]
    fn what_happens_next_names_what_it_waits_for() {
        let well = Health::new(now());
        let failing = well.after(Effect::Refused, Some("refused our key (401)"), now());
        let slow = well.after(Effect::Wait(now().plus_millis(300_000)), None, now());
        let gone = well.after(Effect::Disable, Some("asked for nothing more (410)"), now());
        for (state, due, health, said) in [
            (State::Delivered, None, Some(&well), ""),
            (State::Sending, None, Some(&well), "on its way"),
            (State::Waiting, Some(0), Some(&well), "at its turn"),
            (State::Waiting, None, Some(&well), "after an older one of this customer"),
            (State::Retrying, Some(240), Some(&well), "in 4 min"),
            (State::Retrying, Some(240), Some(&slow), "in 5 min"),
            (State::Retrying, Some(240), Some(&failing), "when its destination answers again; next look in 30 s"),
            (State::Waiting, Some(0), Some(&gone), "when its destination is resumed: it is disabled"),
            (State::Waiting, Some(0), None, "never: the configuration has no such destination"),
            (State::Held, None, Some(&well), "when its destination is resumed"),
        ] {
            assert_eq!(next(&delivery(state, due), health, now()), said, "{state} {due:?}");
        }
        let held = Delivery { hold: Some(Hold::Consent), ..delivery(State::Held, None) };
        assert_eq!(next(&held, Some(&well), now()), "when the customer agrees to e-mail");
        assert_eq!(obstacle("tool", &well, now()), None);
        assert_eq!(
            obstacle("tool", &gone, now()).unwrap(),
            "tool is disabled until you resume it: asked for nothing more (410)."
        );
    }
}
