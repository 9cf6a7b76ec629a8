//! The shop: what it has sold, and what it tells of it. Its own clock is always right. Besides it there is
//! a till, which tells of its orders in the generic format.

use std::collections::{BTreeMap, BTreeSet};

use quintile::{
    intake::{self, Received, Rules, api},
    model::{Source, Timestamp},
};
use rusqlite::Transaction;
use serde_json::{Value, json};

use super::steps::any;
use crate::support::{
    orders::{Buyer, Order, time},
    shop::{consent, merge},
};

/// Ids of customers with an e-mail of their own, who may be erased and say whether they agree to e-mails.
pub const CUSTOMERS: std::ops::RangeInclusive<u64> = 1..=7;
/// Guests who may order under an account later, with the same e-mail.
const GUESTS: std::ops::RangeInclusive<u64> = 11..=12;
/// Ids of customers whom the shop may merge, each into one with a lower id.
const TWINS: std::ops::RangeInclusive<u64> = 21..=23;
/// Ids of customers of the till.
const OF_THE_TILL: std::ops::RangeInclusive<u64> = 1..=3;
/// Milliseconds from what happens to the message about it.
const SENT_AFTER: i64 = 250;
/// How far back orders may lie that are placed at the beginning.
const PAST_DAYS: i64 = 120;

/// Everybody who orders: few, so that each changes often.
pub fn buyers() -> Vec<Buyer> {
    let of_the_shop = CUSTOMERS.chain(GUESTS).chain(TWINS).map(|id| Buyer::Known(Source::Shopify, id));
    let of_the_till = OF_THE_TILL.map(|id| Buyer::Known(Source::Api, id));
    of_the_shop.chain(GUESTS.map(Buyer::Guest)).chain(of_the_till).collect()
}

/// An order by its source and id.
pub type OrderId = (Source, u64);

/// What a message tells of.
#[derive(Debug, Clone)]
pub enum Tells {
    Order(OrderId, Order),
    /// One customer is another.
    Merge(Buyer, Buyer),
    /// A customer said then whether they agree.
    Consent(Buyer, &'static str, i64),
}

/// A message before it is sent.
#[derive(Debug, Clone)]
pub struct Message {
    pub key: String,
    pub topic: &'static str,
    pub tells: Tells,
    body: Value,
}

/// A message that was read, ready for its transaction.
pub enum Prepared {
    Webhook(intake::Prepared),
    OfTheTill(api::Prepared, String),
}

impl Message {
    /// When what it tells came to be, if it says so.
    pub fn told_at(&self) -> Option<i64> {
        match &self.tells {
            Tells::Order(_, order) => (!order.deleted).then_some(order.updated_at),
            Tells::Consent(_, _, at) => Some(*at + SENT_AFTER),
            Tells::Merge(..) => None,
        }
    }

    /// As it arrives at `now`, by the machine's clock.
    pub fn prepare(&self, rules: &Rules, now: Timestamp) -> Prepared {
        let (source, triggered_at) = match &self.tells {
            Tells::Order((source, _), order) => (*source, Some(order.updated_at + SENT_AFTER)),
            Tells::Consent(_, _, at) => (Source::Shopify, Some(*at + SENT_AFTER)),
            Tells::Merge(..) => (Source::Shopify, None),
        };
        let triggered_at = triggered_at.filter(|_| source == Source::Shopify).map(Timestamp::from_millis);
        let message = intake::Message {
            source,
            topic: self.topic.to_owned(),
            delivery_key: Some(self.key.clone()),
            triggered_at,
            headers: triggered_at.map_or(json!({}), |at| json!({ "x-shopify-triggered-at": at.to_string() })),
            body: self.body.to_string().into_bytes(),
            received_at: now,
        };
        match source {
            Source::Api => Prepared::OfTheTill(api::Prepared::new(message, rules), self.key.clone()),
            _ => Prepared::Webhook(intake::Prepared::new(message, rules)),
        }
    }
}

impl Prepared {
    /// Stores it; what became of it. The till is answered by order, and a copy like the first.
    pub fn store(&self, tx: &Transaction<'_>, rules: &Rules) -> anyhow::Result<Received> {
        let (prepared, key) = match self {
            Self::Webhook(prepared) => return prepared.store(tx, rules),
            Self::OfTheTill(prepared, key) => (prepared, key),
        };
        let known = tx.prepare("SELECT 1 FROM inbox WHERE source = 'api' AND delivery_key = ?1")?.exists([key])?;
        Ok(match prepared.store(tx, rules)? {
            _ if known => Received::Duplicate,
            api::Outcome::Unreadable(reason) => Received::Quarantined(reason),
            api::Outcome::Answered(answer) => match &answer.rejected[..] {
                [rejected, ..] => Received::Quarantined(rejected.reason.clone()),
                [] if answer.stale > 0 => Received::Stale,
                [] => Received::Done,
            },
        })
    }
}

/// A customer in the shop's own list.
#[derive(Debug, Clone)]
pub struct Account {
    pub updated_at: i64,
    /// Whether they agree to e-mails, and when they said so.
    pub consent: (i64, &'static str),
}

/// The shop and its messages.
#[derive(Debug, Default)]
pub struct Store {
    pub orders: BTreeMap<OrderId, Order>,
    /// Every state that an order ever had, by its `updated_at`.
    pub states: BTreeMap<(OrderId, i64), Order>,
    pub accounts: BTreeMap<u64, Account>,
    /// Everything that customers ever said of e-mails.
    pub said: BTreeSet<(u64, i64, &'static str)>,
    /// Something has happened since somebody looked.
    pub is_changed: bool,
    /// On their way: not answered 2xx yet.
    pub pending: Vec<Message>,
    /// Answered 2xx.
    pub answered: Vec<Message>,
    merged: Vec<u64>,
    messages: u64,
    last_update: i64,
}

impl Store {
    /// Something happens at `now`.
    pub fn business(&mut self, now: i64, dice: &mut fastrand::Rng) {
        let updated_at = now.max(self.last_update + 1);
        self.last_update = updated_at;
        self.is_changed = true;
        let living: Vec<OrderId> = self.orders.iter().filter(|(_, order)| !order.deleted).map(|(id, _)| *id).collect();
        match dice.u32(..100) {
            0..4 => self.merge(updated_at, dice),
            4..14 => self.ask(updated_at, dice),
            14..66 => self.place(now, updated_at, dice),
            _ if living.is_empty() => self.place(now, updated_at, dice),
            _ => self.change(any(dice, &living), updated_at, dice),
        }
    }

