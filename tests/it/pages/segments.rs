//! All segments, one of them, and who moved between any two runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Router,
    http::{Method, StatusCode},
};
use quintile::{
    config::{Config, Environment, Segment, SegmentScheme},
    intake::uploads::Uploads,
    web::dashboard::{DashboardState, router},
};
use tokio::sync::mpsc;

use crate::support::{
    pages::{Answer, NOW, Shop, number, send},
    scored_shop::{self, DAY},
};

#[test]
fn a_shop_without_a_run_is_told_what_makes_segments() {
    let page = Shop::with_customers(30).get("/segments");
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.text(".empty h2"), "No segments yet");
    assert_eq!(page.text("nav a[aria-current]"), "Segments");
    let shop = Shop::with_customers(30);
    let csv = shop.get("/segments.csv").body;
    assert!(csv.starts_with("segment,customers,customer_share,revenue,revenue_share,change,spent_each,"), "{csv}");
    assert_eq!(csv.lines().count(), 1);
    let page = shop.get("/segments/champion");
    assert_eq!((page.status, page.text("h1")), (StatusCode::OK, "Champions".to_owned()));
    assert!(page.text(".list").contains("Nothing was scored yet."));
}

#[test]
fn all_columns_of_all_segments() {
    let shop = Shop::scored(2000);
    let page = shop.get("/segments");
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.texts(".seg tbody th").len(), 7);
    assert_eq!(page.text(".seg tbody th"), "ChampionsBought lately, buy often, spend most.");
    assert_eq!(page.attributes(".seg tbody th a", "href")[4], "/segments/at_risk");
    let customers: i64 = page.texts(".seg tbody td:nth-child(2)").iter().map(|text| number(text)).sum();
    assert_eq!(customers, shop.value::<i64>("SELECT count(*) FROM scores"));
    assert_eq!(page.attributes(".seg .spark polyline", "points").len(), 7);
    let first: Vec<String> = page.texts(".seg tbody tr:first-child td");
    let (count, revenue): (i64, i64) = (
        shop.value("SELECT count(*) FROM scores WHERE segment = 'champion'"),
        shop.value(
            "SELECT sum(c.total_spent) FROM scores JOIN customers c ON id = customer_id WHERE segment = 'champion'",
        ),
    );
    let mean = revenue / count;
    assert_eq!(first[5], format!("€{}.{:02}", grouped(mean / 100), mean % 100), "{first:?}");

    // The drawing and its table.
    assert_eq!(page.attributes(".bands polygon", "points").len(), 7);
    let named = page.texts(".bands .names text");
    assert_eq!(named.len(), 7, "every band has a name beside it");
    assert_eq!(
        named[0],
        format!("Champions {}", shop.value::<i64>("SELECT count(*) FROM scores WHERE segment = 'champion'"))
    );
    assert_eq!(page.texts(".bands .plot text").len(), 13, "a day for each week");
    let rows = page.texts("#main details tbody tr");
    assert_eq!(rows.len(), 13, "{rows:?}");
    assert!(rows[0].starts_with("23 Nov 2026"), "{rows:?}");

    let csv = shop.get("/segments.csv");
    let rows: Vec<csv::StringRecord> =
        csv::Reader::from_reader(csv.body.as_bytes()).records().collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.len(), 7);
    assert_eq!((&rows[0][0], &rows[0][1]), ("champion", count.to_string().as_str()));
    assert_eq!(rows[0][3], format!("{}.{:02}", revenue / 100, revenue % 100));
    let shares: f64 = rows.iter().map(|row| row[2].parse::<f64>().unwrap()).sum();
    assert!((shares - 1.0).abs() < 0.01, "{shares}");
}

