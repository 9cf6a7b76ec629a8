//! A paused or failing queue goes on as the merchant says, and one person's news is reached, also
//! where batches were tried.

use std::time::Duration;

use quintile::outbox::{self, Action, Cursor, DestinationState, Disposition, Filter, Hold, Ids, Resume, State};

use super::fixture::Shop;
use crate::support::receiver::{Received, Receiver};

fn batching(tool: &Receiver) -> Shop {
    let mut shop = Shop::new(&[tool]);
    shop.config.destination[0].batch = 10;
    shop
}

/// Customer and new segment of each event in a request.
fn told(request: &Received) -> Vec<(i64, String)> {
    let body = request.json();
    let events = body["data"]["events"].as_array().unwrap();
    let read = |event: &serde_json::Value| {
        let text = |name: &str| event["data"][name].as_str().unwrap().to_owned();
        (text("customerId").parse().unwrap(), text("newSegment"))
    };
    events.iter().map(read).collect()
}

/// What was told after the first `from` requests, in order.
fn told_since(tool: &Receiver, from: usize) -> Vec<(i64, String)> {
    tool.received()[from..].iter().flat_map(told).collect()
}

fn news(pairs: &[(i64, &str)]) -> Vec<(i64, String)> {
    pairs.iter().map(|(customer, segment)| (*customer, (*segment).to_owned())).collect()
}

/// Everything that is due now or after an hour.
async fn deliver_all(shop: &Shop) {
    for _ in 0..4 {
        shop.deliver().await;
        shop.pass(Duration::from_secs(3600));
    }
}

/// A batch that was refused for good, or for now, and then newer news of one of its customers.
async fn tried(tool: &Receiver, status: u16) -> Shop {
    tool.answers(status);
    let shop = batching(tool);
    shop.moves(&[1, 2, 3], "lost");
    shop.deliver().await;
    assert_eq!(tool.received().len(), 1);
    shop.moves(&[2, 4], "champion");
    let now = shop.now();
    if status != 410 {
        shop.write(move |tx| Ok(outbox::pause(tx, "tool", now)?));
    }
    tool.answers(200);
    shop
}

#[tokio::test]
async fn all_goes_out_in_order_and_the_tried_batch_as_it_was() {
    for status in [503, 410] {
        let tool = Receiver::start().await;
        let shop = tried(&tool, status).await;
        shop.resume("tool", Resume::All);
        deliver_all(&shop).await;
        let received = tool.received();
        assert_eq!(
            (&received[0].body, received[0].header("webhook-id")),
            (&received[1].body, received[1].header("webhook-id"))
        );
        let all = news(&[(1, "lost"), (2, "lost"), (3, "lost"), (2, "champion"), (4, "champion")]);
        assert_eq!(told_since(&tool, 1), all, "after {status}");
    }
}

#[tokio::test]
async fn latest_takes_old_news_out_of_a_batch_that_was_tried() {
    for status in [503, 410] {
        let tool = Receiver::start().await;
        let shop = tried(&tool, status).await;
        shop.resume("tool", Resume::Latest);
        deliver_all(&shop).await;
        let mut told = told_since(&tool, 1);
        told.sort();
        assert_eq!(told, news(&[(1, "lost"), (2, "champion"), (3, "lost"), (4, "champion")]), "after {status}");
        let superseded = shop.deliveries().into_iter().filter(|it| it.state == State::Superseded).count();
        assert_eq!(superseded, 1);
    }
}

#[tokio::test]
async fn latest_keeps_a_tried_batch_whole_that_holds_nobodys_old_news() {
    let tool = Receiver::start().await;
    tool.answers(503);
    let shop = batching(&tool);
    shop.moves(&[1, 2, 3], "lost");
    shop.deliver().await;
    shop.lapse(&[2]); // of another type
    shop.moves(&[4], "champion");
    let now = shop.now();
    shop.write(move |tx| Ok(outbox::pause(tx, "tool", now)?));
    tool.answers(200);
    shop.resume("tool", Resume::Latest);
    deliver_all(&shop).await;
    let received = tool.received();
    assert_eq!(
        (&received[0].body, received[0].header("webhook-id")),
        (&received[1].body, received[1].header("webhook-id"))
    );
    assert!(shop.states().iter().all(|state| *state == "delivered"), "{:?}", shop.states());
}

#[tokio::test]
async fn latest_finds_old_news_in_two_batches_that_were_tried() {
    let tool = Receiver::start().await;
    let shop = batching(&tool);
    shop.moves(&[1, 2], "lost");
    shop.moves(&[2, 3], "loyal");
    // Both were claimed when the program died.
    shop.write(|tx| Ok(tx.execute("UPDATE deliveries SET attempts = 1, state = 'retrying', due_at = 1", [])?));
    shop.resume("tool", Resume::Latest);
    deliver_all(&shop).await;
    let mut told = told_since(&tool, 0);
    told.sort();
    assert_eq!(told, news(&[(1, "lost"), (2, "loyal"), (3, "loyal")]));
}

