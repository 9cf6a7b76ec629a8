//! What makes a `[[destination]]` usable: each kind has keys of its own.

use url::Url;

use super::{
    Config, Destination, Preset, Setting,
    check::{CAUSES, DESTINATION_FIELDS, EVENTS, Findings, NOT_A_SIGNING_KEY},
    problem::{Problem, choose},
    secrets::Written,
    signing::{Key, KeyError},
    tree::{Node, Value},
};
use crate::model::Money;

/// Headers that belong to the connection.
const CONNECTION_HEADERS: [&str; 4] = ["content-length", "host", "connection", "transfer-encoding"];
/// Headers of every signed request.
const OUR_HEADERS: [&str; 2] = ["content-type", "user-agent"];
const OUR_PREFIXES: [&str; 2] = ["webhook-", "quintile-"];
const METHODS: [&str; 5] = ["POST", "PUT", "PATCH", "GET", "DELETE"];

/// Destinations of kinds that there are not; looked for before their keys are.
pub fn kinds(root: &Node) -> Vec<Problem> {
    let Some(Node { value: Value::List(destinations), .. }) = root.get(&"destination".into()) else {
        return Vec::new();
    };
    let refuse = |(index, node): (usize, &Node)| {
        let kind = node.text("kind").filter(|kind| Preset::of(kind).is_none())?;
        let known: Vec<&str> = Preset::all().iter().map(|preset| preset.kind.as_str()).collect();
        let path = vec!["destination".into(), index.into(), "kind".into()];
        let place = node.locate(&path[2..]);
        Some(Problem::new(path, format!("there is no kind {kind:?}; {}", choose(kind, &known))).at(place))
    };
    destinations.iter().enumerate().filter_map(refuse).collect()
}

/// A destination whose kind is refused: its other keys are not worth a word.
pub fn is_foreign(section: &str, item: &Node) -> bool {
    section == "destination" && item.text("kind").is_some_and(|kind| Preset::of(kind).is_none())
}

/// Contradictions that are gone once secrets are resolved, and secrets that nothing names.
pub fn written(config: &Config, written: &Written) -> Vec<Problem> {
    let mut findings = Findings::default();
    for (index, destination) in config.destination.iter().enumerate() {
        let Some(preset) = Preset::of(&destination.kind) else { continue };
        let given = [
            ("secret", !destination.secret.is_empty()),
            ("secret_env", !destination.secret_env.is_empty()),
            ("secret_file", !destination.secret_file.as_os_str().is_empty()),
        ];
        let given: Vec<&str> = given.iter().filter(|(_, given)| *given).map(|(key, _)| *key).collect();
        match given.as_slice() {
            [key, ..] if !preset.sign => findings.add(
                ["destination".into(), index.into(), (*key).into()],
                format!("only kind \"webhook\" signs; {}", instead(preset)),
            ),
            [] if preset.sign => findings.add(
                ["destination".into(), index.into()],
                "there is no secret to sign with; write secret = \"whsec_…\" with the output of `openssl rand -base64 32` after \"whsec_\", or secret_env, or secret_file",
            ),
            [_, .., last] => findings.add(
                ["destination".into(), index.into(), (*last).into()],
                format!("write only one of {}", given.join(", ")),
            ),
            _ => {}
        }
        for (name, setting) in preset.secrets.iter().filter(|(_, setting)| setting.required) {
            if !written.get(index).is_some_and(|written| written.contains_key(name)) {
                findings.add(
                    ["destination".into(), index.into()],
                    format!("there is no {name}; write {name}_env with the name of the variable that holds it, or {name}, or {name}_file; {}", setting.help),
                );
            }
        }
    }
    findings.0
}

fn instead(preset: &Preset) -> String {
    match preset.secrets.keys().next() {
        Some(name) => format!("write {name}, {name}_env or {name}_file"),
        None => "write it as token_env and use {{ secret.token }} in the request".to_owned(),
    }
}