fn grouped(number: i64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

#[test]
fn one_segment_says_who_is_in_it_and_what_to_do() {
    let shop = Shop::scored(2000);
    let page = shop.get("/segments/at_risk");
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.text("h1"), "At risk");
    assert!(page.text(".head").contains("Bought more than once, but have been away for long."));
    assert!(page.text("#main").contains("Ask them back personally"));
    assert_eq!(page.text(".facts dt"), "Recency 1 or 2");
    assert!(page.text(".facts dd").starts_with("last order "), "{}", page.text(".facts dd"));

    // Medians: the one in the middle of all sorted values.
    let median = |column: &str, direction: &str| -> i64 {
        shop.value(&format!(
            "SELECT c.{column} FROM scores JOIN customers c ON id = customer_id WHERE segment = 'at_risk' ORDER BY 1 {direction}
             LIMIT 1 OFFSET ((SELECT count(*) FROM scores WHERE segment = 'at_risk') - 1) / 2"
        ))
    };
    let as_of = NOW - 10 * 3_600_000;
    let days = (as_of - median("last_order_at", "DESC")) / DAY;
    let (orders, spent) = (median("order_count", "ASC"), median("total_spent", "ASC"));
    assert_eq!(page.text(".half dd"), format!("bought within {days} days"));
    let note = page.text(".half .note");
    assert!(note.contains(&format!("at most {orders} order")), "{note}");
    assert!(note.contains(&format!("at most €{}.{:02} spent", grouped(spent / 100), spent % 100)), "{note}");

    // Its customers: the first page, and all as CSV.
    let hrefs = page.attributes(".rows tbody th a", "href");
    assert_eq!(hrefs.len(), 50);
    assert_eq!(page.attributes(".list .lead a", "href")[0], "/customers?segment=at_risk");
    let [href] = page.attributes(".head .button", "href").try_into().unwrap();
    assert_eq!(href, "/segments/at_risk.csv");
    let csv = shop.get(&href);
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"at_risk.csv\"");
    assert_eq!(csv.body, shop.get("/customers.csv?segment=at_risk").body);
    assert!(csv.body.lines().count() > 50);

    // Who came and went in the last run.
    let came: i64 = shop.value(
        "SELECT coalesce(sum(customers), 0) FROM run_moves WHERE run_id = (SELECT max(id) FROM runs) AND new = 'at_risk'",
    );
    let shown: i64 = page.texts("[aria-labelledby=t-from] td.n").iter().map(|text| number(text)).sum();
    assert_eq!(shown, came);
}

#[test]
fn an_unknown_segment_is_not_there_and_the_known_ones_are_listed() {
    let shop = Shop::scored(100);
    for path in ["/segments/nobody", "/segments/nobody.csv", "/segments/%22%3E%3Cb%3E", "/segments/%20"] {
        let page = shop.get(path);
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(page.texts(".bare a").len(), 7, "{path}");
        assert_eq!(page.attributes(".bare a", "href")[0], "/segments/champion");
        assert_eq!(page.texts("#main b").len(), 0, "the name is text");
    }
}

#[test]
fn rules_of_ones_own_are_explained_too() {
    let mut shop = Shop::scored(300);
    shop.config.scoring.segments = SegmentScheme::Custom;
    let rule = |name: &str, r: &str, f: &str, action: &str| Segment {
        name: name.to_owned(),
        r: r.to_owned(),
        f: f.to_owned(),
        action: action.to_owned(),
        ..Segment::default()
    };
    shop.config.segment =
        vec![rule("vip", "4-5", "3-5", "Call them."), rule("vip", "3", "5", ""), rule("rest", "", "", "")];
    let page = shop.get("/segments/vip");
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.text("h1"), "Vip");
    assert_eq!(
        page.texts(".facts dt"),
        ["Recency 4 or 5", "Frequency 3 to 5", "Monetary any", "Recency 3", "Frequency 5", "Monetary any"]
    );
    assert!(page.text("#main").contains("Call them."));
    assert_eq!(page.text(".half dd"), "–", "nobody has it before the next run");
    // What the last run still named is there until the next one.
    let old = shop.get("/segments/champion");
    assert_eq!(old.status, StatusCode::OK);
    assert!(old.text("#main").contains("do not name this segment any more"));
    assert!(!old.texts(".rows tbody tr").is_empty());

    shop.config.scoring.segments = SegmentScheme::Detailed;
    shop.config.segment = Vec::new();
    let page = shop.get("/segments/cannot_lose");
    assert_eq!(page.texts(".facts dt"), ["Recency 1 or 2", "Frequency 5", "Monetary any"]);
}

/// A shop with real runs, and its dashboard.
struct Lived {
    shop: scored_shop::Shop,
    /// After each run, its id and everybody's segment.
    runs: Vec<(i64, BTreeMap<i64, String>)>,
}

impl Lived {
    fn run(&mut self) {
        let summary = self.shop.score();
        let segments = self.shop.rows("SELECT customer_id, segment FROM scores WHERE segment IS NOT NULL");
        let segments = segments.iter().map(|row| {
            let (id, segment) = row.split_once(' ').unwrap();
            (id.parse().unwrap(), segment.to_owned())
        });
        self.runs.push((summary.run_id.unwrap(), segments.collect()));
        self.shop.wait(DAY);
    }

    fn router(&self) -> Router {
        let config = Arc::new(Config::default());
        let (clock, database) = (self.shop.clock.clone(), &self.shop.db);
        router(DashboardState {
            uploads: Uploads::new(Arc::clone(&config), database, clock.clone()),
            backups: quintile::backups::Backups::from_config(&config),
            config,
            config_path: "config.toml".into(),
            readers: database.readers().clone(),
            clock,
            metrics: quintile::metrics::Metrics::default(),
            score_now: mpsc::channel(1).0,
            writer: database.writer().clone(),
            wake: Arc::default(),
            environment: Environment::default(),
            privacy: Arc::default(),
            database_key: [7; 32],
            ended_sessions: Vec::new(),
            limits: quintile::web::Limits::default(),
        })
    }
}

