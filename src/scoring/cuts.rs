//! Where the fifths of a large shop end, found by picking them instead of sorting.
//!
//! `NTILE(5)` over n rows in order puts the first of the rows `n/5` (one more in the first
//! `n mod 5` fifths) into fifth 1, and so on. So the score of a customer follows from four cut
//! values per dimension: those of the last row of each fifth but the best. Window functions sort
//! and store every row to find these twelve rows, which at 1,000,000 customers takes three
//! seconds. Here the values of everyone are kept and the twelve picked from among them by partial
//! partitions, which takes a tenth of a second in all. They are read twice, recency first and then the
//! other two, so that no more than 12 bytes a customer are kept at a time.
//!
//! That this gives what `score.sql` defines is a property test over random shops.

use rusqlite::Connection;

use super::{
    Ties,
    sql::{Parameters, Part},
    standing::{Standing, Standings},
};

/// The last value of each fifth but the best, per dimension (recency, frequency, monetary).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cuts([[Cut; 4]; 3]);

/// The last row of a fifth, in the order (value, id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cut {
    value: i64,
    /// How many of the customers with exactly this value belong to this fifth or a lower one:
    /// the first so many by id.
    equals: u64,
}

/// Scores customers one after the other, in ascending order of id.
#[derive(Debug, Clone)]
pub struct ByCuts {
    cuts: Cuts,
    ties: Ties,
    /// Customers seen so far whose value is that of the cut.
    seen: [[u64; 4]; 3],
}

/// Recency of a customer without a counted order: before all others.
const NEVER: i64 = i64::MIN;

impl Cuts {
    /// Reads the values of everyone ranked, at most so many `customers`. The connection must be in a read
    /// transaction. `None`: nobody is.
    pub fn find(connection: &Connection, parameters: &Parameters, customers: i64) -> rusqlite::Result<Option<Self>> {
        // All of it before any is given back: the system's allocator keeps what is asked for afterwards.
        let (mut recency, mut frequency, mut monetary) = (room(customers), room(customers), room(customers));
        each_ranked(connection, parameters, |standing| recency.push(standing.recency.unwrap_or(NEVER)))?;
        if recency.is_empty() {
            return Ok(None);
        }
        let last_orders = pick(&mut recency);
        drop(recency);
        each_ranked(connection, parameters, |standing| {
            // Half the room; nobody has four billion orders.
            frequency.push(u32::try_from(standing.frequency).unwrap_or(u32::MAX));
            monetary.push(standing.monetary);
        })?;
        Ok(Some(Self([last_orders, pick(&mut frequency), pick(&mut monetary)])))
    }
}

/// For so many values at once: growing step by step leaves holes behind that what comes later does not fit
/// into. Room that nothing was put into yet takes no memory; where there is none, they grow.
fn room<T>(values: i64) -> Vec<T> {
    let mut room = Vec::new();
    let _ = room.try_reserve_exact(usize::try_from(values).unwrap_or_default());
    room
}

/// Calls `take` with everyone who is ranked.
fn each_ranked(
    connection: &Connection,
    parameters: &Parameters,
    mut take: impl FnMut(&Standing),
) -> rusqlite::Result<()> {
    let mut statement = parameters.prepare(connection, Part::Values)?;
    let mut rows = statement.raw_query();
    let mut standings = Standings::prepare(connection, parameters)?;
    while let Some(row) = rows.next()? {
        let standing = standings.read(row)?;
        if standing.recency.is_some() || parameters.include_without_orders {
            take(&standing);
        }
    }
    Ok(())
}

impl ByCuts {
    pub const fn new(cuts: Cuts, ties: Ties) -> Self {
        Self { cuts, ties, seen: [[0; 4]; 3] }
    }

    /// Scores of the next customer. Must be called for every ranked one, by ascending id.
    pub fn next(&mut self, recency: Option<i64>, frequency: i64, monetary: i64) -> [u8; 3] {
        let values = [recency.unwrap_or(NEVER), frequency, monetary];
        let mut scores = [1; 3];
        for (dimension, value) in values.into_iter().enumerate() {
            for (cut, seen) in self.cuts.0[dimension].iter().zip(&mut self.seen[dimension]) {
                let above = match (value.cmp(&cut.value), self.ties) {
                    (std::cmp::Ordering::Greater, _) => true,
                    (std::cmp::Ordering::Equal, Ties::Split) => {
                        *seen += 1;
                        *seen > cut.equals
                    }
                    _ => false,
                };
                scores[dimension] += u8::from(above);
            }
        }
        if recency.is_none() { [1; 3] } else { scores }
    }
}

/// The last row of each fifth but the best; `values` are put into another order, and are not empty.
fn pick<T: Ord + Copy + Into<i64>>(values: &mut [T]) -> [Cut; 4] {
    let mut start = 0;
    std::array::from_fn(|fifth| {
        let place = last_place(values.len(), fifth + 1);
        // What is below an earlier cut stays there.
        values[start..].select_nth_unstable(place - 1 - start);
        start = place - 1;
        let value = values[start];
        let below = values[..start].iter().filter(|lower| **lower < value).count();
        Cut { value: value.into(), equals: (place - below) as u64 }
    })
}

/// The place of the last row of the first `fifth` fifths, counted from 1.
fn last_place(rows: usize, fifth: usize) -> usize {
    fifth * (rows / 5) + fifth.min(rows % 5)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn places_are_those_of_ntile(rows in 1usize..10_000) {
            let places: Vec<usize> = (1..=5).map(|fifth| last_place(rows, fifth)).collect();
            let sizes: Vec<usize> = places.iter().scan(0, |last, place| Some(place - std::mem::replace(last, *place))).collect();
            prop_assert_eq!(places[4], rows);
            prop_assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] - sizes[4] <= 1);
        }

        #[test]
        fn what_is_picked_stands_at_its_place_when_all_is_sorted(mut values in prop::collection::vec(-3i64..9, 1..60)) {
            let picked = pick(&mut values);
            values.sort_unstable();
            for (fifth, cut) in picked.into_iter().enumerate() {
                let place = last_place(values.len(), fifth + 1);
                prop_assert_eq!(cut.value, values[place - 1]);
                let first = values.iter().position(|value| *value == cut.value).unwrap();
                prop_assert_eq!(cut.equals, (place - first) as u64);
            }
        }
    }
}
