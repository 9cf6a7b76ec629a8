//! The demo's past: a shop's history, then its nights one by one, each as the real night does it,
//! by a clock that is set to that night.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use chrono::NaiveDate;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{IN_TROUBLE, NIGHTS, PICKY_NIGHTS, RECEIVER, Time, shop::Shop};
use crate::{
    bug::NoResult,
    clock::Clock,
    config::Config,
    db::{Database, Readers},
    delivery::Forwarder,
    ledger,
    model::{Money, Order, OrderStatus, Timestamp},
    scoring,
    web::moody::{Mood, Moody},
};

/// Orders per write while the history is laid down.
const BATCH: usize = 2_000;
/// The runs happen at 02:00, as the embedded defaults say.
const HOUR: i64 = 2 * 60 * 60 * 1000;

/// Applies the history, scores every night and delivers what it changed. Returns the orders that
/// came after the last night: they are still to come in.
pub async fn live_through(
    config: &Arc<Config>,
    database: &Arc<Database>,
    shop: Shop,
    time: &Time,
    clock: &Clock,
    in_trouble: &Moody,
) -> anyhow::Result<Vec<Order>> {
    let nights = nights(clock.now());
    let settings = Arc::new(scoring::Settings::from_config(config)?);
    let rules = ledger::Rules::from_config(config);
    let wake = Arc::new(Notify::new());
    let past_over = CancellationToken::new();
    time.set(nights[0].1);
    let forwarder =
        Forwarder::new(config, database.writer().clone(), database.readers().clone(), clock.clone(), wake.clone())?;
    let forwarding = tokio::spawn(forwarder.run(past_over.clone()));

    let bar = progress(nights.len());
    let mut orders = states(shop).into_iter().peekable();
    let picky_from = nights.len().saturating_sub(PICKY_NIGHTS);
    for (night, (slot, instant)) in nights.into_iter().enumerate() {
        if night == picky_from {
            in_trouble.set(Mood::Picky);
        }
        time.set(instant);
        loop {
            let before: Vec<Order> =
                std::iter::from_fn(|| orders.next_if(|order| order.updated_at < Some(instant))).take(BATCH).collect();
            if before.is_empty() {
                break;
            }
            apply(database, rules.clone(), before, instant).await?;
        }
        let (database, settings, clock) = (database.clone(), settings.clone(), clock.clone());
        let request =
            scoring::Request { trigger: scoring::Trigger::Scheduled, slot: Some(slot), as_of: instant, missed: 0 };
        let readers = database.readers().clone();
        tokio::task::spawn_blocking(move || scoring::run(&database, &settings, request, &clock, &scoring::Silent))
            .await
            .map_err(NoResult::from)??;
        wake.notify_one();
        tried(&readers, &[RECEIVER, IN_TROUBLE], instant).await?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    past_over.cancel();
    forwarding.await.map_err(NoResult::from).context("the forwarder stopped")?;
    Ok(orders.collect())
}

/// Each order as the shop tells of it: as it was placed, and once more when it was refunded or
/// cancelled; in the order of time.
fn states(shop: Shop) -> Vec<Order> {
    let mut states = Vec::with_capacity(shop.len() * 2);
    for order in shop {
        if order.updated_at > Some(order.ordered_at) {
            states.push(Order {
                status: OrderStatus::Paid,
                current: Some(order.gross),
                refunded: Money::ZERO,
                cancelled_at: None,
                updated_at: Some(order.ordered_at),
                ..order.clone()
            });
        }
        states.push(order);
    }
    states.sort_by_key(|order| order.updated_at);
    states
}

/// The last [`NIGHTS`] nights, oldest first: local date and instant of each.
fn nights(now: Timestamp) -> Vec<(NaiveDate, Timestamp)> {
    let last = now.plus_millis(-HOUR).millis().div_euclid(Timestamp::DAY);
    (0..i64::from(NIGHTS))
        .rev()
        .map(|back| Timestamp::from_millis((last - back) * Timestamp::DAY + HOUR))
        .map(|instant| (instant.to_utc().date_naive(), instant))
        .collect()
}

async fn apply(database: &Database, rules: ledger::Rules, orders: Vec<Order>, now: Timestamp) -> anyhow::Result<()> {
    database
        .writer()
        .write(move |tx| {
            for order in &orders {
                ledger::apply_order(tx, &rules, order, now)?;
            }
            Ok(())
        })
        .await
}

/// Waits until everything that is due at `now` to these destinations was tried. One that is failing is
/// tried again only later than `now`, at which the clock stands, and one that is disabled not at all.
pub async fn tried(readers: &Readers, destinations: &'static [&'static str], now: Timestamp) -> anyhow::Result<()> {
    let is_due = move |connection: &rusqlite::Connection| {
        let mut due = connection.prepare_cached(
            "SELECT 1 FROM deliveries WHERE destination = ?1 AND finished_at IS NULL AND (state = 'sending' OR (due_at <= ?2
               AND NOT EXISTS (SELECT 1 FROM destinations WHERE name = ?1
                 AND (state IN ('paused', 'disabled') OR probe_at > ?2 OR wait_until > ?2))))",
        )?;
        for name in destinations {
            if due.exists(rusqlite::params![name, now])? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    while readers.read(is_due).await? {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

fn progress(nights: usize) -> ProgressBar {
    ProgressBar::new(nights as u64)
        .with_style(
            ProgressStyle::with_template("{bar:30} night {pos} of {len}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        )
        .with_message("nights")
}
