//! SIGKILL at random moments: of an import, and of a server that takes webhooks, scores, fans out
//! and delivers all at once. After the last restart nothing is lost, nothing is doubled, and the
//! receiver's own ledger agrees.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::support::{
    merchant::{Merchant, post_shopify, score_and_wait, score_now, shopify_order},
    process::{Server, eventually, kill, quintile},
    receiver::{Received, Receiver},
};

const KILLS_OF_IMPORTS: u32 = 40;
const KILLS_OF_SERVERS: u32 = 160;
/// Longest life of a server after it has said where it listens.
const LONGEST_LIFE: Duration = Duration::from_millis(220);
const SENDERS: u64 = 3;
/// Messages that are taken in a life, at least.
const ENOUGH: usize = 4;
/// Customers of the shop that sends webhooks: few, so that each changes often.
const CUSTOMERS: u64 = 120;

/// Moments to kill at. Seeded, so that a failure can be tried again; printed by the tests.
fn random(seed: Option<u64>) -> fastrand::Rng {
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}");
    fastrand::Rng::with_seed(seed)
}

#[test]
fn an_import_killed_40_times_ends_like_one_that_ran_through() {
    let mut random = random(None);
    let rows = (0..8_000).map(|n| {
        let day = 1 + n % 28;
        format!(
            "o{n},{},c{}@example.com,2025-{:02}-{day:02}T10:00:00Z,{}.50,EUR,paid\n",
            n % 900,
            n % 900,
            1 + n % 12,
            5 + n % 200
        )
    });
    let file = "order_id,customer_id,email,ordered_at,total,currency,status\n".to_owned() + &rows.collect::<String>();
    let import = ["import", "orders.csv"];

    let straight = Merchant::new("http://127.0.0.1:9/");
    straight.write("orders.csv", &file);
    let start = Instant::now();
    straight.run(&import);
    let whole = start.elapsed();

    let killed = Merchant::new("http://127.0.0.1:9/");
    killed.write("orders.csv", &file);
    let mut cut_short = 0;
    for _ in 0..KILLS_OF_IMPORTS {
        let mut child = quintile(killed.path(), &import)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Rows that are there already take less time, so most of the whole would be too late.
        std::thread::sleep(whole.mul_f64(random.f64() * 0.6));
        cut_short += u32::from(child.try_wait().unwrap().is_none());
        kill(&mut child);
    }
    assert!(cut_short > KILLS_OF_IMPORTS / 4, "only {cut_short} kills met a running import");
    killed.run(&import);
    killed.run(&["check", "--deep"]);
    let listing = |merchant: &Merchant| {
        let mut customers = merchant.json(&["customers"]).as_array().unwrap().clone();
        for customer in &mut customers {
            customer["id"].take(); // ours, given in order of arrival
        }
        customers.sort_by_key(|customer| customer["externalId"].to_string());
        customers
    };
    assert_eq!(listing(&killed), listing(&straight));
}

/// What the shop knows: what it sent, and what it was promised to be stored.
#[derive(Default)]
struct Sent {
    orders: AtomicU64,
    accepted: Mutex<BTreeSet<String>>,
    /// Sent without an answer: the shop sends these again, with the same id.
    unanswered: Mutex<BTreeMap<String, serde_json::Value>>,
}

