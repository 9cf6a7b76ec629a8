//! `[shopify]` and `[sync]`: credentials that may stand in the file, in the environment or in a file
//! of their own, and what makes them usable.

use std::{collections::BTreeMap, path};

use url::{Host, Url};

use super::{
    Config, Environment, Missing, Secret,
    check::Findings,
    problem::Problem,
    secrets::{self, Absent, Source},
    tree::{Node, Value},
};

pub const SECTION: &str = "shopify";
const CREDENTIALS: [&str; 3] = ["client_id", "client_secret", "token"];
/// More than a week between two pulls, and every one of them would be a full one.
const LONGEST_HOURS: u32 = 168;

/// Every key with which a credential may be written.
pub fn keys() -> Vec<String> {
    CREDENTIALS.iter().flat_map(|name| secrets::keys(name)).collect()
}

/// All keys of the credential that `key` is one form of: `token_env` → `token`, `token_env`,
/// `token_file`.
pub fn forms_of(key: &str) -> Option<[String; 3]> {
    CREDENTIALS.iter().map(|name| secrets::keys(name)).find(|keys| keys.iter().any(|known| known == key))
}

/// Takes the credentials out of `root`.
pub fn take(root: &mut Node, problems: &mut Vec<Problem>) -> BTreeMap<String, Source> {
    let Value::Table(entries) = &mut root.value else { return BTreeMap::new() };
    let Some(section) = entries.get_mut(SECTION) else { return BTreeMap::new() };
    // The shipped file has them empty: then they are somewhere else, or there are none.
    for name in CREDENTIALS {
        if section.node.text(name).is_some_and(|text| text.trim().is_empty()) {
            section.node.take(name);
        }
    }
    secrets::take_from(&mut section.node, &[SECTION.into()], &CREDENTIALS.map(str::to_owned), problems)
}

/// Puts the credentials into `config`, from where they are. An app's secret also signs the webhooks
/// that the app asked for.
pub fn resolve(
    config: &mut Config,
    written: BTreeMap<String, Source>,
    environment: &Environment,
    folder: &path::Path,
    missing: Missing,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut refuse = |source: &Source, message: String| {
        problems.push(Problem::new(vec![SECTION.into(), source.key.as_str().into()], message).at(&source.place));
    };
    for (name, source) in written {
        match secrets::read(&source, environment, folder) {
            Ok(text) => {
                let secret = Secret::new(text.trim());
                match name.as_str() {
                    "client_id" => config.shopify.client_id = secret,
                    "client_secret" => config.shopify.client_secret = secret,
                    _ => config.shopify.token = secret,
                }
            }
            Err(Absent::Gone(message)) => {
                config.shopify.missing.push(format!("{SECTION}.{}: {message}", source.key));
                if missing == Missing::Refuse {
                    refuse(&source, message);
                }
            }
            Err(Absent::Empty) => refuse(&source, "this is empty; put the secret there".to_owned()),
        }
    }
    let secret = &config.shopify.client_secret;
    if !secret.is_empty() && !config.webhooks.shopify.secrets.contains(secret) {
        config.webhooks.shopify.secrets.push(secret.clone());
    }
    problems
}

/// What the types cannot say.
pub fn check(config: &Config, findings: &mut Findings) {
    let shopify = &config.shopify;
    if shopify.missing.is_empty() {
        match (shopify.client_id.is_empty(), shopify.client_secret.is_empty()) {
            (false, true) => findings.add(
                [SECTION.into(), "client_id".into()],
                "there is no client_secret beside it; write the one that stands below the client id in the app's settings",
            ),
            (true, false) => findings.add(
                [SECTION.into(), "client_secret".into()],
                "there is no client_id beside it; write the one that stands above the secret in the app's settings",
            ),
            (false, false) if !shopify.token.is_empty() => findings.add(
                [SECTION.into(), "token".into()],
                "there are also client_id and client_secret; write either those two or the token",
            ),
            _ => {}
        }
    }
    let domain = &config.shop.id;
    if shopify.is_configured() && shopify.base_url.is_empty() && !domain.ends_with(".myshopify.com") {
        findings.add(
            ["shop".into(), "id".into()],
            format!("{domain:?} is not the name that Shopify knows the shop by, which ends in .myshopify.com and stands under Settings > Domains; write that"),
        );
    }
    if !is_version(&shopify.api_version) {
        findings.add(
            [SECTION.into(), "api_version".into()],
            format!("{:?} is not a version of Shopify's API; write \"2026-07\"", shopify.api_version),
        );
    }
    if !shopify.base_url.is_empty() && !is_base(&shopify.base_url) {
        findings.add(
            [SECTION.into(), "base_url".into()],
            "write https:// and a host, or http://127.0.0.1:PORT for a program on this computer, or leave it empty",
        );
    }
    sync(config, findings);
}

fn sync(config: &Config, findings: &mut Findings) {
    let hours = config.sync.every_hours;
    if !(1..=LONGEST_HOURS).contains(&hours) {
        findings.add(
            ["sync".into(), "every_hours".into()],
            format!("{hours} is not a number of hours from 1 to {LONGEST_HOURS}; write 6"),
        );
    }
    let address = &config.sync.webhook_address;
    let usable =
        Url::parse(address).is_ok_and(|url| url.scheme() == "https" && url.path().ends_with("/webhooks/shopify"));
    if !address.is_empty() && !usable {
        findings.add(
            ["sync".into(), "webhook_address".into()],
            "write the address under which the shop reaches quintile, like \"https://shop.example/webhooks/shopify\", or leave it empty",
        );
    }
}

/// "2026-07", "unstable"
fn is_version(text: &str) -> bool {
    let dated = |(year, month): (&str, &str)| {
        let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
        digits(year, 4) && digits(month, 2)
    };
    text == "unstable" || text.split_once('-').is_some_and(dated)
}

/// Encrypted, or not leaving this computer.
fn is_base(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else { return false };
    let here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => return false,
    };
    let plain = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    plain && (url.scheme() == "https" || (url.scheme() == "http" && here))
}
