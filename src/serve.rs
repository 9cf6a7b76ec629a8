//! Starts everything that runs: both listeners, the night watch, the pull from the shop and the
//! forwarder; and stops it in an order that loses nothing.

mod condition;
mod nightly;
mod privacy;
mod retention;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use self::nightly::Nightly;
use crate::{
    backups::Backups,
    bug::NoResult,
    clock::Clock,
    config::{Config, Environment},
    db::{Database, Stopped, ended_sessions, make_private_key},
    delivery::Forwarder,
    intake::uploads::Uploads,
    ledger::Rules,
    metrics::Metrics,
    scoring::Night,
    sync::{self, Sync, Timer},
    web::{
        self, Limits,
        dashboard::{self, DashboardState},
        webhooks::{self, Refusals, WebhookState},
    },
};

/// How long requests in flight may take to finish after the stop signal.
const GRACE: Duration = Duration::from_secs(10);
/// From then on nobody waits for what is still read or written. A moment later than each part gives up by itself.
const CUT_OFF: Duration = Duration::from_secs(11);

/// The two sockets: only the first is meant to be reached from outside.
pub struct Listeners {
    pub webhooks: TcpListener,
    pub dashboard: TcpListener,
}

impl Listeners {
    /// Binds both addresses of the configuration.
    ///
    /// # Errors
    /// An address is taken. Says which key to change.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            webhooks: bind(config.webhooks.listen, "webhooks").await?,
            dashboard: bind(config.dashboard.listen, "dashboard").await?,
        })
    }

    /// The addresses as people open them: `(dashboard, webhooks)`.
    ///
    /// # Errors
    /// A socket does not know its own address.
    pub fn urls(&self) -> std::io::Result<(String, String)> {
        let url = |listener: &TcpListener| listener.local_addr().map(web::url);
        Ok((url(&self.dashboard)?, url(&self.webhooks)?))
    }
}

async fn bind(address: SocketAddr, section: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; stop what uses it, or change [{section}] listen in config.toml")
    })
}

/// What [`serve`] runs on.
pub struct Serving {
    pub config: Arc<Config>,
    /// Named on pages that give advice about settings.
    pub config_path: PathBuf,
    pub database: Arc<Database>,
    pub listeners: Listeners,
    pub clock: Clock,
    /// Tells the forwarder that somebody else wrote something for it.
    pub wake: Arc<Notify>,
    /// Told once everything runs.
    pub started: Arc<Notify>,
}

