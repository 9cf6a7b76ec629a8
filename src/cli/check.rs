//! `quintile check`: is everything in order, and if not, what to do. One line each.

mod database;
mod surroundings;

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{
    Context, Outcome,
    output::{Column, Format, List},
};

/// Check the configuration, the database and the surroundings; exit 1 if anything is wrong
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also read every page of the database and recompute every counter; may take minutes
    #[arg(long)]
    deep: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What came of one check.
struct Finding {
    check: &'static str,
    state: State,
    /// What was seen; for a fault what to do.
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ok,
    /// Works, but somebody should look.
    Warn,
    Fail,
}

impl State {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

impl Finding {
    fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, state: State::Ok, message: message.into() }
    }

    fn warn(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, state: State::Warn, message: message.into() }
    }

    fn fail(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, state: State::Fail, message: message.into() }
    }
}

const COLUMNS: &[Column] =
    &[Column::text("check", "Check"), Column::text("state", "State"), Column::text("message", "Message")];

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    // Reaching this line means that the configuration was loaded.
    let mut findings = vec![Finding::ok("configuration", context.config_path.display().to_string())];
    findings.push(surroundings::permissions(&context.config_path));
    findings.extend(surroundings::file_permissions(&context.config));
    findings.push(surroundings::shop(&context.config));
    findings.extend(database::check(context, args.deep));
    findings.push(surroundings::disk_space(&context.config.database.path));
    findings.extend(surroundings::folders(&context.config));
    findings.extend(surroundings::destinations(&context.config));
    findings.push(surroundings::shop_secrets(&context.config));
    findings.extend(surroundings::credentials(context));
    print(&findings, args.format)?;
    let failed = findings.iter().any(|finding| finding.state == State::Fail);
    Ok(if failed { Outcome::Failed } else { Outcome::Done })
}

fn print(findings: &[Finding], format: Format) -> io::Result<()> {
    if format == Format::Table {
        let mut out = io::stdout().lock();
        for Finding { check, state, message } in findings {
            writeln!(out, "{:4}  {check}: {message}", state.word())?;
        }
        return Ok(());
    }
    let mut list = List::to_stdout(format, COLUMNS, "")?;
    for Finding { check, state, message } in findings {
        let row: [Value; 3] = [json!(check), json!(state.word()), json!(message)];
        list.row(&row)?;
    }
    list.finish()
}
