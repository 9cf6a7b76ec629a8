//! `serve` in a process of its own, on a new database.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use anyhow::Context;
use quintile::{
    clock::Clock,
    config::{Config, Secret},
    db::Database,
    serve::{Listeners, Serving},
};
use tokio_util::sync::CancellationToken;

pub const SHOP: &str = "demo.myshopify.com";
pub const SECRET: &str = "shpss_the shop's own";

/// How requests that wait together are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    Shared,
    /// Each by itself: what sharing is measured against.
    Each,
}

/// A running server; ends with this value.
pub struct Server {
    child: Child,
    pub address: String,
}

impl Server {
    pub fn start(database: &Path, commits: Commits) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--server")
            .arg(database)
            .args((commits == Commits::Each).then_some("--each"))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the child does until its parent ends it.
#[expect(clippy::print_stdout, reason = "tells its address")]
pub fn serve(arguments: &[String]) -> anyhow::Result<()> {
    let path = Path::new(arguments.first().context("a path")?);
    let mut config = Config::default();
    SHOP.clone_into(&mut config.shop.id);
    config.webhooks.shopify.secrets = vec![Secret::new(SECRET)];
    let any = "127.0.0.1:0".parse()?;
    (config.webhooks.listen, config.dashboard.listen) = (any, any);
    "0 2 29 2 *".clone_into(&mut config.scoring.cron);
    let database = if arguments.iter().any(|argument| argument == "--each") {
        Database::open_committing_each(path, "bench")?
    } else {
        Database::open(path, "bench")?
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listeners = Listeners::bind(&config).await?;
        println!("{}", listeners.webhooks.local_addr()?);
        let serving = Serving {
            config: Arc::new(config),
            config_path: path.with_file_name("config.toml"),
            database: Arc::new(database),
            listeners,
            clock: Clock::system(),
            wake: Arc::default(),
        };
        quintile::serve::serve(serving, CancellationToken::new()).await
    })
}
