//! The password of the dashboard, and those who do not have it.

use axum::http::{Method, StatusCode};
use quintile::{
    config::{Scope, Secret, Token},
    web::auth::{fresh_token, hash_of, password},
};

use crate::support::{
    browser::{Browser, PASSWORD},
    pages::{Answer, Shop},
};

const SESSION: &str = "quintile_session";
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;

/// A shop whose dashboard asks for [`PASSWORD`].
fn locked() -> Shop {
    let mut shop = Shop::scored(60);
    shop.config.dashboard.password_hash = Secret::new(password::hash(PASSWORD).unwrap());
    shop
}

fn set_cookies(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("set-cookie").into_iter().map(|value| value.to_str().unwrap()).collect()
}

#[test]
fn nothing_is_shown_before_the_password() {
    let shop = locked();
    let router = shop.router();
    let mut stranger = Browser::new(&router);
    for path in
        ["/", "/customers", "/customers/7", "/runs", "/import", "/nowhere", "/customers.csv", "/api", "/login/x"]
    {
        let answer = stranger.get(path);
        assert!(!answer.body.contains("@example.com") && !answer.body.contains("Lantern"), "{path}");
        match path {
            "/api" => assert_eq!(answer.status, StatusCode::UNAUTHORIZED),
            "/" => assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login")),
            _ => {
                let back = path.replace('/', "%2F");
                let login = format!("/login?next={back}");
                assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, login.as_str()));
            }
        }
    }
    for path in ["/api/v1/customers", "/api/v1/nowhere", "/api/v1/openapi.json", "/metrics", "/readyz"] {
        let answer = stranger.get(path);
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"quintile\"");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert!(!answer.body.contains("@example.com"), "{path}");
    }
    for (path, form) in [("/runs", ""), ("/logout", ""), ("/import/1/start", "")] {
        let answer = stranger.post(path, form);
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login"), "{path}");
    }
    assert_eq!(stranger.send(Method::DELETE, "/api/v1/customers/7", &[], "").status, StatusCode::UNAUTHORIZED);
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM customers WHERE redacted_at IS NULL"), 60);

    assert_eq!(stranger.get("/healthz").status, StatusCode::OK, "who watches the program need not sign in");
    let page = stranger.get("/login");
    assert_eq!((page.status, page.text("h1")), (StatusCode::OK, "Sign in".to_owned()));
    assert!(page.texts("nav a").is_empty() && !page.body.contains("Lantern"), "strangers are told nothing");
    let style = page.attributes("link[rel=stylesheet]", "href").remove(0);
    assert_eq!(stranger.get(&style).status, StatusCode::OK);
    assert!(shop.asked.is_empty(), "a run was started");
}

#[test]
fn the_password_opens_the_page_that_was_asked_for() {
    let shop = locked();
    let mut browser = Browser::new(&shop.router());
    let asked = browser.get("/customers?segment=at_risk").location().to_owned();
    let page = browser.get(&asked);
    assert_eq!(page.attributes("input[name=next]", "value"), ["/customers?segment=at_risk"]);
    let answer = browser.post("/login", "password=correct+horse+battery&next=%2Fcustomers%3Fsegment%3Dat_risk");
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/customers?segment=at_risk"));
    let [session, known] = set_cookies(&answer).try_into().unwrap();
    for cookie in [session, known] {
        assert!(cookie.contains("; HttpOnly; SameSite=Lax") && cookie.contains("; Path=/;"), "{cookie}");
        assert!(!cookie.contains("Secure") && !cookie.contains("Domain"), "{cookie}");
    }
    let customers = browser.get("/customers?segment=at_risk");
    assert_eq!(customers.status, StatusCode::OK);
    assert_eq!(customers.texts(".sign-out button"), ["Sign out"]);
    assert!(!customers.text(".foot").contains("local only"));
    assert_eq!(browser.get("/login?next=/runs").location(), "/runs", "who is inside need not sign in");
    assert_eq!(browser.get("/nowhere").texts("nav a").len(), customers.texts("nav a").len());
    for path in ["/api/v1/customers", "/metrics", "/readyz", "/api/v1/openapi.json"] {
        assert_eq!(browser.get(path).status, StatusCode::OK, "{path}");
    }
    assert_eq!(browser.post("/runs", "").location(), "/");

    for evil in
        ["//evil.example", "https://evil.example", "/\\evil.example", "/%09/evil.example", "javascript:alert(1)"]
    {
        let mut browser = Browser::new(&shop.router());
        let next = form_urlencoded::byte_serialize(evil.replace("%09", "\t").as_bytes()).collect::<String>();
        assert_eq!(
            browser.get(&format!("/login?next={next}")).attributes("input[name=next]", "value"),
            ["/"],
            "{evil}"
        );
        let form = format!("password={}&next={next}", PASSWORD.replace(' ', "+"));
        assert_eq!(browser.post("/login", &form).location(), "/", "{evil}");
    }
}

