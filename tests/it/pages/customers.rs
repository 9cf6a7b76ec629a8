//! The list, its CSV, and one customer.

use std::collections::HashSet;

use axum::http::StatusCode;

use crate::support::{
    folder::{ERASED, HISTORY, MERGED},
    pages::{Answer, NOW, Shop, ids as ids_of},
};

/// Follows "Next page" from `path` to the end; the ids in the order shown.
fn walk(shop: &Shop, path: &str) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let page = shop.get(&path);
        assert_eq!(page.status, StatusCode::OK, "{path}");
        let here = ids_of(&page);
        assert!(here.len() <= 50);
        ids.extend(here);
        next = page.attributes("a[rel=next]", "href").into_iter().next();
        assert!(ids.len() <= 20_000, "the walk does not end");
    }
    ids
}

fn ids_of_csv(csv: &Answer) -> Vec<i64> {
    csv::Reader::from_reader(csv.body.as_bytes()).records().map(|row| row.unwrap()[0].parse().unwrap()).collect()
}

fn query(shop: &Shop, sql: &str) -> Vec<i64> {
    let connection = shop.database.readers().get().unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let ids = statement.query_map([], |row| row.get(0)).unwrap();
    ids.collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn every_list_walks_over_everybody_exactly_once_and_equals_its_csv() {
    let shop = Shop::scored(730);
    let join = "FROM customers c LEFT JOIN scores s ON s.customer_id = c.id";
    for (address, sql) in [
        ("", format!("SELECT c.id {join} ORDER BY c.id DESC")),
        ("dir=asc", format!("SELECT c.id {join} ORDER BY c.id")),
        ("segment=at_risk", format!("SELECT c.id {join} WHERE segment = 'at_risk' ORDER BY c.id DESC")),
        ("segment=at_risk&dir=asc", format!("SELECT c.id {join} WHERE segment = 'at_risk' ORDER BY c.id")),
        ("f=1", format!("SELECT c.id {join} WHERE f = 1 ORDER BY c.id DESC")),
        ("r=5&f=1", format!("SELECT c.id {join} WHERE r = 5 AND f = 1 ORDER BY c.id DESC")),
        (
            "segment=potential&r=3",
            format!("SELECT c.id {join} WHERE segment = 'potential' AND r = 3 ORDER BY c.id DESC"),
        ),
        ("sort=spent", format!("SELECT c.id {join} ORDER BY c.total_spent DESC, c.id DESC")),
        (
            "sort=spent&dir=asc&segment=lost",
            format!("SELECT c.id {join} WHERE segment = 'lost' ORDER BY c.total_spent, c.id"),
        ),
        ("sort=orders&f=1", format!("SELECT c.id {join} WHERE f = 1 ORDER BY c.order_count DESC, c.id DESC")),
        ("sort=last", format!("SELECT c.id {join} ORDER BY coalesce(last_order_at, -1) DESC, c.id DESC")),
        ("sort=email", format!("SELECT c.id {join} ORDER BY email_key IS NULL, email_key, c.id")),
        ("sort=email&dir=desc", format!("SELECT c.id {join} ORDER BY email_key IS NULL, email_key DESC, c.id DESC")),
    ] {
        let expected = query(&shop, &sql);
        assert!(expected.len() > 3, "{address} shows hardly anybody");
        assert_eq!(walk(&shop, &format!("/customers?{address}")), expected, "{address}");
        assert_eq!(ids_of_csv(&shop.get(&format!("/customers.csv?{address}"))), expected, "{address} as CSV");
        let total = shop.get(&format!("/customers?{address}")).text(".sub");
        assert_eq!(total, format!("{} customers", expected.len()), "{address}");
    }
}

#[test]
fn a_page_shows_what_the_filter_says() {
    let shop = Shop::scored(600);
    let page = shop.get("/customers?segment=at_risk&r=2");
    assert_eq!(page.text("h1"), "Customers");
    assert_eq!(page.attributes("select[name=segment] option[selected]", "value"), ["at_risk"]);
    assert_eq!(page.attributes("select[name=r] option[selected]", "value"), ["2"]);
    assert!(page.texts(".rows .sg").iter().all(|segment| segment == "At risk"));
    assert!(
        page.texts(".rows tbody .rfm").iter().all(|scores| scores.starts_with('2')),
        "{:?}",
        page.texts(".rows .rfm")
    );
    assert_eq!(page.attributes(".head a.button", "href"), ["/customers.csv?segment=at_risk&r=2"]);
    let spent = page.attributes(".rows thead a", "href");
    assert!(spent.contains(&"/customers?segment=at_risk&r=2&sort=spent".to_owned()), "{spent:?}");
    let sorted = shop.get("/customers?segment=at_risk&r=2&sort=spent");
    assert_eq!(sorted.attributes("th[aria-sort]", "aria-sort"), ["descending"]);
    assert!(
        sorted
            .attributes(".rows thead a", "href")
            .contains(&"/customers?segment=at_risk&r=2&sort=spent&dir=asc".to_owned())
    );

    let nobody = shop.get("/customers?segment=lost&r=5");
    assert_eq!(
        (nobody.text(".empty h2"), nobody.text(".sub")),
        ("No customers match".to_owned(), "0 customers".to_owned())
    );
    assert_eq!(Shop::empty().get("/customers").text(".empty h2"), "Nobody here yet");
    // Customers without a score are there too.
    assert_eq!(ids_of(&Shop::with_customers(9).get("/customers")), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    // Whatever an address holds, it is a page.
    for odd in [
        "after=x",
        "after=v1",
        "after=t",
        "after=99999999999999999999",
        "q=%00",
        "q=%FF%FE",
        "sort=spent&after=t3.x",
        "&&&==&",
    ] {
        assert_eq!(shop.get(&format!("/customers?{odd}")).status, StatusCode::OK, "{odd}");
    }
}

#[test]
fn a_search_finds_by_email_name_and_id() {
    let shop = Shop::with_customers(600);
    shop.execute(
        "UPDATE customers SET first_name = 'Ada', last_name = 'Lovelace', email = 'Ada@Engine.example', email_key = 'ada@engine.example' WHERE id = 11;
         UPDATE customers SET first_name = 'LOVELL', last_name = 'ADAMS', email = NULL, email_key = NULL WHERE id = 22;
         UPDATE customers SET external_id = 'x-7' WHERE id = 33;
         UPDATE customers SET external_id = '44' WHERE id = 45;
         UPDATE customers SET first_name = 'Örjan' WHERE id = 50;",
    );
    let found = |text: &str| {
        let query: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
        ids_of(&shop.get(&format!("/customers?q={query}")))
    };
    assert_eq!(found("ada@engine.example"), [11]);
    assert_eq!(found("ADA@ENG"), [11], "the start of an e-mail in any case");
    assert_eq!(found("  ada@engine.example "), [11]);
    assert_eq!(found("ada"), [11, 22], "e-mails before names");
    assert_eq!(found("love"), [22, 11]);
    assert_eq!(found("ada lovelace"), [11]);
    assert_eq!(found("lovelace, ada"), [11]);
    assert_eq!(found("Lovelace A"), [11]);
    assert_eq!(found("örJ"), [50], "letters beyond ASCII in any case");
    assert_eq!(found("33"), [33]);
    assert_eq!(found("x-7"), [33]);
    assert_eq!(found("44"), [44, 45], "our id, then the shop's");
    assert_eq!(found("100%"), Vec::<i64>::new());
    assert_eq!(found("a_a"), Vec::<i64>::new(), "no wildcards");
    assert_eq!(found("nobody@nowhere"), Vec::<i64>::new());
}

#[test]
fn a_search_pages_over_each_hit_once() {
    let shop = Shop::scored(2100);
    // Annas by e-mail and, without one, by name; the customer with the id 1 as well.
    let expected: HashSet<i64> =
        query(&shop, "SELECT id FROM customers WHERE first_name = 'Anna' OR email_key LIKE 'anna%'")
            .into_iter()
            .collect();
    assert!(expected.len() > 120);
    for address in ["q=anna", "q=ANNA"] {
        let walked = walk(&shop, &format!("/customers?{address}"));
        assert_eq!(walked.len(), expected.len(), "somebody came twice or never");
        assert_eq!(walked.iter().copied().collect::<HashSet<_>>(), expected);
        assert_eq!(ids_of_csv(&shop.get(&format!("/customers.csv?{address}"))), walked);
    }
    let filtered = walk(&shop, "/customers?q=anna&f=1");
    let in_sql: HashSet<i64> = query(
        &shop,
        "SELECT id FROM customers JOIN scores ON customer_id = id WHERE (first_name = 'Anna' OR email_key LIKE 'anna%') AND f = 1",
    )
    .into_iter()
    .collect();
    assert!(in_sql.len() > 20);
    assert_eq!(filtered.len(), in_sql.len());
    assert_eq!(filtered.into_iter().collect::<HashSet<_>>(), in_sql);
}

#[test]
fn merged_and_deleted_customers_are_in_no_list() {
    let shop = Shop::scored(60);
    shop.folder.except(&[MERGED, ERASED]);
    shop.execute(
        "UPDATE customers SET merged_into = 8 WHERE id = 7; UPDATE customers SET deleted_at = 1 WHERE id = 9;
         UPDATE customers SET redacted_at = 1, email = NULL, email_key = NULL, first_name = NULL, last_name = NULL WHERE id = 10;",
    );
    for address in ["", "dir=asc", "sort=spent", "sort=email"] {
        let ids = walk(&shop, &format!("/customers?{address}"));
        assert_eq!(ids.len(), 58, "{address}");
        assert!(!ids.contains(&7) && !ids.contains(&9), "{address}");
    }
    let merged = shop.get("/customers/7");
    assert_eq!((merged.status, merged.location()), (StatusCode::SEE_OTHER, "/customers/8"));
    assert_eq!(shop.get("/customers/9").text(".notice"), "The shop deleted this customer.");
    let erased = shop.get("/customers/10");
    assert_eq!(erased.text("h1"), "Customer 10");
    assert_eq!(erased.text(".notice"), "This person's data was erased on request.");
}

#[test]
fn csv_is_for_spreadsheets_and_runs_nothing_there() {
    let shop = Shop::scored(60);
    shop.execute(
        "UPDATE customers SET first_name = '=HYPERLINK(\"http://evil.example\",\"x\")', last_name = '+1', email = '@sum', external_id = '-5' WHERE id = 3;
         UPDATE customers SET first_name = 'He said \"hi\", twice' WHERE id = 4;",
    );
    let csv = shop.get("/customers.csv");
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"customers.csv\"");
    let mut reader = csv::Reader::from_reader(csv.body.as_bytes());
    assert_eq!(
        reader.headers().unwrap().iter().collect::<Vec<_>>().join(","),
        "id,source,external_id,email,first_name,last_name,order_count,total_spent,avg_order_value,currency,first_order_at,last_order_at,r,f,m,segment,previous_segment,segment_since"
    );
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 60);
    let row = |id: &str| rows.iter().find(|row| &row[0] == id).unwrap().clone();
    assert_eq!(&row("3")[4], "'=HYPERLINK(\"http://evil.example\",\"x\")");
    assert_eq!((&row("3")[5], &row("3")[3], &row("3")[2]), ("'+1", "'@sum", "'-5"));
    assert_eq!(&row("4")[4], "He said \"hi\", twice");
    let spent: i64 = shop.value("SELECT total_spent FROM customers WHERE id = 5");
    assert_eq!(row("5")[7], format!("{}.{:02}", spent / 100, spent % 100));
    assert!(row("5")[11].ends_with('Z') && row("5")[12].parse::<u8>().is_ok());
    // Nobody at customer 40 ever bought: no score, no time, but a row.
    assert_eq!((&row("40")[6], &row("40")[11], &row("40")[12], &row("40")[15]), ("0", "", "", ""));
}

