//! `cargo bench --bench intake`: how fast history comes in from a file, and how fast webhooks and a pull
//! from the shop do, on this machine and beside what SQLite alone reaches in the same run. Ends with exit
//! code 1 when a bound is missed.
//!
//! ```text
//! cargo bench --bench intake                all of it (some minutes)
//! cargo bench --bench intake -- --files     only the files
//! cargo bench --bench intake -- --webhooks  only the webhooks
//! cargo bench --bench intake -- --sync      only the pull from the shop
//! ```
//!
//! Files go through the real `quintile import`; webhooks through `serve`, in a process of its own,
//! with the client in this one. All that is stored is counted afterwards, and a figure fails whose orders
//! are not in the ledger once each. The command `sqlite3` is needed for the comparison with `.import`.

#![recursion_limit = "256"] // a shop's order is one large json!

#[path = "intake/files.rs"]
mod files;
#[path = "shared/folder.rs"]
mod folder;
#[path = "intake/processor.rs"]
mod processor;
#[path = "intake/sender.rs"]
mod sender;
#[path = "intake/server.rs"]
mod server;
#[path = "intake/sync.rs"]
mod sync;
#[path = "shared/table.rs"]
mod table;

use std::process::ExitCode;

use table::Table;

/// Measures one part and prints its rows.
type Measure = fn(&mut Table) -> anyhow::Result<()>;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let child = |name: &str| arguments.iter().position(|argument| argument == name);
    if let Some(position) = child("--server") {
        server::serve(&arguments[position + 1..])?;
        return Ok(ExitCode::SUCCESS);
    }
    if child("--shop").is_some() {
        sync::shop()?;
        return Ok(ExitCode::SUCCESS);
    }
    let parts: [(&str, Measure); 3] =
        [("--files", measure_files), ("--webhooks", measure_webhooks), ("--sync", measure_sync)];
    let named = parts.iter().any(|(name, _)| arguments.iter().any(|argument| argument == name));
    let mut table = Table::begin();
    for (name, measure) in parts {
        if !named || arguments.iter().any(|argument| argument == name) {
            measure(&mut table)?;
        }
    }
    Ok(table.verdict())
}

fn measure_files(table: &mut Table) -> anyhow::Result<()> {
    const ORDERS: u32 = 1_000_000;
    let small = folder::new()?;
    let tenth = files::import(small.path(), &files::shop(small.path(), ORDERS / 10)?)?;
    let large = folder::new()?;
    let shop = files::shop(large.path(), ORDERS)?;
    let whole = files::import(large.path(), &shop)?;
    let rate = f64::from(ORDERS) / whole.seconds;
    table.bound("import of 1,000,000 orders of 250,000 customers", rate, "orders/s", rate >= 150_000.0, "≥ 150,000/s");
    table.row("- processor time", whole.processor, "s");
    table.bound("- peak memory", whole.memory, "MiB", whole.memory < 100.0, "< 100 MiB");
    let growth = whole.seconds / tenth.seconds;
    table.bound("- time, compared with 100,000 orders", growth, "x", growth <= 12.0, "≤ 12 x");
    table.row("- processor time, compared with 100,000 orders", whole.processor / tenth.processor, "x");
    let (share, of_processor) = match files::sqlite_import(large.path())? {
        Some((seconds, processor)) => {
            let alone = f64::from(ORDERS) / seconds;
            table.row("sqlite3 .import of the same orders, columns and indexes", alone, "orders/s");
            table.row("- processor time", processor, "s");
            (rate / alone, processor / whole.processor)
        }
        None => (f64::NAN, f64::NAN), // not installed: nothing to compare with
    };
    table.bound("- the import as a share of it", share, "x", share >= 0.4, "≥ 0.4 x");
    table.row("- the same by processor time", of_processor, "x");
    let again = files::import_again(large.path(), &shop)?;
    table.row("the same file again, nothing changes", f64::from(ORDERS) / again.seconds, "orders/s");
    table.row("- processor time", again.processor, "s");
    table.row("- peak memory", again.memory, "MiB");
    Ok(())
}

fn measure_webhooks(table: &mut Table) -> anyhow::Result<()> {
    let shared = sender::measure(server::Commits::Shared)?;
    let size = format!("signed webhooks of {:.1} kB, {} connections", shared.body_kb, sender::CONNECTIONS);
    table.bound(&size, shared.rate, "requests/s", shared.rate >= 6000.0, "≥ 6,000/s");
    table.row("- median", shared.median, "ms");
    table.bound("- p99", shared.p99, "ms", shared.p99 < 60.0, "< 60 ms");
    table.row("- processor time of the server, each", shared.server, "µs");
    table.row("- processor time of the client, each", shared.client, "µs");
    let each = sender::measure(server::Commits::Each)?;
    table.row("the same with a commit for each request", each.rate, "requests/s");
    let gain = shared.rate / each.rate;
    table.bound("- what sharing commits gains", gain, "x", gain >= 2.5, "≥ 2.5 x");
    let beside = sender::beside_an_upload()?;
    table.row("webhooks during an upload of 100,000 orders", beside.webhooks.rate, "requests/s");
    table.bound("- p99", beside.webhooks.p99, "ms", beside.webhooks.p99 < 1000.0, "< 1,000 ms");
    table.row("- the upload meanwhile", beside.upload, "orders/s");
    Ok(())
}

fn measure_sync(table: &mut Table) -> anyhow::Result<()> {
    let pulled = sync::measure()?;
    table.row("sync of 100,000 orders, 50,000 customers in bulk", pulled.bulk.rate(), "objects/s");
    table.row("- processor time of it all", pulled.bulk.processor, "s");
    table.row("the same page by page, from a shop without a throttle", pulled.pages.rate(), "objects/s");
    let allowed = pulled.allowed;
    table.row("- what the throttle of a shop allows", allowed, "orders/s");
    let own = pulled.pages.objects / pulled.pages.processor;
    table.bound("- by its own processor time alone", own, "objects/s", own >= 10.0 * allowed, "≥ 10 x as many");
    Ok(())
}