#[test]
fn without_a_password_there_is_nothing_to_sign_in_to() {
    let shop = Shop::scored(60);
    let mut browser = Browser::new(&shop.router());
    assert_eq!(browser.get("/login?next=/runs").location(), "/runs");
    let answer = browser.sign_in("whatever");
    assert_eq!((answer.location(), set_cookies(&answer).len()), ("/", 0));
    let page = browser.get("/");
    assert!(page.texts(".sign-out button").is_empty() && page.text(".foot").contains("local only"));
}

#[test]
fn a_session_ends_where_it_should_and_nowhere_else() {
    let shop = locked();
    let router = shop.router();
    let (mut browser, mut other) = (Browser::signed_in(&router), Browser::signed_in(&router));
    let stolen = browser.cookies.clone();
    let answer = browser.post("/logout", "");
    assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, "/login"));
    assert!(!browser.cookies.contains_key(SESSION));
    let mut thief = Browser::new(&router);
    thief.cookies = stolen;
    assert_eq!(thief.get("/customers").status, StatusCode::SEE_OTHER, "a copy of the cookie has ended too");
    assert_eq!(other.get("/customers").status, StatusCode::OK, "another session goes on");

    let mut restarted = Browser::new(&shop.router());
    restarted.cookies = thief.cookies;
    assert_eq!(restarted.get("/customers").status, StatusCode::SEE_OTHER, "nor does a restart bring it back");
    restarted.cookies = other.cookies.clone();
    assert_eq!(restarted.get("/customers").status, StatusCode::OK, "a restart ends none");

    shop.pass(29 * DAY);
    assert!(set_cookies(&other.get("/assets/favicon.svg")).is_empty(), "what others may keep holds no cookie");
    let answer = other.get("/customers");
    assert_eq!((answer.status, set_cookies(&answer).len()), (StatusCode::OK, 2), "a session in use is renewed");
    shop.pass(29 * DAY);
    assert_eq!(other.get("/customers").status, StatusCode::OK);
    assert!(set_cookies(&other.get("/customers")).is_empty(), "but not with every answer");
    shop.pass(30 * DAY);
    assert_eq!(other.get("/customers").status, StatusCode::SEE_OTHER, "one that nobody used has ended");

    let mut changed = locked();
    let mut old = Browser::signed_in(&changed.router());
    changed.config.dashboard.password_hash = Secret::new(password::hash(PASSWORD).unwrap());
    let mut browser = Browser::new(&changed.router());
    browser.cookies.append(&mut old.cookies);
    assert_eq!(browser.get("/customers").status, StatusCode::SEE_OTHER, "another hash of the same password ends all");
}

