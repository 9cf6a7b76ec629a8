//! `quintile deliver`

use super::{Context, Outcome};

/// deliver
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("deliver: under construction")
}
