//! Who may ask, and what every answer carries.

use axum::http::{Method, StatusCode};

use crate::support::pages::Shop;

const PAGES: [&str; 15] = [
    "/",
    "/customers",
    "/customers/7",
    "/runs",
    "/runs/25",
    "/import",
    "/deliveries",
    "/deliveries/1",
    "/destinations",
    "/deliveries.csv",
    "/destinations.csv",
    "/customers.csv",
    "/runs.csv",
    "/healthz",
    "/nowhere",
];

#[test]
fn every_answer_carries_the_headers() {
    let shop = Shop::scored(60);
    for path in PAGES {
        let answer = shop.get(path);
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
            ),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), value, "{name} of {path}");
        }
        assert!(!answer.body.contains("<script") && !answer.body.contains(" style="), "{path}");
        assert!(!answer.body.contains("<style"), "{path}");
    }
    let refused = shop.send(Method::GET, "/", &[("host", "evil.example")]);
    assert_eq!(refused.header("x-content-type-options"), "nosniff");
}

#[test]
fn assets_are_kept_and_pages_name_the_present_one() {
    let shop = Shop::empty();
    let href = shop.get("/").attributes("link[rel=stylesheet]", "href").remove(0);
    let style = shop.get(&href);
    assert_eq!((style.status, style.header("content-type")), (StatusCode::OK, "text/css; charset=utf-8"));
    assert_eq!(style.header("cache-control"), "public, max-age=31536000, immutable");
    assert!(href.starts_with("/assets/quintile.css?v=") && style.body.contains("--bg"));
    assert_eq!(shop.get("/assets/favicon.svg").header("content-type"), "image/svg+xml");
}

#[test]
fn a_foreign_name_that_points_here_gets_nothing() {
    let mut shop = Shop::scored(60);
    for host in
        ["evil.example", "evil.example:8787", "localhost.evil.example", "192.168.1.5:8787", "", "127.0.0.1.nip.io"]
    {
        for path in PAGES {
            let answer = shop.send(Method::GET, path, &[("host", host)]);
            assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{host} {path}");
            assert!(answer.body.contains("allowed_hosts") && !answer.body.contains("@example.com"), "{host} {path}");
        }
        // Rebinding passes an Origin check: name and origin agree.
        let origin = format!("http://{host}");
        let answer = shop.send(Method::POST, "/runs", &[("host", host), ("origin", &origin)]);
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    }
    assert_eq!(shop.send(Method::GET, "/", &[]).status, StatusCode::MISDIRECTED_REQUEST, "no Host at all");
    let absolute = shop.send(Method::GET, "http://evil.example/", &[("host", "localhost")]);
    assert_eq!(absolute.status, StatusCode::MISDIRECTED_REQUEST, "the request line names another host");
    let two = shop.send(Method::GET, "/", &[("host", "localhost"), ("host", "evil.example")]);
    assert_eq!(two.status, StatusCode::MISDIRECTED_REQUEST, "two Host headers");
    assert!(shop.asked.try_recv().is_err(), "a run was started");

    for host in ["localhost", "localhost:8787", "127.0.0.1:1", "[::1]:8787"] {
        assert_eq!(shop.send(Method::GET, "/", &[("host", host)]).status, StatusCode::OK, "{host}");
    }
    // An address of ours that no name can be pointed at; when it is all of them, it is none.
    for (listen, own, address) in [
        ("127.0.0.5:9987", StatusCode::OK, "http://127.0.0.5:9987"),
        ("0.0.0.0:9987", StatusCode::MISDIRECTED_REQUEST, "http://localhost:9987"),
    ] {
        shop.config.dashboard.listen = listen.parse().unwrap();
        assert_eq!(shop.send(Method::GET, "/", &[("host", listen)]).status, own, "{listen}");
        let refused = shop.send(Method::GET, "/", &[("host", "127.0.0.6:9987")]);
        assert!(refused.text(".empty p").contains(&format!("open it as {address},")), "{}", refused.text(".empty p"));
        assert_eq!(refused.texts(".empty a").len(), 0, "nothing else is reached from there");
    }
    shop.config.dashboard.allowed_hosts = vec!["quintile.lan".to_owned()];
    assert_eq!(shop.send(Method::GET, "/", &[("host", "quintile.lan:8787")]).status, StatusCode::OK);
    assert_eq!(shop.send(Method::GET, "/", &[("host", "other.lan")]).status, StatusCode::MISDIRECTED_REQUEST);
}

