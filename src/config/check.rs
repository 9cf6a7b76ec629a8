//! What the types cannot say: values that parse and yet cannot be used.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr};

use super::{
    Config, SegmentScheme, access,
    problem::{Path, Problem, Step, choose},
    shopify,
};
use crate::clock::EARLIEST;

/// Kinds of event that this version makes.
pub(super) const EVENTS: [&str; 4] =
    ["rfm/segment.changed", "customer/first_order", "customer/lapsed", "customer/redacted"];
pub(super) const CAUSES: [&str; 5] = ["order", "refund", "ranking", "baseline", "remap"];
/// What `fields` of a destination may name.
pub const DESTINATION_FIELDS: [&str; 6] = ["segment", "rfm", "counters", "email", "name", "phone"];
/// What `[import.columns]` may name: our names of the columns of the generic CSV.
pub const IMPORT_COLUMNS: [&str; 10] = [
    "order_id",
    "customer_id",
    "email",
    "ordered_at",
    "total",
    "refunded",
    "currency",
    "status",
    "first_name",
    "last_name",
];

/// What `[import.customer_columns]` may name.
pub const CUSTOMER_COLUMNS: [&str; 7] = ["customer_id", "email", "first_name", "last_name", "phone", "consent", "tags"];

/// What is wrong, collected.
#[derive(Default)]
pub(super) struct Findings(pub(super) Vec<Problem>);

impl Findings {
    pub(super) fn add<const N: usize>(&mut self, path: [Step; N], message: impl Into<String>) {
        self.0.push(Problem::new(Path::from(path), message));
    }
}

/// Everything else.
pub fn all(config: &Config) -> Vec<Problem> {
    let mut findings = Findings::default();
    shop(config, &mut findings);
    backup(config, &mut findings);
    listeners(config, &mut findings);
    access::check(&config.dashboard, &mut findings);
    webhook_secrets(config, &mut findings);
    shopify::check(config, &mut findings);
    paid_statuses(config, &mut findings);
    import(config, &mut findings);
    scoring(config, &mut findings);
    segments(config, &mut findings);
    forwarder(config, &mut findings);
    let mut names = BTreeSet::new();
    for (index, destination) in config.destination.iter().enumerate() {
        if !names.insert(destination.name.as_str()) {
            findings.add(
                ["destination".into(), index.into(), "name".into()],
                format!("two destinations are called {:?}; give each its own name", destination.name),
            );
        }
        let mut found = Findings::default();
        super::destination::check(destination, config, &mut found);
        findings.0.extend(found.0.into_iter().map(|problem| problem.inside(index).inside("destination")));
    }
    findings.0
}

fn shop(config: &Config, findings: &mut Findings) {
    let id = &config.shop.id;
    if id.trim().is_empty() {
        findings
            .add(["shop".into(), "id".into()], "this is empty; write the shop's address, like \"demo.myshopify.com\"");
    } else if id.contains("://") || id.contains('/') || id.contains(char::is_whitespace) {
        findings.add(
            ["shop".into(), "id".into()],
            format!("{id:?} is not a plain name; write it without https:// and slashes, like \"demo.myshopify.com\""),
        );
    }
    if config.database.path.as_os_str().is_empty() {
        findings.add(["database".into(), "path".into()], "this is empty; write a file name, like \"quintile.db\"");
    }
}

fn backup(config: &Config, findings: &mut Findings) {
    let backup = &config.backup;
    if backup.keep_daily == 0 {
        findings.add(
            ["backup".into(), "keep_daily".into()],
            "0 would keep no backup; write at least 1, or folder = \"\" to make none",
        );
    }
    if !backup.copy_to.as_os_str().is_empty() {
        let path = ["backup".into(), "copy_to".into()];
        if backup.folder.as_os_str().is_empty() {
            findings.add(path, "there is nothing to copy while folder is empty; name that too, like \"backups\"");
        } else if backup.copy_to == backup.folder {
            findings.add(path, "this is the folder of the backups themselves; name one on another disk");
        }
    }
}

