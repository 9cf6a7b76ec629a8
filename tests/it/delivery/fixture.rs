//! A shop whose segments change at the test's word, with a clock of its own.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use quintile::{
    clock::{self, Clock},
    config::{self, Config, Secret},
    db::Database,
    delivery::{Forwarder, Report, client::Client},
    model::Timestamp,
    outbox::{
        self, Cause, Claim, Delivery, DeliveryFilter, Disposition, Effect, Health, Ids, Lapse, Position, Resume, Route,
        SegmentChange, Settlement, Slice, Verdict,
    },
};
use rusqlite::{Transaction, params};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::support::{
    folder::{COUNTERS, Folder, HISTORY, RUNS, TIMES},
    receiver::{Receiver, SECRET},
};

pub struct Shop {
    pub config: Config,
    pub wake: Arc<Notify>,
    db: Option<Database>,
    millis: Arc<AtomicI64>,
    reads: Arc<AtomicUsize>,
    pub dir: Folder,
}

/// One row of `attempts`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub number: i64,
    pub started_at: Timestamp,
    pub status: Option<i64>,
    pub error: Option<String>,
    pub answer: Vec<u8>,
}

impl Shop {
    /// With one destination "tool" per receiver ("tool", "tool2", …), customers 1 to 400, and the
    /// real time, standing still.
    pub fn new(receivers: &[&Receiver]) -> Self {
        let mut config = Config::default();
        config.forwarder.allow_private = vec!["127.0.0.0/8".to_owned()];
        for (number, receiver) in (1..).zip(receivers) {
            let name = if number == 1 { "tool".to_owned() } else { format!("tool{number}") };
            config.destination.push(destination(&name, receiver.url()));
        }
        let dir = Folder::new();
        // What is delivered is not about orders, nor about how a run came to its events.
        dir.except(&[COUNTERS, HISTORY, TIMES]);
        dir.except(&RUNS);
        let millis = Arc::new(AtomicI64::new(clock::now().millis()));
        let shop = Self { config, wake: Arc::default(), db: None, millis, reads: Arc::default(), dir }.reopened();
        shop.write(|tx| {
            for id in 1..=400 {
                tx.execute(
                    "INSERT INTO customers (id, source, external_id, email, first_name, order_count, total_spent,
                       last_order_at, created_at) VALUES (?1, 'shopify', ?2, ?3, 'Zoë 李', 3, 4990, 0, 0)",
                    params![id, format!("70{id}"), format!("customer{id}@example.com")],
                )?;
            }
            Ok(())
        });
        shop
    }

    /// With one destination "tool" of this kind, and everybody agrees to e-mail.
    pub fn with_tool(kind: &str, receiver: &Receiver) -> Self {
        let mut shop = Self::new(&[]);
        shop.config.destination = vec![email_tool(kind, receiver)];
        shop.says_consent(1..=400, Some("subscribed"));
        shop
    }

    /// With one destination "tool" at this address.
    pub fn sending_to(url: &str) -> Self {
        let mut shop = Self::new(&[]);
        shop.config.destination = vec![destination("tool", url)];
        shop
    }

    /// The program restarted: the same file, opened again.
    pub fn reopened(mut self) -> Self {
        drop(self.db.take());
        self.db = Some(Database::open(&self.dir.path().join("quintile.db"), "test").unwrap());
        self
    }

    pub fn db(&self) -> &Database {
        self.db.as_ref().unwrap()
    }

    pub fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Transaction<'_>) -> anyhow::Result<T> + Send + 'static,
    ) -> T {
        std::thread::scope(|scope| scope.spawn(|| self.db().writer().write_blocking(job)).join().unwrap()).unwrap()
    }

    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.millis.load(Ordering::SeqCst))
    }

    /// Sets the clock and tells a running forwarder.
    pub fn set_clock(&self, now: Timestamp) {
        self.millis.store(now.millis(), Ordering::SeqCst);
        self.wake.notify_one();
    }

    pub fn pass(&self, time: Duration) {
        self.set_clock(self.now().plus_millis(i64::try_from(time.as_millis()).unwrap()));
    }

    /// A run that moves these customers to `segment`, and its fan-out.
    pub fn moves(&self, customers: &[i64], segment: &str) {
        self.moves_with(customers, segment, Disposition::Send);
    }

    pub fn moves_with(&self, customers: &[i64], segment: &str, disposition: Disposition) {
        let routes = Route::from_config(&self.config).unwrap();
        let (now, customers, segment) = (self.now(), customers.to_vec(), segment.to_owned());
        self.write(move |tx| {
            let (after, last) = events(tx, &customers, &segment, now)?;
            let slice = Slice { after, last, limit: 10_000, disposition };
            assert_eq!(outbox::fan_out(tx, &routes, slice, &mut Ids::random(now), now)?, Some(last));
            Ok(())
        });
        self.wake.notify_one();
    }

    /// The first run of all: these customers get their first segment.
    pub fn baseline(&self, customers: &[i64], disposition: Disposition) {
        let routes = Route::from_config(&self.config).unwrap();
        let (now, customers) = (self.now(), customers.to_vec());
        self.write(move |tx| {
            let (after, last) = changes(tx, &customers, (None, "champion", Cause::Baseline), now)?;
            let slice = Slice { after, last, limit: 10_000, disposition };
            assert_eq!(outbox::fan_out(tx, &routes, slice, &mut Ids::random(now), now)?, Some(last));
            Ok(())
        });
    }

    /// A run in which these customers lapsed, and its fan-out.
    pub fn lapse(&self, customers: &[i64]) {
        let routes = Route::from_config(&self.config).unwrap();
        let (now, customers) = (self.now(), customers.to_vec());
        self.write(move |tx| {
            let (after, last) = lapses(tx, &customers, now);
            let slice = Slice { after, last, limit: 10_000, disposition: Disposition::Send };
            assert_eq!(outbox::fan_out(tx, &routes, slice, &mut Ids::random(now), now)?, Some(last));
            Ok(())
        });
    }

    /// What is known of these customers' consent to e-mail.
    pub fn says_consent(&self, customers: impl IntoIterator<Item = i64>, state: Option<&'static str>) {
        let customers: Vec<i64> = customers.into_iter().collect();
        self.write(move |tx| {
            let mut update = tx.prepare("UPDATE customers SET consent = ?2 WHERE id = ?1")?;
            for customer in &customers {
                update.execute(params![customer, state])?;
            }
            Ok(())
        });
    }

    /// The merchant resumes a destination; slices of two.
    pub fn resume(&self, destination: &str, resume: Resume) {
        let (now, name) = (self.now(), destination.to_owned());
        self.write(move |tx| {
            let mut position = Some(Position::default());
            while let Some(from) = position {
                position = outbox::prepare_resume(tx, &name, resume, from, 2, now)?;
            }
            Ok(outbox::activate(tx, &name, now)?)
        });
    }

    /// How a destination fares.
    pub fn health(&self, destination: &str) -> Health {
        outbox::health(&self.db().readers().get().unwrap(), destination, self.now()).unwrap()
    }

    pub fn forwarder(&self) -> Forwarder {
        let (millis, reads) = (self.millis.clone(), self.reads.clone());
        let clock = Clock::from_fn(move || {
            reads.fetch_add(1, Ordering::SeqCst);
            Timestamp::from_millis(millis.load(Ordering::SeqCst))
        });
        let (writer, readers) = (self.db().writer().clone(), self.db().readers().clone());
        Forwarder::new(&self.config, writer, readers, clock, self.wake.clone()).unwrap()
    }

    /// How often forwarders have looked at the clock: they do at each turn, before they write.
    pub fn clock_reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// Sends what is due now.
    pub async fn deliver(&self) -> Report {
        self.forwarder().drain(None, CancellationToken::new()).await
    }

    /// [`Self::deliver`] with this client.
    pub async fn deliver_with(&self, client: &Client) -> Report {
        self.forwarder().with_client(client.clone()).drain(None, CancellationToken::new()).await
    }

    /// All deliveries, oldest first.
    pub fn deliveries(&self) -> Vec<Delivery> {
        let reader = self.db().readers().get().unwrap();
        let mut deliveries = outbox::deliveries(&reader, &DeliveryFilter::default()).unwrap();
        deliveries.reverse();
        deliveries
    }

    /// The states of all deliveries, oldest first.
    pub fn states(&self) -> Vec<&'static str> {
        self.deliveries().iter().map(|delivery| delivery.state.as_str()).collect()
    }

    /// The attempts of the delivery with this id.
    pub fn attempts(&self, delivery: i64) -> Vec<Attempt> {
        let reader = self.db().readers().get().unwrap();
        let mut select = reader
            .prepare(
                "SELECT number, started_at, status, error, coalesce(answer, x'') FROM attempts
                 WHERE delivery_id = ?1 ORDER BY number",
            )
            .unwrap();
        let rows = select.query_map([delivery], |row| {
            Ok(Attempt {
                number: row.get(0)?,
                started_at: row.get(1)?,
                status: row.get(2)?,
                error: row.get(3)?,
                answer: row.get(4)?,
            })
        });
        rows.unwrap().collect::<Result<_, _>>().unwrap()
    }
}

