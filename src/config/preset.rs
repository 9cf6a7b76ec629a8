//! The kinds of destination. Each is a file of `src/delivery/presets`, compiled in: what may be set
//! for it, and the requests it makes. Here it is only read; `delivery` makes requests of it.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use super::Request;

const FILES: [&str; 7] = [
    include_str!("../delivery/presets/webhook.toml"),
    include_str!("../delivery/presets/klaviyo.toml"),
    include_str!("../delivery/presets/mailchimp.toml"),
    include_str!("../delivery/presets/omnisend.toml"),
    include_str!("../delivery/presets/brevo.toml"),
    include_str!("../delivery/presets/activecampaign.toml"),
    include_str!("../delivery/presets/template.toml"),
];

static PRESETS: LazyLock<Vec<Preset>> = LazyLock::new(|| {
    let read = |text: &&str| toml::from_str(text).expect("a preset is well-formed: a test reads all of them");
    FILES.iter().map(read).collect()
});

/// One kind of destination.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preset {
    pub kind: String,
    /// Sends the frozen body as it is, signed.
    pub sign: bool,
    /// An email tool: told only of customers who agreed, always with their e-mail.
    pub email: bool,
    /// It can set properties without starting automations.
    pub quiet: bool,
    /// Events per request when the merchant does not say; 0: 1.
    pub batch: u32,
    /// Events per request at most; 0: 1.
    pub batch_limit: u32,
    /// Connections at a time; 0: as many as the forwarder likes.
    pub connections: usize,
    pub per_minute: Option<u32>,
    /// The header that says in seconds how long to wait, besides Retry-After.
    pub retry_after: String,
    /// Secrets it needs: `api_key` is written as `api_key`, `api_key_env` or `api_key_file`.
    pub secrets: BTreeMap<String, Setting>,
    /// What `vars` may say.
    pub vars: BTreeMap<String, Setting>,
    /// What things are called in the tool, which `names` may change.
    pub names: BTreeMap<String, String>,
    pub request: Vec<Request>,
    pub answer: Vec<AnswerRule>,
}

/// A secret or variable of a preset.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Setting {
    pub required: bool,
    /// A template that makes it from the secrets when it is not given.
    pub default: String,
    /// Where the merchant finds it.
    pub help: String,
}

/// What an answer means beyond its status.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnswerRule {
    pub status: u16,
    /// Only when the answer is not of this content type.
    pub lacks_type: String,
    /// Only when this member of the JSON answer is 0 or false.
    pub zero: String,
    pub means: Means,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Means {
    /// The tool does not know this customer: done.
    Skipped,
    /// Too many requests.
    Throttled,
    /// The tool refused the request although its status does not say so.
    #[default]
    Refused,
}

impl Preset {
    /// All kinds, `webhook` first.
    #[must_use]
    pub fn all() -> &'static [Self] {
        &PRESETS
    }

    #[must_use]
    pub fn of(kind: &str) -> Option<&'static Self> {
        Self::all().iter().find(|preset| preset.kind == kind)
    }

    /// Whether the merchant writes the requests.
    #[must_use]
    pub fn is_template(&self) -> bool {
        self.kind == "template"
    }

    #[must_use]
    pub fn batch_limit(&self) -> u32 {
        self.batch_limit.max(1)
    }
}

/// The names after `secret.` in a text with templates: `{{ secret.token }}` names `token`.
pub fn secrets_in(text: &str) -> impl Iterator<Item = String> {
    text.match_indices("secret.").filter_map(move |(at, found)| {
        let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name: String = text[at + found.len()..].chars().take_while(|c| part(*c)).collect();
        let starts = !text[..at].ends_with(|c: char| part(c) || c == '.');
        (starts && !name.is_empty()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_reads_and_names_the_secrets_it_uses() {
        for (preset, text) in Preset::all().iter().zip(FILES) {
            assert!(preset.request.is_empty() == (preset.sign || preset.is_template()), "{}", preset.kind);
            for name in secrets_in(text) {
                assert!(preset.secrets.contains_key(&name), "{} uses secret.{name}", preset.kind);
            }
            for setting in preset.secrets.values().chain(preset.vars.values()).filter(|setting| setting.required) {
                assert!(!setting.help.is_empty(), "{}: say where a required setting is found", preset.kind);
            }
        }
    }

    #[test]
    fn secrets_are_found_by_their_names() {
        let text = "Bearer {{ secret.token }} {{ secret.a_b1|base64 }} my_secret.x {{ x.secret.y }} secret.";
        assert_eq!(secrets_in(text).collect::<Vec<_>>(), ["token", "a_b1"]);
    }
}
