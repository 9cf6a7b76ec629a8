//! Lists over small tables, and those of the configuration.

use axum::http::StatusCode;

use crate::{
    pages::deliveries::post,
    support::{
        folder::{HISTORY, TURN},
        pages::{Answer, NOW, Shop, number},
    },
};

/// The first cell of each row over all pages, as the list and as its file show it.
fn walk(shop: &Shop, path: &str, query: &str, cell: &str, column: &str) -> [Vec<String>; 2] {
    let (mut walked, mut next) = (Vec::new(), Some(format!("{path}?{query}")));
    while let Some(address) = next {
        let page = shop.get(&address);
        assert_eq!(page.status, StatusCode::OK, "{address}");
        let here = page.texts(cell);
        assert!(here.len() <= 50, "{address}");
        walked.extend(here);
        next = page.attributes("a[rel=next]", "href").into_iter().next();
    }
    let csv = shop.get(&format!("{path}.csv?{query}"));
    [walked, values(&csv, column)]
}

/// A column of a file.
fn values(csv: &Answer, column: &str) -> Vec<String> {
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    let mut reader = csv::Reader::from_reader(csv.body.as_bytes());
    let place = reader.headers().unwrap().iter().position(|head| head == column).unwrap();
    reader.records().map(|row| row.unwrap()[place].to_owned()).collect()
}

fn texts(shop: &Shop, sql: &str) -> Vec<String> {
    let connection = shop.database.readers().get().unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

#[test]
fn runs_are_filtered_and_sorted() {
    let shop = Shop::scored(300);
    shop.write(|tx| {
        tx.execute_batch(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 70)
             INSERT INTO runs (trigger, state, as_of, started_at, scored_at, ties, window_days, rules, scored, changed, score_ms, error)
             SELECT iif(i % 3 = 0, 'catch_up', 'manual'), iif(i % 5 = 0, 'failed', 'done'), 1790000000000 - i * 977, 1790000000000,
               iif(i % 5 = 0, NULL, 1), 'together', 0, 'x', i * 37 % 50, i % 4, iif(i % 7 = 0, NULL, i * 13 % 90), iif(i % 5 = 0, '=no', NULL) FROM n;
             INSERT INTO run_moves SELECT id, 'lost', 'loyal', id % 6 + 1 FROM runs WHERE id > 30 AND changed > 0;
             INSERT INTO run_moves SELECT id, '', 'new', id % 5 + 1 FROM runs WHERE id > 30 AND changed > 1;
             INSERT INTO run_moves SELECT id, 'lost', '', id % 4 + 1 FROM runs WHERE id > 30 AND changed > 2;",
        )
    });
    let sum =
        |which: &str| format!("(SELECT coalesce(sum(customers), 0) FROM run_moves WHERE run_id = runs.id AND {which})");
    let orders = [
        ("", "id DESC".to_owned()),
        ("dir=asc", "id".to_owned()),
        ("sort=as_of", "as_of DESC, id DESC".to_owned()),
        ("sort=scored", "iif(scored_at IS NULL, -1, scored) DESC, id DESC".to_owned()),
        ("sort=moved", format!("{} DESC, id DESC", sum("old <> '' AND new <> ''"))),
        ("sort=new&dir=asc", format!("{}, id", sum("old = ''"))),
        ("sort=left", format!("{} DESC, id DESC", sum("new = ''"))),
        ("sort=took", "coalesce(score_ms + coalesce(emit_ms, 0), -1) DESC, id DESC".to_owned()),
    ];
    for (filter, which) in [
        ("", "TRUE"),
        ("trigger=manual", "trigger = 'manual'"),
        ("trigger=catch_up&failed=1", "trigger = 'catch_up' AND state = 'failed'"),
        ("changed=1", "changed > 0"),
    ] {
        for (order, sql) in &orders {
            let query = [filter, order].join("&");
            let expected = texts(&shop, &format!("SELECT CAST(id AS TEXT) FROM runs WHERE {which} ORDER BY {sql}"));
            assert!(expected.len() > 3, "{query}");
            let [walked, file] = walk(&shop, "/runs", query.trim_matches('&'), ".runs tbody th", "id");
            assert_eq!(walked, expected, "{query}");
            assert_eq!(file, expected, "{query} as CSV");
        }
    }
    let page = shop.get("/runs?trigger=manual&changed=1&sort=moved");
    assert_eq!(page.attributes("option[selected]", "value"), ["manual"]);
    assert_eq!(page.attributes("input[checked]", "name"), ["changed"]);
    assert_eq!(page.attributes("form[role=search] input[type=hidden]", "value"), ["moved"]);
    assert_eq!(page.attributes("th[aria-sort]", "aria-sort"), ["descending"]);
    assert_eq!(page.attributes(".by a", "href"), ["/runs?trigger=manual&changed=1"]);
    let hrefs = page.attributes("th a.sort", "href");
    assert!(hrefs.contains(&"/runs?trigger=manual&changed=1&sort=moved&dir=asc".to_owned()), "{hrefs:?}");
    assert_eq!(page.attributes(".head a.button", "href"), ["/runs.csv?trigger=manual&changed=1&sort=moved"]);
    assert!(page.texts(".runs tbody td:nth-child(4)").iter().all(|trigger| trigger == "By hand"));

    assert_eq!(shop.get("/runs?trigger=backfill&failed=1").text(".empty h2"), "No runs match");
    assert_eq!(shop.get("/runs?after=1").text(".empty h2"), "No runs further back");
    for odd in ["after=x", "sort=size&dir=up", "failed=maybe", "after=99999&sort=moved"] {
        assert_eq!(shop.get(&format!("/runs?{odd}")).status, StatusCode::OK, "{odd}");
    }
}

