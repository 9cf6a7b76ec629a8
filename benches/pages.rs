//! `cargo bench --bench pages`: the dashboard of a large shop that has run for long, as a browser meets
//! it: first bytes, sizes and the server's memory.
//!
//! ```text
//! cargo bench --bench pages                    1,000,000 customers, 4,000,000 orders, 200 runs, 2,000,000 deliveries
//! cargo bench --bench pages -- --keep DIR      keep the made-up shop in DIR and use it again
//! cargo bench --bench pages -- --customers N   another size; orders and deliveries follow
//! ```
//!
//! The server is the real program in a process of its own; each page is asked for over a connection
//! that stays open, of files the first row is waited for. A missed bound ends the benchmark with an error.

#[path = "figures/data.rs"]
mod data;
#[path = "shared/folder.rs"]
mod folder;
#[path = "pages/server.rs"]
mod server;
#[path = "pages/shop.rs"]
mod shop;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use server::{Answer, Server};

/// Each page is asked for so often, after [`WARM`] times that do not count.
const ROUNDS: usize = 60;
const WARM: usize = 3;
/// Largest page, as it is sent.
const LARGEST: usize = 60 * 1024;
/// Most memory of the server, in MiB.
const MEMORY: f64 = 150.0;

/// What the arguments ask for.
struct Options {
    customers: u64,
    keep: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let options = parse()?;
    let folder = folder::new()?;
    let folder = options.keep.as_deref().unwrap_or(folder.path());
    shop::make(folder, options.customers)?;
    let server = Server::start(folder)?;
    let mut missed = 0;
    header(options.customers);
    for page in pages(&server, options.customers)? {
        missed += usize::from(!measure(&server, &page)?);
    }
    let memory = server.peak_memory()?;
    row(&[
        "memory of the server, at most",
        "",
        "",
        &format!("{memory:.0} MiB"),
        &format!("{MEMORY} MiB"),
        verdict(memory < MEMORY),
    ]);
    missed += usize::from(memory >= MEMORY);
    ensure!(missed == 0, "{missed} bounds were missed");
    Ok(())
}

/// `cargo bench` itself passes `--bench`.
fn parse() -> anyhow::Result<Options> {
    let mut options = Options { customers: 1_000_000, keep: None };
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--customers" => options.customers = value()?.parse()?,
            "--keep" => options.keep = Some(value()?.into()),
            other => anyhow::bail!("{other} is not an option; there are --customers N and --keep DIR"),
        }
    }
    Ok(options)
}

/// What is asked for.
struct Page {
    what: &'static str,
    /// Asked for in turn.
    paths: Vec<String>,
    within: Duration,
}

