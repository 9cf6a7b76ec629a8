//! The demo's present: the real server, today's orders as signed webhooks, one run, and a page to
//! look at.

use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use super::{Args, RECEIVER, Summary, past};
use crate::{
    bug::NoResult,
    cli::Outcome,
    clock::Clock,
    config::Config,
    db::{Database, Readers},
    model::Order,
    serve::{self, Listeners},
    web::receiver::Receiver,
};

/// How long the one run of today may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the past has left.
pub struct Demo<'a> {
    pub args: &'a Args,
    pub config: Arc<Config>,
    pub config_path: PathBuf,
    pub database: Arc<Database>,
    pub listeners: Listeners,
    pub clock: Clock,
    pub receiver: Receiver,
    /// Orders that came after the last night.
    pub today: Vec<Order>,
    pub stop: CancellationToken,
}

/// Serves until Ctrl-C; with `--headless` until today's run has been delivered.
pub async fn run(demo: Demo<'_>) -> anyhow::Result<Outcome> {
    let Demo { args, config, config_path, database, listeners, clock, receiver, today, stop } = demo;
    let (dashboard, webhooks) = listeners.urls()?;
    let readers = database.readers().clone();
    let shutdown = stop.child_token();
    let present_clock = clock.clone();
    let serving = tokio::spawn(serve::serve(
        serve::Serving {
            config: config.clone(),
            config_path,
            database,
            listeners,
            clock,
            wake: Arc::default(),
            started: Arc::default(),
        },
        shutdown.clone(),
    ));

    let present = async {
        for order in &today {
            post_order(&webhooks, &config, order).await.context("a webhook of the demo")?;
        }
        score_now(&dashboard, &readers).await?;
        past::tried(&readers, &[RECEIVER], present_clock.now()).await?;
        summary(&readers, &receiver).await
    };
    let summary = tokio::select! {
        summary = present => summary?,
        () = stop.cancelled() => {
            serving.await.map_err(NoResult::from).context("the server stopped")??;
            return Ok(Outcome::Done);
        }
    };
    let mut out = std::io::stdout();
    if args.headless {
        writeln!(out, "{}", serde_json::to_string_pretty(&summary)?)?;
    } else {
        writeln!(
            out,
            "{} customers, {} orders, {} runs, {} changes of segment, {} deliveries with a good signature.",
            summary.customers, summary.orders, summary.runs, summary.segment_changes, summary.receiver_accepted
        )?;
        writeln!(out, "dashboard  {dashboard}\nCtrl-C ends the demo and removes everything.")?;
        stop.cancelled().await;
    }
    shutdown.cancel();
    serving.await.map_err(NoResult::from).context("the server stopped")??;
    let complete = summary.receiver_refused == 0 && summary.deliveries_delivered == summary.segment_changes;
    Ok(if complete { Outcome::Done } else { Outcome::Partly })
}

/// Sends an order as the shop would.
async fn post_order(webhooks: &str, config: &Config, order: &Order) -> anyhow::Result<()> {
    let body = shopify_body(order).to_string();
    let secret = config.webhooks.shopify.secrets.first().context("the demo has a secret")?;
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes())?;
    mac.update(body.as_bytes());
    let signature = BASE64.encode(mac.finalize().into_bytes());
    let headers = format!(
        "content-type: application/json\r\nx-shopify-topic: orders/updated\r\nx-shopify-hmac-sha256: {signature}\r\n\
         x-shopify-shop-domain: {}\r\nx-shopify-webhook-id: demo-{}-{}\r\n",
        config.shop.id,
        order.source_id,
        order.updated_at.unwrap_or(order.ordered_at).millis()
    );
    let status = post(webhooks, "/webhooks/shopify", &headers, &body).await?;
    ensure!(status == 200, "answered {status}");
    Ok(())
}

/// The part of Shopify's order body that says something about money and people.
fn shopify_body(order: &Order) -> serde_json::Value {
    let amount = |money: crate::model::Money| money.to_decimal(order.currency);
    let person = order.person.as_ref();
    let email = person.and_then(|person| person.email.clone());
    let at = order.ordered_at.to_string();
    let updated_at = order.updated_at.unwrap_or(order.ordered_at).to_string();
    json!({
        "id": order.source_id.parse::<u64>().unwrap_or_default(),
        "name": order.name,
        "email": email,
        "financial_status": order.status.as_str(),
        "currency": order.currency.code(),
        "total_price": amount(order.gross),
        "current_total_price": amount(order.current.unwrap_or(order.gross)),
        "total_outstanding": amount(order.outstanding.unwrap_or_default()),
        "processed_at": at,
        "created_at": at,
        "updated_at": updated_at,
        "cancelled_at": order.cancelled_at.map(|at| at.to_string()),
        "test": order.is_test,
        "refunds": [],
        "customer": person.and_then(|person| {
            let id = person.external_id.as_ref()?.parse::<u64>().ok()?;
            Some(json!({
                "id": id,
                "email": email,
                "first_name": person.first_name,
                "last_name": person.last_name,
                "updated_at": at,
            }))
        }),
    })
}

/// Presses the button, and waits for the run it starts.
async fn score_now(dashboard: &str, readers: &Readers) -> anyhow::Result<()> {
    let before = newest_run(readers).await?;
    let status = post(dashboard, "/runs", "content-type: application/x-www-form-urlencoded\r\n", "").await?;
    ensure!(status == 303, "Score now answered {status}");
    let start = std::time::Instant::now();
    loop {
        match newest_run(readers).await? {
            (id, Some(state)) if id > before.0 && state == "done" => return Ok(()),
            (id, Some(state)) if id > before.0 && state == "failed" => bail!("today's run failed"),
            _ => ensure!(start.elapsed() < PATIENCE, "today's run did not end"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn newest_run(readers: &Readers) -> anyhow::Result<(i64, Option<String>)> {
    readers
        .read(|connection| {
            Ok(connection
                .query_row("SELECT coalesce(max(id), 0), state FROM runs", [], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
        .await
}

/// A `POST` over a connection of its own; returns the status.
async fn post(base: &str, path: &str, headers: &str, body: &str) -> anyhow::Result<u16> {
    let host = base.trim_start_matches("http://");
    let mut connection = TcpStream::connect(host).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await?;
    connection.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await?;
    let line = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    line.split(' ').nth(1).and_then(|status| status.parse().ok()).with_context(|| format!("no HTTP answer: {line}"))
}

async fn summary(readers: &Readers, receiver: &Receiver) -> anyhow::Result<Summary> {
    let counts = |connection: &rusqlite::Connection| -> anyhow::Result<_> {
        Ok(connection.query_row(
            "SELECT (SELECT count(*) FROM customers WHERE merged_into IS NULL), (SELECT count(*) FROM orders),
               (SELECT count(*) FROM runs WHERE state = 'done'), (SELECT count(*) FROM outbox),
               (SELECT count(*) FROM deliveries WHERE state = 'delivered' AND destination = ?1)",
            [RECEIVER],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
        )?)
    };
    let (customers, orders, runs, segment_changes, deliveries_delivered) = readers.read(counts).await?;
    Ok(Summary {
        customers,
        orders,
        runs,
        segment_changes,
        deliveries_delivered,
        receiver_accepted: receiver.accepted(),
        receiver_refused: receiver.refused(),
    })
}
