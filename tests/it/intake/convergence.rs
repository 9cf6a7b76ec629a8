//! The end state is a function of the set of messages: any order of arrival, any copies.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use quintile::{
    db::SCHEMA,
    intake::{self, Message, Received, Rules, api},
    ledger::average,
    model::{Currency, Money, Source, Timestamp},
};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::shop::{LABEL, NOON, OrderBody, consent, customer, merge, order, rows};

const EMAILS: [&str; 4] = ["a@example.com", "b@example.com", "c@example.com", ""];

/// Choices from one seed.
pub struct Dice(u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % 1_000_003).unwrap() % sides
    }

    pub fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())].clone()
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.roll(last + 1));
        }
    }
}

/// A message without the time at which it arrives.
#[derive(Clone, Debug)]
pub struct Sent {
    source: Source,
    pub topic: &'static str,
    key: String,
    triggered_at: Option<i64>,
    pub body: Value,
}

impl Sent {
    fn shopify(topic: &'static str, triggered_at: Option<i64>, body: Value) -> Self {
        Self { source: Source::Shopify, topic, key: String::new(), triggered_at, body }
    }

    fn headers(&self) -> Value {
        match self.triggered_at {
            Some(at) if self.source == Source::Shopify => {
                json!({ "x-shopify-triggered-at": Timestamp::from_millis(at).to_string() })
            }
            Some(at) if self.source == Source::Api => json!({ "webhook-timestamp": (at / 1000).to_string() }),
            _ => json!({}),
        }
    }

    /// Other topics under which this body is read, where it says itself of when it is.
    fn siblings(&self) -> &'static [&'static str] {
        let families: [&[&str]; 3] = [
            &["orders/create", "orders/updated", "orders/paid", "orders/cancelled"],
            &["customers/create", "customers/update"],
            &["customers_email_marketing_consent/update"],
        ];
        families.into_iter().find(|family| family.contains(&self.topic)).unwrap_or_default()
    }
}

/// Receives all messages in their order, a second apart, and returns the database.
fn receive(messages: &[Sent]) -> Connection {
    let mut connection = empty();
    receive_into(&mut connection, messages);
    connection
}

pub fn empty() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    connection
}

/// Receives messages into what is there already.
pub fn receive_into(connection: &mut Connection, messages: &[Sent]) {
    let tx = connection.transaction().unwrap();
    for (second, sent) in (0..).zip(messages) {
        let message = Message {
            source: sent.source,
            topic: sent.topic.to_owned(),
            delivery_key: Some(sent.key.clone()),
            triggered_at: sent.triggered_at.map(Timestamp::from_millis),
            headers: sent.headers(),
            body: sent.body.to_string().into_bytes(),
            received_at: Timestamp::from_millis(NOON + second * 1000),
        };
        if sent.source == Source::Api {
            let outcome = api::Prepared::new(message, &Rules::default()).store(&tx, &Rules::default()).unwrap();
            let api::Outcome::Answered(answer) = outcome else { panic!("{sent:?}: {outcome:?}") };
            assert_eq!(answer.rejected, [], "{sent:?}");
        } else {
            let received = intake::Prepared::new(message, &Rules::default()).store(&tx, &Rules::default()).unwrap();
            assert!(!matches!(received, Received::Quarantined(_) | Received::Ignored), "{sent:?}: {received:?}");
        }
    }
    tx.commit().unwrap();
}

/// Everything but our own row ids and the times of arrival.
fn dump(connection: &Connection) -> Vec<String> {
    let who = |id: &str| format!("(SELECT {LABEL} FROM customers c WHERE c.id = {id})");
    let mut dump = rows(
        connection,
        &format!(
            "SELECT 'order', source, source_id, {}, customer_ref, email, email_key, name, status, is_test, currency, gross, current,
               outstanding, refunded, net, counted, ordered_at, created_at, cancelled_at, deleted_at, source_updated_at,
               triggered_at, origin, historical FROM orders ORDER BY source, source_id",
            who("customer_id")
        ),
    );
    dump.extend(rows(
        connection,
        &format!(
            "SELECT 'customer', {LABEL}, source, email, email_key, email_version, first_name, first_name_version, last_name,
               last_name_version, phone, phone_version, consent, consent_version, tags, tags_version, order_count, total_spent,
               avg_order_value, first_order_at, last_order_at, {}, deleted_at, redacted_at FROM customers c ORDER BY 2",
            "(SELECT coalesce(m.source || ':' || m.external_id, 'guest:' || m.email_key) FROM customers m WHERE m.id = c.merged_into)"
        ),
    ));
    dump.extend(rows(
        connection,
        &format!(
            "SELECT 'alias', kind, source, key, {} FROM aliases ORDER BY kind, source, key",
            who("aliases.customer_id")
        ),
    ));
    dump
}