#[test]
fn hostile_names_are_text_on_every_page() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let shop = Shop::scored(60);
    shop.write(|tx| {
        tx.execute(
            "UPDATE customers SET first_name = ?1, last_name = ?1, email = ?1, email_key = ?1, phone = ?1, tags = ?1, consent = ?1, external_id = ?1 WHERE id = 3",
            [EVIL],
        )?;
        tx.execute("UPDATE orders SET name = ?1 WHERE customer_id = 3", [EVIL])?;
        tx.execute("INSERT INTO segments (name) VALUES (?1)", [EVIL])?;
        tx.execute("UPDATE customer_scores SET segment_id = ?1, previous_segment_id = ?1 WHERE customer_id = 3", [tx.last_insert_rowid()])?;
        tx.execute("UPDATE history SET segment = ?1, moved = 1 WHERE customer_id = 3", [EVIL])?;
        tx.execute("UPDATE runs SET error = ?1, state = 'failed' WHERE id = 25", [EVIL])?;
        tx.execute("UPDATE run_segments SET segment = ?1 WHERE segment = 'lost'", [EVIL])?;
        tx.execute("UPDATE run_moves SET new = ?1 WHERE new = 'lost'", [EVIL])?;
        tx.execute("UPDATE deliveries SET last_error = ?1, state = 'dead', destination = ?1 WHERE id % 3 = 0", [EVIL]).map(drop)
    });
    let evil: String = form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    for path in [
        "/".to_owned(),
        "/customers".to_owned(),
        "/customers/3".to_owned(),
        "/runs".to_owned(),
        "/runs/25".to_owned(),
        format!("/customers?q={evil}"),
        format!("/customers?segment={evil}"),
        format!("/customers?q=a&after=t1.{evil}"),
        format!("/{evil}"),
        format!("/customers/{evil}"),
    ] {
        let page = shop.get(&path);
        assert_eq!(page.texts("script, img, [onerror]").len(), 0, "{path}");
        assert!(!page.body.contains("<script"), "{path}");
        for href in page.attributes("a", "href") {
            assert!(href.starts_with('/') || href.starts_with('#'), "{path} links to {href}");
        }
    }
    assert!(shop.get("/customers/3").text("h1").contains("<script>alert(1)</script>"));
    assert_eq!(ids_of(&shop.get(&format!("/customers?q={evil}"))), [3]);
    assert!(ids_of(&shop.get(&format!("/customers?segment={evil}"))).contains(&3));
}

