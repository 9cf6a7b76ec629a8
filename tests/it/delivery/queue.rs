//! Events become deliveries, and the queue's own operations.

use quintile::outbox::{
    self, Action, Cursor, Disposition, Envelope, Fields, Filter, Hold, Ids, Route, Shop as ShopInfo, Slice,
};

use super::fixture::{Shop, events};
use crate::support::receiver::Receiver;

#[tokio::test]
async fn fan_out_goes_in_slices_and_each_event_gets_one_delivery_per_route_that_wants_it() {
    let tool = Receiver::start().await;
    let mut shop = Shop::new(&[&tool, &tool, &tool]);
    shop.config.destination[1].to = vec!["champion".to_owned()];
    shop.config.destination[2].min_spent = "50.00".to_owned();
    shop.write(|tx| Ok(tx.execute("UPDATE customers SET total_spent = 5000 WHERE id = 3", [])?));
    let (routes, now) = (Route::from_config(&shop.config).unwrap(), shop.now());
    let positions = shop.write(move |tx| {
        let (after, _) = events(tx, &[1, 2, 3, 4, 5], "lost", now)?;
        let (_, last) = events(tx, &[6, 7], "champion", now)?;
        let mut ids = Ids::random(now);
        let mut positions = vec![after];
        loop {
            let slice = Slice { after: positions[positions.len() - 1], last, limit: 3, disposition: Disposition::Send };
            match outbox::fan_out(tx, &routes, slice, &mut ids, now)? {
                Some(position) => positions.push(position),
                None => return Ok(positions),
            }
        }
    });
    assert_eq!(positions, [0, 3, 6, 7]);
    let to = |name: &str| shop.deliveries().into_iter().filter(|delivery| delivery.destination == name).count();
    assert_eq!((to("tool"), to("tool2"), to("tool3")), (7, 2, 1));
    let mut ids: Vec<String> = shop.deliveries().into_iter().map(|delivery| delivery.message_id).collect();
    ids.dedup();
    assert_eq!(ids.len(), 10, "every message has an id of its own");
    assert_eq!(shop.deliver().await.delivered, 10);
}

#[tokio::test]
async fn a_run_of_any_size_is_written_whole_and_in_order() {
    let shop = Shop::new(&[]);
    for count in [1, 31, 32, 33, 100] {
        let (now, customers) = (shop.now(), (1..=count).collect::<Vec<i64>>());
        let (after, last) = shop.write(move |tx| events(tx, &customers, "lost", now));
        assert_eq!(last - after, count);
        let reader = shop.db().readers().get().unwrap();
        let written = outbox::events(&reader, after, 1000).unwrap();
        assert_eq!(written.len(), usize::try_from(count).unwrap());
        for ((seq, customer), event) in (after + 1..).zip(1..).zip(&written) {
            assert_eq!((event.seq, event.customer.as_ref().unwrap().id, event.at), (seq, customer, now));
            assert_eq!((event.old.as_deref(), event.new.as_deref()), (Some("loyal"), Some("lost")));
            assert_eq!(event.rfm.unwrap().map(quintile::model::Quintile::get), [5, 4, 3]);
        }
        assert!(written.is_sorted_by(|one, next| one.id < next.id));
    }
    let now = shop.now();
    assert_eq!(shop.write(move |tx| Ok(outbox::enqueue(tx, 1, now, &mut Ids::random(now), [])?)), None);
}

#[tokio::test]
async fn a_held_baseline_gives_way_to_news_of_its_customer() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves_with(&[1, 2], "loyal", Disposition::Hold(Hold::Baseline));
    shop.moves(&[1], "champion");
    let report = shop.deliver().await;
    assert_eq!((report.delivered, report.held), (1, 1));
    assert_eq!(shop.states(), ["superseded", "held", "delivered"]);
}

#[tokio::test]
async fn a_run_held_for_another_reason_comes_before_what_follows() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves_with(&[1], "loyal", Disposition::Hold(Hold::Run));
    shop.moves(&[1, 2], "champion");
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(shop.states(), ["held", "waiting", "delivered"]);
}

#[tokio::test]
async fn a_destination_that_wants_nothing_more_keeps_what_it_refused() {
    let tool = Receiver::start().await;
    tool.answers(410);
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    shop.moves(&[1], "loyal");
    let report = shop.deliver().await;
    assert_eq!((report.held, report.waiting, report.dead, report.refused), (1, 1, 0, 1));
    assert_eq!(shop.deliver().await.refused, 0, "counted by who was told");
    assert_eq!(shop.states(), ["held", "waiting"]);
    assert_eq!(tool.received().len(), 1);
}

