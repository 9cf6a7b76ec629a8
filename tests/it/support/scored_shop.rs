//! A shop with customers and orders in a real database file, a clock of its own, and runs.
//!
//! Orders are written straight into the tables, counters recomputed from them: what scoring does
//! with a shop is tested here, not how the shop came to be.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use quintile::{
    clock::Clock,
    config::{Config, Destination},
    db::Database,
    model::Timestamp,
    scoring::{self, Request, Settings, Silent, Summary, Trigger},
};
use rusqlite::{Connection, Transaction, params};

use super::folder::Folder;

pub const DAY: i64 = Timestamp::DAY;

pub struct Shop {
    pub db: Arc<Database>,
    pub settings: Settings,
    pub clock: Clock,
    now: Arc<AtomicI64>,
    path: PathBuf,
    pub folder: Folder,
}

/// customer, old segment, new segment, cause
pub type Event = (String, Option<String>, Option<String>, String);

/// 1 June 2026, noon.
pub fn noon() -> Timestamp {
    at("2026-06-01T12:00:00Z")
}

pub fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A configuration with one destination that wants everything.
pub fn config() -> Config {
    let destination =
        Destination { name: "tool".to_owned(), url: "https://tool.example/".to_owned(), ..Destination::default() };
    Config { destination: vec![destination], ..Config::default() }
}

impl Shop {
    /// It is noon on 1 June 2026, and nobody has ordered yet.
    pub fn new() -> Self {
        Self::with(&config())
    }

    pub fn with(config: &Config) -> Self {
        let folder = Folder::new();
        let path = folder.path().join("quintile.db");
        let db = Arc::new(Database::open(&path, "test").unwrap());
        let now = Arc::new(AtomicI64::new(noon().millis()));
        let reading = now.clone();
        let clock = Clock::from_fn(move || Timestamp::from_millis(reading.load(Ordering::Relaxed)));
        Self { db, settings: Settings::from_config(config).unwrap(), clock, now, path, folder }
    }

    /// 40 customers, c01 to c40: the higher the number, the more lately, often and much they
    /// bought. All values differ but the counts of orders.
    pub fn forty() -> Self {
        let shop = Self::new();
        shop.write(|tx| {
            for number in 1..=40i64 {
                for order in 0..=(number / 8) {
                    add_order(
                        tx,
                        &format!("c{number:02}"),
                        1000 + number,
                        noon().plus_millis((number - 50 - order) * DAY),
                    );
                }
            }
        });
        shop
    }

    /// The program restarted: the same file, opened again.
    pub fn reopened(self) -> Self {
        let Self { db, settings, clock, now, path, folder } = self;
        drop(db);
        let db = Arc::new(Database::open(&path, "test").unwrap());
        Self { db, settings, clock, now, path, folder }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn set_clock(&self, now: Timestamp) {
        self.now.store(now.millis(), Ordering::Relaxed);
    }

    pub fn wait(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    /// Writes something in one transaction.
    pub fn write<T: Send + 'static>(&self, job: impl FnOnce(&Transaction<'_>) -> T + Send + 'static) -> T {
        self.db.writer().write_blocking(move |tx| Ok(job(tx))).unwrap()
    }

    pub fn execute(&self, sql: &'static str) {
        self.write(move |tx| tx.execute_batch(sql).unwrap());
    }

