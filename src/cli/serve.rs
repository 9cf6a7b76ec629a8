//! `quintile serve`: everything that runs, until told to stop.

use std::{io::Write, sync::Arc, time::Duration};

use tokio::sync::Notify;

use super::{
    Context, Outcome,
    service_manager::keep_told,
    signal::{listen_for_nudges, stop_signal},
    waiting,
};
use crate::{
    backups::Backups,
    config::advice,
    serve::{Listeners, Serving, serve},
};

/// How long what was cut off may take to notice.
const REST: Duration = Duration::from_secs(3);

/// Take webhooks, show the dashboard, score each night, send what changed
#[derive(Debug, clap::Args)]
pub struct Args {}

/// # Errors
/// The database is in use by another quintile, damaged, or may not be written; an address is taken; the
/// configuration cannot be served.
pub fn run(_args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    if let Some(advice) = advice::permissions(&context.config_path) {
        tracing::warn!("{}", advice.text);
    }
    for open in Backups::from_config(&context.config).open_to_others() {
        tracing::warn!("{open}");
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let stop = runtime.block_on(async { stop_signal() })?;
    let Some(database) = runtime.block_on(waiting::open(context, &stop))? else {
        runtime.shutdown_background(); // it may be trying at this moment
        return Ok(Outcome::Done);
    };
    let database = Arc::new(database);
    let served = runtime.block_on(async {
        let wake = Arc::new(Notify::new());
        listen_for_nudges(wake.clone())?;
        let listeners = Listeners::bind(&context.config).await?;
        let (dashboard, webhooks) = listeners.urls()?;
        // Port 0 is any free one: pages name that.
        let mut config = context.config.clone();
        config.webhooks.listen = listeners.webhooks.local_addr()?;
        config.dashboard.listen = listeners.dashboard.local_addr()?;
        // Whoever started it may have closed its output, or read one line of it: it serves all the same.
        let addresses = format!("dashboard  {dashboard}\nwebhooks   {webhooks}\n");
        if let Err(error) = std::io::stdout().write_all(addresses.as_bytes()) {
            tracing::warn!(%error, "the addresses could not be printed: dashboard {dashboard}, webhooks {webhooks}");
        }
        let status = format!("dashboard {dashboard}, webhooks {webhooks}");
        let started = Arc::new(Notify::new());
        let writer = database.writer().clone();
        let serving = Serving {
            config: Arc::new(config),
            config_path: context.config_path.clone(),
            database,
            listeners,
            clock: context.clock.clone(),
            wake,
            started: started.clone(),
        };
        let told = stop.clone();
        let telling = tokio::spawn(async move { keep_told(&status, &started, &writer, &told).await });
        let served = serve(serving, stop.clone()).await;
        // What ended by itself is told too, and a quick end does not overtake the word of it.
        stop.cancel();
        let _ = telling.await;
        served
    });
    // What still works on the database ends at its next step; nobody waits for what calculates on.
    runtime.shutdown_timeout(REST);
    served?;
    Ok(Outcome::Done)
}
