//! The loop over time: retries, order, independence, restarts and stops.

use std::time::{Duration, Instant};

use quintile::{
    model::Timestamp,
    outbox::{self, Claims, Effect, Ids, Places, Route, Settlement, Shop as ShopInfo, Verdict},
};
use tokio_util::sync::CancellationToken;

use super::fixture::{Shop, until};
use crate::support::receiver::{Answer, Receiver};

const SECOND: Duration = Duration::from_secs(1);

fn next_attempt(shop: &Shop) -> Timestamp {
    shop.deliveries()[0].next_attempt_at.expect("one is scheduled")
}

#[tokio::test]
async fn a_delivery_is_retried_over_94_hours_with_the_same_bytes_and_then_dead() {
    let tool = Receiver::start().await;
    tool.answers(500);
    let shop = Shop::new(&[&tool]);
    let started = shop.now();
    shop.moves(&[1], "lost");
    for attempt in 1..=12 {
        let report = shop.deliver().await;
        assert_eq!(tool.received().len(), attempt);
        assert_eq!(shop.deliver().await, quintile::delivery::Report { dead: 0, ..report.clone() }, "nothing was due");
        assert_eq!(tool.received().len(), attempt, "not before its time");
        if attempt < 12 {
            assert_eq!((report.retrying, report.dead), (1, 0));
            shop.set_clock(next_attempt(&shop));
        }
    }
    let [delivery] = shop.deliveries().try_into().unwrap();
    assert_eq!((delivery.state.as_str(), delivery.attempts), ("dead", 12));
    assert_eq!(delivery.last_error.unwrap(), "given up: answered 500: it has a fault of its own");
    let hours = (shop.now().millis() - started.millis()) / 3_600_000;
    assert!((76..=113).contains(&hours), "94 hours, a fifth of each wait either way: {hours}");

    let received = tool.received();
    for (attempt, request) in (1..).zip(&received) {
        request.assert_signed();
        assert_eq!(request.header("quintile-attempt"), attempt.to_string());
        assert_eq!(request.header("webhook-id"), delivery.message_id);
        assert_eq!(request.body, received[0].body);
    }
    let times: Vec<i64> = received.iter().map(|request| request.header("webhook-timestamp").parse().unwrap()).collect();
    assert!(times.is_sorted() && times[0] < times[1], "each attempt has its own time");
    assert_eq!(shop.attempts(1).len(), 12);
}

#[tokio::test]
async fn the_body_is_frozen_at_the_first_attempt() {
    let tool = Receiver::start().await;
    tool.answers(500);
    let mut shop = Shop::new(&[&tool]);
    shop.config.destination[0].fields = vec!["email".to_owned()];
    shop.moves(&[1], "lost");
    shop.deliver().await;
    shop.write(|tx| Ok(tx.execute("UPDATE customers SET email = 'other@example.com'", [])?));
    shop.set_clock(next_attempt(&shop));
    tool.answers(200);
    assert_eq!(shop.deliver().await.delivered, 1);
    let received = tool.received();
    assert_eq!(received[0].body, received[1].body);
    assert_eq!(received[1].json()["data"]["customer"]["email"], "customer1@example.com");
}

