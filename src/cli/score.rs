//! `quintile score`

use super::{Context, Outcome};

/// score
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("score: under construction")
}