/// Polls: for what happens after an answer left the receiver.
pub async fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A destination of the `webhook` kind that knows [`SECRET`].
pub fn destination(name: &str, url: &str) -> config::Destination {
    config::Destination {
        name: name.to_owned(),
        url: url.to_owned(),
        allow_http: true,
        secret: Secret::new(SECRET),
        ..config::Destination::default()
    }
}

/// The destination "tool" of an email tool's kind, sent to the receiver instead.
pub fn email_tool(kind: &str, receiver: &Receiver) -> config::Destination {
    let texts =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    let mut tool = config::Destination {
        name: "tool".to_owned(),
        kind: kind.to_owned(),
        base_url: receiver.url().to_owned(),
        secrets: [("api_key".to_owned(), Secret::new("S3CR3T-us6"))].into(),
        vars: match kind {
            "mailchimp" => texts(&[("list", "a1b2")]),
            "activecampaign" => texts(&[("account", "my-shop"), ("actid", "77"), ("segment_field", "12")]),
            _ => BTreeMap::new(),
        },
        ..config::Destination::default()
    };
    if kind == "activecampaign" {
        tool.secrets.insert("event_key".to_owned(), Secret::new("EV3NT"));
    }
    tool
}

/// Writes a run and its events; returns the seq before the first and the last.
pub fn events(tx: &Transaction<'_>, customers: &[i64], segment: &str, now: Timestamp) -> anyhow::Result<(i64, i64)> {
    changes(tx, customers, (Some("loyal"), segment, Cause::Order), now)
}