/// Counters worked out from the orders in Rust: count, sum, average, first, last.
pub fn check_counters(connection: &Connection) {
    type Counters = (i64, i64, i64, Option<i64>, Option<i64>);
    let mut expected: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
    let mut statement =
        connection.prepare("SELECT customer_id, net, ordered_at FROM orders WHERE counted = 1").unwrap();
    let counted =
        statement.query_map([], |row| Ok((row.get::<_, Option<i64>>(0)?, (row.get(1)?, row.get(2)?)))).unwrap();
    for (owner, order) in counted.map(Result::unwrap) {
        if let Some(owner) = owner {
            expected.entry(owner).or_default().push(order);
        }
    }
    let mut statement = connection
        .prepare("SELECT id, merged_into, order_count, total_spent, avg_order_value, first_order_at, last_order_at FROM customers")
        .unwrap();
    let stored = statement
        .query_map([], |row| {
            let counters: Counters = (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?, row.get(6)?);
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, counters))
        })
        .unwrap();
    for (id, merged_into, counters) in stored.map(Result::unwrap) {
        let orders = expected.remove(&id).unwrap_or_default();
        let (count, sum) = (i64::try_from(orders.len()).unwrap(), orders.iter().map(|order| order.0).sum());
        let dates = || orders.iter().map(|order| order.1);
        assert_eq!(counters, (count, sum, average(Money(sum), count).0, dates().min(), dates().max()), "customer {id}");
        assert!(merged_into.is_none() || count == 0, "customer {id} was merged away and still counts");
    }
    assert!(expected.is_empty(), "orders of unknown customers: {expected:?}");
}

pub fn second(number: usize) -> i64 {
    NOON - 86_400_000 + i64::try_from(number).unwrap() * 1000
}

pub fn time(number: usize) -> String {
    Timestamp::from_millis(second(number)).to_string()
}

