//! `quintile completions`

use super::{Context, Outcome};

/// completions
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("completions: under construction")
}