#[tokio::test]
async fn a_running_forwarder_wakes_for_commits_and_for_due_times() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    shop.moves(&[1], "lost");
    tool.wait_for(1).await;

    tool.answers(500);
    shop.moves(&[2], "lost");
    tool.wait_for(2).await;
    until(|| shop.states() == ["delivered", "retrying"]).await;
    tool.answers(200);
    shop.pass(SECOND * 6);
    tool.wait_for(3).await;
    until(|| shop.states() == ["delivered", "delivered"]).await;

    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_customers_events_arrive_in_order_and_nobody_waits_for_another_customer() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    for segment in ["at_risk", "lost", "champion"] {
        shop.moves(&[1, 2], segment);
    }
    tool.decides(|request| if request.customer() == "1" { 503.into() } else { 200.into() });
    shop.deliver().await;
    let segments = |customer: &str| {
        let requests = tool.received().into_iter().filter(|request| request.customer() == customer);
        requests.map(|request| request.json()["data"]["newSegment"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(segments("2"), ["at_risk", "lost", "champion"]);
    assert_eq!(segments("1"), ["at_risk"], "the next waits until the first has ended");
    assert_eq!(shop.states(), ["retrying", "delivered", "waiting", "delivered", "waiting", "delivered"]);

    shop.pass(SECOND * 60);
    tool.answers(200);
    assert_eq!(shop.deliver().await.delivered, 3);
    assert_eq!(segments("1"), ["at_risk", "at_risk", "lost", "champion"]);
}

#[tokio::test]
async fn a_dead_delivery_lets_the_next_one_go() {
    let tool = Receiver::start().await;
    tool.decides(|request| if request.json()["data"]["newSegment"] == "lost" { 413.into() } else { 200.into() });
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    shop.moves(&[1], "champion");
    let report = shop.deliver().await;
    assert_eq!((report.dead, report.delivered), (1, 1));
    assert_eq!(shop.states(), ["dead", "delivered"]);
}

#[tokio::test]
async fn a_destination_that_hangs_holds_up_nobody_else() {
    let (slow, fast) = (Receiver::start().await, Receiver::start().await);
    slow.answers(Answer::from(200).hanging());
    let shop = Shop::new(&[&slow, &fast]);
    let everyone: Vec<i64> = (1..=400).collect();
    shop.moves(&everyone, "lost");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    fast.wait_for(400).await;
    slow.wait_for(16).await;
    assert_eq!(slow.received().len(), 16, "no more at once than its share");
    slow.release();
    slow.wait_for(400).await;
    assert!(fast.most_open() <= 16 && slow.most_open() <= 16);
    until(|| shop.states().iter().all(|state| *state == "delivered")).await;
    shutdown.cancel();
    running.await.unwrap();
    for request in fast.received().iter().chain(&slow.received()) {
        request.assert_verified();
    }
}

#[tokio::test]
async fn what_a_crash_left_in_flight_is_sent_again_at_once() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    let crashed = claim_as(&shop, "crashed");
    let shop = shop.reopened();
    assert_eq!(shop.states(), ["sending"]);

    assert_eq!(shop.deliver().await.delivered, 1);
    let [request] = tool.received().try_into().unwrap();
    assert_eq!(request.header("quintile-attempt"), "2");
    assert_eq!(request.body, crashed.body);
    let errors: Vec<_> = shop.attempts(1).into_iter().map(|attempt| (attempt.number, attempt.error)).collect();
    assert_eq!(errors, [(1, Some("interrupted".to_owned())), (2, None)]);
}

#[tokio::test]
async fn a_late_reply_to_a_lost_claim_changes_nothing() {
    let tool = Receiver::start().await;
    tool.answers(500);
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    let claim = claim_as(&shop, "crashed");
    shop.deliver().await;
    let before = (shop.deliveries(), shop.attempts(1));
    let late = Settlement {
        delivery_id: claim.delivery_id,
        token: claim.token,
        attempt: claim.attempt,
        started_at: shop.now(),
        duration_ms: 9,
        status: Some(200),
        error: None,
        answer: b"late".to_vec(),
        step: 1,
        verdict: Verdict::Delivered,
        effect: Effect::Success,
    };
    let now = shop.now();
    assert_eq!(shop.write(move |tx| Ok(outbox::settle(tx, &[late], &mut Ids::random(now), now)?)).matched, 0);
    assert_eq!((shop.deliveries(), shop.attempts(1)), before);
}

/// Claims the one delivery that is due, as a program that dies right after.
fn claim_as(shop: &Shop, boot: &str) -> outbox::Claim {
    let claims = Claims {
        boot: boot.into(),
        number: 1,
        shop: ShopInfo::from_config(&shop.config),
        routes: Route::from_config(&shop.config).unwrap().into(),
        places: vec![Places { free: 16, ..Places::default() }],
        start: 0,
        limit: 128,
        now: shop.now(),
        latest: shop.now().plus_millis(1_000_000_000),
    };
    let claimed = shop.write(move |tx| Ok(outbox::claim(tx, &claims)?));
    let [claim] = claimed.claims.try_into().unwrap();
    claim
}

#[tokio::test]
async fn a_stop_lets_requests_finish() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(200).hanging());
    let shop = Shop::new(&[&tool]);
    let everyone: Vec<i64> = (1..=40).collect();
    shop.moves(&everyone, "lost");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    tool.wait_for(16).await;
    shutdown.cancel();
    tool.release();
    running.await.unwrap();
    let states = shop.states();
    let delivered = states.iter().filter(|state| **state == "delivered").count();
    assert_eq!(delivered, tool.received().len(), "every reply was recorded");
    assert!(states.iter().all(|state| ["delivered", "waiting"].contains(state)), "{states:?}");
    let waiting = shop.deliveries().into_iter().find(|delivery| delivery.state.as_str() == "waiting").unwrap();
    assert_eq!(waiting.attempts, 0, "what was not sent does not count as tried");
}

/// Takes eight seconds: the promise is about real time.
#[tokio::test]
async fn a_stop_cuts_hanging_requests_off_within_ten_seconds() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(200).hanging());
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    tool.wait_for(1).await;
    shutdown.cancel();
    let started = Instant::now();
    running.await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(10));
    let [delivery] = shop.deliveries().try_into().unwrap();
    assert_eq!((delivery.state.as_str(), delivery.attempts), ("retrying", 1));
    assert_eq!(delivery.last_error.as_deref(), Some("interrupted"));
    assert_eq!(delivery.next_attempt_at, Some(shop.now()), "due at once");
}

#[tokio::test]
async fn a_removed_destination_keeps_its_queue() {
    let (tool, other) = (Receiver::start().await, Receiver::start().await);
    let mut shop = Shop::new(&[&tool, &other]);
    shop.moves(&[1, 2], "lost");
    assert_eq!(shop.forwarder().stranded().await.unwrap(), []);
    let removed = shop.config.destination.remove(0);
    assert_eq!(shop.forwarder().stranded().await.unwrap(), [("tool".to_owned(), 2)]);
    let report = shop.deliver().await;
    assert_eq!((report.delivered, report.waiting), (2, 2));
    assert!(tool.received().is_empty());
    shop.config.destination.push(removed);
    assert_eq!(shop.deliver().await.delivered, 2);
    assert_eq!(tool.received().len(), 2);
}

