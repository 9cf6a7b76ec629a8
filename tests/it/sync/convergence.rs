//! Whatever of a made-up shop's messages is lost, doubled or out of order: after a pull the numbers
//! are those that the shop itself would tell.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quintile::{
    intake::bulk::{self, History, Node},
    ledger::{self, Rules},
    model::{Currency, Money, Source, Timestamp},
};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::nodes::{self, bag, with};
use crate::{
    intake::convergence::{
        Dice, MadeUp, Sent, arrival, check_counters, dice, empty, receive_into, second, time, totals, with_keys,
    },
    support::shop::{LABEL, NOON, rows},
};

/// The shop's orders as its API tells them now.
fn order_nodes(shop: &MadeUp) -> Vec<Value> {
    let decimal = |minor| bag(&Money(minor).to_decimal(Currency::EUR));
    let living = shop.orders.iter().filter(|(_, order)| !order.deleted);
    let node = |(id, order): (&u64, &crate::intake::convergence::Placed)| {
        // A merged customer's orders are the other's.
        let customer = order.customer.map(|customer| shop.root(customer));
        let at = time(order.updated);
        let left = decimal(order.total - order.refunded);
        with(
            nodes::order(*id, customer, "0.00", "2026-11-01T09:00:00Z"),
            [
                ("email", json!(Some(order.email).filter(|email| !email.is_empty()))),
                ("updatedAt", json!(at)),
                ("cancelledAt", json!(order.cancelled.then_some(at))),
                ("displayFinancialStatus", json!(order.status().to_uppercase())),
                ("totalPriceSet", decimal(order.total)),
                ("currentTotalPriceSet", left.clone()),
                ("totalRefundedSet", decimal(order.refunded)),
                ("netPaymentSet", left),
            ],
        )
    };
    living.map(node).collect()
}

fn customer_nodes(shop: &MadeUp) -> Vec<Value> {
    let living = shop.customers.iter().filter(|(id, _)| !shop.merged.contains_key(id));
    let node = |(id, email): (&u64, &&str)| {
        let address = (!email.is_empty()).then(|| json!({ "emailAddress": email, "marketingState": "SUBSCRIBED" }));
        with(
            nodes::customer(*id, &time(shop.clock)),
            [("firstName", json!("Anna")), ("defaultEmailAddress", json!(address))],
        )
    };
    living.map(node).collect()
}

/// A pull: everything that there is, and the weekly look for what is not.
fn pull(connection: &mut Connection, shop: &MadeUp, dice: &mut Dice) {
    let mut objects = [order_nodes(shop), customer_nodes(shop)].concat();
    dice.shuffle(&mut objects);
    let history = History::Before(Timestamp::from_millis(NOON - 86_400_000));
    let nodes: Vec<Node> = objects
        .iter()
        .map(|object| bulk::read(object.to_string().as_bytes(), &Rules::default(), history).unwrap())
        .collect();
    let now = Timestamp::from_millis(NOON + 3_600_000);
    let tx = connection.transaction().unwrap();
    for batch in nodes.chunks(1 + dice.roll(20)) {
        for outcome in bulk::apply(&tx, &Rules::default(), batch, now).unwrap() {
            assert!(!matches!(outcome, bulk::Outcome::Rejected(_)), "{outcome:?}");
        }
    }
    let listed: BTreeSet<String> =
        shop.orders.iter().filter(|(_, order)| !order.deleted).map(|(id, _)| id.to_string()).collect();
    for id in rows(&tx, "SELECT source_id FROM orders WHERE deleted_at IS NULL") {
        if !listed.contains(&id) {
            ledger::delete_order(&tx, &Rules::default(), Source::Shopify, &id, now, now).unwrap();
        }
    }
    tx.commit().unwrap();
}

/// Messages that a pull makes up for. A merge tells of a customer whom the shop no longer has, so what
/// was known of them before is in messages alone.
fn may_get_lost(sent: &Sent, shop: &MadeUp) -> bool {
    match sent.topic {
        "customers/merge" => false,
        "customers/update" => sent.body["id"].as_u64().is_some_and(|id| !shop.merged.contains_key(&id)),
        _ => true,
    }
}

