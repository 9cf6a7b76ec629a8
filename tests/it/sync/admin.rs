//! A shop's Admin API of the tests' own: it wants a token, charges points, refuses what the schema
//! does not have, pages, runs bulk operations, lets addresses expire, and fails when told to.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use apollo_compiler::{ExecutableDocument, Schema, validation::Valid};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use quintile::model::Timestamp;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{
    graphql::{arguments, cost, project, root_fields, text},
    nodes,
};

pub const DOMAIN: &str = "apples.myshopify.com";
pub const CLIENT_ID: &str = "0123456789abcdef0123456789abcdef";
pub const CLIENT_SECRET: &str = "shpss_the_apps_own";
pub const TOKEN: &str = "shpat_made_in_the_shop";

static SCHEMA: LazyLock<Valid<Schema>> = LazyLock::new(|| {
    Schema::parse_and_validate(include_str!("schema.graphql"), "schema.graphql").expect("the slice is a schema")
});

/// A document that the schema has, or what is wrong with it.
pub fn validate(query: &str) -> Result<Valid<ExecutableDocument>, String> {
    ExecutableDocument::parse_and_validate(&SCHEMA, query, "query.graphql").map_err(|error| error.to_string())
}

/// The running server. Stopped when dropped.
pub struct Admin {
    pub url: String,
    shared: Shared,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    shop: Arc<Mutex<Shop>>,
    now: Arc<AtomicI64>,
    url: Arc<str>,
}

/// What the shop has, and how it behaves.
pub struct Shop {
    pub orders: BTreeMap<u64, Value>,
    pub customers: BTreeMap<u64, Value>,
    pub currency: &'static str,
    /// Topic and address.
    pub subscriptions: Vec<(String, String)>,
    /// The topics that the app may not have.
    pub forbidden_topics: Vec<&'static str>,
    /// Orders that are there and in no list.
    pub unlisted: Vec<u64>,
    /// A search finds what was changed only so many milliseconds later.
    pub lag: i64,
    /// Nodes of a page at most, however many are asked for.
    pub page: usize,
    /// Who says when a request is answered; `None`: at once.
    pub gate: Option<mpsc::UnboundedSender<oneshot::Sender<()>>>,
    /// Tokens and when they end, in Unix milliseconds.
    pub tokens: BTreeMap<String, i64>,
    /// Seconds.
    pub token_life: i64,
    pub exchanges: usize,
    pub bucket: Bucket,
    /// What the next answers are instead.
    pub faults: VecDeque<Fault>,
    /// How the next bulk operations end.
    pub endings: VecDeque<Ending>,
    /// What the pages of one search are cut from.
    listed: (String, Vec<Value>),
    /// How often an operation is asked for until it has ended.
    pub polls: u32,
    /// What happens to the next downloads.
    pub downloads: VecDeque<Download>,
    pub operations: BTreeMap<String, Operation>,
    /// Operations that were asked for, named and with their variables.
    pub asked: Vec<(String, Value)>,
    pub fetched: usize,
    /// Questions that were refused because the bucket was too low.
    pub throttled: usize,
}

#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    pub maximum: f64,
    pub available: f64,
    pub rate: f64,
    at: i64,
}

