//! What must be true, worked out once more in plain maps: which orders are known, what each customer
//! counts, who is in which segment, and which events there must be.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use quintile::{
    clock::EARLIEST,
    intake::Received,
    model::Timestamp,
    scoring::{Ties, segment::Scheme},
};

use super::store::{CUSTOMERS, Message, Order};
use crate::{scoring::model, support::scored_shop::noon};

/// Dates later than the machine's clock by more than this cannot be true.
const AHEAD: i64 = 2 * Timestamp::DAY;
/// A first order placed longer ago is no news.
const NEWS: i64 = 3 * Timestamp::DAY;

/// Type, customer, segment before and after.
pub type Event = (String, u64, Option<String>, Option<String>);
/// Orders, money, first and last order of a customer.
pub type Counters = (i64, i64, Option<i64>, Option<i64>);

/// A run that is scored.
#[derive(Debug, Clone, Copy)]
pub struct Scored {
    pub id: i64,
    pub as_of: Timestamp,
}

#[derive(Debug, Default)]
pub struct Oracle {
    /// The newest state that was stored of each order.
    orders: BTreeMap<u64, Order>,
    /// Keys of all messages that are stored.
    pub stored: BTreeSet<String>,
    /// Stored, and not to be used under the clock of that time.
    pub quarantined: Vec<Message>,
    /// Customers whom a message named.
    named: BTreeSet<u64>,
    pub erased: BTreeSet<u64>,
    greeted: BTreeSet<u64>,
    segments: BTreeMap<u64, String>,
    /// As-of of the latest run that could change customers.
    latest_as_of: Option<Timestamp>,
    /// Every event there must be, and how often.
    pub events: BTreeMap<Event, usize>,
}

impl Oracle {
    /// A message was committed at `now`, by the machine's clock.
    pub fn is_stored(&mut self, message: &Message, received: &Received, now: Timestamp) -> anyhow::Result<()> {
        let key = &message.key;
        let duplicate = *received == Received::Duplicate;
        ensure!(duplicate == self.stored.contains(key), "{key}: {received:?}, which it was not");
        if duplicate {
            return Ok(());
        }
        self.stored.insert(key.clone());
        let in_future = |at: i64| at > now.millis() + AHEAD;
        let impossible = !message.order.deleted && in_future(message.order.updated_at);
        match received {
            Received::Quarantined(reason) => {
                ensure!(in_future(message.order.updated_at), "{key}: quarantined, because {reason}");
                self.quarantined.push(message.clone());
                Ok(())
            }
            Received::Ignored => anyhow::bail!("{key}: ignored"),
            _ => {
                ensure!(!impossible, "{key}: taken, though it lies in the future");
                let newer = self.apply(message, now);
                ensure!(!newer || *received == Received::Done, "{key}: {received:?}, though it is news");
                Ok(())
            }
        }
    }

    /// Takes the state of an order if it is news; whether it was.
    pub fn apply(&mut self, message: &Message, now: Timestamp) -> bool {
        if !message.order.deleted {
            self.named.insert(message.order.customer);
        }
        let known = self.orders.get(&message.order_id);
        if known.is_some_and(|known| known.updated_at >= message.order.updated_at) {
            return false;
        }
        let customer = message.order.customer;
        let before = self.counters(customer).0;
        self.orders.insert(message.order_id, message.order.clone());
        let first = before == 0 && self.counters(customer).0 == 1;
        let news = !message.order.deleted && message.order.placed_at >= now.millis() - NEWS;
        if first && news && !self.erased.contains(&customer) && self.greeted.insert(customer) {
            self.expect("customer/first_order", customer, None, None);
        }
        true
    }

    /// The merchant forgot a customer. Nobody was told of one who was never seen.
    pub fn is_erased(&mut self, customer: u64) {
        if self.erased.insert(customer) && self.named.contains(&customer) {
            self.expect("customer/redacted", customer, None, None);
        }
    }

    fn expect(&mut self, kind: &str, customer: u64, old: Option<String>, new: Option<String>) {
        *self.events.entry((kind.to_owned(), customer, old, new)).or_default() += 1;
    }

    pub fn counters(&self, customer: u64) -> Counters {
        let counted = || self.orders.values().filter(move |order| order.customer == customer && order.net() > 0);
        let dates = || counted().map(|order| order.placed_at);
        let count = i64::try_from(counted().count()).unwrap_or(i64::MAX);
        (count, counted().map(Order::net).sum(), dates().min(), dates().max())
    }

    /// The merchant asked for a run as of this moment, which says that the clock is right, whatever it was
    /// before. That holds also if the run is not made.
    pub fn is_asked(&mut self, as_of: Timestamp) {
        if as_of >= EARLIEST {
            self.latest_as_of = self.latest_as_of.min(Some(as_of));
        }
    }

    /// A run was scored, and wrote these events: exactly those that it must.
    pub fn is_scored(&mut self, run: Scored, mut events: Vec<Event>) -> anyhow::Result<()> {
        let mut expected = Vec::new();
        if self.latest_as_of.is_none_or(|latest| latest <= run.as_of) {
            self.latest_as_of = Some(run.as_of);
            for (customer, new) in self.segments_at(run.as_of) {
                let old = match &new {
                    Some(new) => self.segments.insert(customer, new.clone()),
                    None => self.segments.remove(&customer),
                };
                if old != new {
                    expected.push(("rfm/segment.changed".to_owned(), customer, old, new));
                }
            }
        }
        for event in &expected {
            *self.events.entry(event.clone()).or_default() += 1;
        }
        expected.sort();
        events.sort();
        ensure!(events == expected, "run {} wrote {events:?}, and should have {expected:?}", run.id);
        Ok(())
    }

    fn segments_at(&self, as_of: Timestamp) -> Vec<(u64, Option<String>)> {
        let scheme = Scheme::classic();
        let customers: Vec<u64> = (1..=CUSTOMERS).collect();
        let before_noon = |order: &Order| (order.net(), noon().millis() - order.placed_at);
        let orders_of = |customer: &u64| {
            let own = self.orders.values().filter(|order| order.customer == *customer);
            if self.erased.contains(customer) { Vec::new() } else { own.map(before_noon).collect() }
        };
        let shop: Vec<_> = customers.iter().map(orders_of).collect();
        let way =
            model::Way { ties: Ties::Together, window_days: 0, include_without_orders: false, as_of, in_sql: true };
        let scores = model::expected(&shop, way);
        let segment = |scores: Option<[u8; 3]>| scores.map(|scores| scheme.segment_of(scores).name.clone());
        customers.into_iter().zip(scores).map(|(customer, scores)| (customer, segment(scores))).collect()
    }

    /// Messages under quarantine were read again at `now`; those that are possible by now count.
    pub fn are_read_again(&mut self, now: Timestamp) {
        for message in std::mem::take(&mut self.quarantined) {
            if message.order.updated_at > now.millis() + AHEAD {
                self.quarantined.push(message);
            } else {
                self.apply(&message, now);
            }
        }
    }
}

/// Our customers are called by their numbers in the shop.
pub fn number(external_id: &str) -> anyhow::Result<u64> {
    external_id.parse().context("a customer whom the shop does not know")
}
