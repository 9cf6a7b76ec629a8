//! `quintile verify`: why does my tool refuse the signature?

use std::{
    fs,
    io::{self, Read, Write},
};

use anyhow::Context as _;
use clap::ArgGroup;
use serde_json::json;

use super::{Context, Outcome, UsageError, destinations, output};
use crate::{
    cli::Format,
    config::{Environment, Secret, signing::Key},
    delivery::verify::{Report, captured::Captured, check},
    model::Timestamp,
};

/// Check a captured request of ours: its signature, time and body; exit 1 if it is not genuine
#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("key").required(true).args(["secret", "secret_env", "destination"])))]
#[command(group(ArgGroup::new("capture").required(true).args(["request", "headers"])))]
pub struct Args {
    /// The raw request: headers, a blank line, the body; `-` reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["headers", "body"])]
    request: Option<String>,
    /// The headers: lines `name: value`, or a JSON object
    #[arg(long, value_name = "FILE", requires = "body")]
    headers: Option<String>,
    /// The body, byte for byte
    #[arg(long, value_name = "FILE", requires = "headers")]
    body: Option<String>,
    /// The signing secret, `whsec_…`
    #[arg(long, value_name = "SECRET", value_parser = taken)]
    secret: Option<Secret>,
    /// The environment variable that holds it
    #[arg(long, value_name = "NAME")]
    secret_env: Option<String>,
    /// The destination that has it in config.toml
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// When the request came (RFC 3339 or Unix seconds) [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<Timestamp>,
    /// Do not ask how old it is
    #[arg(long, conflicts_with = "at")]
    no_time: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

impl Args {
    pub const fn asks_the_configuration(&self) -> bool {
        self.destination.is_some()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "what a parser of arguments looks like")]
fn taken(text: &str) -> Result<Secret, String> {
    Ok(Secret::new(text))
}

fn time(text: &str) -> Result<Timestamp, String> {
    let seconds = text.parse::<i64>().map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000)));
    seconds.or_else(|_| Timestamp::parse_rfc3339(text)).map_err(|error| error.to_string())
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let request = capture(args)?;
    let secret = secret(args, context)?;
    let now = (!args.no_time).then(|| args.at.unwrap_or_else(|| context.clock.now()));
    let keys = Key::parse_all(&secret);
    let (report, fault) = match &keys {
        Ok(keys) => (check(&request, keys, now), None),
        // Without a key there is still something to say of the headers.
        Err(error) => (check(&request, &[], now), Some(format!("the secret {error}"))),
    };
    let mut faults: Vec<(&str, String)> = fault.map(|fault| ("secret", fault)).into_iter().collect();
    let without_key = keys.is_err();
    let about_keys = |part: &str| part == "webhook-signature";
    let others = report.faults.iter().filter(|fault| !(without_key && about_keys(fault.part())));
    faults.extend(others.map(|fault| (fault.part(), fault.to_string())));
    print(args.format, &report, &faults)?;
    Ok(if faults.is_empty() { Outcome::Done } else { Outcome::Failed })
}

fn capture(args: &Args) -> anyhow::Result<Captured> {
    let captured = match (&args.request, &args.headers, &args.body) {
        (Some(request), ..) => Captured::from_request(&read(request)?),
        (None, Some(headers), Some(body)) if headers == "-" && body == "-" => {
            return Err(UsageError("only one of --headers and --body can be standard input".to_owned()).into());
        }
        (None, Some(headers), Some(body)) => Captured::from_parts(&read(headers)?, read(body)?),
        _ => return Err(UsageError("write --request FILE, or --headers FILE and --body FILE".to_owned()).into()),
    };
    captured.map_err(|error| UsageError(error.to_string()).into())
}

fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == "-" {
        io::stdin().lock().read_to_end(&mut bytes).context("cannot read standard input")?;
    } else {
        bytes = fs::read(file).with_context(|| format!("cannot read {file}"))?;
    }
    Ok(bytes)
}

fn secret(args: &Args, context: &Context) -> anyhow::Result<String> {
    if let Some(secret) = &args.secret {
        return Ok(secret.expose().to_owned());
    }
    if let Some(name) = &args.secret_env {
        let unset = || UsageError(format!("the environment variable {name} is not set; set it to the secret"));
        return Ok(Environment::of_process().get(name).ok_or_else(unset)?.to_owned());
    }
    let destination = destinations::named(context, args.destination.as_deref().unwrap_or_default())?;
    if destination.secret.is_empty() {
        let message = format!(
            "the secret of {:?} cannot be read here; put it where the configuration says, or write --secret",
            destination.name
        );
        return Err(UsageError(message).into());
    }
    Ok(destination.secret.expose().to_owned())
}

fn print(format: Format, report: &Report, faults: &[(&str, String)]) -> io::Result<()> {
    if format == Format::Json {
        let faults: Vec<_> = faults.iter().map(|(part, message)| json!({"part": part, "message": message})).collect();
        return output::print_json(&json!({
            "valid": faults.is_empty(),
            "messageId": report.message_id,
            "timestamp": report.timestamp.map(|seconds| Timestamp::from_millis(seconds.saturating_mul(1000))),
            "ageSeconds": report.age_s,
            "key": report.key.map(|key| key + 1),
            "faults": faults,
        }));
    }
    let mut out = io::stdout().lock();
    for (part, message) in faults {
        writeln!(out, "wrong  {part}: {message}")?;
    }
    if faults.is_empty() {
        let id = report.message_id.as_deref().unwrap_or_default();
        let age = report.age_s.map(|age| format!(", {age} seconds old")).unwrap_or_default();
        let key = match report.key {
            Some(key) if key > 0 => format!(" with key {} of the secret, an older one", key + 1),
            _ => String::new(),
        };
        writeln!(out, "ok     {id} is genuine{key}{age}")?;
    }
    Ok(())
}
