//! Statistics of past weeks, so that a new shop has its trends on the first day.

use rusqlite::Connection;

use super::{Progress, Request, Settings, Silent, Step, Summary, Trigger, night::Schedule, run};
use crate::{clock::Clock, db::Database, model::Timestamp};

/// What a backfill did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfilled {
    /// One run per week that had none, the oldest first.
    pub runs: Vec<Summary>,
    /// Weeks that have a run already, or lie before the first order.
    pub skipped: u32,
}

/// Half a week, in milliseconds: a run within it stands for the week.
const NEAR: i64 = 7 * Timestamp::DAY / 2;

/// Writes the statistics of the last `weeks` weeks, each as of the nightly hour `schedule` says.
/// Changes no customer and writes no event. Weeks that have a run are skipped, so doing it twice
/// changes nothing.
///
/// # Errors
/// As [`run`]; weeks before the failure are kept.
pub fn backfill(
    db: &Database,
    settings: &Settings,
    schedule: &Schedule,
    weeks: u32,
    clock: &Clock,
    progress: &dyn Progress,
) -> anyhow::Result<Backfilled> {
    let mut done = Backfilled { runs: Vec::new(), skipped: 0 };
    progress.begin(Step::Rank, weeks.into());
    for (index, as_of) in weeks_back(schedule, weeks, clock.now()).into_iter().enumerate() {
        if is_wanted(&*db.readers().get()?, as_of)? {
            let request = Request { trigger: Trigger::Backfill, slot: None, as_of, missed: 0 };
            done.runs.push(run(db, settings, request, clock, &Silent)?);
        } else {
            done.skipped += 1;
        }
        progress.advance(index as u64 + 1);
    }
    Ok(done)
}

/// The nightly hour on the same weekday of each of the last `weeks` weeks, the oldest first.
fn weeks_back(schedule: &Schedule, weeks: u32, now: Timestamp) -> Vec<Timestamp> {
    let Some(latest) = schedule.latest(now) else { return Vec::new() };
    let wall = schedule.wall(latest.at);
    (1..=weeks)
        .rev()
        .filter_map(|week| Some(schedule.instant(wall.checked_sub_days(chrono::Days::new(u64::from(week) * 7))?)))
        .collect()
}

/// Whether there were orders by then, and no run is near.
fn is_wanted(connection: &Connection, as_of: Timestamp) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM customers WHERE first_order_at <= ?1)
           AND NOT EXISTS (SELECT 1 FROM runs WHERE scored_at IS NOT NULL AND as_of > ?1 - ?2 AND as_of < ?1 + ?2)",
        (as_of, NEAR),
        |row| row.get(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_keep_their_hour_on_the_wall() {
        let schedule = Schedule::new("0 2 * * *", "Europe/Berlin".parse().unwrap()).unwrap();
        let now = Timestamp::parse_rfc3339("2026-11-05T09:00:00+01:00").unwrap();
        let weeks: Vec<String> = weeks_back(&schedule, 3, now).iter().map(ToString::to_string).collect();
        // The clocks went back on 25 October.
        assert_eq!(weeks, ["2026-10-15T00:00:00Z", "2026-10-22T00:00:00Z", "2026-10-29T01:00:00Z"]);
    }
}