/// Every page, the deep ones and the dear ones too.
fn pages(server: &Server, customers: u64) -> anyhow::Result<Vec<Page>> {
    let page = |what, paths: Vec<String>| Page { what, paths, within: Duration::from_millis(100) };
    let one = |what, path: &str| page(what, vec![path.to_owned()]);
    let spread = |form: &dyn Fn(u64) -> String| (1..=20).map(|n| form(customers / 21 * n + 7)).collect::<Vec<_>>();
    let deep = |from: &str| deep(server, from);
    let mut pages = vec![
        // What nothing is looked up for: the others stand beside it.
        one("Style sheet", "/assets/quintile.css"),
        one("Overview", "/"),
        one("Overview, by revenue", "/?by=revenue"),
        one("Segments", "/segments"),
        one(
            "Segments, flow between the last run and the one before",
            &format!("/segments?from={}&to={}", shop::RUNS - 1, shop::RUNS),
        ),
        one("Segments, flow between runs far apart", &format!("/segments?from=2&to={}", shop::RUNS)),
        one("Segment", "/segments/at_risk"),
        one("Customers", "/customers"),
        one("Customers, 20 pages on", &deep("/customers")?),
        one("Customers of a segment", "/customers?segment=lost"),
        one("Customers of a segment, 20 pages on", &deep("/customers?segment=lost")?),
        one("Customers of a cell of the heat map", "/customers?r=1&f=5"),
        one("Customers of a cell that hardly anybody is in", "/customers?segment=lost&r=2&f=1&m=5"),
        one("Customers of a segment with a score that nobody in it has", "/customers?segment=lost&m=5"),
        one("Customers of a small segment, by spent", "/customers?segment=few&sort=spent"),
        one("Customers of a small segment, by e-mail", "/customers?segment=few&sort=email"),
        one("Customers of a small segment, by last order", "/customers?segment=few&sort=last&dir=asc"),
        one("Customers, by spent: too many to sort", "/customers?sort=spent"),
        one("Customers, by e-mail", "/customers?sort=email"),
        one("Customers of a segment, by e-mail", "/customers?segment=at_risk&sort=email"),
        one("Customers of a cell that hardly anybody is in, by e-mail", "/customers?r=1&f=5&m=1&sort=email"),
        one("Customers found by name, by spent", "/customers?q=Anna&sort=spent"),
        one("Customers of a cell, by orders", "/customers?r=2&f=1&m=5&sort=orders"),
        one("Customers who share an e-mail", "/customers?same_email=1"),
        one("Customers who share an e-mail, 20 pages on", &deep("/customers?same_email=1")?),
        one("Customers of a segment who share an e-mail", "/customers?same_email=1&segment=champion&m=1"),
        one("Customers without a score", "/customers?segment=none"),
        page("Search by e-mail", spread(&|id| format!("/customers?q=customer{id}%40example.com"))),
        page("Search by the start of an e-mail", spread(&|id| format!("/customers?q=customer{id}"))),
        page("Search by id", spread(&|id| format!("/customers?q={}", 7_000_000 + id))),
        one("Search by name", "/customers?q=Anna5+Muster9"),
        one("Search by a name that nobody has", "/customers?q=Zebulon"),
        one("Search among those who share an e-mail", "/customers?q=a&same_email=1"),
        one("Search by e-mail among those who share one", "/customers?q=customer&same_email=1&r=1&f=5&m=1"),
        one("Search by name with scores that nobody has", "/customers?q=a&r=1&f=5&m=1"),
        one("Search by e-mail with a score that nobody has", "/customers?q=customer&segment=lost&m=5"),
        one("Search for nobody", "/customers?q=nobody%40nowhere.example"),
        page("Customer", spread(&|id| format!("/customers/{id}"))),
        one("Customer with most orders", "/customers/1"),
        one("Runs", "/runs"),
        one("Runs, by how many moved", "/runs?sort=moved"),
        one("Run", &format!("/runs/{}", shop::RUNS)),
        one("Run, the first one", "/runs/1"),
        one("Deliveries", "/deliveries"),
    ];
    for (what, state) in [
        ("Deliveries, waiting", "waiting"),
        ("Deliveries, retrying", "retrying"),
        ("Deliveries, held", "held"),
        ("Deliveries, gave up", "dead"),
        ("Deliveries, delivered", "delivered"),
    ] {
        pages.push(one(what, &format!("/deliveries?state={state}")));
    }
    pages.extend([
        one("Deliveries, delivered, 20 pages on", &deep("/deliveries?state=delivered")?),
        one("Deliveries, delivered, the oldest first", "/deliveries?state=delivered&order=oldest"),
        one("Deliveries of a destination", "/deliveries?destination=tool&state=delivered"),
        one("Deliveries of a segment", "/deliveries?state=delivered&segment=champion"),
        one("Deliveries about a customer", "/deliveries?state=delivered&customer=7"),
        one("Deliveries about a customer, all states", "/deliveries?customer=7"),
        one("Deliveries of a run", &format!("/deliveries?state=delivered&run={}", shop::RUNS - 50)),
        one("Deliveries of the last run about a customer", &format!("/deliveries?run={}&customer=7", shop::RUNS)),
        one("Decision about all that gave up", "/deliveries/decide?action=retry&state=dead"),
        one("Decision about a customer", "/deliveries/decide?action=discard&state=waiting&customer=7"),
        page("Delivery", (1..=20).map(|n| format!("/deliveries/{}", n * 1_000)).collect()),
        one("Destinations", "/destinations"),
        one("Import", "/import"),
        one("Fetched from the shop", "/syncs"),
        one("Settings", "/settings"),
        one("Metrics", "/metrics"),
        one("API, segments", "/api/v1/segments"),
        one("API, customers", "/api/v1/customers?limit=50"),
        one("API, customers with scores that nobody has", "/api/v1/customers?r=1&f=5&m=1&limit=50"),
        page("API, one customer", spread(&|id| format!("/api/v1/customers/{id}"))),
        one("API, runs", "/api/v1/runs?limit=50"),
        one("API, events", "/api/v1/events?after_seq=1000000&limit=50"),
        one("API, deliveries", "/api/v1/deliveries?limit=50"),
        one("API, deliveries to a destination that has none", "/api/v1/deliveries?destination=none&limit=50"),
        one("API, destinations", "/api/v1/destinations"),
        one("CSV of customers", "/customers.csv"),
        one("CSV of a segment", "/segments/lost.csv"),
        one("CSV of a small segment, by spent", "/customers.csv?segment=few&sort=spent"),
        one("CSV of those who share an e-mail", "/customers.csv?same_email=1"),
        one("CSV of segments", "/segments.csv"),
        one("CSV of runs", "/runs.csv"),
        one("CSV of deliveries", "/deliveries.csv?state=delivered"),
        one("CSV of destinations", "/destinations.csv"),
    ]);
    for page in &mut pages {
        if page.what == "Search by e-mail" {
            page.within = Duration::from_millis(50);
        }
    }
    Ok(pages)
}

