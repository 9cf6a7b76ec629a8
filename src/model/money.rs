//! Money: integer minor units of an ISO 4217 currency. No float ever holds money.

use std::fmt;

/// An ISO 4217 currency code with the number of digits its minor unit has.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency {
    code: [u8; 3],
}

impl Currency {
    pub const EUR: Self = Self { code: *b"EUR" };

    /// Accepts three ASCII letters in any case.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.trim().as_bytes().try_into().ok()?;
        bytes.iter().all(u8::is_ascii_alphabetic).then(|| Self { code: bytes.map(|b| b.to_ascii_uppercase()) })
    }

    /// The code in upper case, "EUR".
    #[must_use]
    pub fn code(&self) -> &str {
        std::str::from_utf8(&self.code).unwrap_or("XXX")
    }

    /// Digits after the decimal point (ISO 4217): 0, 2 or 3.
    #[must_use]
    pub const fn digits(&self) -> u32 {
        match &self.code {
            b"BIF" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF" | b"UGX"
            | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            _ => 2,
        }
    }
}

impl<'de> serde::Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let code = String::deserialize(deserializer)?;
        Self::new(&code).ok_or_else(|| {
            serde::de::Error::custom(format!("{code:?} is not a currency; write its three letters, like \"EUR\""))
        })
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// An amount in minor units (cents) of a currency that the context knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Money(pub i64);

/// Why a text is not an amount. Ends in what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("{0:?} is not an amount; write it like 1234.50")]
    NotANumber(String),
    #[error("{0} is larger than any order can be (the limit is 900000000000000 minor units)")]
    TooLarge(String),
}

/// Result of [`Money::parse`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedMoney {
    pub money: Money,
    /// The text had more digits than the currency; they were rounded half to even.
    pub rounded: bool,
}

impl Money {
    pub const ZERO: Self = Self(0);
    /// Largest amount accepted from outside, in minor units: a thousand of them still add up
    /// within an i64.
    pub const MAX: i64 = 900_000_000_000_000;

    /// Parses a plain decimal ("-1234.50", "1e2" as JSON may write it) digit by digit. Extra
    /// digits round half to even.
    pub fn parse(text: &str, currency: Currency) -> Result<ParsedMoney, MoneyError> {
        let not_a_number = || MoneyError::NotANumber(shorten(text));
        let too_large = || MoneyError::TooLarge(shorten(text));
        let trimmed = text.trim();
        let (negative, unsigned) = match trimmed.as_bytes().first() {
            Some(b'-') => (true, &trimmed[1..]),
            Some(b'+') => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| not_a_number())?),
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = || whole.bytes().chain(fraction.bytes());
        if whole.len() + fraction.len() == 0 || !digits().all(|b| b.is_ascii_digit()) {
            return Err(not_a_number());
        }

        // The digits of the mantissa, cut after the last one that is a minor unit.
        let keep =
            i64::try_from(whole.len()).map_err(|_| too_large())? + i64::from(exponent) + i64::from(currency.digits());
        let mut minor: i64 = 0;
        let mut rest = std::cmp::Ordering::Less; // of what is cut off, compared with one half
        let mut rest_is_zero = true;
        for (position, byte) in (0i64..).zip(digits()) {
            let digit = i64::from(byte - b'0');
            if position < keep {
                minor = minor * 10 + digit;
                if minor > Self::MAX {
                    return Err(too_large());
                }
            } else if position == keep {
                rest = digit.cmp(&5);
                rest_is_zero = digit == 0;
            } else if digit != 0 {
                rest_is_zero = false;
                if rest == std::cmp::Ordering::Equal {
                    rest = std::cmp::Ordering::Greater;
                }
            }
        }
        // Trailing zeros the mantissa does not write out. Zero stays zero whatever the exponent.
        let written = i64::try_from(whole.len() + fraction.len()).map_err(|_| too_large())?;
        if minor != 0 {
            for _ in written..keep {
                minor *= 10;
                if minor > Self::MAX {
                    return Err(too_large());
                }
            }
        }
        if rest == std::cmp::Ordering::Greater || (rest == std::cmp::Ordering::Equal && minor % 2 == 1) {
            minor += 1;
            if minor > Self::MAX {
                return Err(too_large());
            }
        }
        Ok(ParsedMoney { money: Self(if negative { -minor } else { minor }), rounded: !rest_is_zero })
    }

    /// The decimal text with exactly the currency's digits: "412.50", "96990".
    #[must_use]
    pub fn to_decimal(self, currency: Currency) -> String {
        let digits = currency.digits() as usize;
        let text = format!("{:0width$}", self.0.unsigned_abs(), width = digits + 1);
        let (whole, fraction) = text.split_at(text.len() - digits);
        let sign = if self.0 < 0 { "-" } else { "" };
        let point = if digits > 0 { "." } else { "" };
        format!("{sign}{whole}{point}{fraction}")
    }
}

