//! `cargo bench --bench delivery`: from the committed queue to the receiver, beside what the HTTP
//! client alone reaches in the same run. The receiver is a process on the same cores; it counts
//! which events it was told of, and every figure fails that loses or repeats one.

#[path = "shared/folder.rs"]
mod folder;
#[path = "delivery/receiver.rs"]
mod receiver;
#[path = "shared/table.rs"]
mod table;

use std::{
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use quintile::{
    clock::{self, Clock},
    config::{Config, Destination, Secret},
    db::Database,
    delivery::{
        Forwarder,
        client::{Client, LIMITS, Request},
        guard::Guard,
    },
    model::Timestamp,
    outbox::{self, Cause, Claims, Disposition, Ids, Places, Route, SegmentChange, Shop, Slice},
};
use receiver::Receiver;
use table::Table;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const EVENTS: i64 = 100_000;
const BACKLOG: i64 = 1_000_000;
const BEHIND: i64 = 50_000;
const CONNECTIONS: usize = 16;
const IDLE_ROUNDS: i64 = 400;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--receiver") {
        receiver::serve()?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    // One figure alone, for a profiler.
    let only = |name: &str| arguments.iter().any(|argument| argument == name);
    let mut table = Table::begin();
    if !only("--batches") {
        let alone = runtime.block_on(client_alone())?;
        table.row("the HTTP client alone, no database", alone, "requests/s");
        let single = runtime.block_on(drained(1))?;
        table.bound("single events, each a request", single, "deliveries/s", single >= 5000.0, "≥ 5,000/s");
        let share = single / alone;
        table.bound("- as a share of the client alone", share * 100.0, "%", share >= 0.3, "≥ 30 %");
    }
    if !only("--singles") {
        let batched = 100_000.0 / runtime.block_on(drained(100))?;
        table.bound("100,000 changes in batches of 100", batched, "s", batched < 3.0, "< 3 s");
    }
    if only("--batches") || only("--singles") {
        return Ok(table.verdict());
    }
    let (p50, p99) = runtime.block_on(idle(false))?;
    table.row("idle: commit to receiver, median", p50, "ms");
    table.bound("- p99", p99, "ms", p99 < 20.0, "< 20 ms");
    let (p50, p99) = runtime.block_on(idle(true))?;
    table.row("the same beside a destination that never answers, median", p50, "ms");
    table.bound("- p99", p99, "ms", p99 < 20.0, "< 20 ms");
    let empty = empty_claim()?;
    table.bound("empty claim, 50,000 behind one failing customer", empty, "ms", empty < 1.0, "< 1 ms");
    let grown = runtime.block_on(backlog())?;
    table.bound("memory that a backlog of 1,000,000 takes", grown, "MiB", grown < 64.0, "< 64 MiB");
    Ok(table.verdict())
}

