//! Where deliveries go, read from the configuration and checked. Pure: nothing is looked up.

use std::fmt;

use url::Url;

use crate::{
    config::{self, Config, signing::Key},
    outbox::Misconfigured,
};

/// The kinds of destination there are.
const KINDS: &[&str] = &["webhook"];

/// One destination, ready to be sent to.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    pub name: String,
    /// Of some tools a secret in itself: never shown.
    pub url: Url,
    /// All that have not ended sign.
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
        if destination.batch != 1 {
            return Err(problem(
                "batch",
                format!("is {}; this version sends single events, write 1", destination.batch),
            ));
        }
        let url =
            check_url(&destination.url, destination.allow_http).map_err(|text| problem("url", text.to_owned()))?;
        let keys = Key::parse_all(destination.secret.expose()).map_err(|error| problem("secret", error.to_string()))?;
        Ok(Self { name: destination.name.clone(), url, keys })
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
            ("`batch` is 10; this version sends single events, write 1", destination(|d| d.batch = 10)),
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
