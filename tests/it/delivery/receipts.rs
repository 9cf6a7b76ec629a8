//! What became of a run's events: each counts once, however often it was sent.

use quintile::outbox::{self, Action, Cursor, Filter, Ids, Receipt};

use super::fixture::Shop;
use crate::support::receiver::Receiver;

fn receipt(shop: &Shop) -> Receipt {
    let receipts = outbox::receipt(&shop.db().readers().get().unwrap(), 1, i64::MAX).unwrap();
    let [receipt] = receipts.try_into().unwrap();
    receipt
}

fn replay(shop: &Shop, filter: Filter) {
    let now = shop.now();
    let (count, _) = shop.write(move |tx| {
        Ok(outbox::act(tx, Action::Replay, &filter, Cursor::default(), 10, &mut Ids::random(now), now)?)
    });
    assert_eq!(count, 1);
}

fn one(delivery_id: i64, state: outbox::State) -> Filter {
    Filter { delivery_id: Some(delivery_id), state: Some(state), ..Filter::default() }
}

fn expected(changes: i64) -> Receipt {
    Receipt { destination: "tool".to_owned(), changes, ..Receipt::default() }
}

#[tokio::test]
async fn what_was_delivered_and_is_sent_again_counts_where_it_stands_now() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    shop.moves(&[1, 2, 3], "champion");
    shop.deliver().await;
    assert_eq!(receipt(&shop), Receipt { delivered: 3, ..expected(3) });
    replay(&shop, one(2, outbox::State::Delivered));
    assert_eq!(receipt(&shop), Receipt { delivered: 2, open: 1, ..expected(3) });
    shop.deliver().await;
    assert_eq!(receipt(&shop), Receipt { delivered: 3, ..expected(3) });
    replay(&shop, one(4, outbox::State::Delivered));
    assert_eq!(receipt(&shop), Receipt { delivered: 2, open: 1, ..expected(3) }, "a replay of the replay");
}

#[tokio::test]
async fn what_was_dead_and_is_sent_again_is_not_superseded_too() {
    let tool = Receiver::start().await;
    let shop = Shop::new(&[&tool]);
    tool.answers(413);
    shop.moves(&[1, 2], "champion");
    shop.deliver().await;
    assert_eq!(receipt(&shop), Receipt { dead: 2, ..expected(2) });
    tool.answers(200);
    replay(&shop, one(1, outbox::State::Dead));
    assert_eq!(receipt(&shop), Receipt { dead: 1, open: 1, ..expected(2) });
    shop.deliver().await;
    assert_eq!(receipt(&shop), Receipt { dead: 1, delivered: 1, ..expected(2) });
}

#[tokio::test]
async fn a_member_of_a_batch_that_is_sent_again_leaves_its_count() {
    let tool = Receiver::start().await;
    let mut shop = Shop::new(&[&tool]);
    shop.config.destination[0].batch = 10;
    shop.moves(&[1, 2, 3], "champion");
    shop.deliver().await;
    assert_eq!(receipt(&shop), Receipt { delivered: 3, ..expected(3) });
    // The last one's own row became the batch's.
    for customer in [1, 3] {
        let filter = Filter { customer_id: Some(customer), state: Some(outbox::State::Delivered), ..Filter::default() };
        replay(&shop, filter);
    }
    assert_eq!(receipt(&shop), Receipt { delivered: 1, open: 2, ..expected(3) });
    tool.answers(413);
    shop.deliver().await;
    assert_eq!(receipt(&shop), Receipt { delivered: 1, dead: 2, ..expected(3) });
}