#[test]
fn segments_are_sorted_and_the_flow_stays() {
    let shop = Shop::scored(600);
    shop.execute("UPDATE run_segments SET customers = customers + 2 * rank WHERE run_id = 24");
    let names = |query: &str| walk(&shop, "/segments", query, ".seg tbody th a", "segment");
    let sql = "SELECT n.segment FROM run_segments n JOIN run_segments o ON o.run_id = 24 AND o.segment = n.segment WHERE n.run_id = 25 ORDER BY";
    for (query, order) in [
        ("", "n.rank"),
        ("dir=desc", "n.rank DESC"),
        ("sort=customers", "n.customers DESC, n.rank"),
        ("sort=revenue&dir=asc", "n.revenue, n.rank"),
        ("sort=spent", "n.revenue / n.customers DESC, n.rank"),
        ("sort=change", "n.customers - o.customers DESC, n.rank"),
    ] {
        let expected = texts(&shop, &format!("{sql} {order}"));
        let [shown, file] = names(query);
        let labels: Vec<String> =
            shown.iter().map(|label| label.to_lowercase().replace(' ', "_").replace("champions", "champion")).collect();
        assert_eq!(labels, expected, "{query}");
        assert_eq!(file, expected, "{query} as CSV");
    }
    let page = shop.get("/segments?from=12&to=25&unchanged=1&sort=spent");
    let hrefs = page.attributes("th a.sort", "href");
    assert!(hrefs.contains(&"/segments?from=12&to=25&unchanged=1&sort=spent&dir=asc".to_owned()), "{hrefs:?}");
    assert_eq!(page.attributes("form[action='/segments#flow'] input[type=hidden]", "value"), ["spent"]);
    assert_eq!(page.attributes(".head a.button", "href"), ["/segments.csv?sort=spent"]);
    // Every value has its name beside it where there are no columns.
    let first = page.attributes(".seg tbody tr:first-child td[data-label]", "data-label");
    assert_eq!(first, ["Customers", "Share", "Revenue", "Of revenue", "Spent each", "Change", "12 weeks"]);
}

#[test]
fn a_segment_before_the_first_run_says_what_to_do() {
    let page = Shop::with_customers(30).get("/segments/champion");
    let card = page.text("[aria-labelledby=t-cust]");
    assert!(
        card.contains("Nothing was scored yet.") && card.contains("bring in orders") && card.contains("Score now"),
        "{card}"
    );
    assert_eq!(page.attributes("[aria-labelledby=t-cust] a", "href"), ["/import", "/"]);
    let shop = Shop::scored(60);
    shop.folder.except(&[HISTORY]);
    shop.execute("UPDATE customer_scores SET segment_id = (SELECT id FROM segments WHERE name = 'lost')");
    assert_eq!(
        shop.get("/segments/champion").text("[aria-labelledby=t-cust] p"),
        "Nobody is in this segment now. All segments"
    );
}

