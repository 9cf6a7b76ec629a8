//! One measurement per process: the parent starts this program again and reads its figures.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context;
use quintile::{
    clock::Clock,
    config::{Baseline, Config, Destination},
    db::Database,
    ledger::{self, Rules},
    model::{Currency, Money, Order, OrderStatus, Origin, Person, Source, Timestamp},
    scoring::{self, Request, Settings, Silent, Trigger},
};

use super::data::{self, END, Random};

/// Figures by name; times in milliseconds, memory in MiB.
pub type Figures = BTreeMap<String, f64>;

/// Measured this often; the report takes the median.
const ROUNDS: i64 = 3;

/// Makes the shop, lives through some nights, and measures them.
pub fn all(customers: u64, folder: &Path) -> anyhow::Result<Vec<Figures>> {
    let (made, path) = (folder.join(format!("shop-{customers}.db")), folder.join("bench.db"));
    if !made.exists() {
        eprintln!("making a shop of {customers} customers …");
        data::make(&made, customers)?;
    }
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("bench.db{suffix}")));
    }
    std::fs::copy(&made, &path)?;
    let mut measured = Vec::new();
    let mut step = |what: &str, day: i64| {
        eprintln!("{what} …");
        start(what, &path, day).map(|figures| measured.push(figures))
    };
    step("limit", 0)?;
    step("first", 0)?;
    for round in 0..ROUNDS {
        data::live_a_day(&path, 2 * round + 1)?;
        step("limit", 0)?;
        step("nightly", 2 * round + 1)?;
        data::live_a_day(&path, 2 * round + 2)?;
        step("meanwhile", 2 * round + 2)?;
    }
    step("order", 2 * ROUNDS + 1)?;
    Ok(measured)
}

fn start(what: &str, path: &Path, day: i64) -> anyhow::Result<Figures> {
    let output = Command::new(std::env::current_exe()?)
        .args(["--child", what, &path.display().to_string(), &day.to_string()])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    anyhow::ensure!(output.status.success(), "{what} failed");
    let text = String::from_utf8(output.stdout)?;
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once(' ').context("name and value")?;
            Ok((name.to_owned(), value.parse()?))
        })
        .collect()
}

