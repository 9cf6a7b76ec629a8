//! Several events in one request.

use std::{collections::BTreeMap, time::Duration};

use quintile::outbox::{self, Action, Cursor, Disposition, Filter, Hold, Ids, Resume, State};
use tokio_util::sync::CancellationToken;

use super::fixture::{self, Shop, until};
use crate::support::{
    folder::GONE,
    receiver::{Answer, Received, Receiver},
};

fn batching(tool: &Receiver, batch: u32) -> Shop {
    let mut shop = Shop::new(&[tool]);
    shop.config.destination[0].batch = batch;
    shop
}

fn events(request: &Received) -> Vec<serde_json::Value> {
    request.json()["data"]["events"].as_array().unwrap().clone()
}

fn customers_of(request: &Received) -> Vec<i64> {
    let id = |event: &serde_json::Value| event["data"]["customerId"].as_str().unwrap().parse().unwrap();
    events(request).iter().map(id).collect()
}

#[tokio::test]
async fn a_batch_has_the_published_shape_also_around_one_event() {
    let tool = Receiver::start().await;
    let shop = batching(&tool, 10);
    shop.moves(&(1..=21).collect::<Vec<_>>(), "lost");
    assert_eq!(shop.deliver().await.delivered, 3);
    let received = tool.received();
    assert_eq!(received.iter().map(|request| events(request).len()).collect::<Vec<_>>(), [10, 10, 1]);
    assert_eq!(tool.most_open(), 1, "one request at a time");
    for request in &received {
        request.assert_verified();
        let body = request.json();
        let keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["count", "data", "id", "timestamp", "type"]);
        assert_eq!(body["type"], "rfm/segment.changed.batch");
        assert_eq!(request.header("quintile-event").trim_end_matches(".batch"), "rfm/segment.changed");
        assert_eq!(body["id"], request.header("webhook-id"));
        assert_eq!(body["count"], events(request).len());
        assert_eq!((&body["data"]["shopId"], &body["data"]["runId"]), (&"demo.myshopify.com".into(), &1.into()));
        let seqs: Vec<_> = events(request).iter().map(|event| event["seq"].as_i64().unwrap()).collect();
        assert!(seqs.is_sorted());
        assert_eq!(events(request)[0]["type"], "rfm/segment.changed");
    }
    let all: Vec<_> = received.iter().flat_map(customers_of).collect();
    assert_eq!(all, (1..=21).collect::<Vec<_>>());
    let listed: Vec<_> = shop.deliveries().iter().map(|delivery| (delivery.events, delivery.state)).collect();
    assert_eq!(listed, [(10, State::Delivered), (10, State::Delivered), (1, State::Delivered)]);
}

#[tokio::test]
async fn runs_do_not_mix_and_a_customer_is_in_a_batch_once() {
    let tool = Receiver::start().await;
    let shop = batching(&tool, 100);
    shop.moves(&[1, 2, 3], "lost");
    shop.moves(&[2, 4], "loyal");
    shop.moves(&[2], "champion");
    shop.deliver().await;
    assert_eq!(tool.received().iter().map(customers_of).collect::<Vec<_>>(), [vec![1, 2, 3], vec![2, 4], vec![2]]);
    let runs: Vec<_> = tool.received().iter().map(|request| request.json()["data"]["runId"].clone()).collect();
    assert_eq!(runs, [1, 2, 3]);
}

#[tokio::test]
async fn a_refused_batch_is_split_until_the_bad_event_stands_alone() {
    for status in [400, 422] {
        let tool = Receiver::start().await;
        tool.decides(move |request| if customers_of(request).contains(&13) { status.into() } else { 200.into() });
        let shop = batching(&tool, 100);
        shop.moves(&(1..=50).collect::<Vec<_>>(), "lost");
        shop.moves(&[13, 14], "champion");
        for _ in 0..5 {
            shop.deliver().await;
            shop.pass(Duration::from_secs(60));
        }
        let accepted = |request: &Received| !customers_of(request).contains(&13);
        let mut delivered: BTreeMap<i64, usize> = BTreeMap::new();
        for customer in tool.received().iter().filter(|request| accepted(request)).flat_map(customers_of) {
            *delivered.entry(customer).or_default() += 1;
        }
        assert_eq!(delivered.len(), 49, "everybody but 13");
        assert!(delivered.iter().all(|(customer, times)| *times == 1 + usize::from(*customer == 14)), "{delivered:?}");
        let alone = tool.received().iter().filter(|request| customers_of(request) == [13]).count();
        assert_eq!(alone, 6, "three attempts alone, for each of its events");
        let dead: Vec<_> = shop.deliveries().into_iter().filter(|delivery| delivery.state == State::Dead).collect();
        assert_eq!(dead.iter().map(|delivery| delivery.events).collect::<Vec<_>>(), [1, 1]);
        assert!(dead[0].last_error.as_deref().unwrap().starts_with("given up: answered 4"));
        let ids: Vec<_> = tool.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
        let bodies: BTreeMap<_, _> = tool
            .received()
            .into_iter()
            .map(|request| (request.header("webhook-id").to_owned(), request.body))
            .collect();
        for (id, request) in ids.iter().zip(tool.received()) {
            assert_eq!(bodies[id], request.body, "an id stands for the same bytes always");
        }
    }
}

