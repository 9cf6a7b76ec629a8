use proptest::prelude::*;

use super::*;
use crate::outbox::{Gate, Health};

const ID: [u8; 16] = [7; 16];

fn now() -> Timestamp {
    Timestamp::parse_rfc3339("2026-11-23T02:00:00Z").unwrap()
}

fn attempt(number: u32) -> Try {
    Try { message_id: ID, attempt: number, counted: number, events: 1, spared: false }
}

fn answer(status: u16) -> Reply {
    Reply::Answer(Answer { status, ..Answer::default() })
}

fn answer_with(status: u16, retry_after: &str) -> Reply {
    Reply::Answer(Answer { status, retry_after: Some(retry_after.to_owned()), ..Answer::default() })
}

fn disabling(status: u16) -> Reply {
    Reply::Answer(Answer { status, disable: true, ..Answer::default() })
}

/// The schedule of message 7, worked out once with an independent program: what is stored in a
/// database must not change its meaning with a new version.
const SCHEDULE_MS: [i64; 11] =
    [4_525, 35_850, 123_600, 784_800, 3_121_200, 9_903_600, 21_664_800, 38_318_400, 99_014_400, 73_267_200, 75_945_600];

#[test]
fn the_schedule_is_fixed() {
    let waits = (1..ATTEMPTS).map(|number| delay_ms(attempt(number))).collect::<Vec<_>>();
    assert_eq!(waits, SCHEDULE_MS);
    assert_eq!(DELAYS_MS.iter().sum::<i64>() / HOUR, 94);
    assert_eq!(DELAYS_MS.len() + 1, ATTEMPTS as usize);
}

