//! What programs may change.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{get, good, problem, send};
use crate::support::{browser::Browser, pages::Shop};

#[test]
fn a_run_is_asked_for() {
    let mut shop = Shop::scored(60);
    for _ in 0..2 {
        let answer = send(&shop, Method::POST, "/api/v1/runs", "");
        assert_eq!((answer.status, good(&answer)), (StatusCode::ACCEPTED, json!({"accepted": true})));
    }
    assert!(shop.asked.try_recv().is_ok() && shop.asked.try_recv().is_err(), "one run for both");
    shop.asked.close();
    let answer = send(&shop, Method::POST, "/api/v1/runs", "");
    assert_eq!(answer.header("retry-after"), "5");
    assert!(problem(&answer, 503).contains("restart"));
}

/// Deliveries of klaviyo become dead, of brevo some retrying.
fn with_failures() -> Shop {
    let shop = Shop::scored(60);
    shop.execute(
        "UPDATE deliveries SET state = 'dead' WHERE destination = 'klaviyo';
         UPDATE deliveries SET state = 'retrying', finished_at = NULL, due_at = 9000000000000
          WHERE id IN (SELECT min(id) FROM deliveries WHERE destination = 'brevo' GROUP BY customer_id);",
    );
    shop
}

fn count(shop: &Shop, state: &str) -> i64 {
    shop.value(&format!("SELECT count(*) FROM deliveries WHERE state = '{state}'"))
}

#[test]
fn failed_deliveries_are_tried_again() {
    let shop = with_failures();
    let (dead, retrying) = (count(&shop, "dead"), count(&shop, "retrying"));
    assert!(dead > 0 && retrying > 0);
    let retry = |body: &Value| good(&send(&shop, Method::POST, "/api/v1/deliveries/retry", &body.to_string()));
    let all = dead + retrying;
    assert_eq!(retry(&json!({"all": true, "dryRun": true})), json!({"matched": all, "retried": 0}));
    assert_eq!(retry(&json!({"destination": "nobody"})), json!({"matched": 0, "retried": 0}));
    assert_eq!(count(&shop, "dead"), dead);

    let id: i64 = shop.value("SELECT min(id) FROM deliveries WHERE state = 'dead'");
    assert_eq!(retry(&json!({"deliveryId": id.to_string()})), json!({"matched": 1, "retried": 1}));
    assert_eq!((count(&shop, "dead"), count(&shop, "superseded")), (dead - 1, 1));
    assert_eq!(retry(&json!({"state": "retrying"})), json!({"matched": retrying, "retried": retrying}));
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM deliveries WHERE due_at = 9000000000000"), 0);
    let left = json!({"matched": dead - 1, "retried": dead - 1});
    assert_eq!(retry(&json!({"destination": "klaviyo", "state": "dead", "until": "2030-01-01T00:00:00Z"})), left);
    assert_eq!(count(&shop, "dead"), 0);
}

