//! What is listed, page by page, and that the commands say the same.

use axum::http::Method;
use serde_json::{Value, json};

use super::{get, problem, send};
use crate::support::{
    folder::MERGED,
    http,
    merchant::{Merchant, post_orders, score_and_wait},
    pages::Shop,
    process::Server,
};

/// Every entry of a list, in pages of `limit`.
fn walk(mut page: impl FnMut(&str) -> Value, path: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    let sign = if path.contains('?') { '&' } else { '?' };
    loop {
        let found = page(&format!("{path}{sign}limit={limit}{cursor}"));
        let data = found["data"].as_array().unwrap();
        assert!(data.len() <= limit);
        all.extend(data.iter().cloned());
        match found["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
        assert!(all.len() < 100_000, "{path} never ends");
    }
}

#[test]
fn pages_are_the_whole_list() {
    let shop = Shop::scored(300);
    for path in [
        "/api/v1/segments",
        "/api/v1/customers",
        "/api/v1/customers?segment=at_risk",
        "/api/v1/customers?r=5&f=4",
        "/api/v1/customers?search=anna",
        "/api/v1/runs",
        "/api/v1/events",
        "/api/v1/deliveries",
        "/api/v1/deliveries?state=delivered&destination=brevo",
        "/api/v1/destinations",
    ] {
        let whole = walk(|path| get(&shop, path), path, 1000);
        assert!(!whole.is_empty(), "{path}");
        assert_eq!(walk(|path| get(&shop, path), path, 7), whole, "{path}");
    }
}

#[test]
fn filters_are_those_of_the_page() {
    let shop = Shop::scored(300);
    let all = walk(|path| get(&shop, path), "/api/v1/customers", 100);
    assert_eq!(all.len(), 300);
    let of = |query: &str| walk(|path| get(&shop, path), &format!("/api/v1/customers?{query}"), 100);
    let those = |passes: &dyn Fn(&Value) -> bool| all.iter().filter(|it| passes(it)).cloned().collect::<Vec<_>>();
    assert_eq!(of("segment=champion"), those(&|it| it["segment"] == "champion"));
    assert_eq!(of("r=5&m=1"), those(&|it| it["r"] == 5 && it["m"] == 1));
    assert_eq!(of("search=anna.1%40"), those(&|it| it["email"].as_str().is_some_and(|it| it.starts_with("anna.1@"))));
    assert_eq!(of("search=17").first().unwrap()["id"], "17");
    assert_eq!(of("segment=&search="), all, "empty is as if absent");
}

#[test]
fn what_cannot_be_read_is_said() {
    let shop = Shop::scored(60);
    for (path, status, says) in [
        ("customers?limit=0", 400, "limit is 0; write a number from 1 to 1000"),
        ("customers?limit=x", 400, "the parameters: limit: write a whole number"),
        ("customers?limit=1&limit=2", 400, "limit"),
        ("customers?segmnt=lost", 400, "segmnt"),
        ("customers?segment=lsot", 400, "write champion"),
        ("customers?r=6", 400, "write 1 to 5"),
        ("customers?cursor=x", 400, "nextCursor"),
        ("runs?cursor=c2VxOjE", 400, "cursor"),
        ("events?after_seq=-1", 400, "after_seq"),
        ("events?after_seq=1&cursor=c2VxOjE", 400, "either"),
        ("deliveries?state=lost", 400, "waiting, sending"),
        ("customers/0", 404, "no customer 0"),
        ("customers/x", 404, "no customer"),
        ("customers/%ff", 400, "the address: Invalid UTF-8 in `"),
        ("nothing", 404, "/api/v1/openapi.json"),
        ("", 404, "/api/v1/openapi.json"),
        ("customers/7/orders", 404, "/api/v1/openapi.json"),
    ] {
        let detail = problem(&send(&shop, Method::GET, &format!("/api/v1/{path}"), ""), status);
        assert!(detail.contains(says), "{path}: {detail}");
    }
    let outside = problem(&send(&shop, Method::GET, "/api/v2/customers", ""), 404);
    assert!(!outside.is_empty());
    let wrong = send(&shop, Method::PUT, "/api/v1/customers/7", "");
    problem(&wrong, 405);
    assert_eq!(wrong.header("allow"), "GET,HEAD,DELETE");
}

#[test]
fn who_is_in_no_list_is_nowhere() {
    let shop = Shop::scored(60);
    shop.folder.except(&[MERGED]);
    shop.execute(
        "UPDATE customers SET merged_into = 3 WHERE id = 2; UPDATE customers SET deleted_at = 1 WHERE id = 4;
         UPDATE customers SET order_count = 0 WHERE id = 5;",
    );
    let detail = |id: &str| problem(&send(&shop, Method::GET, &format!("/api/v1/customers/{id}"), ""), 404);
    assert_eq!(detail("2"), "customer 2 was merged into customer 3");
    assert_eq!(detail("4"), "customer 4 was deleted in the shop");
    let customer = get(&shop, "/api/v1/customers/5");
    assert!(customer["segment"].is_null() && customer["r"].is_null(), "without an order there is no segment");
    assert_eq!(get(&shop, "/api/v1/customers")["data"].as_array().unwrap().len(), 58);
}

#[test]
fn events_are_written_as_destinations_get_them() {
    let shop = Shop::scored(60);
    let body = send(&shop, Method::GET, "/api/v1/events?limit=1", "").body;
    let order = [
        "\"type\":",
        "\"timestamp\":",
        "\"id\":",
        "\"seq\":",
        "\"data\":",
        "\"shopId\":",
        "\"customerId\":",
        "\"oldSegment\":",
        "\"newSegment\":",
        "\"eventTimestamp\":",
        "\"runId\":",
        "\"customer\":",
        "\"nextCursor\":",
    ];
    assert!(body.starts_with("{\"data\":[{\"type\":"), "{body}");
    let event = &body["{\"data\":[".len()..];
    let places: Vec<usize> = order.iter().map(|key| event.find(key).unwrap()).collect();
    assert!(places.is_sorted(), "{body}");
}

#[test]
fn a_new_shop_has_empty_lists() {
    let shop = Shop::empty();
    for list in ["segments", "customers", "runs", "events", "deliveries"] {
        assert_eq!(get(&shop, &format!("/api/v1/{list}")), json!({"data": [], "nextCursor": null}), "{list}");
    }
}

#[test]
fn the_commands_say_the_same() {
    let merchant = Merchant::new("http://127.0.0.1:9");
    let server = Server::start(merchant.path());
    let orders: Vec<Value> = (1..=20)
        .map(|n| {
            json!({"id": n.to_string(), "customer": {"id": (n % 12).to_string(), "email": format!("c{}@example.com", n % 12)},
                   "orderedAt": format!("2026-0{}-01T00:00:00Z", 1 + n % 9), "total": format!("{n}.50"), "status": "paid"})
        })
        .collect();
    assert_eq!(post_orders(&server, "m1", &json!({"orders": orders})).unwrap().status, 200);
    score_and_wait(&merchant, &server);
    // Until the tool that is not there was tried, the two could look at different moments.
    merchant.run(&["destinations", "pause", "my-tool"]);
    let api = |path: &str| {
        let answer = http::get(&format!("{}{path}", server.dashboard)).unwrap();
        assert_eq!(answer.status, 200, "{path}");
        serde_json::from_str(&answer.body).unwrap()
    };
    for list in ["segments", "customers", "runs", "events", "deliveries", "destinations"] {
        let mut told = walk(api, &format!("/api/v1/{list}"), 5);
        if list == "customers" {
            told.reverse(); // the newest first, as on the page
        }
        assert!(!told.is_empty());
        assert_eq!(Value::from(told), merchant.json(&[list]), "{list}");
    }
    let one: Value = api("/api/v1/customers/3");
    assert_eq!(one, merchant.json(&["customer", "3"]));
}
