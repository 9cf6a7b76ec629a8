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
        view,
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

/// What the address of the page says.
#[derive(Debug, Clone, Copy)]
pub struct Filter {
    /// Only those that are not well.
    pub ailing: bool,
    pub order: Order,
}

impl Filter {
    pub fn from_pairs(pairs: &[(String, String)]) -> Self {
        Self { ailing: view::parameter(pairs, "ailing") == Some("1"), order: Order::from_pairs(KEYS, pairs) }
    }

    pub fn href(self, path: &str) -> String {
        order::address(path, self.ailing.then_some(("ailing", "1")).into_iter().chain(self.order.pairs()))
    }

    /// All orders there are.
    pub fn turns(self) -> Vec<Turn> {
        let turn = |(key, label): (Key, &'static str)| {
            let there = if key.name == self.order.by() { None } else { Some(self.order.turned(key.name)) };
            Turn { label, href: there.map(|order| Self { order, ..self }.href("/destinations")) }
        };
        ORDERS.into_iter().map(turn).collect()
    }
}

/// Those of the configuration that the filter leaves; equals stand as it names them.
pub fn load(app: &App, connection: &Connection, filter: Filter, now: Timestamp) -> rusqlite::Result<Vec<Fare>> {
    let order = filter.order;
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
    if filter.ailing {
        fares.retain(|fare| standing(app, &app.config.destination[fare.index].name, &fare.health, now).0 != "ok");
    }
    let value = |fare: &Fare| match order.by() {
        "name" => (app.config.destination[fare.index].name.to_lowercase(), 0),
        "health" => {
            (String::new(), badness(standing(app, &app.config.destination[fare.index].name, &fare.health, now).0))
        }
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
