//! What every number on the pages means. Pure; the texts in [`terms`] are shown on the pages, and the
//! functions below are what they describe.

pub mod terms;

use std::fmt;

use crate::model::{Quintile, Timestamp};

/// With fewer scored customers a quintile is so few people that one order moves somebody.
pub const SMALL_SHOP: i64 = 25;

/// A part of a whole in tenths of a percent, rounded half up. Prints as "18.1 %".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Share(pub i64);

impl Share {
    /// Zero when there is no whole.
    #[must_use]
    pub fn of(part: i64, whole: i64) -> Self {
        if whole <= 0 || part <= 0 {
            return Self(0);
        }
        let tenths = (i128::from(part) * 1000 + i128::from(whole) / 2) / i128::from(whole);
        Self(i64::try_from(tenths).unwrap_or(i64::MAX))
    }

    /// The nearest whole percent: "45 %".
    #[must_use]
    pub fn rounded(self) -> String {
        format!("{}\u{a0}%", (self.0 + 5) / 10)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}\u{a0}%", self.0 / 10, self.0 % 10)
    }
}

/// One row of `run_moves`. An empty name stands for no segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub old: String,
    pub new: String,
    pub customers: i64,
}

/// Which way a customer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Up,
    Down,
    /// Between segments of one level, or whose order is not known any more (the rules were changed).
    Sideways,
    /// Scored for the first time.
    New,
    /// Has no counted order any more.
    Left,
    /// Stayed.
    None,
}

/// The direction of a move; `level` gives 0 for the best segment.
pub fn direction(old: &str, new: &str, level: impl Fn(&str) -> Option<usize>) -> Direction {
    match (old, new) {
        _ if old == new => Direction::None,
        ("", _) => Direction::New,
        (_, "") => Direction::Left,
        _ => match (level(old), level(new)) {
            (Some(old), Some(new)) if new < old => Direction::Up,
            (Some(old), Some(new)) if new > old => Direction::Down,
            _ => Direction::Sideways,
        },
    }
}

/// How many customers a run moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Another segment than before: up, down and sideways.
    pub total: i64,
    pub up: i64,
    pub down: i64,
    pub new: i64,
    pub left: i64,
}

impl Moved {
    /// Who moved neither up nor down.
    pub const fn aside(&self) -> i64 {
        self.total - self.up - self.down
    }
}

/// Adds up the moves of a run.
pub fn moved(moves: &[Move], level: impl Fn(&str) -> Option<usize>) -> Moved {
    let mut sum = Moved::default();
    for step in moves {
        let counter = match direction(&step.old, &step.new, &level) {
            Direction::None => continue,
            Direction::New => &mut sum.new,
            Direction::Left => &mut sum.left,
            direction => {
                sum.total += step.customers;
                match direction {
                    Direction::Up => &mut sum.up,
                    Direction::Down => &mut sum.down,
                    _ => continue,
                }
            }
        };
        *counter += step.customers;
    }
    sum
}

/// Whole days from `at` until `now`; never negative.
#[must_use]
pub fn days_between(at: Timestamp, now: Timestamp) -> i64 {
    (now.millis().saturating_sub(at.millis()) / Timestamp::DAY).max(0)
}

/// One row of `run_quintiles`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    pub quintile: u8,
    pub customers: i64,
    pub lowest: i64,
    pub highest: i64,
}

/// Where a quintile stands among all customers, from the real counts: "top 20 %", "middle 20 %",
/// "bottom 41 %". Equal values stay together, so a fifth may hold more or less than 20 %.
#[must_use]
pub fn standing(quintile: Quintile, cuts: &[Cut]) -> String {
    let count = |wanted: &dyn Fn(u8) -> bool| -> i64 {
        cuts.iter().filter(|cut| wanted(cut.quintile)).map(|cut| cut.customers).sum()
    };
    let (own, all) = (quintile.get(), count(&|_| true));
    let (word, part) = match own {
        4.. => ("top", count(&|q| q >= own)),
        3 => ("middle", count(&|q| q == own)),
        _ => ("bottom", count(&|q| q <= own)),
    };
    if part == all { "like everybody".to_owned() } else { format!("{word} {}", Share::of(part, all).rounded()) }
}

/// The next better quintile and the smallest value that belongs to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextUp {
    pub quintile: u8,
    pub lowest: i64,
}

/// What it takes to leave `quintile` upwards, by the cut values of the last run. `None` at the top.
/// Quintiles that nobody is in (equal values stay together) are skipped.
#[must_use]
pub fn next_up(quintile: u8, cuts: &[Cut]) -> Option<NextUp> {
    cuts.iter()
        .filter(|cut| cut.quintile > quintile && cut.customers > 0)
        .min_by_key(|cut| cut.quintile)
        .map(|cut| NextUp { quintile: cut.quintile, lowest: cut.lowest })
}

