//! A pull of 100,000 orders from the shop that the tests have, which runs in a process of its own. It
//! answers at once and never runs out of points: what remains is what the program needs itself.

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/sync/admin.rs"]
mod admin;
#[path = "../../tests/it/sync/graphql.rs"]
mod graphql;
#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/sync/nodes.rs"]
mod nodes;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, atomic::AtomicI64},
    time::Instant,
};

use anyhow::{Context, ensure};
use quintile::{
    clock::Clock,
    config::{Config, Secret},
    db::Database,
    model::Timestamp,
    sync::{Sync, Timer, log::Trigger, queries},
};
use serde_json::json;

use super::processor;

const ORDERS: u64 = 100_000;
const NOW: &str = "2026-11-23T12:00:00Z";
/// Points that a shop of the cheapest plan gives back in a second.
const POINTS_PER_SECOND: f64 = 100.0;

/// What a pull took.
pub struct Took {
    pub seconds: f64,
    /// Of the processor.
    pub processor: f64,
    /// Orders and customers.
    pub objects: f64,
}

impl Took {
    /// Objects a second.
    pub fn rate(&self) -> f64 {
        self.objects / self.seconds
    }
}

pub struct Pulled {
    pub bulk: Took,
    pub pages: Took,
    /// Orders a second for which the shop gives points.
    pub allowed: f64,
}

/// Pulls everything, then everything again since all of it changed.
pub fn measure() -> anyhow::Result<Pulled> {
    let folder = super::folder::new()?;
    let mut shop = Shop::start()?;
    let mut config = Config::default();
    admin::DOMAIN.clone_into(&mut config.shop.id);
    config.database.path = folder.path().join("quintile.db");
    config.shopify.base_url.clone_from(&shop.url);
    config.shopify.token = Secret::new(admin::TOKEN);
    config.forwarder.allow_private = vec!["127.0.0.0/8".to_owned()];
    let database = Arc::new(Database::open(&config.database.path, "bench")?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let pull = |hours: i64| {
        let now = Timestamp::parse_rfc3339(NOW)?.plus_millis(hours * 3_600_000);
        // Nothing is waited for.
        let timer = Timer::from_fn(|_| tokio::task::yield_now());
        let sync = Sync::new(&config, database.clone(), Clock::from_fn(move || now), timer)?;
        let (started, before) = (Instant::now(), processor::of_process(std::process::id()));
        let ended = runtime.block_on(sync.run(Trigger::Manual, false))?;
        let (seconds, after) = (started.elapsed().as_secs_f64(), processor::of_process(std::process::id()));
        if let Some(error) = ended.error {
            return Err(error);
        }
        let counts = ended.entry.counts;
        let objects = f64::from(u32::try_from(counts.orders.read + counts.customers.read)?);
        anyhow::Ok((counts, Took { seconds, processor: after - before, objects }))
    };
    let (counts, bulk) = pull(0)?;
    ensure!(counts.orders.new == ORDERS, "{counts:?}");
    shop.change_everything()?;
    let (counts, pages) = pull(60)?;
    ensure!(counts.orders.updated == ORDERS, "{counts:?}");
    Ok(Pulled { bulk, pages, allowed: allowed()? })
}

/// Orders a second that the shop's points allow.
fn allowed() -> anyhow::Result<f64> {
    const PAGE: u32 = 50;
    let document = admin::validate(queries::DOCUMENT).map_err(anyhow::Error::msg)?;
    let orders = document.operations.get(Some("Orders")).map_err(|_| anyhow::anyhow!("no such operation"))?;
    let points = graphql::cost(&orders.selection_set, &json!({ "first": PAGE }));
    Ok(f64::from(PAGE) / points * POINTS_PER_SECOND)
}

/// The shop's process; ends with this value.
struct Shop {
    child: Child,
    told: ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
    url: String,
}

impl Shop {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--shop")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let told = child.stdin.take().context("its input")?;
        let mut answers = BufReader::new(child.stdout.take().context("its output")?);
        let mut url = String::new();
        answers.read_line(&mut url)?;
        Ok(Self { child, told, answers, url: url.trim().to_owned() })
    }

    fn change_everything(&mut self) -> anyhow::Result<()> {
        writeln!(self.told)?;
        self.answers.read_line(&mut String::new())?;
        Ok(())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child does until its parent ends it.
#[expect(clippy::print_stdout, reason = "tells its address, and that it is ready")]
pub fn shop() -> anyhow::Result<()> {
    let now = Arc::new(AtomicI64::new(Timestamp::parse_rfc3339(NOW)?.millis()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let admin = runtime.block_on(admin::Admin::start(now));
    admin.fill(ORDERS / 2, "2026-11-22T00:00:00Z");
    let give_points = || {
        let bucket = &mut admin.shop().bucket;
        (bucket.maximum, bucket.available) = (1e12, 1e12);
    };
    give_points();
    println!("{}", admin.url);
    for line in std::io::stdin().lines() {
        line?;
        admin.fill(ORDERS / 2, "2026-11-25T23:00:00Z");
        println!();
    }
    Ok(())
}