#[test]
fn destinations_are_sorted() {
    let shop = Shop::scored(300);
    shop.folder.except(&[TURN]);
    shop.execute(
        "INSERT INTO destinations (name, state, reason, since, failures) VALUES ('brevo', 'failing', 'refused', 1795420800000, 5);
         UPDATE deliveries SET state = 'waiting', finished_at = NULL WHERE destination = 'brevo' AND id % 2 = 0;
         UPDATE deliveries SET finished_at = created_at + 9000 WHERE destination = 'brevo' AND state = 'delivered';",
    );
    for (query, expected) in [
        ("", ["klaviyo", "brevo"]),
        ("dir=desc", ["brevo", "klaviyo"]),
        ("sort=name", ["brevo", "klaviyo"]),
        ("sort=health", ["brevo", "klaviyo"]),
        ("sort=health&dir=desc", ["klaviyo", "brevo"]),
        ("sort=queue", ["brevo", "klaviyo"]),
        ("sort=latency", ["brevo", "klaviyo"]),
        ("sort=latency&dir=asc", ["klaviyo", "brevo"]),
        ("sort=size", ["klaviyo", "brevo"]),
    ] {
        let [cards, file] = walk(&shop, "/destinations", query, ".dst h2", "name");
        assert_eq!(
            (cards, file),
            (expected.map(str::to_owned).to_vec(), expected.map(str::to_owned).to_vec()),
            "{query}"
        );
    }
    let page = shop.get("/destinations?sort=queue");
    assert_eq!(page.text("nav.turns [aria-current]"), "Queue, the longest first");
    assert_eq!(
        page.attributes("nav.turns a[href]", "href"),
        ["/destinations", "/destinations?sort=name", "/destinations?sort=health", "/destinations?sort=latency"]
    );
    // Buttons go to the same place of the configuration, wherever the card stands, and keep the order.
    assert_eq!(page.attributes(".dst", "id"), ["d2", "d1"]);
    let forms = page.attributes(".dst form", "action");
    assert!(forms.len() > 3 && forms.iter().all(|form| form.ends_with("?sort=queue")), "{forms:?}");
    let pressed = post(&shop.router(), "/destinations/klaviyo/pause?sort=queue&ailing=1", &[]);
    assert_eq!(pressed.header("location"), "/destinations?sort=queue#d1");
    shop.execute("DELETE FROM destinations WHERE name = 'klaviyo'");

    let [cards, file] = walk(&shop, "/destinations", "ailing=1&sort=name", ".dst h2", "name");
    assert_eq!((cards, file), (vec!["brevo".to_owned()], vec!["brevo".to_owned()]));
    let page = shop.get("/destinations?ailing=1&sort=name");
    assert_eq!(page.texts(".turns [aria-current]"), ["Those that need a look", "Name"]);
    assert_eq!(page.attributes("p.turns a", "href"), ["/destinations?sort=name"]);
    assert_eq!(page.attributes("nav.turns a[href]", "href")[0], "/destinations?ailing=1");
    shop.execute("DELETE FROM destinations");
    let well = shop.get("/destinations?ailing=1");
    assert_eq!((well.text(".empty h2"), well.texts(".dst").len()), ("All is well".to_owned(), 0));
}