impl Sent {
    /// Posts new orders, and again what was not answered, until the server dies.
    fn keep_sending(&self, server: &Server, over: &AtomicBool, seed: u64) {
        let mut random = fastrand::Rng::with_seed(seed);
        while !over.load(Ordering::SeqCst) {
            let again = { self.unanswered.lock().unwrap().pop_first() };
            let (webhook, body) = again.unwrap_or_else(|| {
                let id = 1_000_000 + self.orders.fetch_add(1, Ordering::SeqCst);
                let at = format!("2026-{:02}-{:02}T10:00:00Z", random.u32(1..11), random.u32(1..29));
                let total = format!("{}.00", random.u32(5..500));
                (format!("w-{id}"), shopify_order(id, 7000 + random.u64(0..CUSTOMERS), &total, &at))
            });
            match post_shopify(server, "orders/create", &webhook, &body) {
                Ok(answer) if answer.status == 200 => {
                    self.accepted.lock().unwrap().insert(webhook);
                }
                Ok(answer) => panic!("answered {}: {}", answer.status, answer.body),
                Err(_) => {
                    self.unanswered.lock().unwrap().insert(webhook, body);
                    return;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_by_160_kills_of_the_server() {
    let receiver = Receiver::start().await;
    let merchant = Merchant::new(receiver.url());
    let sent = Sent::default();
    tokio::task::block_in_place(|| {
        live_and_die_taking_webhooks(&merchant, &sent);
        settle(&merchant, &sent);
        every_accepted_webhook_is_stored(&merchant, &sent);
        every_change_has_one_event(&merchant);
        merchant.run(&["check", "--deep"]);
        let check: String = merchant.sql().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(check, "ok");
    });
    the_receiver_has_everything_in_order(&merchant, &receiver.received());
}

/// Starts the server, lets it take webhooks, score and deliver, kills it; again and again.
fn live_and_die_taking_webhooks(merchant: &Merchant, sent: &Sent) {
    let mut random = random(None);
    for lives in 1..=KILLS_OF_SERVERS as usize {
        let server = Server::start(merchant.path());
        let (over, life) = (AtomicBool::new(false), LONGEST_LIFE.mul_f64(random.f64()));
        let button = LONGEST_LIFE.mul_f64(random.f64() * 0.5);
        let seeds: Vec<u64> = (0..SENDERS).map(|_| random.u64(..)).collect();
        std::thread::scope(|threads| {
            for seed in seeds {
                let (server, over) = (&server, &over);
                threads.spawn(move || sent.keep_sending(server, over, seed));
            }
            threads.spawn(|| {
                std::thread::sleep(button);
                let _ = score_now(&server); // the server may be gone
            });
            std::thread::sleep(life);
            // On a machine that has more to do a life goes on until enough was taken.
            eventually("messages that are taken", || {
                (sent.accepted.lock().unwrap().len() >= ENOUGH * lives).then_some(())
            });
            server.signal_kill();
            over.store(true, Ordering::SeqCst);
        });
        server.kill();
    }
}

/// A last life without a kill: what was not answered is sent again, a run, everything delivered.
fn settle(merchant: &Merchant, sent: &Sent) {
    let server = Server::start(merchant.path());
    for (webhook, body) in std::mem::take(&mut *sent.unanswered.lock().unwrap()) {
        assert_eq!(post_shopify(&server, "orders/create", &webhook, &body).unwrap().status, 200);
        sent.accepted.lock().unwrap().insert(webhook);
    }
    score_and_wait(merchant, &server);
    let database = merchant.sql();
    let count = |condition: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {condition}"), [], |row| row.get(0)).unwrap()
    };
    eventually("the end of all runs", || (count("runs WHERE state NOT IN ('done', 'failed')") == 0).then_some(()));
    eventually("the end of all deliveries", || (count("deliveries WHERE finished_at IS NULL") == 0).then_some(()));
    assert!(server.terminate().success());
    assert_eq!(count("deliveries WHERE state <> 'delivered'"), 0);
}

fn every_accepted_webhook_is_stored(merchant: &Merchant, sent: &Sent) {
    let database = merchant.sql();
    let mut statement = database.prepare("SELECT delivery_key FROM inbox WHERE state = 'done'").unwrap();
    let stored: BTreeSet<String> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let accepted = sent.accepted.lock().unwrap();
    assert!(accepted.len() > 500, "only {} webhooks were accepted", accepted.len());
    assert_eq!(accepted.difference(&stored).next(), None, "accepted, but not stored");
    let (orders, counted): (u64, u64) = database
        .query_row("SELECT (SELECT count(*) FROM orders), (SELECT sum(order_count) FROM customers)", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(orders, sent.orders.load(Ordering::SeqCst), "each order is stored once");
    assert_eq!(counted, orders, "and counted once");
}

/// A customer's events form a chain: each starts where the one before ended, and the last ends at
/// the segment in force. A lost event breaks it, a doubled one too.
fn every_change_has_one_event(merchant: &Merchant) {
    let database = merchant.sql();
    let mut current: BTreeMap<i64, Option<String>> = BTreeMap::new();
    let mut statement =
        database.prepare("SELECT customer_id, old_segment, new_segment FROM outbox ORDER BY seq").unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut events = 0;
    while let Some(row) = rows.next().unwrap() {
        let (customer, old, new): (i64, Option<String>, Option<String>) =
            (row.get(0).unwrap(), row.get(1).unwrap(), row.get(2).unwrap());
        assert_ne!(old, new, "an event without a change");
        assert_eq!(current.insert(customer, new).flatten(), old, "customer {customer}");
        events += 1;
    }
    assert!(events > 300, "only {events} changes");
    let mut statement = database.prepare("SELECT customer_id, segment FROM scores").unwrap();
    let scores: BTreeMap<i64, Option<String>> =
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    assert_eq!(current, scores);
}

/// Every event at least once; what came twice came with the same id and bytes; per customer, no
/// event came first before an older one had come.
fn the_receiver_has_everything_in_order(merchant: &Merchant, received: &[Received]) {
    let mut messages: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut latest: BTreeMap<String, u64> = BTreeMap::new();
    let mut seqs: BTreeSet<u64> = BTreeSet::new();
    for request in received {
        request.assert_verified();
        let body = messages.entry(request.header("webhook-id").to_owned()).or_insert_with(|| request.body.clone());
        assert_eq!(*body, request.body, "one message, one body");
        let seq = request.json()["seq"].as_u64().unwrap();
        if seqs.insert(seq) {
            let before = latest.insert(request.customer(), seq);
            assert!(before < Some(seq), "event {seq} came after {before:?}");
        }
    }
    let database = merchant.sql();
    let mut statement = database.prepare("SELECT seq FROM outbox").unwrap();
    let queued: BTreeSet<u64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(seqs, queued);
    let repeats = received.len() - queued.len();
    eprintln!("{} events, {repeats} came twice", queued.len());
    assert!(repeats <= KILLS_OF_SERVERS as usize * 16, "more repeats than could be in flight: {repeats}");
}

/// A shop whose orders come in a dozen a life, scored and delivered, its server killed `kills` times
/// at random moments; then a last life in which everything is delivered.
pub fn live_and_die(merchant: &Merchant, kills: u32, customers: u64, longest_life: Duration) {
    let mut random = random(None);
    let mut order = 1_000_000;
    for _ in 0..kills {
        let server = Server::start(merchant.path());
        for _ in 0..12 {
            order += 1;
            let at = format!("2026-{:02}-{:02}T10:00:00Z", random.u32(1..11), random.u32(1..29));
            let total = format!("{}.00", random.u32(5..500));
            let body = shopify_order(order, 7000 + random.u64(0..customers), &total, &at);
            assert_eq!(post_shopify(&server, "orders/create", &format!("w-{order}"), &body).unwrap().status, 200);
        }
        let life = longest_life.mul_f64(random.f64());
        std::thread::scope(|threads| {
            threads.spawn(|| score_now(&server)); // the server may be gone
            std::thread::sleep(life);
            server.signal_kill();
        });
        server.kill();
    }
    let server = Server::start(merchant.path());
    score_and_wait(merchant, &server);
    let database = merchant.sql();
    let count = |condition: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {condition}"), [], |row| row.get(0)).unwrap()
    };
    eventually("the end of all deliveries", || (count("deliveries WHERE finished_at IS NULL") == 0).then_some(()));
    assert!(server.terminate().success());
}
