//! What the merchant may set. One struct per section of `config.toml`, in the file's order; the
//! defaults here are the defaults of the file, which a test compares.

mod access;
pub mod advice;
mod check;
mod destination;
mod effective;
mod environment;
mod keys;
mod load;
mod preset;
mod problem;
mod read;
mod replace;
mod rotation;
mod secret;
mod secrets;
mod shopify;
pub mod signing;
mod tree;
mod values;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::model::{Currency, Source, Zone};

pub use access::{Scope, Token};
pub use check::{CUSTOMER_COLUMNS, DESTINATION_FIELDS, IMPORT_COLUMNS};
pub use effective::{Effective, Origin, Origins, Section};
pub use environment::Environment;
pub use load::{Loading, Missing, Mistake, known_keys};
pub use preset::{AnswerRule, Means, Preset, Setting};
pub use problem::{ConfigError, Step};
pub use rotation::{Rotation, RotationError, rotate};
pub use secret::Secret;

/// The whole configuration, checked: every value is usable as it stands.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub shop: Shop,
    pub database: Database,
    pub backup: Backup,
    pub webhooks: Webhooks,
    pub dashboard: Dashboard,
    pub shopify: Shopify,
    pub sync: Sync,
    pub orders: Orders,
    pub import: Import,
    pub scoring: Scoring,
    /// Rules of `segments = "custom"`, first match wins.
    pub segment: Vec<Segment>,
    pub forwarder: Forwarder,
    pub consent: Consent,
    pub destination: Vec<Destination>,
    /// Where all that was written.
    #[serde(skip)]
    pub origins: Origins,
}

/// `[shop]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shop {
    /// `shopId` in every event; for Shopify the `….myshopify.com` domain its webhooks must come from.
    pub id: String,
    /// What people call it; shown in the dashboard. Empty: the id.
    pub name: String,
    #[serde(serialize_with = "values::display")]
    pub currency: Currency,
    /// IANA zone in which the dashboard shows dates.
    #[serde(deserialize_with = "values::zone")]
    pub timezone: Zone,
}

/// `[database]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Database {
    /// Relative paths are relative to the folder of `config.toml`.
    pub path: PathBuf,
}

/// `[backup]`: the copies that `serve` makes each night. Relative paths are relative to the folder of
/// `config.toml`; empty ones stand for none.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Backup {
    pub folder: PathBuf,
    /// The newest of each of so many days.
    pub keep_daily: u32,
    /// The newest of each of so many weeks.
    pub keep_weekly: u32,
    /// A second folder, which has to be there.
    pub copy_to: PathBuf,
    /// Litestream watches the database: its log is left to it.
    pub litestream: bool,
}

/// `[webhooks]`: the listener to expose.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    #[serde(deserialize_with = "values::address")]
    pub listen: SocketAddr,
    /// Largest body of a message, in MiB.
    pub body_limit_mib: u32,
    pub shopify: WebhookSecrets,
    pub woocommerce: WooCommerceWebhooks,
    pub orders: WebhookSecrets,
}

/// Secrets of one source of webhooks. Any of them may sign; with none the route answers 401.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSecrets {
    pub secrets: Vec<Secret>,
}

/// `[webhooks.woocommerce]`
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WooCommerceWebhooks {
    /// Any of them may sign; with none the route answers 401.
    pub secrets: Vec<Secret>,
    /// The address of the one site whose webhooks are taken (`https://shop.example`): a copy of the
    /// site made to try things out signs with the same secret. Empty: any.
    pub source: String,
}

/// `[dashboard]`: the local page and the API.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dashboard {
    #[serde(deserialize_with = "values::address")]
    pub listen: SocketAddr,
    /// Host names besides localhost under which the page may be opened.
    pub allowed_hosts: Vec<String>,
    /// Argon2id in the PHC form, as `quintile hash-password` prints it; empty: the page asks for no
    /// password, and `listen` must be on this machine.
    pub password_hash: Secret,
    /// With what programs may use the API.
    pub token: Vec<Token>,
}

/// `[shopify]`: with what the shop's orders are fetched from its Admin API. An app's id and secret, or
/// a token; each may also stand in the environment (`token_env`) or in a file (`token_file`).
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shopify {
    pub client_id: Secret,
    pub client_secret: Secret,
    /// `shpat_…`, of an app that was made in the shop's own settings.
    pub token: Secret,
    /// "2026-07"
    pub api_version: String,
    /// Stands in for `https://` and the shop's domain; empty: those.
    pub base_url: String,
    /// Why credentials that are named are not here, where the command may go on without them.
    #[serde(skip)]
    pub missing: Vec<String>,
}

/// `[sync]`: when the shop is asked, and what it is asked to send.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sync {
    pub every_hours: u32,
    /// Where the shop can reach `/webhooks/shopify`; empty: webhooks are not looked after.
    pub webhook_address: String,
}

