//! Instants: Unix milliseconds, UTC. Reading the clock is `clock`'s business.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};

/// An instant in Unix milliseconds, UTC. Prints as RFC 3339 with `Z`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// Why a text is not a usable instant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    #[error("{0:?} is not a time; write it like 2026-11-23T02:00:00Z")]
    NotATime(String),
}

impl Timestamp {
    /// A day, in milliseconds.
    pub const DAY: i64 = 86_400_000;

    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole Unix seconds, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// `millis` later (or earlier, when negative); saturates.
    #[must_use]
    pub const fn plus_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// For calendar arithmetic. Instants that chrono cannot hold become the nearest end.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or(if self.0 < 0 {
            DateTime::<Utc>::MIN_UTC
        } else {
            DateTime::<Utc>::MAX_UTC
        })
    }

    /// Parses RFC 3339 with any offset (`2026-11-23T02:00:00+01:00`); a leap second is the second
    /// before it.
    pub fn parse_rfc3339(text: &str) -> Result<Self, TimestampError> {
        let not_a_time = || TimestampError::NotATime(text.chars().take(40).collect());
        let parsed = DateTime::parse_from_rfc3339(text.trim()).map_err(|_| not_a_time())?;
        Ok(parsed.into())
    }
}

/// A leap second is the second before it.
impl<Tz: TimeZone> From<DateTime<Tz>> for Timestamp {
    fn from(instant: DateTime<Tz>) -> Self {
        let leap = if instant.timestamp_subsec_nanos() >= 1_000_000_000 { 1000 } else { 0 };
        Self(instant.timestamp_millis() - leap)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = if self.0.rem_euclid(1000) == 0 { SecondsFormat::Secs } else { SecondsFormat::Millis };
        f.write_str(&self.to_utc().to_rfc3339_opts(format, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl rusqlite::ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl rusqlite::types::FromSql for Timestamp {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn instants_print_and_parse() {
        for (text, printed) in [
            ("2026-11-23T02:00:04.120Z", "2026-11-23T02:00:04.120Z"),
            ("2026-11-23T03:00:00+01:00", "2026-11-23T02:00:00Z"),
            ("2025-04-02T11:31:26-05:00", "2025-04-02T16:31:26Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59Z"),
            ("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500Z"),
        ] {
            assert_eq!(Timestamp::parse_rfc3339(text).unwrap().to_string(), printed);
        }
        for text in
            ["", "2026-11-23", "2026-13-01T00:00:00Z", "2026-11-23T02:00:00", "yesterday", "2026-11-23T02:00:00+25:00"]
        {
            assert!(Timestamp::parse_rfc3339(text).is_err(), "{text}");
        }
        assert_eq!(Timestamp::from_millis(i64::MIN).to_utc(), DateTime::<Utc>::MIN_UTC);
    }

    /// 1900 to 2199.
    const CENTURIES: std::ops::Range<i64> = -2_208_988_800_000..7_258_118_400_000;

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(millis in CENTURIES) {
            let instant = Timestamp::from_millis(millis);
            prop_assert_eq!(Timestamp::parse_rfc3339(&instant.to_string()), Ok(instant));
        }

        #[test]
        fn one_instant_in_any_offset(millis in CENTURIES, minutes in -1439i32..=1439) {
            let instant = Timestamp::from_millis(millis);
            let zone = chrono::FixedOffset::east_opt(minutes * 60).unwrap();
            let text = instant.to_utc().with_timezone(&zone).to_rfc3339();
            prop_assert_eq!(Timestamp::parse_rfc3339(&text), Ok(instant));
        }

        #[test]
        fn a_leap_second_is_the_one_before(millis in CENTURIES) {
            let text = Timestamp::from_millis(millis).to_string();
            let (minute, _) = text.split_at("2026-11-23T02:00:".len());
            let [leap, before] = ["60Z", "59Z"].map(|second| Timestamp::parse_rfc3339(&format!("{minute}{second}")));
            prop_assert!(before.is_ok());
            prop_assert_eq!(leap, before);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}|[0-9:TZ.+-]{0,40}") {
            let _ = Timestamp::parse_rfc3339(&text);
        }
    }
}