#[tokio::test]
async fn the_size_that_was_taken_is_remembered() {
    let tool = Receiver::start().await;
    tool.decides(|request| if customers_of(request).len() > 6 { 413.into() } else { 200.into() });
    let shop = batching(&tool, 20);
    shop.moves(&(1..=40).collect::<Vec<_>>(), "lost");
    shop.deliver().await;
    let sizes: Vec<_> = tool.received().iter().map(|request| customers_of(request).len()).collect();
    assert_eq!(sizes, [20, 10, 5, 5, 10, 5, 5, 5, 5, 5, 5]);
    assert_eq!(shop.health("tool").batch_limit, Some(5));
    assert!(shop.deliveries().iter().all(|delivery| delivery.state == State::Delivered));
}

#[tokio::test]
async fn a_batch_is_frozen_and_comes_before_what_is_newer() {
    let tool = Receiver::start().await;
    tool.answers(Answer::from(500));
    let shop = batching(&tool, 10);
    shop.moves(&[1, 2, 3], "lost");
    shop.deliver().await;
    shop.moves(&[3, 4], "champion");
    shop.deliver().await;
    assert_eq!(tool.received().len(), 1, "the failed batch goes first, when it is due");
    tool.answers(200);
    shop.pass(Duration::from_secs(60));
    shop.deliver().await;
    let [first, again, newer] = tool.received().try_into().unwrap();
    assert_eq!((&first.body, first.header("webhook-id")), (&again.body, again.header("webhook-id")));
    assert_eq!(customers_of(&newer), [3, 4]);
}

#[tokio::test]
async fn a_batch_is_sent_again_event_by_event() {
    let tool = Receiver::start().await;
    let shop = batching(&tool, 10);
    shop.moves(&[1, 2, 3], "lost");
    shop.deliver().await;
    let now = shop.now();
    let filter = Filter { customer_id: Some(2), state: Some(State::Delivered), ..Filter::default() };
    let (count, _) = shop.write(move |tx| {
        Ok(quintile::outbox::act(tx, Action::Replay, &filter, Cursor::default(), 10, &mut Ids::random(now), now)?)
    });
    assert_eq!(count, 1);
    shop.deliver().await;
    let [batch, replayed] = tool.received().try_into().unwrap();
    assert_eq!(events(&replayed), [events(&batch)[1].clone()], "the same event");
    assert_eq!(replayed.header("quintile-replay-of"), batch.header("webhook-id"));
    assert_ne!(replayed.header("webhook-id"), batch.header("webhook-id"));
}

/// Batches are claimed ahead of the one on its way; when that fails, none of them may overtake it,
/// and when it is split, no later event of the bad one's customer may.
#[tokio::test]
async fn nothing_overtakes_a_batch_that_failed_also_when_claimed_ahead() {
    for mood in 0..4 {
        let tool = Receiver::start().await;
        let seed = fastrand::u64(..);
        eprintln!("seed {seed}");
        let random = std::sync::Mutex::new(fastrand::Rng::with_seed(seed));
        tool.decides(move |request| {
            let customers = customers_of(request);
            let any = [200, 200, 200, 200, 500, 400, 503][random.lock().unwrap().usize(0..7)];
            match mood {
                0 => any.into(),
                1 if customers.contains(&6) => 400.into(),
                2 if customers.len() > 1 && customers.contains(&6) => 413.into(),
                3 if customers.len() > 2 => 422.into(),
                _ => 200.into(),
            }
        });
        let shop = batching(&tool, 5);
        for segment in ["lost", "loyal", "champion", "new"] {
            shop.moves(&(1..=10).collect::<Vec<_>>(), segment);
        }
        for _ in 0..400 {
            shop.deliver().await;
            shop.pass(Duration::from_secs(120));
            if shop.deliveries().iter().all(|delivery| delivery.finished_at.is_some()) {
                break;
            }
        }
        assert_eq!(tool.most_open(), 1);
        let mut latest: BTreeMap<i64, i64> = BTreeMap::new();
        for event in tool.received().iter().flat_map(events) {
            let customer = event["data"]["customerId"].as_str().unwrap().parse().unwrap();
            let seq = event["seq"].as_i64().unwrap();
            let before = latest.insert(customer, seq).unwrap_or(0);
            assert!(before <= seq, "mood {mood}: event {seq} of customer {customer} came after {before}");
        }
        let open: Vec<_> = shop.deliveries().into_iter().filter(|delivery| delivery.finished_at.is_none()).collect();
        assert!(open.is_empty(), "mood {mood}: {open:?}");
        assert_eq!(latest.len(), 10, "everybody was told of");
    }
}