/// Any message at all over a handful of ids, e-mails and versions: contradictions, circles and
/// ties are the rule.
fn anything(dice: &mut Dice) -> Sent {
    let triggered = |dice: &mut Dice| match dice.roll(4) {
        0 => None,
        other => Some(second(8 + other)),
    };
    let person = |dice: &mut Dice| {
        let mut person = customer(1 + dice.roll(4) as u64, dice.pick(&EMAILS));
        person["updated_at"] = json!(time(dice.roll(4)));
        person["first_name"] = dice.pick(&[json!("Anna"), json!("Bert"), Value::Null]);
        for field in ["email", "first_name", "last_name", "phone"] {
            if dice.roll(6) == 0 {
                person.as_object_mut().unwrap().remove(field);
            }
        }
        if dice.roll(3) == 0 {
            person["tags"] = json!(dice.pick(&["", "vip", "new"]));
        }
        if dice.roll(3) == 0 {
            let since = dice.pick(&[Value::Null, json!(time(1)), json!(time(3))]);
            person["email_marketing_consent"] =
                json!({ "state": dice.pick(&["subscribed", "unsubscribed"]), "consent_updated_at": since });
        }
        person
    };
    match dice.roll(20) {
        0 => Sent::shopify("orders/delete", Some(second(dice.roll(5))), json!({ "id": 1 + dice.roll(4) })),
        1 => Sent::shopify("customers/delete", Some(second(dice.roll(5))), json!({ "id": 1 + dice.roll(4) })),
        2 | 3 => {
            let kept = dice.roll(4);
            let deleted = (kept + 1 + dice.roll(3)) % 4;
            Sent::shopify("customers/merge", None, merge(1 + deleted as u64, 1 + kept as u64))
        }
        4 => Sent::shopify(
            "customers_email_marketing_consent/update",
            Some(second(9)),
            consent(1 + dice.roll(4) as u64, dice.pick(&["subscribed", "unsubscribed"]), &time(dice.roll(4))),
        ),
        5..8 => Sent::shopify("customers/update", triggered(dice), person(dice)),
        8 | 9 => {
            let mut buyer = json!({ "email": dice.pick(&EMAILS), "firstName": dice.pick(&["Cora", "Dora"]) });
            if dice.roll(2) == 0 {
                buyer["id"] = json!(format!("{}", 1 + dice.roll(3)));
            }
            let body = json!({ "id": format!("{}", 1 + dice.roll(3)), "customer": buyer, "orderedAt": time(dice.roll(3)),
                "updatedAt": time(dice.roll(4)), "total": dice.pick(&["5.00", "7.00"]), "status": dice.pick(&["paid", "cancelled"]),
                "historical": dice.roll(3) == 0 });
            Sent {
                source: Source::Api,
                topic: "orders",
                key: String::new(),
                triggered_at: Some(second(8 + dice.roll(3))),
                body,
            }
        }
        _ => {
            let mut body = order(1 + dice.roll(4) as u64)
                .total(dice.pick(&["10.00", "20.00", "30.00"]))
                .status(dice.pick(&["paid", "paid", "pending", "partially_refunded", "refunded", "odd"]))
                .placed(&time(dice.roll(4)))
                .updated(&time(dice.roll(4)));
            body = match dice.roll(4) {
                0 => body,
                1 => body
                    .guest(dice.pick(&EMAILS))
                    .set("billing_address", json!({ "first_name": dice.pick(&["Anna", "Bert"]) })),
                _ => body.by(&person(dice)),
            };
            if dice.roll(4) == 0 {
                body = body.refund("3.00").current("7.00");
            }
            if dice.roll(8) == 0 {
                body = body.set("cancelled_at", time(3));
            }
            let topic = dice.pick(&["orders/create", "orders/updated", "orders/paid", "orders/cancelled"]);
            Sent::shopify(topic, triggered(dice), body.json())
        }
    }
}

/// Shuffled, with copies: some under the same id, some under a new one.
pub fn arrival(messages: &[Sent], dice: &mut Dice) -> Vec<Sent> {
    let mut arriving = messages.to_vec();
    for sent in messages {
        if dice.roll(3) == 0 {
            arriving.push(sent.clone());
        }
        if dice.roll(5) == 0 {
            arriving.push(Sent { key: format!("{}-again-{}", sent.key, dice.roll(1000)), ..sent.clone() });
        }
    }
    dice.shuffle(&mut arriving);
    arriving
}

pub fn with_keys(mut messages: Vec<Sent>) -> Vec<Sent> {
    for (number, sent) in messages.iter_mut().enumerate() {
        sent.key = format!("m{number}");
    }
    messages
}

/// All copies of a body are sent at one time. Where others with its `updated_at` lie between two of them, nothing
/// but what comes first tells which is the truth.
fn sent_once(mut messages: Vec<Sent>) -> Vec<Sent> {
    let mut times = BTreeMap::new();
    for sent in messages.iter_mut().filter(|sent| !sent.siblings().is_empty()) {
        sent.triggered_at = *times.entry(sent.body.to_string()).or_insert(sent.triggered_at);
    }
    messages
}

/// Every body that dates itself again, by somebody who has seen it: under new ids, other topics and other times.
fn forged(messages: &[Sent], dice: &mut Dice) -> Vec<Sent> {
    let seen = messages.iter().filter(|sent| !sent.siblings().is_empty());
    let mut forged: Vec<Sent> = seen
        .flat_map(|sent| {
            [None, Some(second(0)), Some(second(60)), Some(second(2 * 86_400))].map(|triggered_at| Sent {
                topic: dice.pick(sent.siblings()),
                key: format!("forged-{}-{triggered_at:?}", sent.key),
                triggered_at,
                ..sent.clone()
            })
        })
        .collect();
    dice.shuffle(&mut forged);
    forged
}

