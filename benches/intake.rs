//! `cargo bench --bench intake`: how fast history comes in from a file, and how fast webhooks do, on
//! this machine and beside what SQLite alone reaches in the same run.
//!
//! ```text
//! cargo bench --bench intake                all of it (some minutes)
//! cargo bench --bench intake -- --files     only the files
//! cargo bench --bench intake -- --webhooks  only the webhooks
//! ```
//!
//! Files go through the real `quintile import`; webhooks through `serve`, in a process of its own,
//! with the client in this one. All that is stored is counted afterwards, and a figure fails whose orders
//! are not in the ledger once each. The command `sqlite3` is needed for the comparison with `.import`.

#![recursion_limit = "256"] // a shop's order is one large json!

#[path = "intake/files.rs"]
mod files;
#[path = "intake/sender.rs"]
mod sender;
#[path = "intake/server.rs"]
mod server;

use std::path::Path;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(position) = arguments.iter().position(|argument| argument == "--server") {
        return server::serve(&arguments[position + 1..]);
    }
    let only = |name: &str| arguments.iter().any(|argument| argument == name);
    header();
    if !only("--webhooks") {
        measure_files()?;
    }
    if !only("--files") {
        measure_webhooks()?;
    }
    Ok(())
}

/// A folder on the disk that the build is on: a temporary one may be in memory.
fn folder() -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("target"))?)
}

fn measure_files() -> anyhow::Result<()> {
    const ORDERS: u32 = 1_000_000;
    let small = folder()?;
    let (tenth, _) = files::import(small.path(), &files::shop(small.path(), ORDERS / 10)?)?;
    let large = folder()?;
    let shop = files::shop(large.path(), ORDERS)?;
    let (first, memory) = files::import(large.path(), &shop)?;
    let rate = f64::from(ORDERS) / first;
    row("import of 1,000,000 orders of 250,000 customers", rate, "orders/s", Some((rate >= 150_000.0, "≥ 150,000/s")));
    row("- peak memory", memory, "MiB", Some((memory < 100.0, "< 100 MiB")));
    row("- time, compared with 100,000 orders", first / tenth, "x", Some((first / tenth <= 12.0, "≤ 12 x")));
    match files::sqlite_import(large.path())? {
        Some(seconds) => {
            let alone = f64::from(ORDERS) / seconds;
            row("sqlite3 .import of the same orders, columns and indexes", alone, "orders/s", None);
            row("- the import as a share of it", rate / alone, "x", Some((rate / alone >= 0.4, "≥ 0.4 x")));
        }
        None => row("sqlite3 is not installed: nothing to compare with", f64::NAN, "", Some((false, "≥ 0.4 x"))),
    }
    let (again, memory) = files::import_again(large.path(), &shop)?;
    row("the same file again, nothing changes", f64::from(ORDERS) / again, "orders/s", None);
    row("- peak memory", memory, "MiB", None);
    Ok(())
}

fn measure_webhooks() -> anyhow::Result<()> {
    let shared = sender::measure(server::Commits::Shared)?;
    let size = format!("signed webhooks of {:.1} kB, {} connections", shared.body_kb, sender::CONNECTIONS);
    row(&size, shared.rate, "requests/s", Some((shared.rate >= 6000.0, "≥ 6,000/s")));
    row("- median", shared.median, "ms", None);
    row("- p99", shared.p99, "ms", Some((shared.p99 < 60.0, "< 60 ms")));
    let each = sender::measure(server::Commits::Each)?;
    row("the same with a commit for each request", each.rate, "requests/s", None);
    let gain = shared.rate / each.rate;
    row("- what sharing commits gains", gain, "x", Some((gain >= 2.5, "≥ 2.5 x")));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is the output")]
fn header() {
    println!("| figure | measured | bound | |\n| --- | ---: | ---: | --- |");
}

#[expect(clippy::print_stdout, reason = "this is the output")]
fn row(what: &str, value: f64, unit: &str, bound: Option<(bool, &str)>) {
    let digits = if value < 100.0 { 2 } else { 0 };
    let (text, verdict) = bound.map_or(("", ""), |(met, text)| (text, if met { "ok" } else { "MISSED" }));
    println!("| {what} | {value:.digits$} {unit} | {text} | {verdict} |");
}