fn listeners(config: &Config, findings: &mut Findings) {
    if !(1..=64).contains(&config.webhooks.body_limit_mib) {
        findings.add(
            ["webhooks".into(), "body_limit_mib".into()],
            format!("{} is not possible; write 1 to 64, like 8", config.webhooks.body_limit_mib),
        );
    }
    let (webhooks, dashboard) = (config.webhooks.listen, config.dashboard.listen);
    if webhooks == dashboard && webhooks.port() != 0 {
        findings.add(
            ["dashboard".into(), "listen".into()],
            format!("webhooks listen on {webhooks} too; give the dashboard another port, so that a tunnel to the webhooks does not show it"),
        );
    }
}

fn webhook_secrets(config: &Config, findings: &mut Findings) {
    let sources = [
        ("shopify", &config.webhooks.shopify.secrets),
        ("woocommerce", &config.webhooks.woocommerce.secrets),
        ("orders", &config.webhooks.orders.secrets),
    ];
    for (source, secrets) in sources {
        for (index, secret) in secrets.iter().enumerate() {
            let path = ["webhooks".into(), source.into(), "secrets".into(), index.into()];
            if secret.expose().trim().is_empty() {
                findings.add(path, "an empty secret would let everyone in; write the secret, or secrets = []");
            } else if source == "orders" && secret.signing_key().is_none() {
                findings.add(path, NOT_A_SIGNING_KEY);
            }
        }
    }
}

pub(super) const NOT_A_SIGNING_KEY: &str = "this is not a signing secret; write \"whsec_\" and the base64 of 24 to 64 random bytes, which `openssl rand -base64 32` prints";

/// Those that say the opposite of paid would count what was never sold.
fn paid_statuses(config: &Config, findings: &mut Findings) {
    const NEVER: [&str; 4] = ["cancelled", "failed", "refunded", "trash"];
    for (index, status) in config.orders.paid_statuses.iter().enumerate() {
        let path = ["orders".into(), "paid_statuses".into(), index.into()];
        let word = status.strip_prefix("wc-").unwrap_or(status);
        if word.is_empty() || word.contains(|c: char| c.is_whitespace() || c.is_uppercase()) {
            findings.add(
                path,
                format!("{status:?} is not a status of WooCommerce; write it as its database does, like \"on-hold\""),
            );
        } else if NEVER.contains(&word) {
            findings.add(path, format!("{status:?} is no sale and cannot count; take it out"));
        }
    }
}

fn import(config: &Config, findings: &mut Findings) {
    use chrono::format::{Item, StrftimeItems};
    if StrftimeItems::new(&config.import.date_format).any(|item| item == Item::Error) {
        findings.add(
            ["import".into(), "date_format".into()],
            format!("{:?} is not a date format; write it like \"%d.%m.%Y %H:%M\"", config.import.date_format),
        );
    }
    for (section, columns, known) in [
        ("columns", &config.import.columns, &IMPORT_COLUMNS[..]),
        ("customer_columns", &config.import.customer_columns, &CUSTOMER_COLUMNS[..]),
    ] {
        for column in columns.keys().filter(|column| !known.contains(&column.as_str())) {
            findings.add(
                ["import".into(), section.into(), column.as_str().into()],
                format!("there is no such column; {}", choose(column, known)),
            );
        }
    }
    if config.import.upload_limit_mb == 0 {
        findings.add(
            ["import".into(), "upload_limit_mb".into()],
            "0 would refuse every file; write how many megabytes a file may have, like 2000",
        );
    }
}

fn scoring(config: &Config, findings: &mut Findings) {
    if let Err(problem) = check_cron(&config.scoring.cron) {
        let remedy = "write minute, hour, day, month and weekday, like \"0 2 * * *\" for every night at 2";
        let message = format!("{:?} {problem}; {remedy}", config.scoring.cron);
        findings.add(["scoring".into(), "cron".into()], message);
    }
    lapsed_days(config, findings);
    if config.scoring.hold_above_percent > 100 {
        findings.add(
            ["scoring".into(), "hold_above_percent".into()],
            format!(
                "{} is more than everyone; write 0 to 100 (100 never holds a run)",
                config.scoring.hold_above_percent
            ),
        );
    }
}