pub fn dice(seed: u64) -> Dice {
    Dice(seed | 1)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_messages_in_any_order_end_the_same(seed in any::<u64>(), count in 1usize..40) {
        let mut dice = dice(seed);
        let messages = sent_once(with_keys((0..count).map(|_| anything(&mut dice)).collect()));
        let first = receive(&messages);
        check_counters(&first);
        let expected = dump(&first);
        for _ in 0..2 {
            let other = receive(&arrival(&messages, &mut dice));
            check_counters(&other);
            prop_assert_eq!(dump(&other), &expected[..]);
        }
    }

    #[test]
    fn what_was_seen_and_is_sent_again_under_other_headers_changes_nothing(seed in any::<u64>(), count in 1usize..40) {
        let mut dice = dice(seed);
        let messages = with_keys((0..count).map(|_| anything(&mut dice)).collect());
        let mut shop = receive(&messages);
        let expected = dump(&shop);
        receive_into(&mut shop, &forged(&messages, &mut dice));
        check_counters(&shop);
        prop_assert_eq!(dump(&shop), expected);
    }

    #[test]
    fn a_shop_is_what_it_was_wherever_its_messages_went(seed in any::<u64>(), days in 1usize..60) {
        let mut dice = dice(seed);
        let mut shop = MadeUp::default();
        for _ in 0..days {
            shop.something_happens(&mut dice);
        }
        let messages = with_keys(std::mem::take(&mut shop.sent));
        let in_order = receive(&messages);
        let shuffled = receive(&arrival(&messages, &mut dice));
        prop_assert_eq!(dump(&in_order), dump(&shuffled));
        for connection in [&in_order, &shuffled] {
            check_counters(connection);
            prop_assert_eq!(totals(connection), shop.totals());
            // Every order once, and every message once.
            let orders: BTreeSet<String> = rows(connection, "SELECT source_id FROM orders").into_iter().collect();
            let known: BTreeSet<String> = shop.orders.keys().map(u64::to_string).collect();
            prop_assert_eq!(orders, known);
            let kept = rows(connection, "SELECT delivery_key FROM inbox WHERE delivery_key NOT LIKE '%again%'");
            prop_assert_eq!(kept.len(), messages.len());
        }
    }
}

/// Orders and money of everybody who has any.
pub fn totals(connection: &Connection) -> BTreeMap<String, (i64, i64)> {
    let mut statement = connection
        .prepare(&format!("SELECT {LABEL}, order_count, total_spent FROM customers c WHERE order_count > 0"))
        .unwrap();
    let totals = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?)))).unwrap();
    totals.map(Result::unwrap).collect()
}

/// A shop that knows its own truth and tells of each change as Shopify would.
#[derive(Default)]
pub struct MadeUp {
    pub clock: usize,
    pub orders: BTreeMap<u64, Placed>,
    pub customers: BTreeMap<u64, &'static str>,
    pub merged: BTreeMap<u64, u64>,
    pub sent: Vec<Sent>,
}

pub struct Placed {
    pub customer: Option<u64>,
    pub email: &'static str,
    pub total: i64,
    pub refunded: i64,
    pub paid: bool,
    pub cancelled: bool,
    pub deleted: bool,
    /// When it was last changed.
    pub updated: usize,
}

impl Placed {
    pub fn status(&self) -> &'static str {
        match (self.paid, self.refunded) {
            (false, _) => "pending",
            (true, 0) => "paid",
            (true, refunded) if refunded == self.total => "refunded",
            (true, _) => "partially_refunded",
        }
    }
}

impl MadeUp {
    pub fn something_happens(&mut self, dice: &mut Dice) {
        self.clock += 1;
        let known: Vec<u64> = self.orders.iter().filter(|(_, order)| !order.deleted).map(|(id, _)| *id).collect();
        let living: Vec<u64> = self.customers.keys().filter(|id| !self.merged.contains_key(id)).copied().collect();
        match dice.roll(12) {
            0..4 => self.place(dice, &living),
            4..9 if !known.is_empty() => self.change(dice.pick(&known), dice),
            9 => {
                let id = 1 + dice.roll(6) as u64;
                let email = dice.pick(&EMAILS);
                self.customers.insert(id, email);
                self.tell("customers/update", self.customer(id));
            }
            10 if living.len() > 1 => {
                let kept = dice.pick(&living);
                let deleted = dice.pick(&living);
                if kept != deleted {
                    self.merged.insert(deleted, kept);
                    self.tell("customers/merge", merge(deleted, kept));
                }
            }
            _ => {}
        }
    }