#[test]
fn one_customer_is_explained() {
    let shop = Shop::scored(600);
    shop.folder.except(&[HISTORY]);
    shop.write(|tx| {
        tx.execute_batch(
            "UPDATE customers SET first_name = 'Ada', last_name = 'Lovelace', email = 'ada@engine.example', external_id = '7001', phone = '+44 20',
               order_count = 3, total_spent = 12000, avg_order_value = 4000 WHERE id = 11;
             UPDATE customer_scores SET r = 3, f = 3, m = 4, segment_id = (SELECT id FROM segments WHERE name = 'loyal'), previous_segment_id = (SELECT id FROM segments WHERE name = 'at_risk'),
               segment_run = 25 WHERE customer_id = 11;
             DELETE FROM run_quintiles WHERE run_id = 25;
             INSERT INTO run_quintiles VALUES (25, 'f', 1, 200, 1, 1), (25, 'f', 3, 200, 2, 3), (25, 'f', 4, 100, 4, 5), (25, 'f', 5, 100, 6, 30),
               (25, 'm', 1, 120, 100, 900), (25, 'm', 2, 120, 901, 4000), (25, 'm', 3, 120, 4001, 9000), (25, 'm', 4, 120, 9001, 15710), (25, 'm', 5, 120, 15711, 99900);",
        )?;
        for (quintile, from, to) in [(1, 800, 400), (2, 399, 200), (3, 199, 60), (4, 59, 20), (5, 19, 0)] {
            tx.execute(
                "INSERT INTO run_quintiles VALUES (25, 'r', ?1, 120, ?2, ?3)",
                (quintile, NOW - from * 86_400_000, NOW - to * 86_400_000 - 3_600_000),
            )?;
        }
        tx.execute("UPDATE customers SET last_order_at = ?1 WHERE id = 11", [NOW - 72 * 86_400_000]).map(drop)
    });
    let page = shop.get("/customers/11");
    assert_eq!(page.text("h1"), "Ada Lovelace");
    assert_eq!(page.text(".sub"), "Loyal since 23 Nov 2026, before that At risk.");
    let scores = page.texts(".kpi div");
    assert_eq!(
        scores,
        [
            "RecencyR3 of 5middle 20 %, bought 72 days agoan order now → 5",
            "FrequencyF3 of 5middle 33 %, 3 ordersone more order → 4",
            "MonetaryM4 of 5top 40 %, €120.00 spent€37.11 more → 5",
        ]
    );
    assert_eq!(page.text(".notice"), "One more order of the usual €40.00 would give R5 F4 M5: Champions.");
    let facts = page.text(".facts");
    for fact in [
        "Orders3",
        "Spent, net of refunds€120.00",
        "Id in the shop7001 (Shopify)",
        "Phone+44 20",
        "E-mailada@engine.example",
    ] {
        assert!(facts.contains(fact), "{fact} in {facts}");
    }
}

