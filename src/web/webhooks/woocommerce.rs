//! `POST /webhooks/woocommerce`
//!
//! Five answers in a row that are not 2xx disable a webhook in the shop for good, so a signed message
//! is answered 200 whatever it says.

use std::sync::Arc;

use axum::{
    body::HttpBody,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
};

use super::{
    Gate, Problem, WebhookState, keep, kept_headers, one,
    refusals::{ELSEWHERE, NO_SECRET, UNSIGNED},
};
use crate::{
    intake::{Message, signature},
    model::Source,
};

/// Longest body of the message that WooCommerce sends unsigned when a webhook is saved.
const LONGEST_PING: u64 = 64;

/// Stores a signed message.
pub(super) async fn receive(
    State(state): State<WebhookState>,
    State(gate): State<Arc<Gate>>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let headers = request.headers().clone();
    let ours = &state.config.webhooks.woocommerce;
    let signature = wc_header(&headers, "Signature").map_err(|_| Problem::unauthorized("more than one signature"))?;
    let Some(signature) = signature else { return answer_ping(&state, &gate, request).await };
    let arrived = gate.read(request).await?;
    if !signature::woocommerce(&ours.secrets, arrived.bytes(), signature) {
        state.refusals.note(Source::WooCommerce, UNSIGNED, arrived.bytes().len());
        return Err(Problem::unauthorized("the signature does not match any accepted secret"));
    }
    let (body, place) = gate.signed_well(arrived);

    let topic = wc_header(&headers, "Topic")?
        .ok_or_else(|| Problem::new(StatusCode::BAD_REQUEST, "there is no X-WC-Webhook-Topic header"))?
        .to_ascii_lowercase();
    let source = wc_header(&headers, "Source")?.unwrap_or_default();
    if !is_our_site(&ours.source, source) {
        if state.refusals.comes(Source::WooCommerce, ELSEWHERE) {
            tracing::warn!(?source, "refused a webhook of another site than [webhooks.woocommerce] source");
        }
        return Err(Problem::unauthorized("this is not the site whose webhooks are taken here"));
    }
    let message = Message {
        source: Source::WooCommerce,
        topic,
        delivery_key: wc_header(&headers, "Delivery-ID")?.map(str::to_owned),
        triggered_at: None,
        headers: kept_headers(&headers),
        body,
        received_at: state.clock.now(),
    };
    keep(&state, message, place).await
}

/// 200 to the message `webhook_id=N`, which is not stored. Anybody can send it, as often as they have tokens.
async fn answer_ping(state: &WebhookState, gate: &Gate, request: Request) -> Result<StatusCode, Problem> {
    let unsigned = || Problem::unauthorized("there is no X-WC-Webhook-Signature header");
    if request.body().size_hint().upper().is_none_or(|size| size > LONGEST_PING) {
        return Err(unsigned());
    }
    let arrived = gate.read(request).await?;
    let id = arrived.bytes().strip_prefix(b"webhook_id=").ok_or_else(unsigned)?;
    if id.is_empty() || !id.iter().all(u8::is_ascii_digit) {
        return Err(unsigned());
    }
    if state.config.webhooks.woocommerce.secrets.is_empty() && state.refusals.comes(Source::WooCommerce, NO_SECRET) {
        tracing::warn!(
            "WooCommerce saved a webhook for this address; write its secret into [webhooks.woocommerce] secrets, or its messages are refused"
        );
    }
    Ok(StatusCode::OK)
}

/// Whether `source` is the address in the configuration, or that names none. With or without scheme
/// and the slash at the end.
fn is_our_site(configured: &str, source: &str) -> bool {
    let plain = |address: &str| {
        let address = address.trim().trim_end_matches('/').to_ascii_lowercase();
        address.split_once("://").map_or(address.clone(), |(_, rest)| rest.to_owned())
    };
    configured.trim().is_empty() || plain(configured) == plain(source)
}

/// The value of `X-WC-Webhook-{name}`.
fn wc_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    one(headers, &format!("X-WC-Webhook-{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_by_its_address() {
        for (configured, source, ours) in [
            ("", "https://anything.example/", true),
            ("", "", true),
            ("https://shop.example", "https://shop.example/", true),
            ("shop.example", "https://Shop.example/", true),
            ("https://shop.example/de/", "http://shop.example/de", true),
            ("https://shop.example", "https://staging.shop.example/", false),
            ("https://shop.example", "https://shop.example/staging/", false),
            ("https://shop.example", "", false),
        ] {
            assert_eq!(is_our_site(configured, source), ours, "{configured:?} {source:?}");
        }
    }
}
