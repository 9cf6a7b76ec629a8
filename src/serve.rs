//! Starts everything that runs: both listeners, the night watch and the forwarder; and stops it in
//! an order that loses nothing.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, anyhow};
use tokio::{net::TcpListener, sync::Notify};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, config::Config, db::Database, delivery::Forwarder, ledger::Rules, scoring, web};

/// How long requests in flight may take to finish after the stop signal.
const GRACE: Duration = Duration::from_secs(10);

/// The two sockets: only the first is meant to be reached from outside.
pub struct Listeners {
    pub webhooks: TcpListener,
    pub dashboard: TcpListener,
}

impl Listeners {
    /// Binds both addresses of the configuration.
    ///
    /// # Errors
    /// The dashboard would stand open to others, or an address is taken. Says which key to change.
    pub async fn bind(config: &Config) -> anyhow::Result<Self> {
        web::dashboard::check_exposure(config).map_err(|problem| anyhow!(problem))?;
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
        let url = |listener: &TcpListener| listener.local_addr().map(|address| format!("http://{address}"));
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
    /// Shown on the settings page.
    pub config_path: PathBuf,
    pub database: Arc<Database>,
    pub listeners: Listeners,
    pub clock: Clock,
}

/// Serves until `shutdown`, then stops taking requests, finishes what is in flight within ten
/// seconds, and closes the database.
///
/// # Errors
/// The configuration cannot be served, or a listener failed; everything else is stopped first.
pub async fn serve(serving: Serving, shutdown: CancellationToken) -> anyhow::Result<()> {
    let Serving { config, config_path, database, listeners, clock } = serving;
    let writer = database.writer().clone();
    let readers = database.readers().clone();
    let wake = Arc::new(Notify::new());
    let (score_now, asked) = tokio::sync::mpsc::channel(1);

    let forwarder = Forwarder::new(&config, writer.clone(), readers.clone(), clock.clone(), wake.clone())?;
    let settings = Arc::new(scoring::Settings::from_config(&config)?);
    let webhooks = web::webhooks::router(web::webhooks::WebhookState {
        config: config.clone(),
        rules: Rules::from_config(&config),
        writer,
        clock: clock.clone(),
    });
    let dashboard = web::dashboard::router(web::dashboard::DashboardState::new(config, config_path, readers, clock.clone(), score_now)?);

    let night = tokio::spawn(scoring::night::watch(database, settings, clock, wake, asked, shutdown.clone()));
    let forwarding = tokio::spawn(forwarder.run(shutdown.clone()));
    let listening = tokio::try_join!(
        web::listen(listeners.webhooks, webhooks, shutdown.clone(), GRACE),
        web::listen(listeners.dashboard, dashboard, shutdown.clone(), GRACE),
    );
    shutdown.cancel(); // also when a listener failed
    night.await.context("the night watch stopped")?;
    forwarding.await.context("the forwarder stopped")?;
    listening.context("a listener stopped")?;
    tracing::info!("stopped");
    Ok(())
}
