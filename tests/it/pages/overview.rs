//! Overview, runs and health.

use axum::http::{Method, StatusCode};
use quintile::model::Timestamp;

use crate::support::pages::{NOW, Shop, number};

#[test]
fn an_empty_shop_is_told_how_to_bring_in_orders() {
    let page = Shop::empty().get("/");
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.text(".sub"), "Not scored yet. Next run tomorrow at 03:00.");
    assert_eq!(page.text(".empty h2"), "No orders yet");
    assert_eq!(page.attributes(".steps a", "href")[0], "/import");
    assert!(page.text(".empty").contains("127.0.0.1:8788"));
    assert_eq!(page.texts(".kpi").len(), 0);
}

#[test]
fn a_shop_without_a_run_is_told_to_score() {
    let page = Shop::with_customers(30).get("/");
    assert_eq!(page.text(".empty h2"), "Your orders are in");
    assert_eq!(page.attributes("form[method=post]", "action"), ["/runs", "/runs"]);
}

#[test]
fn the_overview_shows_what_the_run_counted() {
    let shop = Shop::scored(5000);
    let page = shop.get("/");
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(page.text("title"), "Overview · quintile");
    assert_eq!(page.text(".sub"), "Scored today at 02:00 in 1.8 s. Next run tomorrow at 03:00.");
    assert_eq!(page.texts(".notice").len(), 0);

    let scored: i64 = shop.value("SELECT count(*) FROM scores");
    let kpi = page.texts(".kpi div");
    assert!(kpi[0].starts_with("Scored customers4,"), "{kpi:?}");
    assert!(kpi[0].ends_with("new since yesterday at 02:00, who is not scored"), "{kpi:?}");
    assert!(kpi[1].starts_with("Revenue, all time€"), "{kpi:?}");
    assert!(kpi[3].starts_with("Moved last night"), "{kpi:?}");

    // Seven segments, best first, whose counts add up to everybody.
    let rows = page.texts(".seg tbody th");
    assert_eq!(rows.len(), 7);
    assert_eq!(rows[0], "Champions");
    let counts: i64 = page.texts(".seg tbody td:nth-child(2)").iter().map(|text| number(text)).sum();
    assert_eq!(counts, scored);
    assert_eq!(page.attributes(".seg tbody th a", "href")[4], "/segments/at_risk");
    assert_eq!(page.attributes(".seg .spark polyline", "points").len(), 7);
    assert_eq!(page.attributes(".seg .k2", "width").len(), 7);

    // Every customer is in one of 25 cells, best corner top right, each cell a link.
    let cells = page.texts(".heat tbody td");
    assert_eq!(cells.len(), 25);
    assert_eq!(cells.iter().map(|text| number(text)).sum::<i64>(), scored);
    let top_right: i64 = shop.value("SELECT count(*) FROM scores WHERE r = 5 AND f = 5");
    assert_eq!(number(&cells[4]), top_right);
    assert!(page.attributes(".heat a", "href").contains(&"/customers?r=5&f=5".to_owned()));
    assert!(
        page.attributes(".heat a", "aria-label")
            .iter()
            .all(|label| label.contains("recency") && label.contains("customer"))
    );
    let worst: i64 = shop
        .value("SELECT highest FROM run_quintiles WHERE dimension = 'f' AND quintile = 5 ORDER BY run_id DESC LIMIT 1");
    assert!(
        page.texts(".heat thead th")[4].contains(&format!("–{worst} orders")),
        "{:?}",
        page.texts(".heat thead th")
    );
    assert!(page.texts(".heat tbody th")[0].starts_with("R50–"), "{:?}", page.texts(".heat tbody th"));

    // Movements are those between segments; first-time scored are not among them.
    let moved: i64 =
        shop.value("SELECT sum(customers) FROM run_moves WHERE run_id = (SELECT max(id) FROM runs) AND old <> ''");
    assert_eq!(number(&page.text(".kpi div:nth-child(4) dd")), moved);
    assert!((1..=6).contains(&page.texts(".mv tbody tr").len()));

    assert_eq!(page.texts(".dest th[scope=row]"), ["klaviyo", "brevo"]);
    assert_eq!(page.texts(".dest .pill"), ["Healthy", "Healthy"]);
    let delivered = page.text(".dest td.n").replace("in the last run", "");
    let (done, all) = delivered.split_once(" of ").unwrap();
    assert_eq!(done, all);
    assert!(page.attributes(".nights", "aria-label")[0].ends_with("All are done."));
}

