//! What a stranger may send, one function per way in: whatever the bytes, nothing panics, nothing
//! grows without bound, and what is refused is refused with a sentence. Each is called by a fuzz
//! target, and for every file of the corpus by `cargo test`.
#![allow(dead_code, reason = "each target includes this file for one of them")]

use std::{cell::RefCell, path::PathBuf, sync::atomic::AtomicBool};

use quintile::{
    config::{Config, Environment, Loading, Missing, Secret},
    db::SCHEMA,
    delivery::verify::{self, captured::Captured},
    intake::{Message, Prepared, Received, Rules, api, csv, signature as sign},
    invariants,
    model::{Source, Timestamp},
};
use rusqlite::Connection;

const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);

/// Reasons are read by a merchant: a sentence, not a dump.
const LONGEST_REASON: usize = 2_000;

const TOPICS: [&str; 14] = [
    "orders/create",
    "orders/updated",
    "orders/cancelled",
    "orders/delete",
    "refunds/create",
    "customers/create",
    "customers/update",
    "customers/delete",
    "customers/merge",
    "customers_email_marketing_consent/update",
    "customers/redact",
    "customers/data_request",
    "bulk_operations/finish",
    "shop/redact",
];

const WOOCOMMERCE_TOPICS: [&str; 7] = [
    "order.created",
    "order.updated",
    "order.deleted",
    "order.restored",
    "customer.created",
    "customer.updated",
    "customer.deleted",
];

thread_local! {
    static SHOP: RefCell<Connection> = RefCell::new(shop());
}

fn shop() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection
}

fn rules() -> Rules {
    Rules::default()
}

fn message(source: Source, topic: &str, body: &[u8]) -> Message {
    Message {
        source,
        topic: topic.to_owned(),
        delivery_key: None,
        triggered_at: None,
        headers: serde_json::json!({}),
        body: body.to_vec(),
        received_at: NOW,
    }
}

fn must_explain(reason: &str) {
    assert!(!reason.trim().is_empty(), "refused without a reason");
    assert!(reason.len() <= LONGEST_REASON, "a reason of {} bytes", reason.len());
}

/// Runs `change` twice in a transaction that is undone, and checks what must be true of every
/// database.
fn apply(change: impl Fn(&rusqlite::Transaction<'_>)) {
    SHOP.with_borrow_mut(|shop| {
        let tx = shop.transaction().unwrap();
        change(&tx);
        change(&tx);
        assert_eq!(invariants::violations(&tx).unwrap(), Vec::<String>::new());
    });
}

/// A webhook of Shopify's: the first byte chooses the topic.
pub fn shopify(data: &[u8]) {
    webhook(Source::Shopify, &TOPICS, data);
}

/// A webhook of WooCommerce's: the first byte chooses the topic.
pub fn woocommerce(data: &[u8]) {
    webhook(Source::WooCommerce, &WOOCOMMERCE_TOPICS, data);
}

fn webhook(source: Source, topics: &[&str], data: &[u8]) {
    let Some((topic, body)) = data.split_first() else { return };
    let topic = topics[usize::from(*topic) % topics.len()];
    let prepared = Prepared::new(message(source, topic, body), &rules());
    apply(|tx| match prepared.store(tx, &rules()).unwrap() {
        Received::Quarantined(reason) => must_explain(&reason),
        Received::Done | Received::Stale | Received::Ignored | Received::Duplicate => {}
    });
}

/// The body of `POST /webhooks/orders`.
pub fn orders_api(data: &[u8]) {
    let prepared = api::Prepared::new(message(Source::Api, api::TOPIC, data), &rules());
    apply(|tx| match prepared.store(tx, &rules()).unwrap() {
        api::Outcome::Unreadable(reason) => must_explain(&reason),
        api::Outcome::Answered(answer) => answer.rejected.iter().for_each(|rejected| must_explain(&rejected.reason)),
    });
}

/// A file of orders or customers. The first byte chooses what the merchant says it is.
pub fn csv(data: &[u8]) {
    let Some((first, content)) = data.split_first() else { return };
    let formats = [
        None,
        Some(csv::Format::Csv),
        Some(csv::Format::ShopifyCsv),
        Some(csv::Format::CustomersCsv),
        Some(csv::Format::ShopifyCustomersCsv),
    ];
    file(content, formats[usize::from(*first) % formats.len()]);
}

/// The lines of a bulk operation, plain or gzip; also what the preview shows of them.
pub fn jsonl(data: &[u8]) {
    file(data, Some(csv::Format::ShopifyJsonl));
}

fn file(content: &[u8], wanted: Option<csv::Format>) {
    let path = scratch("orders.csv");
    std::fs::write(&path, content).unwrap();
    let settings = csv::Settings::from_config(&Config::default()).unwrap();
    apply(|tx| {
        let input = match csv::open(&path, wanted, &settings) {
            Ok(input) => input,
            Err(unusable) => return must_explain(&unusable.to_string()),
        };
        for row in input.preview().rows {
            row.read.as_ref().err().into_iter().for_each(|reason| must_explain(reason));
        }
        match csv::try_out(input, tx, &rules(), NOW, &AtomicBool::new(false), &|_| {}) {
            Ok(report) => report.rejections.iter().for_each(|rejection| must_explain(&rejection.reason)),
            Err(error) => must_explain(&format!("{error:#}")),
        }
    });
}

/// Headers and body of a signed request, separated by the first empty line: nothing but the right
/// signature is accepted.
pub fn signature(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (headers, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = headers.lines();
    let mut next = || lines.next().unwrap_or_default();
    let (id, timestamp, given) = (next(), next(), next());
    let secrets = [Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"), Secret::new(""), Secret::new("whsec_")];
    assert!(!sign::shopify(&secrets, body.as_bytes(), given), "a made-up signature was accepted");
    let standard = sign::Standard { id, timestamp, signature: given };
    assert!(sign::standard_webhooks(&secrets, standard, body.as_bytes(), NOW).is_err());
    if let Ok(request) = Captured::from_request(data) {
        assert!(!verify::check(&request, &[], Some(NOW)).faults.is_empty());
    }
}

/// A configuration file: refused with the file's name and a sentence, or usable.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let path = scratch("config.toml");
    std::fs::write(&path, text).unwrap();
    let loading = Loading { environment: &Environment::default(), secrets: Missing::Allow, also: |_| Vec::new() };
    match Config::load_with(&path, loading) {
        Ok(config) => drop(csv::Settings::from_config(&config)),
        Err(error) => error.problems().iter().for_each(|problem| {
            must_explain(problem);
            assert!(problem.contains("config.toml"), "{problem}");
        }),
    }
}

/// A file of this thread's own.
fn scratch(name: &str) -> PathBuf {
    let own = format!("quintile-stranger-{}-{:?}", std::process::id(), std::thread::current().id());
    let folder = std::env::temp_dir().join(own);
    std::fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}
