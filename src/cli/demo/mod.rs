//! `quintile demo`: everything in one go, with a made-up shop, real requests and real signatures.

mod live;
mod past;
pub mod shop;

use std::{
    io::Write as _,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Context, Outcome, signal::stop_signal};
use crate::{
    clock::Clock,
    config::{Config, Environment, Loading, Missing, Secret},
    db::{Database, create_private_file},
    model::Timestamp,
    serve::Listeners,
    web::{
        self,
        moody::{Mood, Moody},
    },
};

/// The shop's size and age.
const CUSTOMERS: u32 = 5_000;
const WEEKS_OF_HISTORY: u32 = 104;
/// Nights that are scored one by one, with deliveries.
const NIGHTS: u32 = 26 * 7;
/// The same shop at every start.
const SEED: u64 = 20_261_123;
/// The destination that takes everything, and whose deliveries the summary counts.
const RECEIVER: &str = "demo-receiver";
/// The destination that is in trouble: it hears of the best customers alone.
const IN_TROUBLE: &str = "loyalty-app";
/// Nights in which it does not know some customers; three refusals make a dead letter. Then it is down.
const PICKY_NIGHTS: usize = 14;
/// Unix seconds are in milliseconds here; zero says "the system's clock".
const SYSTEM: i64 = 0;

/// Everything in one go, with a made-up shop in a temporary folder
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Port of the dashboard; without it a free one
    #[arg(long)]
    port: Option<u16>,
    /// Print a summary as JSON and end
    #[arg(long)]
    headless: bool,
}

/// The demo's clock: set while the past is lived through, the system's afterwards.
#[derive(Clone, Default)]
struct Time(Arc<AtomicI64>);

impl Time {
    fn set(&self, now: Timestamp) {
        self.0.store(now.millis(), Ordering::SeqCst);
    }

    fn go_live(&self) {
        self.0.store(SYSTEM, Ordering::SeqCst);
    }

    fn clock(&self, system: Clock) -> Clock {
        let time = self.clone();
        Clock::from_fn(move || match time.0.load(Ordering::SeqCst) {
            SYSTEM => system.now(),
            millis => Timestamp::from_millis(millis),
        })
    }
}

/// The printed summary.
#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    customers: i64,
    orders: i64,
    runs: i64,
    segment_changes: i64,
    /// To [`RECEIVER`], as what follows.
    deliveries_delivered: i64,
    /// Counted by [`RECEIVER`]: different messages whose signature held.
    receiver_accepted: usize,
    receiver_refused: u64,
}

/// # Errors
/// A port is taken, the temporary folder cannot be written, or a stage fails.
pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(demo(args, context))
}

async fn demo(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let mut private = tempfile::Builder::new();
    #[cfg(unix)]
    private.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    let folder = private.prefix("quintile-demo-").tempdir().context("cannot make a temporary folder")?;
    let time = Time::default();
    let clock = time.clock(context.clock.clone());
    let stop = stop_signal()?;

    let secret = Secret::random()?;
    let receiver = web::receiver::Receiver::new(secret.clone(), clock.clone());
    let in_trouble = Moody::default();
    let sockets = [TcpListener::bind(("127.0.0.1", 0)).await?, TcpListener::bind(("127.0.0.1", 0)).await?];
    let addresses = [sockets[0].local_addr()?, sockets[1].local_addr()?];
    let background = CancellationToken::new();
    for (socket, router) in sockets.into_iter().zip([receiver.router(), in_trouble.router()]) {
        tokio::spawn(web::listen(
            socket,
            router,
            web::Limits::default(),
            background.clone(),
            std::time::Duration::ZERO,
        ));
    }
    let listeners = bind(args.port.unwrap_or(0)).await?;
    let config_path = folder.path().join("config.toml");
    let config = Arc::new(configure(&config_path, &listeners, &secret, addresses)?);
    let database = Arc::new(Database::open(&config.database.path, "quintile demo")?);
    let history = shop::Shop::new(SEED, CUSTOMERS, WEEKS_OF_HISTORY, context.clock.now());
    let today = tokio::select! {
        today = past::live_through(&config, &database, history, &time, &clock, &in_trouble) => today?,
        () = stop.cancelled() => return Ok(Outcome::Done),
    };
    time.go_live();
    in_trouble.set(Mood::Down);

    let outcome =
        live::run(live::Demo { args, config, config_path, database, listeners, clock, receiver, today, stop }).await;
    background.cancel();
    outcome
}

/// Free ports, and that of the dashboard where one was asked for.
async fn bind(dashboard: u16) -> anyhow::Result<Listeners> {
    Ok(Listeners {
        webhooks: TcpListener::bind(("127.0.0.1", 0)).await?,
        dashboard: TcpListener::bind(("127.0.0.1", dashboard))
            .await
            .with_context(|| format!("cannot listen on 127.0.0.1:{dashboard}; give another --port"))?,
    })
}

/// The defaults, except for what the demo is about: its addresses and its receivers. The baseline is
/// sent, since a receiver that only counts greets nobody. It is a file like any merchant's, so that the
/// pages say where each value stands; the environment of the real shop does not reach it.
fn configure(
    path: &Path,
    listeners: &Listeners,
    secret: &Secret,
    [receiver, in_trouble]: [SocketAddr; 2],
) -> anyhow::Result<Config> {
    let text = format!(
        r#"# The demo's own configuration: it goes when the demo ends.
[shop]
name = "Lantern & Wick"
currency = "{currency}"

[webhooks]
listen = "{webhooks}"
[webhooks.shopify]
secrets = ["{shop_secret}"]

[dashboard]
listen = "{dashboard}"

# What is removed at the end needs no copy.
[backup]
folder = ""

[forwarder]
baseline = "send"
allow_private = ["127.0.0.0/8"]

[[destination]]
name = "{RECEIVER}"
url = "http://{receiver}/"
allow_http = true
secret = "{secret}"

[[destination]]
name = "{IN_TROUBLE}"
url = "http://{in_trouble}/"
allow_http = true
secret = "{trouble_secret}"
to = ["champion", "loyal"]
cause = ["order"]
"#,
        currency = shop::CURRENCY.code(),
        webhooks = listeners.webhooks.local_addr()?,
        dashboard = listeners.dashboard.local_addr()?,
        shop_secret = Secret::random()?.expose(),
        secret = secret.expose(),
        trouble_secret = Secret::random()?.expose(),
    );
    create_private_file(path)?.write_all(text.as_bytes()).context("cannot write the demo's files")?;
    let environment = Environment::default();
    Ok(Config::load_with(path, Loading { environment: &environment, secrets: Missing::Refuse, also: |_| Vec::new() })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_configuration_names_the_real_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let listeners = bind(0).await.unwrap();
        let tools = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let config = configure(&path, &listeners, &Secret::random().unwrap(), tools).unwrap();
        assert_eq!(config.dashboard.listen, listeners.dashboard.local_addr().unwrap());
        assert_eq!(config.webhooks.listen, listeners.webhooks.local_addr().unwrap());
        assert_eq!(config.database.path, folder.path().join("quintile.db"));
        let urls: Vec<&str> = config.destination.iter().map(|destination| destination.url.as_str()).collect();
        assert_eq!(urls, ["http://127.0.0.1:1/", "http://127.0.0.1:2/"]);
    }
}