fn get(router: &Router, path: &str) -> Answer {
    send(router.clone(), Method::GET, path, &[("host", "localhost")])
}

/// Eight runs in which customers buy, get money back, come, go and are merged.
fn lived() -> Lived {
    let mut lived = Lived { shop: scored_shop::Shop::forty(), runs: Vec::new() };
    lived.run();
    let refunded = lived.shop.order("c07", 90_000);
    lived.shop.order("c03", 50_000);
    lived.shop.order("new1", 2_000);
    lived.run();
    lived.shop.set_net(refunded, 0);
    lived.shop.order("c20", 300);
    lived.shop.order("new2", 700);
    lived.run();
    // Away, and back two runs later.
    lived.shop.execute("UPDATE customers SET deleted_at = 1 WHERE external_id = 'c30'");
    lived.shop.order("c01", 500_000);
    lived.run();
    lived.shop.merge("c11", "c12");
    lived.shop.order("c03", 10);
    lived.run();
    lived.shop.execute("UPDATE customers SET deleted_at = NULL WHERE external_id = 'c30'");
    for number in 21..30 {
        lived.shop.order(&format!("c{number}"), 80_000);
    }
    lived.run();
    lived.shop.wait(40 * DAY);
    for number in 31..41 {
        lived.shop.order(&format!("c{number}"), 100 * number);
    }
    lived.run();
    lived.run();
    lived
}

/// The cells of the matrix that hold somebody: labels from, to and the number.
fn matrix(page: &Answer) -> BTreeSet<(String, String, i64)> {
    let heads = page.texts(".matrix thead th:not(.all)");
    let mut cells = BTreeSet::new();
    for (row, from) in page.texts(".matrix tbody th").into_iter().enumerate() {
        let texts = page.texts(&format!(".matrix tbody tr:nth-child({}) td:not(.all)", row + 1));
        assert_eq!(texts.len(), heads.len() - 1);
        let sum: i64 = texts.iter().map(|text| number(text)).sum();
        assert_eq!(page.texts(".matrix tbody td.all")[row], grouped(sum));
        for (column, text) in texts.iter().enumerate().filter(|(_, text)| number(text) > 0) {
            cells.insert((from.clone(), heads[column + 1].clone(), number(text)));
        }
    }
    cells
}

#[test]
fn the_flow_between_any_two_runs_is_what_a_plain_count_says() {
    let lived = lived();
    let router = lived.router();
    let label = |segment: Option<&String>, none: &str| match segment.map(String::as_str) {
        None => none.to_owned(),
        Some("champion") => "Champions".to_owned(),
        Some(name) => {
            let text = name.replace('_', " ");
            text[..1].to_uppercase() + &text[1..]
        }
    };
    let mut moved = 0;
    for (index, (from, before)) in lived.runs.iter().enumerate() {
        for (to, after) in &lived.runs[index + 1..] {
            let mut plain: BTreeMap<(String, String), i64> = BTreeMap::new();
            let everybody: BTreeSet<&i64> = before.keys().chain(after.keys()).collect();
            for customer in everybody {
                let (old, new) = (before.get(customer), after.get(customer));
                let step = (label(old, "Not scored before"), label(new, "Left"));
                *plain.entry(step).or_default() += 1;
            }
            let plain: BTreeSet<_> = plain.into_iter().map(|((old, new), customers)| (old, new, customers)).collect();
            let page = get(&router, &format!("/segments?from={from}&to={to}&unchanged=1"));
            assert_eq!(matrix(&page), plain, "from {from} to {to}");
            // The other way round is the same question.
            assert_eq!(matrix(&get(&router, &format!("/segments?from={to}&to={from}&unchanged=1"))), plain);

            let changed: BTreeSet<_> = plain.into_iter().filter(|(old, new, _)| old != new).collect();
            let page = get(&router, &format!("/segments?from={from}&to={to}"));
            assert_eq!(page.attributes(".sankey path", "d").len(), changed.len(), "a ribbon for each");
            moved += changed.len();
            assert_eq!(matrix(&page), changed, "those who stayed are left out");
        }
    }
    assert!(moved > 60, "only {moved} movements were compared");
}

