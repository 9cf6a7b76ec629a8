//! The pull from the shop's API, as the program runs it. Whenever it has asked the shop something it
//! waits for a step that lets the shop answer; meanwhile webhooks arrive, clocks are set, the disk fills
//! up and the program dies.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use anyhow::{Context, ensure};
use quintile::{
    config::{Config, Secret},
    model::Source,
    sync::{
        Busy, Ended, Sync, Timer,
        log::{Entry, Trigger},
    },
};
use tokio::{sync::oneshot, task::JoinHandle};

use super::{
    api::Api,
    world::{Outcome, World},
};
use crate::{
    support::orders::Order,
    sync::admin::{CLIENT_ID, CLIENT_SECRET, DOMAIN},
};

/// A request that is answered so much later may find its token at an end, and the next one too.
const LATE: i64 = 12 * 3_600_000;
/// So long before its beginning the next pull begins.
const OVERLAP: i64 = 600_000;
/// Tries after which a pull must have got to its end, when nothing is wrong any more.
const TRIES: usize = 3;
/// Between two pulls of the merchant who looks after everything: no longer than pages are asked for.
const DAYS: i64 = 4;

/// What a seed has of the API.
pub struct Pulls {
    pub api: Api,
    /// Of this start of the program.
    pub sync: Option<Arc<Sync>>,
    running: Option<Running>,
    began: Option<Began>,
    /// The shop had trouble since the last pull that got to its end.
    trouble: bool,
    /// Pulls that got to their end.
    done: usize,
}

/// A pull under way.
struct Running {
    task: JoinHandle<anyhow::Result<Ended>>,
    /// The request that it waits with.
    asks: Option<oneshot::Sender<()>>,
    /// Since then.
    since: i64,
}

/// What the shop had when a pull began.
struct Began {
    id: i64,
    orders: Vec<(u64, Order)>,
}

impl Pulls {
    pub const fn new(api: Api) -> Self {
        Self { api, sync: None, running: None, began: None, trouble: false, done: 0 }
    }
}

/// What the merchant writes into the configuration for it.
pub fn configure(config: &mut Config, api: &Api) {
    DOMAIN.clone_into(&mut config.shop.id);
    config.shopify.base_url.clone_from(&api.admin.url);
    config.shopify.client_id = Secret::new(CLIENT_ID);
    config.shopify.client_secret = Secret::new(CLIENT_SECRET);
    config.webhooks.shopify.secrets = vec![Secret::new(CLIENT_SECRET)];
    config.forwarder.allow_private = vec!["127.0.0.0/8".to_owned()];
}

/// Waiting is time that passes.
pub fn timer(clocks: [Arc<AtomicI64>; 2]) -> Timer {
    Timer::from_fn(move |duration| {
        for clock in &clocks {
            clock.fetch_add(i64::try_from(duration.as_millis()).unwrap_or(0), Ordering::SeqCst);
        }
        tokio::task::yield_now()
    })
}

impl World {
    /// Begins a pull, or takes up the one that was cut off.
    pub fn pull(&mut self, full: bool) -> anyhow::Result<()> {
        let Some(pulls) = &self.pulls else { return Ok(()) };
        let is_running = pulls.running.is_some();
        let sync = self.syncer()?;
        if is_running {
            let second = self.runtime.block_on(sync.run(Trigger::Manual, full));
            ensure!(second.is_err_and(|error| error.is::<Busy>()), "a second pull was let in beside the first");
            return Ok(());
        }
        let task = self.runtime.spawn(async move { sync.run(Trigger::Scheduled, full).await });
        self.pulls_mut().running = Some(Running { task, asks: None, since: self.truth });
        self.go_on()?;
        self.note_beginning()
    }

    /// The shop answers up to `count` requests.
    pub fn api_answers(&mut self, count: usize, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        for _ in 0..count {
            let Some(Pulls { api, running: Some(running), trouble, .. }) = &mut self.pulls else { return Ok(()) };
            if std::mem::take(&mut self.store.is_changed) {
                api.learn(&self.store);
            }
            *trouble |= api.prepare(dice) || self.truth - running.since > LATE;
            let asks = running.asks.take().context("a pull that waits for nothing")?;
            ensure!(asks.send(()).is_ok(), "the shop's server is gone");
            self.go_on()?;
        }
        Ok(())
    }

    /// Lets the pull do what it does until it asks the shop again, or has ended.
    fn go_on(&mut self) -> anyhow::Result<()> {
        let Some(Pulls { api, running: Some(running), .. }) = &mut self.pulls else { return Ok(()) };
        let ended = self.runtime.block_on(async {
            tokio::select! {
                biased;
                asks = api.is_asked() => {
                    running.asks = Some(asks);
                    None
                }
                ended = &mut running.task => Some(ended),
            }
        });
        self.has_waited();
        if let Some(running) = self.pulls.as_mut().and_then(|pulls| pulls.running.as_mut()) {
            running.since = self.truth;
        }
        self.learn_what_was_pulled()?;
        let Some(ended) = ended else { return Ok(()) };
        self.pulls_mut().running = None;
        let Outcome::Done(Ended { entry, error }) = self.excuse("a pull", ended?)? else { return Ok(()) };
        if let Some(error) = error {
            self.note(format!("pull {} stopped: {error:#}", entry.id));
            let excused = self.pulls_mut().trouble || self.is_faulty();
            ensure!(excused, "a pull failed without a fault: {error:#}");
            return Ok(());
        }
        self.note(format!("pull {} is done: {:?}, {} orders", entry.id, entry.mode, entry.counts.orders.read));
        let pulls = self.pulls_mut();
        (pulls.trouble, pulls.done) = (false, pulls.done + 1);
        self.check_pulled(&entry)
    }

