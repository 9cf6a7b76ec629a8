//! Values that must not be seen.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// A value that never shows itself: `Debug` prints dots, there is no `Display`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// A fresh `whsec_…` of 32 random bytes.
    ///
    /// # Errors
    /// The operating system has no random numbers to give.
    pub fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0_u8; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(format!("whsec_{}", STANDARD.encode(key))))
    }

    /// The value itself. Keep the result out of logs, pages and errors.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The newest signing key as far as it may be seen, `whsec_…1f4=`: by its last four letters people tell
    /// one from another. `None`: there is none, or it is so short that four letters say much.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        const SHORTEST: usize = 24;
        let first = self.0.split_whitespace().next()?;
        let key = first.split('@').next()?.strip_prefix("whsec_")?;
        let last = key.get(key.len().checked_sub(4)?..)?;
        (key.len() >= SHORTEST).then(|| format!("whsec_…{last}"))
    }

    /// The key of a Standard Webhooks secret: `whsec_` and the base64 of 24 to 64 bytes. `None`
    /// when this is not one.
    #[must_use]
    pub fn signing_key(&self) -> Option<Vec<u8>> {
        let key = STANDARD.decode(self.0.strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&key.len()).then_some(key)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "\"\"" } else { "\"…\"" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_secret_is_a_signing_key_of_32_bytes() {
        let secret = Secret::random().unwrap();
        assert_eq!(secret.signing_key().unwrap().len(), 32);
        assert_ne!(secret, Secret::random().unwrap());
        assert_eq!(format!("{secret:?}"), "\"…\"");
    }

    #[test]
    fn a_hint_shows_four_letters_of_the_newest_key() {
        let two = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD@2026-11-26T12:00:00Z";
        assert_eq!(Secret::new(two).hint().as_deref(), Some("whsec_…LaSw"));
        for text in
            ["", "whsec_", "whsec_abcdefgh", "no secret of ours but long enough", "whsec_ééééééééééééééééééééé€"]
        {
            assert!(Secret::new(text).hint().is_none_or(|hint| hint.chars().count() == 11), "{text}");
        }
        assert_eq!(Secret::new("whsec_abcdefgh").hint(), None);
    }

    #[test]
    fn what_is_not_a_signing_key() {
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for (text, length) in [(of(24), Some(24)), (of(64), Some(64)), (of(23), None), (of(65), None)] {
            assert_eq!(Secret::new(text).signing_key().map(|key| key.len()), length);
        }
        for text in ["", "whsec_", "whsec_not base64", &STANDARD.encode([7; 32])] {
            assert_eq!(Secret::new(text).signing_key(), None, "{text}");
        }
    }
}
