//! A made-up shop in a real database, written straight into its tables, and the dashboard over it.
//! Everything is a function of the number of customers: two shops of one size are equal.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use quintile::{
    backups::Backups,
    clock::Clock,
    config::{Config, Destination, Environment},
    db::{Database, ended_sessions},
    intake::uploads::Uploads,
    model::Timestamp,
    web::{
        Limits,
        dashboard::{DashboardState, router},
    },
};
use rusqlite::Transaction;
use scraper::{Html, Selector};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::folder::{COUNTERS, Folder, GONE, ORDER, RUNS, TIMES};

/// Monday, 23 November 2026, noon in Berlin.
pub const NOW: i64 = 1_795_431_600_000;
const DAY: i64 = Timestamp::DAY;
const NIGHTS: i64 = 14;

/// A shop with its dashboard.
pub struct Shop {
    pub folder: Folder,
    pub database: Database,
    pub config: Config,
    pub asked: mpsc::Receiver<()>,
    /// Named in advice; need not be there.
    pub config_path: PathBuf,
    pub environment: Environment,
    pub limits: Limits,
    /// Those of the configuration, unless a test brings its own.
    pub backups: Option<Backups>,
    /// What the clock shows, in Unix milliseconds.
    now: Arc<AtomicI64>,
    score_now: mpsc::Sender<()>,
}

impl Shop {
    /// Nothing has happened yet.
    pub fn empty() -> Self {
        let folder = Folder::new();
        // What pages show is made up.
        folder.except(&[COUNTERS, GONE, ORDER, TIMES]);
        folder.except(&RUNS);
        Self::empty_in(folder)
    }

    /// The same in a folder of the test's own.
    pub fn empty_in(folder: Folder) -> Self {
        let database = Database::open(&folder.path().join("quintile.db"), "test").unwrap();
        let mut config = Config::default();
        "Lantern & Wick".clone_into(&mut config.shop.name);
        config.destination =
            ["klaviyo", "brevo"].map(|name| Destination { name: name.to_owned(), ..Destination::default() }).to_vec();
        let (score_now, asked) = mpsc::channel(1);
        Self {
            folder,
            database,
            config,
            asked,
            config_path: "config.toml".into(),
            environment: Environment::default(),
            limits: Limits::default(),
            backups: None,
            now: Arc::new(AtomicI64::new(NOW)),
            score_now,
        }
    }

    /// Customers and orders, but no run.
    pub fn with_customers(customers: i64) -> Self {
        let shop = Self::empty();
        shop.write(move |tx| customers_and_orders(tx, customers));
        shop
    }

    /// The same after a quarter of weekly statistics and two weeks of nightly runs.
    pub fn scored(customers: i64) -> Self {
        let shop = Self::with_customers(customers);
        shop.write(score);
        shop
    }

    /// Writes whatever a test needs.
    pub fn write(&self, job: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()> + Send + 'static) {
        self.database.writer().write_blocking(move |tx| Ok(job(tx)?)).unwrap();
    }

    pub fn execute(&self, sql: &'static str) {
        self.write(move |tx| tx.execute_batch(sql));
    }

    /// One value of the database.
    pub fn value<T: rusqlite::types::FromSql>(&self, sql: &str) -> T {
        self.database.readers().get().unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Lets time pass.
    pub fn pass(&self, millis: i64) {
        self.now.fetch_add(millis, Ordering::Relaxed);
    }

    fn clock(&self) -> Clock {
        let now = Arc::clone(&self.now);
        Clock::from_fn(move || Timestamp::from_millis(now.load(Ordering::Relaxed)))
    }

    /// The dashboard of this shop, as `serve` would mount it.
    pub fn router(&self) -> Router {
        self.router_with_key([7; 32])
    }

    /// The same over a database whose own key is another.
    pub fn router_with_key(&self, database_key: [u8; 32]) -> Router {
        router(DashboardState {
            config: Arc::new(self.config.clone()),
            config_path: self.config_path.clone(),
            readers: self.database.readers().clone(),
            clock: self.clock(),
            metrics: quintile::metrics::Metrics::default(),
            score_now: self.score_now.clone(),
            uploads: self.uploads(),
            writer: self.database.writer().clone(),
            wake: Arc::default(),
            environment: self.environment.clone(),
            privacy: Arc::default(),
            backups: self.backups.clone().unwrap_or_else(|| Backups::from_config(&self.config)),
            database_key,
            ended_sessions: ended_sessions(&self.database.readers().get().unwrap()).unwrap(),
            limits: self.limits,
        })
    }

    /// The files of this shop; of one router to the next they know only what is stored.
    pub fn uploads(&self) -> Uploads {
        Uploads::new(Arc::new(self.config.clone()), &self.database, self.clock())
    }

    /// `GET path` as a browser on this machine sends it.
    pub fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[("host", "127.0.0.1:8787")])
    }

    /// Any request.
    pub fn send(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        send(self.router(), method, path, headers)
    }
}

