//! `serve` in a process of its own, on a new database.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    time::Instant,
};

use anyhow::Context;
use quintile::{
    clock::Clock,
    config::{Config, Secret},
    db::{Database, Writer},
    intake::csv::{self, Limits, Settings},
    ledger::Rules,
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
    output: BufReader<ChildStdout>,
    pub address: String,
}

impl Server {
    /// `file`: to be imported when it is told to.
    pub fn start(database: &Path, commits: Commits, file: Option<&Path>) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--server")
            .arg(database)
            .args((commits == Commits::Each).then_some("--each"))
            .args(file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let mut output = BufReader::new(child.stdout.take().context("its output")?);
        output.read_line(&mut address)?;
        Ok(Self { child, output, address: address.trim().to_owned() })
    }
}

impl Server {
    /// Where it is told to import.
    pub fn tell(&mut self) -> anyhow::Result<ChildStdin> {
        self.child.stdin.take().context("its input")
    }

    /// Waits for the end of the import.
    pub fn seconds_of_the_import(&mut self) -> anyhow::Result<f64> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().parse()?)
    }

    /// Seconds of the processor so far.
    pub fn processor(&self) -> f64 {
        super::processor::of_process(self.child.id())
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
    let file = arguments[1..].iter().find(|argument| !argument.starts_with("--")).map(PathBuf::from);
    let database = if arguments.iter().any(|argument| argument == "--each") {
        Database::open_committing_each(path, "bench")?
    } else {
        Database::open(path, "bench")?
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listeners = Listeners::bind(&config).await?;
        println!("{}", listeners.webhooks.local_addr()?);
        if let Some(file) = file {
            let (config, writer) = (config.clone(), database.writer().clone());
            std::thread::spawn(move || match import(&file, &config, &writer) {
                Ok(seconds) => println!("{seconds}"),
                Err(error) => println!("{error:#}"),
            });
        }
        let serving = Serving {
            config: Arc::new(config),
            config_path: path.with_file_name("config.toml"),
            database: Arc::new(database),
            listeners,
            clock: Clock::system(),
            wake: Arc::default(),
            started: Arc::default(),
        };
        quintile::serve::serve(serving, CancellationToken::new()).await
    })
}

/// Imports a file as one that was uploaded, once there is a line to read; the seconds it took.
fn import(file: &Path, config: &Config, writer: &Writer) -> anyhow::Result<f64> {
    std::io::stdin().read_line(&mut String::new())?;
    let input = csv::open(file, None, &Settings::from_config(config)?)?;
    let started = Instant::now();
    let rules = Rules::from_config(config);
    csv::store(input, writer, &rules, Clock::system().now(), Limits::BESIDE, &|_| {})?;
    Ok(started.elapsed().as_secs_f64())
}