#[test]
fn imported_files_are_paged_sorted_and_saved() {
    let shop = Shop::empty();
    assert_eq!(shop.get("/import").texts("#files").len(), 0);
    shop.execute(
        r#"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 120)
           INSERT INTO imports (file_name, state, size, format, created_at, finished_at)
           SELECT printf('%s%d.csv', iif(i % 2 = 0, 'A', 'b'), i * 7 % 60), iif(i % 7 = 1, 'ready', iif(i % 3 = 0, 'failed', 'done')), i * 31 % 40, 'orders', 1795000000000 + i, 1795000009000 FROM n;
           UPDATE imports SET file_name = '=1+1.csv', report = '{"rows":9,"orders":{"new":4,"updated":2,"unchanged":1,"rejected":2},"customers":{"new":3,"updated":1},"of_customers":false,"rounded":0,"rejections":[],"has_rejected_file":false}'
           WHERE id = 120;"#,
    );
    for (query, order) in [
        ("", "id DESC"),
        ("dir=asc", "id"),
        ("sort=file", "lower(file_name), id"),
        // As they are called: Failed, Imported, Waits for you.
        ("sort=state&dir=desc", "CASE state WHEN 'failed' THEN 1 WHEN 'done' THEN 2 ELSE 3 END DESC, id DESC"),
        ("sort=size", "size DESC, id DESC"),
        ("state=ready&sort=file&dir=desc", "state = 'ready' DESC, lower(file_name) DESC, id DESC LIMIT 18"),
    ] {
        let expected = texts(&shop, &format!("SELECT CAST(id AS TEXT) FROM imports ORDER BY {order}"));
        let (mut walked, mut next) = (Vec::new(), Some(format!("/import?{query}")));
        while let Some(address) = next {
            let page = shop.get(&address);
            let hrefs = page.attributes("#files tbody th a", "href");
            assert!((1..=50).contains(&hrefs.len()), "{address}");
            walked.extend(hrefs.into_iter().map(|href| href.strip_prefix("/import/").unwrap().to_owned()));
            next = page.attributes("a[rel=next]", "href").into_iter().next();
        }
        assert_eq!(walked, expected, "{query}");
        assert_eq!(values(&shop.get(&format!("/import.csv?{query}")), "id"), expected, "{query} as CSV");
    }
    let csv = shop.get("/import.csv");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"imports.csv\"");
    let newest: Vec<&str> = csv.body.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(newest[..3], ["120", "'=1+1.csv", "ready"]);
    assert_eq!(newest[8..], ["9", "4", "2", "1", "3", "1", "0", "2"]);
    let page = shop.get("/import?sort=size");
    assert_eq!(page.attributes("#files .ch a", "href"), ["/import.csv?sort=size"]);
    assert_eq!(page.attributes("th[aria-sort]", "aria-sort"), ["descending"]);
    assert_eq!(page.texts("#files option[selected]").len(), 0);
    assert_eq!(shop.get("/import?state=ready").texts("#files option[selected]"), ["Waits for you"]);
    assert_eq!(shop.get("/import?state=busy").status, StatusCode::BAD_REQUEST);
    assert_eq!(
        shop.get("/import?state=refused").text("#files p:not(.cap)"),
        "No file is in this state. Show all, the newest first"
    );
    assert_eq!(shop.get("/import?after=1").text("#files p:not(.cap)"), "No more files. Show all, the newest first");
    // The last row of a page may be gone when the next one is asked for.
    let page = shop.get("/import?sort=file");
    let next = page.attributes("a[rel=next]", "href").remove(0);
    let there = shop.get(&next).attributes("#files tbody th a", "href");
    let last = page.attributes("#files tbody th a", "href").pop().unwrap();
    let id: i64 = last.strip_prefix("/import/").unwrap().parse().unwrap();
    shop.write(move |tx| tx.execute("DELETE FROM imports WHERE id = ?1", [id]).map(drop));
    assert_eq!(shop.get(&next).attributes("#files tbody th a", "href"), there);
}