#[test]
fn the_heat_map_can_show_revenue() {
    let page = Shop::scored(600).get("/?by=revenue");
    assert_eq!(page.text(".seg2 a[aria-current]"), "Revenue");
    assert!(page.texts(".heat td a").iter().all(|text| text.starts_with('€')));
    assert!(page.attributes(".heat a", "aria-label")[0].contains(" from "));
}

#[test]
fn a_failed_night_says_why_how_old_the_numbers_are_and_what_happens_next() {
    let shop = Shop::scored(600);
    shop.write(|tx| {
        tx.execute(
            "INSERT INTO runs (trigger, state, as_of, started_at, finished_at, error, retry_at, ties, window_days, rules)
             VALUES ('scheduled', 'failed', ?1, ?1, ?1, 'the disk is full', ?1 + 300000, 'together', 0, 'x')",
            [NOW],
        )
        .map(drop)
    });
    let page = shop.get("/");
    assert_eq!(page.text(".head .sub"), "Scored today at 02:00 in 1.8 s. Next run today at 12:05.");
    assert_eq!(
        page.text(".notice"),
        "Scoring failed The disk is full. The numbers below were scored today at 02:00. It is tried again today at 12:05. See the run"
    );
}

#[test]
fn trouble_with_deliveries_is_said() {
    let shop = Shop::scored(2000);
    shop.write(|tx| {
        tx.execute_batch(
            "UPDATE deliveries SET state = 'retrying', finished_at = NULL, due_at = 1795431840000, attempts = 2, last_status = 503
               WHERE id IN (SELECT id FROM deliveries WHERE destination = 'brevo' ORDER BY id DESC LIMIT 2);
             UPDATE deliveries SET state = 'dead', attempts = 8, last_status = 401, last_error = 'the API key is wrong (401)'
               WHERE id = (SELECT max(id) FROM deliveries WHERE destination = 'klaviyo');
             INSERT INTO deliveries (message_id, destination, seq, customer_id, run_id, state, hold, created_at)
               SELECT randomblob(16), 'klaviyo', seq, customer_id, run_id, 'held', 'baseline', 0 FROM outbox WHERE cause = 'baseline';",
        )
    });
    let held: i64 = shop.value("SELECT count(*) FROM deliveries WHERE state = 'held'");
    let page = shop.get("/");
    assert_eq!(
        page.texts(".notice"),
        [
            "1 gave up klaviyo, after 8 tries: the API key is wrong (401). See them and send them again".to_owned(),
            format!("1,{:03} held Deliveries wait for your decision. Send or give them up", held - 1000),
        ]
    );
    assert_eq!(page.texts(".dest .pill"), ["1 gave up", "2 retrying"]);
    assert_eq!(page.texts(".dest .mut")[1], "next in 4 min");
    let summary = &page.attributes(".nights", "aria-label")[0];
    assert!(summary.contains("1 gave up from 23 Nov") && summary.contains("2 are open from 23 Nov"), "{summary}");
}

#[test]
fn a_run_over_nobody_has_a_next_step_instead_of_figures() {
    let empty_run = |shop: &Shop| {
        shop.write(|tx| {
            tx.execute(
                "INSERT INTO runs (trigger, state, as_of, started_at, scored_at, finished_at, ties, window_days, rules, scored)
                 VALUES ('manual', 'done', ?1, ?1, ?1, ?1, 'together', 0, 'x', 0)",
                [NOW - 60_000],
            )
            .map(drop)
        });
    };
    let shop = Shop::empty();
    empty_run(&shop);
    let page = shop.get("/");
    assert_eq!(page.text(".empty h2"), "No orders yet");
    assert_eq!((page.texts(".notice").len(), page.texts(".kpi").len()), (0, 0));

    let shop = Shop::with_customers(60);
    empty_run(&shop);
    let page = shop.get("/");
    assert_eq!(page.text(".empty h2"), "No customer to score yet");
    assert_eq!(page.texts(".notice").len(), 0);

    // The first run that scored somebody has none before it.
    let shop = Shop::scored(60);
    shop.execute(
        "UPDATE runs SET scored = 0 WHERE id = 24; UPDATE run_segments SET customers = customers - 1 WHERE run_id = 23",
    );
    let change = shop.get("/").texts(".seg tbody td.d");
    let before: Vec<i64> = [25, 23]
        .map(|run| {
            shop.value(&format!("SELECT customers FROM run_segments WHERE segment = 'champion' AND run_id = {run}"))
        })
        .to_vec();
    assert_eq!(change[0].trim_start_matches('+'), (before[0] - before[1]).to_string().replace('-', "−"));
}

