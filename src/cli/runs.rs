//! `quintile runs`

use super::{Context, Outcome};

/// runs
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("runs: under construction")
}
