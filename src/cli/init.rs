//! `quintile init`

use super::{Context, Outcome};

/// init
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("init: under construction")
}