#[test]
fn what_was_fetched_is_paged_filtered_sorted_and_saved() {
    let mut shop = Shop::scored(30);
    let empty = shop.get("/syncs");
    assert_eq!(
        (empty.text(".empty h2"), empty.text("nav a[aria-current]")),
        ("Nothing fetched yet".to_owned(), "Import".to_owned())
    );
    assert!(empty.text(".empty p").contains("[shopify]"));
    shop.config.shopify.missing = vec!["the token is somewhere else".to_owned()];
    assert!(shop.get("/syncs").text(".empty p").contains("quintile sync"));

    shop.write(|tx| {
        tx.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 130)
             INSERT INTO syncs (trigger, mode, state, since, watermark, started_at, finished_at, orders_read, orders_new, orders_updated,
               orders_deleted, orders_missed, error)
             SELECT 'scheduled', 'incremental', iif(i % 2 = 0, 'failed', 'done'), iif(i = 1, NULL, ?1 - 9000), 1, ?1 + i, ?1 + i, i * 17 % 50, i % 9,
               i % 8, i % 3, iif(i % 4 = 0, NULL, i % 6), iif(i % 2 = 0, '=the shop is closed', NULL) FROM n",
            [NOW],
        )
        .map(drop)
    });
    for (filter, which) in [("", "TRUE"), ("failed=1", "state = 'failed'")] {
        for (order, sql) in [
            ("", "id DESC"),
            ("dir=asc", "id"),
            ("sort=orders", "orders_read DESC, id DESC"),
            ("sort=new", "orders_new DESC, id DESC"),
            ("sort=updated&dir=asc", "orders_updated, id"),
            ("sort=deleted", "orders_deleted DESC, id DESC"),
            ("sort=missed", "coalesce(orders_missed, -1) DESC, id DESC"),
        ] {
            let query = [filter, order].join("&");
            let query = query.trim_matches('&');
            // Orders and new ones together tell the rows apart.
            let rows = format!("SELECT orders_read || ' ' || orders_new FROM syncs WHERE {which} ORDER BY {sql}");
            let expected = texts(&shop, &rows);
            let orders = walk(&shop, "/syncs", query, ".labelled tbody td[data-label=Orders]", "orders_read");
            let new = walk(&shop, "/syncs", query, ".labelled tbody td[data-label=New]", "orders_new");
            for (orders, new) in orders.into_iter().zip(new) {
                let shown: Vec<String> =
                    orders.iter().zip(new).map(|(orders, new)| format!("{orders} {new}")).collect();
                assert_eq!(shown, expected, "{query}");
            }
        }
    }
    let csv = shop.get("/syncs.csv?failed=1");
    assert!(values(&csv, "error").iter().all(|error| error == "'=the shop is closed"));
    assert!(values(&csv, "started_at").iter().all(|time| time.ends_with('Z')));
    assert_eq!(values(&shop.get("/syncs.csv?dir=asc"), "since")[0], "");
    let page = shop.get("/syncs?failed=1&sort=missed");
    assert_eq!(page.attributes(".head a.button", "href"), ["/syncs.csv?failed=1&sort=missed"]);
    assert_eq!(page.attributes("form[role=search] input[type=hidden]", "value"), ["missed"]);
    assert_eq!(shop.get("/syncs?after=1").text(".empty h2"), "None further back");
    // The card under the runs and the page Import lead here.
    assert_eq!(shop.get("/runs").attributes(".syncs .ch a", "href"), ["/syncs"]);
    assert_eq!(shop.get("/import").attributes("[aria-labelledby=t-api] .ch a", "href"), ["/syncs"]);
    assert_eq!(shop.get("/runs?failed=1").texts(".syncs").len(), 0);
}

#[test]
fn shares_on_the_overview_have_one_decimal_and_a_meaning() {
    let shop = Shop::scored(600);
    let page = shop.get("/");
    let [customers, revenue, best]: [i64; 3] = [
        "SELECT sum(customers) FROM run_segments WHERE run_id = 25",
        "SELECT sum(revenue) FROM run_segments WHERE run_id = 25",
        "SELECT revenue FROM run_segments WHERE run_id = 25 AND segment = 'champion'",
    ]
    .map(|sql| shop.value(sql));
    let tenths = (best * 1000 + revenue / 2) / revenue;
    assert_eq!(page.texts(".kpi div:nth-child(3) dd")[0], format!("{}.{} %", tenths / 10, tenths % 10));
    assert_eq!(page.text(".kpi div:nth-child(3) a.term"), "Champions bring");
    assert_eq!(page.attributes(".kpi div:nth-child(3) a.term", "href"), ["#d-share"]);
    assert!(customers > 0);

    // The shades have a scale: what the emptiest and the fullest cell hold.
    let cells: Vec<i64> = page.texts(".heat td a").iter().map(|text| number(text)).collect();
    let scale = page.text(".scale");
    let (least, most) = (cells.iter().min().unwrap(), cells.iter().max().unwrap());
    assert_eq!(scale, format!("Shades from {least} to {most} customers in a cell"));
    assert_eq!(page.attributes(".scale i", "class"), ["h0", "h1", "h2", "h3", "h4", "h5"]);
    assert!(shop.get("/?by=revenue").text(".scale").ends_with(" of revenue in a cell"));
}
