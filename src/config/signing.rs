//! The grammar of a signing secret: up to three keys, the newest first, older ones with an end.
//!
//! ```text
//! whsec_NEW
//! whsec_NEW whsec_OLD@2026-11-26T12:00:00Z
//! ```
//!
//! The same in config.toml, in a variable and in a file, where each key may have its own line.
//! `delivery::sign` signs with them.

use std::fmt;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::model::Timestamp;

const PREFIX: &str = "whsec_";
/// Bytes of a key, as Standard Webhooks asks for.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// The new one, the one it replaces, and one more for a tool that was slow to follow. Each costs
/// every request a signature, and a forgotten one is a door left open.
pub const KEYS: usize = 3;

/// One signing key. Never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: Vec<u8>,
    /// It signs before this instant; `None`: always.
    pub ends: Option<Timestamp>,
}

/// Why a text is not a signing secret. Never contains the text.
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
    #[error("is too short or too long; write \"whsec_\" and the base64 of 24 to 64 random bytes")]
    Length,
    #[error("has an @ without a time after it; write the end of an older key like whsec_…@2026-11-26T12:00:00Z")]
    End,
    #[error("gives its first key an end; write the newest key first, without @ and a time")]
    FirstEnds,
    #[error("holds more than three keys; keep the newest first, and remove those that have ended")]
    TooMany,
}

impl Key {
    /// All keys of a signing secret, the newest first; at least one, at most [`KEYS`].
    ///
    /// # Errors
    /// [`KeyError`] says what to write, without quoting the text.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, KeyError> {
        // Counted first: a thousand keys are not decoded one by one.
        if text.split_whitespace().nth(KEYS).is_some() {
            return Err(KeyError::TooMany);
        }
        let keys = text.split_whitespace().map(Self::parse).collect::<Result<Vec<_>, _>>()?;
        match keys.first() {
            None => Err(KeyError::Missing),
            Some(first) if first.ends.is_some() => Err(KeyError::FirstEnds),
            Some(_) => Ok(keys),
        }
    }

    /// One key: `whsec_…`, or `whsec_…@TIME`.
    fn parse(text: &str) -> Result<Self, KeyError> {
        let (key, end) = text.split_once('@').map_or((text, None), |(key, end)| (key, Some(end)));
        let encoded = key.strip_prefix(PREFIX).ok_or(KeyError::Prefix)?;
        if encoded.is_empty() {
            return Err(KeyError::Missing);
        }
        let padding = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let bytes = GeneralPurpose::new(&STANDARD, padding).decode(encoded).map_err(|_| KeyError::Base64)?;
        if !BYTES.contains(&bytes.len()) {
            return Err(KeyError::Length);
        }
        let ends = end.map(Timestamp::parse_rfc3339).transpose().map_err(|_| KeyError::End)?;
        Ok(Self { bytes, ends })
    }

    /// The key itself. Keep the result out of logs, pages and errors.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it still signs at `seconds`, a Unix time.
    #[must_use]
    pub fn is_live(&self, seconds: i64) -> bool {
        self.ends.is_none_or(|end| seconds < end.seconds())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A signing secret after a change of keys. Its `Debug` does not show it.
#[derive(PartialEq, Eq)]
pub struct Rotated {
    /// The keys as they are written, the newest first.
    pub written: Vec<String>,
    /// Older keys that still signed and are no longer in it, because there may be only [`KEYS`].
    pub dropped: usize,
    /// When the last of these would have ended by itself, if it was to.
    pub dropped_until: Option<Timestamp>,
}

impl fmt::Debug for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rotated").field("keys", &self.written.len()).finish_non_exhaustive()
    }
}