#[test]
fn a_next_order_is_recommended_only_when_it_leads_up() {
    let shop = Shop::scored(600);
    let (mut up, mut silent) = (0, Vec::new());
    for id in query(&shop, "SELECT customer_id FROM scores ORDER BY customer_id DESC LIMIT 60") {
        let page = shop.get(&format!("/customers/{id}"));
        let rank = |label: &str| {
            let best_first = ["Champions", "Loyal", "New", "Potential", "At risk", "Hibernating", "Lost"];
            best_first.iter().position(|known| label.starts_with(known)).unwrap_or_else(|| panic!("{label}"))
        };
        match page.texts(".notice").first() {
            Some(text) => {
                let then = text.trim_end_matches('.').rsplit(": ").next().unwrap();
                assert!(rank(then) < rank(&page.text(".tag")), "{text} for {}", page.text(".tag"));
                up += 1;
            }
            None => silent.push(page.texts(".tag").concat()),
        }
    }
    // A second order makes somebody new merely potential.
    assert!(up > 5 && silent.iter().any(|label| label == "New"), "{up} up, silent for {silent:?}");
}

#[test]
fn the_top_has_no_way_up_and_the_unscored_say_why() {
    let shop = Shop::scored(600);
    let best: i64 = shop.value("SELECT customer_id FROM scores WHERE r = 5 AND f = 5 AND m = 5 LIMIT 1");
    let page = shop.get(&format!("/customers/{best}"));
    assert_eq!(page.texts(".kpi .next").len(), 0);
    let unscored = shop.get("/customers/40");
    assert_eq!(unscored.text(".sub"), "Not scored: there is no counted order.");
    assert_eq!(Shop::with_customers(5).get("/customers/1").text(".sub"), "Not scored yet: no run has been made.");
    for path in ["/customers/99999", "/customers/0", "/customers/x", "/customers/-1", "/customers/99999999999999999999"]
    {
        let missing = shop.get(path);
        assert_eq!(missing.status, StatusCode::NOT_FOUND, "{path}");
        assert!(missing.text(".empty").contains("no such customer"), "{path}");
    }
}