/// Everything else.
pub fn check(destination: &Destination, config: &Config, findings: &mut Findings) {
    let name = &destination.name;
    if name.trim().is_empty() {
        findings.add(["name".into()], "this destination has no name; write name = \"my-tool\"");
    } else if name.contains(|c: char| c.is_control() || c == '/') || name.len() > 64 {
        findings.add(["name".into()], "write a short name of letters, digits and dashes, like \"my-tool\"");
    }
    let Some(preset) = Preset::of(&destination.kind) else { return };
    address(destination, preset, findings);
    if preset.sign
        && !destination.secret.is_empty()
        && let Err(error) = Key::parse_all(destination.secret.expose())
    {
        let message = match error {
            KeyError::End | KeyError::FirstEnds | KeyError::TooMany => format!("this {error}"),
            _ => NOT_A_SIGNING_KEY.to_owned(),
        };
        let given = [
            ("secret_env", !destination.secret_env.is_empty()),
            ("secret_file", !destination.secret_file.as_os_str().is_empty()),
            ("secret", !destination.secret.is_empty()),
        ];
        if let Some((key, _)) = given.iter().find(|(_, given)| *given) {
            findings.add([(*key).into()], message);
        }
    }
    for (key, given, choices) in [
        ("events", &destination.events, EVENTS.as_slice()),
        ("cause", &destination.cause, CAUSES.as_slice()),
        ("fields", &destination.fields, DESTINATION_FIELDS.as_slice()),
    ] {
        for (index, value) in given.iter().enumerate().filter(|(_, value)| !choices.contains(&value.as_str())) {
            findings.add([key.into(), index.into()], format!("{value:?} is not known; {}", choose(value, choices)));
        }
    }
    if !destination.min_spent.is_empty()
        && let Err(error) = Money::parse(&destination.min_spent, config.shop.currency)
    {
        findings.add(["min_spent".into()], error.to_string());
    }
    let (batch, limit) = (destination.batch, preset.batch_limit());
    if !(1..=limit).contains(&batch) {
        let remedy = if limit == 1 {
            format!("kind {:?} takes one event per request; write 1", preset.kind)
        } else {
            format!("write 1 to {limit}")
        };
        findings.add(["batch".into()], format!("{batch} is not possible; {remedy}"));
    }
    settings(destination, preset, findings);
    headers(destination, preset, findings);
    requests(destination, preset, findings);
}

/// What the merchant's account and words are.
fn settings(destination: &Destination, preset: &Preset, findings: &mut Findings) {
    if !preset.is_template() {
        let known: Vec<&String> = preset.vars.keys().collect();
        for name in destination.vars.keys().filter(|name| !preset.vars.contains_key(*name)) {
            findings.add(
                ["vars".into(), name.as_str().into()],
                format!("kind {:?} does not use this; {}", preset.kind, choose(name, &known)),
            );
        }
        let known: Vec<&String> = preset.names.keys().collect();
        for name in destination.names.keys().filter(|name| !preset.names.contains_key(*name)) {
            findings.add(
                ["names".into(), name.as_str().into()],
                format!("kind {:?} has nothing of this name; {}", preset.kind, choose(name, &known)),
            );
        }
    }
    let absent = |(name, setting): &(&String, &Setting)| {
        setting.required && destination.vars.get(*name).is_none_or(|value| value.trim().is_empty())
    };
    let absent: Vec<_> = preset.vars.iter().filter(absent).collect();
    if !absent.is_empty() {
        let example: Vec<String> = absent.iter().map(|(name, _)| format!("{name} = \"…\"")).collect();
        let help: Vec<String> = absent.iter().map(|(name, setting)| format!("{name}: {}", setting.help)).collect();
        findings.add(["vars".into()], format!("write {} into vars = {{ … }}; {}", example.join(", "), help.join("; ")));
    }
}

