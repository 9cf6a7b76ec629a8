use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn schedule(cron: &str, zone: &str) -> Schedule {
    Schedule::new(cron, zone.parse().unwrap()).unwrap()
}

fn due_at(last: &str, schedule: &Schedule, now: &str) -> Option<(String, String, u32)> {
    due(Last::Slot(date(last)), schedule, at(now)).map(|due| (due.slot.to_string(), due.as_of.to_string(), due.missed))
}

#[test]
fn a_run_is_due_once_a_night() {
    let berlin = schedule("0 2 * * *", "Europe/Berlin");
    assert_eq!(due_at("2026-11-22", &berlin, "2026-11-23T00:59:59Z"), None);
    let tonight = Some(("2026-11-23".to_owned(), "2026-11-23T01:00:00Z".to_owned(), 0));
    assert_eq!(due_at("2026-11-22", &berlin, "2026-11-23T01:00:00Z"), tonight);
    assert_eq!(due_at("2026-11-22", &berlin, "2026-11-23T23:30:00Z"), tonight, "still that of 23 November");
    assert_eq!(due_at("2026-11-23", &berlin, "2026-11-23T23:30:00Z"), None);
}

#[test]
fn a_time_that_is_skipped_runs_after_the_gap() {
    // 29 March 2026, Berlin: 02:00 becomes 03:00.
    let berlin = schedule("30 2 * * *", "Europe/Berlin");
    assert_eq!(due_at("2026-03-28", &berlin, "2026-03-29T00:59:59Z"), None);
    assert_eq!(
        due_at("2026-03-28", &berlin, "2026-03-29T01:00:00Z"),
        Some(("2026-03-29".to_owned(), "2026-03-29T01:00:00Z".to_owned(), 0))
    );
    assert_eq!(due_at("2026-03-29", &berlin, "2026-03-29T02:30:00Z"), None);
}

#[test]
fn a_time_that_comes_twice_runs_the_first_time() {
    // 25 October 2026, Berlin: 02:30 at 00:30 and at 01:30 UTC.
    let berlin = schedule("30 2 * * *", "Europe/Berlin");
    assert_eq!(
        due_at("2026-10-24", &berlin, "2026-10-25T00:30:00Z"),
        Some(("2026-10-25".to_owned(), "2026-10-25T00:30:00Z".to_owned(), 0))
    );
    assert_eq!(due_at("2026-10-25", &berlin, "2026-10-25T01:30:00Z"), None);
}

#[test]
fn nights_that_were_missed_are_caught_up_by_one_run() {
    let utc = schedule("0 2 * * *", "UTC");
    for missed in 1..=30 {
        let now = at("2026-06-01T09:00:00Z").plus_millis(i64::from(missed) * Timestamp::DAY);
        let due = due(Last::Slot(date("2026-05-31")), &utc, now).unwrap();
        assert_eq!((due.missed, due.slot), (missed, utc.local_date(now)));
        assert!(due.is_late(now));
    }
    let on_time = due(Last::Slot(date("2026-05-31")), &utc, at("2026-06-01T02:01:00Z")).unwrap();
    assert!(!on_time.is_late(at("2026-06-01T02:01:00Z")));
    assert!(on_time.is_late(at("2026-06-01T02:15:01Z")));
}

#[test]
fn a_clock_that_goes_back_runs_nothing_twice() {
    let utc = schedule("0 2 * * *", "UTC");
    for hour in 0..72 {
        let now = at("2026-06-01T00:00:00Z").plus_millis(hour * 3_600_000);
        assert_eq!(due(Last::Slot(date("2026-06-03")), &utc, now), None, "{now}");
    }
}

#[test]
fn a_new_shop_has_nothing_to_catch_up() {
    let utc = schedule("0 2 * * *", "UTC");
    let first_order = Last::Since(at("2026-06-01T10:00:00Z"));
    assert_eq!(due(first_order, &utc, at("2026-06-01T23:00:00Z")), None);
    let due = due(first_order, &utc, at("2026-06-02T08:00:00Z")).unwrap();
    assert_eq!((due.slot, due.missed), (date("2026-06-02"), 0));
}

