//! An email tool: a real HTTP server that records what it got, checks it with the public Standard
//! Webhooks library, and answers what the test says, which may change while the test runs.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri},
};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::task::AbortOnDropHandle;

/// The signing secret all receivers here know.
pub const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
/// Within this the other side of a socket must have acted.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Receiver {
    port: u16,
    url: String,
    shared: Arc<Shared>,
    _server: AbortOnDropHandle<()>,
}

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// What the receiver answers.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Only after [`Receiver::release`].
    pub hang: bool,
}

impl From<u16> for Answer {
    fn from(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), hang: false }
    }
}

impl Answer {
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn hanging(mut self) -> Self {
        self.hang = true;
        self
    }
}

type Decide = Box<dyn Fn(&Received) -> Answer + Send>;

struct Shared {
    decide: Mutex<Decide>,
    received: Mutex<Vec<Received>>,
    arrived: Notify,
    released: Mutex<bool>,
    release: Notify,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Receiver {
    /// Answers 200 until told otherwise.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}/hook/secret-path");
        let shared = Arc::new(Shared {
            decide: Mutex::new(Box::new(|_| 200.into())),
            received: Mutex::default(),
            arrived: Notify::new(),
            released: Mutex::new(false),
            release: Notify::new(),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(receive).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, url, shared, _server: AbortOnDropHandle::new(server) }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on every request gets this answer.
    pub fn answers(&self, answer: impl Into<Answer>) {
        let answer = answer.into();
        self.decides(move |_| answer.clone());
    }

    /// From now on `decide` says what a request gets.
    pub fn decides(&self, decide: impl Fn(&Received) -> Answer + Send + 'static) {
        *self.shared.decide.lock().unwrap() = Box::new(decide);
    }

    /// Lets hanging answers go, now and later.
    pub fn release(&self) {
        *self.shared.released.lock().unwrap() = true;
        self.shared.release.notify_waiters();
    }

    /// How many requests have come.
    pub fn count(&self) -> usize {
        self.shared.received.lock().unwrap().len()
    }

    /// All requests so far, in the order they came.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Whether no connection is left: what a process that is dead had written was read then. By the system's table,
    /// which also has those that wait to be accepted.
    pub fn is_left(&self) -> bool {
        const LISTENING: &str = "0A";
        const OVER: &str = "06"; // TIME_WAIT
        let port = format!(":{:04X}", self.port);
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let mut sockets = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        !sockets.any(|socket| socket[1].ends_with(&port) && ![LISTENING, OVER].contains(&socket[3]))
    }

    /// How many requests were open at once, at most.
    pub fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    /// Waits until `count` requests came in all; returns them.
    pub async fn wait_for(&self, count: usize) -> Vec<Received> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let arrived = self.shared.arrived.notified();
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(tokio::time::timeout(left, arrived).await.is_ok(), "{} of {count} requests came", received.len());
        }
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_open.fetch_max(open, Ordering::SeqCst);
    let received = Received { method, path: uri.path().to_owned(), headers, body: body.to_vec() };
    let answer = (shared.decide.lock().unwrap())(&received);
    shared.received.lock().unwrap().push(received);
    shared.arrived.notify_waiters();
    if answer.hang {
        let release = shared.release.notified();
        let released = *shared.released.lock().unwrap();
        if !released {
            release.await;
        }
    }
    shared.open.fetch_sub(1, Ordering::SeqCst);
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, HeaderValue::from_str(&value).unwrap());
    }
    response
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no header {name}")).to_str().unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The customer the event is about.
    pub fn customer(&self) -> String {
        self.json()["data"]["customerId"].as_str().unwrap().to_owned()
    }

    /// Accepted by the public library, its check of the time included.
    pub fn assert_verified(&self) {
        let webhook = standardwebhooks::Webhook::new(SECRET).unwrap();
        webhook.verify(&self.body, &self.headers).unwrap();
    }

    /// Signed as the public library signs, whatever time it claims: for tests with their own clock.
    pub fn assert_signed(&self) {
        let webhook = standardwebhooks::Webhook::new(SECRET).unwrap();
        let timestamp = self.header("webhook-timestamp").parse().unwrap();
        let expected = webhook.sign(self.header("webhook-id"), timestamp, &self.body).unwrap();
        assert_eq!(self.header("webhook-signature"), expected);
    }
}
