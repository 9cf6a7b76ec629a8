//! `quintile serve`

use super::{Context, Outcome};

/// serve
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("serve: under construction")
}