    fn place(&mut self, dice: &mut Dice, living: &[u64]) {
        let id = 100 + self.clock as u64;
        let customer = (!living.is_empty() && dice.roll(2) == 0).then(|| dice.pick(living));
        let email = match customer {
            Some(customer) => self.customers[&customer],
            None => dice.pick(&EMAILS),
        };
        let total = 100 * (1 + i64::try_from(dice.roll(50)).unwrap());
        let paid = dice.roll(3) > 0;
        let (cancelled, deleted, updated) = (false, false, self.clock);
        self.orders.insert(id, Placed { customer, email, total, refunded: 0, paid, cancelled, deleted, updated });
        self.tell_of("orders/create", id);
    }

    fn change(&mut self, id: u64, dice: &mut Dice) {
        let order = self.orders.get_mut(&id).unwrap();
        order.updated = self.clock;
        let topic = match dice.roll(6) {
            0 => {
                order.deleted = true;
                let at = Some(second(self.clock));
                self.sent.push(Sent::shopify("orders/delete", at, json!({ "id": id })));
                return;
            }
            1 => {
                order.cancelled = true;
                "orders/cancelled"
            }
            2 | 3 if order.paid => {
                let left = usize::try_from(order.total - order.refunded).unwrap();
                order.refunded += i64::try_from(dice.roll(left + 1)).unwrap();
                "orders/updated"
            }
            _ => {
                order.paid = true;
                "orders/paid"
            }
        };
        self.tell_of(topic, id);
    }

    fn tell_of(&mut self, topic: &'static str, id: u64) {
        let order = &self.orders[&id];
        let status = order.status();
        let decimal = |minor| Money(minor).to_decimal(Currency::EUR);
        let mut body: OrderBody = crate::support::shop::order(id)
            .total(&decimal(order.total))
            .current(&decimal(order.total - order.refunded))
            .status(status)
            .updated(&time(self.clock));
        if order.refunded > 0 {
            body = body.refund(&decimal(order.refunded));
        }
        if order.cancelled {
            body = body.set("cancelled_at", time(self.clock));
        }
        body = match order.customer {
            Some(customer) => body.by(&self.customer(customer)),
            None => body.guest(order.email),
        };
        self.tell(topic, body.json());
    }

    fn customer(&self, id: u64) -> Value {
        let mut body = customer(id, self.customers[&id]);
        body["updated_at"] = json!(time(self.clock));
        body
    }

    fn tell(&mut self, topic: &'static str, body: Value) {
        self.sent.push(Sent::shopify(topic, Some(second(self.clock) + 250), body));
    }

    pub fn root(&self, mut id: u64) -> u64 {
        while let Some(next) = self.merged.get(&id) {
            id = *next;
        }
        id
    }

    /// What the shop itself would say of its customers.
    pub fn totals(&self) -> BTreeMap<String, (i64, i64)> {
        let mut totals: BTreeMap<String, (i64, i64)> = BTreeMap::new();
        for order in self.orders.values() {
            let net = order.total - order.refunded;
            if !order.paid || order.cancelled || order.deleted || net == 0 {
                continue;
            }
            let holder = || {
                let mut holders: Vec<u64> =
                    self.customers.keys().filter(|id| self.customers[id] == order.email).copied().collect();
                holders.sort_by_key(|id| (self.merged.contains_key(id), *id));
                holders.first().copied()
            };
            let owner = match order.customer {
                Some(customer) => format!("shopify:{}", self.root(customer)),
                None if order.email.is_empty() => continue,
                None => holder().map_or(format!("guest:{}", order.email), |id| format!("shopify:{}", self.root(id))),
            };
            let total = totals.entry(owner).or_default();
            *total = (total.0 + 1, total.1 + net);
        }
        totals
    }
}