fn headers(destination: &Destination, preset: &Preset, findings: &mut Findings) {
    if !preset.sign && !destination.headers.is_empty() {
        let remedy = if preset.is_template() { "write them into [[destination.request]]" } else { "leave them out" };
        findings.add(["headers".into()], format!("kind {:?} has headers of its own; {remedy}", preset.kind));
        return;
    }
    for name in destination.headers.keys() {
        let lower = name.to_lowercase();
        let ours = OUR_HEADERS.contains(&lower.as_str()) || OUR_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
        if ours || CONNECTION_HEADERS.contains(&lower.as_str()) {
            findings.add(["headers".into(), name.as_str().into()], "quintile sets this header itself; leave it out");
        }
    }
}

fn requests(destination: &Destination, preset: &Preset, findings: &mut Findings) {
    if !preset.is_template() {
        if !destination.request.is_empty() {
            findings.add(
                ["request".into(), 0.into()],
                "only kind \"template\" has requests of yours; write that kind, or leave this out",
            );
        }
        return;
    }
    if destination.request.is_empty() {
        findings.add(
            ["kind".into()],
            "kind \"template\" sends what you write; add [[destination.request]] with method, url, headers and body",
        );
    }
    for (index, request) in destination.request.iter().enumerate() {
        let at = |key: &str| ["request".into(), index.into(), key.into()];
        if !METHODS.contains(&request.method.as_str()) {
            findings
                .add(at("method"), format!("{:?} is not known; {}", request.method, choose(&request.method, &METHODS)));
        }
        if request.url.trim().is_empty() {
            findings.add(["request".into(), index.into()], "this request has no url; write url = \"https://…\"");
        }
        if !request.body.is_empty() && !request.form.is_empty() {
            findings.add(at("form"), "a request has a body or a form; leave one of them out");
        }
        for name in request.headers.keys().filter(|name| CONNECTION_HEADERS.contains(&name.to_lowercase().as_str())) {
            findings.add(
                ["request".into(), index.into(), "headers".into(), name.as_str().into()],
                "quintile sets this header itself; leave it out",
            );
        }
    }
}

/// The address itself stays out of the messages: some tools check no signature, so it is a secret.
fn address(destination: &Destination, preset: &Preset, findings: &mut Findings) {
    const NOT_AN_ADDRESS: &str =
        "this is not a web address; write the one that your tool shows, like \"https://example.com/hooks/quintile\"";
    const PLAIN: &str = "this is plain http, which others on the way can read; write https://, or allow_http = true for a tool on this machine";
    let (url, base) = (destination.url.trim(), destination.base_url.trim());
    if preset.sign {
        if !base.is_empty() {
            findings.add(["base_url".into()], "kind \"webhook\" sends to its url; write the address there");
        }
        if url.is_empty() {
            findings.add(
                ["url".into()],
                "this destination has no url; write the address that your tool shows, like url = \"https://example.com/hooks/quintile\"",
            );
            return;
        }
        match Url::parse(url).as_ref().map(Url::scheme) {
            Ok("https") => {}
            Ok("http") if destination.allow_http => {}
            Ok("http") => findings.add(["url".into()], PLAIN),
            _ => findings.add(["url".into()], NOT_AN_ADDRESS),
        }
        return;
    }
    if !url.is_empty() {
        let remedy = if preset.is_template() {
            "write it into [[destination.request]]"
        } else {
            "leave it out, or write base_url to try it against another"
        };
        findings.add(["url".into()], format!("kind {:?} has addresses of its own; {remedy}", preset.kind));
    }
    if base.is_empty() {
        return;
    }
    match Url::parse(base) {
        Ok(base) if base.query().is_some() || base.fragment().is_some() => {
            findings.add(["base_url".into()], "write the address without ? and #, like \"https://example.com\"");
        }
        Ok(base) if base.scheme() == "https" => {}
        Ok(base) if base.scheme() == "http" => {
            if !destination.allow_http && !is_loopback(&base) {
                findings.add(["base_url".into()], PLAIN);
            }
        }
        _ => findings.add(["base_url".into()], "this is not a web address; write it like \"http://127.0.0.1:9000\""),
    }
}

/// Whether an address is on this machine, as far as it can be told without asking.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
