//! What becomes of the queue when somebody in it is erased.

use std::time::Duration;

use quintile::{
    ledger::{self, Who},
    outbox::{self, Action, Cursor, ERASED, Filter, Ids, State, Withdrawn},
};
use tokio_util::sync::CancellationToken;

use crate::{
    delivery::fixture::{Shop, until},
    support::receiver::{Answer, Received, Receiver},
};

/// Erases customer 2 of the fixture, whose e-mail is customer2@example.com.
fn erase(shop: &Shop) -> Withdrawn {
    let now = shop.now();
    let who = Who { customer_id: Some(2), ..Who::default() };
    let erased = shop.write(move |tx| Ok(ledger::erase(tx, &who, now)?));
    assert_eq!(erased.customers, [2]);
    shop.wake.notify_one();
    erased.withdrawn
}

fn speaking(tool: &Receiver) -> Shop {
    let mut shop = Shop::new(&[tool]);
    shop.config.destination[0].fields = ["segment", "email", "name"].map(str::to_owned).to_vec();
    // The fixture writes no keys.
    shop.write(|tx| Ok(tx.execute("UPDATE customers SET email_key = email", [])?));
    shop
}

fn kinds(received: &[Received]) -> Vec<(String, i64)> {
    let one = |event: &serde_json::Value| {
        let id = event["data"]["customerId"].as_str().unwrap().parse().unwrap();
        (event["type"].as_str().unwrap().trim_start_matches("rfm/").trim_start_matches("customer/").to_owned(), id)
    };
    let all = received.iter().flat_map(|request| {
        let body = request.json();
        match body["data"]["events"].as_array() {
            Some(events) => events.iter().map(one).collect::<Vec<_>>(),
            None => vec![one(&body)],
        }
    });
    all.collect()
}

fn event(kind: &str, id: i64) -> (String, i64) {
    (kind.to_owned(), id)
}

