//! Files of made-up orders through the real program, and the same rows through `sqlite3`.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rusqlite::Connection;

use super::processor;

const FIRST_NAMES: [&str; 10] = ["Anna", "Ben", "Clara", "David", "Eva", "Finn", "Greta", "Hugo", "Ida", "Jonas"];
const LAST_NAMES: [&str; 8] = ["Schmidt", "Meyer", "Weber", "Wagner", "Becker", "Hoffmann", "Schulz", "Koch"];

/// A file, and what must be in the ledger afterwards.
pub struct Shop {
    path: PathBuf,
    orders: u32,
    customers: usize,
    /// Of the orders that count, in cents.
    spent: i64,
}

impl Shop {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Writes a generic CSV: orders by date, each of any of a quarter as many customers; some pending,
/// some partly refunded.
pub fn shop(folder: &Path, orders: u32) -> anyhow::Result<Shop> {
    let mut random = fastrand::Rng::with_seed(7);
    let path = folder.join("orders.csv");
    let mut file = BufWriter::new(File::create(&path)?);
    writeln!(file, "order_id,customer_id,email,ordered_at,total,refunded,currency,status,first_name,last_name")?;
    let start = 1_609_459_200_000; // 2021
    let step = 1700 * 86_400_000 / i64::from(orders);
    let mut met = vec![false; orders as usize / 4];
    let mut spent = 0;
    for order in 0..orders {
        let customer = random.usize(0..met.len());
        met[customer] = true;
        let at = quintile::model::Timestamp::from_millis(start + step * i64::from(order) / 1000 * 1000);
        let total = random.i64(500..30_000);
        let refunded = if order % 50 == 0 { total / 4 } else { 0 };
        let is_paid = order % 20 != 7;
        spent += if is_paid { total - refunded } else { 0 };
        writeln!(
            file,
            "{},{},customer{customer}@example.com,{at},{}.{:02},{}.{:02},EUR,{},{},{}",
            1_000_000 + order,
            70_000_000 + customer,
            total / 100,
            total % 100,
            refunded / 100,
            refunded % 100,
            if is_paid { "paid" } else { "pending" },
            FIRST_NAMES[customer % 10],
            LAST_NAMES[customer % 8],
        )?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    fs::write(folder.join("config.toml"), "[shop]\nid = \"demo.myshopify.com\"\ncurrency = \"EUR\"\n")?;
    Ok(Shop { path, orders, customers: met.iter().filter(|met| **met).count(), spent })
}

/// What an import took.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// From the start of the program to its end.
    pub seconds: f64,
    /// Of the processor.
    pub processor: f64,
    /// At its peak, in MiB.
    pub memory: f64,
}

/// Imports into a new database.
pub fn import(folder: &Path, shop: &Shop) -> anyhow::Result<Took> {
    run(folder, shop, "new")
}

/// Imports what is there already.
pub fn import_again(folder: &Path, shop: &Shop) -> anyhow::Result<Took> {
    run(folder, shop, "unchanged")
}

fn run(folder: &Path, shop: &Shop, expected: &str) -> anyhow::Result<Took> {
    let (started, processor) = (Instant::now(), processor::of_children());
    let mut child = Command::new(env!("CARGO_BIN_EXE_quintile"))
        .current_dir(folder)
        .arg("import")
        .arg(&shop.path)
        .args(["--format", "json"])
        .stdout(Stdio::piped())
        .spawn()?;
    let memory = peak_memory(&mut child)?;
    let seconds = started.elapsed().as_secs_f64();
    let output = child.wait_with_output()?;
    let processor = processor::of_children() - processor;
    ensure!(output.status.success(), "the import failed");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["files"][0]["orders"][expected] == shop.orders, "{report}");
    check(folder, shop)?;
    Ok(Took { seconds, processor, memory })
}

/// Every order once, every customer once, and all the money; counters like a recomputation.
fn check(folder: &Path, shop: &Shop) -> anyhow::Result<()> {
    let database = Connection::open(folder.join("quintile.db"))?;
    let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0));
    ensure!(number("SELECT count(DISTINCT source_id) FROM orders")? == i64::from(shop.orders), "every order");
    ensure!(number("SELECT count(*) FROM orders")? == i64::from(shop.orders), "once");
    ensure!(number("SELECT count(*) FROM customers")? == i64::try_from(shop.customers)?, "every customer once");
    ensure!(number("SELECT sum(total_spent) FROM customers")? == shop.spent, "all the money");
    let broken = quintile::invariants::violations(&database)?;
    ensure!(broken.is_empty(), "{broken:?}");
    Ok(())
}

/// Waits for the end of a process; the most memory it ever had, in MiB.
fn peak_memory(child: &mut Child) -> anyhow::Result<f64> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0.0_f64;
    while child.try_wait()?.is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        if let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
            let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
            peak = peak.max(kib / 1024.0);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(peak)
}

/// Seconds, and those of the processor, that `sqlite3 .import` takes for the orders of the database in `folder`: a table of the same
/// columns with the same indexes, a new file as durable, written once like that of an import, and as large
/// a page cache. What comes out of a CSV file is text, and no NULL. `None`: there is no such command.
pub fn sqlite_import(folder: &Path) -> anyhow::Result<Option<(f64, f64)>> {
    if Command::new("sqlite3").arg("--version").stdout(Stdio::null()).status().is_err() {
        return Ok(None);
    }
    let quintile = Connection::open(folder.join("quintile.db"))?;
    let columns: Vec<String> = quintile
        .prepare("SELECT name FROM pragma_table_info('orders') WHERE name <> 'id'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let columns = columns.join(", ");
    let indexes: Vec<String> = quintile
        .prepare("SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'orders'")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    sqlite3(
        folder,
        &["quintile.db", ".mode csv", ".output rows.csv", &format!("SELECT {columns} FROM orders ORDER BY id")],
    )?;
    let copy = Connection::open(folder.join("copy.db"))?;
    copy.execute_batch(&format!("CREATE TABLE orders ({columns}); {};", indexes.join("; ")))?;
    drop(copy);
    let (started, processor) = (Instant::now(), processor::of_children());
    sqlite3(
        folder,
        &["copy.db", "PRAGMA synchronous = FULL", "PRAGMA cache_size = -36000", ".mode csv", ".import rows.csv orders"],
    )?;
    let took = (started.elapsed().as_secs_f64(), processor::of_children() - processor);
    let copied: i64 =
        Connection::open(folder.join("copy.db"))?.query_row("SELECT count(*) FROM orders", [], |row| row.get(0))?;
    let orders: i64 = quintile.query_row("SELECT count(*) FROM orders", [], |row| row.get(0))?;
    ensure!(copied == orders, "sqlite3 imported {copied} of {orders}");
    Ok(Some(took))
}

fn sqlite3(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("sqlite3").current_dir(folder).args(arguments).output().context("sqlite3")?;
    if !output.status.success() || !output.stderr.is_empty() {
        bail!("sqlite3 failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
