//! What stands in a cell: text, amounts and instants, as shops and spreadsheet programs write them.

use std::borrow::Cow;

use chrono::{
    DateTime, Duration, LocalResult, NaiveDate, NaiveDateTime, TimeZone,
    format::{Item, Parsed, StrftimeItems, parse},
};

use crate::model::{Currency, Money, Timestamp, Zone};

/// The text of a cell. Bytes that are not UTF-8 are read as Windows-1252, which is what
/// spreadsheet programs in western Europe save.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// Without the spaces around it, and without the `'` that spreadsheet programs put in front of what
/// is to stay text.
pub(super) fn bare(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('\'').map_or(text, str::trim_start)
}

/// [`bare`] of a name, whose own apostrophe ("'t Hooft") stays.
pub(super) fn bare_name(text: &str) -> &str {
    let text = text.trim();
    match text.strip_prefix('\'') {
        Some(rest) if rest.starts_with(char::is_alphabetic) => text,
        _ => bare(text),
    }
}

/// Whether a spreadsheet program has rounded a long number away ("4.50789E+12"): the digits are lost.
pub(super) fn is_rounded_number(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once("E+") else { return false };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits(exponent) && mantissa.split_once(['.', ',']).is_some_and(|(whole, rest)| digits(whole) && digits(rest))
}

/// How amounts are written.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Amounts {
    decimal_comma: bool,
    /// Amounts with a point and no comma are read as Shopify writes them, whatever the setting.
    points_too: bool,
}

impl Amounts {
    pub const fn new(decimal_comma: bool) -> Self {
        Self { decimal_comma, points_too: false }
    }

    /// Of a file that Shopify wrote: "49.90", unless a spreadsheet program has saved it again since.
    pub const fn beside_points(self) -> Self {
        Self { points_too: true, ..self }
    }

    fn has_decimal_comma(self, text: &str) -> bool {
        self.decimal_comma && (!self.points_too || text.contains(','))
    }

    /// The amount, and whether it had more digits than the currency and was rounded.
    ///
    /// Thousands may be grouped where that cannot be mistaken for decimals: "1,234.50", but not
    /// "1,234". With `decimal_comma` the two signs change places, and "1.234" is a thousand and
    /// some, because that is what the setting says. A currency without decimals has thousands alone,
    /// so there "1,234" is clear, and "1.234" is refused rather than taken for a yen and a bit.
    pub fn parse(self, text: &str, currency: Currency) -> Result<(Money, bool), String> {
        let whole = currency.digits() == 0;
        let plain =
            if self.has_decimal_comma(text) { without_groups(text, '.', ',', true) } else { plain_point(text, whole) };
        let Some(plain) = plain else { return Err(self.not_an_amount(text)) };
        if whole && plain.split_once('.').is_some_and(|(_, rest)| rest.len() == 3) {
            return Err(format!(
                "{:?} may be thousands or decimals, which {currency} does not have; write it without the point, or set [import] decimal_comma = true",
                shorten(text)
            ));
        }
        match Money::parse(&plain, currency) {
            Ok(parsed) => Ok((parsed.money, parsed.rounded)),
            Err(crate::model::MoneyError::NotANumber(_)) => Err(self.not_an_amount(text)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// [`Self::parse`] of a cell that may be empty; sets `rounded` when the amount was.
    pub fn read(self, cell: &str, currency: Currency, rounded: &mut bool) -> Result<Option<Money>, String> {
        if cell.is_empty() {
            return Ok(None);
        }
        let (money, was_rounded) = self.parse(cell, currency)?;
        *rounded |= was_rounded;
        Ok(Some(money))
    }

    fn not_an_amount(self, text: &str) -> String {
        let decimal_comma = self.has_decimal_comma(text);
        let text = shorten(text);
        if decimal_comma {
            format!("{text:?} is not an amount like 1.234,50 ([import] decimal_comma is true)")
        } else if text.contains(',') {
            format!(
                "{text:?} is not an amount like 1234.50; if the file writes 1.234,50, set [import] decimal_comma = true"
            )
        } else {
            format!("{text:?} is not an amount; write it like 1234.50")
        }
    }
}

/// The common case, a plain decimal, is passed on as it is.
fn plain_point(text: &str, lone: bool) -> Option<Cow<'_, str>> {
    if text.contains([',', ' ', '\u{a0}', '\u{202f}', '\'']) {
        without_groups(text, ',', '.', lone)
    } else {
        Some(Cow::Borrowed(text))
    }
}

/// Takes the thousands signs out and writes the decimal sign as a point. `None` when the signs do
/// not stand where thousands end. `lone` accepts one group without decimals.
fn without_groups(text: &str, thousands: char, decimal: char, lone: bool) -> Option<Cow<'_, str>> {
    let is_group = |c: char| c == thousands || matches!(c, ' ' | '\u{a0}' | '\u{202f}' | '\'' | '\u{2019}');
    let (whole, fraction) = match text.split_once(decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    if fraction.is_some_and(|fraction| fraction.contains(is_group) || fraction.contains(decimal)) {
        return None;
    }
    let mut groups = whole.split(is_group);
    let first = groups.next().unwrap_or_default();
    let mut plain = first.to_owned();
    let mut count = 0;
    for group in groups {
        if group.len() != 3 || first.trim_start_matches(['-', '+']).is_empty() {
            return None;
        }
        plain.push_str(group);
        count += 1;
    }
    if count == 1 && fraction.is_none() && !lone {
        return None;
    }
    if let Some(fraction) = fraction {
        plain.push('.');
        plain.push_str(fraction);
    }
    Some(Cow::Owned(plain))
}

/// How dates are written.
#[derive(Debug, Clone)]
pub(super) struct Dates {
    /// Of the merchant; empty: the ISO forms below.
    format: Vec<Item<'static>>,
    /// Of dates without an offset.
    zone: Zone,
    /// The ISO forms are read beside the pattern.
    iso_too: bool,
}

/// With an offset: Shopify's own form, and what is left of RFC 3339 without its "T" or colon.
const WITH_OFFSET: [&str; 2] = ["%Y-%m-%d %H:%M:%S%.f %z", "%Y-%m-%dT%H:%M:%S%.f%z"];
/// Without one, with and without seconds.
const LOCAL: [&str; 4] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];

impl Dates {
    /// # Errors
    /// `format` is not a strftime pattern, or does not name a whole date.
    pub fn new(format: &str, zone: Zone) -> Result<Self, String> {
        let wrong =
            |why: &str| format!("[import] date_format = {format:?} {why}; write it like \"%d.%m.%Y %H:%M\" (strftime)");
        let items = StrftimeItems::new(format).parse_to_owned().map_err(|_| wrong("is not a date pattern"))?;
        if !items.is_empty() {
            // What the pattern prints must be a date when read again.
            let sample = NaiveDate::from_ymd_opt(2026, 11, 23)
                .and_then(|day| day.and_hms_opt(2, 0, 0))
                .ok_or_else(|| wrong("cannot be tried"))?
                .and_utc()
                .fixed_offset();
            let printed = sample.format_with_items(items.iter()).to_string();
            if by_pattern(&printed, &items, zone).is_none() {
                return Err(wrong("does not name day, month and year"));
            }
        }
        Ok(Self { format: items, zone, iso_too: false })
    }

