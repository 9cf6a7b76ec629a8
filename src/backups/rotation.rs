//! Which backups are kept. Pure.

use std::collections::BTreeSet;

use chrono::Datelike;

use super::Kept;

/// Those of `kept`, newest first, that are neither the newest of one of the last `daily` days that have
/// any, nor the newest of one of the last `weekly` weeks (Monday to Sunday, UTC). The newest is never
/// among them, and days without a backup push nothing out.
pub fn expired(kept: &[Kept], daily: usize, weekly: usize) -> Vec<&Kept> {
    let (mut days, mut weeks) = (BTreeSet::new(), BTreeSet::new());
    let mut is_over = |kept: &Kept| {
        let date = kept.taken_at.to_utc().date_naive();
        let of_day = days.len() < daily.max(1) && days.insert(date);
        let of_week = weeks.len() < weekly && weeks.insert((date.iso_week().year(), date.iso_week().week()));
        !of_day && !of_week
    };
    kept.iter().filter(|kept| is_over(kept)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn at(text: &str) -> Kept {
        Kept { path: text.into(), taken_at: Timestamp::parse_rfc3339(text).unwrap(), bytes: 1 }
    }

    /// What stands in the folder after each of so many nights.
    fn nights(count: i64, daily: usize, weekly: usize) -> Vec<Kept> {
        let first = Timestamp::parse_rfc3339("2026-09-01T02:00:00Z").unwrap();
        let mut folder: Vec<Kept> = Vec::new();
        for night in 0..count {
            let taken_at = first.plus_millis(night * Timestamp::DAY);
            folder.insert(0, Kept { path: taken_at.to_string().into(), taken_at, bytes: 1 });
            let gone: Vec<Kept> = expired(&folder, daily, weekly).into_iter().cloned().collect();
            folder.retain(|kept| !gone.contains(kept));
        }
        folder
    }

    fn days(folder: &[Kept]) -> Vec<String> {
        folder.iter().map(|kept| kept.taken_at.to_utc().format("%d.%m.").to_string()).collect()
    }

    #[test]
    fn seven_days_and_four_weeks_are_kept() {
        // 30 September 2026 is a Wednesday; the weeks before ended on the 27th, 20th and 13th.
        let folder = nights(30, 7, 4);
        assert_eq!(
            days(&folder),
            ["30.09.", "29.09.", "28.09.", "27.09.", "26.09.", "25.09.", "24.09.", "20.09.", "13.09."]
        );
        assert_eq!(nights(365, 7, 4).len(), 9);
        assert_eq!(days(&nights(30, 3, 0)), ["30.09.", "29.09.", "28.09."]);
        assert_eq!(nights(30, 0, 0).len(), 1, "never all of them");
    }

    #[test]
    fn of_one_day_the_newest_stays() {
        let folder = [at("2026-09-02T09:00:00Z"), at("2026-09-02T02:00:00Z"), at("2026-08-01T02:00:00Z")];
        let gone: Vec<_> = expired(&folder, 7, 4).iter().map(|kept| kept.path.display().to_string()).collect();
        assert_eq!(gone, ["2026-09-02T02:00:00Z"], "a month without any pushes nothing out");
    }
}