/// Keeps a hostile 400-digit "amount" out of reasons and logs.
fn shorten(text: &str) -> String {
    const LIMIT: usize = 40;
    if text.chars().count() <= LIMIT { text.to_owned() } else { text.chars().take(LIMIT).chain(['…']).collect() }
}

impl std::ops::Add for Money {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl std::ops::Sub for Money {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl std::iter::Sum for Money {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, |sum, amount| sum + amount)
    }
}

impl rusqlite::ToSql for Money {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl rusqlite::types::FromSql for Money {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        value.as_i64().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str, code: &str) -> Result<(i64, bool), MoneyError> {
        Money::parse(text, Currency::new(code).unwrap()).map(|p| (p.money.0, p.rounded))
    }

    #[test]
    fn amounts_in_the_digits_of_their_currency() {
        for (text, code, minor, rounded) in [
            ("412.50", "EUR", 41250, false),
            ("412.5", "eur", 41250, false),
            ("96990", "JPY", 96990, false),
            ("1.234", "KWD", 1234, false),
            ("-0.01", "USD", -1, false),
            ("+7", "USD", 700, false),
            (".5", "USD", 50, false),
            ("5.", "USD", 500, false),
            ("0.005", "USD", 0, true),
            ("0.015", "USD", 2, true),
            ("0.0150001", "USD", 2, true),
            ("0.0050001", "USD", 1, true),
            ("0.9951", "USD", 100, true),
            ("12.500", "USD", 1250, false),
            ("99.5", "JPY", 100, true),
            ("98.5", "JPY", 98, true),
            ("1e2", "USD", 10000, false),
            ("1.5E1", "USD", 1500, false),
            ("125e-2", "USD", 125, false),
            ("5e-3", "USD", 0, true),
            ("51e-4", "USD", 1, true),
            ("0e999999", "USD", 0, false),
            ("1e-999999", "USD", 0, true),
            ("00000000000000000000000000012.50", "USD", 1250, false),
            ("9000000000000", "USD", Money::MAX, false),
            ("9000000000000.005", "USD", Money::MAX, true),
            ("-8999999999999.996", "USD", -Money::MAX, true),
        ] {
            assert_eq!(parse(text, code), Ok((minor, rounded)), "{text} {code}");
        }
    }

    #[test]
    fn what_is_not_an_amount() {
        for text in [
            "",
            " ",
            "-",
            ".",
            "1,50",
            "1.2.3",
            "NaN",
            "inf",
            "1e",
            "1e1.5",
            "12 50",
            "٣",
            "0x10",
            "--1",
            "1e99999999999",
        ] {
            assert!(matches!(parse(text, "EUR"), Err(MoneyError::NotANumber(_))), "{text:?}");
        }
        for text in
            ["9000000000000.01", "9000000000000.006", "-9000000000000.0051", "1e400", "1e999999999", &"9".repeat(400)]
        {
            assert!(matches!(parse(text, "EUR"), Err(MoneyError::TooLarge(_))), "{text:?}");
        }
        assert!(parse(&"9".repeat(400), "EUR").unwrap_err().to_string().len() < 120);
    }

    #[test]
    fn a_currency_is_three_letters() {
        assert_eq!(Currency::new("eur").unwrap().code(), "EUR");
        for code in ["", "EU", "EURO", "E1R", "€"] {
            assert!(Currency::new(code).is_none(), "{code:?}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(minor in -Money::MAX..=Money::MAX, code in "JPY|EUR|KWD") {
            let currency = Currency::new(&code).unwrap();
            let text = Money(minor).to_decimal(currency);
            prop_assert_eq!(Money::parse(&text, currency), Ok(ParsedMoney { money: Money(minor), rounded: false }));
        }

        #[test]
        fn rounding_is_half_to_even(milli in 0i64..1_000_000_000) {
            let currency = Currency::new("EUR").unwrap();
            let text = format!("{}.{:03}", milli / 1000, milli % 1000);
            let (floor, rest) = (milli / 10, milli % 10);
            let expected = floor + i64::from(rest > 5 || (rest == 5 && floor % 2 == 1));
            prop_assert_eq!(Money::parse(&text, currency).unwrap().money, Money(expected));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = Money::parse(&text, Currency::new("EUR").unwrap());
        }
    }
}