/// Holds what the newest run queued.
fn hold(shop: &Shop, baseline: bool, remap: bool) {
    shop.write(move |tx| {
        tx.execute("UPDATE runs SET held = 1, baseline = ?1, remap = ?2, changed = 1200 WHERE id = 25", (baseline, remap))?;
        tx.execute(
            "UPDATE deliveries SET state = 'held', hold = iif(?1, 'baseline', 'run'), finished_at = NULL WHERE run_id = 25",
            [baseline || remap],
        )
        .map(drop)
    });
}

#[test]
fn held_runs_say_why_and_how_to_decide() {
    for (baseline, remap, wanted) in [
        (
            true,
            false,
            "First run held The first run named a segment for everybody. Its 1,200 events wait for your decision; each is replaced by itself when that customer changes. Send or give them up",
        ),
        (
            false,
            true,
            "New segment rules held A run under new segment rules put customers into other segments. Its 1,200 events wait for your decision; each is replaced by itself when that customer changes. Send or give them up",
        ),
        (
            false,
            false,
            "Run held It has 1,200 events: customers who moved, are new or left. That is more than the 20 % that are sent without asking, so nothing of it was sent yet. Later events of these customers wait behind it. Send or give them up",
        ),
    ] {
        let mut shop = Shop::scored(2000);
        hold(&shop, baseline, remap);
        assert_eq!(shop.get("/").texts(".notice"), [wanted]);
        // A later run does not hide it, and without a destination nobody is asked.
        shop.execute(
            "INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules, error)
             SELECT 'manual', 'failed', as_of + 1, as_of + 1, 'together', 0, 'x', 'no' FROM runs WHERE id = 25",
        );
        assert_eq!(shop.get("/").texts(".notice")[1], wanted);
        shop.config.destination.clear();
        assert_eq!(shop.get("/").texts(".notice").len(), 1);
    }
}

#[test]
fn the_worst_of_a_destination_comes_first() {
    let shop = Shop::scored(2000);
    shop.execute(
        "UPDATE deliveries SET state = 'retrying', finished_at = NULL, due_at = 1795431840000, attempts = 2
           WHERE id IN (SELECT id FROM deliveries WHERE destination = 'brevo' ORDER BY id DESC LIMIT 2);
         UPDATE deliveries SET state = 'dead', attempts = 8 WHERE id = (SELECT min(id) FROM deliveries WHERE destination = 'brevo');",
    );
    let page = shop.get("/");
    assert_eq!(page.texts(".dest .pill"), ["Healthy", "1 gave up"]);
    assert_eq!(page.texts(".dest .mut")[1], "2 retrying, next in 4 min");
}

#[test]
fn the_heat_map_names_its_units_beside_the_first_range() {
    let shop = Shop::scored(600);
    shop.execute(
        "DELETE FROM run_quintiles WHERE run_id = 25 AND (dimension, quintile) IN (VALUES ('r', 5), ('r', 4), ('f', 1))",
    );
    let page = shop.get("/");
    let hidden: Vec<String> = page.texts(".heat th span span.vh");
    assert_eq!(hidden.len(), 8, "{hidden:?}");
    let rows = page.texts(".heat tbody th");
    assert_eq!(rows[..2], ["R5nobody", "R4nobody"]);
    let visible = page.texts(".heat th span span:not(.vh)");
    assert_eq!(visible.len(), 2, "{visible:?}");
    assert!(visible[0].starts_with("order") && visible[1] == "days", "{visible:?}");
}

#[test]
fn every_page_says_how_old_its_numbers_are() {
    let shop = Shop::scored(60);
    for path in ["/", "/customers", "/customers/3", "/runs", "/runs/25"] {
        let lines = shop.get(path).texts(".sub");
        assert!(
            lines.contains(&"Scored today at 02:00 in 1.8 s. Next run tomorrow at 03:00.".to_owned()),
            "{path}: {lines:?}"
        );
    }
    assert_eq!(Shop::empty().get("/runs").texts(".sub")[1], "Not scored yet. Next run tomorrow at 03:00.");
}