#[test]
fn a_file_that_cannot_be_made_is_a_page_that_says_so() {
    let shop = Shop::scored(60);
    let view: String = shop.value("SELECT sql FROM sqlite_schema WHERE name = 'scores'");
    shop.execute("DROP VIEW scores");
    let answer = shop.get("/customers.csv");
    assert_eq!(
        (answer.status, answer.text("h1")),
        (StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made".to_owned())
    );
    assert_eq!(answer.header("content-disposition"), "");
    assert_eq!(shop.get("/runs.csv").status, StatusCode::OK);
    shop.write(move |tx| tx.execute_batch(&view));
}

#[test]
fn a_proxy_in_front_is_refused() {
    let shop = Shop::scored(60);
    for name in ["forwarded", "x-forwarded-for", "x-forwarded-host", "X-Forwarded-Proto", "x-forwarded-anything"] {
        let answer = shop.send(Method::GET, "/customers", &[("host", "localhost"), (name, "1.2.3.4")]);
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{name}");
        assert!(answer.body.contains("proxy") && !answer.body.contains("@example.com"), "{name}");
    }
}

#[test]
fn forms_of_other_sites_do_nothing() {
    let mut shop = Shop::scored(60);
    let host = ("host", "localhost:8787");
    for attack in [
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
        vec![("sec-fetch-site", "cross-site"), ("origin", "http://localhost:8787")],
        vec![("origin", "null")],
        vec![("origin", "http://evil.example")],
        vec![("origin", "http://localhost:9999")],
        vec![("origin", "http://127.0.0.1:8787")],
        vec![("sec-fetch-site", "nonsense"), ("origin", "http://evil.example")],
    ] {
        let headers: Vec<_> = [host].into_iter().chain(attack.clone()).collect();
        let answer = shop.send(Method::POST, "/runs", &headers);
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{attack:?}");
        assert!(answer.text(".empty").contains("nothing was done"), "{attack:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    assert!(shop.asked.try_recv().is_err(), "a run was started");
    for ours in [
        vec![("sec-fetch-site", "same-origin")],
        vec![("sec-fetch-site", "none")],
        vec![("origin", "http://localhost:8787")],
        vec![],
    ] {
        let headers: Vec<_> = [host].into_iter().chain(ours.clone()).collect();
        assert_eq!(shop.send(Method::POST, "/runs", &headers).status, StatusCode::SEE_OTHER, "{ours:?}");
        assert!(shop.asked.try_recv().is_ok());
    }
}

#[test]
fn get_changes_nothing_and_unknown_things_are_said_to_be() {
    let mut shop = Shop::scored(60);
    for path in PAGES {
        shop.get(path);
        let head = shop.send(Method::HEAD, path, &[("host", "localhost")]);
        assert!(head.body.is_empty(), "{path}");
    }
    assert!(shop.asked.try_recv().is_err(), "a GET started a run");

    let missing = shop.get("/nowhere");
    assert_eq!((missing.status, missing.text("h1")), (StatusCode::NOT_FOUND, "Not here".to_owned()));
    assert_eq!(
        missing.texts("nav a"),
        ["Overview", "Segments", "Customers", "Runs", "Deliveries", "Destinations", "Import", "Settings"]
    );
    for (path, entry, status) in [
        ("/customers/0", "Customers", StatusCode::NOT_FOUND),
        ("/runs?trigger=x", "Runs", StatusCode::BAD_REQUEST),
        ("/runs.csv?trigger=x", "Runs", StatusCode::BAD_REQUEST),
        ("/deliveries/decide?state=x", "Deliveries", StatusCode::UNPROCESSABLE_ENTITY),
        ("/import/7", "Import", StatusCode::NOT_FOUND),
    ] {
        let page = shop.get(path);
        assert_eq!((page.status, page.text("nav [aria-current]")), (status, entry.to_owned()), "{path}");
        assert!(page.text(".head .sub").starts_with("Scored "), "{path}");
        let back = page.attributes(".empty a", "href");
        assert_eq!(back, [format!("/{}", entry.to_lowercase()), "/".to_owned()], "{path}");
        assert_eq!(page.texts(".terms").len(), 0, "{path}");
    }
    for (method, path) in [(Method::POST, "/"), (Method::DELETE, "/customers/7"), (Method::PUT, "/runs")] {
        let answer = shop.send(method.clone(), path, &[("host", "localhost")]);
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
    }
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM customers WHERE deleted_at IS NULL"), 60);
}

#[test]
fn an_address_that_cannot_be_read_is_a_page_too() {
    let shop = Shop::scored(60);
    for path in ["/?by=a&by=b", "/runs?after=1&after=2", "/customers/3?before=1&before=2", "/customers?q=%ff&q=%fe"] {
        assert_eq!(shop.get(path).status, StatusCode::OK, "{path}");
    }
    for path in ["/customers/%ff", "/runs/%ff"] {
        let page = shop.get(path);
        assert_eq!((page.status, page.text("h1")), (StatusCode::BAD_REQUEST, "Not an address".to_owned()), "{path}");
        assert_eq!(page.texts("nav a").len(), 8);
    }
    for path in [
        "/customers?r=9",
        "/customers.csv?q=a&f=abc",
        "/customers?m=0",
        "/deliveries?state=bogus",
        "/deliveries.csv?hold=bogus",
        "/runs?trigger=bogus",
        "/runs.csv?trigger=bogus",
    ] {
        let page = shop.get(path);
        assert_eq!((page.status, page.text("h1")), (StatusCode::BAD_REQUEST, "Not an address".to_owned()), "{path}");
        assert!(page.text("main").contains("so there is nothing to show"), "{path}: {}", page.text("main"));
    }
    for path in ["/destinations/nobody/test", "/deliveries/decide"] {
        let page = shop.send(Method::POST, path, &[("host", "localhost"), ("sec-fetch-site", "same-origin")]);
        let told = (page.status, page.text("h1"));
        assert_eq!(told, (StatusCode::UNPROCESSABLE_ENTITY, "Something is missing".to_owned()), "{path}");
    }
    let large = [("host", "localhost"), ("content-length", "70000")];
    let page = shop.send(Method::POST, "/runs", &large);
    assert_eq!((page.status, page.text("h1")), (StatusCode::PAYLOAD_TOO_LARGE, "Too much".to_owned()));
}

#[test]
fn pages_are_compressed_for_those_who_ask() {
    let shop = Shop::scored(600);
    let packed = shop.send(Method::GET, "/customers", &[("host", "localhost"), ("accept-encoding", "gzip")]);
    assert_eq!(packed.header("content-encoding"), "gzip");
    assert_eq!(shop.get("/customers").header("content-encoding"), "");
}
