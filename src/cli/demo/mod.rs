//! `quintile demo`: everything in one go, with a made-up shop, real requests and real signatures.

mod live;
mod past;
pub mod shop;

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{Context, Outcome, signal::stop_signal};
use crate::{
    clock::Clock,
    config::{Baseline, Config, Destination, Secret},
    db::Database,
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
const PICKY_NIGHTS: usize = 8;
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
    let folder =
        tempfile::Builder::new().prefix("quintile-demo-").tempdir().context("cannot make a temporary folder")?;
    let time = Time::default();
    let clock = time.clock(context.clock.clone());
    let stop = stop_signal()?;

    let secret = Secret::random()?;
    let receiver = web::receiver::Receiver::new(secret.clone(), clock.clone());
    let in_trouble = Moody::default();
    let sockets = [TcpListener::bind(("127.0.0.1", 0)).await?, TcpListener::bind(("127.0.0.1", 0)).await?];
    let addresses = [sockets[0].local_addr()?, sockets[1].local_addr()?];
    let config = Arc::new(configure(args, folder.path(), secret, addresses)?);
    let background = CancellationToken::new();
    for (socket, router) in sockets.into_iter().zip([receiver.router(), in_trouble.router()]) {
        tokio::spawn(web::listen(socket, router, background.clone(), std::time::Duration::ZERO));
    }

    let listeners = bind(&config).await?;
    let database = Arc::new(Database::open(&config.database.path, "quintile demo")?);
    let history = shop::Shop::new(SEED, CUSTOMERS, WEEKS_OF_HISTORY, context.clock.now());
    let today = tokio::select! {
        today = past::live_through(&config, &database, history, &time, &clock, &in_trouble) => today?,
        () = stop.cancelled() => return Ok(Outcome::Done),
    };
    time.go_live();
    in_trouble.set(Mood::Down);

    let outcome = live::run(live::Demo { args, config, database, listeners, clock, receiver, today, stop }).await;
    background.cancel();
    outcome
}

/// As `serve` does, but the advice is the demo's: it has no config.toml.
async fn bind(config: &Config) -> anyhow::Result<Listeners> {
    let dashboard = config.dashboard.listen;
    Ok(Listeners {
        webhooks: TcpListener::bind(config.webhooks.listen).await?,
        dashboard: TcpListener::bind(dashboard)
            .await
            .with_context(|| format!("cannot listen on {dashboard}; give another --port"))?,
    })
}

/// The embedded defaults, except for what the demo is about: its addresses and its receiver. The
/// baseline is sent, since a receiver that only counts greets nobody.
fn configure(
    args: &Args,
    folder: &std::path::Path,
    secret: Secret,
    [receiver, in_trouble]: [std::net::SocketAddr; 2],
) -> anyhow::Result<Config> {
    let mut config = Config::default();
    "Lantern & Wick".clone_into(&mut config.shop.name);
    config.shop.currency = shop::CURRENCY;
    config.database.path = folder.join("quintile.db");
    // What is removed at the end needs no copy.
    config.backup.folder = std::path::PathBuf::new();
    config.webhooks.listen.set_port(0);
    config.webhooks.shopify.secrets = vec![Secret::random()?];
    config.dashboard.listen.set_port(args.port.unwrap_or(0));
    config.forwarder.baseline = Baseline::Send;
    config.forwarder.allow_private = vec!["127.0.0.0/8".to_owned()];
    let destination = |name: &str, address: std::net::SocketAddr, secret: Secret| Destination {
        name: name.to_owned(),
        url: format!("http://{address}/"),
        allow_http: true,
        secret,
        ..Destination::default()
    };
    config.destination = vec![
        destination(RECEIVER, receiver, secret),
        Destination {
            to: vec!["champion".to_owned(), "loyal".to_owned()],
            cause: vec!["order".to_owned()],
            ..destination(IN_TROUBLE, in_trouble, Secret::random()?)
        },
    ];
    Ok(config)
}
