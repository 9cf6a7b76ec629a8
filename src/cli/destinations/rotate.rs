//! `quintile destinations rotate-secret`: a fresh signing secret, shown once.

use std::io::{self, Write};

use super::{Context, Outcome, UsageError, named};
use crate::{
    cli::output::{Format, print_json},
    config::{Environment, Rotation, RotationError, rotate},
};

pub fn run(name: &str, context: &Context, format: Format) -> anyhow::Result<Outcome> {
    let destination = named(context, name)?;
    let environment = Environment::of_process();
    let done =
        rotate(destination, &environment, &context.config_path, true, context.clock.now()).map_err(
            |error| match error {
                RotationError::Other(error) => error,
                usage => UsageError(usage.to_string()).into(),
            },
        )?;
    match format {
        Format::Json => print_json(&done)?,
        Format::Table | Format::Csv => print(&done)?,
    }
    Ok(Outcome::Done)
}

fn print(done: &Rotation) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let Rotation { destination, secret, old_signs_until, written, variable, value, dropped } = done;
    writeln!(out, "new secret of {destination}:")?;
    writeln!(out, "  {secret}")?;
    writeln!(out)?;
    if let Some(path) = written {
        writeln!(out, "Written to {}. A running `quintile serve` takes it up at its next start.", path.display())?;
    }
    if let (Some(variable), Some(value)) = (variable, value) {
        writeln!(out, "Nothing is changed yet: the secret stands in the environment variable {variable},")?;
        writeln!(out, "which cannot be set from here. Set it where your service gets it, and restart it:")?;
        writeln!(out, "  {variable}=\"{value}\"")?;
        if value.contains(" OLD@") {
            writeln!(out, "with the present secret in place of OLD (this shell does not have it).")?;
        }
    }
    if let Some(until) = old_signs_until {
        writeln!(out, "Enter the new secret in the tool before {until}: until then the old one signs too.")?;
    }
    if *dropped > 0 {
        writeln!(out, "The oldest key signs no longer: there may be three at a time.")?;
    }
    Ok(())
}