#[tokio::test]
async fn a_split_half_stays_whole_when_the_destination_takes_single_events_now() {
    let tool = Receiver::start().await;
    let mut shop = batching(&tool, 10);
    shop.moves(&(1..=10).collect::<Vec<_>>(), "lost");
    let answers = std::sync::Mutex::new(vec![503, 413]);
    tool.decides(move |_| answers.lock().unwrap().pop().unwrap_or(200).into());
    shop.deliver().await;
    shop.config.destination[0].batch = 1;
    shop.moves(&[1, 9], "loyal");
    for _ in 0..3 {
        shop.pass(Duration::from_secs(120));
        shop.deliver().await;
    }
    let accepted: Vec<Received> = tool.received().into_iter().skip(2).collect();
    let told: Vec<i64> = accepted
        .iter()
        .flat_map(|request| {
            if request.json()["data"]["events"].is_array() {
                customers_of(request)
            } else {
                vec![request.customer().parse().unwrap()]
            }
        })
        .collect();
    let mut sorted = told.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 10], "everybody's event, none lost: {told:?}");
}

#[tokio::test]
async fn one_customer_s_news_can_be_dropped_out_of_a_batch_that_was_not_sent() {
    let tool = Receiver::start().await;
    let shop = batching(&tool, 10);
    shop.moves(&(1..=20).collect::<Vec<_>>(), "lost");
    assert_eq!(shop.deliveries().iter().map(|delivery| delivery.events).collect::<Vec<_>>(), [10, 10]);
    let filter = Filter { customer_id: Some(13), state: Some(State::Waiting), ..Filter::default() };
    let counted = outbox::count_matching(&shop.db().readers().get().unwrap(), Action::Discard, &filter).unwrap();
    assert_eq!((counted, discard(&shop, &filter)), (1, 1));
    shop.deliver().await;
    let told: Vec<_> = tool.received().iter().map(customers_of).collect();
    assert_eq!(told, [(1..=10).collect::<Vec<_>>(), vec![11, 12, 14, 15, 16, 17, 18, 19, 20]]);
    assert_eq!(discard(&shop, &filter), 0);
}

#[tokio::test]
async fn a_dry_run_counts_the_events_that_a_segment_has_in_unsent_batches() {
    let tool = Receiver::start().await;
    let shop = batching(&tool, 100);
    shop.moves(&(1..=150).collect::<Vec<_>>(), "lost");
    shop.moves(&[200, 201], "loyal");
    let filter = Filter { segment: Some("lost".to_owned()), state: Some(State::Waiting), ..Filter::default() };
    let counted = outbox::count_matching(&shop.db().readers().get().unwrap(), Action::Discard, &filter).unwrap();
    assert_eq!((counted, discard(&shop, &filter)), (150, 150));
    shop.deliver().await;
    assert_eq!(tool.received().iter().map(customers_of).collect::<Vec<_>>(), [vec![200, 201]]);
}

/// Discards slice by slice; returns how many deliveries it was.
fn discard(shop: &Shop, filter: &Filter) -> usize {
    let (now, filter) = (shop.now(), filter.clone());
    shop.write(move |tx| {
        let (mut cursor, mut total) = (Some(Cursor::default()), 0);
        while let Some(from) = cursor {
            let (count, next) = outbox::act(tx, Action::Discard, &filter, from, 7, &mut Ids::random(now), now)?;
            (cursor, total) = (next, total + count);
        }
        Ok(total)
    })
}

