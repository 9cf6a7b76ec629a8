//! Where deliveries go, read from the configuration and checked. Pure: nothing is looked up.

use std::fmt;

use url::Url;

use reqwest::{
    Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};

use super::{
    client::{Exchange, Request},
    sign::{self, Key, RECOMMENDED_BYTES},
};
use crate::{
    config::{self, Config},
    model::Timestamp,
    outbox::{Claim, Misconfigured, msg_id},
};

const AGENT: &str = concat!("quintile/", env!("CARGO_PKG_VERSION"));

/// The kinds of destination there are.
const KINDS: &[&str] = &["webhook"];

/// One destination, ready to be sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    pub name: String,
    /// Of some tools a secret in itself: never shown.
    pub url: Url,
    /// All of them sign.
    pub keys: Vec<Key>,
}

impl Destination {
    /// All destinations, in the order of the file.
    ///
    /// # Errors
    /// The first setting that cannot be used: destination, key, what to write.
    pub fn from_config(config: &Config) -> Result<Vec<Self>, Misconfigured> {
        config.destination.iter().map(Self::new).collect()
    }

    fn new(destination: &config::Destination) -> Result<Self, Misconfigured> {
        let problem = |key, problem: String| Misconfigured { destination: destination.name.clone(), key, problem };
        if !KINDS.contains(&destination.kind.as_str()) {
            let known = KINDS.join(", ");
            return Err(problem("kind", format!("is {:?}, which there is not; there are: {known}", destination.kind)));
        }
        if !(1..=100).contains(&destination.batch) {
            return Err(problem("batch", format!("is {}; write 1 to 100", destination.batch)));
        }
        let url =
            check_url(&destination.url, destination.allow_http).map_err(|text| problem("url", text.to_owned()))?;
        let key = Key::parse(destination.secret.expose()).map_err(|error| problem("secret", error.to_string()))?;
        if key.len() < RECOMMENDED_BYTES {
            tracing::warn!(
                destination = destination.name,
                "the signing secret is shorter than the {RECOMMENDED_BYTES} bytes Standard Webhooks asks for"
            );
        }
        Ok(Self { name: destination.name.clone(), url, keys: vec![key] })
    }

    /// The address without what may be secret in it: `https://hooks.example.com/…`.
    #[must_use]
    pub fn masked_url(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{host}{port}/…", self.url.scheme())
    }
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destination")
            .field("name", &self.name)
            .field("url", &self.masked_url())
            .field("keys", &self.keys)
            .finish()
    }
}

/// What a delivery is about, for its requests.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub claim: &'a Claim,
    /// `msg_…`
    pub id: &'a str,
    /// It may start nothing at the tool.
    pub quiet: bool,
}

impl Destination {
    /// Requests that one delivery takes.
    #[must_use]
    #[expect(clippy::unused_self, reason = "of the kind, which is webhook alone so far")]
    pub const fn steps(&self) -> usize {
        1
    }

    #[must_use]
    #[expect(clippy::unused_self, reason = "of the kind, which is webhook alone so far")]
    pub const fn per_minute(&self) -> Option<u32> {
        None
    }

    /// Makes and signs the request number `step`; `None` when there is none to be sent.
    ///
    /// # Errors
    /// The event does not fit into the request; says what is missing.
    #[expect(clippy::unnecessary_wraps, reason = "of the kind, which is webhook alone so far")]
    pub fn request(&self, _step: usize, message: &Message<'_>, at: Timestamp) -> Result<Option<Request>, String> {
        let headers = headers(self, message, at);
        Ok(Some(Request { method: Method::POST, url: self.url.clone(), headers, body: message.claim.body.clone() }))
    }

    /// What the answer to request number `step` means beside its status.
    #[expect(clippy::unused_self, clippy::needless_pass_by_ref_mut, reason = "of the kind")]
    pub const fn read(&self, _step: usize, _exchange: &mut Exchange) {}
}

