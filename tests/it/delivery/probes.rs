//! What a failing destination is asked now and then, whatever comes of it.

use std::time::Duration;

use quintile::{
    config::Request,
    outbox::{DestinationState, State},
};
use tokio_util::sync::CancellationToken;

use super::fixture::{Shop, email_tool};
use crate::support::receiver::Receiver;

const SECOND: Duration = Duration::from_secs(1);

/// A destination whose requests cannot be made of customers without a first name.
fn picky(tool: &Receiver) -> Shop {
    let mut shop = Shop::new(&[]);
    let mut crm = email_tool("template", tool);
    crm.fields = vec!["name".to_owned()];
    crm.request = vec![Request {
        method: "POST".to_owned(),
        url: "https://crm.example/people".to_owned(),
        body: "{\"who\": {{ customer.firstName|lower }}}".to_owned(),
        ..Request::default()
    }];
    shop.config.destination = vec![crm];
    shop.says_consent(1..=400, Some("subscribed"));
    shop
}

/// [`Shop::deliver`] that must come to an end by itself.
async fn deliver(shop: &Shop) {
    let report = shop.forwarder().drain(Some(3 * SECOND), CancellationToken::new()).await;
    assert!(!report.cut_short, "it never ends");
}

#[tokio::test]
async fn a_probe_that_cannot_be_made_is_not_tried_again_without_pause() {
    let tool = Receiver::start().await;
    let shop = picky(&tool);
    tool.answers(401);
    shop.moves(&[1], "lost");
    deliver(&shop).await;
    assert_eq!((shop.health("tool").state, tool.received().len()), (DestinationState::Failing, 1));
    // The one delivery there is comes before its own time each time, and is frozen without a name.
    shop.write(|tx| {
        tx.execute_batch(
            "UPDATE deliveries SET body = CAST(replace(CAST(body AS TEXT), '\"firstName\":\"Zoë 李\",', '') AS BLOB),
               due_at = due_at + 40000000",
        )?;
        Ok(())
    });
    for (wait, probes) in [(30, 1), (29, 0), (1, 1), (30, 1)] {
        let before = shop.attempts(1).len();
        shop.pass(wait * SECOND);
        deliver(&shop).await;
        assert_eq!(shop.attempts(1).len() - before, probes, "after {wait} more seconds");
    }
    let [.., last] = &shop.attempts(1)[..] else { panic!("no attempt") };
    assert!(last.error.as_deref().unwrap().starts_with("the request could not be made: "), "{last:?}");
    assert_eq!((tool.received().len(), shop.states()), (1, vec!["retrying"]));
}

#[tokio::test]
async fn a_failing_destination_that_calls_everything_too_large_is_probed_in_its_time() {
    let tool = Receiver::start().await;
    tool.answers(401);
    let shop = Shop::new(&[&tool]);
    shop.moves(&(1..=40).collect::<Vec<_>>(), "lost");
    deliver(&shop).await;
    let tried = tool.received().len();
    tool.answers(413);
    for probe in 1..=3 {
        shop.pass(30 * SECOND);
        deliver(&shop).await;
        assert_eq!(tool.received().len(), tried + probe, "one delivery, not the whole queue");
    }
    assert_eq!(shop.states().iter().filter(|state| **state == "dead").count(), 3);
}

#[tokio::test]
async fn a_blocked_address_is_told_to_the_merchant_and_is_no_failure() {
    let tool = Receiver::start().await;
    let mut shop = Shop::new(&[&tool]);
    shop.config.forwarder.allow_private.clear();
    shop.moves(&(1..=8).collect::<Vec<_>>(), "lost");
    assert_eq!(shop.deliver().await.dead, 8);
    let health = shop.health("tool");
    let notice = "127.0.0.1 is not a public address; if it is meant, add its network to [forwarder] allow_private";
    assert_eq!((health.state, health.failures, health.reason.as_deref()), (DestinationState::Active, 0, Some(notice)));
    assert!(tool.received().is_empty());
    let shown = quintile::outbox::standings(
        &shop.db().readers().get().unwrap(),
        &shop.config.destination,
        i64::MAX,
        shop.now(),
    );
    assert_eq!(shown.unwrap()[0].reason.as_deref(), Some(notice));
    shop.config.forwarder.allow_private = vec!["127.0.0.0/8".to_owned()];
    shop.moves(&[9], "lost");
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(shop.health("tool").reason, None);
    assert_eq!(shop.deliveries()[8].state, State::Delivered);
}
