//! The commands: clap definitions and one file per command. Knows every stage; no stage knows it.

mod backfill;
mod backup;
mod check;
mod completions;
mod customer;
mod customers;
mod deliver;
mod deliveries;
pub mod demo;
mod destinations;
mod erase;
mod events;
mod export;
mod hash_password;
mod health;
mod import;
mod inbox;
mod init;
mod log;
mod output;
mod restore;
mod runs;
mod score;
mod segments;
mod serve;
mod service_manager;
mod signal;
mod sync;
mod token;
mod verify;
mod waiting;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, Subcommand};
use rusqlite::{Connection, OptionalExtension};

use crate::{
    backups, bug,
    clock::Clock,
    config::{Config, ConfigError, Environment, Loading, Missing, Mistake},
    db::{self, Database, LockError, Readers},
    delivery::guard::NotANetwork,
    outbox::Misconfigured,
    scoring::{night::BadSchedule, segment},
    sync::ApiError,
};

use log::LogFormat;
pub use output::Format;

/// How long a process that has the database, and has not opened it, is waited for.
const STARTING: Duration = Duration::from_secs(2);
/// Between two looks whether it has.
const PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Parser)]
#[command(name = "quintile", version, about, max_term_width = 100)]
struct Cli {
    /// The configuration file; relative paths in it start from its folder
    #[arg(long, global = true, value_name = "PATH", default_value = "config.toml", env = "QUINTILE_CONFIG")]
    config: PathBuf,
    /// How log lines look on standard error; `QUINTILE_LOG` says which there are (`debug`)
    #[arg(long, global = true, value_enum, default_value_t, env = "QUINTILE_LOG_FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Init(init::Args),
    Serve(serve::Args),
    Import(import::Args),
    Sync(sync::Args),
    Score(score::Args),
    Backfill(backfill::Args),
    Deliver(deliver::Args),
    Segments(segments::Args),
    Customers(customers::Args),
    Customer(customer::Args),
    Runs(runs::Args),
    Events(events::Args),
    Deliveries(deliveries::Args),
    Destinations(destinations::Args),
    Inbox(inbox::Args),
    Erase(erase::Args),
    Export(export::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Verify(verify::Args),
    Check(check::Args),
    Health(health::Args),
    HashPassword(hash_password::Args),
    Token(token::Args),
    Completions(completions::Args),
}

/// What every command gets: the checked configuration and the clock.
#[derive(Clone)]
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
    ///
    /// # Errors
    /// Those of [`Database::open`]; somebody else holds the file's lock for more than five seconds; it is gone, and
    /// there are backups of it; the database holds another currency than the configuration.
    pub fn open_database(&self, command: &str) -> anyhow::Result<Database> {
        self.refuse_empty()?;
        let database = Database::open(&self.config.database.path, command)?;
        self.check_database(&database)?;
        Ok(database)
    }

    /// A database whose backups are there was there: it is not made anew without a word.
    fn refuse_empty(&self) -> anyhow::Result<()> {
        match backups::instead_of_empty(&self.config, &self.config_path, self.clock.now())? {
            Some(advice) => Err(anyhow::Error::msg(advice)),
            None => Ok(()),
        }
    }

    fn check_database(&self, database: &Database) -> anyhow::Result<()> {
        // Not by a reader, which would stay: a bulk write goes straight into a new file that nobody reads.
        let stored = database.writer().write_blocking(|tx| Ok(stored_currency(tx)?))?;
        self.check_stored(stored)
    }

    /// Opens the database for a small write, beside a running `serve` if there is one: call
    /// [`Database::nudge`] after the write.
    ///
    /// # Errors
    /// As [`Self::open_database`], but that another process has opened the file.
    pub fn open_beside(&self, command: &str) -> anyhow::Result<Database> {
        let until = Instant::now() + STARTING;
        loop {
            let error = match self.open_database(command) {
                Err(error) => error,
                opened => return opened,
            };
            match error.chain().find_map(|cause| cause.downcast_ref()) {
                Some(LockError::Held { has_opened: true, .. }) => {
                    let database = Database::beside(&self.config.database.path)?;
                    self.check_currency(database.readers())?;
                    return Ok(database);
                }
                // It may be about to, or put a backup in its place, which a write would go down with.
                Some(LockError::Held { .. }) if Instant::now() < until => thread::sleep(PAUSE),
                _ => return Err(error),
            }
        }
    }

    /// Opens the database for reading; a running `serve` is not disturbed.
    ///
    /// # Errors
    /// Those of [`Readers::open`]; the database holds another currency than the configuration.
    pub fn readers(&self) -> anyhow::Result<Readers> {
        self.refuse_empty()?;
        let readers = Readers::open(&self.config.database.path)?;
        self.check_currency(&readers)?;
        Ok(readers)
    }

    /// Amounts are stored in minor units of one currency; read as another one they would be wrong
    /// without a word. Every order says which it is, since others are never stored.
    fn check_currency(&self, readers: &Readers) -> anyhow::Result<()> {
        let reader = readers.get()?;
        self.check_stored(stored_currency(&reader)?)
    }