    /// Of a file that Shopify wrote, in ISO dates, unless a spreadsheet program has saved it again since.
    pub fn beside_iso(self) -> Self {
        Self { iso_too: true, ..self }
    }

    /// The instant a cell names. RFC 3339 always; else the merchant's pattern where there is one,
    /// else the ISO forms. A day alone is its first instant.
    pub fn parse(&self, text: &str) -> Result<Timestamp, String> {
        self.instant(text).ok_or_else(|| self.not_a_date(text))
    }

    fn instant(&self, text: &str) -> Option<Timestamp> {
        if let Ok(instant) = Timestamp::parse_rfc3339(text) {
            return Some(instant);
        }
        let offset_written = text.strip_suffix(" UTC").or_else(|| text.strip_suffix(" Z"));
        let text = offset_written.map_or(Cow::Borrowed(text), |text| format!("{text} +0000").into());
        for pattern in WITH_OFFSET {
            if let Ok(instant) = DateTime::parse_from_str(&text, pattern) {
                return Some(instant.into());
            }
        }
        if !self.format.is_empty() {
            let instant = by_pattern(&text, &self.format, self.zone);
            if instant.is_some() || !self.iso_too {
                return instant;
            }
        }
        LOCAL
            .iter()
            .find_map(|pattern| NaiveDateTime::parse_from_str(&text, pattern).ok())
            .or_else(|| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
            .and_then(|local| in_zone(local, self.zone))
    }

    fn not_a_date(&self, text: &str) -> String {
        let text = shorten(text);
        if self.format.is_empty() {
            format!(
                "{text:?} is not a date like 2026-11-23 02:00:00; say how the file writes dates with [import] date_format, like \"%d.%m.%Y\""
            )
        } else {
            format!("{text:?} is not a date in the form that [import] date_format names")
        }
    }
}

fn by_pattern(text: &str, items: &[Item<'_>], zone: Zone) -> Option<Timestamp> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, items.iter()).ok()?;
    if let Ok(instant) = parsed.to_datetime() {
        return Some(instant.into());
    }
    let day = parsed.to_naive_date().ok()?;
    let local = parsed.to_naive_time().map_or_else(|_| day.and_hms_opt(0, 0, 0), |time| Some(day.and_time(time)))?;
    in_zone(local, zone)
}

/// An hour that comes twice is the first of the two; an hour that the clocks jump over is the
/// instant that far after the jump.
fn in_zone(local: NaiveDateTime, zone: Zone) -> Option<Timestamp> {
    const JUMP: i64 = 60;
    let instant = match zone.from_local_datetime(&local) {
        LocalResult::Single(instant) | LocalResult::Ambiguous(instant, _) => instant,
        LocalResult::None => {
            let before = local.checked_sub_signed(Duration::minutes(JUMP))?;
            zone.from_local_datetime(&before).earliest()?.checked_add_signed(Duration::minutes(JUMP))?
        }
    };
    Some(instant.into())
}

/// Keeps a hostile cell out of messages.
pub(super) fn shorten(text: &str) -> String {
    const LIMIT: usize = 40;
    if text.chars().count() <= LIMIT { text.to_owned() } else { text.chars().take(LIMIT).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn amount(text: &str, decimal_comma: bool) -> Option<i64> {
        Amounts::new(decimal_comma).parse(text, Currency::EUR).ok().map(|(money, _)| money.0)
    }

    #[test]
    fn amounts_with_a_point() {
        for (text, minor) in [
            ("1234.50", Some(123_450)),
            ("1,234.50", Some(123_450)),
            ("1,234,567.5", Some(123_456_750)),
            ("1,234,567", Some(123_456_700)),
            ("1 234.50", Some(123_450)),
            ("1'234.50", Some(123_450)),
            ("-5", Some(-500)),
            ("-1,234.50", Some(-123_450)),
            ("1,234", None), // a thousand, or one and a bit?
            ("49,90", None),
            ("1,23.50", None),
            (",234.50", None),
            ("1.234,50", None),
            ("1.2.3", None),
            ("", None),
            ("€5", None),
        ] {
            assert_eq!(amount(text, false), minor, "{text:?}");
        }
    }

    #[test]
    fn amounts_with_a_comma() {
        for (text, minor) in [
            ("1234,50", Some(123_450)),
            ("1.234,50", Some(123_450)),
            ("1.234", Some(123_400)),
            ("12", Some(1200)),
            ("1\u{a0}234,5", Some(123_450)),
            ("49.90", None), // would be a hundred times too much
            ("1,234.50", None),
            ("1,2,3", None),
        ] {
            assert_eq!(amount(text, true), minor, "{text:?}");
        }
    }

    #[test]
    fn currencies_with_no_or_three_decimals() {
        for (text, code, decimal_comma, minor) in [
            ("12990", "CLP", false, Some(12_990)),
            ("12990.00", "CLP", false, Some(12_990)),
            ("12,990", "CLP", false, Some(12_990)),
            ("1,012,990", "JPY", false, Some(1_012_990)),
            ("12.990", "CLP", false, None), // thousands, or 13 pesos?
            ("12.000", "CLP", false, None),
            ("12.990", "CLP", true, Some(12_990)),
            ("12990,00", "CLP", true, Some(12_990)),
            ("12.990,000", "CLP", true, None),
            ("12.345", "KWD", false, Some(12_345)),
            ("1,012.345", "KWD", false, Some(1_012_345)),
            ("12.3", "KWD", false, Some(12_300)),
            ("12,345", "KWD", false, None),
            ("12,345", "KWD", true, Some(12_345)),
        ] {
            let currency = Currency::new(code).unwrap();
            let read = Amounts::new(decimal_comma).parse(text, currency).ok().map(|(money, _)| money.0);
            assert_eq!(read, minor, "{text} {code} {decimal_comma}");
        }
        let reason = Amounts::new(false).parse("12.990", Currency::new("CLP").unwrap()).unwrap_err();
        assert!(reason.contains("may be thousands or decimals") && reason.contains("decimal_comma = true"), "{reason}");
    }

    #[test]
    fn an_unreadable_amount_names_the_setting() {
        let reason = Amounts::new(false).parse("49,90", Currency::EUR).unwrap_err();
        assert_eq!(
            reason,
            "\"49,90\" is not an amount like 1234.50; if the file writes 1.234,50, set [import] decimal_comma = true"
        );
    }

    fn instant(text: &str, format: &str) -> Option<String> {
        let dates = Dates::new(format, "Europe/Berlin".parse().unwrap()).unwrap();
        dates.parse(text).ok().map(|instant| instant.to_string())
    }

    #[test]
    fn dates_in_the_forms_shops_write() {
        for (text, expected) in [
            ("2025-12-01 10:11:12 -0500", "2025-12-01T15:11:12Z"),
            ("2025-12-01 10:11:12 +05:30", "2025-12-01T04:41:12Z"),
            ("2025-12-01 10:11:12 UTC", "2025-12-01T10:11:12Z"),
            ("2025-12-01T10:11:12Z", "2025-12-01T10:11:12Z"),
            ("2025-12-01T10:11:12.250+0100", "2025-12-01T09:11:12.250Z"),
            ("2025-12-01 10:11:12", "2025-12-01T09:11:12Z"),
            ("2025-12-01T10:11", "2025-12-01T09:11:00Z"),
            ("2025-12-01 10:11", "2025-12-01T09:11:00Z"),
            ("2025-12-01", "2025-11-30T23:00:00Z"),
            ("2016-12-31 23:59:60 +0000", "2016-12-31T23:59:59Z"), // a leap second: the one before
            ("2016-12-31 23:59:60.5 UTC", "2016-12-31T23:59:59.500Z"),
            ("2016-12-31T23:59:60+0000", "2016-12-31T23:59:59Z"),
            ("2017-01-01 00:59:60", "2016-12-31T23:59:59Z"),
            ("2025-10-26 02:30:00", "2025-10-26T00:30:00Z"), // comes twice: the first
            ("2025-03-30 02:30:00", "2025-03-30T01:30:00Z"), // never comes: 03:30
        ] {
            assert_eq!(instant(text, "").as_deref(), Some(expected), "{text}");
        }
        for text in ["", "01.12.2025", "12/01/2025", "2025-13-01", "45627"] {
            assert_eq!(instant(text, ""), None, "{text}");
        }
    }

    #[test]
    fn dates_in_the_merchants_form() {
        for (text, format, expected) in [
            ("01.12.2025", "%d.%m.%Y", Some("2025-11-30T23:00:00Z")),
            ("01.12.2025 10:11", "%d.%m.%Y %H:%M", Some("2025-12-01T09:11:00Z")),
            ("12/1/2025 3:05 PM", "%m/%d/%Y %I:%M %p", Some("2025-12-01T14:05:00Z")),
            ("01.12.2025 10:11 +0000", "%d.%m.%Y %H:%M %z", Some("2025-12-01T10:11:00Z")),
            ("1764583872", "%s", Some("2025-12-01T10:11:12Z")),
            ("2025-12-01T10:11:12Z", "%d.%m.%Y", Some("2025-12-01T10:11:12Z")),
            ("31.12.2016 23:59:60 +0000", "%d.%m.%Y %H:%M:%S %z", Some("2016-12-31T23:59:59Z")),
            ("01.01.2017 00:59:60", "%d.%m.%Y %H:%M:%S", Some("2016-12-31T23:59:59Z")),
            ("2025-12-01", "%d.%m.%Y", None),
        ] {
            assert_eq!(instant(text, format).as_deref(), expected, "{text} as {format}");
        }
        for format in ["%", "%H:%M", "%Q", "%d.%m."] {
            let error = Dates::new(format, Zone::UTC).unwrap_err();
            assert!(error.starts_with("[import] date_format = "), "{error}");
        }
    }

    #[test]
    fn what_spreadsheets_leave_behind() {
        assert_eq!(bare(" '+49 170 "), "+49 170");
        assert_eq!(bare("'450789469"), "450789469");
        assert_eq!(bare("'anna@example.com"), "anna@example.com");
        assert_eq!((bare_name(" 't Hooft"), bare_name("'7 of 9")), ("'t Hooft", "7 of 9"));
        assert_eq!(decode(b"M\xfcller"), "Müller");
        assert_eq!(decode("Müller".as_bytes()), "Müller");
        for (text, rounded) in
            [("4.50789E+12", true), ("4,5E+15", true), ("450789469", false), ("1E+05", false), ("A.1E+2", false)]
        {
            assert_eq!(is_rounded_number(text), rounded, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_cell_panics(text in "\\PC{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..40), comma: bool) {
            let _ = Amounts::new(comma).parse(&text, Currency::EUR);
            let _ = instant(&text, "");
            let _ = instant(&text, "%d.%m.%Y %H:%M");
            let _ = bare(&decode(&bytes));
            let _ = is_rounded_number(&text);
        }

        #[test]
        fn any_amount_is_read_back_in_both_styles(minor in 0i64..Money::MAX) {
            let plain = Money(minor).to_decimal(Currency::EUR);
            let (whole, cents) = plain.split_once('.').unwrap();
            let mut grouped = String::new();
            for (i, digit) in whole.chars().enumerate() {
                if i > 0 && (whole.len() - i).is_multiple_of(3) { grouped.push('.'); }
                grouped.push(digit);
            }
            prop_assert_eq!(amount(&plain, false), Some(minor));
            prop_assert_eq!(amount(&format!("{grouped},{cents}"), true), Some(minor));
            prop_assert_eq!(amount(&format!("{whole},{cents}"), true), Some(minor));
        }
    }
}
