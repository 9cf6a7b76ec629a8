//! When a nightly run is due. Pure: the last night that was run, the schedule and the current
//! instant decide, so that years of nights can be tested without waiting for one.
//!
//! A *slot* is a local date on which the schedule has a time; it is run at most once. When daylight
//! saving skips the time, the run is due at the first instant after the gap; when the time comes
//! twice, at the first of the two. A schedule with several times a day uses the first.

use chrono::{DateTime, Days, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc};
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use crate::{
    clock::EARLIEST,
    model::{Timestamp, Zone},
};

/// A run that starts so much after its time stands for a night that was missed.
pub const LATE_MS: i64 = 15 * 60_000;
/// More missed nights than this are not counted, only that there were as many.
const MISSED_AT_MOST: u32 = 10_000;
/// A clock that reads so much after the last run is more likely wrong than the machine was off.
const SUSPECT_AFTER_DAYS: i64 = 400;

/// `[scoring] cron` and `timezone`, checked.
#[derive(Debug, Clone)]
pub struct Schedule {
    cron: Cron,
    zone: Zone,
}

/// A schedule that cannot be used. Says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    #[error(
        "[scoring] cron = {0:?} is not a schedule; write five fields: minute hour day month weekday, like \"0 2 * * *\""
    )]
    Unreadable(String),
    #[error("[scoring] cron = {0:?} never comes; there is no such date")]
    Never(String),
}

/// One night: its local date and the instant of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    pub date: NaiveDate,
    pub at: Timestamp,
}

/// From when on nights count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Last {
    /// The latest night that has a run, however it ended.
    Slot(NaiveDate),
    /// No night has one yet: only those after this instant count (the first order came in then),
    /// so that a new shop does not catch up on nights before it had anything to score.
    Since(Timestamp),
}

/// A run that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub slot: NaiveDate,
    /// The scheduled instant, which is also the run's as-of.
    pub as_of: Timestamp,
    /// Nights before it that were missed too; this one run stands for all of them.
    pub missed: u32,
}

/// Why the clock cannot be trusted with starting a run by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockSuspect {
    #[error("the clock reads a time before this program was built, so no nightly run starts; set the machine's clock")]
    BeforeBuild,
    #[error(
        "the clock reads a time before the latest run, so no nightly run starts until it has passed that; set the machine's clock, or, if it is right, press Score now"
    )]
    Behind,
    #[error(
        "the clock reads more than {SUSPECT_AFTER_DAYS} days after the latest run, so no nightly run starts; set the machine's clock, or, if it is right, press Score now"
    )]
    FarAhead,
}

impl Due {
    /// Whether it is later than a run that simply starts on time.
    #[must_use]
    pub const fn is_late(&self, now: Timestamp) -> bool {
        self.missed > 0 || now.millis() - self.as_of.millis() > LATE_MS
    }
}

/// The run that is due at `now`: the latest slot that has come, unless it (or a later one, when the
/// clock went back) was run already.
#[must_use]
pub fn due(last: Last, schedule: &Schedule, now: Timestamp) -> Option<Due> {
    let mut slot = schedule.latest_on(schedule.local_date(now))?;
    while slot.at > now {
        slot = schedule.latest_on(slot.date.pred_opt()?)?;
    }
    if !last.is_before(slot) {
        return None;
    }
    let mut missed = 0;
    let mut earlier = slot;
    while missed < MISSED_AT_MOST {
        match earlier.date.pred_opt().and_then(|date| schedule.latest_on(date)) {
            Some(before) if last.is_before(before) => (earlier, missed) = (before, missed + 1),
            _ => break,
        }
    }
    Some(Due { slot: slot.date, as_of: slot.at, missed })
}

/// The next slot that comes after `now`.
#[must_use]
pub fn next_due(schedule: &Schedule, now: Timestamp) -> Option<Slot> {
    let mut slot = schedule.earliest_from(schedule.local_date(now).pred_opt()?)?;
    while slot.at <= now {
        slot = schedule.earliest_from(slot.date.succ_opt()?)?;
    }
    Some(slot)
}

/// Whether `now` is believable beside the latest run that changed customers.
#[must_use]
pub fn suspect(latest_run: Option<Timestamp>, now: Timestamp) -> Option<ClockSuspect> {
    if now < EARLIEST {
        return Some(ClockSuspect::BeforeBuild);
    }
    let latest = latest_run?;
    if now < latest {
        Some(ClockSuspect::Behind)
    } else if now > latest.plus_millis(SUSPECT_AFTER_DAYS * Timestamp::DAY) {
        Some(ClockSuspect::FarAhead)
    } else {
        None
    }
}