/// What the dashboard answered.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

pub fn send(router: Router, method: Method, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    send_request(router, request.body(Body::empty()).unwrap())
}

/// Whatever the request starts is over when this returns.
pub fn send_request(router: Router, request: Request<Body>) -> Answer {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(async {
        let response = router.oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() }
    })
}

/// The customers of a list, in the order shown.
pub fn ids(page: &Answer) -> Vec<i64> {
    let hrefs = page.attributes(".rows tbody th a", "href");
    hrefs.iter().map(|href| href.strip_prefix("/customers/").unwrap().parse().unwrap()).collect()
}

/// "4,212" → 4212; a dash is nobody.
pub fn number(text: &str) -> i64 {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn location(&self) -> &str {
        self.header(header::LOCATION.as_str())
    }

    pub fn html(&self) -> Html {
        Html::parse_document(&self.body)
    }

    /// The text of every element that matches, white space folded.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        self.html().select(&Selector::parse(selector).unwrap()).map(|element| fold(element.text())).collect()
    }

    /// The text of the first element that matches.
    #[track_caller]
    pub fn text(&self, selector: &str) -> String {
        self.texts(selector).into_iter().next().unwrap_or_else(|| panic!("no {selector} in\n{}", self.body))
    }

    /// An attribute of every element that matches and has it.
    pub fn attributes(&self, selector: &str, attribute: &str) -> Vec<String> {
        let html = self.html();
        let selector = Selector::parse(selector).unwrap();
        html.select(&selector).filter_map(|element| element.attr(attribute).map(str::to_owned)).collect()
    }
}

fn fold<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let text: String = texts.collect::<Vec<_>>().join("");
    text.replace('\u{a0}', " ").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names with everything a shop's customers bring along.
const FIRST: [&str; 10] = ["Anna", "Jörg", "Zoë", "Li", "O’Neil", "Mary-Jane", "Ümit", "Sofía", "Tom", "Ines"];
const LAST: [&str; 9] = ["Miller", "Groß", "Nguyễn", "van der Berg", "Smith", "D’Angelo", "Kowalska", "Ahmadi", "Li"];

fn customers_and_orders(tx: &Transaction<'_>, customers: i64) -> rusqlite::Result<()> {
    let mut customer = tx.prepare(
        "INSERT INTO customers (id, source, external_id, email, email_key, first_name, last_name, consent, created_at)
         VALUES (?1, 'shopify', ?2, ?3, ?3, ?4, ?5, 'subscribed', ?6)",
    )?;
    let mut order = tx.prepare(
        "INSERT INTO orders (source, source_id, customer_id, name, status, is_test, currency, gross, refunded, net, counted, ordered_at, origin, received_at)
         VALUES ('shopify', ?1, ?2, ?3, ?4, ?5, 'EUR', ?6, ?7, ?8, ?9, ?10, 'webhook', ?10)",
    )?;
    let mut dice = Dice(7);
    let mut number = 1000;
    for id in 1..=customers {
        let first = dice.one_of(FIRST);
        let last = dice.one_of(LAST);
        let known = NOW - 800 * DAY + id * 700 * DAY / customers.max(1);
        let email = (id % 17 != 0).then(|| format!("{}.{id}@example.com", first.to_lowercase()));
        let external = (id % 5 != 0).then(|| (700_000 + id).to_string());
        customer.execute((id, external, email, first, last, known))?;
        // One in 40 never bought; others once, twice, and a few often.
        let orders = if id % 40 == 0 { 0 } else { 1 + dice.below(3) * dice.below(3) * dice.below(4) / 2 };
        for _ in 0..orders {
            number += 1;
            let at = known + dice.below(NOW - known);
            let gross = 500 + dice.below(12_000) * (1 + dice.below(3));
            let (status, is_test, refunded) = match number % 60 {
                0 => ("refunded", 0, gross),
                1 => ("partially_refunded", 0, gross / 3),
                2 => ("paid", 1, 0),
                _ => ("paid", 0, 0),
            };
            let counted = i64::from(is_test == 0 && refunded < gross);
            let net = if counted == 1 { gross - refunded } else { 0 };
            order.execute((
                number.to_string(),
                id,
                format!("#{number}"),
                status,
                is_test,
                gross,
                refunded,
                net,
                counted,
                at,
            ))?;
        }
    }
    tx.execute_batch(
        "UPDATE customers SET (order_count, total_spent, avg_order_value, first_order_at, last_order_at) =
           (SELECT count(*), coalesce(sum(net), 0), coalesce(sum(net) / count(*), 0), min(ordered_at), max(ordered_at)
            FROM orders WHERE customer_id = customers.id AND counted = 1);",
    )
}

