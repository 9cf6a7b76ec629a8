//! The password and the tokens, from the command that makes them to the server that asks for them.

use std::{
    io::{Read, Write},
    process::Stdio,
};

use serde_json::{Value, json};

use super::Home;
use crate::support::{
    http,
    merchant::{Merchant, SHOP, post_orders, post_shopify, score_and_wait, shopify_order},
    process::{Server, eventually, quintile, signal},
};

const PASSWORD: &str = "correct horse battery";

/// What `hash-password` says to a piped password: exit code, standard output, standard error.
fn hash(home: &Home, input: &str) -> (Option<i32>, String, String) {
    let mut child = home
        .command(&["hash-password"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_dashboard_for_others_needs_a_password() {
    let home = Home::new("[webhooks]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"0.0.0.0:0\"\n");
    let refused = home.run(&["serve"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.err.contains("config.toml:4:10: dashboard.listen") && refused.err.contains("quintile hash-password")
    );

    let (code, out, _) = hash(&home, &format!("{PASSWORD}\nmore\n"));
    assert_eq!(code, Some(0));
    assert!(out.starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && out.lines().count() == 1);
    home.write(
        "config.toml",
        &format!(
            "[webhooks]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"0.0.0.0:0\"\npassword_hash = \"{}\"\n",
            out.trim_end()
        ),
    );
    let server = Server::start(&home.path(""));
    let dashboard = server.dashboard.replace("0.0.0.0", "127.0.0.1");
    assert_eq!(http::get(&format!("{dashboard}/")).unwrap().status, 303);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let right = format!("password={}", PASSWORD.replace(' ', "+"));
    assert_eq!(http::post(&format!("{dashboard}/login"), &form, right.as_bytes()).unwrap().status, 303);
    for expected in [401, 401, 401, 401, 401, 429] {
        let wrong = http::post(&format!("{dashboard}/login"), &form, b"password=wrong").unwrap();
        assert_eq!(wrong.status, expected);
    }
}

#[test]
fn passwords_that_are_none() {
    let home = Home::new("");
    for (input, says) in [
        ("short\n", "fewer than 8"),
        ("\n", "fewer than 8"),
        ("", "fewer than 8"),
        (&"x".repeat(2000), "more than 1024"),
    ] {
        let (code, out, err) = hash(&home, input);
        assert_eq!((code, out.as_str()), (Some(2), ""));
        assert!(err.contains(says) && (input.trim().is_empty() || !err.contains(input.trim())), "{err}");
    }
}

#[test]
fn a_token_works_when_its_lines_are_in_the_file() {
    let home = Home::new("[webhooks]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n");
    let made = home.run(&["token", "the \"shop\"", "--scope", "ingest", "--scope", "read"]);
    let token = made.err.trim_end().rsplit(' ').next().unwrap();
    assert!(made.code == 0 && token.starts_with("quintile_") && !made.out.contains(token), "{}", made.err);
    let config = format!("{}{}", std::fs::read_to_string(home.path("config.toml")).unwrap(), made.out);
    home.write("config.toml", &config);
    let server = Server::start(&home.path(""));
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let orders = json!({"id": "1", "orderedAt": "2026-01-01T00:00:00Z", "total": "1.00", "status": "paid"}).to_string();
    let sent = http::post(&format!("{}/api/v1/orders", server.dashboard), &headers, orders.as_bytes()).unwrap();
    assert_eq!((sent.status, sent.body.contains("\"accepted\":1")), (200, true), "{}", sent.body);
    assert_eq!(http::post(&format!("{}/api/v1/runs", server.dashboard), &headers, b"").unwrap().status, 403);
    drop(server);

    let made: Value = serde_json::from_str(&home.ok(&["token", "a", "--scope", "admin", "--format", "json"])).unwrap();
    assert_eq!((&made["name"], &made["scopes"]), (&json!("a"), &json!(["admin"])));
    assert!(made["token"].as_str().unwrap().len() == 52 && made["hash"].as_str().unwrap().len() == 71);
    let again: Value = serde_json::from_str(&home.ok(&["token", "a", "--scope", "admin", "--format", "json"])).unwrap();
    assert_ne!(made["token"], again["token"]);
    home.fails(2, &["token", "a"]);
    home.fails(2, &["token", "a", "--scope", "write"]);
    home.fails(2, &["token", " ", "--scope", "read"]);
}

/// The log at its most talkative, while everything that is secret is used and misused; and what is stored.
#[test]
fn no_secret_is_in_the_log_or_in_a_file() {
    let home = Home::with_orders();
    let hash = hash(&home, &format!("{PASSWORD}\n")).1;
    let made: Value = serde_json::from_str(&home.ok(&["token", "t", "--scope", "admin", "--format", "json"])).unwrap();
    let (token, token_hash) = (made["token"].as_str().unwrap(), made["hash"].as_str().unwrap());
    home.write(
        "config.toml",
        &format!(
            "[webhooks]\nlisten = \"127.0.0.1:0\"\n[webhooks.shopify]\nsecrets = [\"shpss-hunter2\"]\n[dashboard]\nlisten = \"127.0.0.1:0\"\npassword_hash = \"{}\"\n\
             [[dashboard.token]]\nname = \"t\"\nscopes = [\"admin\"]\nhash = \"{token_hash}\"\n\
             [forwarder]\nbaseline = \"send\"\nallow_private = [\"127.0.0.0/8\"]\n\
             [[destination]]\nname = \"tool\"\nurl = \"http://127.0.0.1:9/hunter2\"\nallow_http = true\nsecret = \"whsec_aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg==\"\n",
            hash.trim_end()
        ),
    );
    let mut child = quintile(&home.path(""), &["serve"])
        .env("QUINTILE_LOG", "trace")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        let mut text = Vec::new();
        errors.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut address = |name: &str| {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        line.strip_prefix(name).expect("where it listens").trim().to_owned()
    };
    let (dashboard, webhooks) = (address("dashboard"), address("webhooks"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let bearer = |token: &str| format!("Bearer {token}");
    let url = |path: &str| format!("{dashboard}{path}");
    for password in [PASSWORD, "wrong-hunter2"] {
        http::post(&url("/login"), &form, format!("password={}", password.replace(' ', "+")).as_bytes()).unwrap();
    }
    for token in [token, "hunter2"] {
        let bearer = bearer(token);
        http::post(&url("/api/v1/destinations/tool/test"), &[("authorization", &bearer)], b"").unwrap();
        http::post(&url("/api/v1/deliveries/retry"), &[("authorization", &bearer)], b"hunter2").unwrap();
    }
    http::get(&url("/?password=hunter2")).unwrap();
    let signed = [("x-shopify-hmac-sha256", "hunter2"), ("x-shopify-topic", "orders/create")];
    http::post(&format!("{webhooks}/webhooks/shopify"), &signed, b"{\"email\":\"hunter2@example.com\"}").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let log = log.join().unwrap();
    assert!(log.contains("wrong password") && log.contains("signed in"), "{log}");
    let secrets = ["hunter2", "aHVudGVyMi", PASSWORD, "correct+horse", "$argon2", token, token_hash];
    for secret in secrets {
        assert!(!log.contains(secret), "{secret} is in the log:\n{log}");
    }

    // Nobody answers at the secret address, which is noted with each try.
    home.ok(&["score"]);
    home.run(&["deliver", "--until-idle"]);
    assert!(home.ok(&["deliveries", "--format", "json"]).contains("refused"), "it was tried");
    home.ok(&["backup", "copy.db"]);
    for file in ["quintile.db", "copy.db"] {
        let bytes = std::fs::read(home.path(file)).unwrap();
        for secret in secrets {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {file}");
        }
    }
}

/// The log at its most talkative names ids, while people come in, cannot be read, are looked for and are forgotten.
#[test]
fn nobody_is_named_in_the_log() {
    let merchant = Merchant::new("http://127.0.0.1:9/");
    let mut command = quintile(merchant.path(), &["serve"]);
    command.env("QUINTILE_LOG", "trace");
    let mut server = Server::try_start_as(command).unwrap();
    let umask = std::fs::read_to_string(format!("/proc/{}/status", server.id())).unwrap();
    assert!(umask.contains("\nUmask:\t0077\n"), "whatever it makes is its own: {umask}");

    let send = |topic: &str, id: &str, body: &Value| {
        assert_eq!(post_shopify(&server, topic, id, body).unwrap().status, 200);
    };
    let mut order = shopify_order(1, 99, "10.00", "2026-10-01T10:00:00Z");
    order["shipping_address"] = json!({"name": "Zoë Núñez", "address1": "Privet Drive 4", "phone": "+4915112345"});
    send("orders/create", "w-1", &order);
    (order["id"], order["processed_at"], order["created_at"]) = (json!(2), json!("c99@example.com"), json!("Privet"));
    send("orders/create", "w-2", &order);
    let generic = json!({"id": "x1", "orderedAt": "c99@example.com", "total": "Núñez", "email": "c99@example.com"});
    post_orders(&server, "m-1", &generic).unwrap();
    score_and_wait(&merchant, &server);
    for page in ["/customers?q=c99%40example.com", "/customers", "/deliveries", "/inbox"] {
        http::get(&format!("{}{page}", server.dashboard)).unwrap();
    }
    send("customers/redact", "w-3", &json!({"shop_domain": SHOP, "customer": {"id": 99, "email": "c99@example.com"}}));
    eventually("the erasure", || {
        let left: i64 = merchant
            .sql()
            .query_row("SELECT count(*) FROM customers WHERE email IS NOT NULL", [], |row| row.get(0))
            .unwrap();
        (left == 0).then_some(())
    });
    signal(server.id(), "TERM");
    let (_, log) = server.end();
    assert!(log.contains("TRACE") && log.contains("quarantined"), "{log}");
    for word in ["c99@", "c99%40", "Núñez", "Zoë", "Privet", "4915112345"] {
        assert!(!log.contains(word), "{word} is in the log:\n{log}");
    }
}

/// A tunnel that exposes webhooks exposes nothing of the dashboard, and the other way round.
#[test]
fn each_listener_has_its_own_addresses() {
    let home = Home::new("[webhooks]\nlisten = \"127.0.0.1:0\"\n[dashboard]\nlisten = \"127.0.0.1:0\"\n");
    let server = Server::start(&home.path(""));
    for path in [
        "/",
        "/segments",
        "/customers",
        "/customers.csv",
        "/customers/1",
        "/runs",
        "/deliveries",
        "/destinations",
        "/import",
        "/settings",
        "/login",
        "/logout",
        "/metrics",
        "/readyz",
        "/assets/quintile.css",
        "/api/v1/customers",
        "/api/v1/openapi.json",
        "/api/v1/orders",
    ] {
        for answer in [
            http::get(&format!("{}{path}", server.webhooks)).unwrap(),
            http::post(&format!("{}{path}", server.webhooks), &[], b"").unwrap(),
        ] {
            assert_eq!(answer.status, 404, "{path} on the webhooks listener");
            assert!(!answer.body.contains("<html"), "{path}");
        }
    }
    for path in ["/webhooks/shopify", "/webhooks/woocommerce", "/webhooks/orders", "/webhooks"] {
        for answer in [
            http::get(&format!("{}{path}", server.dashboard)).unwrap(),
            http::post(&format!("{}{path}", server.dashboard), &[], b"{}").unwrap(),
        ] {
            assert_eq!(answer.status, 404, "{path} on the dashboard listener");
        }
    }
}