#[test]
fn the_timeline_tells_orders_changes_and_deliveries_newest_first() {
    let shop = Shop::scored(600);
    let id: i64 = shop
        .value("SELECT customer_id FROM history WHERE run_id = 25 AND moved = 1 ORDER BY customer_id LIMIT 1 OFFSET 3");
    let seq: i64 = shop.value(&format!("SELECT seq FROM outbox WHERE run_id = 25 AND customer_id = {id}"));
    let event: [u8; 16] = shop.value(&format!("SELECT event_id FROM outbox WHERE seq = {seq}"));
    shop.write(move |tx| {
        tx.execute(
            "UPDATE deliveries SET state = 'retrying', attempts = 3, last_error = 'timed out', finished_at = NULL, due_at = ?2 WHERE seq = ?1 AND destination = 'brevo'",
            (seq, NOW + 240_000),
        )
        .map(drop)
    });
    let page = shop.get(&format!("/customers/{id}"));
    let entries = page.texts(".time li");
    let change = entries.iter().find(|entry| entry.contains("23 Nov 2026, 02:00")).unwrap();
    assert!(change.contains(" → "), "{change}");
    assert!(change.contains(&format!("because others moved · {}", quintile::outbox::evt_id(&event))), "{change}");
    assert!(change.contains("Delivered klaviyo, 23 Nov 2026, 02:00"), "{change}");
    assert!(change.contains("Retrying brevo, next in 4 min, 3 tries, timed out"), "{change}");
    let times = page.attributes(".time time", "datetime");
    assert!(times.is_sorted_by(|a, b| a >= b), "{times:?}");
    let orders: i64 = shop.value(&format!("SELECT count(*) FROM orders WHERE customer_id = {id}"));
    let shown = page.texts(".time b").iter().filter(|title| title.starts_with("Order #")).count();
    assert_eq!(i64::try_from(shown).unwrap(), orders);
    assert!(entries.last().unwrap().contains("first segment") || orders > 0);
}

