//! A merchant's folder with a `config.toml`, and the shop that sends webhooks to it: for tests that
//! drive the real binary from outside.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    folder::Folder,
    http::{self, Answer},
    process::{self, Server, eventually},
    receiver,
};

pub const SHOP: &str = "demo.myshopify.com";
pub const SHOPIFY_SECRET: &str = "shpss_the shop's own";
pub const ORDERS_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=";

/// Without a run for so long the button is pressed again.
const AGAIN: Duration = Duration::from_secs(2);

pub struct Merchant {
    folder: Folder,
}

impl Merchant {
    /// A folder whose configuration sends to `receiver_url`, the baseline included; scored only
    /// when asked, since its night is 29 February.
    pub fn new(receiver_url: &str) -> Self {
        Self::with(receiver_url, "")
    }

    /// [`Self::new`] with more lines at the end of the configuration, in its one destination.
    pub fn with(receiver_url: &str, more: &str) -> Self {
        let secret = receiver::SECRET;
        Self::sending(&format!(
            r#"
[[destination]]
name = "my-tool"
kind = "webhook"
url = "{receiver_url}"
allow_http = true
secret = "{secret}"
fields = ["segment", "rfm", "counters", "email", "name"]
{more}"#
        ))
    }

    /// [`Self::new`] with these destinations, and whatever else comes at the end of a configuration.
    pub fn sending(destinations: &str) -> Self {
        let folder = Folder::new();
        std::fs::write(
            folder.path().join("config.toml"),
            format!(
                r#"
[shop]
id = "{SHOP}"
currency = "EUR"
[webhooks]
listen = "127.0.0.1:0"
[webhooks.shopify]
secrets = ["{SHOPIFY_SECRET}"]
[webhooks.orders]
secrets = ["{ORDERS_SECRET}"]
[dashboard]
listen = "127.0.0.1:0"
[scoring]
cron = "0 2 29 2 *"
hold_above_percent = 100
[forwarder]
baseline = "send"
allow_private = ["127.0.0.0/8"]
{destinations}"#
            ),
        )
        .unwrap();
        Self { folder }
    }

    /// [`Folder::spoilt`]
    pub fn spoilt(self) -> Self {
        Self { folder: self.folder.spoilt() }
    }

    /// Changes a piece of the configuration.
    pub fn configure(&self, old: &str, new: &str) {
        let path = self.path().join("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{old}");
        std::fs::write(path, text.replacen(old, new, 1)).unwrap();
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A command that must succeed.
    pub fn run(&self, arguments: &[&str]) {
        let output = process::run(self.path(), arguments);
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }

    /// The JSON a command prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        process::run_json(self.path(), &[arguments, &["--format", "json"]].concat())
    }

    /// The database, opened beside the program.
    pub fn sql(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path().join("quintile.db")).unwrap()
    }
}

/// A Shopify order body: id, customer id and total, ordered at `at` (RFC 3339).
pub fn shopify_order(id: u64, customer: u64, total: &str, at: &str) -> Value {
    json!({
        "id": id, "name": format!("#{id}"), "currency": "EUR", "financial_status": "paid", "test": false,
        "total_price": total, "current_total_price": total, "total_outstanding": "0.00",
        "processed_at": at, "created_at": at, "updated_at": at, "cancelled_at": null, "refunds": [],
        "email": format!("c{customer}@example.com"),
        "customer": {"id": customer, "email": format!("c{customer}@example.com"), "first_name": "Zoë", "last_name": "Núñez", "updated_at": at},
    })
}

/// Posts a body as Shopify does, signed.
pub fn post_shopify(server: &Server, topic: &str, webhook_id: &str, body: &Value) -> std::io::Result<Answer> {
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SHOPIFY_SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    http::post(
        &format!("{}/webhooks/shopify", server.webhooks),
        &[
            ("content-type", "application/json"),
            ("X-Shopify-Topic", topic),
            ("X-Shopify-Hmac-Sha256", &BASE64.encode(mac.finalize().into_bytes())),
            ("X-Shopify-Shop-Domain", SHOP),
            ("X-Shopify-Webhook-Id", webhook_id),
        ],
        body.as_bytes(),
    )
}

/// Posts to the generic API, signed by the public library.
pub fn post_orders(server: &Server, message_id: &str, body: &Value) -> std::io::Result<Answer> {
    let body = body.to_string();
    let now = quintile::clock::now().seconds();
    let signature =
        standardwebhooks::Webhook::new(ORDERS_SECRET).unwrap().sign(message_id, now, body.as_bytes()).unwrap();
    http::post(
        &format!("{}/webhooks/orders", server.webhooks),
        &[
            ("content-type", "application/json"),
            ("webhook-id", message_id),
            ("webhook-timestamp", &now.to_string()),
            ("webhook-signature", &signature),
        ],
        body.as_bytes(),
    )
}

/// Presses "Score now" as a browser on the page does.
pub fn score_now(server: &Server) -> std::io::Result<Answer> {
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("origin", server.dashboard.as_str()),
        ("sec-fetch-site", "same-origin"),
    ];
    http::post(&format!("{}/runs", server.dashboard), &headers, b"")
}

/// Presses the button and waits until the run it started has ended.
pub fn score_and_wait(merchant: &Merchant, server: &Server) {
    let newest = || {
        merchant
            .json(&["runs"])
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["id"].as_str().unwrap().parse::<u64>().unwrap())
            .max()
    };
    let before = newest();
    assert_eq!(score_now(server).unwrap().status, 303);
    let mut pressed = Instant::now();
    eventually("the run", || {
        let runs = merchant.json(&["runs"]);
        let number = |run: &Value| run["id"].as_str().map(|id| id.parse::<u64>().unwrap());
        let run = runs.as_array()?.iter().max_by_key(|run| number(run));
        let id = run.and_then(number);
        // A server that is taking up the runs of the one before refuses another meanwhile, also the first.
        if id <= before && pressed.elapsed() > AGAIN {
            pressed = Instant::now();
            score_now(server).ok()?;
        }
        (id > before && run?["state"] == "done").then_some(())
    });
}
