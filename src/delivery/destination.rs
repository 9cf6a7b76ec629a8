//! Where deliveries go, read from the configuration and checked. Pure: nothing is looked up.

use super::{
    plan::Plan,
    sign::{Key, RECOMMENDED_BYTES},
};
use crate::{
    config::{self, Config},
    outbox::Misconfigured,
};

/// One destination, ready to be sent to.
#[derive(Debug, Clone)]
pub struct Destination {
    pub name: String,
    /// Its requests.
    pub plan: Plan,
    /// All of them sign; none for kinds that are not signed.
    pub keys: Vec<Key>,
}

impl Destination {
    /// All destinations, in the order of the file.
    ///
    /// # Errors
    /// The first setting that cannot be used: destination, key, what to write.
    pub fn from_config(config: &Config) -> Result<Vec<Self>, Misconfigured> {
        config.destination.iter().map(|destination| Self::new(destination, &config.shop)).collect()
    }

    fn new(destination: &config::Destination, shop: &config::Shop) -> Result<Self, Misconfigured> {
        let problem = |key, problem: String| Misconfigured { destination: destination.name.clone(), key, problem };
        let plan = Plan::from_config(destination, shop)?;
        let mut keys = Vec::new();
        if plan.sign() {
            let key = Key::parse(destination.secret.expose()).map_err(|error| problem("secret", error.to_string()))?;
            if key.len() < RECOMMENDED_BYTES {
                tracing::warn!(
                    destination = destination.name,
                    "the signing secret is shorter than the {RECOMMENDED_BYTES} bytes Standard Webhooks asks for"
                );
            }
            keys.push(key);
        }
        Ok(Self { name: destination.name.clone(), plan, keys })
    }

    /// The address without what may be secret in it: `https://hooks.example.com/…`.
    #[must_use]
    pub fn masked_url(&self) -> String {
        self.plan.masked_url()
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
             keys: [Key(…)] }"
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