/// All that the filter finds, two at a time. Returns how many.
fn decide(shop: &Shop, action: Action, filter: Filter) -> usize {
    let now = shop.now();
    shop.write(move |tx| {
        let (mut cursor, mut total) = (Some(Cursor::default()), 0);
        while let Some(from) = cursor {
            let (count, next) = outbox::act(tx, action, &filter, from, 2, &mut Ids::random(now), now)?;
            (cursor, total) = (next, total + count);
        }
        Ok(total)
    })
}

#[tokio::test]
async fn the_baseline_is_released_or_discarded_as_the_merchant_says() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool, &tool]);
    shop.moves_with(&[1, 2, 3], "loyal", Disposition::Hold(Hold::Baseline));
    let to_tool = Filter { hold: Some(Hold::Baseline), destination: Some("tool".to_owned()), ..Filter::default() };
    assert_eq!(decide(&shop, Action::Release, to_tool), 3);
    let baseline = Filter { hold: Some(Hold::Baseline), ..Filter::default() };
    assert_eq!(decide(&shop, Action::Discard, baseline), 3);
    let report = shop.deliver().await;
    assert_eq!((report.delivered, report.held, report.waiting), (3, 0, 0));
    assert!(
        shop.deliveries()
            .iter()
            .all(|delivery| (delivery.destination == "tool2") == (delivery.state.as_str() == "discarded"))
    );
}

#[tokio::test]
async fn a_released_run_goes_before_what_waited_behind_it() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves_with(&[1, 2, 3], "loyal", Disposition::Hold(Hold::Run));
    shop.moves(&[1, 2], "champion");
    assert_eq!(shop.deliver().await.delivered, 0, "the held run blocks its customers");
    assert_eq!(decide(&shop, Action::Release, Filter { run_id: Some(2), ..Filter::default() }), 0);
    assert_eq!(decide(&shop, Action::Release, Filter { hold: Some(Hold::Baseline), ..Filter::default() }), 0);
    assert_eq!(decide(&shop, Action::Release, Filter { run_id: Some(1), ..Filter::default() }), 3);
    let report = shop.deliver().await;
    assert_eq!((report.delivered, report.held, report.waiting), (5, 0, 0));
    for customer in ["1", "2"] {
        let requests = tool.received().into_iter().filter(|request| request.customer() == customer);
        let segments: Vec<_> = requests.map(|request| request.json()["data"]["newSegment"].clone()).collect();
        assert_eq!(segments, ["loyal", "champion"]);
    }
}

#[tokio::test]
async fn a_discarded_run_lets_newer_ones_of_its_customers_go() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves_with(&[1, 2], "loyal", Disposition::Hold(Hold::Run));
    shop.moves(&[1], "champion");
    assert_eq!(decide(&shop, Action::Discard, Filter { run_id: Some(1), ..Filter::default() }), 2);
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(shop.states(), ["discarded", "discarded", "delivered"]);
    assert_eq!(tool.received()[0].json()["data"]["newSegment"], "champion");
}

#[tokio::test]
async fn a_released_run_overtakes_a_baseline_that_stays_held() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves_with(&[1, 2], "loyal", Disposition::Hold(Hold::Baseline));
    shop.moves_with(&[1], "champion", Disposition::Hold(Hold::Run));
    assert_eq!(decide(&shop, Action::Release, Filter { run_id: Some(2), ..Filter::default() }), 1);
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(shop.states(), ["superseded", "held", "delivered"]);
}

#[tokio::test]
async fn what_a_destination_refused_is_sent_again_when_released() {
    let tool = Receiver::start().await;
    tool.answers(410);
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1], "lost");
    shop.moves(&[1], "loyal");
    shop.deliver().await;
    tool.answers(200);
    let to_tool = Filter { destination: Some("tool".to_owned()), ..Filter::default() };
    assert_eq!(decide(&shop, Action::Release, to_tool), 1);
    let again = shop.deliveries()[0].clone();
    assert_eq!((again.state.as_str(), again.next_attempt_at), ("retrying", Some(shop.now())));
    assert_eq!(shop.deliver().await.delivered, 0, "it asked for nothing more");
    shop.resume("tool", outbox::Resume::All);
    assert_eq!(shop.deliver().await.delivered, 2);
    let received = tool.received();
    assert_eq!(received[0].header("webhook-id"), received[1].header("webhook-id"), "the same message");
}