#[test]
fn orders_that_do_not_count_say_why() {
    let shop = Shop::with_customers(3);
    shop.write(|tx| {
        tx.execute("DELETE FROM orders", [])?;
        for (number, status, test, gross, refunded, net) in [
            (1, "paid", 0, 5000, 0, 5000),
            (2, "partially_refunded", 0, 5000, 1500, 3500),
            (3, "refunded", 0, 5000, 5000, 0),
            (4, "paid", 1, 5000, 0, 0),
            (5, "pending", 0, 5000, 0, 0),
        ] {
            tx.execute(
                "INSERT INTO orders (source, source_id, customer_id, name, status, is_test, currency, gross, refunded, net, counted, ordered_at, origin, received_at)
                 VALUES ('shopify', ?1, 1, '#' || ?1, ?2, ?3, 'EUR', ?4, ?5, ?6, ?6 > 0, ?7 + ?1, 'webhook', 0)",
                (number, status, test, gross, refunded, net, NOW - 86_400_000),
            )?;
        }
        Ok(())
    });
    let details = shop.get("/customers/1").texts(".time .mut");
    assert_eq!(
        details,
        [
            "€0.00 · placed at €50.00 · does not count: not paid yet",
            "€0.00 · placed at €50.00 · does not count: a test order",
            "€0.00 · placed at €50.00 · €50.00 refunded · does not count: refunded",
            "€35.00 · placed at €50.00 · €15.00 refunded",
            "€50.00",
        ]
    );
}

/// Everything the timeline of customer 1 lists, when their orders lie at these days before now.
fn timeline_of(days: Vec<i64>) -> Vec<String> {
    let shop = Shop::scored(2);
    shop.write(move |tx| {
        tx.execute("DELETE FROM orders", [])?;
        for (number, day) in days.into_iter().enumerate() {
            tx.execute(
                "INSERT INTO orders (source, source_id, customer_id, name, status, currency, gross, net, counted, ordered_at, origin, received_at)
                 VALUES ('shopify', ?1, 1, '#' || ?1, 'paid', 'EUR', 100, 100, 1, ?2, 'webhook', 0)",
                (i64::try_from(number).unwrap(), NOW - 36_000_000 - day * 86_400_000),
            )?;
        }
        Ok(())
    });
    let mut titles = Vec::new();
    let mut next = Some("/customers/1".to_owned());
    while let Some(path) = next {
        let page = shop.get(&path);
        let here = page.texts(".time b");
        assert!((1..=50).contains(&here.len()), "{path} lists {}", here.len());
        titles.extend(here);
        next = page.attributes("a[rel=next]", "href").into_iter().next();
    }
    titles
}