fn headers(destination: &Destination, message: &Message<'_>, at: Timestamp) -> HeaderMap {
    let claim = message.claim;
    let timestamp = at.seconds();
    let signature = sign::signature(&destination.keys, message.id, timestamp, &claim.body);
    let text = |text: &str| {
        // Our own ids, numbers and base64: visible ASCII, all of it.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    };
    let event = if claim.events > 1 { format!("{}.batch", claim.kind) } else { claim.kind.to_string() };
    let mut headers = HeaderMap::from_iter([
        (HeaderName::from_static("webhook-id"), text(message.id)),
        (HeaderName::from_static("webhook-timestamp"), timestamp.into()),
        (HeaderName::from_static("webhook-signature"), text(&signature)),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (USER_AGENT, HeaderValue::from_static(AGENT)),
        (HeaderName::from_static("quintile-event"), text(&event)),
        (HeaderName::from_static("quintile-attempt"), claim.attempt.into()),
    ]);
    if let Some(replayed) = &claim.replay_of {
        headers.insert(HeaderName::from_static("quintile-replay-of"), text(&msg_id(replayed)));
    }
    headers
}

/// The messages do not quote the address: of some tools it is a secret.
fn check_url(text: &str, allow_http: bool) -> Result<Url, &'static str> {
    if text.trim().is_empty() {
        return Err("is missing; write the address that your tool shows for incoming webhooks");
    }
    let url = Url::parse(text.trim())
        .map_err(|_| "is not an address; write it whole, like https://example.com/hooks/quintile")?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http => Ok(url),
        "http" => Err("is http, which anybody on the way can read; write https, or set allow_http = true for a tool \
                       on this machine"),
        _ => Err("must start with https://"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn destination(change: impl FnOnce(&mut config::Destination)) -> Result<Destination, Misconfigured> {
        let mut destination = config::Destination {
            name: "tool".to_owned(),
            url: "https://hooks.example.com:8443/catch/secret-token".to_owned(),
            secret: Secret::new(SECRET),
            ..Default::default()
        };
        change(&mut destination);
        Destination::new(&destination)
    }

    #[test]
    fn a_setting_that_cannot_be_used_says_what_to_write() {
        for (message, result) in [
            (
                "`kind` is \"webhok\", which there is not; there are: webhook",
                destination(|d| d.kind = "webhok".to_owned()),
            ),
            (
                "`url` is missing; write the address that your tool shows for incoming webhooks",
                destination(|d| d.url = String::new()),
            ),
            (
                "`url` is not an address; write it whole, like https://example.com/hooks/quintile",
                destination(|d| d.url = "example.com/hook".to_owned()),
            ),
            (
                "`url` is http, which anybody on the way can read; write https, or set allow_http = true for a tool on \
                 this machine",
                destination(|d| d.url = "http://example.com/hook".to_owned()),
            ),
            ("`url` must start with https://", destination(|d| d.url = "ftp://example.com/hook".to_owned())),
            (
                "`secret` is missing; write `secret = \"whsec_…\"`, or `secret_env` with the name of the variable that \
                 holds it",
                destination(|d| d.secret = Secret::default()),
            ),
            (
                "`secret` is not base64 after whsec_; copy it again, all of it",
                destination(|d| d.secret = Secret::new("whsec_%%%")),
            ),
            ("`batch` is 101; write 1 to 100", destination(|d| d.batch = 101)),
        ] {
            assert_eq!(result.unwrap_err().to_string(), format!("[[destination]] \"tool\": {message}"));
        }
    }

    #[test]
    fn neither_address_nor_key_shows_itself() {
        let shown = format!("{:?}", destination(|_| {}).unwrap());
        assert_eq!(shown, "Destination { name: \"tool\", url: \"https://hooks.example.com:8443/…\", keys: [Key(…)] }");
    }

    #[test]
    fn http_is_taken_when_allowed() {
        let local = destination(|d| {
            d.url = "http://127.0.0.1:9000/".to_owned();
            d.allow_http = true;
        });
        assert_eq!(local.unwrap().url.as_str(), "http://127.0.0.1:9000/");
    }
}