#[test]
fn two_runs_are_chosen_by_the_form() {
    let lived = lived();
    let router = lived.router();
    let page = get(&router, "/segments");
    let chosen = page.attributes("#flow option[selected]", "value");
    let ids: Vec<String> = lived.runs.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(chosen, [ids[ids.len() - 2].clone(), ids[ids.len() - 1].clone()], "the last two");
    assert_eq!(page.attributes("#flow option", "value").len(), 2 * ids.len());
    let page = get(&router, &format!("/segments?from={}&to={}", ids[1], ids[4]));
    assert_eq!(page.attributes("#flow option[selected]", "value"), [ids[1].clone(), ids[4].clone()]);
    for nonsense in ["from=x&to=y", "from=999&to=998", "from=&to="] {
        let page = get(&router, &format!("/segments?{nonsense}"));
        assert_eq!(page.attributes("#flow option[selected]", "value"), chosen, "{nonsense}");
    }
    let page = get(&router, &format!("/segments?from={0}&to={0}", ids[3]));
    assert!(page.text("#flow").contains("Nobody moved between these runs."));
}

#[test]
fn a_first_run_has_no_movements_yet() {
    let mut lived = Lived { shop: scored_shop::Shop::forty(), runs: Vec::new() };
    lived.run();
    let router = lived.router();
    let page = get(&router, "/segments");
    assert!(page.text("#flow").ends_with("Movements show from the second run on."));
    assert!(page.text("#main").contains("quintile backfill --weeks 12"));
    let page = get(&router, "/segments/champion");
    assert!(page.text("[aria-labelledby=t-to]").ends_with("Movements show from the second run on."));
}

/// Two runs more, each of which moves so many customers that nobody waits for their count.
fn with_large_runs() -> Shop {
    let shop = Shop::scored(300);
    shop.write(|tx| {
        for (number, [old, new]) in [["lost", "new"], ["new", "loyal"]].into_iter().enumerate() {
            tx.execute(
                "INSERT INTO runs (trigger, state, as_of, started_at, scored_at, ties, window_days, rules, scored, changed, first_seq)
                 SELECT 'manual', 'done', ?1, ?1, ?1, 'together', 0, 'x', scored, 40000, (SELECT max(seq) + 1 FROM outbox)
                 FROM runs ORDER BY id DESC LIMIT 1",
                [NOW + i64::try_from(number).unwrap()],
            )?;
            let run = tx.last_insert_rowid();
            tx.execute(
                "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 40000)
                 INSERT INTO outbox (event_id, type, customer_id, run_id, old_segment, new_segment, cause, at)
                 SELECT randomblob(16), 'rfm/segment.changed', 1 + id % 200, ?1, ?2, ?3, 'ranking', 0 FROM n",
                (run, old, new),
            )?;
            tx.execute("INSERT INTO run_segments SELECT ?1, segment, rank, customers, revenue FROM run_segments WHERE run_id = ?1 - 1", [run])?;
        }
        Ok(())
    });
    shop
}

#[test]
fn a_long_count_is_made_beside_the_page_and_kept() {
    let shop = with_large_runs();
    let to: i64 = shop.value("SELECT max(id) FROM runs");
    let router = shop.router();
    let path = format!("/segments?from={}&to={to}", to - 2);
    let page = get(&router, &path);
    assert_eq!(page.text("#flow .notice .pill"), "Counting");
    assert!(page.text("#flow .notice").contains("80,000 single moves"));
    assert_eq!(page.attributes("meta[http-equiv=refresh]", "content"), ["2"]);
    // The request is over when what it began is done.
    let page = get(&router, &path);
    assert_eq!(page.texts("#flow .notice").len(), 0);
    assert_eq!(page.attributes("meta[http-equiv=refresh]", "content").len(), 0);
    let cells = matrix(&page);
    assert!(cells.contains(&("Lost".to_owned(), "Loyal".to_owned(), 200)), "{cells:?}");

    // What is not kept any more cannot be counted, and is not made up.
    shop.write(move |tx| tx.execute("DELETE FROM outbox WHERE seq = (SELECT max(seq) FROM outbox)", []).map(drop));
    let router = shop.router();
    assert_eq!(get(&router, &path).text("#flow .notice .pill"), "Counting");
    assert!(get(&router, &path).text("#flow .notice").contains("not kept any more"));
}

#[test]
fn the_medians_of_a_large_segment_are_counted_beside_the_page() {
    let shop = Shop::scored(300);
    let small = shop.get("/segments/lost").texts(".half dd");
    assert!(small[0].starts_with("bought within"), "{small:?}");
    // What the run counted decides whether somebody waits.
    shop.execute("UPDATE run_segments SET customers = 30000 WHERE segment = 'lost'");
    let router = shop.router();
    let page = get(&router, "/segments/lost");
    assert_eq!(page.text(".half dd"), "being counted");
    assert_eq!(page.attributes("meta[http-equiv=refresh]", "content"), ["2"]);
    let page = get(&router, "/segments/lost");
    assert_eq!(page.texts(".half dd"), small);
    assert_eq!(page.attributes("meta[http-equiv=refresh]", "content").len(), 0);
}