#[test]
fn nobody_can_plant_a_session() {
    let shop = locked();
    let router = shop.router();
    let mut victim = Browser::new(&router);
    // What an attacker has: a session of before, and the cookie's name.
    let mut attacker = Browser::signed_in(&router);
    attacker.post("/logout", "");
    let planted = "AAAAAAAAAAAAAAAAAAAAAAAAAaAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    victim.cookies.insert(SESSION.to_owned(), planted.to_owned());
    assert_eq!(victim.get("/customers").status, StatusCode::SEE_OTHER);
    assert_eq!(victim.sign_in(PASSWORD).status, StatusCode::SEE_OTHER);
    assert_ne!(victim.cookies[SESSION], planted, "signing in begins a session of its own");
    attacker.cookies.insert(SESSION.to_owned(), planted.to_owned());
    assert_eq!(attacker.get("/customers").status, StatusCode::SEE_OTHER, "the planted one is still nothing");

    // A session of another database with the same password is nothing here.
    let mut elsewhere = Browser::signed_in(&router);
    let mut here = Browser::new(&shop.router_with_key([8; 32]));
    here.cookies.append(&mut elsewhere.cookies);
    assert_eq!(here.get("/customers").status, StatusCode::SEE_OTHER);
}

#[test]
fn guessing_is_slow_and_keeps_nobody_out() {
    let shop = locked();
    let router = shop.router();
    let mut merchant = Browser::signed_in(&router);
    merchant.post("/logout", "");
    let mut attacker = Browser::new(&router);
    for n in 0..5 {
        // Headers that say on whose behalf a proxy asks can be made up.
        attacker.headers =
            vec![("x-forwarded-for", format!("203.0.113.{n}")), ("forwarded", format!("for=192.0.2.{n}"))];
        let answer = attacker.sign_in(&format!("guess {n}"));
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.text("[role=alert]"), "This is not the password.");
        assert!(answer.headers.contains_key("www-authenticate") && set_cookies(&answer).is_empty());
    }
    attacker.headers = vec![("x-forwarded-for", "203.0.113.99".to_owned())];
    for password in ["guess 6", PASSWORD] {
        let answer = attacker.sign_in(password);
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "61"));
        assert_eq!(answer.text("h1"), "Not so fast");
        assert!(set_cookies(&answer).is_empty() && answer.texts("nav a").is_empty());
    }
    assert_eq!(attacker.get("/login").status, StatusCode::OK);

    // The merchant is not kept out: neither where they have signed in before, through the same
    // proxy, nor on the machine itself, nor from another address; and open sessions go on.
    merchant.headers.clone_from(&attacker.headers);
    assert_eq!(merchant.sign_in(PASSWORD).status, StatusCode::SEE_OTHER);
    assert_eq!(Browser::new(&router).sign_in(PASSWORD).status, StatusCode::SEE_OTHER);
    assert_eq!(merchant.get("/customers").status, StatusCode::OK);
    assert_eq!(Browser::from(&router, "192.0.2.1").sign_in(PASSWORD).status, StatusCode::SEE_OTHER);
    // Having signed in before is nothing that an attacker can claim.
    let known: Vec<_> = merchant.cookies.iter().filter(|(name, _)| *name != SESSION).collect();
    let [(name, value)] = known[..] else { panic!("{known:?}") };
    let forged = format!("{}{}", &value[..value.len() - 4], if value.ends_with("AAAA") { "BBBB" } else { "AAAA" });
    attacker.cookies.insert(name.clone(), forged);
    assert_eq!(attacker.sign_in("guess 7").status, StatusCode::TOO_MANY_REQUESTS);
    attacker.cookies.clear();

    shop.pass(MINUTE);
    assert_eq!(attacker.sign_in("guess 8").status, StatusCode::UNAUTHORIZED);
    assert_eq!(attacker.sign_in(PASSWORD).status, StatusCode::SEE_OTHER, "after a minute a try counts again");
}