/// The thresholds of `customer/lapsed`: each once, the shortest first.
fn lapsed_days(config: &Config, findings: &mut Findings) {
    const LONGEST: u32 = 3650;
    let days = &config.scoring.lapsed_days;
    for (index, day) in days.iter().enumerate() {
        let path = ["scoring".into(), "lapsed_days".into(), index.into()];
        if !(1..=LONGEST).contains(day) {
            findings.add(path, format!("{day} is not a number of days from 1 to {LONGEST}; write it like [30, 90]"));
        } else if index > 0 && days[index - 1] == *day {
            findings.add(path, format!("{day} stands here twice; write each number of days once, like [30, 90]"));
        } else if index > 0 && days[index - 1] > *day {
            findings.add(path, format!("{day} comes after a larger number; write the smallest first, like [30, 90]"));
        }
    }
}

/// What is wrong with a time table, after its text.
fn check_cron(cron: &str) -> Result<(), String> {
    let fields = cron.split_whitespace().count();
    if fields != 5 {
        return Err(format!("has {fields} fields, not five"));
    }
    let table = croner::Cron::from_str(cron).map_err(|error| format!("is not a time table ({error})"))?;
    // Any start will do: 30 February comes after none.
    let next = table.find_next_occurrence(&EARLIEST.to_utc(), true);
    next.map(|_| ()).map_err(|_| "never comes, there is no such date".to_owned())
}

fn segments(config: &Config, findings: &mut Findings) {
    let custom = config.scoring.segments == SegmentScheme::Custom;
    if custom && config.segment.is_empty() {
        findings.add(
            ["scoring".into(), "segments".into()],
            "\"custom\" needs at least one [[segment]] with name, r, f and m; or write \"classic\"",
        );
    }
    if !custom && !config.segment.is_empty() {
        findings.add(
            ["segment".into(), 0.into()],
            "[[segment]] is only read with segments = \"custom\" in [scoring]; write that, or take the [[segment]] out",
        );
    }
    for (index, segment) in config.segment.iter().enumerate() {
        let at = |key: &str| ["segment".into(), index.into(), key.into()];
        if segment.name.trim().is_empty() {
            findings.add(at("name"), "this segment has no name; write name = \"champion\"");
        }
        for (key, range) in [("r", &segment.r), ("f", &segment.f), ("m", &segment.m)] {
            if !is_range(range) {
                findings.add(at(key), format!("{range:?} is not a range of 1 to 5; write it like \"4\" or \"4-5\""));
            }
        }
    }
}

/// "" (any), "4" or "4-5".
fn is_range(text: &str) -> bool {
    let quintile = |text: &str| text.trim().parse::<u8>().ok().filter(|value| (1..=5).contains(value));
    match text.split_once('-') {
        Some((from, to)) => matches!((quintile(from), quintile(to)), (Some(from), Some(to)) if from <= to),
        None => text.trim().is_empty() || quintile(text).is_some(),
    }
}

fn forwarder(config: &Config, findings: &mut Findings) {
    for (index, network) in config.forwarder.allow_private.iter().enumerate() {
        if !is_network(network) {
            let remedy = match network.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => format!("write \"{network}/32\" for this one address"),
                Ok(IpAddr::V6(_)) => format!("write \"{network}/128\" for this one address"),
                Err(_) => "write it like \"127.0.0.0/8\"".to_owned(),
            };
            findings.add(
                ["forwarder".into(), "allow_private".into(), index.into()],
                format!("{network:?} is not a network; {remedy}"),
            );
        }
    }
    for (index, state) in config.consent.states.iter().enumerate() {
        if state.trim().is_empty() {
            findings.add(["consent".into(), "states".into(), index.into()], "this is empty; write \"subscribed\"");
        }
    }
}

/// An address, a slash, the length of its prefix.
fn is_network(text: &str) -> bool {
    let Some((address, prefix)) = text.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), prefix.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(prefix)) => prefix <= 32,
        (Ok(IpAddr::V6(_)), Ok(prefix)) => prefix <= 128,
        _ => false,
    }
}
