//! How the destinations of the configuration fare, in the order of the page and its file.

use std::cmp::Reverse;

use rusqlite::Connection;

use super::{
    latency::{self, Latency},
    standing,
};
use crate::{
    model::Timestamp,
    outbox::{self, Health},
    web::dashboard::{
        App,
        deliveries::queue,
        order::{self, Key, Order, down, up},
    },
};

/// What they can be sorted by, and what that is called; the usual order is that of the configuration.
const ORDERS: [(Key, &str); 5] = [
    (up("configuration"), "Configuration"),
    (up("name"), "Name"),
    (up("health"), "Health, the worst first"),
    (down("queue"), "Queue, the longest first"),
    (down("latency"), "Latency, the slowest first"),
];
const KEYS: &[Key] = &[ORDERS[0].0, ORDERS[1].0, ORDERS[2].0, ORDERS[3].0, ORDERS[4].0];

/// One destination.
pub struct Fare {
    /// In the configuration.
    pub index: usize,
    pub health: Health,
    /// Deliveries that have not ended, counted up to [`queue::COUNTED`].
    pub queue: i64,
    pub latency: Latency,
}

/// A link to the page in another order; the present one has none.
pub struct Turn {
    pub label: &'static str,
    pub href: Option<String>,
}

pub fn order_of(pairs: &[(String, String)]) -> Order {
    Order::from_pairs(KEYS, pairs)
}

/// All orders there are.
pub fn turns(order: Order) -> Vec<Turn> {
    let turn = |(key, label): (Key, &'static str)| {
        let there = if key.name == order.by() { None } else { Some(order.turned(key.name)) };
        Turn { label, href: there.map(|there| order::address("/destinations", there.pairs())) }
    };
    ORDERS.into_iter().map(turn).collect()
}

/// All of the configuration; equals stand as it names them.
pub fn load(app: &App, connection: &Connection, order: Order, now: Timestamp) -> rusqlite::Result<Vec<Fare>> {
    let latencies = latency::of_newest(connection)?;
    let mut fares = Vec::with_capacity(app.config.destination.len());
    for (index, destination) in app.config.destination.iter().enumerate() {
        let name = destination.name.as_str();
        fares.push(Fare {
            index,
            health: outbox::health(connection, name, now)?,
            queue: queue::open(connection, name)?,
            latency: latencies.get(name).copied().unwrap_or_default(),
        });
    }
    let value = |fare: &Fare| match order.by() {
        "name" => (app.config.destination[fare.index].name.to_lowercase(), 0),
        "health" => (String::new(), badness(standing(app, &fare.health, now).0)),
        "queue" => (String::new(), fare.queue),
        "latency" => (String::new(), fare.latency.arrives.unwrap_or(-1)),
        _ => (String::new(), i64::try_from(fare.index).unwrap_or(i64::MAX)),
    };
    if order.ascending {
        fares.sort_by_cached_key(value);
    } else {
        fares.sort_by_cached_key(|fare| Reverse(value(fare)));
    }
    Ok(fares)
}

/// By the tone of its pill, the worst first.
fn badness(tone: &str) -> i64 {
    match tone {
        "bad" => 0,
        "warn" => 1,
        _ => 2,
    }
}