/// A run in which these customers lapsed; the seq before the first event and the last.
pub fn lapses(tx: &Transaction<'_>, customers: &[i64], now: Timestamp) -> (i64, i64) {
    tx.execute(
        "INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules)
         VALUES ('manual', 'scored', ?1, ?1, 'together', 0, '')",
        [now],
    )
    .unwrap();
    let run = tx.last_insert_rowid();
    let lapses = customers.iter().map(|id| Lapse { customer_id: *id, days: 30 });
    let range = outbox::enqueue_lapsed(tx, run, now, &mut Ids::random(now), lapses).unwrap();
    let (first, last) = range.unwrap();
    let noted = "UPDATE runs SET scored_at = started_at, first_seq = ?2, last_seq = ?3 WHERE id = ?1";
    tx.execute(noted, params![run, first, last]).unwrap();
    (first - 1, last)
}

fn changes(
    tx: &Transaction<'_>,
    customers: &[i64],
    (old, new, cause): (Option<&str>, &str, Cause),
    now: Timestamp,
) -> anyhow::Result<(i64, i64)> {
    tx.execute(
        "INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules)
         VALUES ('manual', 'scored', ?1, ?1, 'together', 0, '')",
        [now],
    )?;
    let change = |id: &i64| SegmentChange { customer_id: *id, old, new: Some(new), cause, rfm: Some([5, 4, 3]) };
    let changes = customers.iter().map(|id| Ok(change(id)));
    let run = tx.last_insert_rowid();
    let (first, last) = outbox::enqueue(tx, run, now, &mut Ids::random(now), changes)?.expect("somebody moved");
    tx.execute(
        "UPDATE runs SET scored_at = started_at, first_seq = ?2, last_seq = ?3, changed = ?3 - ?2 + 1 WHERE id = ?1",
        params![run, first, last],
    )?;
    tx.execute(
        "INSERT INTO history (customer_id, run_id, r, f, m, segment, moved)
         SELECT customer_id, run_id, r, f, m, new_segment, 1 FROM outbox WHERE run_id = ?1",
        [run],
    )?;
    Ok((first - 1, last))
}

/// Settles a request that had no answer, with so many steps of its delivery done. Returns how many claims were still held.
pub fn end(tx: &Transaction<'_>, claim: Claim, step: usize, verdict: Verdict, now: Timestamp) -> usize {
    let settlement = Settlement {
        delivery_id: claim.delivery_id,
        token: claim.token,
        attempt: claim.attempt,
        started_at: now,
        duration_ms: 1,
        status: None,
        error: None,
        answer: Vec::new(),
        step,
        verdict,
        effect: Effect::None,
    };
    outbox::settle(tx, &[settlement], &mut Ids::random(now), now).unwrap().matched
}