#[tokio::test]
async fn what_is_discarded_is_listed_and_never_sent() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves_with(&[1], "loyal", Disposition::Discard);
    shop.moves(&[1], "lost");
    assert_eq!(shop.deliver().await.delivered, 1);
    assert_eq!(shop.states(), ["discarded", "delivered"]);
}

#[tokio::test]
async fn lists_have_the_published_shape() {
    let tool = Receiver::start().await;
    tool.answers(404);
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1, 2], "lost");
    shop.deliver().await;
    let delivery = serde_json::to_value(&shop.deliveries()[0]).unwrap();
    let keys: Vec<_> = delivery.as_object().unwrap().keys().map(String::as_str).collect();
    let mut published = [
        "id",
        "messageId",
        "destination",
        "state",
        "events",
        "attempts",
        "nextAttemptAt",
        "lastStatus",
        "lastError",
        "createdAt",
        "finishedAt",
    ];
    published.sort_unstable();
    assert_eq!(keys, published);
    assert_eq!(
        (&delivery["id"], &delivery["state"], &delivery["attempts"]),
        (&"1".into(), &"retrying".into(), &1.into())
    );
    assert_eq!(delivery["lastError"], "answered 404: there is nothing at this address; check `url`");
    assert!(delivery["nextAttemptAt"].as_str().unwrap().ends_with('Z') && delivery["finishedAt"].is_null());

    let reader = shop.db().readers().get().unwrap();
    let found = outbox::events(&reader, 1, 10).unwrap();
    assert_eq!(found.iter().map(|event| event.seq).collect::<Vec<_>>(), [2]);
    let info = ShopInfo::from_config(&shop.config);
    let listed = Envelope { shop: &info, fields: Fields::ALL, event: &found[0] }.to_bytes();
    let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
    let sent = tool.received().into_iter().find(|request| request.customer() == "2").unwrap().json();
    assert_eq!((&listed["id"], &listed["data"]["newSegment"]), (&sent["id"], &sent["data"]["newSegment"]));
    assert_eq!(listed["data"]["customer"]["email"], "customer2@example.com");
    assert!(sent["data"]["customer"]["email"].is_null(), "not listed in `fields`");

    let filter = |state: &str, destination: &str| outbox::DeliveryFilter {
        state: outbox::State::parse(state),
        destination: Some(destination.to_owned()),
        limit: Some(1),
        ..Default::default()
    };
    assert_eq!(outbox::deliveries(&reader, &filter("retrying", "tool")).unwrap()[0].id, 2, "newest first");
    assert!(outbox::deliveries(&reader, &filter("dead", "tool")).unwrap().is_empty());
    assert!(outbox::deliveries(&reader, &filter("retrying", "other")).unwrap().is_empty());
}

#[tokio::test]
async fn a_replay_of_what_is_old_supersedes_nothing_that_is_newer() {
    let tool = Receiver::start().await;
    tool.answers(413);
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1, 2], "lost");
    shop.deliver().await;
    assert_eq!(shop.states(), ["dead", "dead"]);
    tool.answers(200);
    shop.moves_with(&[1, 2], "champion", Disposition::Hold(Hold::Baseline));
    assert_eq!(decide(&shop, Action::Replay, Filter { run_id: Some(1), ..Filter::default() }), 2);
    assert_eq!(shop.deliver().await.delivered, 2);
    assert_eq!(shop.states(), ["superseded", "superseded", "held", "held", "delivered", "delivered"]);
    assert_eq!(decide(&shop, Action::Release, Filter { hold: Some(Hold::Baseline), ..Filter::default() }), 2);
    assert_eq!(shop.deliver().await.delivered, 2);
}

#[tokio::test]
async fn what_is_made_meanwhile_is_not_replayed() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1, 2, 3], "lost");
    shop.deliver().await;
    let now = shop.now();
    let filter = Filter { state: Some(outbox::State::Delivered), ..Filter::default() };
    let mut cursor = Some(Cursor::default());
    let mut total = 0;
    while let Some(from) = cursor {
        let filter = filter.clone();
        let (count, next) =
            shop.write(move |tx| Ok(outbox::act(tx, Action::Replay, &filter, from, 1, &mut Ids::random(now), now)?));
        (cursor, total) = (next, total + count);
        shop.deliver().await;
    }
    assert_eq!(total, 3);
    assert_eq!(tool.received().len(), 6);
}
