//! One number, one meaning: pages, files, the API and the commands say the same of it.

use std::{fs, process::Command};

use serde_json::Value;

use crate::support::{
    folder::{ERASED, HISTORY},
    pages::{Answer, NOW, Shop, ids, number},
};

/// What the API answers.
fn api(shop: &Shop, path: &str) -> Value {
    let answer = shop.get(path);
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{path}: {error} in {}", answer.body))
}

/// What a command prints about the shop's own database.
fn cli(shop: &Shop, arguments: &[&str]) -> Value {
    let config = shop.database.path().with_file_name("config.toml");
    fs::write(&config, "[shop]\ncurrency = \"EUR\"\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_quintile"))
        .arg("--config")
        .arg(config)
        .args(arguments)
        .args(["--format", "json"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rows(csv: &Answer) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(csv.body.as_bytes()).records().map(Result::unwrap).collect()
}

/// The value of a column in each row.
fn column(csv: &Answer, name: &str) -> Vec<String> {
    let place = csv.body.lines().next().unwrap().split(',').position(|head| head == name);
    let place = place.unwrap_or_else(|| panic!("no column {name} in {}", csv.body.lines().next().unwrap()));
    rows(csv).iter().map(|row| row[place].to_owned()).collect()
}

#[test]
fn who_lost_the_last_order_or_was_erased_has_no_scores_anywhere() {
    let shop = Shop::scored(300);
    shop.folder.except(&[ERASED]);
    let [lost, erased]: [i64; 2] = [0, 1].map(|offset| {
        shop.value(&format!(
            "SELECT customer_id FROM scores WHERE segment = 'champion' ORDER BY customer_id LIMIT 1 OFFSET {offset}"
        ))
    });
    shop.write(move |tx| {
        tx.execute("UPDATE orders SET status = 'cancelled', net = 0, counted = 0 WHERE customer_id = ?1", [lost])?;
        tx.execute(
            "UPDATE customers SET order_count = 0, total_spent = 0, avg_order_value = 0, first_order_at = NULL, last_order_at = NULL
             WHERE id = ?1",
            [lost],
        )?;
        tx.execute("UPDATE customers SET redacted_at = 1, first_name = NULL, last_name = NULL WHERE id = ?1", [erased])
            .map(drop)
    });
    let champions = ids(&shop.get("/customers?segment=champion"));
    let by_score = ids(&shop.get("/customers?r=5&f=5&m=5"));
    let unscored = ids(&shop.get("/customers?segment=none"));
    let told = api(&shop, "/api/v1/customers?limit=1000");
    let printed = cli(&shop, &["customers"]);
    let csv = shop.get("/customers.csv");
    for (id, why, sentence) in [
        (lost, "no counted order", "Not scored: there is no counted order."),
        (erased, "erased", "Not scored: erased on request."),
    ] {
        let page = shop.get(&format!("/customers/{id}"));
        assert_eq!((page.text(".sub"), page.texts(".kpi").len()), (sentence.to_owned(), 0));
        let found = shop.get(&format!("/customers?q={id}"));
        let row = found.texts(".rows tbody tr").into_iter().zip(ids(&found)).find(|(_, other)| *other == id).unwrap().0;
        assert!(row.contains(why) && row.contains("not scored"), "{row}");
        assert!(!champions.contains(&id) && !by_score.contains(&id) && unscored.contains(&id), "{id}");
        let text = id.to_string();
        let place = column(&csv, "id").iter().position(|other| *other == text).unwrap();
        for name in ["r", "f", "m", "segment"] {
            assert_eq!(column(&csv, name)[place], "", "{name} of {id}");
            let of = |list: &Value| {
                list.as_array().unwrap().iter().find(|it| it["id"] == text.as_str()).unwrap()[name].clone()
            };
            assert_eq!((of(&told["data"]), of(&printed)), (Value::Null, Value::Null), "{name} of {id}");
        }
        assert_eq!(api(&shop, &format!("/api/v1/customers/{id}"))["segment"], Value::Null);
        assert_eq!(cli(&shop, &["customer", &id.to_string()])["segment"], Value::Null);
    }
    // The same customers are in none everywhere.
    let of = |list: &Value| {
        let mut ids: Vec<i64> =
            list.as_array().unwrap().iter().map(|it| it["id"].as_str().unwrap().parse().unwrap()).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids
    };
    assert_eq!(of(&api(&shop, "/api/v1/customers?segment=none&limit=1000")["data"]), unscored);
    assert_eq!(of(&cli(&shop, &["customers", "--segment", "none"])), unscored);
    assert_eq!(rows(&shop.get("/customers.csv?segment=none")).len(), unscored.len());
}

#[test]
fn the_first_run_has_no_change() {
    let shop = Shop::scored(300);
    shop.execute("DELETE FROM run_moves WHERE run_id > 12; DELETE FROM run_segments WHERE run_id > 12; DELETE FROM run_cells WHERE run_id > 12;
        DELETE FROM run_quintiles WHERE run_id > 12; DELETE FROM history WHERE run_id > 12; DELETE FROM deliveries WHERE run_id > 12;
        DELETE FROM outbox WHERE run_id > 12; DELETE FROM runs WHERE id > 12; UPDATE customer_scores SET segment_run = 12");
    let first: String = shop.value("SELECT trigger FROM runs WHERE id = 12");
    assert_eq!(first, "scheduled", "only backfills are left before it");
    for path in ["/", "/segments"] {
        assert_eq!(shop.get(path).texts(".seg tbody td.d"), ["–"; 7], "{path}");
    }
    assert_eq!(column(&shop.get("/segments.csv"), "change"), [""; 7]);
    for list in [api(&shop, "/api/v1/segments")["data"].clone(), cli(&shop, &["segments"])] {
        let changes: Vec<&Value> = list.as_array().unwrap().iter().map(|segment| &segment["change"]).collect();
        assert_eq!(changes, [&Value::Null; 7]);
    }
}

#[test]
fn segments_have_the_same_numbers_everywhere() {
    let shop = Shop::scored(2000);
    let page = shop.get("/segments");
    let csv = shop.get("/segments.csv");
    let told = api(&shop, "/api/v1/segments")["data"].clone();
    assert_eq!(told, cli(&shop, &["segments"]));
    for (place, segment) in told.as_array().unwrap().iter().enumerate() {
        let cells = page.texts(&format!(".seg tbody tr:nth-child({}) td", place + 1));
        assert_eq!(number(&cells[0]), segment["customers"].as_i64().unwrap());
        let change = cells[6].replace('−', "-").replace('+', "");
        assert_eq!(change, segment["change"].to_string(), "{cells:?}");
        assert_eq!(cells[5].replace(['€', ','], ""), column(&csv, "spent_each")[place], "{cells:?}");
        for name in ["customers", "change"] {
            assert_eq!(column(&csv, name)[place], segment[name].to_string());
        }
    }
    // The file has the weeks that the page draws: its table has them all.
    let weeks: Vec<String> = (1..=12)
        .map(
            |weeks| if weeks == 1 { "customers_1_week_ago".to_owned() } else { format!("customers_{weeks}_weeks_ago") },
        )
        .collect();
    let shown = page.texts("#main details tbody tr");
    assert_eq!(shown.len(), 13);
    for (name, line) in weeks.iter().zip(&shown[1..]) {
        let cells: String = column(&csv, name).iter().map(|count| grouped(count)).collect();
        assert!(line.ends_with(&cells), "{name}: {cells} in {line}");
    }
}

fn grouped(count: &str) -> String {
    if count.len() <= 3 {
        count.to_owned()
    } else {
        format!("{},{}", &count[..count.len() - 3], &count[count.len() - 3..])
    }
}

#[test]
fn moved_new_and_left_are_one_number_each() {
    let shop = Shop::scored(900);
    shop.execute("INSERT INTO run_moves VALUES (25, 'lost', '', 2)");
    let sum = |which: &str| -> i64 {
        shop.value(&format!("SELECT coalesce(sum(customers), 0) FROM run_moves WHERE run_id = 25 AND {which}"))
    };
    let (moved, new, left) = (sum("old <> '' AND new <> ''"), sum("old = ''"), sum("new = ''"));
    assert!(moved > 0 && new > 0 && left == 2);
    let told = api(&shop, "/api/v1/runs")["data"][0].clone();
    let printed = cli(&shop, &["runs"])[0].clone();
    let csv = shop.get("/runs.csv");
    let list = shop.get("/runs").texts(".rows tbody tr:first-child td");
    let facts = shop.get("/runs/25").texts(".facts div");
    let line = shop.get("/").texts(".o5 tbody tr td.n")[0].clone();
    let kpi = shop.get("/").texts(".kpi div:nth-child(4) dt, .kpi div:nth-child(4) dd");
    assert_eq!((kpi[0].as_str(), number(&kpi[1])), ("Moved last night", moved));
    assert!(kpi[2].ends_with(", 2 left"), "{kpi:?}");
    assert_eq!(line, format!("{moved} moved, {new} new, 2 left"));
    for (name, place, count) in [("moved", 4, moved), ("new", 5, new), ("left", 6, left)] {
        assert_eq!((&told[name], &printed[name]), (&Value::from(count), &Value::from(count)), "{name}");
        assert_eq!(column(&csv, name)[0], count.to_string());
        assert_eq!(number(&list[place]), count, "{name} in {list:?}");
        let fact = format!("{}{}{count}", name[..1].to_uppercase(), &name[1..]);
        assert!(facts.contains(&fact), "{fact} in {facts:?}");
    }
    // Nothing on any page says "changed" of a number of customers.
    for path in ["/", "/runs", "/runs/25", "/segments", "/segments/lost"] {
        let text = shop.get(path).text("#main");
        assert!(!text.contains("Changed") && !text.contains("changed segment"), "{path}");
    }
    // A first run has nothing to compare with: everybody is new.
    let first = shop.get("/runs").texts(".rows tbody tr:nth-child(14) td");
    assert_eq!((number(&first[4]), number(&first[5])), (0, shop.value("SELECT count(*) FROM scores")));
}

#[test]
fn a_run_that_scored_nobody_yet_has_dashes() {
    let shop = Shop::scored(60);
    shop.write(|tx| {
        tx.execute(
            "INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules, error) VALUES ('manual', 'failed', ?1, ?1, 'together', 0, 'x', 'no')",
            [NOW],
        )
        .map(drop)
    });
    assert_eq!(shop.get("/runs").texts(".rows tbody tr:first-child td")[3..7], ["–"; 4]);
    assert_eq!(shop.get("/runs").text(".rows tbody th"), "26", "the number that Deliveries asks for");
}

#[test]
fn who_is_not_scored_can_be_listed_and_says_why() {
    let shop = Shop::scored(600);
    shop.folder.except(&[HISTORY]);
    let scored: i64 = shop.value("SELECT scored FROM runs WHERE id = 25");
    shop.execute("DELETE FROM customer_scores WHERE customer_id = 7");
    let everybody = shop.get("/customers");
    assert_eq!(
        everybody.texts(".sub")[..2],
        ["600 customers", &format!("{scored} scored in the last run. Who is not, and why")]
    );
    assert_eq!(everybody.attributes(".sub a", "href"), ["/customers?segment=none"]);
    assert!(shop.get("/").attributes(".kpi a", "href").contains(&"/customers?segment=none".to_owned()));

    let page = shop.get("/customers?segment=none");
    let wanted: i64 = shop.value("SELECT count(*) FROM customers WHERE id NOT IN (SELECT customer_id FROM scores)");
    assert_eq!(page.text(".sub"), format!("{wanted} customers"));
    assert_eq!(page.text("option[selected]"), "Not scored");
    assert!(page.text(".about").contains("has no counted order"), "{}", page.text(".about"));
    assert_eq!(ids(&page).len(), usize::try_from(wanted).unwrap());
    let of = |id: i64| page.texts(".rows tbody tr").into_iter().zip(ids(&page)).find(|(_, it)| *it == id).unwrap().0;
    assert!(of(7).contains("not yet") && of(40).contains("no counted order"), "{} {}", of(7), of(40));
    assert_eq!(ids(&shop.get("/customers?segment=none&r=5")), Vec::<i64>::new());
    let oldest = ids(&shop.get("/customers?segment=none&dir=asc"));
    assert!(oldest.is_sorted() && oldest.len() == ids(&page).len());
    assert_eq!(ids(&shop.get("/customers?segment=none&q=7"))[0], 7);
}

#[test]
fn a_page_that_stops_looking_says_how_far_it_looked() {
    let shop = Shop::empty();
    shop.folder.except(&[HISTORY]);
    shop.execute("INSERT INTO segments (id, name) VALUES (7, 'lost')");
    for start in (0..140_000).step_by(10_000) {
        shop.write(move |tx| {
            tx.execute(
                "WITH RECURSIVE n(id) AS (SELECT ?1 + 1 UNION ALL SELECT id + 1 FROM n WHERE id < ?1 + 10000)
                 INSERT INTO customers (id, source, external_id, first_name, last_name, order_count, created_at)
                 SELECT id, 'shopify', 'x' || id, iif(id = 20000, 'Zoë', 'Tom'), 'Miller', id <> 60000, ?2 + id FROM n",
                (start, NOW - 86_400_000),
            )?;
            tx.execute(
                "INSERT INTO customer_scores (customer_id, r, f, m, segment_id) SELECT id, 1, 1, 1, 7 FROM customers WHERE id > ?1",
                [start],
            )
            .map(drop)
        });
    }
    let first = shop.get("/customers?q=zo%C3%AB");
    assert_eq!(first.text(".empty h2"), "Not found yet");
    assert_eq!(
        first.text(".empty p"),
        "100,000 customers were looked at for this page, back to those known since 22 Nov 2026. Older ones may match too. E-mails and ids are always found at once."
    );
    assert_eq!(first.text("a[rel=next]"), "Search older customers");
    assert_eq!(ids(&shop.get(&first.attributes("a[rel=next]", "href")[0])), [20_000]);

    let first = shop.get("/customers?segment=none");
    assert!(first.text(".empty p").starts_with("50,000 customers were looked at"), "{}", first.text(".empty p"));
    let second = shop.get(&first.attributes("a[rel=next]", "href")[0]);
    assert_eq!(
        (ids(&second).as_slice(), second.text("a[rel=next]").as_str()),
        (&[60_000][..], "Look at older customers")
    );
    assert!(second.text("#main").contains("50,000 customers were looked at for this page"));
    let last = shop.get(&second.attributes("a[rel=next]", "href")[0]);
    assert_eq!((last.text(".empty h2").as_str(), last.texts("a[rel=next]").len()), ("No customers match", 0));
    // A file goes on by itself.
    assert_eq!(column(&shop.get("/customers.csv?segment=none"), "id"), ["60000"]);
}