/// Puts `fresh` (a `whsec_…`) before the keys of `secret`. Older ones sign until `until`, or until
/// the end they had if that is sooner; ended ones are left out.
///
/// # Errors
/// `secret` is not a signing secret.
pub fn rotate(secret: &str, fresh: &str, now: Timestamp, until: Timestamp) -> Result<Rotated, KeyError> {
    let keys = Key::parse_all(secret)?;
    let live = secret.split_whitespace().zip(&keys).filter(|(_, key)| key.is_live(now.seconds()));
    let mut older: Vec<_> = live.collect();
    let dropped = older.split_off(older.len().min(KEYS - 1));
    let older = older.into_iter().map(|(text, key)| {
        let end = key.ends.map_or(until, |end| end.min(until));
        format!("{}@{end}", text.split('@').next().unwrap_or_default())
    });
    Ok(Rotated {
        written: std::iter::once(fresh.to_owned()).chain(older).collect(),
        dropped: dropped.len(),
        dropped_until: dropped.iter().filter_map(|(_, key)| key.ends).max(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn up_to_three_keys_the_newest_first() {
        let end = "2026-11-26T12:00:00Z";
        for text in [format!("{NEW} {OLD}@{end}"), format!("  {NEW}\r\n\n{OLD}@{end}\t\n")] {
            let keys = Key::parse_all(&text).unwrap();
            assert_eq!(keys.iter().map(|key| key.ends).collect::<Vec<_>>(), [None, Some(at(end))]);
            assert!(keys[0].is_live(i64::MAX));
            assert!(keys[1].is_live(at(end).seconds() - 1) && !keys[1].is_live(at(end).seconds()));
            assert_ne!(keys[0].expose(), keys[1].expose());
        }
        assert_eq!(Key::parse_all(&format!("{NEW} {OLD} {NEW}")).unwrap().len(), 3);
    }

    #[test]
    fn what_is_not_a_secret_is_refused_without_being_quoted() {
        let short = "whsec_dGVzdA==";
        for (text, error) in [
            (String::new(), KeyError::Missing),
            (" \n ".to_owned(), KeyError::Missing),
            ("whsec_".to_owned(), KeyError::Missing),
            ("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned(), KeyError::Prefix),
            (format!("{NEW},{OLD}"), KeyError::Base64),
            (format!("{NEW} junk"), KeyError::Prefix),
            ("whsec_not-base64!".to_owned(), KeyError::Base64),
            (short.to_owned(), KeyError::Length),
            (format!("whsec_{}", "AAAA".repeat(22)), KeyError::Length),
            (format!("{NEW} {OLD}@"), KeyError::End),
            (format!("{NEW} {OLD}@tomorrow"), KeyError::End),
            (format!("{NEW} {OLD}@2026-13-01T00:00:00Z"), KeyError::End),
            (format!("{NEW}@2026-11-26T12:00:00Z {OLD}"), KeyError::FirstEnds),
            (format!("{NEW} {OLD} {NEW} {OLD}"), KeyError::TooMany),
        ] {
            assert_eq!(Key::parse_all(&text).unwrap_err(), error, "{text}");
            let words = error.to_string();
            assert!(!words.contains("MfKQ") && !words.contains("junk") && !words.contains("tomorrow"), "{words}");
        }
        let unpadded = format!("whsec_{}", "A".repeat(35));
        assert_eq!(Key::parse_all(&unpadded).unwrap(), Key::parse_all(&format!("{unpadded}=")).unwrap());
        assert_eq!(format!("{:?}", Key::parse_all(NEW).unwrap()), "[Key(…)]");
    }

    #[test]
    fn a_fresh_key_comes_first_and_the_old_ones_end() {
        let (now, until) = (at("2026-11-25T12:00:00Z"), at("2026-11-26T12:00:00Z"));
        let rotated = |secret: &str| rotate(secret, "whsec_FRESH", now, until).unwrap();
        assert_eq!(
            rotated(NEW),
            Rotated {
                written: vec!["whsec_FRESH".to_owned(), format!("{NEW}@2026-11-26T12:00:00Z")],
                dropped: 0,
                dropped_until: None
            }
        );
        // A sooner end stays, a later one does not, an ended key goes.
        for (end, kept) in [
            ("2026-11-25T12:00:01Z", Some("2026-11-25T12:00:01Z")),
            ("2027-01-01T00:00:00Z", Some("2026-11-26T12:00:00Z")),
            ("2026-11-25T12:00:00Z", None),
        ] {
            let rotated = rotated(&format!("{NEW} {OLD}@{end}"));
            assert_eq!(rotated.written.get(2).cloned(), kept.map(|end| format!("{OLD}@{end}")));
            assert_eq!(rotated.dropped, 0);
        }
        let full = rotated(&format!("{NEW} {OLD} {NEW}"));
        assert_eq!((full.written.len(), full.dropped, full.dropped_until), (3, 1, None));
        let full = rotated(&format!("{NEW} {OLD}@2026-11-25T13:00:00Z {NEW}@2026-11-25T12:30:00Z"));
        assert_eq!((full.dropped, full.dropped_until), (1, Some(at("2026-11-25T12:30:00Z"))));
        assert_eq!(rotate("junk", "whsec_FRESH", now, until), Err(KeyError::Prefix));
    }
}
