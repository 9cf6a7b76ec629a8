//! Pulling from the shop's own API: the whole history on the first day, and every few hours what
//! changed, so that no lost webhook leaves the numbers wrong for long. For a merchant without a public
//! address it is the only way in.
//!
//! A pull ([`Sync::run`]) has a row in `syncs` ([`log`]) and these stages:
//!
//! 1. the shop is the right one, and sends the webhooks it should ([`subscriptions`]);
//! 2. orders, then customers: the first time and after a gap of a week by a bulk operation
//!    ([`operation`], [`file`]), else page by page ([`pages`]);
//! 3. once a week what is gone ([`sweep`]).
//!
//! Whatever was fetched goes through `intake::bulk` into the same functions of the ledger as a
//! webhook does, and ends in the same state whichever came first ([`store`]). Where a pull is stands
//! in the transaction that brought it there: one that was cut off anywhere goes on there, and only one
//! that got to its end moves the watermark from which the next one asks.
//!
//! [`schedule`] says when a pull is due, [`watch`] makes it so while `serve` runs. Waiting is an
//! argument ([`Timer`]).

mod answer;
mod api;
mod file;
mod http;
pub mod log;
mod operation;
mod pages;
pub mod queries;
pub mod schedule;
mod store;
mod subscriptions;
mod sweep;
mod throttle;
mod timer;
mod watch;

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;

pub use api::ApiError;
pub use subscriptions::TOPICS;
pub use timer::Timer;
pub use watch::watch;

use api::Api;
use log::{Beginning, Counts, Entry, Mode, Position, Stage, State, Trigger};
use queries::Kind;
use store::Batch;

use crate::{
    clock::Clock,
    config::Config,
    db::{Database, Lock, LockError},
    ledger::Rules,
    model::Timestamp,
};

/// The next pull asks from so long before the start of this one, by the shop's clock: its search lags
/// behind.
const OVERLAP: i64 = 10 * 60_000;
/// After a longer gap a bulk operation is quicker than pages.
const LONGEST_GAP: i64 = 7 * Timestamp::DAY;
/// A pull that was cut off longer ago is not taken up: the shop keeps a bulk operation for a week.
const RESUMABLE: i64 = 6 * Timestamp::DAY;
/// How often what was deleted is looked for.
const SWEEP_EVERY: i64 = 7 * Timestamp::DAY;

/// Pulls from one shop.
pub struct Sync {
    api: Api,
    database: Arc<Database>,
    rules: Rules,
    /// `[shop] id`
    domain: String,
    webhook_address: String,
    every_hours: u32,
    has_webhooks: bool,
    clock: Clock,
    timer: Timer,
}

/// A pull that has ended: its row, and why it did not get to its end.
#[derive(Debug)]
pub struct Ended {
    pub entry: Entry,
    pub error: Option<anyhow::Error>,
}

/// Another pull is going on, here or in another process.
#[derive(Debug, thiserror::Error)]
#[error("another sync is going on ({0}); its row is in `quintile sync --log`")]
pub struct Busy(String);

impl Sync {
    /// # Errors
    /// There is nothing to ask the shop with ([`ApiError::Refused`] says which keys to write), or the
    /// HTTP client cannot start.
    pub fn new(config: &Config, database: Arc<Database>, clock: Clock, timer: Timer) -> anyhow::Result<Self> {
        Ok(Self {
            api: Api::new(config, clock.clone(), timer.clone())?,
            database,
            rules: Rules::from_config(config),
            domain: config.shop.id.clone(),
            webhook_address: config.sync.webhook_address.clone(),
            every_hours: config.sync.every_hours,
            has_webhooks: !config.webhooks.shopify.secrets.is_empty(),
            clock,
            timer,
        })
    }

