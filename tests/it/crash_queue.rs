//! SIGKILL at random moments of a forwarder with a full queue: what comes again after a kill is what
//! was open at that kill, whatever a delivery takes: one request, a batch, the steps of a preset.

use std::{
    collections::BTreeMap,
    process::{Child, Stdio},
    time::Duration,
};

use crate::support::{
    merchant::Merchant,
    process::{eventually, kill, quintile},
    receiver::{Received, Receiver, SECRET},
};

const KILLS: usize = 25;
const CUSTOMERS: i64 = 7_000;
/// Events that wait at every kill.
const LEAST_WAITING: i64 = 5_000;
/// Requests after which a life ends.
const LONGEST_LIFE: usize = 50;

/// Deliveries that may be on their way, or answered and not recorded: eight for each of a destination's
/// connections, and two batches.
const OPEN: usize = 8 * 16;
/// Mailchimp takes ten connections.
const OPEN_AT_MAILCHIMP: usize = 8 * 10;
const OPEN_BATCHES: usize = 2;

fn url(tool: &Receiver, more: &str) -> String {
    let url = tool.url();
    format!(
        "[[destination]]\nname = \"tool\"\nkind = \"webhook\"\nurl = \"{url}\"\nallow_http = true\nsecret = \"{SECRET}\"\n{more}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_repeats_no_more_single_events_than_may_be_open() {
    let tool = Receiver::start().await;
    let merchant = Merchant::sending(&url(&tool, ""));
    let lives = tokio::task::block_in_place(|| live_and_die(&merchant, &tool, OPEN));
    no_kill_repeats_more_than(&lives, OPEN, |request| request.header("webhook-id").to_owned());
    assert_eq!(lives.iter().flatten().map(Received::customer).collect::<std::collections::BTreeSet<_>>().len(), 7_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_repeats_no_more_batches_than_may_be_open() {
    let tool = Receiver::start().await;
    let merchant = Merchant::sending(&url(&tool, "batch = 2"));
    let lives = tokio::task::block_in_place(|| live_and_die(&merchant, &tool, OPEN_BATCHES));
    no_kill_repeats_more_than(&lives, OPEN_BATCHES, |request| request.header("webhook-id").to_owned());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_repeats_no_more_steps_of_a_preset_than_may_be_open() {
    let tool = Receiver::start().await;
    let base = tool.url().strip_suffix("/hook/secret-path").unwrap();
    let merchant = Merchant::sending(&format!(
        "[[destination]]\nname = \"tool\"\nkind = \"mailchimp\"\napi_key = \"S3CR3T-us6\"\nvars = {{ list = \"a1b2\" }}\n\
         base_url = \"{base}\"\nallow_http = true\n[consent]\nunknown = \"send\"\n"
    ));
    let lives = tokio::task::block_in_place(|| live_and_die(&merchant, &tool, OPEN_AT_MAILCHIMP));
    // Each customer has one event, and each of its two requests a path of its own.
    for second in [false, true] {
        let of_step: Vec<Vec<Received>> = lives
            .iter()
            .map(|life| life.iter().filter(|request| request.path.ends_with("/tags") == second).cloned().collect())
            .collect();
        let paths: std::collections::BTreeSet<_> = of_step.iter().flatten().map(|request| &request.path).collect();
        assert_eq!(paths.len(), 7_000);
        no_kill_repeats_more_than(&of_step, OPEN_AT_MAILCHIMP, |request| request.path.clone());
    }
}

/// Queues an event of everybody, and kills the forwarder again and again; then lets it come to its end.
/// Returns what came in each life. At a kill no more is claimed than `most`.
fn live_and_die(merchant: &Merchant, tool: &Receiver, most: usize) -> Vec<Vec<Received>> {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let rows = (0..CUSTOMERS).map(|n| {
        format!("o{n},c{n},c{n}@example.com,2026-03-{:02}T10:00:00Z,{}.50,EUR,paid\n", 1 + n % 28, 5 + n % 200)
    });
    let head = "order_id,customer_id,email,ordered_at,total,currency,status\n".to_owned();
    merchant.write("orders.csv", &(head + &rows.collect::<String>()));
    merchant.run(&["import", "orders.csv"]);
    merchant.run(&["score"]);
    let count = |what: &str| -> i64 {
        merchant.sql().query_row(&format!("SELECT {what} FROM deliveries"), [], |row| row.get(0)).unwrap()
    };
    let mut ends = vec![0];
    for _ in 0..KILLS {
        let mut forwarder = start(merchant);
        wait_for_its_end(tool, ends[ends.len() - 1], random.usize(0..=LONGEST_LIFE), &mut random);
        kill(&mut forwarder);
        eventually("the end of all connections", || tool.is_left().then_some(()));
        ends.push(tool.count());
        let claimed = count("sum(state = 'sending')");
        assert!(claimed <= i64::try_from(most).unwrap(), "{claimed} were claimed");
        assert!(count("sum(iif(finished_at IS NULL, events, 0))") >= LEAST_WAITING, "the queue was full");
    }
    merchant.run(&["deliver", "--until-idle"]);
    assert_eq!(count("sum(state <> 'delivered')"), 0);
    let received = tool.received();
    ends.push(received.len());
    ends.windows(2).map(|life| received[life[0]..life[1]].to_vec()).collect()
}

fn start(merchant: &Merchant) -> Child {
    let mut command = quintile(merchant.path(), &["deliver"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Some lives end before anything was sent, the others after `requests`.
fn wait_for_its_end(tool: &Receiver, before: usize, requests: usize, random: &mut fastrand::Rng) {
    if requests == 0 {
        std::thread::sleep(Duration::from_millis(random.u64(0..120)));
    }
    eventually("a request", || (tool.count() >= before + requests).then_some(()));
    std::thread::sleep(Duration::from_micros(random.u64(0..4000)));
}

/// Of what came in one life, no more than `most` came again in a later one, and nothing twice in the
/// same: everything was taken.
fn no_kill_repeats_more_than(lives: &[Vec<Received>], most: usize, key: impl Fn(&Received) -> String) {
    let mut came: BTreeMap<String, (usize, Vec<u8>)> = BTreeMap::new();
    let mut repeated = vec![0; lives.len()];
    for (life, requests) in lives.iter().enumerate() {
        for request in requests {
            if let Some((earlier, body)) = came.insert(key(request), (life, request.body.clone())) {
                assert!(earlier < life, "{} came twice in life {life} of {}", key(request), lives.len());
                assert_eq!(body, request.body, "the same bytes");
                repeated[earlier] += 1;
            }
        }
    }
    eprintln!("came again after each kill: {repeated:?}");
    assert!(repeated.iter().all(|count| *count <= most), "more than {most}: {repeated:?}");
    assert!(repeated.iter().any(|count| *count > 0), "no kill met a request");
}
