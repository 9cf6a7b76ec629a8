//! What a tool means by its answer, where the status alone does not say it.

use http::{HeaderMap, header::CONTENT_TYPE};
use serde_json::Value;

use crate::config::{AnswerRule, Means, Preset};

/// Characters of a tool's own message that are kept.
const MESSAGE_LIMIT: usize = 200;

/// An answer, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub meaning: Meaning,
    /// Stands in for Retry-After where the tool has a header of its own for it, in seconds.
    pub retry_after: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Meaning {
    /// What the status says.
    #[default]
    Plain,
    /// The tool does not know this customer, nor will it at the steps after this: delivered.
    Skipped,
    /// Like 429.
    Throttled,
    /// Like 422, whatever the status; with the tool's own words.
    Refused(String),
}

impl Reading {
    pub(super) fn new(preset: &Preset, status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let retry_after = (!preset.retry_after.is_empty() && !(200..300).contains(&status))
            .then(|| text(&preset.retry_after))
            .flatten();
        let content_type = text(CONTENT_TYPE.as_str()).unwrap_or_default();
        let rule = preset.answer.iter().find(|rule| applies(rule, status, &content_type, body));
        let meaning = match rule.map(|rule| rule.means) {
            None => Meaning::Plain,
            Some(Means::Skipped) => Meaning::Skipped,
            Some(Means::Throttled) => Meaning::Throttled,
            Some(Means::Refused) => Meaning::Refused(message(body)),
        };
        Self { meaning, retry_after }
    }
}

fn applies(rule: &AnswerRule, status: u16, content_type: &str, body: &[u8]) -> bool {
    let lacks_type = || {
        let found = content_type.split(';').next().unwrap_or_default().trim();
        !found.eq_ignore_ascii_case(&rule.lacks_type)
    };
    rule.status == status
        && (rule.lacks_type.is_empty() || lacks_type())
        && (rule.zero.is_empty() || is_zero(&json(body)[&rule.zero]))
}

fn json(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap_or_default()
}

/// 0, "0" or false.
fn is_zero(value: &Value) -> bool {
    value == &Value::Bool(false) || value.as_i64() == Some(0) || value.as_str() == Some("0")
}

fn message(body: &[u8]) -> String {
    match json(body)["message"].as_str() {
        Some(text) => text.chars().filter(|c| !c.is_control()).take(MESSAGE_LIMIT).collect(),
        None => "the tool says that it did not take it".to_owned(),
    }
}
