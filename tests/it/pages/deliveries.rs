//! Deliveries: the list, one of them, and what can be done with them.

mod decisions;
mod one;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode},
};
use quintile::config::Secret;

use crate::support::{
    folder::ONCE,
    pages::{Answer, NOW, Shop, send_request},
    receiver::SECRET,
};

/// The addresses of tools are secrets too.
const SECRET_PATH: &str = "s3cr3t-p4th-0123456789";

/// 3 waiting (klaviyo), 2 retrying, 4 held and 2 dead (brevo), all of the newest run; the rest delivered.
pub fn shop() -> Shop {
    let mut shop = Shop::scored(700);
    for destination in &mut shop.config.destination {
        destination.url = format!("https://hooks.example.com/catch/{SECRET_PATH}");
        destination.secret = Secret::new(SECRET);
    }
    shop.execute(
        "CREATE TEMP TABLE newest AS SELECT id, row_number() OVER (PARTITION BY destination ORDER BY id) AS nth, destination
           FROM deliveries WHERE run_id = (SELECT max(id) FROM runs);
         UPDATE deliveries SET state = 'waiting', finished_at = NULL, due_at = 0, attempts = 0, last_status = NULL
           WHERE id IN (SELECT id FROM newest WHERE destination = 'klaviyo' AND nth <= 3);
         UPDATE deliveries SET state = 'retrying', finished_at = NULL, due_at = 1795431840000, attempts = 2, last_status = 503,
             last_error = 'answered 503'
           WHERE id IN (SELECT id FROM newest WHERE destination = 'brevo' AND nth <= 2);
         UPDATE deliveries SET state = 'held', hold = 'run', finished_at = NULL, attempts = 0, last_status = NULL
           WHERE id IN (SELECT id FROM newest WHERE destination = 'brevo' AND nth BETWEEN 3 AND 6);
         UPDATE deliveries SET state = 'dead', attempts = 3, last_status = 422, last_error = 'refused the event (422)'
           WHERE id IN (SELECT id FROM newest WHERE destination = 'brevo' AND nth BETWEEN 7 AND 8);
         DROP TABLE newest;",
    );
    shop
}

/// A form as a browser sends it from our own page.
pub fn post(router: &Router, path: &str, fields: &[(&str, &str)]) -> Answer {
    post_from(router, path, fields, "same-origin")
}

pub fn post_from(router: &Router, path: &str, fields: &[(&str, &str)], site: &str) -> Answer {
    let body: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "127.0.0.1:8787")
        .header("sec-fetch-site", site)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body))
        .unwrap();
    send_request(router.clone(), request)
}

/// The ids in a list, as its links have them.
pub fn ids(page: &Answer) -> Vec<String> {
    let of = |href: String| href.trim_start_matches("/deliveries/").to_owned();
    page.attributes(".rows tbody th a", "href").into_iter().map(of).collect()
}

/// Every page of a list, one after the other.
fn all_ids(shop: &Shop, path: &str) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), Some(path.to_owned()));
    while let Some(path) = next {
        let page = shop.get(&path);
        assert_eq!(page.status, StatusCode::OK, "{path}");
        all.extend(ids(&page));
        next = page.attributes(".pages a[rel=next]", "href").into_iter().next();
        assert!(all.len() < 5_000, "the pages go round in circles");
    }
    all
}

fn csv(shop: &Shop, path: &str) -> Vec<csv::StringRecord> {
    let answer = shop.get(path);
    assert_eq!(answer.header("content-disposition"), "attachment; filename=\"deliveries.csv\"");
    csv::Reader::from_reader(answer.body.as_bytes()).records().map(Result::unwrap).collect()
}

