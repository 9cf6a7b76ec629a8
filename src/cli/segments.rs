//! `quintile segments`

use super::{Context, Outcome};

/// segments
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("segments: under construction")
}
