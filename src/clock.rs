//! The one place that reads the clock. Everything below `serve` and `cli` takes `now` as an
//! argument, so that a test can live through a year without sleeping.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::model::Timestamp;

/// This program is younger than that: a clock that shows less is wrong.
///
/// A constant, though the date of the build would be later: the same source gives the same program, and a
/// test at an injected time passes whenever and wherever it is built. What it is for, a computer that lost
/// its time and starts in 1970 or at the date of its firmware, it finds as well; a clock that is behind by
/// months is found by the latest run. A test below keeps it within a year of the latest release.
pub const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000); // 2026-01-01

/// Where `serve` gets the time from: the system's clock, or a test's own.
#[derive(Clone)]
pub struct Clock {
    read: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    /// When it was made, of the system's clock.
    start: Option<Instant>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self { read: Arc::new(now), start: Some(Instant::now()) }
    }

    /// A clock that answers whatever `read` does, and on which no time passes but what it shows.
    pub fn from_fn(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { read: Arc::new(read), start: None }
    }

    /// The current instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.read)()
    }

    /// How long it has gone, by a clock that nobody can set.
    #[must_use]
    pub fn passed(&self) -> Duration {
        self.start.map_or(Duration::ZERO, |start| start.elapsed())
    }
}

/// The system's clock, now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    chrono::Utc::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dates in headings like `## 1.2.0 (2027-03-05)`.
    fn releases(changelog: &str) -> Vec<Timestamp> {
        let headings = changelog.lines().filter_map(|line| line.strip_prefix("## ")?.strip_suffix(')'));
        let dates = headings.filter_map(|heading| heading.split_once(" ("));
        dates.map(|(_, date)| Timestamp::parse_rfc3339(&format!("{date}T00:00:00Z")).unwrap()).collect()
    }

    /// The latest release is older than the earliest time, or more than a year younger.
    fn is_outdated(changelog: &str) -> bool {
        let year = EARLIEST.millis()..EARLIEST.millis() + 366 * Timestamp::DAY;
        releases(changelog).into_iter().max().is_some_and(|latest| !year.contains(&latest.millis()))
    }

    #[test]
    fn the_earliest_time_is_in_the_year_before_the_latest_release() {
        assert!(!is_outdated(include_str!("../CHANGELOG.md")), "set EARLIEST to a date shortly before the release");

        let of_a_year = |year: i16| format!("# Changelog\n\n## Unreleased\n\n## 1.0.0 ({year}-01-01)\n\nIt (a lot)\n");
        assert!(is_outdated(&of_a_year(1990)) && is_outdated(&of_a_year(2100)));
    }
}
