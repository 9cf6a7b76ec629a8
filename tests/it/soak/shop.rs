//! The shop around the program: what it sold, what it tells of it, and what it was promised to be kept.
//! It sends again, under the same id, what was not answered 2xx, like every shop.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use quintile::model::{Source, Timestamp};
use serde_json::json;

use super::{
    bodies::{redact, unusable},
    machine::Machine,
};
use crate::support::{
    http,
    merchant::{ORDERS_SECRET, SHOP, SHOPIFY_SECRET},
    orders::{Buyer, Order},
    shop::sign,
};

pub const WOOCOMMERCE_SECRET: &str = "wc made up for the soak";
/// Few enough that each changes often.
const CUSTOMERS: u64 = 220;
const GUESTS: u64 = 60;
/// Messages on their way; of these any is sent next, so that they arrive in any order.
const ON_THEIR_WAY: usize = 12;
/// Of what was answered lately any may come once more.
const RECENT: usize = 200;

const SHOPIFY: Source = Source::Shopify;
const WOOCOMMERCE: Source = Source::WooCommerce;
const API: Source = Source::Api;

/// A webhook before it is sent.
#[derive(Debug, Clone)]
struct Message {
    source: Source,
    key: String,
    topic: &'static str,
    body: Vec<u8>,
    usable: bool,
    signed: bool,
}

#[derive(Default)]
pub struct Shop(Mutex<Books>);

/// What the shop knows.
#[derive(Default)]
pub struct Books {
    dice: fastrand::Rng,
    pub orders: BTreeMap<(Source, u64), Order>,
    /// Whom it asked to forget.
    pub erased: BTreeSet<Buyer>,
    pending: Vec<Message>,
    recent: VecDeque<Message>,
    /// Answered 2xx, by source and id, and whether it could be used.
    pub answered: BTreeMap<(Source, String), bool>,
    /// Every id that was ever sent.
    pub sent: BTreeSet<(Source, String)>,
    /// Requests that were answered 503 or not at all, and sent again.
    pub sent_again: u64,
    /// Requests without a good signature.
    pub refused: u64,
    messages: u64,
    closed: bool,
    /// Answers that should not be.
    pub wrong: Vec<String>,
}

impl Shop {
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(Books { dice: fastrand::Rng::with_seed(seed), ..Books::default() }))
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap()
    }

    /// Does business and tells of it until `over`; without a pause when in a `hurry`.
    pub fn keep_sending(&self, webhooks: &str, machine: &Machine, hurry: &AtomicBool, over: &AtomicBool) {
        while !over.load(Ordering::SeqCst) && !self.books().closed {
            let (message, pause) = {
                let mut books = self.books();
                let message = books.next(machine.now().millis(), machine.at_least().millis());
                (message, Duration::from_millis(books.dice.u64(20..800)))
            };
            self.send(webhooks, machine, message);
            if !hurry.load(Ordering::SeqCst) {
                std::thread::sleep(pause);
            }
        }
    }

    /// No more business: what is on its way is all that comes.
    pub fn is_closed(&self) {
        self.books().closed = true;
    }

    /// Sends what is on its way, once. How much is left.
    pub fn send_the_rest(&self, webhooks: &str, machine: &Machine) -> usize {
        let pending = std::mem::take(&mut self.books().pending);
        for message in pending {
            self.send(webhooks, machine, message);
        }
        self.books().pending.len()
    }

    fn send(&self, webhooks: &str, machine: &Machine, message: Message) {
        let answer = message.post(webhooks, machine.now());
        self.books().is_answered(message, answer);
    }
}

impl Books {
    fn next(&mut self, now: i64, at_least: i64) -> Message {
        match self.dice.u32(..100) {
            0..5 if !self.recent.is_empty() => {
                let place = self.dice.usize(..self.recent.len());
                let mut again = self.recent[place].clone();
                if self.dice.bool() {
                    again.key = self.key();
                }
                return again;
            }
            5..8 => {
                let id = 9_000_000 + self.messages;
                let body = unusable(&mut self.dice, id, now);
                return Message { usable: false, ..self.message(SHOPIFY, "orders/create", body) };
            }
            8 => return Message { signed: false, ..self.message(SHOPIFY, "orders/create", b"{}".to_vec()) },
            _ => {}
        }
        while self.pending.len() < ON_THEIR_WAY {
            self.business(now, at_least);
        }
        let place = self.dice.usize(..self.pending.len());
        self.pending.swap_remove(place)
    }

    fn business(&mut self, now: i64, at_least: i64) {
        let living: Vec<(Source, u64)> =
            self.orders.iter().rev().take(400).filter(|(_, order)| !order.deleted).map(|(key, _)| *key).collect();
        match self.dice.u32(..100) {
            0..60 => self.place(now),
            60 if self.orders.len() > 1000 => self.forget_somebody(),
            _ if living.is_empty() => self.place(now),
            _ => {
                let (source, id) = living[self.dice.usize(..living.len())];
                self.change(source, id, now, at_least);
            }
        }
    }

    fn place(&mut self, now: i64) {
        let updated_at = now / 1000 * 1000;
        let source = [SHOPIFY, SHOPIFY, WOOCOMMERCE, API][self.dice.usize(..4)];
        let id = 1000 + self.orders.len() as u64;
        let buyer = match self.dice.u32(..8) {
            0 => Buyer::Guest(CUSTOMERS + 1 + self.dice.u64(..GUESTS)),
            _ => Buyer::Known(source, 1 + self.dice.u64(..CUSTOMERS)),
        };
        let days = if self.dice.u32(..6) == 0 { self.dice.i64(0..60) } else { 0 };
        let order = Order {
            buyer,
            placed_at: updated_at - days * Timestamp::DAY,
            updated_at,
            total: self.dice.i64(100..30_000),
            refunded: 0,
            paid: self.dice.u32(..6) > 0,
            cancelled: false,
            deleted: false,
        };
        self.orders.insert((source, id), order);
        self.tell(source, id, ["orders/create", "order.created"]);
    }