/// The quintile that `value` would have had in the last run.
#[must_use]
pub fn quintile_of(value: i64, cuts: &[Cut]) -> u8 {
    cuts.iter().filter(|cut| cut.customers > 0 && cut.lowest <= value).map(|cut| cut.quintile).max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(name: &str) -> Option<usize> {
        ["champion", "loyal", "lost"].iter().position(|known| *known == name)
    }

    fn step(old: &str, new: &str, customers: i64) -> Move {
        Move { old: old.to_owned(), new: new.to_owned(), customers }
    }

    fn cut(quintile: u8, customers: i64, lowest: i64, highest: i64) -> Cut {
        Cut { quintile, customers, lowest, highest }
    }

    #[test]
    fn shares_have_one_decimal_and_no_surprises() {
        for (part, whole, text, rounded) in [
            (763, 4212, "18.1\u{a0}%", "18\u{a0}%"),
            (1, 3, "33.3\u{a0}%", "33\u{a0}%"),
            (2, 3, "66.7\u{a0}%", "67\u{a0}%"),
            (0, 10, "0.0\u{a0}%", "0\u{a0}%"),
            (10, 10, "100.0\u{a0}%", "100\u{a0}%"),
            (5, 0, "0.0\u{a0}%", "0\u{a0}%"),
            (i64::MAX, i64::MAX, "100.0\u{a0}%", "100\u{a0}%"),
        ] {
            let share = Share::of(part, whole);
            assert_eq!((share.to_string().as_str(), share.rounded().as_str()), (text, rounded), "{part} of {whole}");
        }
    }

    #[test]
    fn directions_follow_the_rank() {
        for (old, new, expected) in [
            ("loyal", "champion", Direction::Up),
            ("champion", "lost", Direction::Down),
            ("", "lost", Direction::New),
            ("lost", "", Direction::Left),
            ("lost", "lost", Direction::None),
            ("retired_name", "lost", Direction::Sideways),
        ] {
            assert_eq!(direction(old, new, rank), expected, "{old} to {new}");
        }
    }

    #[test]
    fn first_time_scored_are_new_not_moved() {
        let moves = [
            step("loyal", "champion", 31),
            step("champion", "lost", 15),
            step("lost", "lost", 1000),
            step("", "loyal", 7),
            step("lost", "", 2),
            step("old_rule", "lost", 3),
        ];
        assert_eq!(moved(&moves, rank), Moved { total: 49, up: 31, down: 15, new: 7, left: 2 });
        assert_eq!(moved(&[], rank), Moved::default());
    }

    #[test]
    fn days_are_whole_and_never_negative() {
        let day = |days: i64, more: i64| Timestamp::from_millis(days * Timestamp::DAY + more);
        assert_eq!(days_between(day(0, 0), day(12, 5)), 12);
        assert_eq!(days_between(day(0, 1), day(12, 0)), 11);
        assert_eq!(days_between(day(5, 0), day(1, 0)), 0);
    }

    #[test]
    fn standing_uses_real_counts() {
        let even = [cut(1, 20, 1, 1), cut(2, 20, 1, 2), cut(3, 20, 2, 3), cut(4, 20, 3, 5), cut(5, 20, 6, 30)];
        let words = |q, cuts: &[Cut]| standing(Quintile::new(q).unwrap(), cuts);
        assert_eq!(words(5, &even), "top 20\u{a0}%");
        assert_eq!(words(4, &even), "top 40\u{a0}%");
        assert_eq!(words(3, &even), "middle 20\u{a0}%");
        assert_eq!(words(2, &even), "bottom 40\u{a0}%");
        assert_eq!(words(1, &even), "bottom 20\u{a0}%");
        let tied = [cut(1, 79, 1, 1), cut(5, 21, 2, 9)];
        assert_eq!(words(1, &tied), "bottom 79\u{a0}%");
        assert_eq!(words(5, &tied), "top 21\u{a0}%");
        assert_eq!(words(1, &[cut(1, 4, 1, 1)]), "like everybody");
    }

    #[test]
    fn the_way_up_skips_empty_quintiles() {
        let cuts = [cut(1, 79, 1, 1), cut(2, 0, 0, 0), cut(4, 11, 2, 3), cut(5, 10, 4, 9)];
        assert_eq!(next_up(1, &cuts), Some(NextUp { quintile: 4, lowest: 2 }));
        assert_eq!(next_up(4, &cuts), Some(NextUp { quintile: 5, lowest: 4 }));
        assert_eq!(next_up(5, &cuts), None);
        assert_eq!(next_up(1, &[]), None);
        for (value, quintile) in [(0, 1), (1, 1), (2, 4), (3, 4), (4, 5), (99, 5)] {
            assert_eq!(quintile_of(value, &cuts), quintile, "{value}");
        }
    }
}
