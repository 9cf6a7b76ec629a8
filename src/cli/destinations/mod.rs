//! `quintile destinations`: where segment changes go.

mod replace;
mod rotate;

use clap::Subcommand;

use super::{Context, Outcome, UsageError};
use crate::config;

/// Change the destinations
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    RotateSecret(rotate::Args),
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    match &args.command {
        Command::RotateSecret(args) => rotate::run(args, context),
    }
}

/// The destination of this name.
pub(super) fn named<'a>(context: &'a Context, name: &str) -> Result<&'a config::Destination, UsageError> {
    let all = &context.config.destination;
    all.iter().find(|destination| destination.name == name).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|destination| destination.name.as_str()).collect();
        let file = context.config_path.display();
        UsageError(match names.as_slice() {
            [] => format!("{file} has no [[destination]]; add one first"),
            names => format!("no [[destination]] in {file} is called {name:?}; there are: {}", names.join(", ")),
        })
    })
}