/// Owner, worth and whether it counts, of every order that was not deleted.
fn living(connection: &Connection) -> Vec<String> {
    let sql = format!(
        "SELECT source_id, status, net, counted, (SELECT {LABEL} FROM customers c WHERE c.id = customer_id)
         FROM orders WHERE deleted_at IS NULL ORDER BY source_id"
    );
    rows(connection, &sql)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_shop_is_what_it_was_whatever_got_lost(seed in any::<u64>(), days in 1usize..60) {
        let mut dice = dice(seed);
        let mut shop = MadeUp::default();
        for _ in 0..days {
            shop.something_happens(&mut dice);
        }
        let messages = with_keys(std::mem::take(&mut shop.sent));
        let expected: BTreeMap<String, (i64, i64)> = shop.totals();
        let mut first: Option<Vec<String>> = None;
        for lost_of_ten in [0, 4, 10] {
            let kept: Vec<Sent> =
                messages.iter().filter(|sent| !may_get_lost(sent, &shop) || dice.roll(10) >= lost_of_ten).cloned().collect();
            let arriving = arrival(&kept, &mut dice);
            // A pull in the middle must not stand in the way of what comes after it; the one at the end
            // makes up for what is lost, also for a deletion whose order came in late.
            let (before, after) = arriving.split_at(dice.roll(arriving.len() + 1));
            let mut connection = empty();
            receive_into(&mut connection, before);
            if dice.roll(2) == 0 {
                pull(&mut connection, &shop, &mut dice);
            }
            receive_into(&mut connection, after);
            pull(&mut connection, &shop, &mut dice);
            check_counters(&connection);
            prop_assert_eq!(totals(&connection), expected.clone(), "{} of 10 lost", lost_of_ten);
            let known: BTreeSet<String> = rows(&connection, "SELECT source_id FROM orders WHERE deleted_at IS NULL").into_iter().collect();
            let there: BTreeSet<String> = shop.orders.iter().filter(|(_, order)| !order.deleted).map(|(id, _)| id.to_string()).collect();
            prop_assert_eq!(known, there);
            let living = living(&connection);
            prop_assert_eq!(first.get_or_insert_with(|| living.clone()), &living);
        }
    }
}

#[test]
fn the_pull_and_the_webhook_of_one_state_say_the_same() {
    let mut dice = dice(7);
    let mut shop = MadeUp::default();
    while shop.orders.len() < 30 {
        shop.something_happens(&mut dice);
    }
    let messages = with_keys(std::mem::take(&mut shop.sent));
    let mut connection = empty();
    receive_into(&mut connection, &messages);
    let states = |connection: &Connection| {
        rows(
            connection,
            "SELECT source_id, customer_ref, email, name, status, is_test, gross, current, outstanding, refunded, net, counted,
               created_at, cancelled_at, source_updated_at FROM orders ORDER BY source_id",
        )
    };
    let before = states(&connection);
    assert!(shop.merged.is_empty() || before.len() >= 30);
    let now = Timestamp::from_millis(second(shop.clock) + 3_600_000);
    let tx = connection.transaction().unwrap();
    let mut told = Vec::new();
    for object in order_nodes(&shop) {
        let node = bulk::read(object.to_string().as_bytes(), &Rules::default(), History::All).unwrap();
        told.extend(bulk::apply(&tx, &Rules::default(), &[node], now).unwrap());
    }
    tx.commit().unwrap();
    // Nothing was updated but for the orders of customers who were merged.
    let updated = told
        .iter()
        .filter(|outcome| matches!(outcome, bulk::Outcome::Order(applied) if applied.order == ledger::Change::Updated))
        .count();
    let after = states(&connection);
    let changed = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!(updated, changed);
    let merged =
        shop.orders.values().filter(|order| order.customer.is_some_and(|id| shop.merged.contains_key(&id))).count();
    assert!(changed <= merged, "{changed} changed, {merged} of merged customers");
}