#[tokio::test]
async fn a_clock_that_was_wrong_does_not_put_a_delivery_off_for_years() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    let right = shop.now();
    shop.set_clock(right.plus_millis(73 * 365 * Timestamp::DAY));
    shop.moves(&[1, 2], "lost");
    tool.decides(|request| if request.customer() == "1" { 500.into() } else { 200.into() });
    shop.deliver().await;
    tool.answers(200);
    shop.set_clock(right);
    assert_eq!(shop.deliver().await.delivered, 0);
    let latest = right.plus_millis(Timestamp::DAY * 12 / 10);
    assert_eq!(shop.deliveries().iter().find_map(|delivery| delivery.next_attempt_at), Some(latest));
    shop.set_clock(latest);
    assert_eq!(shop.deliver().await.delivered, 1);
}

#[tokio::test]
async fn a_clock_that_is_set_back_puts_nothing_off() {
    const BACK: i64 = 2 * 3_600_000;
    // The delivery alone waits, or its destination until it is probed, or because it asked for it.
    let answers = [Answer::from(500), Answer::from(401), Answer::from(429).header("retry-after", "600")];
    for (number, answer) in answers.into_iter().enumerate() {
        let tool = Receiver::start().await;
        tool.answers(answer);
        let shop = Shop::new(&[&tool]);
        shop.moves(&[1], "lost");
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
        until(|| shop.states() == ["retrying"]).await;
        let waits = || {
            let health = shop.health("tool");
            [Some(next_attempt(&shop)), health.probe_at, health.wait_until]
        };
        let before = waits();
        assert_eq!(before.map(|at| at.is_some()), [true, number == 1, number == 2]);

        shop.set_clock(shop.now().plus_millis(-BACK));
        until(|| waits() == before.map(|at| at.map(|at| at.plus_millis(-BACK)))).await;
        assert_eq!(tool.count(), 1, "it waits as long as before");
        tool.answers(200);
        shop.set_clock(waits().into_iter().flatten().max().unwrap());
        until(|| shop.states() == ["delivered"]).await;
        shutdown.cancel();
        running.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_overdue_is_due_when_a_clock_that_was_years_ahead_is_set_back() {
    const YEARS: i64 = 73 * 365 * Timestamp::DAY;
    let tool = Receiver::start().await;
    tool.answers(401);
    let shop = Shop::new(&[&tool]);
    let right = shop.now();
    shop.moves(&[1, 2], "lost");
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    until(|| shop.states() == ["retrying"; 2]).await;
    // The probe is one of the two; the other one is overdue by years.
    shop.set_clock(right.plus_millis(YEARS));
    until(|| shop.health("tool").probes == 1).await;
    let due = || {
        let mut due: Vec<_> = shop.deliveries().iter().map(|delivery| delivery.next_attempt_at.unwrap()).collect();
        due.sort();
        due
    };
    let before = due();
    assert!(before[0].millis() < right.millis() + 10_000 && before[1].millis() > right.millis() + YEARS);

    shop.set_clock(right);
    until(|| due() == [right, before[1].plus_millis(-YEARS)]).await;
    tool.answers(200);
    shop.pass(60 * SECOND);
    until(|| shop.states() == ["delivered"; 2]).await;
    shutdown.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn what_was_never_tried_goes_in_its_order_under_any_clock() {
    for batch in [1, 10] {
        let tool = Receiver::start().await;
        let mut shop = Shop::new(&[&tool]);
        shop.config.destination[0].batch = batch;
        let right = shop.now();
        let told = ["lost", "loyal", "champion", "new"];
        for (segment, days) in told.into_iter().zip([400, -3, 30, 0]) {
            shop.set_clock(right.plus_millis(days * Timestamp::DAY));
            shop.moves(&[1, 2], segment);
        }
        shop.set_clock(right);
        while shop.deliver().await.delivered > 0 {}
        let received = tool.received();
        let segments: Vec<&str> = received
            .iter()
            .map(|request| std::str::from_utf8(&request.body).unwrap())
            .map(|body| *told.iter().find(|segment| body.contains(&format!("\"newSegment\":\"{segment}\""))).unwrap())
            .collect();
        if batch == 1 {
            assert_eq!(segments.len(), 8);
            for customer in ["1", "2"] {
                let own: Vec<_> =
                    received.iter().zip(&segments).filter(|(request, _)| request.customer() == customer).collect();
                assert_eq!(own.iter().map(|(_, segment)| **segment).collect::<Vec<_>>(), told);
            }
        } else {
            assert_eq!(segments, told);
        }
    }
}

#[tokio::test]
async fn a_timeout_ends_the_work() {
    let tool = Receiver::start().await;
    tool.answers(500);
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    let report = shop.forwarder().drain(Some(Duration::ZERO), CancellationToken::new()).await;
    assert!(report.cut_short);
    assert_eq!((report.waiting, report.retrying), (1, 0));
}
