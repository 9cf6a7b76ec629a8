//! What is in force and where each value came from, for people. Secrets are masked here, and
//! addresses are cut after their host: some tools check no signature, so that theirs is a secret too.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use url::Url;

use super::{
    Backup, Config, Database, Secret,
    keys::{self, Kind},
    problem::{Place, position},
    signing::Key,
    tree::{Node, Value},
};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The command itself: `quintile demo` brings its own.
    Command,
    /// The line of `config.toml`.
    Line(usize),
    /// The environment variable that overrides the file.
    Variable(String),
    /// A secret: the variable that holds it, as a key of the file or another variable says.
    HeldByVariable(String),
    /// A secret: the file that holds it.
    HeldByFile(String),
}

/// Where the values of a configuration were written, by their path: `destination.0.url`. Kept beside
/// the values, and no part of them: two configurations that say the same are equal.
#[derive(Debug, Clone, Default)]
pub struct Origins(BTreeMap<String, Written>);

#[derive(Debug, Clone)]
struct Written {
    origin: Origin,
    /// What a key that ends in `_env` or `_file` names.
    names: Option<String>,
}

impl PartialEq for Origins {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// "cron"
    pub key: String,
    /// Empty: not set.
    pub value: String,
    pub origin: Origin,
}

/// A section with its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// "[scoring]", "[[destination]] klaviyo"
    pub title: String,
    pub values: Vec<Effective>,
}

impl Origins {
    /// Of a tree that holds the file and the environment; `text` is the file.
    pub(super) fn of(root: &Node, text: &str) -> Self {
        let mut origins = Self::default();
        origins.walk(root, String::new(), text);
        origins
    }

    fn walk(&mut self, node: &Node, path: String, text: &str) {
        let inside = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match &node.value {
            Value::Table(entries) => {
                for (key, entry) in entries {
                    self.walk(&entry.node, inside(key), text);
                }
            }
            Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Table(_))) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, inside(&index.to_string()), text);
                }
            }
            value => {
                let origin = match &node.place {
                    Place::File(offset) => Origin::Line(position(text, *offset).0),
                    Place::Variable(name) => Origin::Variable(name.clone()),
                };
                let names = match value {
                    Value::Text(name) | Value::Variable(name) if path.ends_with("_env") || path.ends_with("_file") => {
                        Some(name.clone())
                    }
                    _ => None,
                };
                self.0.insert(path, Written { origin, names });
            }
        }
    }

    /// The origin of a value, or of the first one in a section of the merchant's own keys.
    fn find(&self, path: &str) -> Origin {
        if let Some(written) = self.0.get(path) {
            return written.origin.clone();
        }
        for (end, held) in [("_env", Origin::HeldByVariable as fn(String) -> Origin), ("_file", Origin::HeldByFile)] {
            if let Some(name) = self.0.get(&format!("{path}{end}")).and_then(|written| written.names.clone()) {
                return held(name);
            }
        }
        let inside = format!("{path}.");
        let mut below = self.0.range(inside.clone()..).take_while(|(key, _)| key.starts_with(&inside));
        match below.next() {
            Some((_, written)) => written.origin.clone(),
            // An app's secret signs its webhooks too.
            None if path == "webhooks.shopify.secrets" => self.find("shopify.client_secret"),
            None => Origin::Default,
        }
    }
}