#[tokio::test]
async fn resuming_with_the_latest_looks_into_batches() {
    let tool = Receiver::start().await;
    let shop = batching(&tool, 10);
    let now = shop.now();
    shop.write(move |tx| Ok(outbox::pause(tx, "tool", now)?));
    shop.moves(&(1..=20).collect::<Vec<_>>(), "lost");
    shop.moves(&[2, 14], "champion");
    shop.resume("tool", Resume::Latest);
    shop.deliver().await;
    let mut told: Vec<_> = tool.received().iter().flat_map(customers_of).collect();
    assert_eq!(told[18..], [2, 14], "the newest goes last, with its run");
    told.sort_unstable();
    assert_eq!(told, (1..=20).collect::<Vec<_>>(), "each customer once");
    let states = shop.deliveries();
    assert_eq!(states.iter().filter(|delivery| delivery.state == State::Superseded).count(), 2);
}

#[tokio::test]
async fn queued_batches_follow_what_the_destination_takes_now() {
    // A size learnt meanwhile, and a file in which the merchant asks for single events.
    let tool = Receiver::start().await;
    let mut shop = batching(&tool, 20);
    shop.moves(&(1..=40).collect::<Vec<_>>(), "lost");
    shop.config.destination[0].batch = 8;
    shop.deliver().await;
    let sizes: Vec<_> = tool.received().iter().map(|request| customers_of(request).len()).collect();
    assert_eq!(sizes, [8, 8, 4, 8, 8, 4]);

    shop.config.destination[0].batch = 20;
    shop.moves(&(1..=40).collect::<Vec<_>>(), "loyal");
    shop.config.destination[0].batch = 1;
    shop.moves(&[7], "new");
    shop.deliver().await;
    let single: Vec<Received> = tool.received().split_off(6);
    assert_eq!(single.len(), 41);
    let of_seven: Vec<_> = single
        .iter()
        .filter(|request| request.customer() == "7")
        .map(|r| r.json()["data"]["newSegment"].clone())
        .collect();
    assert_eq!(of_seven, ["loyal", "new"]);
}

#[tokio::test]
async fn who_withdraws_consent_is_left_out_of_a_queued_batch() {
    let tool = Receiver::start().await;
    let mut shop = Shop::with_tool("klaviyo", &tool);
    shop.config.destination[0].batch = 100;
    tool.answers(202);
    shop.moves(&(1..=30).collect::<Vec<_>>(), "lost");
    assert_eq!(shop.deliveries().len(), 1);
    shop.says_consent([4, 5], Some("unsubscribed"));
    shop.says_consent([6], None);
    shop.deliver().await;
    let [request] = tool.received().try_into().unwrap();
    let body = String::from_utf8(request.body).unwrap();
    for customer in 1..=30 {
        assert_eq!(body.contains(&format!("customer{customer}@")), !(4..=6).contains(&customer), "{customer}");
    }
    let mut states: Vec<_> = shop.deliveries().iter().map(|delivery| (delivery.state, delivery.events)).collect();
    states.sort_unstable_by_key(|(state, events)| (state.as_str(), *events));
    assert_eq!(states, [(State::Delivered, 27), (State::Discarded, 1), (State::Discarded, 1), (State::Held, 1)]);
}

/// Deliveries that were queued alone stand between those that were queued together, and are put
/// together with them later: their ids and the order of their events differ then.
#[tokio::test]
async fn events_of_a_batch_ascend_also_when_they_were_queued_apart() {
    let tool = Receiver::start().await;
    tool.decides(|request| if customers_of(request).len() > 2 { 413.into() } else { 200.into() });
    let shop = batching(&tool, 10);
    let now = shop.now();
    shop.moves(&[3], "loyal");
    shop.write(move |tx| Ok(outbox::pause(tx, "tool", now)?));
    shop.moves(&[1, 2, 3, 4], "lost");
    shop.resume("tool", Resume::Latest);
    shop.deliver().await;
    for request in tool.received() {
        let seqs: Vec<_> = events(&request).iter().map(|event| event["seq"].as_i64().unwrap()).collect();
        assert!(seqs.is_sorted(), "{seqs:?}");
    }
    let mut told: Vec<_> = tool.received().iter().skip(1).flat_map(customers_of).collect();
    told.sort_unstable();
    assert_eq!((customers_of(&tool.received()[0]), told), (vec![1, 2, 3, 4], vec![1, 2, 3, 4]));
}

