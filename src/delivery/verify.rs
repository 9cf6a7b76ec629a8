//! Why a receiver refuses a request: checks a captured one as Standard Webhooks asks, and where it
//! does not match tries what usually happens to a request on the way, to say which.
//!
//! [`captured`] reads the request, `variants` knows what frameworks do to a body.

pub mod captured;
#[cfg(test)]
mod tests;
mod variants;

use std::fmt;

use super::sign::{Key, VERSION, signed};
use crate::model::Timestamp;
use captured::Captured;
pub use variants::Change;

/// Seconds a timestamp may be away from the clock, as the public libraries have it.
pub const TOLERANCE_S: i64 = 5 * 60;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In the order of the check; none: the request is genuine.
    pub faults: Vec<Fault>,
    pub message_id: Option<String>,
    pub timestamp: Option<i64>,
    /// Seconds from the request's timestamp to the clock; negative: it is ahead.
    pub age_s: Option<i64>,
    /// Which key signed it, from 0, the newest.
    pub key: Option<usize>,
}

/// What is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// This header is not there, or empty.
    Missing(&'static str),
    /// `webhook-timestamp` is not Unix seconds.
    NotATimestamp,
    /// Seconds older than the tolerance allows, and than the clock.
    TooOld(i64),
    /// Seconds ahead of the clock.
    TooNew(i64),
    /// `webhook-signature` has no `v1,…`.
    NoVersion,
    /// It matches after this was undone.
    Body(Change),
    /// It matches with this `webhook-id`.
    Id(String),
    /// It matches with this `webhook-timestamp`.
    Timestamp(i64),
    /// It matches a key that had ended.
    KeyEnded(Timestamp),
    /// Nothing that was tried makes it match.
    Unmatched,
}

/// Checks a request against `keys`. `now`: `None` leaves its age unchecked.
#[must_use]
pub fn check(request: &Captured, keys: &[Key], now: Option<Timestamp>) -> Report {
    let id = request.header("webhook-id");
    let timestamp = request.header("webhook-timestamp");
    let signature = request.header("webhook-signature");
    let seconds = timestamp.and_then(|text| text.parse::<i64>().ok());
    let mut report = Report {
        faults: Vec::new(),
        message_id: id.map(str::to_owned),
        timestamp: seconds,
        age_s: now.zip(seconds).map(|(now, seconds)| now.seconds().saturating_sub(seconds)),
        key: None,
    };
    for (name, value) in [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)] {
        if value.is_none() {
            report.faults.push(Fault::Missing(name));
        }
    }
    if timestamp.is_some() && seconds.is_none() {
        report.faults.push(Fault::NotATimestamp);
    }
    // A timestamp in milliseconds is found below, and would only look like the far future here.
    let plausible = |age: &i64| age.abs() < i64::from(u32::MAX);
    match report.age_s.filter(plausible) {
        Some(age) if age > TOLERANCE_S => report.faults.push(Fault::TooOld(age)),
        Some(age) if age < -TOLERANCE_S => report.faults.push(Fault::TooNew(-age)),
        _ => {}
    }
    let given: Vec<&str> =
        signature.unwrap_or_default().split_whitespace().filter(|it| it.starts_with(VERSION)).collect();
    if signature.is_some() && given.is_empty() {
        report.faults.push(Fault::NoVersion);
    }
    if let (Some(id), Some(timestamp), false) = (id, timestamp, given.is_empty()) {
        match matched(&Signed { id, timestamp, given, keys }, &request.body) {
            Some((key, fault)) => {
                let ended = keys[key].ends.filter(|_| seconds.is_some_and(|seconds| !keys[key].is_live(seconds)));
                report.key = Some(key);
                report.faults.extend(fault);
                report.faults.extend(ended.map(Fault::KeyEnded));
            }
            None => report.faults.push(Fault::Unmatched),
        }
    }
    report
}

/// What the headers say was signed.
struct Signed<'a> {
    id: &'a str,
    timestamp: &'a str,
    given: Vec<&'a str>,
    keys: &'a [Key],
}