/// `[orders]`: what counts.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Orders {
    /// Count orders that are not paid yet (cash on delivery) at their full price.
    pub count_pending: bool,
    /// Count orders worth nothing (gifts).
    pub count_zero_value: bool,
    /// When an id comes with a guest's e-mail, the guest's orders move to it.
    pub merge_guests_by_email: bool,
    /// Statuses of WooCommerce that count; others do not.
    pub paid_statuses: Vec<String>,
}

/// `[import]`: how to read the generic CSV.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Import {
    /// strftime pattern of dates that are not RFC 3339; empty: `2026-11-23 02:00:00`, `2026-11-23`.
    pub date_format: String,
    /// Amounts are written `1.234,50`.
    pub decimal_comma: bool,
    /// IANA zone of dates without an offset; none: the shop's.
    #[serde(deserialize_with = "values::zone_or_none")]
    pub timezone: Option<Zone>,
    /// Whose ids the files hold: a shop that also sends webhooks must not come in twice.
    #[serde(deserialize_with = "values::source", serialize_with = "values::display")]
    pub source: Source,
    /// Largest file taken on the page, in megabytes.
    pub upload_limit_mb: u32,
    /// Our column name → the file's.
    pub columns: BTreeMap<String, String>,
    /// The same for lists of customers.
    pub customer_columns: BTreeMap<String, String>,
}

/// `[scoring]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scoring {
    /// Five fields, in `timezone`.
    pub cron: String,
    #[serde(deserialize_with = "values::zone")]
    pub timezone: Zone,
    pub ties: Ties,
    pub segments: SegmentScheme,
    /// Only orders of the last n days count for frequency and money; 0: all of them.
    pub window_days: u32,
    /// A run that moves a larger share of the ranked customers waits for the merchant.
    pub hold_above_percent: u32,
    /// Customers without a counted order get quintile 1 in everything.
    pub include_without_orders: bool,
    /// Days without an order after which a run makes a `customer/lapsed` event; ascending, each once.
    pub lapsed_days: Vec<u32>,
}

/// How customers with equal values are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ties {
    /// Equal values get equal scores: the lowest bucket that NTILE gave any of them.
    Together,
    /// Plain NTILE; the customer's id breaks ties.
    Split,
}

/// Which rules name the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentScheme {
    /// Seven segments.
    Classic,
    /// Eleven, over recency and frequency.
    Detailed,
    /// Those of `[[segment]]`.
    Custom,
}

/// `[[segment]]`: one rule of a custom scheme. Ranges are "4", "4-5"; absent: any.
#[derive(Debug, Clone, PartialEq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Segment {
    pub name: String,
    pub label: String,
    pub r: String,
    pub f: String,
    pub m: String,
    /// What the merchant might do with these customers.
    pub action: String,
}

/// `[forwarder]`
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Forwarder {
    pub baseline: Baseline,
    /// Networks (CIDR) that destinations may be in although they are not public.
    pub allow_private: Vec<String>,
}

/// What happens to the deliveries of the very first run, which names a segment for everyone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Baseline {
    /// Presets that can, set properties without starting automations; other kinds hold.
    Quiet,
    /// Wait until the merchant releases or discards them; released they start nothing either, where a
    /// preset can.
    Hold,
    /// Sent like any other.
    Send,
    /// Never sent.
    Discard,
}

impl Baseline {
    /// Whether a preset that can, tells of it without starting automations.
    #[must_use]
    pub fn is_quiet(self) -> bool {
        self != Self::Send
    }
}

/// `[consent]`: to whom email tools may be told of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Consent {
    pub states: Vec<String>,
    pub unknown: UnknownConsent,
}

/// What happens to deliveries about people whose consent is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownConsent {
    Hold,
    Send,
}

/// `[[destination]]`: where changes go. Its `Debug` shows what it is called and no more: addresses,
/// headers, variables and templates may hold keys.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Destination {
    /// Unique; names the destination in the queue, so renaming starts a new one.
    pub name: String,
    /// Which [`Preset`]: "webhook", "klaviyo" …
    pub kind: String,
    /// Of kind "webhook".
    pub url: String,
    /// Stands in for scheme, host and port of a preset's addresses, and before their paths; empty:
    /// the tool's own.
    pub base_url: String,
    /// Plain http, for a tool on this machine.
    pub allow_http: bool,
    /// `whsec_…`: signs every request. Up to three keys, see [`signing`].
    pub secret: Secret,
    /// The environment variable that holds `secret`.
    pub secret_env: String,
    /// The file that holds `secret`.
    pub secret_file: PathBuf,
    /// Event types to send; empty: all.
    pub events: Vec<String>,
    /// Only changes to one of these segments; empty: all.
    pub to: Vec<String>,
    /// Only changes from one of these segments; empty: all.
    pub from: Vec<String>,
    /// Only changes with one of these causes; empty: all.
    pub cause: Vec<String>,
    /// Only customers who spent at least this, in the shop's currency ("100.00"); empty: all.
    pub min_spent: String,
    /// What leaves the shop beside ids; empty: segment, rfm, counters.
    pub fields: Vec<String>,
    /// Events per request.
    pub batch: u32,
    /// What a preset has to know of the merchant's account: `{{ vars.list }}`.
    pub vars: BTreeMap<String, String>,
    /// What things are called in the tool, where that is not the preset's own word.
    pub names: BTreeMap<String, String>,
    /// More headers, of kind "webhook".
    pub headers: BTreeMap<String, String>,
    /// What kind "template" sends.
    pub request: Vec<Request>,
    /// `{{ secret.x }}`, from the keys `x`, `x_env` or `x_file`. Empty ones are known to be
    /// somewhere that a command which only looks cannot read.
    #[serde(skip)]
    pub secrets: BTreeMap<String, Secret>,
}

