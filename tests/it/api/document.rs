//! The OpenAPI document tells of every route, and of nothing else.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{get, send};
use crate::support::pages::Shop;

#[test]
fn it_tells_of_every_operation() {
    let shop = Shop::scored(60);
    let document = get(&shop, "/api/v1/openapi.json");
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let operations: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().keys().map(move |method| format!("{method} {path}")))
        .collect();
    let expected = [
        "delete /api/v1/customers/{id}",
        "get /api/v1/customers",
        "get /api/v1/customers/{id}",
        "get /api/v1/deliveries",
        "get /api/v1/destinations",
        "get /api/v1/events",
        "get /api/v1/runs",
        "get /api/v1/segments",
        "post /api/v1/deliveries/retry",
        "post /api/v1/destinations/{name}/test",
        "post /api/v1/orders",
        "post /api/v1/runs",
    ];
    assert_eq!(operations, expected.map(str::to_owned).into());
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{name}");
            let scope = match name.as_str() {
                "post /api/v1/orders" => "ingest",
                _ if method == "get" => "read",
                _ => "admin",
            };
            assert_eq!(operation["security"], json!([{"token": [scope]}, {"session": []}, {}]), "{name}");
            let answers = operation["responses"].as_object().unwrap();
            for (status, answer) in answers {
                let kind = if status.starts_with('2') { "application/json" } else { "application/problem+json" };
                assert!(answer["content"][kind]["schema"]["$ref"].is_string(), "{name} {status}");
            }
            for status in ["400", "401", "403", "413", "421", "500", "503"] {
                assert!(answers.contains_key(status), "{name} {status}");
            }
        }
    }
}

/// Every name that a list's entries have is described, and every one that is required is there.
#[test]
fn its_shapes_are_what_is_answered() {
    let shop = Shop::scored(60);
    shop.execute("UPDATE deliveries SET last_error = 'x' WHERE id = 1");
    let document = get(&shop, "/api/v1/openapi.json");
    let schema = |reference: &Value| document.pointer(&reference["$ref"].as_str().unwrap()[1..]).unwrap().clone();
    for list in ["segments", "customers", "runs", "events", "deliveries", "destinations"] {
        let answer = &document["paths"][format!("/api/v1/{list}")]["get"]["responses"]["200"];
        let page = schema(&answer["content"]["application/json"]["schema"]);
        let items = &page["properties"]["data"]["items"];
        let entry = if items["$ref"].is_string() { schema(items) } else { items.clone() };
        let described: BTreeSet<&String> = entry["properties"].as_object().unwrap().keys().collect();
        let data = get(&shop, &format!("/api/v1/{list}"));
        let first = data["data"][0].as_object().unwrap();
        assert_eq!(first.keys().collect::<BTreeSet<_>>(), described, "{list}");
    }
}

#[test]
fn a_get_changes_nothing() {
    let mut shop = Shop::scored(60);
    let paths = get(&shop, "/api/v1/openapi.json")["paths"].as_object().unwrap().clone();
    let state = "SELECT (SELECT group_concat(state) FROM deliveries) || (SELECT count(redacted_at) FROM customers)";
    let before: String = shop.value(state);
    for path in paths.keys() {
        for method in [Method::GET, Method::HEAD] {
            let answer = send(&shop, method, &path.replace("{id}", "7").replace("{name}", "brevo"), "");
            assert!(matches!(answer.status, StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED), "{path}");
        }
    }
    assert!(shop.asked.try_recv().is_err());
    assert_eq!(shop.value::<String>(state), before);
}
