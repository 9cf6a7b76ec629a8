//! The signature of Standard Webhooks, to the letter
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD as ALPHABET,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";
/// Shorter keys are weaker than the standard asks for.
pub const RECOMMENDED_BYTES: usize = 24;

/// One signing key. Never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

/// Why a text is not a signing key. Never contains the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("is missing; write `secret = \"whsec_…\"`, or `secret_env` with the name of the variable that holds it")]
    Missing,
    #[error(
        "does not start with whsec_; write the signing secret as `quintile init` makes it, or as your tool shows it"
    )]
    Prefix,
    #[error("is not base64 after whsec_; copy it again, all of it")]
    Base64,
}

impl Key {
    /// The key written as `whsec_` and base64.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong without quoting the text.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyError::Missing);
        }
        let encoded = text.strip_prefix(PREFIX).ok_or(KeyError::Prefix)?;
        let padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let bytes = GeneralPurpose::new(&ALPHABET, padding).decode(encoded).map_err(|_| KeyError::Base64)?;
        if bytes.is_empty() { Err(KeyError::Missing) } else { Ok(Self(bytes)) }
    }

    /// Length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a key is never empty")]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    fn sign(&self, parts: [&[u8]; 3]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).unwrap_or_else(|_| unreachable!("HMAC takes any length"));
        mac.update(parts[0]);
        for part in &parts[1..] {
            mac.update(b".");
            mac.update(part);
        }
        STANDARD.encode(mac.finalize().into_bytes())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The value of `webhook-signature`: one `v1,` signature per key, space-separated, so that a
/// receiver may hold any of them while a secret is changed.
///
/// `id` is the value of `webhook-id`, `timestamp` that of `webhook-timestamp` in Unix seconds.
#[must_use]
pub fn signature(keys: &[Key], id: &str, timestamp: i64, body: &[u8]) -> String {
    let timestamp = timestamp.to_string();
    let signed = keys.iter().map(|key| format!("v1,{}", key.sign([id.as_bytes(), timestamp.as_bytes(), body])));
    signed.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of the specification's reference implementations.
    #[test]
    fn the_published_example_is_reproduced() {
        let key = Key::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        assert_eq!(
            signature(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn what_is_not_a_key_is_refused_without_being_quoted() {
        for (text, error) in [
            ("", KeyError::Missing),
            ("  ", KeyError::Missing),
            ("whsec_", KeyError::Missing),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", KeyError::Prefix),
            ("whsec_not base64!", KeyError::Base64),
        ] {
            assert_eq!(Key::parse(text).unwrap_err(), error, "{text}");
            assert!(!error.to_string().contains("MfKQ") && !error.to_string().contains("not base64!"));
        }
        assert_eq!(Key::parse("whsec_dGVzdA").unwrap(), Key::parse("whsec_dGVzdA==").unwrap());
        assert_eq!(format!("{:?}", Key::parse("whsec_dGVzdA==").unwrap()), "Key(…)");
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
            let keys = [&secret, &other].map(|bytes| Key::parse(&format!("whsec_{}", STANDARD.encode(bytes))).unwrap());
            prop_assert_eq!(
                signature(&keys, &id, timestamp, body.as_bytes()),
                format!("{} {}", theirs(&secret), theirs(&other))
            );
        }
    }
}