#[derive(Debug, Clone)]
pub enum Fault {
    Status(u16, Option<&'static str>),
    /// A GraphQL error with this code.
    Error(&'static str),
    /// Personal fields are hidden, as for apps that may not see them.
    Impersonal,
    /// Not JSON.
    Junk,
    /// The connection ends in the middle of the answer.
    Cut,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Completed,
    /// After so many lines, which can be fetched.
    Partial(usize),
    Failed,
    Denied,
    /// The file has all, and the shop says there are more.
    Miscounted,
    /// It never ends.
    Endless,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Download {
    Expired,
    /// Ends after so many bytes.
    Cut(usize),
    Broken,
}

#[derive(Debug, Clone)]
pub struct Operation {
    query: String,
    created_at: i64,
    /// Polls until it has ended.
    pub polls: u32,
    ending: Ending,
    lines: Vec<String>,
    fresh: u32,
}

impl Shop {
    fn new(now: i64) -> Self {
        Self {
            orders: BTreeMap::new(),
            customers: BTreeMap::new(),
            currency: "EUR",
            subscriptions: Vec::new(),
            forbidden_topics: Vec::new(),
            unlisted: Vec::new(),
            lag: 0,
            page: 250,
            gate: None,
            tokens: [(TOKEN.to_owned(), i64::MAX)].into(),
            token_life: 86_399,
            exchanges: 0,
            bucket: Bucket { maximum: 2000.0, available: 2000.0, rate: 100.0, at: now },
            faults: VecDeque::new(),
            endings: VecDeque::new(),
            polls: 3,
            listed: (String::new(), Vec::new()),
            downloads: VecDeque::new(),
            operations: BTreeMap::new(),
            asked: Vec::new(),
            fetched: 0,
            throttled: 0,
        }
    }

    /// How often an operation of this name was asked for.
    pub fn count(&self, name: &str) -> usize {
        self.asked.iter().filter(|(asked, _)| asked == name).count()
    }

    pub fn variables(&self, name: &str) -> Vec<&Value> {
        self.asked.iter().filter(|(asked, _)| asked == name).map(|(_, variables)| variables).collect()
    }

    fn connection(&self, kind: &str) -> &BTreeMap<u64, Value> {
        if kind == "orders" { &self.orders } else { &self.customers }
    }

    /// Objects that match the search at `now`, in the order that was asked for.
    fn matching(&self, kind: &str, arguments: &Value, now: i64) -> Vec<Value> {
        let since = text(&arguments["query"]).map(|query| {
            let since = query.strip_prefix("updated_at:>='").and_then(|rest| rest.strip_suffix('\''));
            Timestamp::parse_rfc3339(since.expect("the search is one that the shop understands")).unwrap()
        });
        let updated = |node: &Value| Timestamp::parse_rfc3339(node["updatedAt"].as_str().unwrap()).unwrap();
        let mut found: Vec<Value> = self
            .connection(kind)
            .iter()
            .filter(|(id, _)| kind != "orders" || !self.unlisted.contains(id))
            .map(|(_, node)| node)
            .filter(|node| {
                since.is_none_or(|since| {
                    updated(node) >= since
                        && updated(node).millis() <= if self.lag > 0 { now - self.lag } else { i64::MAX }
                })
            })
            .cloned()
            .collect();
        if text(&arguments["sortKey"]) == Some("UPDATED_AT") {
            found.sort_by_key(updated);
        }
        found
    }

    fn page(&mut self, kind: &str, arguments: &Value, now: i64) -> Value {
        // A shop does not sort everything for every page either.
        let search = format!("{kind} {}", arguments["query"]);
        if arguments["after"].is_null() || self.listed.0 != search {
            self.listed = (search, self.matching(kind, arguments, now));
        }
        let all = &self.listed.1;
        let start = text(&arguments["after"]).map_or(0, |after| after.parse::<usize>().unwrap());
        let first = usize::try_from(arguments["first"].as_u64().expect("a connection says how many")).unwrap();
        assert!(first <= 250, "the shop gives at most 250 at once");
        let end = (start + first.min(self.page)).min(all.len());
        json!({
            "nodes": all[start.min(end)..end],
            "pageInfo": { "hasNextPage": end < all.len(), "endCursor": (end > 0).then(|| end.to_string()) },
        })
    }

    fn bulk(&mut self, query: &str, now: i64) -> Value {
        let refuse = |code: &str, message: String| json!({ "bulkOperation": null, "userErrors": [{ "field": null, "message": message, "code": code }] });
        let running = |operation: &Operation| operation.polls > 0;
        if self.operations.values().any(running) {
            return refuse("OPERATION_IN_PROGRESS", "A bulk query operation is already in progress".to_owned());
        }
        let document = match validate(query) {
            Ok(document) => document,
            Err(error) => return refuse("INVALID", error),
        };
        let operation = document.operations.get(None).expect("one operation");
        assert!(operation.variables.is_empty(), "a bulk query has no variables");
        let [field] = root_fields(&operation.selection_set)[..] else { panic!("a bulk query has one connection") };
        let arguments = arguments(field, &json!({}));
        let edges = root_fields(&field.selection_set)[0];
        let node = root_fields(&edges.selection_set)[0];
        assert_eq!((edges.name.as_str(), node.name.as_str()), ("edges", "node"));
        let lines = self.matching(field.name.as_str(), &arguments, now);
        let lines = lines.iter().map(|object| project(object, &node.selection_set).to_string()).collect();
        let id = format!("gid://shopify/BulkOperation/{}", self.operations.len() + 1);
        let ending = self.endings.pop_front().unwrap_or(Ending::Completed);
        self.operations.insert(
            id.clone(),
            Operation { query: query.to_owned(), created_at: now, polls: self.polls, ending, lines, fresh: 0 },
        );
        json!({ "bulkOperation": { "id": id, "status": "CREATED" }, "userErrors": [] })
    }

    /// Starts a bulk operation as somebody else might.
    pub fn start(&mut self, query: &str, now: i64) {
        let started = self.bulk(query, now);
        assert!(started["bulkOperation"].is_object(), "{started}");
    }

    fn operation(&mut self, id: &str, url: &str) -> Value {
        let Some(operation) = self.operations.get_mut(id) else { return Value::Null };
        if operation.ending != Ending::Endless {
            operation.polls = operation.polls.saturating_sub(1);
        }
        operation.fresh += 1;
        let number = id.rsplit('/').next().unwrap();
        let address = json!(format!("{url}/bulk/{number}/{}", operation.fresh));
        let count = operation.lines.len();
        let size: usize = operation.lines.iter().map(|line| line.len() + 1).sum();
        let mut answer = json!({ "__typename": "BulkOperation", "id": id, "type": "QUERY", "query": operation.query, "errorCode": null,
            "status": if operation.polls > 1 { "CREATED" } else { "RUNNING" }, "objectCount": count.to_string(),
            "rootObjectCount": count.to_string(), "fileSize": null, "url": null, "partialDataUrl": null });
        if operation.polls == 0 {
            let (status, error) = match operation.ending {
                Ending::Completed | Ending::Miscounted => ("COMPLETED", Value::Null),
                Ending::Denied => ("FAILED", json!("ACCESS_DENIED")),
                Ending::Partial(_) | Ending::Failed | Ending::Endless => ("FAILED", json!("INTERNAL_SERVER_ERROR")),
            };
            (answer["status"], answer["errorCode"]) = (json!(status), error);
            match operation.ending {
                Ending::Completed | Ending::Miscounted if count > 0 => {
                    (answer["url"], answer["fileSize"]) = (address, json!(size.to_string()));
                }
                Ending::Partial(_) => answer["partialDataUrl"] = address,
                _ => {}
            }
            if operation.ending == Ending::Miscounted {
                answer["rootObjectCount"] = json!((count + 1).to_string());
            }
        }
        answer
    }

    fn subscribe(&mut self, topic: &str, uri: &str) -> Value {
        let refuse = |message: &str| json!({ "webhookSubscription": null, "userErrors": [{ "field": ["uri"], "message": message }] });
        if self.forbidden_topics.contains(&topic) {
            return refuse("You do not have permission to create or update webhooks with this topic.");
        }
        let pair = (topic.to_owned(), uri.to_owned());
        if self.subscriptions.contains(&pair) {
            return refuse("Address for this topic has already been taken");
        }
        self.subscriptions.push(pair);
        json!({ "webhookSubscription": { "id": "gid://shopify/WebhookSubscription/1", "topic": topic, "uri": uri }, "userErrors": [] })
    }

    fn existing(&self, id: &str) -> Value {
        let number = id.rsplit('/').next().unwrap().parse().unwrap();
        let kind = if id.contains("/Order/") { "orders" } else { "customers" };
        self.connection(kind).get(&number).cloned().unwrap_or_default()
    }

    /// What a root field holds.
    fn resolve(&mut self, field: &str, arguments: &Value, url: &str, now: i64) -> Value {
        match field {
            "shop" => json!({ "myshopifyDomain": DOMAIN, "currencyCode": self.currency }),
            "orders" | "customers" => self.page(field, arguments, now),
            "node" => self.operation(text(&arguments["id"]).unwrap(), url),
            "nodes" => {
                arguments["ids"].as_array().unwrap().iter().map(|id| self.existing(id.as_str().unwrap())).collect()
            }
            "bulkOperationRunQuery" => self.bulk(text(&arguments["query"]).unwrap(), now),
            "bulkOperations" => {
                let known: Vec<Value> = self
                    .operations
                    .iter()
                    .map(|(id, operation)| {
                        let status = if operation.polls > 0 { "RUNNING" } else { "COMPLETED" };
                        json!({ "id": id, "status": status, "type": "QUERY", "query": operation.query,
                            "createdAt": Timestamp::from_millis(operation.created_at).to_string() })
                    })
                    .collect();
                json!({ "nodes": known })
            }
            "webhookSubscriptions" => {
                let start = text(&arguments["after"]).map_or(0, |after| after.parse::<usize>().unwrap());
                let first = usize::try_from(arguments["first"].as_u64().unwrap()).unwrap();
                let end = (start + first).min(self.subscriptions.len());
                let known: Vec<Value> = self.subscriptions[start..end]
                    .iter()
                    .map(|(topic, uri)| json!({ "id": "gid://shopify/WebhookSubscription/1", "topic": topic, "uri": uri }))
                    .collect();
                json!({ "nodes": known, "pageInfo": { "hasNextPage": end < self.subscriptions.len(), "endCursor": end.to_string() } })
            }
            "webhookSubscriptionCreate" => {
                let uri = text(&arguments["webhookSubscription"]["uri"]).unwrap();
                self.subscribe(text(&arguments["topic"]).unwrap(), uri)
            }
            other => panic!("the tests' shop has no {other}"),
        }
    }
}

impl Operation {
    /// It ends after all.
    pub const fn ends(&mut self) {
        (self.ending, self.polls) = (Ending::Completed, 0);
    }
}

impl Bucket {
    /// Other apps have taken more than there was.
    pub const fn drain(&mut self, now: i64) {
        (self.available, self.at) = (-100_000.0, now);
    }

    #[expect(clippy::cast_precision_loss, reason = "seconds")]
    fn refill(&mut self, now: i64) {
        let seconds = (now - self.at).max(0) as f64 / 1000.0;
        self.available = self.rate.mul_add(seconds, self.available).min(self.maximum);
        self.at = now;
    }
}

impl Admin {
    /// Starts a shop whose time is `now`, in Unix milliseconds.
    pub async fn start(now: Arc<AtomicI64>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shop = Arc::new(Mutex::new(Shop::new(now.load(Ordering::Relaxed))));
        let shared = Shared { shop, now, url: url.as_str().into() };
        let router = Router::new()
            .route("/admin/oauth/access_token", post(exchange))
            .route("/admin/api/{version}/graphql.json", post(graphql))
            .route("/bulk/{operation}/{serial}", get(download))
            .layer(middleware::from_fn_with_state(shared.clone(), in_time))
            .with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, server }
    }

    pub fn shop(&self) -> MutexGuard<'_, Shop> {
        self.shared.shop.lock().unwrap()
    }

    /// `count` customers with two orders each, a second apart, the last one at the end of `until`.
    pub fn fill(&self, count: u64, until: &str) {
        let until = Timestamp::parse_rfc3339(until).unwrap();
        let mut shop = self.shop();
        for id in 1..=count {
            let at = |seconds: u64| until.plus_millis(-1000 * i64::try_from(seconds).unwrap()).to_string();
            shop.customers.insert(id, nodes::customer(id, &at(2 * (count - id) + 1)));
            for order in [2 * id - 1, 2 * id] {
                let at = at(2 * count - order);
                shop.orders.insert(order, nodes::order(order, Some(id), "20.00", &at));
            }
        }
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Answers when it may, and says when that was.
async fn in_time(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let gate = shared.shop.lock().unwrap().gate.clone();
    if let Some(gate) = gate {
        let (go, told) = oneshot::channel();
        if gate.send(go).is_err() || told.await.is_err() {
            return StatusCode::SERVICE_UNAVAILABLE.into_response(); // whoever asked is gone
        }
    }
    let mut response = next.run(request).await;
    let now = UNIX_EPOCH + Duration::from_millis(shared.now.load(Ordering::Relaxed).try_into().unwrap());
    response.headers_mut().insert(header::DATE, httpdate::fmt_http_date(now).parse().unwrap());
    response
}

async fn exchange(State(shared): State<Shared>, body: Bytes) -> Response {
    let form: BTreeMap<String, String> = form_urlencoded::parse(&body).into_owned().collect();
    let mut shop = shared.shop.lock().unwrap();
    shop.exchanges += 1;
    assert_eq!(form["grant_type"], "client_credentials");
    if form["client_id"] != CLIENT_ID || form["client_secret"] != CLIENT_SECRET {
        // A careless server repeats what it was sent.
        let said = format!("no app has {} with {}", form["client_id"], form["client_secret"]);
        return (StatusCode::BAD_REQUEST, json!({ "error": "invalid_client", "error_description": said }).to_string())
            .into_response();
    }
    let token = format!("shpca_{}", shop.exchanges);
    let life = shop.token_life;
    shop.tokens.insert(token.clone(), shared.now.load(Ordering::Relaxed) + life * 1000);
    json!({ "access_token": token, "scope": "read_orders", "expires_in": life }).to_string().into_response()
}

async fn graphql(
    State(shared): State<Shared>,
    Path(version): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    assert_eq!(version, "2026-07");
    let now = shared.now.load(Ordering::Relaxed);
    let mut shop = shared.shop.lock().unwrap();
    let token = headers.get("x-shopify-access-token").and_then(|token| token.to_str().ok()).unwrap_or_default();
    if shop.tokens.get(token).is_none_or(|end| now >= *end) {
        let said = format!("[API] Invalid API key or access token (unrecognized login or wrong password) {token}");
        return (StatusCode::UNAUTHORIZED, json!({ "errors": said }).to_string()).into_response();
    }
    let mut impersonal = false;
    match shop.faults.pop_front() {
        Some(Fault::Status(status, retry_after)) => {
            let mut response = (StatusCode::from_u16(status).unwrap(), "{}").into_response();
            if let Some(seconds) = retry_after {
                response.headers_mut().insert(header::RETRY_AFTER, seconds.parse().unwrap());
            }
            return response;
        }
        Some(Fault::Error(code)) => return error(code, code, &Value::Null),
        Some(Fault::Junk) => return "<html>".into_response(),
        Some(Fault::Cut) => {
            let parts = [Ok("{\"data\":"), Err(std::io::Error::other("the connection ends"))];
            return Body::from_stream(futures_util::stream::iter(parts)).into_response();
        }
        Some(Fault::Impersonal) => impersonal = true,
        None => {}
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    let variables = &request["variables"];
    let document = match validate(request["query"].as_str().unwrap()) {
        Ok(document) => document,
        Err(problem) => return error("undefinedField", &problem, &Value::Null),
    };
    let operation = document.operations.get(request["operationName"].as_str()).unwrap();
    let price = cost(&operation.selection_set, variables);
    shop.bucket.refill(now);
    let extensions = |bucket: &Bucket| {
        json!({ "cost": { "requestedQueryCost": price, "actualQueryCost": price,
        "throttleStatus": { "maximumAvailable": bucket.maximum, "currentlyAvailable": bucket.available, "restoreRate": bucket.rate } } })
    };
    if price > shop.bucket.maximum.min(1000.0) {
        return error("MAX_COST_EXCEEDED", "Query cost is too large", &Value::Null);
    }
    if price > shop.bucket.available {
        shop.throttled += 1;
        return error("THROTTLED", "Throttled", &extensions(&shop.bucket));
    }
    shop.bucket.available -= price;
    shop.asked.push((request["operationName"].as_str().unwrap().to_owned(), variables.clone()));
    let mut data = serde_json::Map::new();
    for field in root_fields(&operation.selection_set) {
        let whole = shop.resolve(field.name.as_str(), &arguments(field, variables), &shared.url, now);
        data.insert(field.name.to_string(), project(&whole, &field.selection_set));
    }
    let mut answer = json!({ "data": data, "extensions": extensions(&shop.bucket) });
    if impersonal {
        let hidden = json!({ "message": "This app is not approved to access the email field.",
            "path": ["orders", "nodes", 0, "email"], "extensions": { "code": "ACCESS_DENIED" } });
        answer["errors"] = json!([hidden]);
    }
    answer.to_string().into_response()
}

fn error(code: &str, message: &str, extensions: &Value) -> Response {
    let error = json!({ "message": message, "path": ["orders"], "extensions": { "code": code } });
    json!({ "data": null, "errors": [error], "extensions": extensions }).to_string().into_response()
}

async fn download(State(shared): State<Shared>, Path((number, serial)): Path<(u64, u32)>) -> Response {
    let mut shop = shared.shop.lock().unwrap();
    let fault = shop.downloads.pop_front();
    shop.fetched += 1;
    let operation = &shop.operations[&format!("gid://shopify/BulkOperation/{number}")];
    assert_eq!(serial, operation.fresh, "an old address was used");
    let lines = match operation.ending {
        Ending::Partial(lines) => &operation.lines[..lines.min(operation.lines.len())],
        _ => &operation.lines[..],
    };
    let mut file: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
    match fault {
        Some(Download::Expired) => StatusCode::FORBIDDEN.into_response(),
        Some(Download::Broken) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Some(Download::Cut(bytes)) => {
            file.truncate(bytes);
            file.into_response()
        }
        None => file.into_response(),
    }
}