    /// A pull that is under way is gone with the program.
    pub fn cut_pull(&mut self) {
        let Some(pulls) = &mut self.pulls else { return };
        pulls.sync = None;
        if let Some(Running { task, asks, .. }) = pulls.running.take() {
            drop(asks);
            task.abort();
            let _ = self.runtime.block_on(task); // it was told to stop
        }
    }

    /// The first time that a pull is seen, what it has to bring.
    fn note_beginning(&mut self) -> anyhow::Result<()> {
        let known = self.pulls_mut().began.as_ref().map(|began| began.id);
        let (id, first): (Option<i64>, Option<i64>) = self.reader()?.query_row(
            "SELECT (SELECT id FROM syncs WHERE state = 'running'), (SELECT min(started_at) FROM syncs)",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        self.oracle.first_pull = first;
        if let Some(id) = id.filter(|id| known != Some(*id)) {
            let orders = self.store.orders.iter().filter(|((source, _), _)| *source == Source::Shopify);
            let orders = orders.map(|((_, id), order)| (*id, order.clone())).collect();
            self.pulls_mut().began = Some(Began { id, orders });
        }
        Ok(())
    }

    /// A pull is done: nothing that the shop had when it began is missing, or older than it was there. It
    /// was begun when it says that the next one is to begin; the shop's search may be behind that.
    fn check_pulled(&self, entry: &Entry) -> anyhow::Result<()> {
        let pulls = self.pulls.as_ref().context("this seed does not pull")?;
        let began = pulls.began.as_ref().filter(|began| began.id == entry.id);
        let began = began.context("a pull that never began is done")?;
        let until = entry.watermark.millis() + OVERLAP - pulls.api.lag;
        let listed = |id: u64| self.store.orders.get(&(Source::Shopify, id)).filter(|order| !order.deleted);
        let living = || began.orders.iter().filter(|(_, order)| !order.deleted);
        // Before the oldest of its list the shop says nothing of what is gone.
        let oldest = living().filter_map(|(id, _)| listed(*id)).map(|order| order.placed_at).min();
        // Of what has changed since, the next pull tells.
        let is_same = |id: u64, order: &Order| self.store.orders.get(&(Source::Shopify, id)) == Some(order);
        for (id, order) in began.orders.iter().filter(|(id, order)| order.updated_at <= until && is_same(*id, order)) {
            let known = self.oracle.order((Source::Shopify, *id));
            let is_known = match known {
                _ if order.deleted && !entry.swept => true,
                Some(known) if order.deleted => known.deleted || oldest.is_none_or(|oldest| order.placed_at < oldest),
                Some(known) => known.deleted || known.updated_at >= order.updated_at,
                None => order.deleted,
            };
            ensure!(is_known, "pull {} is done, and order {id}, {order:?}, is {known:?}", entry.id);
        }
        Ok(())
    }

    /// No fault is left: pulls get to their end, and then everything is as the shop has it.
    pub fn pull_everything(&mut self, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        if self.pulls.is_none() {
            return Ok(());
        }
        self.pulls_mut().api.recover();
        // The first ends what had begun, the last one looks for what is gone.
        for _ in 0..3 {
            let done = self.pulls_mut().done;
            for _ in 0..TRIES {
                if self.pulls_mut().running.is_none() {
                    self.pull(false)?;
                }
                self.api_answers(usize::MAX, dice)?;
                if self.pulls_mut().done > done {
                    break;
                }
            }
            ensure!(self.pulls_mut().done > done, "a pull does not get to its end");
            self.set_time(self.truth + DAYS * 86_400_000, 0);
        }
        let living =
            self.store.orders.iter().filter(|((source, _), order)| *source == Source::Shopify && !order.deleted);
        let oldest = living.map(|(_, order)| order.placed_at).min();
        for (id, order) in self.store.orders.iter().filter(|((source, _), _)| *source == Source::Shopify) {
            let known = self.oracle.order(*id);
            let is_known = match known {
                Some(known) if order.deleted => known.deleted || oldest.is_none_or(|oldest| order.placed_at < oldest),
                Some(known) => known == order,
                None => order.deleted,
            };
            ensure!(is_known, "the shop has order {} as {order:?}, here it is {known:?}", id.1);
        }
        self.check_oracle()
    }

    fn pulls_mut(&mut self) -> &mut Pulls {
        self.pulls.as_mut().expect("this seed pulls")
    }
}