/// An older event of another type that was held stands alone before a batch that was tried.
#[tokio::test]
async fn a_batch_that_failed_waits_for_what_was_released_before_it() {
    for status in [503, 400] {
        let tool = Receiver::start().await;
        let shop = batching(&tool, 10);
        shop.baseline(&[1], Disposition::Hold(Hold::Baseline));
        shop.lapse(&[1, 2]);
        tool.answers(status);
        let now = shop.now();
        if status == 503 {
            shop.deliver().await;
        }
        shop.write(move |tx| {
            let all = Filter { hold: Some(Hold::Baseline), ..Filter::default() };
            Ok(outbox::act(tx, Action::Release, &all, Cursor::default(), 10, &mut Ids::random(now), now)?)
        });
        tool.answers(200);
        shop.pass(Duration::from_secs(120));
        while shop.deliver().await.delivered > 0 {}
        assert_eq!(shop.deliveries().iter().filter(|delivery| delivery.state != State::Delivered).count(), 0);
        let received = tool.received();
        let accepted = &received[usize::from(status == 503)..];
        let of_one: Vec<_> = accepted.iter().filter(|request| customers_of(request).contains(&1)).collect();
        assert_eq!(events(of_one[0])[0]["type"], "rfm/segment.changed", "the older one first");
        assert_eq!(of_one.len(), 2);
    }
}

#[tokio::test]
async fn one_event_is_dropped_out_of_the_batch_that_is_named() {
    let tool = Receiver::start().await;
    let shop = batching(&tool, 10);
    shop.moves(&[1, 2, 3, 4], "lost");
    let delivery_id = Some(shop.deliveries()[0].id);
    let filter = Filter { delivery_id, customer_id: Some(2), state: Some(State::Waiting), ..Filter::default() };
    let counted = outbox::count_matching(&shop.db().readers().get().unwrap(), Action::Discard, &filter).unwrap();
    assert_eq!((counted, discard(&shop, &filter)), (1, 1));
    shop.deliver().await;
    assert_eq!(tool.received().iter().map(customers_of).collect::<Vec<_>>(), [vec![1, 3, 4]]);
}

/// A customer whose older news waited for consent gets the newer ones that were queued before that.
#[tokio::test]
async fn what_waited_for_consent_is_no_news_after_newer_ones() {
    let tool = Receiver::start().await;
    tool.answers(202);
    let mut shop = Shop::with_tool("klaviyo", &tool);
    shop.config.destination[0].batch = 100;
    shop.moves(&[1, 3], "lost");
    shop.moves(&[1, 2], "champion");
    shop.says_consent([1], None);
    tool.answers(429);
    // The first batch is taken apart, and the tool wants nothing for a while.
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(shop.forwarder().run(shutdown.clone()));
    until(|| shop.states().contains(&"retrying")).await;
    assert!(shop.states().contains(&"held"));
    shop.says_consent([1], Some("subscribed"));
    tool.answers(202);
    shop.pass(Duration::from_secs(120));
    until(|| shop.states().iter().filter(|state| **state == "delivered").count() == 2).await;
    shutdown.cancel();
    running.await.unwrap();
    // The next forwarder looks at what is held.
    shop.deliver().await;
    let of_one = |request: &&Received| String::from_utf8_lossy(&request.body).contains("customer1@");
    let bodies: Vec<_> =
        tool.received().iter().filter(of_one).map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    assert_eq!(bodies.len(), 1);
    assert!(bodies[0].contains("champion"));
    assert!(shop.states().contains(&"superseded"));
}

#[tokio::test]
async fn batches_that_a_crash_cut_off_go_again_in_the_order_of_their_events() {
    let tool = Receiver::start().await;
    let shop = batching(&tool, 5);
    shop.dir.except(&[GONE]);
    let now = shop.now();
    shop.write(move |tx| {
        let (first, _) = fixture::events(tx, &[3, 6, 4], "lost", now)?;
        let (then, _) = fixture::events(tx, &[3], "champion", now)?;
        // The older event of customer 3 is in the batch with the higher id.
        let batches = [(21, [(first + 1, 3, 12), (first + 2, 6, 21)]), (18, [(then + 1, 3, 14), (first + 3, 4, 18)])];
        for (id, members) in batches {
            tx.execute(
                "INSERT INTO deliveries (id, message_id, destination, seq, state, events, attempts, claim, created_at)
                 VALUES (?1, randomblob(16), 'tool', ?2, 'sending', 2, 1, 'dead:1', ?3)",
                rusqlite::params![id, members[1].0, now],
            )?;
            for (seq, customer, row) in members {
                tx.execute("INSERT INTO batched VALUES (?1, ?2, ?3, ?4)", [id, seq, customer, row])?;
            }
        }
        Ok(())
    });
    assert_eq!(shop.deliver().await.delivered, 2);
    let told: Vec<i64> = tool
        .received()
        .iter()
        .flat_map(events)
        .filter(|event| event["data"]["customerId"] == "3")
        .map(|event| event["seq"].as_i64().unwrap())
        .collect();
    assert!(told.len() == 2 && told.is_sorted(), "{told:?}");
}
