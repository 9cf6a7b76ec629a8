//! Where deliveries go, read from the configuration and checked. Pure: nothing is looked up.

use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use super::{
    client::Request,
    plan::{self, Plan, RenderError},
    sign,
    veil::Veil,
};
use crate::{
    config::{self, Config, signing::Key},
    model::Timestamp,
    outbox::{Claim, Misconfigured, msg_id},
};

const AGENT: &str = concat!("quintile/", env!("CARGO_PKG_VERSION"));

/// One destination, ready to be sent to.
#[derive(Debug, Clone)]
pub struct Destination {
    pub name: String,
    /// Its requests.
    pub plan: Plan,
    /// All that have not ended sign; none for kinds that are not signed.
    pub keys: Vec<Key>,
    /// What of its answers nobody may see.
    pub veil: Veil,
    /// Its bodies are batches, also around a single event.
    batched: bool,
}

impl Destination {
    /// All destinations, in the order of the file.
    ///
    /// # Errors
    /// The first setting that cannot be used: destination, key, what to write.
    pub fn from_config(config: &Config) -> Result<Vec<Self>, Misconfigured> {
        config.destination.iter().map(|destination| Self::new(destination, &config.shop)).collect()
    }

    pub(super) fn new(destination: &config::Destination, shop: &config::Shop) -> Result<Self, Misconfigured> {
        let problem = |key, problem: String| Misconfigured { destination: destination.name.clone(), key, problem };
        let plan = Plan::from_config(destination, shop)?;
        let keys = if plan.sign() {
            Key::parse_all(destination.secret.expose()).map_err(|error| problem("secret", error.to_string()))?
        } else {
            Vec::new()
        };
        Ok(Self {
            name: destination.name.clone(),
            plan,
            keys,
            veil: Veil::new(destination),
            batched: destination.batch > 1,
        })
    }

    /// The address without what may be secret in it: `https://hooks.example.com/…`.
    #[must_use]
    pub fn masked_url(&self) -> String {
        self.plan.masked_url()
    }
}

impl Destination {
    /// Makes the request number `step` of a delivery and, where the kind is signed, signs it as of
    /// `at`; `None` when there is none to be sent.
    ///
    /// # Errors
    /// The request cannot be made of this event; says what is missing.
    pub fn request(&self, step: usize, message: &Message<'_>, at: Timestamp) -> Result<Option<Request>, RenderError> {
        let claim = message.claim;
        let content = plan::Message { body: &claim.body, message_id: message.id, quiet: message.quiet };
        let Some(rendered) = self.plan.render(step, &content)? else { return Ok(None) };
        let mut headers = rendered.headers;
        if self.plan.sign() {
            headers.extend(self.signed(message, at, &rendered.body));
        }
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        Ok(Some(Request { method: rendered.method, url: rendered.url, headers, body: rendered.body }))
    }

    fn signed(&self, message: &Message<'_>, at: Timestamp, body: &[u8]) -> HeaderMap {
        let claim = message.claim;
        let timestamp = at.seconds();
        let signature = sign::signature(&self.keys, message.id, timestamp, body);
        let text = |text: &str| {
            // Our own ids, numbers and base64: visible ASCII, all of it.
            HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
        };
        let event = if self.batched { format!("{}.batch", claim.kind) } else { claim.kind.to_string() };
        let mut headers = HeaderMap::from_iter([
            (HeaderName::from_static("webhook-id"), text(message.id)),
            (HeaderName::from_static("webhook-timestamp"), timestamp.into()),
            (HeaderName::from_static("webhook-signature"), text(&signature)),
            (HeaderName::from_static("quintile-event"), text(&event)),
            (HeaderName::from_static("quintile-attempt"), claim.attempt.into()),
        ]);
        if let Some(replayed) = &claim.replay_of {
            headers.insert(HeaderName::from_static("quintile-replay-of"), text(&msg_id(replayed)));
        }
        headers
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
        Destination::new(&destination, &config::Shop::default())
    }

    #[test]
    fn a_setting_that_cannot_be_used_says_what_to_write() {
        for (message, result) in [
            (
                "`kind` is \"webhok\", which there is not; there are: webhook, klaviyo, mailchimp, omnisend, brevo, \
                 activecampaign, template",
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
            ("`batch` is 101; this kind takes 1 to 100 events per request", destination(|d| d.batch = 101)),
        ] {
            assert_eq!(result.unwrap_err().to_string(), format!("[[destination]] \"tool\": {message}"));
        }
    }

    #[test]
    fn neither_address_nor_key_shows_itself() {
        let shown = format!("{:?}", destination(|_| {}).unwrap());
        assert_eq!(
            shown,
            "Destination { name: \"tool\", plan: Plan { kind: \"webhook\", url: \"https://hooks.example.com:8443/…\" }, \
             keys: [Key(…)], veil: Veil(…), batched: false }"
        );
    }

    #[test]
    fn http_is_taken_when_allowed() {
        let local = destination(|d| {
            d.url = "http://127.0.0.1:9000/".to_owned();
            d.allow_http = true;
        });
        assert_eq!(local.unwrap().masked_url(), "http://127.0.0.1:9000/…");
    }
}
