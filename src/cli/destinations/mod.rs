//! `quintile destinations`: your tools, how they fare, and what to do about it.

mod list;
mod resume;
mod rotate;
mod test;

use super::{Context, Format, Outcome, UsageError};
use crate::{
    config::{self, Config, Mistake},
    delivery::plan::Plan,
    outbox::{self, Misconfigured, Route},
};

/// List destinations; test, pause, resume or give a new secret to one
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List destinations and how they fare (what happens without a word)
    List,
    /// Give a destination a fresh signing secret; the old one signs for 24 hours more
    RotateSecret(Named),
    /// Send one marked event at once; show the request, the answer and what it means
    Test(test::Args),
    /// Stop sending to a destination; its queue is held
    Pause(Named),
    /// Send to a paused or disabled destination again
    Resume(resume::Args),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// Its name in config.toml
    name: String,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    match &args.action {
        None | Some(Action::List) => list::run(context, args.format),
        Some(Action::RotateSecret(named)) => rotate::run(&named.name, context, args.format),
        Some(Action::Test(which)) => test::run(which, context, args.format),
        Some(Action::Pause(named)) => pause(&named.name, context, args.format),
        Some(Action::Resume(which)) => resume::run(which, context, args.format),
    }
}

/// What of the destinations cannot be used: filters and fields that there are not, templates that
/// make no request of a made-up customer.
pub fn mistakes(config: &Config) -> Vec<Mistake> {
    let routes = Route::from_config(config).err();
    let plans = config.destination.iter().filter_map(|destination| Plan::from_config(destination, &config.shop).err());
    routes.into_iter().chain(plans).map(|wrong| mistake(config, &wrong)).collect()
}

fn mistake(config: &Config, wrong: &Misconfigured) -> Mistake {
    let index = config.destination.iter().position(|destination| destination.name == wrong.destination);
    Mistake {
        path: vec!["destination".into(), index.unwrap_or(0).into(), wrong.key.into()],
        message: wrong.problem.clone(),
    }
}

fn pause(name: &str, context: &Context, format: Format) -> anyhow::Result<Outcome> {
    named(context, name)?;
    let database = context.open_beside("quintile destinations pause")?;
    let (destination, now) = (name.to_owned(), context.clock.now());
    database.writer().write_blocking(move |tx| Ok(outbox::pause(tx, &destination, now)?))?;
    database.nudge();
    list::say(
        context,
        &database,
        name,
        format,
        &format!(
            "{name} is paused: nothing is sent to it, its queue is held. `quintile destinations resume {name} --send all|latest|none` goes on."
        ),
    )
}

/// The destination called `name` in the configuration.
pub(super) fn named<'a>(context: &'a Context, name: &str) -> Result<&'a config::Destination, UsageError> {
    let all = &context.config.destination;
    all.iter().find(|destination| destination.name == name).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|destination| destination.name.as_str()).collect();
        let file = context.config_path.display();
        UsageError(match names.as_slice() {
            [] => format!("{file} has no [[destination]]; add one first"),
            names => format!("no [[destination]] in {file} is called {name:?}; there are: {}", names.join(", ")),
        })
    })
}
