//! `quintile check`

use super::{Context, Outcome};

/// check
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("check: under construction")
}