#[test]
fn every_tab_counts_and_lists_its_deliveries() {
    let shop = shop();
    let delivered: i64 = shop.value("SELECT count(*) FROM deliveries WHERE state = 'delivered'");
    let page = shop.get("/deliveries?state=waiting");
    assert_eq!(
        page.texts(".tabs a"),
        ["Waiting 3", "Retrying 2", "Held 4", "Gave up 2", &format!("Delivered {delivered}"), "Not sent 0"]
    );
    for (state, rows, next, pill) in [
        ("waiting", 3, "at its turn", "Waiting"),
        ("retrying", 2, "in 4 min", "Retrying"),
        ("held", 4, "when you decide", "Held: unusual run"),
        ("dead", 2, "today at 02:00", "Gave up"),
        ("delivered", 50, "at 02:00", "Delivered"),
        ("discarded", 0, "", ""),
    ] {
        let page = shop.get(&format!("/deliveries?state={state}"));
        assert_eq!(page.attributes(".tabs a[aria-current]", "href"), [format!("/deliveries?state={state}")]);
        assert_eq!(page.texts(".rows tbody tr").len(), rows, "{state}");
        assert!(
            page.texts(".rows .when").iter().all(|text| text.ends_with(next)),
            "{state} {:?}",
            page.texts(".rows .when")
        );
        assert!(page.texts(".rows .pill").iter().all(|text| text == pill), "{state}");
        assert!(!page.text(".about").is_empty());
    }
    assert_eq!(shop.get("/deliveries?state=discarded").text(".empty h2"), "None here");
    // Without a word the page opens where somebody is needed.
    assert_eq!(shop.get("/deliveries").text(".tabs a[aria-current]"), "Gave up 2");
    // Of one destination too, with its filter.
    let of_klaviyo = shop.get("/deliveries?destination=klaviyo");
    assert_eq!((of_klaviyo.text(".tabs a[aria-current]"), ids(&of_klaviyo).len()), ("Waiting 3".to_owned(), 3));
    assert_eq!(csv(&shop, "/deliveries.csv?destination=klaviyo").len(), 3);
    let row = shop.get("/deliveries?state=dead").texts(".rows tbody tr td");
    assert!(row.contains(&"refused the event (422)".to_owned()) && row.contains(&"brevo".to_owned()), "{row:?}");
}

#[test]
fn a_page_without_deliveries_says_the_next_step() {
    let mut shop = Shop::empty();
    let page = shop.get("/deliveries");
    assert_eq!((page.status, page.text(".empty h2")), (StatusCode::OK, "Nothing to deliver yet".to_owned()));
    assert!(page.text(".empty").contains("first run"), "{}", page.text(".empty"));
    shop.config.destination.clear();
    assert!(shop.get("/deliveries").attributes(".empty a", "href").contains(&"/destinations".to_owned()));
    assert_eq!(csv(&shop, "/deliveries.csv").len(), 0);
    assert_eq!(shop.get("/deliveries/7").status, StatusCode::NOT_FOUND);
    assert_eq!(shop.get("/deliveries/x").text("h1"), "Not here");
}

#[test]
fn pages_come_one_after_the_other_without_gaps() {
    let shop = shop();
    let customer: i64 = shop.value("SELECT max(customer_id) FROM deliveries WHERE state = 'delivered'");
    let of_customer =
        (format!("state=delivered&customer={customer}"), format!("state = 'delivered' AND customer_id = {customer}"));
    for (query, sql) in [
        ("state=delivered", "state = 'delivered'"),
        ("state=delivered&destination=brevo", "state = 'delivered' AND destination = 'brevo'"),
        ("state=delivered&run=20", "state = 'delivered' AND run_id = 20"),
        (
            "state=delivered&run=20&destination=klaviyo",
            "state = 'delivered' AND run_id = 20 AND destination = 'klaviyo'",
        ),
        (
            "state=delivered&segment=lost",
            "state = 'delivered' AND (SELECT new_segment FROM outbox o WHERE o.seq = deliveries.seq) = 'lost'",
        ),
        (&of_customer.0, &of_customer.1),
        ("state=dead&run=25", "state = 'dead' AND run_id = 25"),
    ] {
        let wanted: i64 = shop.value(&format!("SELECT count(*) FROM deliveries WHERE {sql}"));
        assert!(wanted > 0, "{query} shows nothing");
        let listed = all_ids(&shop, &format!("/deliveries?{query}"));
        let unique: std::collections::BTreeSet<&String> = listed.iter().collect();
        assert_eq!((listed.len(), unique.len()), (usize::try_from(wanted).unwrap(), unique.len()), "{query}");
        let met: i64 =
            shop.value(&format!("SELECT count(*) FROM deliveries WHERE {sql} AND id IN ({})", listed.join(",")));
        assert_eq!(met, wanted, "{query}");
        let rows = csv(&shop, &format!("/deliveries.csv?{query}"));
        assert_eq!(
            rows.iter().map(|row| row[0].to_owned()).collect::<Vec<_>>(),
            listed,
            "{query}: the CSV is the list"
        );
    }
    for query in ["state=delivered&run=x", "state=delivered&customer=-7", "state=delivered&destination=nobody"] {
        let page = shop.get(&format!("/deliveries?{query}"));
        assert_eq!(page.text(".empty h2"), "No deliveries match", "{query}");
        assert_eq!(page.attributes(".empty a", "href"), ["/deliveries?state=delivered"]);
    }
}

