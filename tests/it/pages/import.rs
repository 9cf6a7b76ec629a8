//! Files through the page: from the form to the ledger, and what may stop one on its way.

use std::{fs, io::Write, path::PathBuf, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Method, Request, StatusCode, header},
};
use quintile::{
    intake::{
        csv::{self, Limits, Settings},
        privacy,
        uploads::Action,
    },
    ledger::Who,
    model::Timestamp,
};
use tower::ServiceExt;

use crate::support::pages::{Answer, NOW, Shop, send_request};

const HEADER: &str = "order_id,customer_id,email,ordered_at,total,currency,status,note\n";
const GOOD: &str =
    "1,c1,anna@example.com,2026-01-02,10.00,EUR,paid,x\n2,c1,anna@example.com,2026-01-03,20.00,EUR,paid,x\n";
const BAD: &str = "3,c2,bob@example.com,never,10.00,EUR,paid,<b>x</b>\n";

const BOUNDARY: &str = "----quintile";

/// The form with a file, as a browser sends it.
fn form(name: &str, content: &[u8]) -> Vec<u8> {
    let mut body = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/csv\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(content);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn post_form(body: Body, length: Option<usize>) -> Request<Body> {
    let mut request = Request::post("/import")
        .header(header::HOST, "127.0.0.1:8787")
        .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"));
    if let Some(length) = length {
        request = request.header(header::CONTENT_LENGTH, length);
    }
    request.body(body).unwrap()
}

fn upload(shop: &Shop, name: &str, content: impl AsRef<[u8]>) -> Answer {
    let body = form(name, content.as_ref());
    let length = body.len();
    send_request(shop.router(), post_form(Body::from(body), Some(length)))
}

/// Presses a button. What it starts is over when this returns: the answer's runtime waits for it.
fn press(shop: &Shop, path: &str) -> Answer {
    shop.send(Method::POST, path, &[("host", "127.0.0.1:8787"), ("sec-fetch-site", "same-origin")])
}

/// The file's address after an upload that must work.
fn uploaded(shop: &Shop, content: impl AsRef<[u8]>) -> String {
    let answer = upload(shop, "orders.csv", content);
    assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.body);
    answer.location().to_owned()
}

/// Files that belong to uploads.
fn files(shop: &Shop) -> Vec<String> {
    let folder = shop.database.path().parent().unwrap().to_owned();
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(".upload-") || name.contains(".try-"))
        .collect();
    names.sort();
    names
}