#[test]
fn schedules_that_are_not_daily() {
    let mondays = schedule("0 2 * * 1", "UTC");
    assert_eq!(
        due_at("2026-11-16", &mondays, "2026-11-29T23:00:00Z"),
        Some(("2026-11-23".to_owned(), "2026-11-23T02:00:00Z".to_owned(), 0))
    );
    let twice_a_day = schedule("0 2,14 * * *", "UTC");
    assert_eq!(due_at("2026-11-23", &twice_a_day, "2026-11-23T15:00:00Z"), None, "one run per date");
    assert_eq!(next_due(&twice_a_day, at("2026-11-23T03:00:00Z")).unwrap().at, at("2026-11-24T02:00:00Z"));
    let leap = schedule("0 2 29 2 *", "UTC");
    assert_eq!(next_due(&leap, at("2026-01-01T00:00:00Z")).unwrap().at, at("2028-02-29T02:00:00Z"));
    assert_eq!(due_at("2024-02-29", &leap, "2027-01-01T00:00:00Z"), None);
}

#[test]
fn a_date_the_zone_never_had_has_no_slot() {
    // Samoa went from 29 to 31 December 2011.
    let apia = schedule("0 2 * * *", "Pacific/Apia");
    let after = due(Last::Slot(date("2011-12-28")), &apia, at("2011-12-31T00:00:00Z")).unwrap();
    assert_eq!((after.slot, after.missed), (date("2011-12-31"), 1));
}

#[test]
fn what_is_not_a_schedule() {
    for cron in ["", "0 2 * *", "0 0 2 * * *", "@daily", "0 25 * * *", "61 2 * * *", "a b c d e"] {
        assert!(matches!(Schedule::new(cron, Zone::UTC), Err(BadSchedule::Unreadable(_))), "{cron:?}");
    }
    assert_eq!(Schedule::new("0 2 30 2 *", Zone::UTC).unwrap_err(), BadSchedule::Never("0 2 30 2 *".to_owned()));
}

#[test]
fn a_clock_that_cannot_be_right() {
    let run = at("2026-11-23T02:00:00Z");
    for (latest, now, expected) in [
        (Some(run), "2026-11-24T02:00:00Z", None),
        (Some(run), "2026-11-23T01:59:59Z", Some(ClockSuspect::Behind)),
        (Some(run), "2027-12-28T02:00:00Z", None),
        (Some(run), "2027-12-28T02:00:01Z", Some(ClockSuspect::FarAhead)),
        (Some(run), "1970-01-01T00:05:00Z", Some(ClockSuspect::BeforeBuild)),
        (None, "2099-01-01T00:00:00Z", None),
    ] {
        assert_eq!(suspect(latest, at(now)), expected, "{now}");
    }
}

/// Where and when the clocks are changed in two years, each date around it has one slot.
#[test]
fn every_zone_has_one_slot_a_date_around_each_change_of_its_clocks() {
    const STEP: i64 = 3 * 3_600_000;
    let begin = at("2026-01-01T12:00:00Z");
    let mut changes = 0;
    for zone in Zone::names().map(|name| name.parse::<Zone>().unwrap()) {
        let wall = |now: Timestamp| zone.from_utc_datetime(&now.to_utc().naive_utc()).naive_local();
        let ahead = |now: Timestamp| wall(now) - now.to_utc().naive_utc();
        for day in (0..730).map(|day| begin.plus_millis(day * Timestamp::DAY)) {
            if ahead(day) == ahead(day.plus_millis(Timestamp::DAY)) {
                continue;
            }
            changes += 1;
            for cron in ["0 2 * * *", "30 0 * * *"] {
                let schedule = Schedule::new(cron, zone).unwrap();
                let mut last = Last::Since(day.plus_millis(-Timestamp::DAY));
                let mut slots: Vec<Due> = Vec::new();
                for beat in 0..(4 * Timestamp::DAY / STEP) {
                    if let Some(due) = due(last, &schedule, day.plus_millis(beat * STEP - Timestamp::DAY)) {
                        slots.push(due);
                        last = Last::Slot(due.slot);
                    }
                }
                assert!(slots.len() >= 3, "{zone} {day}: {slots:?}");
                for pair in slots.windows(2) {
                    assert_eq!(pair[0].slot.succ_opt(), Some(pair[1].slot), "{zone} {day}: {slots:?}");
                    let hours = (pair[1].as_of.millis() - pair[0].as_of.millis()) / 3_600_000;
                    assert!((22..=26).contains(&hours), "{zone} {day}: {slots:?}");
                }
            }
        }
    }
    assert!(changes > 500, "only {changes} changes of clocks");
}

