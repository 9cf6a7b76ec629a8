//! `quintile customers`

use super::{Context, Outcome};

/// customers
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("customers: under construction")
}