fn beside(shop: &Shop, suffix: &str) -> PathBuf {
    let mut path = shop.database.path().as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

fn facts(page: &Answer) -> String {
    page.texts(".counts div dd").join(" ")
}

#[test]
fn the_lines_of_a_bulk_operation_come_in_too() {
    let order = r#"{"id":"gid://shopify/Order/1","createdAt":"2026-01-02T00:00:00Z","updatedAt":"2026-01-02T00:00:00Z","displayFinancialStatus":"PAID","totalPriceSet":{"shopMoney":{"amount":"20.00","currencyCode":"EUR"}},"customer":{"id":"gid://shopify/Customer/7"}}"#;
    let customer = r#"{"id":"gid://shopify/Customer/7","firstName":"<i>Anna</i>","updatedAt":"2026-01-03T00:00:00Z"}"#;
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(format!("{order}\n{customer}\n{{}}\n").as_bytes()).unwrap();
    let shop = Shop::empty();
    let path = upload(&shop, "bulk.jsonl.gz", packed.finish().unwrap()).location().to_owned();
    let page = shop.get(&path);
    assert_eq!(page.texts(".plain tbody th"), ["1", "2", "3"]);
    assert_eq!(page.texts(".plain tbody tr:first-child td"), ["1", "7", "2 Jan 2026, 01:00", "€20.00", "", "Paid"]);
    assert!(page.texts(".map").is_empty(), "there are no columns");
    press(&shop, &format!("{path}/try"));
    assert_eq!(facts(&shop.get(&path)), "3 1 0 0 1 0 1", "{}", shop.get(&path).body);
    press(&shop, &format!("{path}/start"));
    assert_eq!(shop.get(&path).text(".pill"), "Imported");
    assert_eq!(
        shop.value::<String>(
            "SELECT group_concat(first_name || ' ' || order_count || ' ' || total_spent) FROM customers"
        ),
        "<i>Anna</i> 1 2000"
    );
    assert!(shop.get(&format!("{path}/rejected.csv")).body.starts_with("line,reason,json\n3,"));
}

#[test]
fn who_is_erased_is_taken_out_of_reasons_and_rejected_rows() {
    let shop = Shop::empty();
    let path = uploaded(&shop, format!("{HEADER}{GOOD}1,c3,,eve@example.com,10.00,EUR,paid,x\n{BAD}"));
    press(&shop, &format!("{path}/try"));
    press(&shop, &format!("{path}/start"));
    let folder = shop.database.path().parent().unwrap().to_owned();
    let traces = || {
        let rejected = fs::read_to_string(beside(&shop, ".upload-1.rejected.csv")).unwrap();
        let reports = shop.value::<String>("SELECT foreseen || report FROM imports WHERE id = 1");
        (rejected.matches("eve@").count(), rejected.lines().count(), reports.matches("eve@").count())
    };
    assert_eq!(traces(), (2, 3, 2), "reason and row");
    // However many files came after it.
    shop.execute(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
         INSERT INTO imports (file_name, state, created_at) SELECT 'more.csv', 'refused', 1 FROM n",
    );
    let who = Who { email: Some("Eve@example.com".to_owned()), ..Who::default() };
    let begun = shop
        .database
        .writer()
        .write_blocking(move |tx| Ok(privacy::erase(tx, &who, Timestamp::from_millis(NOW))?))
        .unwrap();
    assert!(begun.goes_on);
    let work_off = || privacy::work_off(shop.database.readers(), shop.database.writer(), &folder, &|| false).unwrap();
    // While the rows cannot be read, that alone is left, and known.
    let (rows, aside) = (beside(&shop, ".upload-1.rejected.csv"), folder.join("aside"));
    fs::rename(&rows, &aside).unwrap();
    fs::create_dir(&rows).unwrap();
    // In whichever order they are read, others are not kept by them.
    let more = |kind: &str| (0..8).map(|n| folder.join(format!("{kind}{n}.upload-1.rejected.csv"))).collect::<Vec<_>>();
    let (good, bad) = (more("good"), more("bad"));
    for (good, bad) in good.iter().zip(&bad) {
        fs::copy(&aside, good).unwrap();
        fs::create_dir(bad).unwrap();
    }
    for _ in 0..2 {
        let done = work_off();
        assert_eq!((done.erasures, done.left.len()), (0, 1));
        assert!(done.left[0].contains("upload-1.rejected.csv"), "{:?}", done.left);
        assert!(good.iter().all(|path| !fs::read_to_string(path).unwrap().contains("eve@")));
    }
    bad.iter().chain([&rows]).for_each(|path| fs::remove_dir(path).unwrap());
    fs::rename(&aside, &rows).unwrap();
    #[cfg(unix)]
    let is_root = std::os::unix::fs::chown(&folder, Some(65534), Some(65534)).is_ok();
    let done = work_off();
    assert_eq!((done.erasures, done.left.len(), traces()), (1, 0, (0, 2, 0)));
    #[cfg(unix)]
    if is_root {
        let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(&rows).unwrap());
        assert_eq!(owner, 65534, "the service can open what root has rewritten");
    }
    assert!(shop.get(&format!("{path}/rejected.csv")).body.contains("bob@example.com"), "others stay");
}