/// A shop with customers 1 to `customers` and one destination.
struct Bench {
    config: Config,
    database: Database,
    wake: Arc<Notify>,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn new(url: &str, batch: u32, customers: i64) -> anyhow::Result<Self> {
        let mut config = Config::default();
        config.forwarder.allow_private = vec!["127.0.0.0/8".to_owned()];
        config.destination = vec![Destination {
            name: "tool".to_owned(),
            url: url.to_owned(),
            allow_http: true,
            secret: Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"),
            batch,
            ..Destination::default()
        }];
        let folder = folder::new()?;
        let database = Database::open(&folder.path().join("quintile.db"), "bench")?;
        database.writer().write_blocking(move |tx| {
            let mut insert = tx.prepare(
                "INSERT INTO customers (id, source, external_id, email, email_key, first_name, order_count, total_spent,
                   last_order_at, created_at) VALUES (?1, 'shopify', ?2, ?3, ?3, 'Anna', 3, 4990, 0, 0)",
            )?;
            for id in 1..=customers {
                insert.execute((id, format!("70{id}"), format!("customer{id}@example.com")))?;
            }
            Ok(())
        })?;
        Ok(Self { config, database, wake: Arc::default(), _folder: folder })
    }

    /// A run that moves these customers, and its fan-out in slices.
    fn moves(&self, customers: impl Iterator<Item = i64> + Send + 'static) -> anyhow::Result<()> {
        let (routes, now) = (Route::from_config(&self.config)?, clock::now());
        let range = self.database.writer().write_blocking(move |tx| {
            tx.execute(
                "INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules)
                 VALUES ('manual', 'scored', ?1, ?1, 'together', 0, '')",
                [now],
            )?;
            let run = tx.last_insert_rowid();
            let change = |customer_id| SegmentChange {
                customer_id,
                old: Some("loyal"),
                new: Some("champion"),
                cause: Cause::Order,
                rfm: Some([5, 5, 5]),
            };
            let changes = customers.map(|customer_id| Ok(change(customer_id)));
            Ok(outbox::enqueue(tx, run, now, &mut Ids::random(now), changes)?)
        })?;
        let (first, last) = range.context("somebody moved")?;
        let mut after = first - 1;
        while after < last {
            let routes = routes.clone();
            let done = self.database.writer().write_blocking(move |tx| {
                let slice = Slice { after, last, limit: 1000, disposition: Disposition::Send };
                Ok(outbox::fan_out(tx, &routes, slice, &mut Ids::random(now), now)?)
            })?;
            after = done.context("more events")?;
        }
        self.database.readers().checkpoint()
    }

    fn forwarder(&self) -> anyhow::Result<Forwarder> {
        let (writer, readers) = (self.database.writer().clone(), self.database.readers().clone());
        Forwarder::new(&self.config, writer, readers, Clock::system(), self.wake.clone())
    }
}

/// Requests a second of the client with as many connections and bodies of the same size.
async fn client_alone() -> anyhow::Result<f64> {
    let receiver = Receiver::start()?;
    let client = Client::new(Guard::new(&["127.0.0.0/8".to_owned()])?, CONNECTIONS, LIMITS)?;
    let url: reqwest::Url = receiver.url().parse()?;
    let started = Instant::now();
    let mut senders = tokio::task::JoinSet::new();
    let each = usize::try_from(EVENTS)? / CONNECTIONS;
    for _ in 0..CONNECTIONS {
        let (client, url) = (client.clone(), url.clone());
        senders.spawn(async move {
            for _ in 0..each {
                let request = Request {
                    method: reqwest::Method::POST,
                    url: url.clone(),
                    headers: reqwest::header::HeaderMap::new(),
                    body: vec![b'x'; 520],
                };
                let _ = client.send(request).await;
            }
        });
    }
    senders.join_all().await;
    let took = started.elapsed();
    ensure!(receiver.told()?.requests == usize::try_from(EVENTS)?, "every request arrived");
    Ok(100_000.0 / took.as_secs_f64())
}

/// Deliveries a second of a queue of [`EVENTS`], from its start to the last record.
async fn drained(batch: u32) -> anyhow::Result<f64> {
    let receiver = Receiver::start()?;
    let bench = tokio::task::block_in_place(|| {
        let bench = Bench::new(&receiver.url(), batch, EVENTS)?;
        bench.moves(1..=EVENTS)?;
        anyhow::Ok(bench)
    })?;
    let started = Instant::now();
    let report = bench.forwarder()?.drain(None, CancellationToken::new()).await;
    let took = started.elapsed();
    ensure!(report.waiting + report.retrying + report.held == 0 && report.dead == 0, "{report:?}");
    let told = receiver.told()?;
    ensure!(told.events == usize::try_from(EVENTS)? && told.repeated == 0, "each event once: {told:?}");
    Ok(100_000.0 / took.as_secs_f64())
}