/// No row of the queue holds the e-mail.
fn nothing_is_kept(shop: &Shop) {
    let reader = shop.db().readers().get().unwrap();
    let kept: i64 = reader
        .query_row(
            "SELECT (SELECT count(*) FROM deliveries WHERE instr(body, 'customer2@') OR instr(last_error, 'customer2@'))
                  + (SELECT count(*) FROM attempts WHERE instr(answer, 'customer2@') OR instr(error, 'customer2@'))",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(kept, 0);
    let violations = quintile::invariants::violations(&reader).unwrap();
    let fixtures_own =
        |violation: &&String| !["counters", "run", "scores", "order of time"].iter().any(|own| violation.contains(own));
    assert_eq!(violations.iter().filter(fixtures_own).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[tokio::test]
async fn what_waits_is_never_sent_and_the_erasure_is_told() {
    let tool = Receiver::start().await;
    let shop = speaking(&tool);
    shop.moves(&[1, 2, 3], "lost");
    shop.moves(&[2], "loyal");
    assert_eq!(erase(&shop), Withdrawn { cancelled: 2, ..Withdrawn::default() });
    shop.deliver().await;
    let mut told = kinds(&tool.received());
    told.sort();
    assert_eq!(told, [event("redacted", 2), event("segment.changed", 1), event("segment.changed", 3)]);
    let redacted = tool.received().into_iter().find(|request| request.json()["type"] == "customer/redacted").unwrap();
    redacted.assert_verified();
    assert_eq!(redacted.json()["data"]["customer"], serde_json::json!({"source": "shopify", "externalId": "702"}));
    let dropped: Vec<_> =
        shop.deliveries().into_iter().filter(|it| it.state == State::Discarded).map(|it| it.last_error).collect();
    assert_eq!(dropped, [Some(ERASED.to_owned()), Some(ERASED.to_owned())]);
    nothing_is_kept(&shop);

    // A night scores them once more: they are in no segment now. It stays here.
    shop.moves(&[1, 2], "champion");
    shop.deliver().await;
    assert_eq!(kinds(&tool.received()).len(), 4);
    nothing_is_kept(&shop);
}

#[tokio::test]
async fn what_was_tried_sent_or_given_up_is_scrubbed() {
    let tool = Receiver::start().await;
    let shop = speaking(&tool);
    tool.answers(Answer::from(200).body("thanks for customer2@example.com"));
    shop.moves(&[2], "lost");
    shop.deliver().await;
    tool.answers(Answer::from(400).body("customer2@example.com is no customer"));
    shop.moves(&[2], "loyal");
    shop.deliver().await;
    assert_eq!(shop.states(), ["delivered", "retrying"]);
    assert_eq!(erase(&shop), Withdrawn { cancelled: 1, scrubbed: 1, on_their_way: 0 });
    nothing_is_kept(&shop);
    tool.answers(200);
    shop.pass(Duration::from_secs(100_000));
    shop.deliver().await;
    assert_eq!(kinds(&tool.received()).last(), Some(&event("redacted", 2)));
    assert_eq!(tool.received().len(), 3);
}

#[tokio::test]
async fn a_batch_loses_the_one_and_keeps_the_others() {
    for tried in [false, true] {
        let tool = Receiver::start().await;
        let mut shop = speaking(&tool);
        shop.config.destination[0].batch = 10;
        shop.moves(&[1, 2, 3], "lost");
        if tried {
            tool.answers(500);
            shop.deliver().await;
            assert_eq!(shop.states(), ["retrying"]);
            tool.answers(200);
        }
        let before = tool.received().len();
        assert_eq!(erase(&shop).cancelled, 1);
        nothing_is_kept(&shop);
        shop.pass(Duration::from_secs(100_000));
        shop.deliver().await;
        let received = tool.received().split_off(before);
        assert!(received.iter().all(|request| !String::from_utf8_lossy(&request.body).contains("customer2@")));
        let mut told = kinds(&received);
        told.sort();
        assert_eq!(told, [event("redacted", 2), event("segment.changed", 1), event("segment.changed", 3)], "{tried}");
        nothing_is_kept(&shop);
    }
}

#[tokio::test]
async fn a_batch_that_arrived_is_scrubbed_whole() {
    let tool = Receiver::start().await;
    let mut shop = speaking(&tool);
    shop.config.destination[0].batch = 10;
    shop.moves(&[1, 2, 3], "lost");
    shop.deliver().await;
    assert_eq!(erase(&shop), Withdrawn { cancelled: 0, scrubbed: 1, on_their_way: 0 });
    nothing_is_kept(&shop);
}

#[tokio::test]
async fn nobody_who_was_erased_is_sent_again_by_hand() {
    let tool = Receiver::start().await;
    let shop = speaking(&tool);
    shop.moves(&[1, 2], "lost");
    shop.deliver().await;
    erase(&shop);
    let filter = Filter { state: Some(State::Delivered), ..Filter::default() };
    let now = shop.now();
    shop.write(move |tx| {
        Ok(outbox::act(tx, Action::Replay, &filter, Cursor::default(), 10, &mut Ids::random(now), now)?)
    });
    shop.deliver().await;
    let mut told = kinds(&tool.received()).split_off(2);
    told.sort();
    assert_eq!(told, [event("redacted", 2), event("segment.changed", 1)]);
    nothing_is_kept(&shop);
}

/// The answer to a request comes only after the erasure: 200, or a failure that would be tried again.
#[tokio::test]
async fn what_is_on_its_way_ends_and_is_not_sent_again() {
    for batch in [1, 10] {
        for status in [200, 500] {
            let tool = Receiver::start().await;
            let mut shop = speaking(&tool);
            shop.config.destination[0].batch = batch;
            let answer = Answer::from(status).body("about customer2@example.com").hanging();
            tool.decides(move |request| {
                if String::from_utf8_lossy(&request.body).contains("customer2@") { answer.clone() } else { 200.into() }
            });
            shop.moves(&[1, 2], "lost");
            let stop = CancellationToken::new();
            let forwarder = tokio::spawn(shop.forwarder().run(stop.clone()));
            tool.wait_for(if batch == 1 { 2 } else { 1 }).await;
            let withdrawn = erase(&shop);
            assert_eq!((withdrawn.cancelled, withdrawn.on_their_way), (0, 1), "batch {batch}, {status}");
            nothing_is_kept(&shop);
            tool.release();
            until(|| !shop.states().contains(&"sending")).await;
            nothing_is_kept(&shop);
            shop.pass(Duration::from_secs(100_000));
            until(|| kinds(&tool.received()).contains(&event("redacted", 2))).await;
            until(|| shop.states().iter().all(|state| ["delivered", "discarded"].contains(state))).await;
            stop.cancel();
            forwarder.await.unwrap();
            let named: Vec<_> = tool
                .received()
                .into_iter()
                .filter(|request| String::from_utf8_lossy(&request.body).contains("customer2@"))
                .collect();
            assert_eq!(named.len(), 1, "batch {batch}, {status}: once, before the erasure");
            assert!(kinds(&tool.received()).contains(&event("segment.changed", 1)));
            nothing_is_kept(&shop);
        }
    }
}

/// Claimed ahead, still waiting for a connection: it never leaves.
#[tokio::test]
async fn what_was_claimed_and_not_sent_yet_stays_here() {
    let tool = Receiver::start().await;
    let shop = speaking(&tool);
    let stop = CancellationToken::new();
    let forwarder = tokio::spawn(shop.forwarder().run(stop.clone()));
    // Only a tool that takes everything is claimed for ahead.
    shop.moves(&(300..340).collect::<Vec<_>>(), "lost");
    until(|| shop.states().iter().filter(|state| **state == "delivered").count() == 40).await;
    tool.answers(Answer::from(200).hanging());
    // Sixteen connections; customer 2 is the last in the queue.
    let mut customers: Vec<i64> = (3..=30).collect();
    customers.push(2);
    shop.moves(&customers, "lost");
    tool.wait_for(56).await;
    let claimed = || shop.states().iter().filter(|state| **state == "sending").count();
    until(|| claimed() == 29).await;
    assert_eq!(erase(&shop).on_their_way, 1, "as far as the queue knows");
    tool.release();
    until(|| shop.states().iter().all(|state| ["delivered", "discarded"].contains(state))).await;
    stop.cancel();
    forwarder.await.unwrap();
    let told = kinds(&tool.received());
    assert!(!told.contains(&event("segment.changed", 2)) && told.contains(&event("redacted", 2)));
    nothing_is_kept(&shop);
}

#[tokio::test]
async fn an_email_tool_is_told_nothing() {
    let tool = Receiver::start().await;
    let shop = Shop::with_tool("klaviyo", &tool);
    shop.moves(&[1, 2], "lost");
    assert_eq!(erase(&shop).cancelled, 1);
    shop.deliver().await;
    assert_eq!(tool.received().len(), 1);
    let body = String::from_utf8(tool.received()[0].body.clone()).unwrap();
    assert!(body.contains("customer1@") && !body.contains("customer2@"), "{body}");
    assert_eq!(shop.states(), ["delivered", "discarded"], "of the erasure it has no delivery");
}
