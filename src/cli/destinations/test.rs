//! `quintile destinations test`: one marked event, what was sent, what came back, what it means.

use std::io::Write;

use crate::{
    cli::{Context, Format, Outcome, UsageError, output::print_json},
    delivery::trial::{Person, Trial, trial},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name in config.toml
    name: String,
    /// E-mail of the customer in the event, for tools that only know real ones. Of a customer of the shop it
    /// says what is so, of anybody else what is made up
    #[arg(long)]
    email: Option<String>,
}

pub fn run(args: &Args, context: &Context, format: Format) -> anyhow::Result<Outcome> {
    super::named(context, &args.name)?;
    let person = match &args.email {
        Some(email) => Some(Person::called(&*context.readers()?.get()?, email.clone(), context.clock.now())?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let trial = runtime
        .block_on(trial(&context.config, &args.name, person, context.clock.now()))
        .map_err(|error| UsageError(format!("{error:#}")))?;
    match format {
        Format::Json => print_json(&trial)?,
        Format::Table | Format::Csv => print(&trial)?,
    }
    Ok(if trial.ok { Outcome::Done } else { Outcome::Failed })
}

fn print(trial: &Trial) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for exchanged in &trial.requests {
        writeln!(out, "{} {}", exchanged.method, exchanged.url)?;
        for (name, value) in &exchanged.headers {
            writeln!(out, "{name}: {value}")?;
        }
        writeln!(out, "\n{}\n", exchanged.body)?;
        match exchanged.status {
            Some(status) => writeln!(out, "answered {status} in {} ms", exchanged.duration_ms)?,
            None => writeln!(out, "no answer after {} ms", exchanged.duration_ms)?,
        }
        if !exchanged.answer.trim().is_empty() {
            writeln!(out, "{}", exchanged.answer)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{}", trial.diagnosis)
}