/// Serves until `shutdown`, then stops taking requests, finishes what is in flight within ten
/// seconds, cuts off what is not finished then, and closes the database.
///
/// # Errors
/// The configuration cannot be served, or a part failed; everything else is stopped first.
pub async fn serve(serving: Serving, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Serving { config, config_path, database, listeners, clock, wake, started } = serving;
    let writer = database.writer().clone();
    let readers = database.readers().clone();
    let (score_now, asked) = mpsc::channel(1);
    let (database_key, ended_sessions) = writer.write(|tx| Ok((make_private_key(tx)?, ended_sessions(tx)?))).await?;

    let metrics = Metrics::default();
    let forwarder = Forwarder::new(&config, writer.clone(), readers.clone(), clock.clone(), wake.clone())?
        .counting(metrics.clone());
    let asked_for_data = Arc::new(Notify::new());
    let litestream = config.backup.litestream;
    let privacy = privacy::run(database.clone(), litestream, asked_for_data.clone(), wake.clone(), shutdown.clone());
    let sync = config
        .shopify
        .is_configured()
        .then(|| Sync::new(&config, database.clone(), clock.clone(), Timer::system()))
        .transpose()?;
    let uploads = Uploads::new(Arc::clone(&config), &database, clock.clone());
    uploads.recover().await?;
    let night = Night::new(&config, database.clone(), clock.clone(), wake.clone())?;
    let ending = database.ending().clone();
    let backups = Backups::from_config(&config).until(&ending);
    let nightly = Nightly {
        database: database.clone(),
        backups: backups.clone(),
        clock: clock.clone(),
        over: night.over(),
        litestream,
    };
    let next_night = night.clone();
    let news = wake.clone();
    let rules = Rules::from_config(&config);
    let limits = Limits::default();
    let refusals = Refusals::default();
    let webhooks = webhooks::router(WebhookState {
        config: config.clone(),
        rules,
        writer: writer.clone(),
        clock: clock.clone(),
        wake: wake.clone(),
        privacy: asked_for_data.clone(),
        refusals: refusals.clone(),
        metrics: metrics.clone(),
        limits,
    });
    let store = retention::Store {
        readers: readers.clone(),
        writer: writer.clone(),
        uploads: uploads.clone(),
        database: database.path().to_owned(),
    };
    let forgetting = retention::run(store, clock.clone(), shutdown.clone());
    let dashboard = dashboard::router(DashboardState {
        config,
        config_path,
        readers,
        clock,
        metrics,
        score_now,
        uploads: uploads.clone(),
        writer,
        wake,
        environment: Environment::of_process(),
        privacy: asked_for_data,
        backups,
        database_key,
        ended_sessions,
        limits,
    });

    let mut parts = JoinSet::new();
    for (listener, router) in [(listeners.webhooks, webhooks), (listeners.dashboard, dashboard)] {
        let stop = shutdown.clone();
        parts.spawn(async move {
            web::listen(listener, router, limits, stop, GRACE).await;
            Ok(())
        });
    }
    let stopping = shutdown.clone();
    parts.spawn(async move {
        stopping.cancelled().await;
        uploads.stop(GRACE).await;
        Ok(())
    });
    parts.spawn(watch(night, asked, shutdown.clone()));
    parts.spawn(condition::watch(database, shutdown.clone()));
    let stop = shutdown.clone();
    parts.spawn(async move {
        refusals.tell(stop).await;
        Ok(())
    });
    let stop = shutdown.clone();
    parts.spawn(async move {
        nightly.run(stop).await;
        Ok(())
    });
    if let Some(sync) = sync {
        let stop = shutdown.clone();
        parts.spawn(async move {
            sync::watch(sync, move || next_night.next().map(|slot| slot.at), news, stop).await;
            Ok(())
        });
    }
    let stop = shutdown.clone();
    parts.spawn(async {
        forwarder.run(stop).await;
        Ok(())
    });
    parts.spawn(async {
        forgetting.await;
        Ok(())
    });
    parts.spawn(async {
        privacy.await;
        Ok(())
    });
    let stop = shutdown.clone();
    let telling = ending.clone();
    parts.spawn(async move {
        stop.cancelled().await;
        telling.announce();
        Ok(())
    });
    started.notify_one();
    let mut ended = std::pin::pin!(all(parts, &shutdown));
    let outcome = tokio::select! {
        outcome = ended.as_mut() => outcome,
        () = too_late(&shutdown) => {
            tracing::warn!("cut off what still worked on the database; the next start goes on with it");
            ending.come();
            ended.await
        }
    };
    // Also for what nobody waits for: a count for a page, a run that had its time.
    ending.come();
    outcome
}

/// Waits for all parts.
async fn all(mut parts: JoinSet<anyhow::Result<()>>, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let mut outcome = Ok(());
    while let Some(ended) = parts.join_next().await {
        // It was told to end, or it failed: then the others end too.
        shutdown.cancel();
        outcome =
            outcome.and(ended.map_err(NoResult::from).context("a part of quintile crashed").and_then(|ended| ended));
    }
    outcome
}

async fn too_late(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(CUT_OFF).await;
}

/// The night watch, and the runs that people ask for.
async fn watch(night: Night, mut asked: mpsc::Receiver<()>, shutdown: CancellationToken) -> anyhow::Result<()> {
    let asking = async {
        while asked.recv().await.is_some() {
            if let Err(error) = night.score_now().await
                && !error.is::<Stopped>()
            {
                tracing::error!(error = format!("{error:#}"), "the run somebody asked for failed");
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        watched = night.watch(shutdown) => watched,
        () = asking => Ok(()),
    }
}
