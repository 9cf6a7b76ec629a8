//! `quintile hash-password`: what the dashboard's password becomes in `config.toml`.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Context as _;

use super::{Context, Outcome, UsageError};
use crate::web::auth::password::{LONGEST, SHORTEST, hash};

/// Below the options in `--help`.
const HELP: &str = "\
Asks twice for the password and shows nothing of it; when standard input is no terminal, its first \
line is the password. Write what is printed as password_hash into [dashboard] of config.toml and \
start `quintile serve` again.";

/// Make the hash of a password for the dashboard
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {}

pub fn run(_args: &Args, _context: &Context) -> anyhow::Result<Outcome> {
    let password = if io::stdin().is_terminal() { asked()? } else { piped(&mut io::stdin().lock())? };
    if password.chars().count() < SHORTEST {
        return Err(UsageError(format!("the password has fewer than {SHORTEST} characters; take a longer one")).into());
    }
    if password.len() > LONGEST {
        return Err(UsageError(format!("the password has more than {LONGEST} bytes; take a shorter one")).into());
    }
    writeln!(io::stdout(), "{}", hash(&password)?)?;
    Ok(Outcome::Done)
}

fn asked() -> anyhow::Result<String> {
    let ask = |prompt: &str| rpassword::prompt_password(prompt).context("the terminal cannot be asked");
    let password = ask("Password: ")?;
    if ask("Once more: ")? != password {
        return Err(UsageError("the two differ; try again".to_owned()).into());
    }
    Ok(password)
}

fn piped(input: &mut impl BufRead) -> anyhow::Result<String> {
    let mut line = String::new();
    input.read_line(&mut line).context("standard input cannot be read")?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_without_its_end() {
        for (input, password) in [("a b \r\nmore\n", "a b "), ("x", "x"), ("", "")] {
            assert_eq!(piped(&mut input.as_bytes()).unwrap(), password);
        }
        assert!(piped(&mut &b"\xff\n"[..]).is_err(), "not UTF-8, which no browser would send");
    }
}
