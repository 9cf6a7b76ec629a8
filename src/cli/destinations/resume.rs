//! `quintile destinations resume`: a paused or disabled destination is sent to again.

use crate::{
    cli::{Context, Format, Outcome, UsageError},
    outbox::{self, DestinationState, Resume},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Its name in config.toml
    name: String,
    /// What of its queue is sent
    #[arg(long, value_enum)]
    send: Send,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Send {
    /// Everything, in order
    All,
    /// Of each customer the newest event alone
    Latest,
    /// Nothing of it, only what comes from now on
    None,
}

pub fn run(args: &Args, context: &Context, format: Format) -> anyhow::Result<Outcome> {
    super::named(context, &args.name)?;
    let resume = match args.send {
        Send::All => Resume::All,
        Send::Latest => Resume::Latest,
        Send::None => Resume::None,
    };
    let database = context.open_beside("quintile destinations resume")?;
    let now = context.clock.now();
    let name = &args.name;
    let state = outbox::health(&*database.readers().get()?, name, now)?.state;
    if state == DestinationState::Active {
        return Err(UsageError(format!("{name} is not paused or disabled; its queue is sent already")).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(outbox::resume(database.writer(), name, resume, now))?;
    database.nudge();
    super::list::say(context, &database, name, format, &format!("{name} is sent to again."))
}