/// `delivery.md`, "Retry": each row of the answer table, with the exact time of the next attempt
/// and what it means for the destination.
#[test]
fn the_answer_table() {
    use Effect::{Disable, Failure as Failed, None as Nothing, Notice, Refused, Success, Wait};
    let at = |wait: i64| now().plus_millis(wait);
    let retry = |wait: i64| Verdict::Retry { at: at(wait), spared: false };
    let spared = |wait: i64| Verdict::Retry { at: at(wait), spared: true };
    let held = Verdict::Held(Hold::Destination);
    let split = |remember| Verdict::Split { remember };
    let scheduled = |number: u32| SCHEDULE_MS[number as usize - 1];
    let failure = Reply::Failure;
    let meaning = |status, meaning| Reply::Answer(Answer { status, meaning, ..Answer::default() });
    let batch = |number| Try { events: 100, ..attempt(number) };
    let failing = |number| Try { spared: true, ..attempt(number) };
    let later = "Mon, 23 Nov 2026 03:00:00 GMT";
    let table = [
        // reply, attempt, verdict, effect
        (answer(200), attempt(1), Verdict::Delivered, Success),
        (answer(204), attempt(12), Verdict::Delivered, Success),
        (answer(202), batch(1), Verdict::Delivered, Success),
        (answer(200), failing(3), Verdict::Delivered, Success),
        (disabling(200), attempt(1), Verdict::Delivered, Disable),
        (answer(301), attempt(1), retry(scheduled(1)), Failed),
        (answer(304), attempt(2), retry(scheduled(2)), Failed),
        (answer(307), batch(2), retry(scheduled(2)), Failed),
        (answer(400), attempt(1), retry(scheduled(1)), Failed),
        (answer(400), attempt(2), retry(scheduled(2)), Failed),
        (answer(400), attempt(3), Verdict::Dead, Failed),
        (answer(422), attempt(2), retry(scheduled(2)), Failed),
        (answer(422), attempt(3), Verdict::Dead, Failed),
        (answer(400), batch(1), split(false), Nothing),
        (answer(422), batch(7), split(false), Nothing),
        (answer(413), batch(1), split(true), Nothing),
        (answer(413), attempt(1), Verdict::Dead, Nothing),
        (answer(401), attempt(1), spared(scheduled(1)), Refused),
        (answer(403), attempt(4), spared(scheduled(4)), Refused),
        (answer(401), attempt(12), spared(69_984_000), Refused),
        (answer(401), batch(1), spared(scheduled(1)), Refused),
        (answer(404), attempt(1), retry(scheduled(1)), Failed),
        (answer(405), attempt(1), retry(scheduled(1)), Failed),
        (answer(408), attempt(1), retry(scheduled(1)), Failed),
        (answer(425), attempt(1), retry(scheduled(1)), Failed),
        (answer(409), attempt(1), retry(scheduled(1)), Failed),
        (answer(418), attempt(11), retry(scheduled(11)), Failed),
        (answer(404), attempt(12), Verdict::Dead, Failed),
        (answer(404), failing(12), spared(69_984_000), Failed),
        (answer(410), attempt(1), held, Disable),
        (answer(410), batch(1), held, Disable),
        (disabling(404), attempt(1), held, Disable),
        (disabling(500), attempt(12), held, Disable),
        (answer(429), attempt(1), spared(scheduled(1)), Wait(at(5 * SECOND))),
        (answer_with(429, "90"), attempt(1), spared(90 * SECOND), Wait(at(90 * SECOND))),
        (answer_with(429, "1"), attempt(3), spared(scheduled(3)), Wait(at(5 * SECOND))),
        // A delivery that is late in its schedule does not hold up the others for a day.
        (answer(429), attempt(12), spared(69_984_000), Wait(at(5 * SECOND))),
        (answer(500), attempt(1), retry(scheduled(1)), Failed),
        (answer(500), batch(1), retry(scheduled(1)), Failed),
        (answer(500), attempt(11), retry(scheduled(11)), Failed),
        (answer(500), attempt(12), Verdict::Dead, Failed),
        (answer(502), attempt(1), retry(MINUTE), Failed),
        (answer(503), attempt(2), retry(MINUTE), Failed),
        (answer(504), attempt(3), retry(scheduled(3)), Failed),
        (answer(503), attempt(4), retry(scheduled(4)), Failed),
        (answer_with(503, "3600"), attempt(1), retry(HOUR), Failed),
        (answer_with(503, later), attempt(1), retry(HOUR), Failed),
        (answer_with(503, "10"), attempt(1), retry(MINUTE), Failed),
        (answer_with(500, "604800"), attempt(1), retry(24 * HOUR), Failed),
        (answer_with(500, "soon"), attempt(1), retry(scheduled(1)), Failed),
        (answer_with(500, "-5"), attempt(1), retry(scheduled(1)), Failed),
        (answer_with(302, "120"), attempt(1), retry(120 * SECOND), Failed),
        (failure(Failure::Timeout), attempt(1), retry(MINUTE), Failed),
        (failure(Failure::Timeout), attempt(12), Verdict::Dead, Failed),
        (failure(Failure::Timeout), failing(1), spared(MINUTE), Failed),
        (failure(Failure::ConnectTimeout), attempt(2), retry(MINUTE), Failed),
        (failure(Failure::Refused), attempt(1), retry(scheduled(1)), Failed),
        (failure(Failure::Cut), attempt(1), retry(scheduled(1)), Failed),
        (failure(Failure::Dns("x.invalid".to_owned())), attempt(5), retry(scheduled(5)), Failed),
        (failure(Failure::Tls("expired".to_owned())), attempt(1), retry(scheduled(1)), Failed),
        (failure(Failure::Other("?".to_owned())), attempt(12), Verdict::Dead, Failed),
        (failure(Failure::Blocked("10.0.0.1".to_owned())), attempt(1), Verdict::Dead, Notice),
        (failure(Failure::Blocked("10.0.0.1".to_owned())), batch(1), Verdict::Dead, Notice),
        (failure(Failure::Unrenderable("no id".to_owned())), attempt(2), retry(scheduled(2)), Nothing),
        (failure(Failure::Unrenderable("no id".to_owned())), attempt(3), Verdict::Dead, Nothing),
        (meaning(404, Meaning::Skipped), attempt(1), Verdict::Delivered, Success),
        (meaning(403, Meaning::Throttled), attempt(1), spared(scheduled(1)), Wait(at(5 * SECOND))),
        (meaning(200, Meaning::Refused("no".to_owned())), attempt(1), retry(scheduled(1)), Failed),
        (meaning(200, Meaning::Refused("no".to_owned())), attempt(3), Verdict::Dead, Failed),
        // A probe of a failing destination, taken before its own time: it wears out nothing.
        (failure(Failure::Unrenderable("no id".to_owned())), failing(3), spared(scheduled(3)), Nothing),
        (failure(Failure::Unrenderable("no id".to_owned())), failing(12), spared(69_984_000), Nothing),
        (failure(Failure::Blocked("10.0.0.1".to_owned())), failing(2), Verdict::Dead, Notice),
        (failure(Failure::Refused), failing(12), spared(69_984_000), Failed),
        (answer(302), failing(2), spared(scheduled(2)), Failed),
        (answer(400), failing(3), spared(scheduled(3)), Failed),
        (answer(401), failing(2), spared(scheduled(2)), Refused),
        (answer(410), failing(2), held, Disable),
        (answer(413), failing(2), Verdict::Dead, Nothing),
        (answer(413), Try { spared: true, ..batch(2) }, split(true), Nothing),
        (answer(422), Try { spared: true, ..batch(2) }, split(false), Nothing),
        (answer(429), failing(2), spared(scheduled(2)), Wait(at(5 * SECOND))),
        (answer(503), failing(2), spared(MINUTE), Failed),
        (disabling(200), failing(2), Verdict::Delivered, Disable),
        (meaning(404, Meaning::Skipped), failing(2), Verdict::Delivered, Success),
    ];
    for (reply, this, verdict, effect) in table {
        let judgement = judge(&reply, this, now());
        assert_eq!(judgement, Judgement { verdict, effect }, "{this:?}: {reply:?}");
        is_no_reason_to_probe_again_at_once(judgement);
    }
}