#[test]
fn with_few_customers_the_page_says_what_a_quintile_is() {
    let small = Shop::scored(18).get("/");
    assert!(small.text(".notice").contains("a quintile is about five people"), "{}", small.text(".notice"));
    assert_eq!(Shop::scored(40).get("/").texts(".notice").len(), 0);
    // One customer alone breaks nothing.
    for customers in [1, 2, 4, 5, 7] {
        assert_eq!(Shop::scored(customers).get("/").status, StatusCode::OK, "{customers} customers");
    }
}

#[test]
fn score_now_asks_once_and_goes_back() {
    let mut shop = Shop::scored(30);
    let answer = shop.send(Method::POST, "/runs", &[("host", "localhost:8787"), ("sec-fetch-site", "same-origin")]);
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/"));
    assert!(shop.asked.try_recv().is_ok());
    assert!(shop.asked.try_recv().is_err(), "asked twice");

    // A second press while the first is not taken yet is the same wish.
    for _ in 0..2 {
        let answer = shop.send(Method::POST, "/runs", &[("host", "localhost:8787")]);
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
    }
    assert!(shop.asked.try_recv().is_ok());
    assert!(shop.asked.try_recv().is_err(), "two runs for one wish");

    // The page says so until a run shows up.
    let router = shop.router();
    let send = |method, path| crate::support::pages::send(router.clone(), method, path, &[("host", "localhost")]);
    assert_eq!(send(Method::POST, "/runs").status, StatusCode::SEE_OTHER);
    assert!(send(Method::GET, "/").text(".notice").starts_with("Scoring A run was asked for"));
    shop.write(|tx| {
        tx.execute(
            "INSERT INTO runs (trigger, state, as_of, started_at, ties, window_days, rules) VALUES ('manual', 'scoring', ?1, ?1, 'together', 0, 'x')",
            [NOW],
        )
        .map(drop)
    });
    assert_eq!(send(Method::GET, "/").text(".notice"), "Scoring A run is under way since today at 12:00. Look again");
}

#[test]
fn a_destination_that_is_not_sent_to_is_named_with_what_it_answers() {
    let shop = Shop::scored(300);
    let since = NOW - 3_600_000;
    for (state, title, todo) in [
        ("failing", "brevo is failing", "what is meant for it waits"),
        ("disabled", "brevo is disabled", "until you resume it"),
    ] {
        shop.write(move |tx| {
            tx.execute_batch(
                "DELETE FROM destinations; UPDATE deliveries SET state = 'delivered', hold = NULL, finished_at = 1;
                 UPDATE deliveries SET state = 'held', hold = 'destination', finished_at = NULL WHERE destination = 'brevo' AND run_id = 25;",
            )?;
            let sql = "INSERT INTO destinations (name, state, reason, since, failures) VALUES ('brevo', ?1, 'answered 401: <b>no</b>', ?2, 5)";
            tx.execute(sql, (state, since)).map(drop)
        });
        let page = shop.get("/");
        let notices = page.texts(".notice");
        assert!(notices[0].starts_with(title) && notices[0].contains("Answered 401: <b>no</b>."), "{notices:?}");
        assert!(notices[0].contains(todo), "{notices:?}");
        assert_eq!(page.attributes(".notice a", "href")[0], "/destinations?ailing=1");
        assert_eq!(notices.len() > 1, state == "failing", "what it alone holds is no decision of its own: {notices:?}");
    }
    shop.execute(
        "UPDATE deliveries SET state = 'held', hold = 'consent', finished_at = NULL WHERE destination = 'klaviyo' AND run_id = 25",
    );
    assert_eq!(shop.get("/").texts(".notice").len(), 2, "what another one holds is");
}

#[test]
fn the_nights_are_a_table_too_and_say_what_they_count() {
    let page = Shop::scored(300).get("/");
    let rows = page.texts("[aria-labelledby=t-del] details tbody tr");
    assert_eq!(rows.len(), 14);
    let titles = page.texts(".nights g title");
    assert!(
        titles.len() == 14 && titles[13].starts_with("23 Nov: ") && titles[13].contains(" done, 0 open"),
        "{titles:?}"
    );
    assert!(page.texts(".dest td.n .under").iter().all(|text| text == "in the last run"));
}