/// The address of the page that is reached by "Next page" twenty times.
fn deep(server: &Server, from: &str) -> anyhow::Result<String> {
    let mut path = from.to_owned();
    for _ in 0..20 {
        let answer = server.get(&path)?;
        let page = answer.text()?;
        let Some(link) = page.split("rel=\"next\" href=\"").nth(1).and_then(|rest| rest.split('"').next()) else {
            break;
        };
        path = link.replace("&amp;", "&").replace("&#38;", "&");
    }
    Ok(path)
}

/// Asks for a page again and again; whether it kept its bounds.
fn measure(server: &Server, page: &Page) -> anyhow::Result<bool> {
    let (mut times, mut largest) = (Vec::with_capacity(ROUNDS), 0);
    for round in 0..WARM + ROUNDS {
        let path = &page.paths[round % page.paths.len()];
        let is_file = path.contains(".csv");
        let Answer { status, first_byte, size, .. } =
            if is_file { server.first_row(path)? } else { server.get(path)? };
        if status != 200 {
            row(&[page.what, "", "", "", path, &format!("MISSED: answered {status}")]);
            return Ok(false);
        }
        largest = largest.max(size);
        if round >= WARM {
            times.push(first_byte);
        }
    }
    times.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let p95 = times[times.len() * 95 / 100];
    let met = p95 < page.within && largest < LARGEST;
    row(&[
        page.what,
        &format!("{:.1} ms", millis(times[times.len() / 2])),
        &format!("{:.1} ms", millis(p95)),
        &format!("{}.{} KB", largest / 1024, largest % 1024 * 10 / 1024),
        &format!("{:.0} ms, {} KB", millis(page.within), LARGEST / 1024),
        verdict(met),
    ]);
    Ok(met)
}

const fn verdict(met: bool) -> &'static str {
    if met { "ok" } else { "MISSED" }
}

#[expect(clippy::print_stdout, reason = "this is the output")]
fn header(customers: u64) {
    println!(
        "{customers} customers, {} orders, {} runs, {} deliveries; first byte, warm\n",
        customers * 4,
        shop::RUNS,
        customers * 2
    );
    println!("| page | median | p95 | largest, compressed | bound | |\n| --- | ---: | ---: | ---: | ---: | --- |");
}

#[expect(clippy::print_stdout, reason = "this is the output")]
fn row(cells: &[&str]) {
    println!("| {} |", cells.join(" | "));
}
