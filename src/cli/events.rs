//! `quintile events`

use super::{Context, Outcome};

/// events
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("events: under construction")
}
