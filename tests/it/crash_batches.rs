//! SIGKILL at random moments of a server that sends batches to a tool which refuses some of them,
//! so that kills meet batches being put together, sent, split and settled.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    crash,
    support::{
        merchant::Merchant,
        receiver::{Received, Receiver},
    },
};

const KILLS: u32 = 80;
const BATCH: usize = 7;
const CUSTOMERS: u64 = 90;
const LONGEST_LIFE: Duration = Duration::from_millis(260);

fn events(request: &Received) -> Vec<serde_json::Value> {
    request.json()["data"]["events"].as_array().unwrap().clone()
}

fn customer(event: &serde_json::Value) -> u64 {
    event["data"]["customerId"].as_str().unwrap().parse().unwrap()
}

/// The tool takes an event about every tenth customer only alone.
fn is_refused(request: &Received) -> bool {
    let events = events(request);
    events.len() > 1 && events.iter().any(|event| customer(event) % 10 == 3)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_of_a_batch_is_lost_or_overtaken_by_80_kills() {
    let tool = Receiver::start().await;
    tool.decides(|request| if is_refused(request) { 400.into() } else { 200.into() });
    let merchant = Merchant::with(tool.url(), &format!("batch = {BATCH}\n"));
    tokio::task::block_in_place(|| {
        live_and_die(&merchant);
        merchant.run(&["check", "--deep"]);
    });
    let accepted: Vec<Received> = tool.received().into_iter().filter(|request| !is_refused(request)).collect();
    assert!(accepted.len() < tool.received().len(), "batches were refused");
    everything_arrived_in_order(&merchant, &accepted);
}

fn live_and_die(merchant: &Merchant) {
    crash::live_and_die(merchant, KILLS, CUSTOMERS, LONGEST_LIFE);
    let database = merchant.sql();
    let count = |condition: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {condition}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("deliveries WHERE state <> 'delivered'"), 0);
    assert!(count("batched") > 100, "there were batches");
}

/// Every event at least once and in its customer's order; a message id stands for one body; what
/// came twice was in flight at a kill, or answered and not recorded: two batches at most.
fn everything_arrived_in_order(merchant: &Merchant, accepted: &[Received]) {
    let mut messages: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut latest: BTreeMap<u64, u64> = BTreeMap::new();
    let mut seqs: BTreeSet<u64> = BTreeSet::new();
    let mut repeats = 0;
    for request in accepted {
        request.assert_verified();
        let body = messages.entry(request.header("webhook-id").to_owned()).or_insert_with(|| request.body.clone());
        assert_eq!(*body, request.body, "one message, one body");
        for event in events(request) {
            let seq = event["seq"].as_u64().unwrap();
            if seqs.insert(seq) {
                let before = latest.insert(customer(&event), seq);
                assert!(before < Some(seq), "event {seq} came after {before:?}");
            } else {
                repeats += 1;
            }
        }
    }
    let database = merchant.sql();
    let mut statement = database.prepare("SELECT seq FROM outbox").unwrap();
    let queued: BTreeSet<u64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(seqs, queued);
    eprintln!("{} events, {repeats} came twice", queued.len());
    assert!(repeats <= KILLS as usize * 2 * BATCH, "more repeats than could be in flight: {repeats}");
}