const CLASSIC: &str = "CASE WHEN r >= 4 AND f >= 4 AND m >= 4 THEN 'champion' WHEN r >= 3 AND f >= 3 AND m >= 3 THEN 'loyal'
    WHEN r >= 4 AND f <= 1 THEN 'new' WHEN r >= 3 THEN 'potential' WHEN f >= 2 THEN 'at_risk' WHEN m >= 2 THEN 'hibernating' ELSE 'lost' END";
const RANKS: [&str; 7] = ["champion", "loyal", "new", "potential", "at_risk", "hibernating", "lost"];

fn score(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let last = NOW - 10 * 3_600_000; // 02:00 in Berlin
    for name in RANKS {
        tx.execute("INSERT INTO segments (name) VALUES (?1)", [name])?;
    }
    tx.execute(
        &format!(
            "INSERT INTO customer_scores (customer_id, r, f, m, segment_id)
             SELECT id, r, f, m, (SELECT id FROM segments WHERE name = {CLASSIC}) FROM (
               SELECT id, min(rr) OVER (PARTITION BY last_order_at) r, min(ff) OVER (PARTITION BY order_count) f,
                      min(mm) OVER (PARTITION BY total_spent) m
               FROM (SELECT id, last_order_at, order_count, total_spent,
                            ntile(5) OVER (ORDER BY last_order_at, id) rr, ntile(5) OVER (ORDER BY order_count, id) ff,
                            ntile(5) OVER (ORDER BY total_spent, id) mm
                     FROM customers WHERE order_count > 0)) ORDER BY id"
        ),
        [],
    )?;
    for week in (2..=12).rev() {
        run(tx, "backfill", last - week * 7 * DAY, false)?;
        week_statistics(tx, week)?;
    }
    for night in (0..NIGHTS).rev() {
        let as_of = last - night * DAY;
        let id = run(tx, "scheduled", as_of, night == NIGHTS - 1)?;
        statistics(tx, id, as_of, night)?;
        if night < NIGHTS - 1 {
            changes(tx, id, as_of, night)?;
        }
    }
    Ok(())
}

fn run(tx: &Transaction<'_>, trigger: &str, as_of: i64, baseline: bool) -> rusqlite::Result<i64> {
    tx.execute(
        "INSERT INTO runs (trigger, state, as_of, started_at, scored_at, emitted_at, finished_at, baseline, ties, window_days, rules,
           scored, score_ms, rank_ms, write_ms, emit_ms)
         SELECT ?1, 'done', ?2, ?2, ?2 + 1800, ?2 + 2100, ?2 + 2100, ?3, 'together', 0, 'x', count(*), 1810, 1500, 310, 290 FROM scores",
        (trigger, as_of, baseline),
    )?;
    Ok(tx.last_insert_rowid())
}

/// Counts that drift towards today's.
fn week_statistics(tx: &Transaction<'_>, week: i64) -> rusqlite::Result<()> {
    let run = tx.last_insert_rowid();
    for (rank, segment) in (0i64..).zip(RANKS) {
        let drift = 1000 + (rank - 3) * week * 12 + (week * (rank + 3)) % 7 * 9;
        tx.execute(
            "INSERT INTO run_segments SELECT ?1, ?2, ?3, count(*) * ?4 / 1000, 0 FROM scores WHERE segment = ?2",
            (run, segment, rank, drift),
        )?;
    }
    Ok(())
}

