//! What is asked for: every address of the dashboard, with every filter, in the forms that walk farthest.

use axum::http::Method;
use serde_json::Value;

use super::shop::{NEWEST, REGULAR};
use crate::support::pages::Shop;

/// A request. `{n}` in it is another number each time.
pub struct Address {
    pub method: Method,
    pub path: String,
    /// A form; of the API a JSON document.
    pub body: String,
}

impl Address {
    /// A file is read piece by piece, and much is written in many transactions: each is to be short, not all of
    /// them.
    pub fn is_in_pieces(&self) -> bool {
        self.method != Method::GET || self.path.contains(".csv")
    }
}

/// All of them, reading ones first.
pub fn all() -> Vec<Address> {
    let of_run = format!("run={NEWEST}");
    let get = |path: &str| {
        let path = path
            .replace("run=NEWEST", &of_run)
            .replace("NEWEST", &NEWEST.to_string())
            .replace("REGULAR", &REGULAR.to_string());
        Address { method: Method::GET, path, body: String::new() }
    };
    let post = |(path, body): &(&str, &str)| Address {
        method: Method::POST,
        path: (*path).to_owned(),
        body: body.replace("run=NEWEST", &of_run).replace("REGULAR", &REGULAR.to_string()),
    };
    let mut all: Vec<Address> = READ.iter().map(|path| get(path)).collect();
    all.extend(WRITTEN.iter().map(post));
    all.push(Address { method: Method::DELETE, path: "/api/v1/customers/22{n}".to_owned(), body: String::new() });
    all
}

const READ: &[&str] = &[
    "/",
    "/?by=revenue",
    "/segments",
    "/segments?from=12&to=25",
    "/segments?from=29&to=30",
    "/segments?from=12&to=25&unchanged=1",
    "/segments.csv",
    "/segments/lost",
    "/segments/lost.csv",
    "/segments/none-such",
    "/settings",
    "/customers",
    "/customers?dir=asc",
    "/customers?after=100",
    "/customers?segment=lost",
    "/customers?segment=lost&after=100",
    "/customers?segment=lost&dir=asc",
    "/customers?segment=few",
    "/customers?segment=few&sort=spent",
    "/customers?segment=lost&m=5",
    "/customers?segment=lost&m=5&dir=asc",
    "/customers?segment=champion&r=5",
    "/customers?r=1&f=1",
    "/customers?r=1&f=2",
    "/customers?r=1&f=2&sort=spent",
    "/customers?r=1&f=2&sort=email",
    "/customers?segment=lost&r=1&sort=last",
    "/customers?segment=none",
    "/customers?segment=none&after=300",
    "/customers?segment=none&sort=spent",
    "/customers?segment=none&q=anna",
    "/customers?sort=spent",
    "/customers?sort=email",
    "/customers?sort=email&dir=desc",
    "/customers?q=person&sort=spent",
    "/customers?q=person&sort=email&dir=desc&f=1",
    "/customers?sort=email&segment=lost",
    "/customers?sort=orders&f=1",
    "/customers?same_email=1",
    "/customers?same_email=1&dir=desc",
    "/customers?same_email=1&sort=spent",
    "/customers?same_email=1&segment=lost",
    "/customers?same_email=1&r=5&m=1",
    "/customers?q=zoe",
    "/customers?q=anna",
    "/customers?q=anna+muster&after=n300",
    "/customers?q=person55%40example.com",
    "/customers?q=55",
    "/customers?q=person&segment=lost&m=5",
    "/customers?q=a&r=1&f=5&m=1",
    "/customers?q=person&same_email=1",
    "/customers?q=z&same_email=1",
    "/customers?erased=29",
    "/customers/REGULAR",
    "/customers/REGULAR?before=1790000000000",
    "/customers/7",
    "/customers/99999999",
    "/customers.csv",
    "/customers.csv?segment=lost",
    "/customers.csv?segment=lost&m=5",
    "/customers.csv?segment=none",
    "/customers.csv?r=1&f=2&sort=spent",
    "/customers.csv?q=zoe",
    "/customers.csv?same_email=1",
    "/runs",
    "/runs?before=7",
    "/runs/7",
    "/runs/NEWEST",
    "/runs/NEWEST?unchanged=1",
    "/runs.csv",
    "/deliveries",
    "/deliveries?state=waiting",
    "/deliveries?state=waiting&destination=klaviyo",
    "/deliveries?state=retrying",
    "/deliveries?state=held&hold=consent",
    "/deliveries?state=dead&after=0.200",
    "/deliveries?state=discarded",
    "/deliveries?state=delivered",
    "/deliveries?state=delivered&after=0.200",
    "/deliveries?state=delivered&destination=klaviyo",
    "/deliveries?state=delivered&segment=new",
    "/deliveries?state=delivered&customer=REGULAR",
    "/deliveries?state=delivered&run=7",
    "/deliveries?state=delivered&run=NEWEST",
    "/deliveries?state=delivered&run=NEWEST&customer=7",
    "/deliveries?state=delivered&order=oldest",
    "/deliveries?state=delivered&order=oldest&destination=brevo&after=0.200",
    "/deliveries?run=NEWEST&destination=brevo&customer=REGULAR",
    "/deliveries?customer=REGULAR",
    "/deliveries?segment=new",
    "/deliveries?destination=klaviyo",
    "/deliveries.csv",
    "/deliveries.csv?state=delivered&run=7",
    "/deliveries.csv?state=delivered&customer=REGULAR",
    "/deliveries/decide?action=retry&state=dead",
    "/deliveries/decide?action=retry&state=dead&customer=REGULAR",
    "/deliveries/decide?action=retry&state=retrying&segment=new",
    "/deliveries/decide?action=discard&state=waiting&destination=klaviyo",
    "/deliveries/decide?action=release&state=held&run=7",
    "/deliveries/decide?action=release&state=held&destination=brevo&run=NEWEST&segment=new&customer=7",
    "/deliveries/9",
    "/deliveries/4000",
    "/destinations",
    "/destinations?sort=health",
    "/runs?trigger=scheduled&changed=1&sort=moved",
    "/runs?sort=took&dir=asc&after=7",
    "/runs.csv?failed=1",
    "/segments?sort=revenue",
    "/import.csv",
    "/syncs",
    "/syncs.csv?failed=1&sort=missed",
    "/destinations.csv",
    "/import",
    "/import/1",
    "/import/1/rejected.csv",
    "/import/sample.csv",
    "/metrics",
    "/readyz",
    "/login",
    "/api/v1/segments",
    "/api/v1/customers",
    "/api/v1/customers?limit=1000",
    "/api/v1/customers?segment=lost&m=5",
    "/api/v1/customers?r=1&f=2",
    "/api/v1/customers?segment=none",
    "/api/v1/customers?search=zoe",
    "/api/v1/customers?search=person&segment=lost&m=5",
    "/api/v1/customers/REGULAR",
    "/api/v1/runs",
    "/api/v1/events",
    "/api/v1/events?after_seq=3000",
    "/api/v1/deliveries",
    "/api/v1/deliveries?state=delivered",
    "/api/v1/deliveries?destination=klaviyo",
    "/api/v1/deliveries?state=dead&destination=klaviyo",
    "/api/v1/destinations",
];

