//! What a destination's answers make of it, and the merchant's pause and resume.

use std::time::Duration;

use quintile::outbox::{self, DestinationState, Resume};

use super::fixture::Shop;
use crate::support::receiver::{Answer, Receiver};

const SECOND: Duration = Duration::from_secs(1);

fn customers(count: i64) -> Vec<i64> {
    (1..=count).collect()
}

#[tokio::test]
async fn a_failing_destination_gets_probes_and_its_queue_burns_no_attempts() {
    let tool = Receiver::start().await;
    tool.answers(500);
    let shop = Shop::new(&[&tool]);
    shop.moves(&customers(40), "lost");
    shop.deliver().await;
    let health = shop.health("tool");
    assert_eq!(health.state, DestinationState::Failing);
    assert_eq!(health.reason.as_deref(), Some("answered 500: it has a fault of its own"));
    let tried = tool.received().len();
    assert!((5..=32).contains(&tried), "{tried}: the sixteen on their way, hardly more");
    assert_eq!(shop.deliveries().iter().filter(|delivery| delivery.attempts == 0).count(), 40 - tried);

    for (wait, probes) in [(29, 0), (1, 1), (59, 1), (1, 2), (299, 2), (1, 3), (899, 3), (1, 4), (3600, 5)] {
        shop.pass(wait * SECOND);
        shop.deliver().await;
        assert_eq!(tool.received().len() - tried, probes, "after {wait} more seconds");
    }
    tool.answers(200);
    shop.pass(3600 * SECOND);
    let report = shop.deliver().await;
    assert_eq!((report.delivered, report.dead, report.retrying, report.waiting), (40, 0, 0, 0), "nothing was lost");
    assert_eq!(shop.health("tool").state, DestinationState::Active);
}

#[tokio::test]
async fn a_wrong_key_opens_the_breaker_at_once_and_never_kills_a_delivery() {
    let tool = Receiver::start().await;
    tool.answers(401);
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    shop.deliver().await;
    let health = shop.health("tool");
    assert_eq!(health.state, DestinationState::Failing);
    assert_eq!(health.reason.as_deref(), Some("answered 401: it does not accept the request; check the key"));
    // Two days of a wrong key: far more probes than a delivery has attempts.
    for _ in 0..48 {
        shop.pass(3600 * SECOND);
        shop.deliver().await;
    }
    assert!(tool.received().len() > 40);
    assert_eq!(shop.states(), ["retrying"]);
    tool.answers(200);
    shop.pass(3600 * SECOND);
    assert_eq!(shop.deliver().await.delivered, 1);
}

#[tokio::test]
async fn five_days_of_only_failures_disable_and_hold_the_queue() {
    let tool = Receiver::start().await;
    tool.answers(401);
    let shop = Shop::new(&[&tool]);
    shop.moves(&customers(3), "lost");
    for _ in 0..=5 * 24 + 1 {
        shop.deliver().await;
        shop.pass(3600 * SECOND);
    }
    assert_eq!(shop.health("tool").state, DestinationState::Disabled);
    let asked = tool.received().len();
    tool.answers(200);
    shop.pass(30 * 24 * 3600 * SECOND);
    assert_eq!(shop.deliver().await.delivered, 0);
    assert_eq!(tool.received().len(), asked, "a disabled destination is left alone");
    shop.resume("tool", Resume::All);
    assert_eq!(shop.deliver().await.delivered, 3);
}

#[tokio::test]
async fn who_asks_to_slow_down_is_left_alone_by_everything() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    tool.answers(Answer::from(429).header("retry-after", "90"));
    shop.deliver().await;
    assert_eq!(shop.health("tool").wait_until, Some(shop.now().plus_millis(90_000)));
    assert_eq!(shop.health("tool").state, DestinationState::Active, "it does not fail");
    shop.moves(&customers(5), "loyal");
    tool.answers(200);
    shop.pass(89 * SECOND);
    shop.deliver().await;
    assert_eq!(tool.received().len(), 1, "new ones wait too");
    shop.pass(SECOND);
    let mut delivered = 0;
    for _ in 0..10 {
        delivered += shop.deliver().await.delivered;
        shop.pass(60 * SECOND); // its rate has halved, and recovers
    }
    assert_eq!(delivered, 6);
    assert_eq!(shop.deliveries()[0].attempts, 2);
}

#[tokio::test]
async fn a_paused_destination_holds_its_queue_and_resumes_as_the_merchant_says() {
    for (resume, segments, states) in [
        (Resume::All, &["lost", "loyal", "champion"][..], ["delivered", "delivered", "delivered", "delivered"]),
        (Resume::Latest, &["champion"], ["superseded", "delivered", "superseded", "delivered"]),
        (Resume::None, &[], ["discarded", "discarded", "discarded", "discarded"]),
    ] {
        let (tool, other) = (Receiver::start().await, Receiver::start().await);
        let shop = Shop::new(&[&tool, &other]);
        let now = shop.now();
        shop.write(move |tx| Ok(outbox::pause(tx, "tool", now)?));
        shop.moves(&[1, 2], "lost");
        shop.moves(&[1], "loyal");
        shop.moves(&[1], "champion");
        assert_eq!(shop.deliver().await.delivered, 4, "the other one's");
        assert!(tool.received().is_empty());
        shop.resume("tool", resume);
        shop.deliver().await;
        let to_one = tool.received().into_iter().filter(|request| request.customer() == "1");
        let got: Vec<_> = to_one.map(|request| request.json()["data"]["newSegment"].clone()).collect();
        assert_eq!(got, segments, "{resume:?}");
        let mut of_tool = shop.deliveries();
        of_tool.retain(|delivery| delivery.destination == "tool");
        let got: Vec<_> = of_tool.iter().map(|delivery| delivery.state.as_str()).collect();
        assert_eq!(got, states, "{resume:?}");
        shop.moves(&[1], "new");
        assert_eq!(shop.deliver().await.delivered, 2, "new ones go out");
    }
}

#[tokio::test]
async fn gone_disables_and_resuming_sends_what_it_refused() {
    for header in [false, true] {
        let tool = Receiver::start().await;
        tool.answers(if header { Answer::from(404).header("webhook-delivery", "disable") } else { 410.into() });
        let shop = Shop::new(&[&tool]);
        shop.moves(&customers(30), "lost");
        let report = shop.deliver().await;
        assert_eq!(shop.health("tool").state, DestinationState::Disabled);
        let asked = tool.received().len();
        assert!(asked <= 17, "{asked}: no more than were on their way");
        assert_eq!(report.held + report.waiting, 30);
        tool.answers(200);
        shop.resume("tool", Resume::All);
        assert_eq!(shop.deliver().await.delivered, 30);
    }
}