#[tokio::test]
async fn none_discards_a_batch_that_was_tried() {
    for status in [503, 410] {
        let tool = Receiver::start().await;
        let shop = tried(&tool, status).await;
        shop.resume("tool", Resume::None);
        deliver_all(&shop).await;
        assert_eq!(tool.received().len(), 1);
        assert!(shop.states().iter().all(|state| *state == "discarded"), "{:?}", shop.states());
        shop.moves(&[1], "new");
        deliver_all(&shop).await;
        assert_eq!(told_since(&tool, 1), news(&[(1, "new")]));
    }
}

#[tokio::test]
async fn latest_does_not_give_up_news_for_others_that_wait_for_a_decision() {
    for batch in [1, 10] {
        let tool = Receiver::start().await;
        let mut shop = Shop::new(&[&tool]);
        shop.config.destination[0].batch = batch;
        let now = shop.now();
        shop.write(move |tx| Ok(outbox::pause(tx, "tool", now)?));
        shop.moves(&[1, 2], "lost");
        shop.moves_with(&[1, 2], "champion", Disposition::Hold(Hold::Run));
        shop.resume("tool", Resume::Latest);
        deliver_all(&shop).await;
        let held_run = Filter { run_id: Some(2), ..Filter::default() };
        assert_eq!(act(&shop, Action::Discard, &held_run), 2);
        deliver_all(&shop).await;
        let states = shop.states();
        assert!(states.contains(&"delivered") && !states.contains(&"superseded"), "batch = {batch}: {states:?}");
        assert!(!tool.received().is_empty(), "the customers heard of it");
    }
}

/// All that the filter finds. Returns how many, which must be what was counted before.
fn act(shop: &Shop, action: Action, filter: &Filter) -> i64 {
    let counted = outbox::count_matching(&shop.db().readers().get().unwrap(), action, filter).unwrap();
    let (now, filter) = (shop.now(), filter.clone());
    let done = shop.write(move |tx| {
        let (mut cursor, mut total) = (Some(Cursor::default()), 0);
        while let Some(from) = cursor {
            let (count, next) = outbox::act(tx, action, &filter, from, 2, &mut Ids::random(now), now)?;
            (cursor, total) = (next, total + count);
        }
        Ok(total)
    });
    assert_eq!(done, usize::try_from(counted).unwrap());
    counted
}

#[tokio::test]
async fn one_persons_news_is_discarded_out_of_a_batch_that_was_tried() {
    for (filter, gone) in [
        (Filter { customer_id: Some(2), ..Filter::default() }, &[2][..]),
        (Filter { segment: Some("lost".to_owned()), ..Filter::default() }, &[1, 2, 3]),
    ] {
        let tool = Receiver::start().await;
        tool.answers(503);
        let shop = batching(&tool);
        shop.moves(&[1, 2, 3], "lost");
        shop.deliver().await;
        tool.answers(200);
        let filter = Filter { state: Some(State::Retrying), ..filter };
        assert_eq!(act(&shop, Action::Discard, &filter), i64::try_from(gone.len()).unwrap());
        deliver_all(&shop).await;
        let expected: Vec<i64> = (1..=3).filter(|customer| !gone.contains(customer)).collect();
        assert_eq!(told_since(&tool, 1).into_iter().map(|(customer, _)| customer).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn one_persons_news_is_released_out_of_a_batch_that_was_refused_for_good() {
    let tool = Receiver::start().await;
    let shop = tried(&tool, 410).await;
    assert_eq!(shop.health("tool").state, DestinationState::Disabled);
    let of_two = Filter { customer_id: Some(2), ..Filter::default() };
    assert_eq!(act(&shop, Action::Release, &of_two), 1);
    let mut held: Vec<_> = shop.deliveries().into_iter().filter(|it| it.state == State::Held).collect();
    held.sort_by_key(|it| it.id);
    assert_eq!(held.len(), 2, "the others stay held");
    let of_three = Filter { customer_id: Some(3), ..Filter::default() };
    assert_eq!(act(&shop, Action::Discard, &of_three), 1);
    let now = shop.now();
    // It is sent to again with nothing decided about the rest.
    shop.write(move |tx| Ok(outbox::activate(tx, "tool", now)?));
    deliver_all(&shop).await;
    let mut told = told_since(&tool, 1);
    told.sort();
    assert_eq!(told, news(&[(2, "champion"), (2, "lost"), (4, "champion")]));
    assert_eq!(shop.deliveries().into_iter().filter(|it| it.state == State::Held).count(), 1);
}