/// Any zone there is.
fn zones() -> impl Strategy<Value = Zone> {
    let names: Vec<&str> = Zone::names().collect();
    (0..names.len()).prop_map(move |zone| names[zone].parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Over some days of any zone and year, asked every 23 minutes: each local date that exists
    /// gets exactly one run, in order.
    #[test]
    fn every_local_date_gets_exactly_one_run(
        zone in zones(),
        start in 0i64..47_450, // days: 1970 to 2099
        hour in 0u32..24,
        minute in 0u32..60,
    ) {
        let schedule = Schedule::new(&format!("{minute} {hour} * * *"), zone).unwrap();
        let begin = Timestamp::from_millis(start * Timestamp::DAY);
        let mut last = Last::Since(begin);
        let mut runs: Vec<Due> = Vec::new();
        for beat in 0..(6 * 24 * 60 / 23) {
            let now = begin.plus_millis(beat * 23 * 60_000);
            if let Some(due) = due(last, &schedule, now) {
                prop_assert!(due.as_of <= now && due.as_of > begin);
                prop_assert_eq!(due.missed, 0, "asked often enough to miss none");
                runs.push(due);
                last = Last::Slot(due.slot);
                prop_assert_eq!(super::due(last, &schedule, now), None);
            }
        }
        // Every date whose scheduled time lay in these days, the way a person with a calendar
        // would list them.
        let zone = schedule.zone();
        let end = begin.plus_millis((6 * 24 * 60 / 23 - 1) * 23 * 60_000);
        let mut expected = Vec::new();
        for day in -2..9 {
            let date = begin.to_utc().date_naive() + chrono::TimeDelta::days(day);
            let first = (0..=48 * 60).find_map(|late| {
                let wall = date.and_hms_opt(hour, minute, 0).unwrap() + chrono::TimeDelta::minutes(late);
                zone.from_local_datetime(&wall).earliest().map(|instant| (late, Timestamp::from(instant.to_utc())))
            });
            let exists = (0..24 * 60).any(|late| {
                let wall = date.and_time(NaiveTime::MIN) + chrono::TimeDelta::minutes(late);
                zone.from_local_datetime(&wall).earliest().is_some()
            });
            let (late, instant) = first.unwrap();
            if exists && instant > begin && instant <= end {
                expected.push((date, instant, late));
            }
        }
        prop_assert_eq!(runs.len(), expected.len(), "{:?} {:?}", runs, expected);
        for (run, (date, instant, late)) in runs.iter().zip(&expected) {
            prop_assert_eq!(run.slot, *date);
            if *late == 0 {
                prop_assert_eq!(run.as_of, *instant);
            } else {
                // The model steps by minutes; some gaps of the 1970s end at odd seconds.
                prop_assert!((run.as_of.millis() - instant.millis()).abs() < 60_000);
            }
        }
    }

    #[test]
    fn the_next_slot_is_the_one_that_becomes_due(zone in zones(), minutes in 0i64..60_000_000) {
        let schedule = Schedule::new("0 2 * * *", zone).unwrap();
        let now = Timestamp::from_millis(minutes * 60_000);
        let next = next_due(&schedule, now).unwrap();
        prop_assert!(next.at > now);
        let due = due(Last::Since(now), &schedule, next.at).unwrap();
        prop_assert_eq!((due.slot, due.as_of, due.missed), (next.date, next.at, 0));
        prop_assert_eq!(super::due(Last::Since(now), &schedule, next.at.plus_millis(-1)), None);
    }
}