impl Config {
    /// Every value in force, section by section, in the order of the file.
    #[must_use]
    pub fn effective(&self) -> Vec<Section> {
        let [values, defaults] = [self, &Self::default()].map(|it| serde_json::to_value(it).unwrap_or_default());
        let keys = keys::all();
        let mut sections: Vec<Section> = Vec::new();
        for key in &keys {
            let [value, default] =
                [&values, &defaults].map(|it| key.path.split('.').fold(it, |value, step| &value[step]));
            match key.kind {
                Kind::List(fields) => {
                    for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                        sections.push(self.item(&key.path, index, fields, item));
                    }
                }
                Kind::Section(_) => sections.push(Section { title: format!("[{}]", key.path), values: Vec::new() }),
                Kind::Value | Kind::Map if !in_list(&keys, &key.path) => {
                    let origin = match self.origins.find(&key.path) {
                        Origin::Default if value != default && !self.is_usual_path(&key.path) => Origin::Command,
                        origin => origin,
                    };
                    let title = format!("[{}]", key.section());
                    if let Some(section) = sections.iter_mut().find(|section| section.title == title) {
                        section.values.push(Effective {
                            key: key.name().to_owned(),
                            value: shown(key.name(), value),
                            origin,
                        });
                    }
                }
                Kind::Value | Kind::Map => {}
            }
        }
        sections.retain(|section| !section.values.is_empty());
        sections
    }

    /// The default path is made one in the folder of the file.
    fn is_usual_path(&self, key: &str) -> bool {
        match key {
            "database.path" => self.database.path.ends_with(Database::default().path),
            "backup.folder" => self.backup.folder.ends_with(Backup::default().folder),
            _ => false,
        }
    }

    /// One `[[destination]]` or `[[segment]]`.
    fn item(&self, list: &str, index: usize, fields: &[&str], item: &Json) -> Section {
        let is_written = self.origins.find(&format!("{list}.{index}")) != Origin::Default;
        let origin = |key: &str| {
            if is_written { self.origins.find(&format!("{list}.{index}.{key}")) } else { Origin::Command }
        };
        let mut values: Vec<Effective> = fields
            .iter()
            // What names a secret is told beside the secret.
            .filter(|key| !matches!(**key, "name" | "secret_env" | "secret_file"))
            .map(|key| Effective { key: (*key).to_owned(), value: shown(key, &item[*key]), origin: origin(key) })
            .collect();
        let secrets = self.destination.get(index).filter(|_| list == "destination").map(|it| &it.secrets);
        values.extend(secrets.into_iter().flatten().map(|(key, secret)| Effective {
            key: key.clone(),
            value: secret.masked(),
            origin: origin(key),
        }));
        Section { title: format!("[[{list}]] {}", item["name"].as_str().unwrap_or_default()), values }
    }
}

fn in_list(keys: &[keys::KnownKey], path: &str) -> bool {
    keys.iter().any(|key| {
        matches!(key.kind, Kind::List(_)) && path.strip_prefix(&key.path).is_some_and(|rest| rest.starts_with('.'))
    })
}

