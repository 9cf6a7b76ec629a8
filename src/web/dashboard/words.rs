//! Numbers, money and instants in words for people. Pure; times are shown in the shop's zone.

use chrono::{DateTime, Datelike, NaiveDate};

use super::definitions::days_between;
use crate::model::{Currency, Money, Timestamp, Zone};

/// The text with a full stop, unless it ends in a mark already.
#[must_use]
pub fn sentence(text: &str) -> String {
    let text = text.trim_end();
    format!("{text}{}", if text.is_empty() || text.ends_with(['.', '!', '?', '…', ':']) { "" } else { "." })
}

/// The text with a capital letter.
#[must_use]
pub fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// "4,212"
#[must_use]
pub fn count(number: i64) -> String {
    let sign = if number < 0 { "−" } else { "" };
    format!("{sign}{}", grouped(&number.unsigned_abs().to_string()))
}

/// [`count`] of things in memory.
#[must_use]
pub fn count_usize(number: usize) -> String {
    count(i64::try_from(number).unwrap_or(i64::MAX))
}

/// "+12", "−6", "0"
#[must_use]
pub fn signed(number: i64) -> String {
    if number > 0 { format!("+{}", count(number)) } else { count(number) }
}

/// "1 customer", "4,212 customers"
#[must_use]
pub fn counted(number: i64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// "€1,234.50", "¥96,990", "CHF 12.00"
#[must_use]
pub fn money(amount: Money, currency: Currency) -> String {
    let plain = Money(amount.0.saturating_abs()).to_decimal(currency);
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let point = if fraction.is_empty() { "" } else { "." };
    with_symbol(amount, currency, &format!("{}{point}{fraction}", grouped(whole)))
}

/// Without minor units, for large sums: "€952,683"
#[must_use]
pub fn money_rounded(amount: Money, currency: Currency) -> String {
    with_symbol(amount, currency, &grouped(&major_units(amount, currency).to_string()))
}

/// Three digits at most, for a cell of the heat map: "€940", "€96k", "€1.2m"
#[must_use]
pub fn money_short(amount: Money, currency: Currency) -> String {
    let units = major_units(amount, currency);
    let text = match units {
        0..1000 => units.to_string(),
        1000..10_000 => one_decimal(units, 1000, "k"),
        10_000..999_500 => format!("{}k", (units + 500) / 1000),
        999_500..10_000_000 => one_decimal(units, 1_000_000, "m"),
        _ => format!("{}m", grouped(&((units + 500_000) / 1_000_000).to_string())),
    };
    with_symbol(amount, currency, &text)
}

fn one_decimal(units: u64, scale: u64, suffix: &str) -> String {
    let tenths = (units * 10 + scale / 2) / scale;
    if tenths.is_multiple_of(10) {
        format!("{}{suffix}", tenths / 10)
    } else {
        format!("{}.{}{suffix}", tenths / 10, tenths % 10)
    }
}

fn major_units(amount: Money, currency: Currency) -> u64 {
    let scale = 10u64.pow(currency.digits());
    (amount.0.unsigned_abs() + scale / 2) / scale
}

fn with_symbol(amount: Money, currency: Currency, digits: &str) -> String {
    let sign = if amount.0 < 0 { "−" } else { "" };
    match currency.code() {
        "EUR" => format!("{sign}€{digits}"),
        "USD" => format!("{sign}${digits}"),
        "GBP" => format!("{sign}£{digits}"),
        "JPY" => format!("{sign}¥{digits}"),
        code => format!("{sign}{code}\u{a0}{digits}"),
    }
}

/// The instant on the shop's wall clock. Instants that no calendar writes become its ends.
#[must_use]
pub fn local(at: Timestamp, zone: Zone) -> DateTime<Zone> {
    const YEAR_0: i64 = -62_135_596_800_000; // 0001-01-01
    const YEAR_9999: i64 = 253_402_214_400_000; // 9999-12-31
    Timestamp::from_millis(at.millis().clamp(YEAR_0, YEAR_9999)).to_utc().with_timezone(&zone)
}

/// "23 Nov 2026"
#[must_use]
pub fn day(at: Timestamp, zone: Zone) -> String {
    local(at, zone).format("%-d %b %Y").to_string()
}

/// "23 Nov 2026, 02:00"
#[must_use]
pub fn moment(at: Timestamp, zone: Zone) -> String {
    local(at, zone).format("%-d %b %Y, %H:%M").to_string()
}

/// "today at 02:00", "tomorrow at 02:00", "on 3 Nov at 02:00", "on 3 Nov 2025 at 02:00"
#[must_use]
pub fn when(at: Timestamp, now: Timestamp, zone: Zone) -> String {
    let (at, now) = (local(at, zone), local(now, zone));
    let time = at.format("%H:%M");
    match at.date_naive().signed_duration_since(now.date_naive()).num_days() {
        0 => format!("today at {time}"),
        1 => format!("tomorrow at {time}"),
        -1 => format!("yesterday at {time}"),
        _ if at.year() == now.year() => format!("on {} at {time}", at.format("%-d %b")),
        _ => format!("on {} at {time}", at.format("%-d %b %Y")),
    }
}

/// "10 Nov"
#[must_use]
pub fn short_day(date: NaiveDate) -> String {
    date.format("%-d %b").to_string()
}

/// Elapsed time, not calendar days: "today", "1 day ago", "12 days ago"
#[must_use]
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    match days_between(at, now) {
        0 => "less than a day ago".to_owned(),
        days => format!("{} ago", counted(days, "day", "days")),
    }
}

