//! `quintile demo`

pub mod shop;

use super::{Context, Outcome};

/// demo
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("demo: under construction")
}