/// Milliseconds from a commit to the request's arrival, when nothing else happens: median and p99.
/// `hanging`: a second destination takes every event and never answers.
async fn idle(hanging: bool) -> anyhow::Result<(f64, f64)> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    let mut bench = tokio::task::block_in_place(|| Bench::new(&url, 1, IDLE_ROUNDS))?;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    if hanging {
        let tool = bench.config.destination[0].clone();
        let url = format!("http://{}/hook", silent.local_addr()?);
        bench.config.destination.push(Destination { name: "silent".to_owned(), url, ..tool });
    }
    let (sender, mut arrived) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut buffer = vec![0; 16 * 1024];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let _ = sender.send(Instant::now());
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                }
            });
        }
    });
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(bench.forwarder()?.run(shutdown.clone()));
    let mut waits = Vec::new();
    for customer in 1..=IDLE_ROUNDS {
        tokio::task::block_in_place(|| bench.moves(std::iter::once(customer)))?;
        let committed = Instant::now();
        bench.wake.notify_one();
        let at = tokio::time::timeout(Duration::from_secs(10), arrived.recv()).await?.context("a request")?;
        waits.push(at.saturating_duration_since(committed).as_secs_f64() * 1000.0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    shutdown.cancel();
    running.await?;
    waits.sort_by(f64::total_cmp);
    Ok((waits[waits.len() / 2], waits[waits.len() * 99 / 100]))
}

/// Milliseconds of a claim that finds nothing, with many deliveries behind one that failed.
fn empty_claim() -> anyhow::Result<f64> {
    const ROUNDS: u32 = 200;
    let bench = Bench::new("http://127.0.0.1:9/hook", 1, 1)?;
    let (routes, now) = (Route::from_config(&bench.config)?, clock::now());
    bench.database.writer().write_blocking(move |tx| {
        tx.execute_batch(&format!(
            "INSERT INTO runs (id, trigger, state, as_of, started_at, ties, window_days, rules)
             VALUES (1, 'manual', 'scored', 0, 0, 'together', 0, '');
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= {BEHIND})
             INSERT INTO outbox (event_id, type, customer_id, run_id, new_segment, cause, at)
             SELECT randomblob(16), 'rfm/segment.changed', 1, 1, 'lost', 'order', 0 FROM n;"
        ))?;
        let slice = Slice { after: 0, last: BEHIND + 1, limit: usize::MAX, disposition: Disposition::Send };
        outbox::fan_out(tx, &routes, slice, &mut Ids::random(now), now)?;
        tx.execute(
            "UPDATE deliveries SET state = 'retrying', due_at = ?1, attempts = 1 WHERE id = 1",
            [now.plus_millis(Timestamp::DAY)],
        )?;
        Ok(())
    })?;
    let claims = Claims {
        boot: "bench".into(),
        number: 1,
        shop: Shop::from_config(&bench.config),
        routes: Route::from_config(&bench.config)?.into(),
        places: vec![Places { free: 16, ..Places::default() }],
        start: 0,
        limit: 128,
        now,
        latest: now.plus_millis(2 * Timestamp::DAY),
    };
    bench.database.writer().write_blocking(move |tx| {
        let started = Instant::now();
        for _ in 0..ROUNDS {
            ensure!(outbox::claim(tx, &claims)?.claims.is_empty(), "nothing is due");
        }
        Ok(started.elapsed().as_secs_f64() * 1000.0 / f64::from(ROUNDS))
    })
}

/// How much memory the process takes more, in MiB, while the forwarder works on a backlog of
/// [`BACKLOG`] deliveries, than with an empty queue.
async fn backlog() -> anyhow::Result<f64> {
    let receiver = Receiver::start()?;
    let bench = tokio::task::block_in_place(|| Bench::new(&receiver.url(), 1, BACKLOG))?;
    bench.forwarder()?.drain(None, CancellationToken::new()).await;
    let before = memory()?;
    tokio::task::block_in_place(|| bench.moves(1..=BACKLOG))?;
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(bench.forwarder()?.run(shutdown.clone()));
    let mut most = memory()?;
    for _ in 0..50 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        most = most.max(memory()?);
    }
    shutdown.cancel();
    running.await?;
    ensure!(receiver.told()?.events > 1000, "it was working on it");
    Ok((most - before).max(0.0))
}

/// Resident memory, in MiB.
fn memory() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib / 1024.0)
}
