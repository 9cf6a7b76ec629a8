//! Did the shop send these bytes? Pure; compared in constant time against every accepted secret.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{config::Secret, model::Timestamp};

/// How far a Standard Webhooks timestamp may be from now, in milliseconds: older ones may be
/// recordings played again.
pub const TOLERANCE: i64 = 5 * 60 * 1000;

/// Shopify's way: `signature` is the base64 HMAC-SHA256 of the raw body, the key is the secret's
/// text. An empty secret signs nothing.
#[must_use]
pub fn shopify(secrets: &[Secret], body: &[u8], signature: &str) -> bool {
    of_body(secrets, body, signature)
}

/// WooCommerce's way, which is the same.
#[must_use]
pub fn woocommerce(secrets: &[Secret], body: &[u8], signature: &str) -> bool {
    of_body(secrets, body, signature)
}

fn of_body(secrets: &[Secret], body: &[u8], signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    secrets
        .iter()
        .filter(|secret| !secret.expose().trim().is_empty())
        .any(|secret| verify(secret.expose().as_bytes(), &[body], &signature))
}

/// The headers of a Standard Webhooks message.
#[derive(Debug, Clone, Copy)]
pub struct Standard<'a> {
    /// `webhook-id`
    pub id: &'a str,
    /// `webhook-timestamp`, Unix seconds as text.
    pub timestamp: &'a str,
    /// `webhook-signature`: "v1,<base64> v1,<base64> …"
    pub signature: &'a str,
}

/// Why a Standard Webhooks message was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("webhook-timestamp is not a number of seconds")]
    BadTimestamp,
    #[error("webhook-timestamp is more than five minutes away from this machine's clock")]
    OutOfTime,
    #[error("no v1 signature in webhook-signature matches")]
    NoMatch,
}

/// Standard Webhooks: one `v1` signature over "id.timestamp.body" must match one secret
/// (`whsec_` + base64). Returns when it was sent.
///
/// # Errors
/// [`Refused`], which may be told to the sender.
pub fn standard_webhooks(
    secrets: &[Secret],
    headers: Standard<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<Timestamp, Refused> {
    if headers.timestamp.is_empty() || !headers.timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refused::BadTimestamp);
    }
    let seconds: i64 = headers.timestamp.parse().map_err(|_| Refused::BadTimestamp)?;
    let sent = Timestamp::from_millis(seconds.checked_mul(1000).ok_or(Refused::BadTimestamp)?);
    if sent.millis().abs_diff(now.millis()) > TOLERANCE.unsigned_abs() {
        return Err(Refused::OutOfTime);
    }
    let keys: Vec<Vec<u8>> = secrets.iter().filter_map(standard_key).collect();
    let signed: [&[u8]; 5] = [headers.id.as_bytes(), b".", headers.timestamp.as_bytes(), b".", body];
    let matches = headers
        .signature
        .split(' ')
        .filter_map(|part| part.strip_prefix("v1,"))
        .filter_map(|signature| STANDARD.decode(signature).ok())
        .any(|signature| keys.iter().any(|key| verify(key, &signed, &signature)));
    if matches { Ok(sent) } else { Err(Refused::NoMatch) }
}

/// The key inside `whsec_…`; `None` for what is not one, so that it never passes.
fn standard_key(secret: &Secret) -> Option<Vec<u8>> {
    let text = secret.expose().trim();
    let key = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).ok()?;
    (!key.is_empty()).then_some(key)
}

fn verify(key: &[u8], parts: &[&[u8]], signature: &[u8]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return false };
    for part in parts {
        mac.update(part);
    }
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[&str]) -> Vec<Secret> {
        values.iter().map(|value| Secret::new(*value)).collect()
    }

    /// Digests made with Python's hmac module.
    #[test]
    fn shopify_signatures() {
        let body = br#"{"id":1001,"total_price":"49.90"}"#;
        let good = "hUTQc4AbDQnQfnLCIkLE9CrxbVoeQSiXPrwWzAjk/QY=";
        for (keys, body, signature, expected, why) in [
            (&["shpss_apple"][..], &body[..], good, true, "the secret"),
            (&["shpss_pear", "shpss_apple"], body, good, true, "any secret of the list"),
            (&["shpss_pear"], body, good, false, "another secret"),
            (&[], body, good, false, "no secret"),
            (&["", "  "], body, good, false, "an empty secret"),
            (&["shpss_apple"], br#"{"id":1001,"total_price":"49.91"}"#, good, false, "another body"),
            (&["shpss_apple"], body, "", false, "no signature"),
            (&["shpss_apple"], body, &good[..43], false, "padding cut off"),
            (&["shpss_apple"], body, &good.to_lowercase(), false, "another case"),
            (
                &["shpss_apple"],
                body,
                "8544d073801b0d09d07e72c22242c4f42af16d5a1e4128973ebc16cc08e4fd06",
                false,
                "hex instead of base64",
            ),
        ] {
            assert_eq!(shopify(&secrets(keys), body, signature), expected, "{why}");
        }
        // HMAC with an empty key is a valid digest, and must not pass either.
        let mac = Hmac::<Sha256>::new_from_slice(b"").unwrap().chain_update(body).finalize();
        assert!(!shopify(&secrets(&[""]), body, &STANDARD.encode(mac.into_bytes())));
    }

    #[test]
    fn standard_webhooks_signatures() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
        let body = br#"{"test": 2432232314}"#;
        let good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let now = Timestamp::from_millis(1_614_265_330_000);
        let check = |keys: &[&str], id, timestamp, signature, now| {
            standard_webhooks(&secrets(keys), Standard { id, timestamp, signature }, body, now)
        };
        let sent = Ok(now);
        assert_eq!(check(&[secret], id, "1614265330", good, now), sent);
        assert_eq!(check(&["whsec_AAAA", secret], id, "1614265330", good, now), sent);
        let several = format!("v1a,AAAA v1,AAAA {good}");
        assert_eq!(check(&[secret], id, "1614265330", &several, now), sent);
        for minutes in [-5, 5] {
            assert_eq!(check(&[secret], id, "1614265330", good, now.plus_millis(minutes * 60_000)), sent);
            let late = now.plus_millis(minutes * 60_000 + minutes.signum());
            assert_eq!(check(&[secret], id, "1614265330", good, late), Err(Refused::OutOfTime));
        }
        for timestamp in ["", "+1614265330", "1614265330.0", "99999999999999999999", "9223372036854775807"] {
            assert_eq!(check(&[secret], id, timestamp, good, now), Err(Refused::BadTimestamp), "{timestamp}");
        }
        for (keys, id, timestamp, signature) in [
            (&["whsec_AAAA"][..], id, "1614265330", good),
            (&["whsec_", "", "whsec_not base64"], id, "1614265330", good),
            (&[secret], "msg_other", "1614265330", good),
            (&[secret], id, "1614265331", good),
            (&[secret], id, "1614265330", "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            (&[secret], id, "1614265330", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
            (&[secret], id, "1614265330", ""),
        ] {
            assert_eq!(check(keys, id, timestamp, signature, now), Err(Refused::NoMatch), "{keys:?} {signature}");
        }
    }
}