/// `[[destination.request]]`: one HTTP request, all of it templates. Any of it may hold a key.
#[derive(Clone, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub headers: BTreeMap<String, String>,
    /// JSON, as its content type says.
    pub body: String,
    /// Instead of `body`: fields of a form.
    pub form: BTreeMap<String, String>,
    /// An expression; when it is false the request is passed over. Empty: always.
    pub when: String,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).finish_non_exhaustive()
    }
}

impl Default for Shop {
    fn default() -> Self {
        Self {
            id: "demo.myshopify.com".to_owned(),
            name: String::new(),
            currency: Currency::EUR,
            timezone: "Europe/Berlin".parse().unwrap_or(Zone::UTC),
        }
    }
}

impl Default for Database {
    fn default() -> Self {
        Self { path: "quintile.db".into() }
    }
}

impl Default for Backup {
    fn default() -> Self {
        Self { folder: "backups".into(), keep_daily: 7, keep_weekly: 4, copy_to: PathBuf::new(), litestream: false }
    }
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8788).into(),
            body_limit_mib: 8,
            shopify: WebhookSecrets::default(),
            woocommerce: WooCommerceWebhooks::default(),
            orders: WebhookSecrets::default(),
        }
    }
}

impl Default for Dashboard {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8787).into(),
            allowed_hosts: Vec::new(),
            password_hash: Secret::default(),
            token: Vec::new(),
        }
    }
}

impl Shopify {
    /// Whether there is anything to ask the shop with.
    #[must_use]
    pub const fn is_configured(&self) -> bool {
        !self.token.is_empty() || !self.client_secret.is_empty() || !self.missing.is_empty()
    }
}

impl Default for Shopify {
    fn default() -> Self {
        Self {
            client_id: Secret::default(),
            client_secret: Secret::default(),
            token: Secret::default(),
            api_version: "2026-07".to_owned(),
            base_url: String::new(),
            missing: Vec::new(),
        }
    }
}

impl Default for Sync {
    fn default() -> Self {
        Self { every_hours: 6, webhook_address: String::new() }
    }
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            count_pending: false,
            count_zero_value: false,
            merge_guests_by_email: true,
            paid_statuses: ["processing", "completed"].map(str::to_owned).to_vec(),
        }
    }
}

impl Default for Import {
    fn default() -> Self {
        Self {
            date_format: String::new(),
            decimal_comma: false,
            timezone: None,
            source: Source::Csv,
            upload_limit_mb: 2000,
            columns: BTreeMap::new(),
            customer_columns: BTreeMap::new(),
        }
    }
}

impl Default for Scoring {
    fn default() -> Self {
        Self {
            cron: "0 2 * * *".to_owned(),
            timezone: Zone::UTC,
            ties: Ties::Together,
            segments: SegmentScheme::Classic,
            window_days: 0,
            hold_above_percent: 20,
            include_without_orders: false,
            lapsed_days: Vec::new(),
        }
    }
}

impl Default for Forwarder {
    fn default() -> Self {
        Self { baseline: Baseline::Quiet, allow_private: Vec::new() }
    }
}

impl Default for Consent {
    fn default() -> Self {
        Self { states: vec!["subscribed".to_owned()], unknown: UnknownConsent::Hold }
    }
}

impl Default for Destination {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: "webhook".to_owned(),
            url: String::new(),
            base_url: String::new(),
            allow_http: false,
            secret: Secret::default(),
            secret_env: String::new(),
            secret_file: PathBuf::new(),
            events: Vec::new(),
            to: Vec::new(),
            from: Vec::new(),
            cause: Vec::new(),
            min_spent: String::new(),
            fields: ["segment", "rfm", "counters"].map(str::to_owned).to_vec(),
            batch: 1,
            vars: BTreeMap::new(),
            names: BTreeMap::new(),
            headers: BTreeMap::new(),
            request: Vec::new(),
            secrets: BTreeMap::new(),
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "POST".to_owned(),
            url: String::new(),
            headers: BTreeMap::new(),
            body: String::new(),
            form: BTreeMap::new(),
            when: String::new(),
        }
    }
}

#[cfg(test)]
mod tests;
