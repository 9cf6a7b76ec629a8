//! SIGKILL at random moments of a server whose deliveries take two requests each, at a tool that
//! fails some second ones: kills meet the first, the second, and what is between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::Duration,
};

use crate::{
    crash,
    support::{
        merchant::Merchant,
        receiver::{Received, Receiver},
    },
};

const KILLS: u32 = 60;
const CUSTOMERS: u64 = 90;
const CONNECTIONS: usize = 16;
const LONGEST_LIFE: Duration = Duration::from_millis(260);

/// The seq of the event a request is about.
fn seq(request: &Received) -> u64 {
    request.json()["seq"].as_u64().unwrap()
}

fn is_second(request: &Received) -> bool {
    request.path == "/events"
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_a_delivery_is_lost_or_overtaken_by_60_kills() {
    let tool = Receiver::start().await;
    // One second request in eight fails once.
    let failed: &'static Mutex<BTreeSet<u64>> = Box::leak(Box::default());
    tool.decides(|request| {
        let fails = is_second(request) && seq(request) % 8 == 3 && failed.lock().unwrap().insert(seq(request));
        if fails { 500.into() } else { 200.into() }
    });
    let origin = tool.url().strip_suffix("/hook/secret-path").unwrap();
    let merchant = Merchant::sending(&format!(
        r#"
[[destination]]
name = "crm"
kind = "template"
allow_http = true
[[destination.request]]
method = "PUT"
url = "{origin}/people/{{{{ customer.email }}}}"
body = '{{"customer": {{{{ customer.id }}}}, "segment": {{{{ event.segment }}}}, "seq": {{{{ event.seq }}}}}}'
[[destination.request]]
method = "POST"
url = "{origin}/events"
body = '{{"customer": {{{{ customer.id }}}}, "message": {{{{ message.id }}}}, "seq": {{{{ event.seq }}}}}}'
[consent]
unknown = "send"
"#
    ));
    tokio::task::block_in_place(|| {
        live_and_die(&merchant);
        merchant.run(&["check", "--deep"]);
    });
    everything_arrived_in_order(&merchant, &tool.received(), &failed.lock().unwrap());
}

fn live_and_die(merchant: &Merchant) {
    crash::live_and_die(merchant, KILLS, CUSTOMERS, LONGEST_LIFE);
    let database = merchant.sql();
    let count = |condition: &str| -> i64 {
        database.query_row(&format!("SELECT count(*) FROM {condition}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!(count("deliveries WHERE state <> 'delivered' OR step <> 2"), 0);
}

/// Both requests of every event at least once, the second after the first, an event after those
/// before it of its customer; what came twice was in flight at a kill.
fn everything_arrived_in_order(merchant: &Merchant, received: &[Received], failed: &BTreeSet<u64>) {
    let (mut first, mut second): (BTreeMap<u64, usize>, BTreeMap<u64, usize>) = Default::default();
    let mut done: BTreeSet<u64> = BTreeSet::new();
    let mut latest: BTreeMap<String, u64> = BTreeMap::new();
    let mut bodies: BTreeMap<(u64, bool), &[u8]> = BTreeMap::new();
    for request in received {
        let seq = seq(request);
        assert_eq!(*bodies.entry((seq, is_second(request))).or_insert(&request.body), request.body, "frozen");
        if is_second(request) {
            assert!(first.contains_key(&seq), "event {seq}: the second request came before the first");
            let times = second.entry(seq).or_default();
            *times += 1;
            if *times > 1 || !failed.contains(&seq) {
                done.insert(seq);
            }
        } else {
            assert!(request.path.starts_with("/people/c"), "{}", request.path);
            let times = first.entry(seq).or_default();
            *times += 1;
            if *times == 1 {
                let before = latest.insert(request.json()["customer"].as_str().unwrap().to_owned(), seq);
                assert!(
                    before.is_none_or(|before| before < seq && done.contains(&before)),
                    "{seq} overtook {before:?}"
                );
            }
        }
    }
    let database = merchant.sql();
    let mut statement = database.prepare("SELECT seq FROM outbox").unwrap();
    let queued: BTreeSet<u64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(queued.len() > 200, "only {} events", queued.len());
    assert_eq!((&done, &first.keys().copied().collect()), (&queued, &queued), "both requests of every event");

    let repeats = |requests: &BTreeMap<u64, usize>| requests.values().sum::<usize>() - requests.len();
    let (firsts, seconds) = (repeats(&first), repeats(&second) - failed.len());
    let remembered = failed.iter().filter(|seq| first[seq] == 1).count();
    eprintln!(
        "{} events, {firsts} first and {seconds} second requests came twice; {} second ones failed, after {remembered} of them the first was not repeated",
        queued.len(),
        failed.len(),
    );
    let limit = KILLS as usize * CONNECTIONS;
    assert!(firsts <= limit && seconds <= limit, "more repeats than could be in flight: {firsts}, {seconds}");
    assert!(remembered * 2 > failed.len(), "the finished step was forgotten: {remembered} of {}", failed.len());
}