#[test]
fn the_filter_stays_in_the_form_the_tabs_and_the_links() {
    let shop = shop();
    let page = shop.get("/deliveries?state=held&destination=brevo&segment=loyal&run=25");
    let chosen = page.attributes(".filters option[selected]", "value");
    assert_eq!(chosen, ["brevo", "loyal"]);
    assert_eq!(page.attributes(".filters input[name=run]", "value"), ["25"]);
    assert!(
        page.attributes(".tabs a", "href")
            .contains(&"/deliveries?state=dead&destination=brevo&run=25&segment=loyal".to_owned())
    );
    assert_eq!(
        page.attributes(".head .button", "href"),
        ["/deliveries.csv?state=held&destination=brevo&run=25&segment=loyal"]
    );
    // The receipt of a run leads to what needs somebody.
    let links = shop.get("/runs/25").attributes(".plain a", "href");
    assert!(links.contains(&"/deliveries?state=dead&destination=brevo&run=25".to_owned()), "{links:?}");
    // One that the configuration has no more can still be looked at.
    shop.execute("UPDATE deliveries SET destination = 'old & tool' WHERE state = 'waiting'");
    let page = shop.get("/deliveries?state=waiting&destination=old+%26+tool");
    assert_eq!(page.texts(".rows .when"), vec!["never: the configuration has no such destination"; 3]);
}

#[test]
fn a_batch_is_found_by_each_of_its_customers() {
    let shop = shop();
    shop.folder.except(&[ONCE]);
    let (first, second) = (
        shop.value::<i64>("SELECT min(seq) FROM outbox WHERE run_id = 25"),
        shop.value::<i64>("SELECT max(seq) FROM outbox WHERE run_id = 25"),
    );
    shop.write(move |tx| {
        let delivery: i64 = tx.query_row("SELECT max(id) + 10 FROM deliveries", [], |row| row.get(0))?;
        tx.execute(
            "INSERT INTO deliveries (id, message_id, destination, seq, run_id, state, events, due_at, created_at)
             VALUES (?1, randomblob(16), 'klaviyo', ?2, 25, 'waiting', 2, 0, ?3)",
            (delivery, second, NOW),
        )?;
        for (row, seq) in [(delivery - 1, first), (delivery, second)] {
            tx.execute(
                "INSERT INTO batched SELECT ?1, seq, customer_id, ?2 FROM outbox WHERE seq = ?3",
                (delivery, row, seq),
            )?;
        }
        Ok(())
    });
    let customer: i64 = shop.value(&format!("SELECT customer_id FROM outbox WHERE seq = {first}"));
    for query in [format!("customer={customer}"), format!("customer={customer}&run=25")] {
        let page = shop.get(&format!("/deliveries?state=waiting&{query}"));
        assert!(
            page.texts(".rows tbody th").contains(&"2 customerschanges of segment".to_owned()),
            "{query}: {:?}",
            page.texts(".rows tbody th")
        );
    }
    let id = ids(&shop.get("/deliveries?state=waiting"))[0].clone();
    let page = shop.get(&format!("/deliveries/{id}"));
    assert_eq!(page.attributes(".plain tbody th a", "href")[0], format!("/customers/{customer}"));
    assert_eq!(page.texts(".plain tbody tr").len(), 2);
}

#[test]
fn counts_and_walks_end_however_many_there_are() {
    let shop = shop();
    shop.folder.except(&[ONCE]);
    shop.execute(
        "WITH n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 10050)
         INSERT INTO deliveries (message_id, destination, seq, run_id, state, created_at, finished_at)
         SELECT randomblob(16), 'brevo', (SELECT min(seq) FROM outbox), NULL, 'delivered', 1795431600000, 1795431600000 FROM n",
    );
    let page = shop.get("/deliveries?state=delivered&destination=klaviyo");
    assert_eq!(page.texts(".tabs a")[4], "Delivered 10,000+");
    assert_eq!(page.text(".empty h2"), "Not found yet");
    assert_eq!(page.text(".pages a[rel=next]"), "Look at older ones");
    let older = shop.get(&page.attributes(".pages a[rel=next]", "href")[0]);
    assert_eq!(ids(&older).len(), 50);
    let wanted: i64 =
        shop.value("SELECT count(*) FROM deliveries WHERE state = 'delivered' AND destination = 'klaviyo'");
    let rows = csv(&shop, "/deliveries.csv?state=delivered&destination=klaviyo");
    assert_eq!(i64::try_from(rows.len()).unwrap(), wanted, "the CSV walks to the end");
}

#[test]
fn a_spreadsheet_runs_nothing_of_what_a_tool_said() {
    let shop = shop();
    shop.execute("UPDATE deliveries SET last_error = '=HYPERLINK(\"http://evil\")' || char(27) WHERE state = 'dead'");
    let rows = csv(&shop, "/deliveries.csv?state=dead");
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0][2], &rows[0][3], &rows[0][13]), ("brevo", "dead", "'=HYPERLINK(\"http://evil\")�"));
}
