//! The soak: what a year of nights, kills and moods does to one folder. The real program takes webhooks
//! in three formats, scores each night, sends to tools of every mood, and is killed every few seconds;
//! now and then it is stopped in order, its disk is full for a moment, or it lives on for a minute. The
//! clock goes ahead between and within its lives, so that a night comes every few seconds, and what
//! is kept for 30 or 90 days goes while it lasts.
//!
//! At the end everything is sent and delivered, and a [`verdict`] compares what the [`shop`] and the
//! [`tools`] know with what the program holds, and what [`gauge`] has seen with what may grow.
//! `tests/run --soak [MINUTES]` runs it: 60 minutes, if it is not told otherwise.

mod bodies;
mod book;
mod gauge;
mod life;
mod machine;
mod shop;
mod tools;
mod verdict;

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use crate::support::{merchant::Merchant, receiver::SECRET};
use gauge::Gauge;
use life::Ends;
use machine::Machine;
use shop::{Shop, WOOCOMMERCE_SECRET};
use tools::{Mood, TOOLS, Tools};

/// Without being told how long.
const MINUTES: u64 = 2;
/// Lives in which everything must have been delivered, once all faults have ended.
const LIVES_TO_REST: u32 = 60;

struct Soak {
    merchant: Merchant,
    machine: Machine,
    shop: Shop,
    tools: Tools,
    gauge: Mutex<Gauge>,
    dice: Mutex<fastrand::Rng>,
    begin: Instant,
    length: Duration,
    /// What should not be, but for what shop and tools have seen.
    wrong: Mutex<Vec<String>>,
    /// How the lives ended, and how many of each.
    lives: Mutex<BTreeMap<Ends, u32>>,
    /// In how many of them the disk was full for a while.
    full_disks: AtomicU32,
    /// What the log said of errors, without what differs, and how often.
    errors: Mutex<BTreeMap<String, u32>>,
}

#[expect(clippy::disallowed_methods, reason = "how long and with which seed is the caller's choice")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "wants faketime and an hour: tests/run --soak installs it and runs this"]
async fn a_year_of_nights_kills_and_moods() {
    let minutes = number("QUINTILE_MINUTES").unwrap_or(MINUTES);
    let seed = number("QUINTILE_SEED").unwrap_or_else(|| fastrand::u64(..));
    say(&format!("seed {seed}, {minutes} minutes"));
    let soak = Soak::new(Tools::start().await, Duration::from_secs(60 * minutes), seed);
    let wrong = tokio::task::block_in_place(|| {
        soak.live();
        soak.come_to_rest();
        soak.verdict()
    });
    assert!(wrong.is_empty(), "seed {seed}: {} things are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A line for whoever watches.
#[expect(clippy::print_stdout, reason = "it takes an hour")]
fn say(line: &str) {
    println!("{line}");
}

/// A single event, batches, and two requests per event: to three tools.
fn configuration(tools: &str) -> String {
    format!(
        r#"
[webhooks.woocommerce]
secrets = ["{WOOCOMMERCE_SECRET}"]
[consent]
unknown = "send"
[[destination]]
name = "tool"
url = "{tools}/tool/0"
allow_http = true
secret = "{SECRET}"
fields = ["segment", "rfm", "counters", "email", "name"]
[[destination]]
name = "batches"
url = "{tools}/batches/0"
allow_http = true
secret = "{SECRET}"
batch = 20
[[destination]]
name = "crm"
kind = "template"
allow_http = true
[[destination.request]]
method = "POST"
url = "{tools}/crm/0"
headers = {{ X-Message = "{{{{ message.id }}}}" }}
body = '{{"seq": {{{{ event.seq }}}}, "data": {{"customerId": {{{{ customer.id }}}}}}}}'
[[destination.request]]
method = "POST"
url = "{tools}/crm/1"
headers = {{ X-Message = "{{{{ message.id }}}}" }}
body = '{{"seq": {{{{ event.seq }}}}, "data": {{"customerId": {{{{ customer.id }}}}}}}}'
"#
    )
}

impl Soak {
    fn new(tools: Tools, length: Duration, seed: u64) -> Self {
        let merchant = Merchant::sending(&configuration(&tools.address));
        merchant.configure("0 2 29 2 *", "0 2 * * *");
        Self {
            merchant,
            machine: Machine::new(),
            shop: Shop::new(seed),
            tools,
            gauge: Mutex::default(),
            dice: Mutex::new(fastrand::Rng::with_seed(seed)),
            begin: Instant::now(),
            length,
            wrong: Mutex::default(),
            lives: Mutex::default(),
            full_disks: AtomicU32::new(0),
            errors: Mutex::default(),
        }
    }

    /// Which part of the soak is over, from 0 to 1.
    fn progress(&self) -> f64 {
        (self.begin.elapsed().as_secs_f64() / self.length.as_secs_f64()).min(1.0)
    }

    fn is_wrong(&self, what: impl Into<String>) {
        let what = what.into();
        say(&format!("WRONG: {what}"));
        self.wrong.lock().unwrap().push(what);
    }

    /// One life after the other, until the time is over; a line a minute.
    fn live(&self) {
        let mut minute = 0;
        while self.begin.elapsed() < self.length {
            self.next_life();
            if self.begin.elapsed().as_secs() / 60 > minute {
                minute = self.begin.elapsed().as_secs() / 60;
                say(&self.line(minute));
            }
        }
    }

    fn line(&self, minute: u64) -> String {
        let files = self.gauge.lock().unwrap().latest();
        let most = self.gauge.lock().unwrap().most_memory(self.progress() - 0.1, 1.1);
        let (lives, (answered, sent_again, seen)) = (self.lives_so_far(), {
            let books = self.shop.books();
            (books.answered.len(), books.sent_again, books.wrong.len())
        });
        let book = self.tools.book();
        format!(
            "minute {minute}: {lives}; night of {}; {answered} webhooks, {sent_again} sent again; {} requests to tools, {} repeats; \
             database {:.1} MB, log {:.1} MB, {} backups; memory {} MB at most; {} wrong",
            &self.machine.now().to_string()[..10],
            book.requests,
            book.most_repeats().1,
            gauge::mega(files.database),
            gauge::mega(files.wal),
            files.backups,
            most / 1024,
            self.wrong.lock().unwrap().len() + seen + book.wrong.len(),
        )
    }

    fn lives_so_far(&self) -> String {
        let lives = self.lives.lock().unwrap();
        let texts: Vec<String> = lives.iter().map(|(ends, count)| format!("{count} {ends:?}")).collect();
        format!("lives: {}; {} with a full disk", texts.join(", "), self.full_disks.load(Ordering::SeqCst))
    }

    /// All faults end, and the merchant resumes what was disabled and tries again what was given up: night
    /// after night until everything is delivered.
    fn come_to_rest(&self) {
        (0..TOOLS.len()).for_each(|tool| self.tools.set_mood(tool, Mood::Fine));
        for life in 1..=LIVES_TO_REST {
            self.merchant_looks_after_it(true);
            self.machine.go_to_night(2);
            if self.live_until_idle() {
                say(&format!("at rest after {life} more lives"));
                return;
            }
        }
        self.is_wrong(format!("after {LIVES_TO_REST} lives without a fault there is still something to deliver"));
    }
}
