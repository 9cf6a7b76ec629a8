//! What must be true, worked out once more in plain maps: which orders are known, what each customer
//! counts, who is in which segment, and which events there must be.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use quintile::{
    clock::EARLIEST,
    intake::Received,
    model::{Source, Timestamp},
    scoring::{Ties, segment::Scheme},
};

use super::store::{Message, OrderId, Tells, buyers};
use crate::{
    scoring::model,
    support::{
        orders::{Buyer, Order},
        scored_shop::noon,
    },
};

/// Dates later than the machine's clock by more than this cannot be true.
const AHEAD: i64 = 2 * Timestamp::DAY;
/// A first order placed longer ago is no news.
const NEWS: i64 = 3 * Timestamp::DAY;

/// Type, customer by label, segment before and after.
pub type Event = (String, String, Option<String>, Option<String>);
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
    orders: BTreeMap<OrderId, Order>,
    /// Keys of all messages that are stored.
    pub stored: BTreeSet<String>,
    /// Stored, and not to be used under the clock of that time.
    pub quarantined: Vec<Message>,
    /// Customers whom somebody named.
    named: BTreeSet<Buyer>,
    /// Those with an id whose e-mail was told.
    reachable: BTreeSet<Buyer>,
    /// Orders that were there before the API was ever asked: nobody is greeted for them.
    historical: BTreeSet<OrderId>,
    /// Whom the shop merged into whom.
    merged: BTreeMap<Buyer, Buyer>,
    /// When a customer said last whether they agree to e-mails, and what.
    consents: BTreeMap<Buyer, (i64, &'static str)>,
    erased: BTreeSet<Buyer>,
    /// Customers whom the shop does not list any more, as far as is known.
    gone: BTreeSet<Buyer>,
    greeted: BTreeSet<Buyer>,
    segments: BTreeMap<Buyer, String>,
    /// As-of of the latest run that could change customers.
    latest_as_of: Option<Timestamp>,
    /// When the API was first asked, by the machine's clock.
    pub first_pull: Option<i64>,
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
            if matches!(message.tells, Tells::Order((Source::Api, _), _)) {
                self.is_taken_late(key, now);
            }
            return Ok(());
        }
        self.stored.insert(key.clone());
        let impossible = is_ahead(message, now);
        match received {
            Received::Quarantined(reason) => {
                ensure!(impossible, "{key}: quarantined, because {reason}");
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

    /// The till is answered by order, so what was refused is taken as soon as it can be.
    fn is_taken_late(&mut self, key: &str, now: Timestamp) {
        let late = self.quarantined.extract_if(.., |message| message.key == key && !is_ahead(message, now));
        for message in late.collect::<Vec<_>>() {
            self.apply(&message, now);
        }
    }

    /// Takes what a message tells if it is news; whether it was.
    fn apply(&mut self, message: &Message, now: Timestamp) -> bool {
        match &message.tells {
            Tells::Order(id, order) => self.apply_order(*id, order, now),
            Tells::Merge(deleted, kept) => {
                self.named.extend([deleted, kept]);
                self.merged.insert(*deleted, *kept).is_none()
            }
            Tells::Consent(customer, state, at) => {
                self.named.insert(*customer);
                let newer = self.consents.get(customer).is_none_or(|(known, _)| known < at);
                if newer {
                    self.consents.insert(*customer, (*at, state));
                }
                newer && !self.erased.contains(customer)
            }
        }
    }

    fn apply_order(&mut self, id: OrderId, order: &Order, now: Timestamp) -> bool {
        if !order.deleted {
            self.named.insert(order.buyer);
            self.reachable.insert(order.buyer);
        }
        self.take(id, order, now)
    }

    /// An order is known in this state, unless in a newer one.
    fn take(&mut self, id: OrderId, order: &Order, now: Timestamp) -> bool {
        if self.orders.get(&id).is_some_and(|known| known.updated_at >= order.updated_at) {
            return false;
        }
        let owner = self.owner(order.buyer);
        let before = self.counters(owner).0;
        self.orders.insert(id, order.clone());
        let first = before == 0 && self.counters(owner).0 == 1;
        let news = !order.deleted && order.placed_at >= now.millis() - NEWS && !self.historical.contains(&id);
        // Nobody is greeted again under another name.
        let greeted = self.greeted.iter().any(|greeted| self.owner(*greeted) == owner);
        if first && news && !greeted && !self.erased.contains(&owner) {
            self.greeted.insert(owner);
            self.expect("customer/first_order", owner, None, None);
        }
        true
    }

    /// The API told of an order, which was stored at `now`.
    pub fn is_pulled(&mut self, id: OrderId, order: &Order, now: Timestamp) {
        if !order.deleted {
            self.named.insert(order.buyer);
        }
        self.take(id, order, now);
    }

    /// The newest state that is known of an order.
    pub fn order(&self, id: OrderId) -> Option<&Order> {
        self.orders.get(&id)
    }

    pub fn knows_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    pub fn is_historical(&self, id: OrderId) -> bool {
        self.historical.contains(&id)
    }

    pub fn is_history(&mut self, id: OrderId) {
        self.historical.insert(id);
    }

    /// The API named a customer, perhaps with an e-mail.
    pub fn is_named(&mut self, customer: Buyer, with_email: bool) {
        self.named.insert(customer);
        if with_email {
            self.reachable.insert(customer);
        }
    }

    /// The API does not know a customer any more; whether that is news.
    pub fn is_gone(&mut self, customer: Buyer) -> bool {
        self.gone.insert(customer)
    }

    /// When a customer last said whether they agree to e-mails, as far as is known.
    pub fn asked_at(&self, customer: Buyer) -> Option<i64> {
        self.consents.get(&customer).map(|(at, _)| *at)
    }

    pub fn has_said(&mut self, customer: Buyer, at: i64, state: &'static str) {
        self.consents.insert(customer, (at, state));
    }

    /// For whom the orders of a buyer count: a guest's for the account with the same e-mail, a merged
    /// customer's for whoever is left.
    fn owner(&self, buyer: Buyer) -> Buyer {
        let mut owner = buyer;
        if let Buyer::Guest(number) = buyer {
            let account = Buyer::Known(Source::Shopify, number);
            owner = if self.reachable.contains(&account) { account } else { buyer };
        }
        while let Some(kept) = self.merged.get(&owner) {
            owner = *kept;
        }
        owner
    }

    /// Whether a customer agreed to e-mails, as far as is known.
    pub fn consent(&self, customer: Buyer) -> Option<&'static str> {
        let told = self.consents.get(&customer).filter(|_| !self.erased.contains(&customer));
        told.map(|(_, state)| *state)
    }

    /// The merchant forgot a customer. Nobody was told of one who was never seen.
    pub fn is_erased(&mut self, customer: Buyer) {
        if self.erased.insert(customer) && self.named.contains(&customer) {
            self.expect("customer/redacted", customer, None, None);
        }
    }

    fn expect(&mut self, kind: &str, customer: Buyer, old: Option<String>, new: Option<String>) {
        *self.events.entry((kind.to_owned(), customer.label(), old, new)).or_default() += 1;
    }

    pub fn counters(&self, customer: Buyer) -> Counters {
        let counted =
            || self.orders.values().filter(move |order| self.owner(order.buyer) == customer && order.net() > 0);
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
                // Who became somebody else leaves without a word: the other one's segment is told.
                if old != new && self.owner(customer) == customer {
                    expected.push(("rfm/segment.changed".to_owned(), customer.label(), old, new));
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

    fn segments_at(&self, as_of: Timestamp) -> Vec<(Buyer, Option<String>)> {
        let scheme = Scheme::classic();
        let customers = buyers();
        let before_noon = |order: &Order| (order.net(), noon().millis() - order.placed_at);
        let orders_of = |customer: &Buyer| {
            let own = self.orders.values().filter(|order| self.owner(order.buyer) == *customer);
            let is_unknown = self.erased.contains(customer) || self.gone.contains(customer);
            if is_unknown { Vec::new() } else { own.map(before_noon).collect() }
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
            if is_ahead(&message, now) {
                self.quarantined.push(message);
            } else {
                self.apply(&message, now);
            }
        }
    }
}

/// Whether it tells of what cannot have happened yet, by the machine's clock.
fn is_ahead(message: &Message, now: Timestamp) -> bool {
    message.told_at().is_some_and(|at| at > now.millis() + AHEAD)
}