    fn change(&mut self, source: Source, id: u64, now: i64, at_least: i64) {
        let Some(order) = self.orders.get_mut(&(source, id)) else { return };
        // A deletion says of no instant, and is dated by its arrival: on a clock that shows an earlier time
        // than a state on its way, WooCommerce's order would come back.
        let may_be_deleted = source != API && order.updated_at < at_least;
        // A second for each state, so that there is no doubt which is the newest.
        order.updated_at = (now / 1000 * 1000).max(order.updated_at + 1000);
        let topics = match self.dice.u32(..8) {
            0 if may_be_deleted => {
                order.deleted = true;
                ["orders/delete", "order.deleted"]
            }
            1 => {
                order.cancelled = true;
                ["orders/cancelled", "order.updated"]
            }
            2..5 if order.paid => {
                order.refunded += self.dice.i64(0..=order.total - order.refunded);
                ["orders/updated", "order.updated"]
            }
            _ => {
                order.paid = true;
                ["orders/paid", "order.updated"]
            }
        };
        self.tell(source, id, topics);
    }

    fn forget_somebody(&mut self) {
        let buyers: Vec<Buyer> = self.orders.values().map(|order| order.buyer).collect();
        let buyer = buyers[self.dice.usize(..buyers.len())];
        if matches!(buyer, Buyer::Known(Source::Shopify, _)) && self.erased.len() < 40 && self.erased.insert(buyer) {
            let message = self.message(SHOPIFY, "customers/redact", redact(buyer).to_string().into_bytes());
            self.pending.push(message);
        }
    }

    fn tell(&mut self, source: Source, id: u64, [shopify, woocommerce]: [&'static str; 2]) {
        let mut body = self.orders[&(source, id)].body(source, id);
        if source == API {
            body = json!({ "orders": [body] });
        }
        let topic = if source == WOOCOMMERCE { woocommerce } else { shopify };
        let message = self.message(source, topic, body.to_string().into_bytes());
        self.pending.push(message);
    }

    fn message(&mut self, source: Source, topic: &'static str, body: Vec<u8>) -> Message {
        Message { source, key: self.key(), topic, body, usable: true, signed: true }
    }

    fn key(&mut self) -> String {
        self.messages += 1;
        format!("w{}", self.messages)
    }

    fn is_answered(&mut self, message: Message, answer: std::io::Result<http::Answer>) {
        if !message.signed {
            self.refused += 1;
            if let Ok(http::Answer { status: 200..=299, .. }) = answer {
                self.wrong.push(format!("{} was taken without a good signature", message.key));
            }
            return;
        }
        let key = (message.source, message.key.clone());
        self.sent.insert(key.clone());
        match answer {
            Ok(answer) if answer.status == 200 => {
                if message.source == API && !answer.body.contains("\"rejected\":[]") {
                    self.wrong.push(format!("{}: {}", message.key, answer.body));
                }
                self.answered.insert(key, message.usable);
                self.recent.push_back(message);
                if self.recent.len() > RECENT {
                    self.recent.pop_front();
                }
            }
            Err(_) | Ok(http::Answer { status: 503, .. }) => {
                self.sent_again += 1;
                self.pending.push(message);
            }
            // For a second after the clock went ahead the program does not know it yet.
            Ok(answer) if answer.status == 401 && answer.body.contains("webhook-timestamp") => {
                self.sent_again += 1;
                self.pending.push(message);
            }
            Ok(answer) => {
                self.wrong.push(format!("{} was answered {}: {}", message.key, answer.status, answer.body));
                self.pending.push(message);
            }
        }
    }
}

impl Message {
    /// Posts it, signed as its source signs at `now`.
    fn post(&self, webhooks: &str, now: Timestamp) -> std::io::Result<http::Answer> {
        let post = |path: &str, headers: &[(&str, &str)]| {
            let headers = [&[("content-type", "application/json")], headers].concat();
            http::post(&format!("{webhooks}/webhooks/{path}"), &headers, &self.body)
        };
        let key = self.key.as_str();
        match self.source {
            Source::Shopify => {
                let signature = sign(if self.signed { SHOPIFY_SECRET } else { "a guess" }, &self.body);
                post(
                    "shopify",
                    &[
                        ("x-shopify-topic", self.topic),
                        ("x-shopify-shop-domain", SHOP),
                        ("x-shopify-webhook-id", key),
                        ("x-shopify-hmac-sha256", &signature),
                    ],
                )
            }
            Source::WooCommerce => post(
                "woocommerce",
                &[
                    ("x-wc-webhook-source", "https://mugs.example/"),
                    ("x-wc-webhook-topic", self.topic),
                    ("x-wc-webhook-delivery-id", key),
                    ("x-wc-webhook-signature", &sign(WOOCOMMERCE_SECRET, &self.body)),
                ],
            ),
            _ => {
                let secret = standardwebhooks::Webhook::new(ORDERS_SECRET).unwrap();
                let signature = secret.sign(key, now.seconds(), &self.body).unwrap();
                let at = now.seconds().to_string();
                post("orders", &[("webhook-id", key), ("webhook-timestamp", &at), ("webhook-signature", &signature)])
            }
        }
    }
}