#[test]
fn a_long_timeline_is_paged_without_losing_an_entry() {
    for (what, days) in [
        ("pairs", (0..173).map(|number| number / 2).collect()),
        ("three on one date at the end of a page", (0..57).map(|number| number - (number - 48).clamp(0, 2)).collect()),
        ("all on one date", vec![3; 60]),
        ("all at the instant of a run that changed the customer", vec![13; 160]),
        ("exactly one page", (0..49).collect()),
    ] as [(&str, Vec<i64>); 5]
    {
        let orders = days.len();
        let titles = timeline_of(days);
        let shown: HashSet<&String> = titles.iter().filter(|title| title.starts_with("Order #")).collect();
        assert_eq!(shown.len(), orders, "{what}: an order is never listed");
        assert_eq!(titles.iter().filter(|title| title.contains("first segment")).count(), 1, "{what}");
        let changes = titles.iter().filter(|title| !title.starts_with("Order #")).count();
        assert_eq!(titles.len(), orders + changes, "{what}: an entry is listed twice");
    }
}

/// The timeline finds an event by halving a run's events, which needs them in customer order.
#[test]
fn real_runs_write_their_events_in_customer_order() {
    let shop = crate::support::scored_shop::Shop::forty();
    shop.score();
    for customer in ["c03", "c31", "c17"] {
        shop.order(customer, 90_000);
    }
    shop.wait(86_400_000);
    shop.score();
    let connection = shop.outside();
    let ordered: bool = connection
        .query_row(
            "SELECT min(customer_id > coalesce(before, 0)) FROM
               (SELECT customer_id, lag(customer_id) OVER (PARTITION BY run_id ORDER BY seq) AS before FROM outbox)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let runs: i64 = connection.query_row("SELECT count(DISTINCT run_id) FROM outbox", [], |row| row.get(0)).unwrap();
    assert!(ordered && runs == 2, "{runs} runs");
}

#[test]
fn events_that_are_no_change_of_segment_stand_in_the_timeline_too() {
    let shop = Shop::scored(300);
    shop.write(|tx| {
        tx.execute_batch(
            "INSERT INTO outbox (event_id, type, customer_id, at) SELECT randomblob(16), 'customer/first_order', 58, first_order_at + 1 FROM customers WHERE id = 58;
             INSERT INTO deliveries (message_id, destination, seq, customer_id, state, attempts, created_at, finished_at)
               SELECT randomblob(16), 'brevo', max(seq), 58, 'delivered', 1, 0, 1 FROM outbox;
             UPDATE runs SET first_seq = coalesce(first_seq, (SELECT max(seq) + 1 FROM outbox)) WHERE id = (SELECT max(id) FROM runs);
             INSERT INTO outbox (event_id, type, customer_id, run_id, at, lapsed_days)
               SELECT randomblob(16), 'customer/lapsed', c.id, r.id, r.as_of, 90 FROM runs r, customers c
               WHERE r.id = (SELECT max(id) FROM runs) AND c.id IN (11, 58, 90) ORDER BY c.id;",
        )?;
        // In a run of its own, whose other events are elsewhere.
        tx.execute_batch(
            "UPDATE runs SET changed = 0, first_seq = (SELECT max(seq) - 2 FROM outbox), last_seq = (SELECT max(seq) FROM outbox)
             WHERE id = (SELECT max(id) FROM runs);",
        )
    });
    let page = shop.get("/customers/58");
    let entries = page.texts(".time li.event");
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert!(entries[0].starts_with("No order for 90 days 23 Nov 2026"), "{entries:?}");
    assert!(entries[1].starts_with("First order "), "{entries:?}");
    assert!(entries[1].contains("evt_") && entries[1].contains("Delivered brevo"), "{entries:?}");
    assert_eq!(shop.get("/customers/59").texts(".time li.event").len(), 0);
}

#[test]
fn a_search_among_those_who_share_an_email_asks_of_each_hit_alone() {
    let shop = Shop::with_customers(12_000);
    let took = |path: &str| {
        let started = std::time::Instant::now();
        assert_eq!(shop.get(path).status, StatusCode::OK);
        started.elapsed()
    };
    took("/customers?q=a&same_email=1");
    // Beside the same search without it: before, each hit took as long as a look at all e-mails.
    let (with, without) = (took("/customers?q=a&same_email=1"), took("/customers?q=a"));
    assert!(with < without * 20 + std::time::Duration::from_millis(200), "{with:?} beside {without:?}");
}
