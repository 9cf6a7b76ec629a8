//! `quintile token`: a token for a program that uses the API.

use std::io::Write;

use serde_json::json;

use super::{Context, Format, Outcome, UsageError, output::print_json};
use crate::{
    config::Scope,
    web::auth::{fresh_token, hash_of},
};

/// Below the options in `--help`.
const HELP: &str = "\
Nothing is stored. The token goes to standard error, for the program, which sends it as \
`Authorization: Bearer TOKEN`. The lines for config.toml go to standard output: `quintile token NAME \
--scope read >> config.toml`, then start `quintile serve` again. Whoever takes the lines out ends the \
token.";

/// Make a token for a program that uses the API
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// What will use it
    name: String,
    /// What it may do: read looks at everything, admin may also change things, ingest only sends orders
    #[arg(long = "scope", value_name = "SCOPE", required = true, value_parser = scope)]
    scopes: Vec<Scope>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn scope(text: &str) -> Result<Scope, String> {
    Scope::ALL
        .into_iter()
        .find(|scope| scope.as_str() == text)
        .ok_or_else(|| format!("write {}", Scope::ALL.map(Scope::as_str).join(", ")))
}

pub fn run(args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    if args.name.trim().is_empty() {
        return Err(UsageError("the name is empty; write what will use the token, like reports".to_owned()).into());
    }
    let token = fresh_token()?;
    let hash = hash_of(token.expose());
    let mut scopes: Vec<&str> = args.scopes.iter().map(|scope| scope.as_str()).collect();
    scopes.sort_unstable();
    scopes.dedup();
    match args.format {
        Format::Json => {
            print_json(&json!({ "token": token.expose(), "name": args.name, "scopes": scopes, "hash": hash }))?;
        }
        Format::Table | Format::Csv => {
            let scopes: Vec<String> = scopes.iter().map(|scope| format!("{scope:?}")).collect();
            let name = toml::Value::String(args.name.clone());
            // Apart from the lines: those may go into the file as they are, and the token must not.
            eprintln!("The token, shown this once: {}", token.expose());
            writeln!(
                std::io::stdout(),
                "[[dashboard.token]]\nname = {name}\nscopes = [{}]\nhash = \"{hash}\"",
                scopes.join(", "),
            )?;
        }
    }
    Ok(Outcome::Done)
}
