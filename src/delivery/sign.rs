//! The signature of Standard Webhooks, to the letter
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub use crate::config::signing::{Key, KeyError};

/// What stands before each signature: HMAC-SHA256 is version 1.
pub const VERSION: &str = "v1,";

/// The value of `webhook-signature`: one `v1,` signature per key that has not ended at
/// `timestamp`, space-separated, so that a receiver may hold any of them while a secret is changed.
///
/// `id` is the value of `webhook-id`, `timestamp` that of `webhook-timestamp` in Unix seconds.
#[must_use]
pub fn signature(keys: &[Key], id: &str, timestamp: i64, body: &[u8]) -> String {
    let text = timestamp.to_string();
    let live = keys.iter().filter(|key| key.is_live(timestamp));
    live.map(|key| signed(key, id, &text, body)).collect::<Vec<_>>().join(" ")
}

/// One signature: `v1,` and base64. `timestamp` as it stands in the header.
pub(super) fn signed(key: &Key, id: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose()).unwrap_or_else(|_| unreachable!("HMAC takes any length"));
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    format!("{VERSION}{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of the specification's reference implementations.
    #[test]
    fn the_published_example_is_reproduced() {
        let keys = Key::parse_all("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            signature(&keys, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn a_key_that_has_ended_does_not_sign() {
        let (new, old) = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD");
        let alone = |secret: &str, timestamp| signature(&Key::parse_all(secret).unwrap(), "msg_1", timestamp, b"{}");
        let both = Key::parse_all(&format!("{new} {old}@2026-11-26T12:00:00Z")).unwrap();
        let end = 1_795_694_400;
        assert_eq!(
            signature(&both, "msg_1", end - 1, b"{}"),
            format!("{} {}", alone(new, end - 1), alone(old, end - 1))
        );
        assert_eq!(signature(&both, "msg_1", end, b"{}"), alone(new, end));
    }

    proptest! {
        #[test]
        fn the_public_library_makes_the_same_signature(
            secret in proptest::collection::vec(any::<u8>(), 24..=64),
            other in proptest::collection::vec(any::<u8>(), 24..=64),
            id in "[a-zA-Z0-9_]{1,40}",
            timestamp in 0i64..4_000_000_000,
            body in "\\PC{0,200}",
        ) {
            let theirs = |secret: &[u8]| {
                standardwebhooks::Webhook::from_bytes(secret.to_vec()).unwrap()
                    .sign(&id, timestamp, body.as_bytes()).unwrap()
            };
            let [first, second] = [&secret, &other].map(|bytes| format!("whsec_{}", STANDARD.encode(bytes)));
            let keys = Key::parse_all(&format!("{first}\n{second}")).unwrap();
            prop_assert_eq!(
                signature(&keys, &id, timestamp, body.as_bytes()),
                format!("{} {}", theirs(&secret), theirs(&other))
            );
        }
    }
}
