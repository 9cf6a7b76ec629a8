//! `quintile customer`

use super::{Context, Outcome};

/// customer
#[derive(Debug, clap::Args)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    anyhow::bail!("customer: under construction")
}