    /// One pull: takes up the one that was cut off, or starts another. `full`: everything again.
    ///
    /// # Errors
    /// [`Busy`], or the database cannot be used. What goes wrong on the way is in [`Ended`].
    pub async fn run(&self, trigger: Trigger, full: bool) -> anyhow::Result<Ended> {
        let _lock = self.lock()?;
        let (entry, mut position) = self.open(trigger, full).await?;
        let worked = self.work(&entry, &mut position).await;
        let (id, now, horizon) = (entry.id, self.clock.now(), self.horizon());
        let told = worked.as_ref().err().map(|error| format!("{error:#}"));
        // What cannot be had any more is not gone back to.
        let lost = worked.as_ref().err().is_some_and(anyhow::Error::is::<operation::NoFile>);
        if lost {
            (position.operation, position.file) = (None, None);
        }
        self.database
            .writer()
            .write(move |tx| {
                if lost {
                    log::advance(tx, id, &Counts::default(), &position, horizon)?;
                }
                match told {
                    None => log::finish(tx, id, now)?,
                    Some(error) => log::fail(tx, id, &error, now)?,
                }
                Ok(())
            })
            .await?;
        let entry = self.database.readers().read(move |connection| Ok(log::find(connection, id)?)).await?;
        Ok(Ended { entry, error: worked.err() })
    }

    /// Whether the credentials open this shop, and it is the one of the configuration.
    ///
    /// # Errors
    /// [`ApiError::Refused`] says what to change.
    pub async fn check_shop(&self) -> Result<(), ApiError> {
        check_shop(&self.api, &self.domain, &self.rules).await
    }

    /// One at a time, also across processes. The system frees the lock however the process ends.
    fn lock(&self) -> anyhow::Result<Lock> {
        let mut name = self.database.path().as_os_str().to_owned();
        name.push(".sync");
        match Lock::acquire(&PathBuf::from(name), "quintile sync") {
            Ok(lock) => Ok(lock),
            Err(LockError::Held { holder, .. }) => Err(Busy(holder).into()),
            Err(error) => Err(error.into()),
        }
    }

    /// The row of this pull: that of one that was cut off, or a new one.
    async fn open(&self, trigger: Trigger, full: bool) -> anyhow::Result<(Entry, Position)> {
        let now = self.clock.now();
        let (latest, history) = self
            .database
            .readers()
            .read(|connection| Ok((log::latest(connection)?, log::history(connection)?)))
            .await?;
        let cut_off = latest.filter(|entry| {
            let goes_on = entry.state == State::Running || (entry.state == State::Failed && entry.position.is_some());
            goes_on && !full && now.millis() - entry.started_at.millis() < RESUMABLE
        });
        let has_webhooks = self.has_webhooks;
        let id = if let Some(entry) = cut_off {
            self.database.writer().write(move |tx| Ok(log::resume(tx, entry.id).map(|()| entry.id)?)).await?
        } else {
            let since = history.watermark.filter(|_| !full);
            let gap = since.is_none_or(|since| now.millis() - since.millis() > LONGEST_GAP);
            let beginning = Beginning {
                trigger,
                mode: if gap { Mode::Full } else { Mode::Incremental },
                since,
                watermark: now.plus_millis(-OVERLAP),
                // Also when the clock says that it was in the future.
                sweeps: history.swept_at.is_some_and(|at| !(0..SWEEP_EVERY).contains(&(now.millis() - at.millis()))),
                counts_missed: has_webhooks && since.is_some(),
            };
            self.database.writer().write(move |tx| Ok(log::begin(tx, &beginning, now)?)).await?
        };
        let entry = self.database.readers().read(move |connection| Ok(log::find(connection, id)?)).await?;
        let position = entry.position.clone().unwrap_or_default();
        Ok((entry, position))
    }

    async fn work(&self, entry: &Entry, position: &mut Position) -> anyhow::Result<()> {
        self.check_shop().await?;
        self.set_the_clock(entry).await?;
        self.subscribe(entry).await?;
        loop {
            match position.stage {
                Stage::Orders => self.get(entry, position, Kind::Orders).await?,
                Stage::Customers => self.get(entry, position, Kind::Customers).await?,
                Stage::DeletedOrders if entry.swept => self.sweep(entry, position, Kind::Orders).await?,
                Stage::DeletedCustomers if entry.swept => self.sweep(entry, position, Kind::Customers).await?,
                Stage::DeletedOrders | Stage::DeletedCustomers => {}
                Stage::Finished => return Ok(()),
            }
            *position = Position { stage: position.stage.next(), ..Position::default() };
            self.save(entry, position).await?;
        }
    }