/// The measurement named by the first argument; figures go to standard output.
pub fn child(arguments: &[String]) -> anyhow::Result<()> {
    let [what, path, day] = arguments else { anyhow::bail!("--child WHAT PATH DAY") };
    let (path, day) = (Path::new(path), day.parse()?);
    match what.as_str() {
        "limit" => limit(path)?,
        "first" => run(path, "first", 0, false)?,
        "nightly" => run(path, "nightly", day, false)?,
        "meanwhile" => run(path, "meanwhile", day, true)?,
        "order" => orders(path, day)?,
        other => anyhow::bail!("{other} is not measured"),
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is the output")]
fn figure(name: &str, value: f64) {
    println!("{name} {value}");
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The least any program of ours could do: read the three columns, sort three arrays of integers.
fn limit(path: &Path) -> anyhow::Result<()> {
    let database = Database::open(path, "bench")?;
    let reader = database.readers().get()?;
    let (started, busy) = (Instant::now(), on_processor(None)?);
    let (mut recency, mut frequency, mut monetary) = (Vec::new(), Vec::new(), Vec::new());
    let mut statement = reader.prepare("SELECT last_order_at, order_count, total_spent FROM customers")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        recency.push(row.get::<_, i64>(0)?);
        frequency.push(row.get::<_, i64>(1)?);
        monetary.push(row.get::<_, i64>(2)?);
    }
    for values in [&mut recency, &mut frequency, &mut monetary] {
        values.sort_unstable();
    }
    figure("limit", millis(started.elapsed()));
    figure("limit_cpu", on_processor(None)? - busy);
    std::hint::black_box((recency, frequency, monetary));
    Ok(())
}

/// A whole run, outbox included. `meanwhile`: a shop goes on sending orders.
fn run(path: &Path, name: &str, day: i64, meanwhile: bool) -> anyhow::Result<()> {
    let database = Database::open(path, "bench")?;
    let mut config = Config {
        forwarder: quintile::config::Forwarder { baseline: Baseline::Hold, ..Default::default() },
        ..Config::default()
    };
    if meanwhile {
        config.destination = vec![Destination { name: "tool".to_owned(), ..Destination::default() }];
    }
    let settings = Settings::from_config(&config)?;
    let now = END.plus_millis(day * Timestamp::DAY);
    let clock = Clock::from_fn(move || now);
    let request = Request { trigger: Trigger::Manual, slot: None, as_of: now, missed: 0 };
    let (done, longest) = (AtomicBool::new(false), std::sync::Mutex::new(Duration::ZERO));
    let (summary, took) = std::thread::scope(|scope| {
        if meanwhile {
            scope.spawn(|| {
                let mut shop = Webhooks::new(&database, now);
                while !done.load(Ordering::Relaxed) {
                    let waited = shop.send().expect("an order is accepted");
                    let mut longest = longest.lock().expect("not poisoned");
                    *longest = waited.max(*longest);
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let (started, busy) = (Instant::now(), on_processor(None)?);
        let writing = on_processor(Some("writer"))?;
        let summary = scoring::run(&database, &settings, request, &clock, &Silent);
        let took = started.elapsed();
        if !meanwhile {
            figure(&format!("{name}_cpu"), on_processor(None)? - busy);
            figure(&format!("{name}_write_ms_cpu"), on_processor(Some("writer"))? - writing);
        }
        done.store(true, Ordering::Relaxed);
        summary.map(|summary| (summary, took))
    })?;
    figure(name, millis(took));
    let reader = database.readers().get()?;
    #[expect(clippy::cast_precision_loss, reason = "a count of customers")]
    {
        figure(&format!("{name}_share"), summary.changed as f64 * 100.0 / summary.scored as f64);
        let rewritten: i64 =
            reader.query_row("SELECT count(*) FROM history WHERE run_id = ?1", [summary.run_id], |row| row.get(0))?;
        figure(&format!("{name}_rewritten"), rewritten as f64 * 100.0 / summary.scored as f64);
    }
    for step in ["rank_ms", "write_ms", "emit_ms"] {
        let sql = format!("SELECT {step} FROM runs ORDER BY id DESC LIMIT 1");
        figure(&format!("{name}_{step}"), reader.query_row(&sql, [], |row| row.get(0))?);
    }
    if meanwhile {
        figure("longest_wait", millis(*longest.lock().expect("not poisoned")));
    }
    figure(&format!("{name}_memory"), peak_memory()?);
    Ok(())
}

/// Orders one after the other, each applied and committed as a webhook's is.
struct Webhooks<'a> {
    database: &'a Database,
    random: Random,
    customers: u64,
    now: Timestamp,
}

impl<'a> Webhooks<'a> {
    fn new(database: &'a Database, now: Timestamp) -> Self {
        let customers = database
            .readers()
            .get()
            .and_then(|reader| Ok(reader.query_row("SELECT max(id) FROM customers", [], |row| row.get(0))?))
            .expect("customers");
        Self { database, random: Random(now.millis().unsigned_abs()), customers, now }
    }

    fn order(&mut self) -> Order {
        let person = Person {
            external_id: Some((7_000_001 + self.random.below(self.customers)).to_string()),
            ..Person::unknown(Source::Shopify)
        };
        Order {
            source: Source::Shopify,
            source_id: (1 << 40 | self.random.below(1 << 40)).to_string(),
            person: Some(person),
            name: None,
            status: OrderStatus::Paid,
            is_test: false,
            currency: Currency::EUR,
            gross: Money(4990),
            current: Some(Money(4990)),
            outstanding: None,
            refunded: Money::ZERO,
            net_payment: None,
            ordered_at: self.now,
            created_at: None,
            cancelled_at: None,
            updated_at: Some(self.now),
            triggered_at: None,
            origin: Origin::Webhook,
            historical: false,
        }
    }

    /// One order; how long its webhook waited for the commit.
    fn send(&mut self) -> anyhow::Result<Duration> {
        let (order, now) = (self.order(), self.now);
        let started = Instant::now();
        self.database.writer().write_blocking(move |tx| Ok(ledger::apply_order(tx, &rules(), &order, now)?))?;
        Ok(started.elapsed())
    }
}

fn rules() -> Rules {
    Rules::from_config(&Config::default())
}

/// An order applied to the ledger, its customer's counters recomputed, without the commit.
fn orders(path: &Path, day: i64) -> anyhow::Result<()> {
    const ORDERS: u32 = 5000;
    let database = Database::open(path, "bench")?;
    let now = END.plus_millis(day * Timestamp::DAY);
    let mut shop = Webhooks::new(&database, now);
    let orders: Vec<Order> = (0..ORDERS).map(|_| shop.order()).collect();
    let whole = database.writer().write_blocking(move |tx| {
        let started = Instant::now();
        for order in &orders {
            ledger::apply_order(tx, &rules(), order, now)?;
        }
        Ok(started.elapsed() / ORDERS)
    })?;
    figure("order", millis(whole));
    Ok(())
}

/// Time that threads of this process were on a processor, in milliseconds: what a measurement
/// costs on a machine that has other work too. `named`: only those of this name.
fn on_processor(named: Option<&str>) -> anyhow::Result<f64> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm")).unwrap_or_default();
        if named.is_none_or(|named| named == name.trim()) {
            let schedule = std::fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            nanoseconds += schedule.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
        }
    }
    Ok(millis(Duration::from_nanos(nanoseconds)))
}

/// The most memory this process has had, in MiB.
fn peak_memory() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("VmHWM")?;
    Ok(kib.trim().parse::<f64>()? / 1024.0)
}
