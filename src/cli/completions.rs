//! `quintile completions`: for the shell's tab key.

use std::io::{self, Write};

use clap::CommandFactory;

use super::{Cli, Context, Outcome};

/// Print a completion script for your shell
///
/// For bash: quintile completions bash > ~/.local/share/bash-completion/completions/quintile
#[derive(Debug, clap::Args)]
pub struct Args {
    shell: clap_complete::Shell,
}

pub fn run(args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    // Into memory first: clap_complete panics when the output cannot be written.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "quintile", &mut script);
    io::stdout().write_all(&script)?;
    Ok(Outcome::Done)
}