    async fn get(&self, entry: &Entry, position: &mut Position, kind: Kind) -> anyhow::Result<()> {
        match entry.mode {
            Mode::Full => self.in_bulk(entry, position, kind).await,
            Mode::Incremental => self.pages(entry, position, kind).await,
        }
    }

    async fn subscribe(&self, entry: &Entry) -> anyhow::Result<()> {
        if self.webhook_address.is_empty() {
            return Ok(());
        }
        let ensured = subscriptions::ensure(&self.api, &self.webhook_address).await?;
        let id = entry.id;
        self.database
            .writer()
            .write(move |tx| {
                for sentence in &ensured.refused {
                    log::note(tx, id, sentence)?;
                }
                Ok(log::subscribed(tx, id, ensured.made)?)
            })
            .await
    }

    /// Stores a batch together with where the pull is then.
    async fn store(&self, batch: Batch, entry: &Entry, kind: Kind, position: &Position) -> anyhow::Result<()> {
        let (rules, entry, position) = (self.rules.clone(), entry.clone(), position.clone());
        let (now, horizon) = (self.clock.now(), self.horizon());
        self.database
            .writer()
            .write(move |tx| {
                let counts = batch.store(tx, &rules, &entry, kind, now)?;
                log::advance(tx, entry.id, &counts, &position, horizon)
            })
            .await
    }

    /// Stores where the pull is.
    async fn save(&self, entry: &Entry, position: &Position) -> anyhow::Result<()> {
        let (id, position, horizon) = (entry.id, position.clone(), self.horizon());
        self.database.writer().write(move |tx| log::advance(tx, id, &Counts::default(), &position, horizon)).await
    }

    /// What the shop changes from here on need not be in what it answers now. By its clock, since one
    /// that is ahead of it would pass over changes; and by ours where that is behind, since we refuse
    /// what it calls the future.
    fn horizon(&self) -> Timestamp {
        self.clock.now().min(self.api.shop_now()).plus_millis(-OVERLAP)
    }

    /// The shop has answered, so that its clock is known: by ours alone the pull began.
    async fn set_the_clock(&self, entry: &Entry) -> anyhow::Result<()> {
        let (id, horizon) = (entry.id, self.horizon());
        self.database.writer().write(move |tx| Ok(log::ask_again_from(tx, id, horizon)?)).await
    }

    async fn note(&self, entry: &Entry, sentence: String) -> anyhow::Result<()> {
        let id = entry.id;
        self.database.writer().write(move |tx| Ok(log::note(tx, id, &sentence)?)).await
    }
}

impl Stage {
    const fn next(self) -> Self {
        match self {
            Self::Orders => Self::Customers,
            Self::Customers => Self::DeletedOrders,
            Self::DeletedOrders => Self::DeletedCustomers,
            Self::DeletedCustomers | Self::Finished => Self::Finished,
        }
    }
}

/// Asks the shop who it is: for `quintile check`, which has no database to pull into.
///
/// # Errors
/// As [`Sync::new`] and [`Sync::check_shop`].
pub async fn check_credentials(config: &Config, clock: Clock, timer: Timer) -> anyhow::Result<()> {
    let api = Api::new(config, clock, timer)?;
    check_shop(&api, &config.shop.id, &Rules::from_config(config)).await.context("the shop cannot be asked")
}

async fn check_shop(api: &Api, domain: &str, rules: &Rules) -> Result<(), ApiError> {
    #[derive(Deserialize)]
    struct Answer {
        shop: Shop,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Shop {
        myshopify_domain: String,
        currency_code: String,
    }
    let Answer { shop } = api.ask(&queries::SHOP, &json!({}), &mut 0.0).await?;
    if !shop.myshopify_domain.eq_ignore_ascii_case(domain) {
        return Err(ApiError::Refused(format!(
            "the credentials are those of {}, and [shop] id is {domain}; correct one of them",
            answer::quote(&shop.myshopify_domain)
        )));
    }
    if shop.currency_code != rules.currency.code() {
        return Err(ApiError::Refused(format!(
            "the shop's currency is {}, and [shop] currency is {}; correct it",
            answer::quote(&shop.currency_code),
            rules.currency
        )));
    }
    Ok(())
}