#[test]
fn many_addresses_and_made_up_headers_do_not_add_up() {
    let shop = locked();
    let router = shop.router();
    let mut merchant = Browser::signed_in(&router);
    merchant.post("/logout", "");
    merchant.address = "203.0.113.50".parse().unwrap();
    let mut guessed = 0;
    for n in 0..60 {
        let mut attacker = Browser::from(&router, &format!("2001:db8:{n:x}::1"));
        if n % 2 == 0 {
            attacker.headers = vec![("x-forwarded-for", format!("203.0.113.{n}"))];
        }
        match attacker.sign_in(&format!("guess {n}")).status {
            StatusCode::UNAUTHORIZED => guessed += 1,
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
    assert_eq!(guessed, 20, "of all strangers together");
    assert_eq!(Browser::from(&router, "192.0.2.1").sign_in(PASSWORD).status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(merchant.sign_in(PASSWORD).status, StatusCode::SEE_OTHER, "a browser that was here before");
    assert_eq!(Browser::new(&router).sign_in(PASSWORD).status, StatusCode::SEE_OTHER, "and the machine itself");
    shop.pass(MINUTE);
    assert_eq!(Browser::from(&router, "192.0.2.1").sign_in(PASSWORD).status, StatusCode::SEE_OTHER);
}

#[test]
fn a_flood_of_guesses_is_five_guesses() {
    let shop = locked();
    let router = shop.router();
    let statuses: Vec<StatusCode> = std::thread::scope(|threads| {
        let one = |n: usize| {
            let router = &router;
            move || Browser::new(router).sign_in(&format!("guess {n}")).status
        };
        let running: Vec<_> = (0..20).map(|n| threads.spawn(one(n))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|found| **found == status).count();
    assert_eq!((count(StatusCode::UNAUTHORIZED), count(StatusCode::TOO_MANY_REQUESTS)), (5, 15));
}

#[test]
fn a_proxy_with_https_is_believed_when_there_is_a_password() {
    let shop = locked();
    let router = shop.router();
    let mut browser = Browser::new(&router);
    browser.headers = vec![("x-forwarded-proto", "https".to_owned()), ("x-forwarded-for", "203.0.113.7".to_owned())];
    let answer = browser.sign_in(PASSWORD);
    for cookie in set_cookies(&answer) {
        assert!(cookie.starts_with("__Host-quintile_") && cookie.ends_with("; Secure"), "{cookie}");
    }
    assert_eq!(browser.get("/customers").status, StatusCode::OK);
    browser.headers.clear();
    assert_eq!(browser.get("/customers").status, StatusCode::SEE_OTHER, "a cookie of HTTPS is none of plain HTTP");

    // The other header for it, of RFC 7239.
    let mut standard = Browser::new(&router);
    standard.headers = vec![("forwarded", "for=203.0.113.7;proto=https;host=localhost, for=10.0.0.2".to_owned())];
    let answer = standard.sign_in(PASSWORD);
    assert!(set_cookies(&answer).iter().all(|cookie| cookie.starts_with("__Host-") && cookie.ends_with("; Secure")));
    assert_eq!(standard.get("/customers").status, StatusCode::OK);
    standard.headers.clear();
    assert_eq!(standard.get("/customers").status, StatusCode::SEE_OTHER);

    // One that was planted over plain HTTP is not looked at behind HTTPS.
    let plain = Browser::signed_in(&router).cookies;
    browser.headers = vec![("x-forwarded-proto", "https".to_owned())];
    browser.cookies = plain;
    assert_eq!(browser.get("/customers").status, StatusCode::SEE_OTHER);

    let open = Shop::scored(60);
    for name in ["x-forwarded-proto", "forwarded", "x-forwarded-for"] {
        for path in ["/", "/login", "/healthz", "/api/v1/customers"] {
            let answer = open.send(Method::GET, path, &[("host", "localhost"), (name, "https")]);
            assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{name} {path}");
            assert!(answer.body.contains("hash-password"), "{path}");
        }
    }
}

#[test]
fn other_sites_and_other_names_get_nowhere() {
    let shop = locked();
    let router = shop.router();
    let session = Browser::signed_in(&router).cookies;
    let cookie = session.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let send = |method: Method, path: &str, headers: &[(&str, &str)]| {
        crate::support::pages::send(
            router.clone(),
            method,
            path,
            &[&[form, ("cookie", cookie.as_str())][..], headers].concat(),
        )
    };
    for (method, path) in [
        (Method::POST, "/login"),
        (Method::POST, "/logout"),
        (Method::POST, "/runs"),
        (Method::POST, "/api/v1/runs"),
        (Method::POST, "/api/v1/deliveries/retry"),
        (Method::DELETE, "/api/v1/customers/7"),
    ] {
        for origin in ["null", "https://evil.example", "http://localhost:1", "https://localhost.evil.example"] {
            let answer = send(method.clone(), path, &[("host", "localhost"), ("origin", origin)]);
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path} {origin}");
        }
        let answer = send(method.clone(), path, &[("host", "localhost"), ("sec-fetch-site", "cross-site")]);
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        let rebound = [("host", "evil.example"), ("origin", "http://evil.example")];
        let answer = send(method.clone(), path, &rebound);
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{method} {path}");
        assert!(answer.body.contains("allowed_hosts") && !answer.body.contains("Lantern"));
    }
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM customers WHERE redacted_at IS NULL"), 60);
    assert!(shop.asked.is_empty(), "a run was started");
    assert_eq!(send(Method::GET, "/customers", &[("host", "localhost")]).status, StatusCode::OK, "the session goes on");
}

#[test]
fn no_secret_is_on_any_page() {
    let mut shop = locked();
    let token = fresh_token().unwrap();
    let secret = |text: &str| Secret::new(format!("{text}-hunter2"));
    let config = &mut shop.config;
    let hash = hash_of(token.expose());
    config.dashboard.token =
        vec![Token { name: "t".to_owned(), scopes: vec![Scope::Admin], hash: Secret::new(hash.clone()) }];
    config.webhooks.shopify.secrets = vec![secret("shpss")];
    config.webhooks.woocommerce.secrets = vec![secret("woo")];
    config.webhooks.orders.secrets = vec![secret("whsec")];
    config.shopify.client_id = secret("id");
    config.shopify.client_secret = secret("client");
    config.destination[0].secret = secret("whsec");
    config.destination[0].secrets = [("api_key".to_owned(), secret("pk"))].into();
    config.destination[1].headers = [("x-key".to_owned(), "{{ secret.token }}".to_owned())].into();
    config.destination[1].secrets = [("token".to_owned(), secret("token"))].into();
    let password_hash = config.dashboard.password_hash.expose().to_owned();
    let mut browser = Browser::signed_in(&shop.router());
    let session = browser.cookies[SESSION].clone();
    let secrets = ["hunter2", PASSWORD, &password_hash, "$argon2", &hash, token.expose(), &session];
    for path in [
        "/",
        "/segments",
        "/segments/at_risk",
        "/customers",
        "/customers/7",
        "/runs",
        "/runs/25",
        "/deliveries",
        "/deliveries/1",
        "/destinations",
        "/import",
        "/syncs",
        "/settings",
        "/login",
        "/nowhere",
        "/customers.csv",
        "/runs.csv",
        "/segments.csv",
        "/deliveries.csv",
        "/destinations.csv",
        "/import.csv",
        "/syncs.csv",
        "/deliveries/decide?action=discard&state=waiting",
        "/metrics",
        "/readyz",
        "/healthz",
        "/api/v1/segments",
        "/api/v1/customers",
        "/api/v1/runs",
        "/api/v1/events",
        "/api/v1/deliveries",
        "/api/v1/destinations",
        "/api/v1/openapi.json",
        "/api/v1/nowhere",
        "/%ff",
    ] {
        let answer = browser.get(path);
        for secret in secrets {
            assert!(!answer.body.contains(secret), "{path} shows {secret}");
        }
    }
    let wrong = Browser::new(&shop.router()).sign_in("wrong-hunter2");
    assert!(secrets.iter().all(|secret| !wrong.body.contains(secret)), "the form shows what was typed");
}