impl Last {
    fn is_before(self, slot: Slot) -> bool {
        match self {
            Self::Slot(date) => date < slot.date,
            Self::Since(instant) => instant < slot.at,
        }
    }
}

impl Schedule {
    /// # Errors
    /// `cron` does not have five fields that mean something, or never comes.
    pub fn new(cron: &str, zone: Zone) -> Result<Self, BadSchedule> {
        let unreadable = || BadSchedule::Unreadable(cron.to_owned());
        if cron.split_whitespace().count() != 5 {
            return Err(unreadable());
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let schedule = Self { cron: parser.parse(cron).map_err(|_| unreadable())?, zone };
        let any_date = EARLIEST.to_utc().date_naive();
        schedule.earliest_from(any_date).ok_or_else(|| BadSchedule::Never(cron.to_owned()))?;
        Ok(schedule)
    }

    /// The zone the schedule is written in.
    #[must_use]
    pub const fn zone(&self) -> Zone {
        self.zone
    }

    /// The date on the wall at `now`.
    #[must_use]
    pub fn local_date(&self, now: Timestamp) -> NaiveDate {
        self.zone.from_utc_datetime(&now.to_utc().naive_utc()).date_naive()
    }

    /// The first slot on `date` or later.
    fn earliest_from(&self, mut date: NaiveDate) -> Option<Slot> {
        loop {
            // The cron fields speak of the wall; read as UTC they know no daylight saving.
            let wall = self.cron.find_next_occurrence(&midnight(date).and_utc(), true).ok()?.naive_utc();
            match self.slot(wall) {
                Some(slot) => return Some(slot),
                None => date = wall.date().succ_opt()?,
            }
        }
    }

    /// The last slot on `date` or earlier.
    fn latest_on(&self, mut date: NaiveDate) -> Option<Slot> {
        loop {
            let end = date.and_hms_opt(23, 59, 59)?.and_utc();
            let day = self.cron.find_previous_occurrence(&end, true).ok()?.date_naive();
            let wall = self.cron.find_next_occurrence(&midnight(day).and_utc(), true).ok()?.naive_utc();
            match self.slot(wall) {
                Some(slot) => return Some(slot),
                None => date = day.pred_opt()?,
            }
        }
    }

    /// The slot of a time on the wall. `None`: the zone skipped that whole date.
    fn slot(&self, wall: NaiveDateTime) -> Option<Slot> {
        let day_begins = resolve(self.zone, midnight(wall.date()));
        (self.local_date(day_begins.into()) == wall.date())
            .then(|| Slot { date: wall.date(), at: resolve(self.zone, wall).into() })
    }

    /// The instant that shows `wall`, of a slot some days before or after one of this schedule.
    #[must_use]
    pub(super) fn instant(&self, wall: NaiveDateTime) -> Timestamp {
        resolve(self.zone, wall).into()
    }

    /// What the wall shows at `at`.
    #[must_use]
    pub(super) fn wall(&self, at: Timestamp) -> NaiveDateTime {
        self.zone.from_utc_datetime(&at.to_utc().naive_utc()).naive_local()
    }

    /// The last slot that has come.
    pub(super) fn latest(&self, now: Timestamp) -> Option<Slot> {
        due(Last::Since(Timestamp::from_millis(i64::MIN)), self, now).map(|due| Slot { date: due.slot, at: due.as_of })
    }
}

fn midnight(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::MIN)
}

/// The first instant at which the wall shows `wall`; the end of the gap when it never does.
fn resolve(zone: Zone, wall: NaiveDateTime) -> DateTime<Utc> {
    match zone.from_local_datetime(&wall) {
        MappedLocalTime::Single(instant) | MappedLocalTime::Ambiguous(instant, _) => instant.to_utc(),
        MappedLocalTime::None => gap_end(zone, wall),
    }
}

/// The first instant whose wall time is past `wall`, which lies in a gap. No zone is further than
/// a day from UTC, and none has two changes within two days.
fn gap_end(zone: Zone, wall: NaiveDateTime) -> DateTime<Utc> {
    let shows = |utc: NaiveDateTime| zone.from_utc_datetime(&utc).naive_local();
    let mut before = wall.checked_sub_days(Days::new(1)).unwrap_or(wall);
    let mut after = wall.checked_add_days(Days::new(1)).unwrap_or(wall);
    while after - before > chrono::TimeDelta::seconds(1) {
        let middle = before + chrono::TimeDelta::seconds((after - before).num_seconds() / 2);
        if shows(middle) > wall { after = middle } else { before = middle }
    }
    after.and_utc()
}

#[cfg(test)]
#[path = "night_tests.rs"]
mod tests;