const WRITTEN: &[(&str, &str)] = &[
    ("/runs", ""),
    ("/deliveries/decide", "action=retry&state=dead&customer=REGULAR&asked=1795431600000"),
    ("/deliveries/decide", "action=retry&state=retrying&segment=new&asked=1795431600000"),
    ("/deliveries/decide", "action=discard&state=waiting&destination=klaviyo&asked=1795431600000"),
    ("/deliveries/decide", "action=release&state=held&run=7&asked=1795431600000"),
    ("/deliveries/31{n}5", "action=replay"),
    ("/deliveries/91{n}3", "action=retry"),
    ("/deliveries/91{n}1", "action=discard"),
    ("/customers/33{n}/erase", "confirm=33{n}"),
    ("/destinations/klaviyo/pause", ""),
    ("/destinations/klaviyo/resume", "send=all"),
    ("/import/1/discard", ""),
    ("/api/v1/runs", ""),
    ("/api/v1/deliveries/retry", r#"{"deliveryId":"92{n}3"}"#),
    ("/api/v1/deliveries/retry", r#"{"customerId":"REGULAR","dryRun":true}"#),
    ("/api/v1/deliveries/retry", r#"{"destination":"klaviyo","dryRun":true}"#),
    (
        "/api/v1/orders",
        r#"{"id":"n{n}","customer":{"id":"x7"},"orderedAt":"2026-11-20T10:00:00Z","updatedAt":"2026-11-20T10:00:00Z","currency":"EUR","total":"9.90","status":"paid"}"#,
    ),
];

/// Routes that are not asked for, since they look nothing up, or because of what they do beside.
const LEFT_OUT: &[&str] = &[
    "/assets/quintile.css",
    "/assets/favicon.svg",
    "/healthz",
    "/logout",
    // Read a file, not the tables.
    "/import/{id}/try",
    "/import/{id}/start",
    // Sends a request to the tool.
    "/api/v1/destinations/{name}/test",
];

#[test]
fn every_route_is_asked_for() {
    let source = include_str!("../../../../src/web/dashboard/mod.rs");
    let pages = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned);
    let document: Value = serde_json::from_str(&Shop::empty().get("/api/v1/openapi.json").body).unwrap();
    let resources = document["paths"].as_object().unwrap().keys().cloned();
    let routes: Vec<String> = pages.chain(resources).collect();
    assert!(routes.len() > 40, "{routes:?}");
    let asked = all();
    for route in routes.iter().filter(|route| !LEFT_OUT.contains(&route.as_str())) {
        let leads_there = |address: &Address| {
            let (route, path) = (route.split('/'), address.path.split('?').next().unwrap().split('/'));
            route.clone().count() == path.clone().count()
                && route.zip(path).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
        };
        assert!(asked.iter().any(leads_there), "{route} is asked for nowhere");
    }
}
