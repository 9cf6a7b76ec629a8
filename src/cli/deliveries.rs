//! `quintile deliveries`

use super::{Context, Outcome};

/// deliveries
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("deliveries: under construction")
}