    /// A connection beside the program's, for what cannot be done in a transaction.
    pub fn outside(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    /// An order of now, in cents. Returns its id.
    pub fn order(&self, customer: &str, cents: i64) -> i64 {
        let (customer, now) = (customer.to_owned(), self.now());
        self.write(move |tx| add_order(tx, &customer, cents, now))
    }

    pub fn order_at(&self, customer: &str, cents: i64, at: Timestamp) -> i64 {
        let customer = customer.to_owned();
        self.write(move |tx| add_order(tx, &customer, cents, at))
    }

    /// The order is worth so much from now on; 0: it does not count any more.
    pub fn set_net(&self, order: i64, cents: i64) {
        self.write(move |tx| {
            tx.execute("UPDATE orders SET net = ?2, counted = ?2 > 0 WHERE id = ?1", params![order, cents]).unwrap();
            recount(tx, &format!("(SELECT customer_id FROM orders WHERE id = {order})"));
        });
    }

    /// A customer without an order.
    pub fn visitor(&self, customer: &str) -> i64 {
        let customer = customer.to_owned();
        self.write(move |tx| customer_id(tx, &customer))
    }

    /// All orders of one become the other's.
    pub fn merge(&self, from: &str, into: &str) {
        let (from, into) = (from.to_owned(), into.to_owned());
        self.write(move |tx| {
            let (from, into) = (customer_id(tx, &from), customer_id(tx, &into));
            tx.execute("UPDATE orders SET customer_id = ?2 WHERE customer_id = ?1", [from, into]).unwrap();
            tx.execute("UPDATE customers SET merged_into = ?2 WHERE id = ?1", [from, into]).unwrap();
            recount(tx, &format!("({from}, {into})"));
        });
    }

    /// A run as a person starts it.
    pub fn score(&self) -> Summary {
        self.score_as_of(self.now())
    }

    pub fn score_as_of(&self, as_of: Timestamp) -> Summary {
        self.try_score(Request { trigger: Trigger::Manual, slot: None, as_of, missed: 0 }).unwrap()
    }

    /// A run of tonight's kind.
    pub fn night(&self, slot: &str) -> Request {
        Request { trigger: Trigger::Scheduled, slot: Some(slot.parse().unwrap()), as_of: self.now(), missed: 0 }
    }

    pub fn try_score(&self, request: Request) -> anyhow::Result<Summary> {
        let result = scoring::run(&self.db, &self.settings, request, &self.clock, &Silent);
        self.check_invariants();
        result
    }

    pub fn resume(&self) -> scoring::Resumed {
        let resumed = scoring::resume(&self.db, &self.settings, &self.clock).unwrap();
        self.check_invariants();
        resumed
    }

    /// One row, one column.
    pub fn one<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        let reader = self.db.readers().get().unwrap();
        reader.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// All rows, columns as text joined by a space; NULL is "-".
    pub fn rows(&self, sql: &str) -> Vec<String> {
        let reader = self.db.readers().get().unwrap();
        let mut statement = reader.prepare(sql).unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            let cells: Vec<String> = (0..columns)
                .map(|column| match row.get_ref(column).unwrap() {
                    rusqlite::types::ValueRef::Null => "-".to_owned(),
                    rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                    other => other.as_str().unwrap().to_owned(),
                })
                .collect();
            Ok(cells.join(" "))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// Scores in force by customer.
    pub fn scores(&self) -> BTreeMap<String, Option<[u8; 3]>> {
        let reader = self.db.readers().get().unwrap();
        let mut statement = reader
            .prepare("SELECT c.external_id, s.r, s.f, s.m FROM scores s JOIN customers c ON c.id = s.customer_id")
            .unwrap();
        let rows = statement.query_map([], |row| {
            let scores: [Option<u8>; 3] = [row.get(1)?, row.get(2)?, row.get(3)?];
            Ok((row.get(0)?, scores[0].map(|_| scores.map(Option::unwrap))))
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// The segment in force; `None`: none.
    pub fn segment(&self, customer: &str) -> Option<String> {
        self.one(&format!(
            "SELECT (SELECT segment FROM scores JOIN customers ON id = customer_id WHERE external_id = '{customer}')"
        ))
    }

    /// Events of one run, in the order of the outbox.
    pub fn events_of(&self, summary: &Summary) -> Vec<Event> {
        let reader = self.db.readers().get().unwrap();
        let mut statement = reader
            .prepare(
                "SELECT external_id, old_segment, new_segment, cause FROM outbox JOIN customers c ON c.id = customer_id
                 WHERE run_id = ?1 ORDER BY seq",
            )
            .unwrap();
        let rows = statement
            .query_map([summary.run_id.unwrap()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// Deliveries per state and reason.
    pub fn deliveries(&self) -> Vec<String> {
        self.rows("SELECT state, hold, count(*) FROM deliveries GROUP BY 1, 2 ORDER BY 1, 2")
    }

    /// What is true of any database after any run, failed ones included.
    pub fn check_invariants(&self) {
        let none = |sql: &str, law: &str| assert_eq!(self.rows(sql), Vec::<String>::new(), "{law}");
        none(
            "SELECT run_id, customer_id, segment FROM history WHERE moved = 1
             EXCEPT SELECT run_id, customer_id, new_segment FROM outbox WHERE type = 'rfm/segment.changed'",
            "every move has its event",
        );
        none(
            "SELECT run_id, customer_id, new_segment FROM outbox WHERE type = 'rfm/segment.changed'
             EXCEPT SELECT run_id, customer_id, segment FROM history WHERE moved = 1",
            "every event has its move",
        );
        none(
            "SELECT run_id, customer_id FROM outbox GROUP BY 1, 2, type, lapsed_days HAVING count(*) > 1",
            "one event of a kind a customer and run, and of a threshold",
        );
        none(
            "SELECT id FROM runs WHERE scored_at IS NULL AND (id IN (SELECT run_id FROM history)
               OR id IN (SELECT run_id FROM outbox) OR id IN (SELECT run_id FROM run_segments))",
            "a run that is not scored wrote nothing",
        );
        none(
            "SELECT id, changed FROM runs r WHERE scored_at IS NOT NULL AND changed <>
               (SELECT count(*) FROM outbox WHERE run_id = r.id AND type = 'rfm/segment.changed')",
            "a run counts its events",
        );
        none(
            "SELECT id FROM runs r WHERE scored_at IS NOT NULL AND (
               scored <> (SELECT sum(customers) FROM run_segments WHERE run_id = r.id)
               OR scored <> (SELECT coalesce(sum(customers), 0) FROM run_cells WHERE run_id = r.id)
               OR changed <> (SELECT coalesce(sum(customers), 0) FROM run_moves WHERE run_id = r.id))",
            "statistics add up",
        );
        none("SELECT slot FROM runs WHERE slot IS NOT NULL GROUP BY 1 HAVING count(*) > 1", "one run a night");
        none(
            "SELECT seq FROM outbox o JOIN runs r ON r.id = o.run_id WHERE r.state = 'done'
               AND (SELECT count(*) FROM deliveries d WHERE d.seq = o.seq) <> 1",
            "one delivery per event of a run that is done",
        );
        none(
            "SELECT s.customer_id FROM scores s
               JOIN (SELECT customer_id, max(run_id) AS run_id FROM history GROUP BY customer_id) l USING (customer_id)
               JOIN history h USING (run_id, customer_id)
             WHERE (h.segment IS NOT s.segment OR h.r IS NOT s.r OR h.f IS NOT s.f OR h.m IS NOT s.m)",
            "history ends in what is in force",
        );
        assert_eq!(self.one::<String>("PRAGMA integrity_check"), "ok");
        none("PRAGMA foreign_key_check", "references hold");
    }
}

/// The customer's id; makes them when they are new.
pub fn customer_id(tx: &Transaction<'_>, external_id: &str) -> i64 {
    tx.prepare_cached(
        "INSERT INTO customers (source, external_id, email, created_at) VALUES ('shopify', ?1, ?1 || '@example.com', 0)
         ON CONFLICT DO NOTHING",
    )
    .unwrap()
    .execute([external_id])
    .unwrap();
    tx.prepare_cached("SELECT id FROM customers WHERE external_id = ?1")
        .unwrap()
        .query_row([external_id], |row| row.get(0))
        .unwrap()
}

pub fn add_order(tx: &Transaction<'_>, customer: &str, cents: i64, at: Timestamp) -> i64 {
    let customer = customer_id(tx, customer);
    tx.prepare_cached(
        "INSERT INTO orders (source, source_id, customer_id, status, currency, gross, net, counted, ordered_at, origin,
           received_at)
         VALUES ('shopify', lower(hex(randomblob(8))), ?1, 'paid', 'EUR', ?2, ?2, ?2 > 0, ?3, 'webhook', ?3)",
    )
    .unwrap()
    .execute(params![customer, cents, at])
    .unwrap();
    let order = tx.last_insert_rowid();
    recount(tx, &format!("({customer})"));
    order
}

fn recount(tx: &Transaction<'_>, customers: &str) {
    tx.execute(
        &format!(
            "UPDATE customers SET (order_count, total_spent, avg_order_value, first_order_at, last_order_at) =
               (SELECT count(*), coalesce(sum(net), 0),
                  coalesce(sum(net) / count(*) + (2 * (sum(net) % count(*)) > count(*)  -- half to even
                    OR (2 * (sum(net) % count(*)) = count(*) AND sum(net) / count(*) % 2 = 1)), 0),
                  min(ordered_at), max(ordered_at)
                FROM orders WHERE customer_id = customers.id AND counted = 1)
             WHERE id IN {customers}"
        ),
        [],
    )
    .unwrap();
}