fn statistics(tx: &Transaction<'_>, run: i64, as_of: i64, night: i64) -> rusqlite::Result<()> {
    for (rank, segment) in (0i64..).zip(RANKS) {
        tx.execute(
            "INSERT INTO run_segments SELECT ?1, ?2, ?3, max(0, count(*) + (?4 * (?3 - 3)) % 11), coalesce(sum(c.total_spent), 0)
             FROM scores s JOIN customers c ON c.id = s.customer_id WHERE s.segment = ?2",
            (run, segment, rank, night),
        )?;
    }
    tx.execute(
        "INSERT INTO run_cells SELECT ?1, r, f, m, count(*), sum(c.total_spent) FROM scores s JOIN customers c ON c.id = s.customer_id GROUP BY r, f, m",
        [run],
    )?;
    for (dimension, value) in [("r", "last_order_at"), ("f", "order_count"), ("m", "total_spent")] {
        tx.execute(
            &format!(
                "INSERT INTO run_quintiles SELECT ?1, ?2, s.{dimension}, count(*), min(c.{value}), max(c.{value})
                 FROM scores s JOIN customers c ON c.id = s.customer_id GROUP BY s.{dimension}"
            ),
            (run, dimension),
        )?;
    }
    if night == NIGHTS - 1 {
        tx.execute("INSERT INTO run_moves SELECT ?1, '', segment, count(*) FROM scores GROUP BY segment", [run])?;
        tx.execute(
            "INSERT INTO history SELECT customer_id, ?1, r, f, m, segment, 1 FROM scores ORDER BY customer_id",
            [run],
        )?;
        tx.execute("UPDATE customer_scores SET segment_run = ?1", [run])?;
        tx.execute(
            "INSERT INTO outbox (event_id, type, customer_id, run_id, new_segment, cause, r, f, m, at)
             SELECT randomblob(16), 'rfm/segment.changed', customer_id, ?1, segment, 'baseline', r, f, m, ?2 FROM scores ORDER BY customer_id",
            (run, as_of),
        )?;
        seal(tx, run)?;
    }
    Ok(())
}

/// One customer in 29 comes from another segment; they and their deliveries differ each night.
fn changes(tx: &Transaction<'_>, run: i64, as_of: i64, night: i64) -> rusqlite::Result<()> {
    let old = "CASE (s.customer_id / 29 + ?2) % 3 WHEN 0 THEN 'loyal' WHEN 1 THEN 'potential' ELSE 'at_risk' END";
    let moved = format!(
        "SELECT s.customer_id, s.r, s.f, s.m, s.segment, {old} AS old FROM scores s
         WHERE (s.customer_id + ?2 * 5) % 29 = 0 AND s.segment <> {old} ORDER BY s.customer_id"
    );
    tx.execute(
        &format!(
            "INSERT OR IGNORE INTO run_moves SELECT ?1, old, segment, count(*) FROM ({moved}) GROUP BY old, segment"
        ),
        (run, night),
    )?;
    tx.execute(
        "INSERT INTO run_moves SELECT ?1, '', segment, count(*) FROM scores WHERE customer_id % 601 = 1 GROUP BY segment",
        [run],
    )?;
    tx.execute(
        &format!("INSERT INTO history SELECT customer_id, ?1, r, f, m, segment, 1 FROM ({moved})"),
        (run, night),
    )?;
    tx.execute(
        &format!(
            "INSERT INTO outbox (event_id, type, customer_id, run_id, old_segment, new_segment, cause, r, f, m, at)
             SELECT randomblob(16), 'rfm/segment.changed', customer_id, ?1, old, segment, 'ranking', r, f, m, ?3 FROM ({moved})"
        ),
        (run, night, as_of),
    )?;
    tx.execute(
        &format!(
            "UPDATE customer_scores SET previous_segment_id = (SELECT id FROM segments WHERE name = moved.old), segment_run = ?1
             FROM ({moved}) AS moved WHERE customer_scores.customer_id = moved.customer_id"
        ),
        (run, night),
    )?;
    for destination in ["klaviyo", "brevo"] {
        tx.execute(
            "INSERT INTO deliveries (message_id, destination, seq, customer_id, run_id, state, attempts, last_status, created_at, finished_at)
             SELECT randomblob(16), ?2, seq, customer_id, run_id, 'delivered', 1, 200, ?3, ?3 + 4000 FROM outbox WHERE run_id = ?1 ORDER BY seq",
            (run, destination, as_of),
        )?;
    }
    seal(tx, run)
}

fn seal(tx: &Transaction<'_>, run: i64) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE runs SET (first_seq, last_seq, changed) = (SELECT min(seq), max(seq), count(*) FROM outbox WHERE run_id = ?1) WHERE id = ?1",
        [run],
    )?;
    Ok(())
}

/// A small reproducible source of numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn one_of<const N: usize>(&mut self, items: [&'static str; N]) -> &'static str {
        items[usize::try_from(self.below(i64::try_from(N).unwrap())).unwrap()]
    }

    /// 0 to `end` - 1
    fn below(&mut self, end: i64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        i64::try_from(self.0 >> 1).unwrap() % end.max(1)
    }
}
