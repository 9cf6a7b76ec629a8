//! `quintile import`

use super::{Context, Outcome};

/// import
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("import: under construction")
}