impl Signed<'_> {
    /// The key that signed this.
    fn by(&self, id: &str, timestamp: &str, body: &[u8]) -> Option<usize> {
        let made = |key| signed(key, id, timestamp, body);
        self.keys.iter().position(|key| self.given.contains(&made(key).as_str()))
    }
}

/// The key that signed `body`, and what had to be undone to see it.
fn matched(signed: &Signed<'_>, body: &[u8]) -> Option<(usize, Option<Fault>)> {
    if let Some(key) = signed.by(signed.id, signed.timestamp, body) {
        return Some((key, None));
    }
    for (change, body) in variants::of(body) {
        if let Some(key) = signed.by(signed.id, signed.timestamp, &body) {
            return Some((key, Some(Fault::Body(change))));
        }
    }
    for id in other_ids(signed.id, body) {
        if let Some(key) = signed.by(&id, signed.timestamp, body) {
            return Some((key, Some(Fault::Id(id))));
        }
    }
    let millis = signed.timestamp.parse::<i64>().ok()?;
    let seconds = millis / 1000;
    signed.by(signed.id, &seconds.to_string(), body).map(|key| (key, Some(Fault::Timestamp(seconds))))
}

/// Ids a receiver may have mistaken for the header's, or a proxy written differently.
fn other_ids(id: &str, body: &[u8]) -> Vec<String> {
    let in_body = serde_json::from_slice::<serde_json::Value>(body)
        .ok()
        .and_then(|event| event.get("id")?.as_str().map(str::to_owned));
    // Ours: a prefix in lower case, the rest in upper case.
    let lower = id.to_ascii_lowercase();
    let bare = lower.rsplit('_').next().unwrap_or_default();
    let upper = id.to_ascii_uppercase();
    let mut ids = vec![lower.clone(), upper, format!("msg_{bare}"), format!("evt_{bare}")];
    if let Some((prefix, rest)) = id.split_once('_') {
        ids.push(format!("{}_{}", prefix.to_ascii_lowercase(), rest.to_ascii_uppercase()));
    }
    ids.extend(in_body);
    ids
}

impl Fault {
    /// Which part of the request it concerns.
    #[must_use]
    pub const fn part(&self) -> &'static str {
        match self {
            Self::Missing(name) => name,
            Self::NotATimestamp | Self::TooOld(_) | Self::TooNew(_) | Self::Timestamp(_) => "webhook-timestamp",
            Self::NoVersion | Self::Unmatched => "webhook-signature",
            Self::Body(_) => "body",
            Self::Id(_) => "webhook-id",
            Self::KeyEnded(_) => "secret",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(
                f,
                "{name} is missing; quintile always sends it: look for a proxy or framework that drops headers"
            ),
            Self::NotATimestamp => {
                f.write_str("webhook-timestamp is not a number of seconds; it was changed on the way")
            }
            Self::TooOld(age) => write!(
                f,
                "webhook-timestamp is {age} seconds old, more than {TOLERANCE_S}; the receiver's clock is wrong, or an \
                 old request was sent again"
            ),
            Self::TooNew(ahead) => write!(
                f,
                "webhook-timestamp is {ahead} seconds ahead, more than {TOLERANCE_S}; set the clock of the receiver or \
                 of the machine that runs quintile"
            ),
            Self::NoVersion => {
                f.write_str("webhook-signature has no signature that starts with v1, (it reads v1,BASE64 v1,BASE64)")
            }
            Self::Body(change) => write!(f, "the body was changed: {change}"),
            Self::Id(id) => {
                write!(f, "webhook-id was changed: the signature is for {id}; sign with the header as it came")
            }
            Self::Timestamp(seconds) => {
                write!(f, "webhook-timestamp was changed: the signature is for {seconds}, in seconds")
            }
            Self::KeyEnded(end) => write!(f, "it is signed with an old key that ended at {end}"),
            Self::Unmatched => f.write_str(
                "no signature matches: the secret is another one than this destination's, or id, timestamp or body \
                 were changed; check the secret first, then that the receiver signs the bytes as they came",
            ),
        }
    }
}
