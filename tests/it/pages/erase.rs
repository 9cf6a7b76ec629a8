//! Forgetting a person on their page.

use axum::{
    body::Body,
    http::{Method, Request, StatusCode},
};

use crate::support::pages::{Answer, Shop, send_request};

fn post(router: &axum::Router, path: &str, body: &str) -> Answer {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("host", "127.0.0.1:8787")
        .header("origin", "http://127.0.0.1:8787")
        .header("content-type", "application/x-www-form-urlencoded");
    send_request(router.clone(), request.body(Body::from(body.to_owned())).unwrap())
}

/// All that may name customer 29, or be changed by an erasure.
fn traces(shop: &Shop) -> String {
    shop.value(
        "SELECT json_array(
           (SELECT json_array(email, first_name, last_name, redacted_at) FROM customers WHERE id = 29),
           (SELECT count(*) FROM tombstones), (SELECT count(*) FROM outbox), (SELECT count(*) FROM deliveries))",
    )
}

#[test]
fn what_was_typed_must_be_theirs() {
    let shop = Shop::scored(100);
    let router = shop.router();
    let before = traces(&shop);
    for typed in ["", "confirm=", "confirm=28", "confirm=yes", "confirm=nobody%40example.com", "other=29"] {
        let page = post(&router, "/customers/29/erase", typed);
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{typed}");
        assert!(page.text("#main").contains("Nothing was erased"), "{typed}");
        assert_eq!(traces(&shop), before, "{typed}");
    }
    for path in ["/customers/999999/erase", "/customers/x/erase"] {
        assert_eq!(post(&router, path, "confirm=29").status, StatusCode::NOT_FOUND);
    }
    assert_eq!(shop.get("/customers/29/erase").status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(traces(&shop), before);
}

#[test]
fn a_person_is_erased_and_the_list_says_what_was_done() {
    let shop = Shop::scored(100);
    let router = shop.router();
    let email: String = shop.value("SELECT email FROM customers WHERE id = 29");
    let page = shop.get("/customers/29");
    assert_eq!(page.text(".erase label"), format!("Type 29 or {email} to confirm"));
    let done = post(&router, "/customers/29/erase", &format!("confirm=+{}", email.to_uppercase().replace('@', "%40")));
    assert_eq!((done.status, done.location()), (StatusCode::SEE_OTHER, "/customers?erased=29"));
    assert_eq!(shop.value::<i64>("SELECT email IS NULL AND first_name IS NULL FROM customers WHERE id = 29"), 1);
    assert_eq!(
        shop.value::<i64>("SELECT count(*) FROM outbox WHERE type = 'customer/redacted' AND customer_id = 29"),
        1
    );

    let said = crate::support::pages::send(router, Method::GET, done.location(), &[("host", "localhost")]);
    let said = said.text(".notice");
    assert!(said.starts_with("Erased Customer 29 has no name any more; their orders go on counting."), "{said}");
    assert!(said.contains("Told to erase them too: klaviyo, brevo."), "{said}");
    // After a restart it says less, and of somebody who was not erased nothing.
    assert!(shop.get("/customers?erased=29").text(".notice").starts_with("Erased Customer 29 was erased on"));
    for path in ["/customers?erased=30", "/customers?erased=x", "/customers?erased=999999"] {
        assert_eq!(shop.get(path).texts(".notice").len(), 0, "{path}");
    }
    let page = shop.get("/customers/29");
    assert_eq!(page.texts(".erase").len(), 0, "there is nothing left to erase");
    assert!(!page.body.contains(&email));
}