/// A value for people. Secrets come masked already.
fn shown(key: &str, value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) if matches!(key, "url" | "base_url") => host_of(text),
        Json::String(text) => text.clone(),
        // Requests are templates with whatever the merchant wrote into them.
        Json::Array(items) if key == "request" => {
            let one =
                |item: &Json| format!("{} {}", item["method"].as_str().unwrap_or_default(), shown("url", &item["url"]));
            items.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        Json::Array(items) => items.iter().map(|item| shown(key, item)).collect::<Vec<_>>().join(", "),
        // A header may well be a password.
        Json::Object(entries) if key == "headers" => entries.keys().cloned().collect::<Vec<_>>().join(", "),
        Json::Object(entries) => {
            let one = |(name, value): (&String, &Json)| format!("{name} = {}", shown(name, value));
            entries.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// `https://example.com/…`: enough to tell which tool it is.
fn host_of(address: &str) -> String {
    let Ok(url) = Url::parse(address) else { return if address.is_empty() { String::new() } else { "set".to_owned() } };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let more = if url.path().len() > 1 || url.query().is_some() { "/…" } else { "" };
    format!("{}://{host}{port}{more}", url.scheme())
}

impl Secret {
    /// Whether it is there, and of a signing secret its last four characters: "whsec_…9fQ=". Empty:
    /// it is not there.
    #[must_use]
    pub fn masked(&self) -> String {
        let text = self.expose().trim();
        if text.is_empty() {
            return String::new();
        }
        if Key::parse_all(text).is_err() {
            return "set".to_owned();
        }
        let end = |part: &str| {
            let key = part.split('@').next().unwrap_or_default();
            format!("whsec_…{}", key.get(key.len().saturating_sub(4)..).unwrap_or_default())
        };
        text.split_whitespace().map(end).collect::<Vec<_>>().join(", ")
    }
}

impl serde::Serialize for Secret {
    /// Masked, whoever asks.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::*, Effective, Origin};

    const FILE: &str = r#"
[shop]
id = "shop.example"
[webhooks.shopify]
secrets = ["one-secret-of-the-shop", "another-secret-of-the-shop"]
[scoring]
lapsed_days = [30, 90]
[[destination]]
name = "my-tool"
url = "https://hooks.example:8443/in/very-secret-path"
secret = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
headers = { X-Token = "a-token-in-a-header" }
[[destination]]
name = "klaviyo"
kind = "klaviyo"
api_key_env = "KLAVIYO_KEY"
"#;

    fn loaded() -> Config {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, FILE).unwrap();
        let environment = Environment::from([
            ("QUINTILE_SCORING__CRON", "30 3 * * *"),
            ("QUINTILE_DESTINATION__MY_TOOL__BATCH", "7"),
            ("KLAVIYO_KEY", "pk_a-key-of-klaviyo"),
        ]);
        let loading = Loading { environment: &environment, secrets: Missing::Refuse, also: |_| Vec::new() };
        Config::load_with(&path, loading).unwrap()
    }

    fn find(config: &Config, section: &str, key: &str) -> Effective {
        let sections = config.effective();
        let section = sections.iter().find(|it| it.title == section).unwrap_or_else(|| panic!("no {section}"));
        section.values.iter().find(|it| it.key == key).unwrap_or_else(|| panic!("no {key}")).clone()
    }

    #[test]
    fn each_value_says_where_it_came_from() {
        let config = loaded();
        for (section, key, value, origin) in [
            ("[shop]", "id", "shop.example", Origin::Line(3)),
            ("[shop]", "currency", "EUR", Origin::Default),
            ("[shop]", "timezone", "Europe/Berlin", Origin::Default),
            ("[webhooks]", "listen", "127.0.0.1:8788", Origin::Default),
            ("[webhooks.shopify]", "secrets", "set, set", Origin::Line(5)),
            ("[scoring]", "cron", "30 3 * * *", Origin::Variable("QUINTILE_SCORING__CRON".to_owned())),
            ("[scoring]", "ties", "together", Origin::Default),
            ("[scoring]", "lapsed_days", "30, 90", Origin::Line(7)),
            ("[import]", "source", "csv", Origin::Default),
            ("[[destination]] my-tool", "url", "https://hooks.example:8443/…", Origin::Line(10)),
            ("[[destination]] my-tool", "secret", "whsec_…MDE=", Origin::Line(11)),
            ("[[destination]] my-tool", "headers", "X-Token", Origin::Line(12)),
            (
                "[[destination]] my-tool",
                "batch",
                "7",
                Origin::Variable("QUINTILE_DESTINATION__MY_TOOL__BATCH".to_owned()),
            ),
            ("[[destination]] klaviyo", "api_key", "set", Origin::HeldByVariable("KLAVIYO_KEY".to_owned())),
        ] {
            let found = find(&config, section, key);
            assert_eq!((found.value.as_str(), &found.origin), (value, &origin), "{section} {key}");
        }
    }

    #[test]
    fn nothing_secret_is_in_it() {
        let shown = format!("{:?}", loaded().effective());
        for secret in ["of-the-shop", "very-secret-path", "MDEyMzQ1", "a-token", "a-key-of-klaviyo"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }

    #[test]
    fn tokens_are_told_without_what_they_are() {
        let token = Token { name: "till".to_owned(), scopes: vec![Scope::Ingest], hash: Secret::new("sha256:abc") };
        let config =
            Config { dashboard: Dashboard { token: vec![token], ..Dashboard::default() }, ..Config::default() };
        let sections = config.effective();
        let told = sections.iter().find(|section| section.title == "[[dashboard.token]] till").unwrap();
        let values: Vec<_> = told.values.iter().map(|value| (value.key.as_str(), value.value.as_str())).collect();
        assert_eq!(values, [("scopes", "ingest"), ("hash", "set")]);
    }

    #[test]
    fn every_key_is_told_once() {
        let sections = Config::default().effective();
        let told = |section: &str, key: &str| {
            let of = |it: &&super::Section| it.title == format!("[{section}]");
            sections.iter().filter(of).flat_map(|it| &it.values).filter(|value| value.key == key).count()
        };
        for path in known_keys() {
            let Some((section, key)) = path.rsplit_once('.') else { continue };
            let is_section = known_keys().iter().any(|other| other.starts_with(&format!("{path}.")));
            let is_list = ["destination", "segment", "dashboard.token"].iter().any(|list| section.starts_with(list));
            if !is_section && !is_list {
                assert_eq!(told(section, key), 1, "{path}");
            }
        }
        // Where values stand makes no other configuration of them.
        assert_eq!(Config { origins: loaded().origins, ..Config::default() }, Config::default());
    }
}