    fn check_stored(&self, stored: Option<String>) -> anyhow::Result<()> {
        let configured = self.config.shop.currency.code();
        match stored {
            Some(stored) if stored != configured => Err(UsageError(format!(
                "{}: shop.currency is {configured}, the orders in {} are in {stored}; write currency = \"{stored}\", or another [database] path",
                self.config_path.display(),
                self.config.database.path.display()
            ))
            .into()),
            _ => Ok(()),
        }
    }
}

/// The currency of the orders that are stored, if there are any.
fn stored_currency(connection: &Connection) -> rusqlite::Result<Option<String>> {
    connection.query_row("SELECT currency FROM orders LIMIT 1", [], |row| row.get(0)).optional()
}

/// Parses the arguments and the configuration, runs the command, reports its error.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    keep_files_private();
    let default_filter = match cli.command {
        Command::Serve(_) => "warn,quintile=info",
        // One of its destinations fails on purpose.
        Command::Demo(_) => "error",
        _ => "warn",
    };
    let format = cli.log_format;
    log::start(default_filter, format);
    bug::tell_panics_in_the_log();
    match run(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partly) => ExitCode::from(3),
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            log::say(&error, format);
            if is_usage(&error) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// Whatever is written, by us or by SQLite, holds customers or secrets: its owner alone reads it.
fn keep_files_private() {
    #[cfg(unix)]
    rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
}

fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let config = match cli.command.needs() {
        Needs::Nothing => Config::default(),
        Needs::Settings => load_config(&cli.config, Missing::Allow)?,
        Needs::Secrets => load_config(&cli.config, Missing::Refuse)?,
    };
    let context = Context { config, config_path: cli.config, clock: Clock::system() };
    obey(&cli.command, &context).map_err(|error| {
        if db::tells_of_damage(&error) && !matches!(cli.command, Command::Restore(_) | Command::Demo(_)) {
            error.context(backups::advice(&context.config, &context.config_path, context.clock.now()))
        } else {
            error
        }
    })
}

fn obey(command: &Command, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        Command::Demo(args) => demo::run(args, context),
        Command::Init(args) => init::run(args, context),
        Command::Serve(args) => serve::run(args, context),
        Command::Import(args) => import::run(args, context),
        Command::Sync(args) => sync::run(args, context),
        Command::Score(args) => score::run(args, context),
        Command::Backfill(args) => backfill::run(args, context),
        Command::Deliver(args) => deliver::run(args, context),
        Command::Segments(args) => segments::run(args, context),
        Command::Customers(args) => customers::run(args, context),
        Command::Customer(args) => customer::run(args, context),
        Command::Runs(args) => runs::run(args, context),
        Command::Events(args) => events::run(args, context),
        Command::Deliveries(args) => deliveries::run(args, context),
        Command::Destinations(args) => destinations::run(args, context),
        Command::Inbox(args) => inbox::run(args, context),
        Command::Erase(args) => erase::run(args, context),
        Command::Export(args) => export::run(args, context),
        Command::Backup(args) => backup::run(args, context),
        Command::Restore(args) => restore::run(args, context),
        Command::Verify(args) => verify::run(args, context),
        Command::Check(args) => check::run(args, context),
        Command::Health(args) => health::run(args, context),
        Command::HashPassword(args) => hash_password::run(args, context),
        Command::Token(args) => token::run(args, context),
        Command::Completions(args) => completions::run(args, context),
    }
}

/// With this process's environment, and checked by the stages that use it: which segments there are,
/// what a destination's templates make of a customer.
fn load_config(path: &Path, secrets: Missing) -> Result<Config, ConfigError> {
    let environment = Environment::of_process();
    Config::load_with(path, Loading { environment: &environment, secrets, also: mistakes })
}

fn mistakes(config: &Config) -> Vec<Mistake> {
    [segments::mistakes(config), destinations::mistakes(config)].concat()
}

/// What of the configuration a command cannot do without.
enum Needs {
    Nothing,
    /// Everything but the secrets of destinations, which a shell may not have.
    Settings,
    /// Everything: it signs.
    Secrets,
}

impl Command {
    const fn needs(&self) -> Needs {
        match self {
            // The first two write or bring their own configuration; the last two are for writing it.
            Self::Init(_) | Self::Demo(_) | Self::Completions(_) | Self::HashPassword(_) | Self::Token(_) => {
                Needs::Nothing
            }
            Self::Serve(_) | Self::Deliver(_) | Self::Check(_) => Needs::Secrets,
            Self::Verify(args) if !args.asks_the_configuration() => Needs::Nothing,
            _ => Needs::Settings,
        }
    }
}

/// What its user must write differently, whichever stage found it.
fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<UsageError>()
            || cause.is::<ConfigError>()
            || cause.is::<BadSchedule>()
            || cause.is::<segment::Unusable>()
            || cause.is::<Misconfigured>()
            || cause.is::<NotANetwork>()
            || matches!(cause.downcast_ref(), Some(ApiError::Refused(_)))
    })
}

/// The reader of our output has gone (`quintile customers | head`): nothing is wrong.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
