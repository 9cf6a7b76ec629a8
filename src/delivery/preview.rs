//! The requests of a delivery as people may see them: nothing that is or may be a secret.

use anyhow::Context;
use http::{HeaderMap, header};

use super::{
    destination::{Destination, Message},
    plan,
    veil::Veil,
};
use crate::{
    config::Config,
    model::Timestamp,
    outbox::{Claim, msg_id},
};

/// Values of headers that are nobody's secret.
const OPEN_HEADERS: [&str; 7] =
    ["content-type", "accept", "user-agent", "revision", "omnisend-version", "webhook-id", "webhook-timestamp"];
/// Stands for what is not shown.
pub const HIDDEN: &str = "…";

/// One request of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub method: String,
    /// Scheme, host and port, then [`HIDDEN`]: of some tools the path is a secret.
    pub url: String,
    /// Names and values; of those that may be secret [`HIDDEN`].
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// The requests that `claim` makes at `at`, those that are done already included.
///
/// # Errors
/// The destination cannot be used, or no request can be made of this event; says what is missing.
pub fn preview(config: &Config, claim: &Claim, at: Timestamp) -> anyhow::Result<Vec<Preview>> {
    let settings = config.destination.get(claim.route).context("the configuration has no such destination")?;
    let destination = Destination::new(settings, &config.shop)?;
    let id = msg_id(&claim.message_id);
    let quiet = claim.initial && config.forwarder.baseline.is_quiet();
    let message = Message { claim, id: &id, quiet };
    let mut requests = Vec::new();
    for step in 0..destination.plan.steps() {
        if let Some(request) = destination.request(step, &message, at)? {
            requests.push(Preview {
                method: request.method.to_string(),
                url: plan::mask(&request.url),
                headers: shown_headers(&request.headers),
                body: veiled(&destination.veil, &request.body),
            });
        }
    }
    Ok(requests)
}

/// Where the requests of each destination go, in the order of the file, as far as it may be shown; empty
/// for one that cannot be used.
#[must_use]
pub fn addresses(config: &Config) -> Vec<String> {
    let address =
        |settings: &crate::config::Destination| Destination::new(settings, &config.shop).map(|it| it.masked_url());
    config.destination.iter().map(|settings| address(settings).unwrap_or_default()).collect()
}

pub(super) fn shown_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let shown = headers.iter().map(|(name, value)| {
        let open = OPEN_HEADERS.contains(&name.as_str()) || name.as_str().starts_with("quintile-");
        let value = if open { value.to_str().unwrap_or(HIDDEN) } else { HIDDEN };
        (name.to_string(), value.to_owned())
    });
    shown.filter(|(name, _)| *name != header::CONTENT_LENGTH.as_str()).collect()
}

/// There are tools that take their key in the body, and answers that repeat it.
pub(super) fn veiled(veil: &Veil, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&veil.take_out(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_may_be_secret_are_not_shown() {
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, "Bearer s3cr3t".parse().unwrap()),
            (header::CONTENT_TYPE, "application/json".parse().unwrap()),
        ]);
        let shown = shown_headers(&headers);
        assert!(shown.contains(&("authorization".to_owned(), HIDDEN.to_owned())));
        assert!(shown.contains(&("content-type".to_owned(), "application/json".to_owned())));
    }
}