#[test]
fn a_retry_says_what_it_means() {
    let shop = with_failures();
    let dead = count(&shop, "dead");
    for (body, says) in [
        ("{}", "say which deliveries"),
        (r#"{"dryRun": true}"#, "say which deliveries"),
        (r#"{"state": "delivered"}"#, "retrying, dead"),
        (r#"{"runId": "x"}"#, "no id"),
        (r#"{"runId": "+1"}"#, "no id"),
        (r#"{"deliveryId": "-1"}"#, "no id"),
        (r#"{"customerId": " 1"}"#, "no id"),
        (r#"{"customerId": ""}"#, "no id"),
        (r#"{"customerId": "99999999999999999999"}"#, "no id"),
        (r#"["1"]"#, "JSON object"),
        (r#" [null, null, null, "dead"] "#, "JSON object"),
        (r#""dead""#, "JSON object"),
        ("null", "JSON object"),
        (r#"{"runId": 7}"#, "string"),
        (r#"{"since": "yesterday"}"#, "write it like"),
        (r#"{"destinaton": "brevo"}"#, "destinaton"),
        ("{", "the body: EOF"),
        ("[]", "JSON object"),
    ] {
        let detail = problem(&send(&shop, Method::POST, "/api/v1/deliveries/retry", body), 400);
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let mut browser = Browser::new(&shop.router());
    problem(&browser.post("/api/v1/deliveries/retry", "all=true"), 415);
    let large = format!("{{\"destination\": \"{}\"}}", "x".repeat(70_000));
    problem(&send(&shop, Method::POST, "/api/v1/deliveries/retry", &large), 413);
    assert_eq!(count(&shop, "dead"), dead);
}

#[test]
fn a_person_is_forgotten() {
    let shop = Shop::scored(60);
    let (email, spent): (String, i64) = (
        shop.value("SELECT email FROM customers WHERE id = 7"),
        shop.value("SELECT total_spent FROM customers WHERE id = 7"),
    );
    let erased = good(&send(&shop, Method::DELETE, "/api/v1/customers/7", ""));
    assert_eq!(erased["customers"], json!(["7"]));
    assert_eq!(erased["onTheirWay"], 0);
    assert_eq!(erased["byHand"].as_array().unwrap().len() + erased["told"].as_array().unwrap().len(), 2);
    let customer = get(&shop, "/api/v1/customers/7");
    assert!(customer["email"].is_null() && customer["firstName"].is_null());
    assert_eq!(shop.value::<i64>("SELECT total_spent FROM customers WHERE id = 7"), spent, "the numbers stay");
    let email: String = form_urlencoded::byte_serialize(email.as_bytes()).collect();
    let found = get(&shop, &format!("/api/v1/customers?search={email}"));
    assert_eq!(found["data"], json!([]));
    for id in ["61", "x", "-1", "+8", "8.0"] {
        assert!(problem(&send(&shop, Method::DELETE, &format!("/api/v1/customers/{id}"), ""), 404).contains(id));
    }
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM customers WHERE redacted_at IS NOT NULL"), 1);
}

#[test]
fn a_body_that_nobody_asked_for_is_refused_in_the_words_of_the_api() {
    let mut shop = Shop::scored(60);
    let large = "x".repeat(70_000);
    for (method, path) in [
        (Method::POST, "/api/v1/runs"),
        (Method::GET, "/api/v1/runs"),
        (Method::DELETE, "/api/v1/customers/7"),
        (Method::POST, "/api/v1/deliveries/retry"),
    ] {
        let told = [("content-length", "70000"), ("content-type", "application/json")];
        let answer = Browser::new(&shop.router()).send(method.clone(), path, &told, &large);
        assert_eq!(problem(&answer, 413), "the body is larger than 65536 bytes", "{method} {path}");
    }
    let told = [("content-length", "9000000"), ("content-type", "application/json")];
    let answer = Browser::new(&shop.router()).send(Method::POST, "/api/v1/orders", &told, "{}");
    assert_eq!(problem(&answer, 413), "the body is larger than 8388608 bytes");
    assert!(shop.asked.try_recv().is_err());
    assert_eq!(shop.value::<i64>("SELECT count(*) FROM customers WHERE redacted_at IS NOT NULL"), 0);
}

#[test]
fn an_address_that_is_none_is_said_to_be_none_of_the_api() {
    let shop = Shop::scored(60);
    for path in
        ["/api", "/api/", "/api/v1", "/api/v1/", "/api/v1/nowhere", "/api/v1/customers/7/orders", "/api/v2/runs"]
    {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let detail = problem(&send(&shop, method.clone(), path, ""), 404);
            assert_eq!(
                detail, "there is nothing at this address; /api/v1/openapi.json shows what there is",
                "{method} {path}"
            );
        }
    }
    assert!(problem(&send(&shop, Method::PUT, "/api/v1/runs", ""), 405).contains("Allow header"));
}

#[test]
fn a_destination_is_tried() {
    let mut shop = Shop::scored(60);
    "http://127.0.0.1:9/hook".clone_into(&mut shop.config.destination[1].url);
    shop.config.destination[1].allow_http = true;
    shop.config.destination[1].secret = quintile::config::Secret::random().unwrap();
    shop.config.destination.remove(0);
    shop.config.forwarder.allow_private = vec!["127.0.0.0/8".to_owned()];
    let tried = good(&send(&shop, Method::POST, "/api/v1/destinations/brevo/test", ""));
    assert_eq!((&tried["destination"], &tried["ok"]), (&json!("brevo"), &json!(false)));
    assert!(tried["diagnosis"].is_string() && tried["requests"][0]["status"].is_null(), "{tried}");
    let named = send(&shop, Method::POST, "/api/v1/destinations/brevo/test", r#"{"email": "anna@example.com"}"#);
    assert!(good(&named)["requests"][0]["body"].is_string());
    assert!(problem(&send(&shop, Method::POST, "/api/v1/destinations/klaviyo/test", ""), 404).contains("brevo"));
    problem(&send(&shop, Method::POST, "/api/v1/destinations/brevo/test", r#"{"e-mail": "x"}"#), 400);
}

#[test]
fn orders_come_in_as_they_do_with_a_signature() {
    let shop = Shop::empty();
    let router = shop.router();
    let order = |id: &str, total: &str| {
        json!({"id": id, "customer": {"id": "7001", "email": "anna@example.com"}, "orderedAt": "2026-11-01T00:00:00Z",
               "total": total, "currency": "EUR", "status": "paid"})
    };
    let post = |headers: &[(&str, &str)], body: &Value| {
        let headers = [&[("content-type", "application/json")][..], headers].concat();
        Browser::new(&router).send(Method::POST, "/api/v1/orders", &headers, &body.to_string())
    };
    let many = json!({"orders": [order("1", "10.00"), order("2", "20.00"), order("3", "x")]});
    let answer = good(&post(&[], &many));
    assert_eq!(
        (&answer["accepted"], &answer["stale"], &answer["rejected"][0]["id"]),
        (&json!(2), &json!(0), &json!("3"))
    );
    let spent = || shop.value::<i64>("SELECT total_spent FROM customers");
    assert_eq!(spent(), 3000);
    // Back and forth: the bytes of the first are no copy of it.
    for (total, sum) in [("15.00", 3500), ("10.00", 3000), ("15.00", 3500)] {
        shop.pass(1000);
        let headers = [("content-type", "application/json; charset=utf-8")];
        let answer =
            Browser::new(&router).send(Method::POST, "/api/v1/orders", &headers, &order("1", total).to_string());
        assert_eq!((good(&answer)["accepted"].clone(), spent()), (json!(1), sum));
    }
    // A copy by name changes nothing, even later.
    let key = [("idempotency-key", "import-1")];
    let later = |headers: &[(&str, &str)], total: &str| {
        shop.pass(1000);
        good(&post(headers, &order("1", total)))
    };
    assert_eq!(later(&key, "1.00")["accepted"], 1);
    assert_eq!(spent(), 2100);
    later(&[], "2.00");
    later(&key, "1.00");
    assert_eq!(spent(), 2200);
    assert_eq!(shop.value::<i64>("SELECT max(duplicates) FROM inbox"), 1);

    problem(&post(&[("idempotency-key", "")], &order("1", "1.00")), 400);
    problem(&post(&[("idempotency-key", "a"), ("idempotency-key", "b")], &order("1", "1.00")), 400);
    // Who is refused altogether can mend it and was told: nothing waits for the merchant.
    let kept = || shop.value::<i64>("SELECT count(*) FROM inbox");
    let before = kept();
    assert!(problem(&post(&[], &json!("x")), 400).contains("order"));
    assert_eq!(kept(), before);
    let text = Browser::new(&router).send(Method::POST, "/api/v1/orders", &[("content-type", "text/plain")], "{}");
    problem(&text, 415);
    let padded = format!("{}{}", " ".repeat(1024 * 1024), order("9", "1.00"));
    let json = [("content-type", "application/json")];
    let answer = Browser::new(&router).send(Method::POST, "/api/v1/orders", &json, &padded);
    assert_eq!(good(&answer)["accepted"], 1, "orders may be larger than other bodies");
    let larger = " ".repeat(9 * 1024 * 1024);
    problem(&Browser::new(&router).send(Method::POST, "/api/v1/orders", &json, &larger), 413);
}
