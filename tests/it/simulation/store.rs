//! The shop: what it has sold, and what it tells of it. Its own clock is always right.

use std::collections::BTreeMap;

use quintile::{
    intake,
    model::{Currency, Money, Source, Timestamp},
};
use serde_json::{Value, json};

use super::steps::any;
use crate::support::shop::{customer, order};

/// Few, so that each changes often.
pub const CUSTOMERS: u64 = 14;
/// How far back orders may lie that are placed at the beginning.
const PAST_DAYS: i64 = 120;

/// An order as the shop knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub customer: u64,
    pub placed_at: i64,
    /// When this state came to be: newer states have later ones.
    pub updated_at: i64,
    pub total: i64,
    pub refunded: i64,
    pub paid: bool,
    pub cancelled: bool,
    pub deleted: bool,
}

impl Order {
    /// What it is worth, in cents; 0: it does not count.
    pub fn net(&self) -> i64 {
        if self.paid && !self.cancelled && !self.deleted { self.total - self.refunded } else { 0 }
    }
}

/// A webhook before it is sent.
#[derive(Debug, Clone)]
pub struct Message {
    pub key: String,
    pub topic: &'static str,
    pub order_id: u64,
    /// The state it tells of.
    pub order: Order,
    body: Value,
}

impl Message {
    /// As it arrives at `now`, by the machine's clock.
    pub fn received(&self, now: Timestamp) -> intake::Message {
        intake::Message {
            source: Source::Shopify,
            topic: self.topic.to_owned(),
            delivery_key: Some(self.key.clone()),
            triggered_at: Some(Timestamp::from_millis(self.order.updated_at + 250)),
            headers: json!({}),
            body: self.body.to_string().into_bytes(),
            received_at: now,
        }
    }
}

/// The shop and its webhooks.
#[derive(Debug, Default)]
pub struct Store {
    pub orders: BTreeMap<u64, Order>,
    /// On their way: not answered 2xx yet.
    pub pending: Vec<Message>,
    /// Answered 2xx.
    pub answered: Vec<Message>,
    messages: u64,
    last_update: i64,
}

impl Store {
    /// Something happens at `now`.
    pub fn business(&mut self, now: i64, dice: &mut fastrand::Rng) {
        let updated_at = now.max(self.last_update + 1);
        self.last_update = updated_at;
        let living: Vec<u64> = self.orders.iter().filter(|(_, order)| !order.deleted).map(|(id, _)| *id).collect();
        if living.is_empty() || dice.u32(..10) < 6 {
            self.place(now, updated_at, dice);
        } else {
            self.change(any(dice, &living), updated_at, dice);
        }
    }

    fn place(&mut self, now: i64, updated_at: i64, dice: &mut fastrand::Rng) {
        let id = 1000 + self.orders.len() as u64;
        let days = if dice.bool() { 0 } else { dice.i64(0..PAST_DAYS) };
        self.orders.insert(
            id,
            Order {
                customer: 1 + dice.u64(..CUSTOMERS),
                placed_at: now - days * Timestamp::DAY,
                updated_at,
                total: 100 * dice.i64(1..200),
                refunded: 0,
                paid: dice.u32(..5) > 0,
                cancelled: false,
                deleted: false,
            },
        );
        self.tell("orders/create", id);
    }

    fn change(&mut self, id: u64, updated_at: i64, dice: &mut fastrand::Rng) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        order.updated_at = updated_at;
        let topic = match dice.u32(..8) {
            0 => {
                order.deleted = true;
                "orders/delete"
            }
            1 => {
                order.cancelled = true;
                "orders/cancelled"
            }
            2..5 if order.paid => {
                order.refunded += dice.i64(0..=order.total - order.refunded);
                "orders/updated"
            }
            _ => {
                order.paid = true;
                "orders/paid"
            }
        };
        self.tell(topic, id);
    }

    fn tell(&mut self, topic: &'static str, order_id: u64) {
        let order = self.orders[&order_id].clone();
        let body = if order.deleted { json!({ "id": order_id }) } else { body(order_id, &order) };
        self.messages += 1;
        self.pending.push(Message { key: format!("w{}", self.messages), topic, order_id, order, body });
    }
}

fn time(millis: i64) -> String {
    Timestamp::from_millis(millis).to_string()
}

fn body(id: u64, state: &Order) -> Value {
    let decimal = |minor| Money(minor).to_decimal(Currency::EUR);
    let mut buyer = customer(state.customer, &format!("c{}@example.com", state.customer));
    buyer["updated_at"] = json!(time(state.placed_at));
    let status = match (state.paid, state.refunded) {
        (false, _) => "pending",
        (true, 0) => "paid",
        (true, refunded) if refunded == state.total => "refunded",
        (true, _) => "partially_refunded",
    };
    let mut body = order(id)
        .total(&decimal(state.total))
        .current(&decimal(state.total - state.refunded))
        .status(status)
        .placed(&time(state.placed_at))
        .updated(&time(state.updated_at))
        .by(&buyer);
    if state.refunded > 0 {
        body = body.refund(&decimal(state.refunded));
    }
    if state.cancelled {
        body = body.set("cancelled_at", time(state.updated_at));
    }
    body.json()
}
