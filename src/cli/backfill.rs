//! `quintile backfill`

use super::{Context, Outcome};

/// backfill
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("backfill: under construction")
}