    fn place(&mut self, now: i64, updated_at: i64, dice: &mut fastrand::Rng) {
        let buyer = any(dice, &buyers());
        let source = if let Buyer::Known(source, _) = buyer { source } else { Source::Shopify };
        let id = (source, 1000 + self.orders.len() as u64);
        let days = if dice.bool() { 0 } else { dice.i64(0..PAST_DAYS) };
        self.orders.insert(
            id,
            Order {
                buyer,
                placed_at: now - days * Timestamp::DAY,
                updated_at,
                total: 100 * dice.i64(1..200),
                refunded: 0,
                paid: dice.u32(..5) > 0,
                cancelled: false,
                deleted: false,
            },
        );
        if let Buyer::Known(Source::Shopify, account) = buyer {
            self.sign_up(account, updated_at);
        }
        self.tell("orders/create", id);
    }

    /// Somebody with this id is in the list, unless they are somebody else by now.
    fn sign_up(&mut self, id: u64, at: i64) {
        if self.merged.contains(&id) {
            return;
        }
        let fresh = Account { updated_at: at, consent: (at, "not_subscribed") };
        let account = self.accounts.entry(id).or_insert(fresh);
        account.updated_at = at;
        self.said.insert((id, account.consent.0, account.consent.1));
    }

    /// `count` messages about what the API tells too never arrive. What a merged customer was before is
    /// in messages alone, and of the till nobody else tells.
    pub fn lose(&mut self, count: usize, dice: &mut fastrand::Rng) {
        for _ in 0..count.min(self.pending.len()) {
            let place = dice.usize(..self.pending.len());
            let told_again = match &self.pending[place].tells {
                Tells::Order((source, _), _) => *source == Source::Shopify,
                Tells::Merge(..) => false,
                Tells::Consent(..) => true,
            };
            if told_again {
                self.pending.swap_remove(place);
            }
        }
    }

    fn change(&mut self, id: OrderId, updated_at: i64, dice: &mut fastrand::Rng) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        order.updated_at = updated_at;
        let topic = match dice.u32(..8) {
            0 if id.0 == Source::Shopify => {
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

    fn merge(&mut self, at: i64, dice: &mut fastrand::Rng) {
        let deleted = dice.u64(TWINS);
        let kept = dice.u64(TWINS);
        if kept < deleted && !self.merged.contains(&deleted) {
            self.sign_up(kept, at);
            self.merged.push(deleted);
            self.accounts.remove(&deleted);
            let twin = |id| Buyer::Known(Source::Shopify, id);
            // The orders are the other's now. No webhook says so of each.
            let theirs = self.orders.iter_mut().filter(|(_, order)| order.buyer == twin(deleted) && !order.deleted);
            for (id, order) in theirs {
                (order.buyer, order.updated_at) = (twin(kept), self.last_update);
                self.states.insert((*id, order.updated_at), order.clone());
                self.last_update += 1;
            }
            self.send("customers/merge", Tells::Merge(twin(deleted), twin(kept)), merge(deleted, kept));
        }
    }

    /// A customer is asked whether they agree to e-mails.
    fn ask(&mut self, at: i64, dice: &mut fastrand::Rng) {
        let (id, state) = (dice.u64(CUSTOMERS), any(dice, &["subscribed", "subscribed", "unsubscribed"]));
        let customer = Buyer::Known(Source::Shopify, id);
        self.sign_up(id, at);
        if let Some(account) = self.accounts.get_mut(&id) {
            account.consent = (at, state);
        }
        self.said.insert((id, at, state));
        self.send(
            "customers_email_marketing_consent/update",
            Tells::Consent(customer, state, at),
            consent(id, state, &time(at)),
        );
    }

    fn tell(&mut self, topic: &'static str, id: OrderId) {
        let order = self.orders[&id].clone();
        self.states.insert((id, order.updated_at), order.clone());
        let body = order.body(id.0, id.1);
        let topic = if id.0 == Source::Api { api::TOPIC } else { topic };
        self.send(topic, Tells::Order(id, order), body);
    }

    fn send(&mut self, topic: &'static str, tells: Tells, body: Value) {
        self.messages += 1;
        self.pending.push(Message { key: format!("w{}", self.messages), topic, tells, body });
    }
}