/// After a probe a failing destination is sent to as usual, or not at all, or probed again after
/// half a minute at least: whatever came back.
fn is_no_reason_to_probe_again_at_once(judgement: Judgement) {
    let refused = now().plus_millis(-30 * SECOND);
    let failing = Health::new(refused).after(Effect::Refused, None, refused);
    assert_eq!(failing.gate(now()), Gate::Probe);
    match failing.after(judgement.effect, None, now()).gate(now()) {
        Gate::Open => assert_eq!(judgement.effect, Effect::Success),
        Gate::Closed => assert_eq!(judgement.effect, Effect::Disable),
        Gate::Until(at) => assert!(at >= now().plus_millis(30 * SECOND), "{judgement:?}: until {at}"),
        Gate::Probe => panic!("{judgement:?} is probed again at once"),
    }
}

#[test]
fn spared_attempts_do_not_wear_a_delivery_out() {
    let this = Try { counted: 2, ..attempt(40) };
    let Verdict::Retry { at, spared: false } = judge(&answer(500), this, now()).verdict else { panic!("still alive") };
    let wait = at.millis() - now().millis();
    assert!((24 * SECOND..=36 * SECOND).contains(&wait), "the second delay, not the fortieth: {wait}");
}

#[test]
fn every_failure_says_what_happened_and_what_to_do() {
    let say = |reply: &Reply, number| explain(reply, judge(reply, attempt(number), now()).verdict);
    assert_eq!(say(&answer(200), 1), None);
    assert_eq!(say(&answer(401), 1).unwrap(), "answered 401: it does not accept the request; check the key");
    assert_eq!(say(&answer(500), 12).unwrap(), "given up: answered 500: it has a fault of its own");
    let moved = Reply::Answer(Answer {
        status: 308,
        location: Some("https://user:pass@new.example:8443/hook/key?token=1#x".to_owned()),
        ..Answer::default()
    });
    assert_eq!(
        say(&moved, 1).unwrap(),
        "answered 308: moved to https://new.example:8443/…; redirects are not followed, set `url` to the new address"
    );
    let nearby = Reply::Answer(Answer { status: 302, location: Some("/login?key=1".to_owned()), ..Answer::default() });
    assert_eq!(
        say(&nearby, 1).unwrap(),
        "answered 302: moved to another path; redirects are not followed, set `url` to the new address"
    );
    assert_eq!(say(&disabling(200), 1).unwrap(), "asked for nothing more (webhook-delivery: disable)");
    let skipped = Reply::Answer(Answer { status: 404, meaning: Meaning::Skipped, ..Answer::default() });
    assert_eq!(say(&skipped, 1).unwrap(), "passed over: the tool does not know this customer");
    assert_eq!(
        say(&Reply::Failure(Failure::Blocked("10.0.0.1".to_owned())), 1).unwrap(),
        "10.0.0.1 is not a public address; if it is meant, add its network to [forwarder] allow_private"
    );
}

proptest! {
    #[test]
    fn the_wait_stays_within_a_fifth_of_the_schedule_and_is_reproducible(id: [u8; 16], number in 1u32..40) {
        let this = Try { message_id: id, ..attempt(number) };
        let nominal = DELAYS_MS[(number as usize - 1).min(10)];
        let wait = delay_ms(this);
        prop_assert!((nominal * 8 / 10..=nominal * 12 / 10).contains(&wait));
        prop_assert_eq!(wait, delay_ms(this));
    }

    #[test]
    fn retry_after_only_pushes_later_and_within_a_day(text in "\\PC{0,40}|[0-9]{1,25}", status in 300u16..600, number in 1u32..12) {
        let (plain, asked) = (answer(status), answer_with(status, &text));
        let wait = |reply: &Reply| wait_ms(reply, attempt(number), now());
        prop_assert!(wait(&asked) >= wait(&plain));
        prop_assert!(wait(&asked) <= wait(&plain).max(24 * HOUR));
        prop_assert!(wait(&asked) <= LONGEST_WAIT_MS);
    }

    #[test]
    fn a_date_means_the_same_as_its_seconds(seconds in 1u64..86_400) {
        let date = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(now().seconds()).unwrap() + seconds);
        prop_assert_eq!(
            retry_after_ms(&httpdate::fmt_http_date(date), now()),
            retry_after_ms(&seconds.to_string(), now())
        );
    }

    #[test]
    fn a_date_that_has_passed_means_now(seconds in 0u64..1_000_000) {
        let date = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(now().seconds()).unwrap() - seconds);
        prop_assert_eq!(retry_after_ms(&httpdate::fmt_http_date(date), now()), Some(SECOND));
    }

    #[test]
    fn jitter_spreads_deliveries_that_failed_together(seed: [u8; 8]) {
        let waits: std::collections::BTreeSet<i64> = (0u64..200)
            .map(|n| {
                let mut id = [0; 16];
                id[..8].copy_from_slice(&seed);
                id[8..].copy_from_slice(&n.to_be_bytes());
                delay_ms(Try { message_id: id, ..attempt(5) })
            })
            .collect();
        prop_assert!(waits.len() > 100, "{} different waits", waits.len());
        prop_assert!(*waits.first().unwrap() < HOUR * 9 / 10 && *waits.last().unwrap() > HOUR * 11 / 10);
    }
}