#[test]
fn runs_are_listed_and_explained() {
    let shop = Shop::scored(600);
    let list = shop.get("/runs");
    assert_eq!(list.texts(".rows tbody tr").len(), 25);
    let hrefs = list.attributes(".rows tbody th a", "href");
    assert_eq!(hrefs[0], "/runs/25");
    assert_eq!(list.texts(".rows .pill")[0], "Done");
    assert!(list.texts(".rows tbody tr")[13].contains("first run"));

    let run = shop.get("/runs/25");
    assert_eq!(run.status, StatusCode::OK);
    assert!(run.text("h1").contains("23 Nov 2026, 02:00"));
    assert!(run.text(".facts").starts_with("TriggerNightly"));
    assert_eq!(
        run.texts("[aria-labelledby=t-steps] tbody tr"),
        [
            "Started23 Nov 2026, 02:00",
            "Ranked all customers23 Nov 2026, 02:001.5 s",
            "Wrote scores, changes and events23 Nov 2026, 02:00310 ms",
            "Events handed to deliveries23 Nov 2026, 02:00290 ms",
        ]
    );
    assert_eq!(run.texts(".plain.top tbody tr").len(), 5);
    assert!(run.texts(".plain.top td").iter().any(|text| text.starts_with('€')));

    // A failed run says nothing of customers it never reached.
    shop.write(|tx| {
        tx.execute(
            "INSERT INTO runs (id, trigger, state, as_of, started_at, finished_at, error, ties, window_days, rules)
             VALUES (26, 'manual', 'failed', ?1, ?1, ?1, 'the disk is full', 'together', 0, 'x')",
            [NOW],
        )
        .map(drop)
    });
    let failed = shop.get("/runs/26");
    assert_eq!(
        failed.text(".notice"),
        "What went wrong The disk is full. It is not tried again by itself: press Score now."
    );
    shop.execute("UPDATE runs SET state = 'scoring', finished_at = NULL, error = NULL WHERE id = 26");
    let under_way = shop.get("/runs/26");
    assert_eq!(under_way.texts("#moves, .notice").len(), 0);
    assert!(!under_way.text(".facts").contains("Left"), "{}", under_way.text(".facts"));
    shop.execute("UPDATE runs SET state = 'failed', finished_at = 1, error = 'the disk is full' WHERE id = 26");
    let failed = shop.get("/runs/26");
    for absent in ["Nobody moved", "All movements", "not yet", "scored nobody", "Events handed to deliveries"] {
        assert!(!failed.text("main").contains(absent), "{absent}");
    }
    shop.execute("DELETE FROM runs WHERE id = 26");

    let csv = shop.get("/runs.csv");
    assert_eq!(csv.body.lines().count(), 26);
    assert!(csv.body.contains("\r\n25,scheduled,2026-11-23T01:00:00Z,"));
    assert!(csv.body.starts_with("id,trigger,as_of,started_at,scored_at,emitted_at,finished_at,state,scored,changed,error,moved,new,left,duration_ms,"));

    for path in ["/runs/99", "/runs/x", "/runs/-1"] {
        assert_eq!(shop.get(path).status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(Shop::empty().get("/runs").text(".empty h2"), "No runs yet");
}

#[test]
fn ranges_of_the_heat_map_explain_where_they_meet() {
    let shop = Shop::scored(2000);
    let exact = shop.get("/").attributes(".heat tbody th", "title");
    assert_eq!(exact.len(), 5);
    assert!(exact[0].starts_with("last order "), "{exact:?}");
    // R4 ends an hour before R5 begins.
    shop.write(|tx| {
        tx.execute_batch(
            "UPDATE run_quintiles SET highest = (SELECT lowest - 3600000 FROM run_quintiles q WHERE q.run_id = 25 AND q.dimension = 'r' AND q.quintile = 5)
             WHERE run_id = 25 AND dimension = 'r' AND quintile = 4;
             UPDATE run_quintiles SET lowest = highest WHERE run_id = 25 AND dimension = 'r' AND quintile < 4",
        )
    });
    let meeting = shop.value::<i64>(
        "SELECT (SELECT (as_of - lowest) / 86400000 FROM run_quintiles JOIN runs ON id = run_id WHERE run_id = 25 AND dimension = 'r' AND quintile = 5)
              = (SELECT (as_of - highest) / 86400000 FROM run_quintiles JOIN runs ON id = run_id WHERE run_id = 25 AND dimension = 'r' AND quintile = 4)",
    );
    let caption = shop.get("/").text(".o2 .cap");
    assert_eq!(caption.contains("the hour parts rows that meet on a day"), meeting == 1, "{caption}");
    shop.execute("UPDATE runs SET ties = 'split' WHERE id = 25");
    assert!(shop.get("/").text(".o2 .cap").contains("Equal ones are parted by their id"));
}

#[test]
fn health_for_whatever_watches() {
    let shop = Shop::empty();
    assert_eq!(shop.get("/healthz").body, r#"{"status":"ok"}"#);
    let ready = shop.get("/readyz");
    assert_eq!((ready.status, ready.body.as_str()), (StatusCode::OK, r#"{"status":"ready"}"#));

    let mut shop = shop;
    shop.asked.close();
    let answer = shop.get("/readyz");
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body.contains("scoring has stopped"), "{}", answer.body);
    let answer = shop.send(Method::POST, "/runs", &[("host", "localhost")]);
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text(".empty").contains("Restart quintile"));
}

#[test]
fn a_clock_that_is_not_believed_is_said_until_somebody_scores() {
    let shop = Shop::scored(30);
    assert_eq!((shop.get("/").texts(".notice").len(), shop.get("/readyz").status), (0, StatusCode::OK));
    for (days, reason) in [(26_000, "more than 400 days after the latest run"), (-26_010, "before the latest run")] {
        shop.pass(days * Timestamp::DAY);
        let notices = shop.get("/").texts(".notice");
        assert_eq!(notices.len(), 1);
        assert!(notices[0].contains("The clock is not believed") && notices[0].contains(reason), "{notices:?}");
        assert!(notices[0].contains("press Score now"), "{notices:?}");
        let fresh = shop.get("/runs").texts(".sub").join(" ");
        assert!(fresh.contains("No run starts by itself") && !fresh.contains("Next run"), "{fresh}");
        let ready = shop.get("/readyz");
        assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(ready.body.contains("clock_suspect") && ready.body.contains(reason), "{}", ready.body);
    }
}

#[test]
fn a_database_that_cannot_be_read_is_a_page_that_says_what_to_do() {
    let shop = Shop::scored(30);
    shop.execute("ALTER TABLE run_cells RENAME TO elsewhere");
    let page = shop.get("/");
    assert_eq!(page.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(page.text("h1"), "The page could not be made");
    assert!(page.text(".empty").contains("Nothing is lost") && page.text(".empty").contains("quintile check"));
    assert_eq!(page.header("cache-control"), "no-store");
    shop.execute("ALTER TABLE elsewhere RENAME TO run_cells");
}

#[test]
fn what_was_fetched_from_the_shop_stands_under_the_runs() {
    let shop = Shop::scored(30);
    assert_eq!(shop.get("/runs").texts(".syncs").len(), 0);
    shop.execute(
        "INSERT INTO syncs (trigger, mode, state, since, watermark, started_at, finished_at, orders_read, orders_new, orders_missed, error, remarks)
         VALUES ('scheduled', 'full', 'done', NULL, 1, 1795000000000, 1795000060000, 41000, 41000, NULL, NULL, 'order 99: <b>no price</b>'),
                ('manual', 'incremental', 'failed', 1795000000000, 2, 1795100000000, 1795100060000, 3, 1, 2, 'the shop is closed or paused', NULL)",
    );
    let page = shop.get("/runs");
    let rows = page.texts(".syncs tbody tr");
    assert_eq!(rows.len(), 2);
    assert!(rows[0].contains("Failed") && rows[0].contains("the shop is closed or paused"), "{rows:?}");
    assert!(rows[1].contains("Done") && rows[1].contains("everything") && rows[1].contains("41,000"), "{rows:?}");
    assert!(rows[1].contains("<b>no price</b>"), "shown as text: {rows:?}");
    assert_eq!(page.texts(".syncs tbody td:nth-child(8)"), ["2", "–"]);
    let notices = shop.get("/").texts(".notice");
    assert_eq!(notices.len(), 1);
    assert!(notices[0].contains("The shop could not be asked") && notices[0].contains("quintile sync"), "{notices:?}");
    shop.execute("UPDATE syncs SET state = 'done', error = NULL WHERE id = 2");
    assert_eq!(shop.get("/").texts(".notice").len(), 0);
}