#[test]
fn from_the_form_to_the_ledger() {
    let shop = Shop::empty();
    let start = shop.get("/import");
    assert_eq!(start.attributes("form", "enctype"), ["multipart/form-data"]);
    assert!(start.text(".card").contains("up to 2 GB"));

    let path = uploaded(&shop, format!("{HEADER}{GOOD}{BAD}"));
    assert_eq!(path, "/import/1");
    assert_eq!(files(&shop), ["quintile.db.upload-1"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(beside(&shop, ".upload-1")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let page = shop.get(&path);
    assert_eq!(page.text("h1"), "orders.csv");
    assert_eq!(page.text(".pill"), "Waits for you");
    assert_eq!(
        page.texts(".plain tbody tr:first-child td"),
        ["1", "anna@example.com", "2 Jan 2026, 00:00", "€10.00", "", "Paid"]
    );
    assert!(page.text(".plain tbody tr:last-child td").contains("\"never\" is not a date"));
    assert_eq!(page.texts(".facts dt").len(), 7, "the columns that are read");
    assert_eq!(page.text("h1 + .sub"), "Waits for you a CSV of orders, 216 bytes, uploaded 23 Nov 2026, 12:00");
    assert!(page.body.contains("One more column is not read"));
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM orders"), 0);

    // A dry run says what would happen, and stores nothing.
    assert_eq!(press(&shop, "/import/1/try").location(), path);
    let tried = shop.get(&path);
    assert_eq!(facts(&tried), "3 2 0 0 1 0 1", "{}", tried.body);
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM orders"), 0);
    assert_eq!(files(&shop), ["quintile.db.upload-1"], "the copy is gone");

    assert_eq!(press(&shop, "/import/1/start").location(), path);
    let done = shop.get(&path);
    assert_eq!((done.text(".pill"), facts(&done)), ("Imported".to_owned(), facts(&tried)));
    assert!(done.text(".plain").contains("4ordered_at: \"never\" is not a date"));
    assert_eq!(
        shop.value::<String>("SELECT group_concat(source_id || ' ' || net || ' ' || historical) FROM orders"),
        "1 1000 1,2 2000 1"
    );
    assert_eq!(files(&shop), ["quintile.db.upload-1.rejected.csv"], "the file itself is gone");
    let rejected = shop.get("/import/1/rejected.csv");
    assert_eq!(rejected.header("content-disposition"), "attachment; filename=\"rejected-1.csv\"");
    assert!(
        rejected.body.starts_with("line,reason,order_id,") && rejected.body.contains("4,\"ordered_at:"),
        "{}",
        rejected.body
    );

    // The same file again changes nothing; what was rejected, corrected, comes in.
    let again = uploaded(&shop, format!("{HEADER}{GOOD}"));
    press(&shop, &format!("{again}/start"));
    assert_eq!(facts(&shop.get(&again)), "2 0 0 2 0 0 0");
    let corrected = uploaded(&shop, rejected.body.replace("never", "2026-01-04"));
    press(&shop, &format!("{corrected}/start"));
    assert_eq!(facts(&shop.get(&corrected)), "1 1 0 0 1 0 0");

    let list = shop.get("/import");
    assert_eq!(list.texts(".rows tbody .pill"), ["Imported", "Imported", "Imported"]);
    assert_eq!(press(&shop, "/import/1/discard").location(), "/import");
    assert_eq!((shop.get("/import/1").status, files(&shop)), (StatusCode::NOT_FOUND, Vec::new()));
    assert_eq!(shop.get("/import/2/rejected.csv").status, StatusCode::NOT_FOUND);
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM orders"), 3, "what was imported stays");
}

#[test]
fn a_list_of_customers() {
    let shop = Shop::empty();
    let path = uploaded(
        &shop,
        "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Total Orders\n'71,Ann,A,ann@example.com,yes,9\n",
    );
    let page = shop.get(&path);
    assert_eq!(page.texts(".plain thead th"), ["Line", "Customer", "E-mail", "Name", "Phone", "Consent"]);
    assert_eq!(page.texts(".plain tbody td"), ["71", "ann@example.com", "Ann A", "", "Subscribed"]);
    press(&shop, &format!("{path}/start"));
    assert_eq!(facts(&shop.get(&path)), "1 1 0 0 0");
    assert_eq!(shop.value::<i64>("SELECT order_count FROM customers WHERE external_id = '71'"), 0);
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    let shop = Shop::empty();
    for (content, reason) in [
        (
            &b"Order Number;Order Date\n"[..],
            "orders.csv is none of the files that quintile knows. It has 2 columns between semicolons",
        ),
        (b"PK\x03\x04", "orders.csv is a ZIP archive or an Excel workbook"),
        (b"", "orders.csv is empty"),
    ] {
        let page = shop.get(&uploaded(&shop, content));
        assert_eq!(page.text(".pill"), "Not usable");
        assert!(page.text(".notice").contains(reason), "{}", page.text(".notice"));
        assert_eq!(page.attributes("form", "action").len(), 1, "nothing but to throw it away");
    }
    assert_eq!(files(&shop), Vec::<String>::new());
    assert_eq!(press(&shop, "/import/1/start").status, StatusCode::CONFLICT);

    let named = upload(&shop, "C:\\fakepath\\<i>x</i>.csv", format!("{HEADER}{GOOD}"));
    let page = shop.get(named.location());
    assert_eq!(page.text("h1"), "i>.csv");
    let nothing = upload(&shop, "", "");
    assert_eq!(
        (nothing.status, nothing.text("h1")),
        (StatusCode::UNPROCESSABLE_ENTITY, "Something is missing".to_owned())
    );
    assert_eq!(press(&shop, "/import").status, StatusCode::UNPROCESSABLE_ENTITY, "no form at all");
    for path in ["/import/99", "/import/x", "/import/-1"] {
        assert_eq!(shop.get(path).status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn a_file_that_is_too_large_is_refused_with_the_setting() {
    let mut shop = Shop::empty();
    shop.config.import.upload_limit_mb = 1;
    let body = form("orders.csv", &vec![b'x'; 1_100_000]);
    let told = body.len();
    // Told beforehand or not.
    for length in [Some(told), None] {
        let pieces: Vec<_> = body.chunks(10_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
        let answer =
            send_request(shop.router(), post_form(Body::from_stream(futures_util::stream::iter(pieces)), length));
        assert_eq!((answer.status, answer.text("h1")), (StatusCode::PAYLOAD_TOO_LARGE, "Too much".to_owned()));
        assert!(answer.body.contains("larger than 1 MB") && answer.body.contains("upload_limit_mb"), "{}", answer.body);
        assert_eq!(files(&shop), Vec::<String>::new());
    }
    let just_right = format!("{HEADER}{}", "\n".repeat(1_000_000 - HEADER.len()));
    assert_eq!(upload(&shop, "orders.csv", just_right).status, StatusCode::SEE_OTHER);
}

#[test]
fn a_form_of_another_site_uploads_nothing() {
    let shop = Shop::empty();
    let mut request = post_form(Body::from(form("orders.csv", HEADER.as_bytes())), None);
    request.headers_mut().insert("sec-fetch-site", "cross-site".parse().unwrap());
    assert_eq!(send_request(shop.router(), request).status, StatusCode::FORBIDDEN);
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM imports"), 0);
    let path = uploaded(&shop, format!("{HEADER}{GOOD}"));
    for action in ["try", "start", "discard"] {
        let headers = [("host", "127.0.0.1:8787"), ("sec-fetch-site", "cross-site")];
        let answer = shop.send(Method::POST, &format!("{path}/{action}"), &headers);
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{action}");
    }
    assert_eq!(shop.value::<String>("SELECT state FROM imports"), "ready");
}

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, String) {
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    (parts.status, String::from_utf8_lossy(&body).into_owned())
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).header(header::HOST, "localhost").body(Body::empty()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_at_a_time_and_a_browser_that_goes_away() {
    let shop = Shop::empty();
    let router = shop.router();
    let (pieces, arriving) = tokio::sync::mpsc::channel::<std::io::Result<Vec<u8>>>(1);
    let slow = Body::from_stream(futures_util::stream::unfold(arriving, |mut arriving| async move {
        arriving.recv().await.map(|piece| (piece, arriving))
    }));
    let uploading = tokio::spawn({
        let router = router.clone();
        async move { ask(&router, post_form(slow, None)).await.0 }
    });
    let half = form("slow.csv", format!("{HEADER}{GOOD}").as_bytes())[..200].to_vec();
    pieces.send(Ok(half)).await.unwrap();
    let page = loop {
        let (_, page) = ask(&router, get("/import")).await;
        if page.contains("Uploading") {
            break page;
        }
        tokio::task::yield_now().await;
    };
    assert!(page.contains("One file at a time") && !page.contains("multipart"), "{page}");
    let (status, detail) = ask(&router, get("/import/1")).await;
    assert!(status == StatusCode::OK && detail.contains("http-equiv=\"refresh\" content=\"2\""), "{detail}");
    let other = form("other.csv", HEADER.as_bytes());
    let (status, answer) = ask(&router, post_form(Body::from(other.clone()), None)).await;
    assert!(status == StatusCode::CONFLICT && answer.contains("Wait until it is done"), "{answer}");

    // The tab is closed.
    pieces.send(Err(std::io::Error::other("gone"))).await.unwrap();
    uploading.await.unwrap();
    let state = loop {
        let state: String = shop.value("SELECT state || ': ' || coalesce(reason, '') FROM imports WHERE id = 1");
        if !state.starts_with("uploading") {
            break state;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(state, "interrupted: The upload broke off, so nothing of the file was kept. Upload it again.");
    assert_eq!(files(&shop), Vec::<String>::new());
    let status = loop {
        let (status, _) = ask(&router, post_form(Body::from(other.clone()), None)).await;
        if status != StatusCode::CONFLICT {
            break status; // its place is given back right after that
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(status, StatusCode::SEE_OTHER);
}

#[test]
fn a_file_that_waits_gives_way_to_the_next() {
    let shop = Shop::empty();
    uploaded(&shop, format!("{HEADER}{GOOD}"));
    let second = uploaded(&shop, format!("{HEADER}{GOOD}"));
    assert_eq!(second, "/import/2");
    assert_eq!(
        (shop.get("/import/1").status, files(&shop)),
        (StatusCode::NOT_FOUND, vec!["quintile.db.upload-2".to_owned()])
    );
    press(&shop, "/import/2/discard");
    assert_eq!(uploaded(&shop, HEADER), "/import/3", "numbers are not used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_the_page_says_where_it_stopped() {
    let shop = Shop::empty();
    let router = shop.router();
    let (status, _) =
        ask(&router, post_form(Body::from(form("a.csv", format!("{HEADER}{GOOD}").as_bytes())), None)).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    // As a kill in the middle leaves it: an import, an upload, a dry run's copy, and what nobody knows.
    let writer = shop.database.writer();
    writer
        .write(|tx| {
            Ok(tx.execute_batch(
                "UPDATE imports SET state = 'importing';
                 INSERT INTO imports (id, file_name, state, created_at) VALUES (5, 'half.csv', 'uploading', 1795431600000);
                 INSERT INTO imports (id, file_name, state, created_at, finished_at, report) VALUES (2, 'old.csv', 'done', 1, 1, '{}');",
            )?)
        })
        .await
        .unwrap();
    for stray in [".upload-5", ".upload-2.rejected.csv", ".upload-77"] {
        fs::write(beside(&shop, stray), "x").unwrap();
    }
    fs::create_dir(beside(&shop, ".try-abc")).unwrap();
    fs::write(beside(&shop, ".try-abc").join("copy.db"), "x").unwrap();
    let others = [".upload-x", ".backup"].map(|name| beside(&shop, name));
    for other in &others {
        fs::write(other, "not ours").unwrap();
    }

    let uploads = shop.uploads();
    uploads.recover().await.unwrap();
    uploads.forget_old(quintile::clock::now()).await.unwrap();
    assert_eq!(files(&shop), ["quintile.db.upload-1", "quintile.db.upload-x"]);
    assert!(others.iter().all(|other| other.exists()));
    let (_, list) = ask(&router, get("/import")).await;
    assert!(list.contains("half.csv") && list.contains("Interrupted") && !list.contains("old.csv"), "{list}");
    let (_, half) = ask(&router, get("/import/5")).await;
    assert!(half.contains("quintile stopped while the file came in") && !half.contains("/import/5/start"), "{half}");
    let (_, page) = ask(&router, get("/import/1")).await;
    assert!(
        page.contains("quintile stopped during the import. Go on with it") && page.contains("Go on with the import"),
        "{page}"
    );

    uploads.start(1, Action::Import).await.unwrap();
    wait_for(&shop, 1, "done").await;
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM orders"), 2);
}

/// 9,000 orders of 700 customers: several batches.
fn many_orders() -> String {
    let rows = (1..=9_000).map(|id| format!("{id},c{},,2026-01-02,1.00,EUR,paid,x\n", id % 700));
    HEADER.to_owned() + &rows.collect::<String>()
}

async fn wait_for(shop: &Shop, id: i64, wanted: &str) {
    let patience = Duration::from_secs(20);
    let reached = async {
        while shop.value::<String>(&format!("SELECT state FROM imports WHERE id = {id}")) != wanted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(patience, reached).await.expect("it comes so far");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_stopped_can_go_on() {
    let shop = Shop::empty();
    let file = many_orders();
    let (status, _) = ask(&shop.router(), post_form(Body::from(form("a.csv", file.as_bytes())), None)).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    let stopping = shop.uploads();
    stopping.stop(Duration::ZERO).await;
    stopping.start(1, Action::Import).await.unwrap();
    wait_for(&shop, 1, "interrupted").await;
    assert!(shop.value::<String>("SELECT reason FROM imports").contains("Go on with it: nothing is stored twice"));
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM orders"), 0);

    let next = shop.uploads();
    next.start(1, Action::Import).await.unwrap();
    assert!(next.start(1, Action::Import).await.is_err(), "it has begun");
    wait_for(&shop, 1, "done").await;
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM orders"), 9_000);
}

/// Beside a server, other writes get in between any two batches. With longer transactions this
/// would wait for one that waits for the next batch.
#[test]
fn webhooks_get_in_between() {
    let shop = Shop::empty();
    let file = many_orders();
    let path = beside(&shop, ".csv");
    fs::write(&path, file).unwrap();
    let input = csv::open(&path, None, &Settings::from_config(&shop.config).unwrap()).unwrap();
    let writer = shop.database.writer();
    let written = std::cell::Cell::new(0);
    let between = |_| {
        let (done, wait) = std::sync::mpsc::channel();
        let writer = writer.clone();
        std::thread::spawn(move || done.send(writer.write_blocking(|tx| Ok(quintile::db::touch(tx)?))));
        wait.recv_timeout(Duration::from_secs(20)).expect("a write gets in").unwrap();
        written.set(written.get() + 1);
    };
    let rules = quintile::ledger::Rules::from_config(&shop.config);
    let now = quintile::model::Timestamp::from_millis(NOW);
    let report = csv::store(input, writer, &rules, now, Limits::BESIDE, &between).unwrap();
    assert_eq!((report.orders.new, written.get()), (9_000, 5));
}

#[test]
fn where_webhooks_go_and_when_the_last_came() {
    let mut shop = Shop::empty();
    shop.config.webhooks.woocommerce.secrets = vec![quintile::config::Secret::new("s")];
    shop.config.webhooks.shopify.secrets = vec![quintile::config::Secret::new("s")];
    shop.write(|tx| {
        tx.execute(
            "INSERT INTO inbox (source, topic, body_hash, headers, body, state, received_at) VALUES ('shopify', 't', x'00', '{}', x'', 'done', ?1)",
            [NOW - 3_600_000],
        )?;
        Ok(())
    });
    let page = shop.get("/import");
    assert_eq!(page.texts(".ways dt"), ["Shopify", "WooCommerce", "Other shops"]);
    assert_eq!(
        page.texts(".ways .under"),
        [
            "The last message came today at 11:00",
            "No message yet",
            "Refused: there is no secret under [webhooks.orders] in config.toml"
        ]
    );
    // What came with a token came over no webhook.
    shop.config.webhooks.orders.secrets = vec![quintile::config::Secret::new("s")];
    for (key, state) in [("api 1", "No message yet"), ("msg_1", "The last message came today at 11:45")] {
        shop.write(move |tx| {
            tx.execute(
                "INSERT INTO inbox (source, topic, delivery_key, body_hash, headers, body, state, received_at) VALUES ('api', 't', ?1, x'00', '{}', x'', 'done', ?2)",
                (key, NOW - 900_000),
            )
            .map(drop)
        });
        assert_eq!(shop.get("/import").texts(".ways .under")[2], state, "{key}");
    }
    // So many newer ones that the last of Shopify is not looked for.
    shop.write(|tx| {
        tx.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO inbox (source, topic, body_hash, headers, body, state, received_at)
             SELECT 'woocommerce', 't', x'00', '{}', x'', 'done', ?1 + i FROM n",
            [NOW - 1_800_000],
        )
        .map(drop)
    });
    assert_eq!(
        shop.get("/import").texts(".ways .under")[..2],
        ["None among the last 1,000 messages", "The last message came today at 11:30"]
    );
}