/// [`counted`] of what is never negative.
#[must_use]
pub fn counted_u64(number: u64, one: &str, many: &str) -> String {
    counted(i64::try_from(number).unwrap_or(i64::MAX), one, many)
}

/// "812 bytes", "12 kB", "3.4 MB", "2 GB"
#[must_use]
pub fn bytes(number: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = number.saturating_add(unit / 20) / (unit / 10);
        if tenths < 100 && !tenths.is_multiple_of(10) {
            format!("{}.{}", tenths / 10, tenths % 10)
        } else {
            (tenths / 10).to_string()
        }
    };
    match number {
        1 => "1 byte".to_owned(),
        ..1_000 => format!("{number} bytes"),
        1_000..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

/// "340 ms", "1.8 s", "2 min 5 s"
#[must_use]
pub fn duration(millis: i64) -> String {
    match millis {
        ..1000 => format!("{} ms", millis.max(0)),
        1000..59_950 => format!("{}.{} s", (millis + 50) / 1000, (millis + 50) % 1000 / 100),
        _ => {
            let seconds = (millis + 500) / 1000;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
    }
}

/// [`duration`] of what may take days: "2 min 5 s", "7 h", "4 days"
#[must_use]
pub fn span(millis: i64) -> String {
    const HOUR: i64 = 60 * 60 * 1000;
    match millis {
        ..HOUR => duration(millis),
        HOUR..172_800_000 => format!("{} h", (millis + HOUR / 2) / HOUR),
        _ => counted((millis + Timestamp::DAY / 2) / Timestamp::DAY, "day", "days"),
    }
}

/// How long until `at`, for a retry: "now", "in 40 s", "in 4 min", "in 3 h"
#[must_use]
pub fn until(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.millis().saturating_sub(now.millis()) / 1000;
    match seconds {
        ..1 => "now".to_owned(),
        1..90 => format!("in {seconds} s"),
        90..5400 => format!("in {} min", (seconds + 30) / 60),
        _ => format!("in {} h", (seconds + 1800) / 3600),
    }
}

/// `at_risk` → "At risk": the label of a segment that the rules do not know.
#[must_use]
pub fn from_name(name: &str) -> String {
    capital(&name.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn berlin() -> Zone {
        "Europe/Berlin".parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn sizes_of_files() {
        for (number, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (812, "812 bytes"),
            (12_000, "12 kB"),
            (3_449_000, "3.4 MB"),
            (3_000_000, "3 MB"),
            (412_000_000, "412 MB"),
            (2_000_000_000, "2 GB"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
    }

    #[test]
    fn sentences_end() {
        for (text, ended) in [
            ("the disk is full", "the disk is full."),
            ("Why?", "Why?"),
            ("No. ", "No."),
            ("(401)", "(401)."),
            ("", ""),
        ] {
            assert_eq!(sentence(text), ended);
        }
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (-1_234_567, "−1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!((signed(12), signed(-6), signed(0)), ("+12".into(), "−6".into(), "0".into()));
        assert_eq!(counted(1, "customer", "customers"), "1 customer");
        assert_eq!(counted(0, "customer", "customers"), "0 customers");
        assert_eq!(count(i64::MIN), "−9,223,372,036,854,775,808");
    }

    #[test]
    fn money_in_its_currency() {
        let eur = Currency::EUR;
        let [jpy, chf, kwd] = ["JPY", "CHF", "KWD"].map(|code| Currency::new(code).unwrap());
        assert_eq!(money(Money(123_450), eur), "€1,234.50");
        assert_eq!(money(Money(-5), eur), "−€0.05");
        assert_eq!(money(Money(96_990), jpy), "¥96,990");
        assert_eq!(money(Money(1_234_567), kwd), "KWD\u{a0}1,234.567");
        assert_eq!(money_rounded(Money(95_268_350), eur), "€952,684");
        assert_eq!(money_rounded(Money(120_000), chf), "CHF\u{a0}1,200");
        for (cents, text) in [
            (94_049, "€940"),
            (99_950, "€1k"),
            (123_400, "€1.2k"),
            (9_640_000, "€96k"),
            (99_960_000, "€1m"),
            (123_456_700, "€1.2m"),
            (123_456_700_000, "€1,235m"),
        ] {
            assert_eq!(money_short(Money(cents), eur), text, "{cents}");
        }
    }

    #[test]
    fn instants_on_the_shops_clock() {
        let now = at("2026-11-23T12:00:00Z");
        assert_eq!(when(at("2026-11-23T01:00:00Z"), now, berlin()), "today at 02:00");
        assert_eq!(when(at("2026-11-22T23:30:00Z"), now, berlin()), "today at 00:30");
        assert_eq!(when(at("2026-11-24T01:00:00Z"), now, berlin()), "tomorrow at 02:00");
        assert_eq!(when(at("2026-11-22T01:00:00Z"), now, berlin()), "yesterday at 02:00");
        assert_eq!(when(at("2026-07-03T00:00:00Z"), now, berlin()), "on 3 Jul at 02:00");
        assert_eq!(when(at("2025-07-03T00:00:00Z"), now, berlin()), "on 3 Jul 2025 at 02:00");
        assert_eq!(day(at("2026-11-22T23:30:00Z"), berlin()), "23 Nov 2026");
        assert_eq!(ago(at("2026-11-11T11:00:00Z"), now), "12 days ago");
        assert_eq!(ago(at("2026-11-22T11:00:00Z"), now), "1 day ago");
        assert_eq!(ago(now, now), "less than a day ago");
        for end in [i64::MIN, i64::MAX] {
            assert!(!moment(Timestamp::from_millis(end), "Pacific/Kiritimati".parse().unwrap()).is_empty());
        }
    }

    #[test]
    fn spans() {
        assert_eq!(duration(340), "340 ms");
        assert_eq!(duration(1810), "1.8 s");
        assert_eq!(duration(1960), "2.0 s");
        assert_eq!(duration(125_000), "2 min 5 s");
        for (millis, text) in [(340, "340 ms"), (3_600_000, "1 h"), (94 * 3_600_000, "4 days")] {
            assert_eq!(span(millis), text);
        }
        let now = at("2026-11-23T12:00:00Z");
        for (seconds, text) in [(-5, "now"), (40, "in 40 s"), (240, "in 4 min"), (10_800, "in 3 h")] {
            assert_eq!(until(now.plus_millis(seconds * 1000), now), text);
        }
        assert_eq!(from_name("at_risk"), "At risk");
        assert_eq!(from_name(""), "");
    }
}
