//! A destination that hangs, beside one that answers.

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::fixture::Shop;
use crate::support::receiver::{Answer, Receiver};

const ROUNDS: i64 = 200;
/// Far above what a busy machine does to one of two that run side by side, far below a time limit.
const FACTOR: u32 = 10;

/// A shop with a forwarder at work, and the destination that answers.
struct Running {
    shop: Shop,
    tool: Receiver,
    shutdown: CancellationToken,
    forwarder: JoinHandle<()>,
    waits: Vec<Duration>,
}

impl Running {
    async fn start(silent: Option<&Receiver>) -> Self {
        let tool = Receiver::start().await;
        let all: Vec<&Receiver> = silent.into_iter().chain([&tool]).collect();
        let shop = Shop::new(&all);
        let shutdown = CancellationToken::new();
        let forwarder = tokio::spawn(shop.forwarder().run(shutdown.clone()));
        Self { shop, tool, shutdown, forwarder, waits: Vec::new() }
    }

    /// One event, from its commit to its arrival.
    async fn round(&mut self, customer: i64) {
        self.shop.moves(&[customer], "lost");
        let committed = Instant::now();
        self.tool.wait_for(self.waits.len() + 1).await;
        self.waits.push(committed.elapsed());
    }

    fn p99(&mut self) -> Duration {
        self.waits.sort_unstable();
        self.waits[self.waits.len() * 99 / 100 - 1]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_that_hangs_does_not_slow_another() {
    let silent = Receiver::start().await;
    silent.answers(Answer::from(200).hanging());
    let mut alone = Running::start(None).await;
    let mut beside = Running::start(Some(&silent)).await;
    // Turn by turn, so that whatever else the machine does meets both.
    for customer in 1..=ROUNDS {
        alone.round(customer).await;
        beside.round(customer).await;
    }
    assert!(silent.received().len() >= 16, "all its connections hang");
    let (without, with) = (alone.p99(), beside.p99());
    assert!(with <= without * FACTOR, "p99 of {with:?} beside it, {without:?} without");
    silent.release();
    for running in [alone, beside] {
        running.shutdown.cancel();
        running.forwarder.await.unwrap();
    }
}
