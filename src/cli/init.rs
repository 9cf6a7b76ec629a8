//! `quintile init`: a configuration with fresh secrets and an empty database, to start from.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{Context, Outcome, UsageError, load_config};
use crate::{
    backups::config_option,
    config::{Missing, Secret},
    db::{Database, folder_of, hand_over, make_private_folder, private_file},
};

/// The shipped file: every key with its default and why.
const TEMPLATE: &str = include_str!("../../config.toml");

/// Write a config.toml with fresh secrets and an empty database; never overwrites
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write them to; made if it is not there [default: that of --config]
    dir: Option<PathBuf>,
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let path = args.dir.as_ref().map_or_else(|| context.config_path.clone(), |dir| dir.join("config.toml"));
    let folder = folder_of(&path);
    make_private_folder(folder)?;
    let wrote_config = write_config(&path)?;
    let config = load_config(&path, Missing::Allow)?;
    let database = &config.database.path;
    let made_database = !database.exists();
    if !wrote_config && !made_database {
        return Err(UsageError(format!(
            "{} and {} are there already and stay as they are; name another folder, like `quintile init my-shop`",
            path.display(),
            database.display()
        ))
        .into());
    }
    if made_database {
        let context = Context { config: config.clone(), config_path: path.clone(), ..context.clone() };
        context.refuse_empty()?;
        drop(Database::open(database, "quintile init")?);
    }
    report(&path, wrote_config, database, made_database)?;
    Ok(Outcome::Done)
}

/// False when there is one already, which stays.
fn write_config(path: &Path) -> anyhow::Result<bool> {
    let text = fresh_config()?;
    let mut file = match private_file().create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", path.display())),
    };
    hand_over(path);
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

/// The shipped file with secrets of its own: one for `/webhooks/orders`, one ready for the first
/// destination.
fn fresh_config() -> anyhow::Result<String> {
    const ORDERS: &str = "[webhooks.orders]\nsecrets = []";
    const DESTINATION: &str = "#secret = \"whsec_…\"";
    let random = || Secret::random().context("the system gives no random numbers for the secrets");
    let orders = format!("[webhooks.orders]\nsecrets = [\"{}\"]", random()?.expose());
    let destination = format!("#secret = \"{}\"", random()?.expose());
    Ok(TEMPLATE.replacen(ORDERS, &orders, 1).replacen(DESTINATION, &destination, 1))
}

fn report(config: &Path, wrote_config: bool, database: &Path, made_database: bool) -> io::Result<()> {
    let word = |new| if new { "wrote" } else { "kept " };
    let option = config_option(config);
    let mut out = io::stdout().lock();
    writeln!(out, "{} {}", word(wrote_config), config.display())?;
    writeln!(out, "{} {}", word(made_database), database.display())?;
    writeln!(out)?;
    writeln!(out, "Next:")?;
    writeln!(out, "  1. Write your shop's name, currency and webhook secret into {}", config.display())?;
    writeln!(out, "  2. quintile{option} import ORDERS.csv, then quintile{option} serve")
}
