//! Where the fifths of a large shop end, found by counting instead of sorting.
//!
//! `NTILE(5)` over n rows in order puts the first of the rows `n/5` (one more in the first
//! `n mod 5` fifths) into fifth 1, and so on. So the score of a customer follows from four cut
//! values per dimension: those of the last row of each fifth but the best. Window functions sort
//! and store every row to find these twelve rows, which at 1,000,000 customers takes three
//! seconds; counting how many customers fall into each of some thousand ranges, and then looking
//! again inside the ranges that hold a cut, takes two passes of a tenth of a second, and no memory
//! that grows with the customers.
//!
//! That this gives what `score.sql` defines is a property test over random shops.

use rusqlite::Connection;

use super::{
    Ties,
    sql::{Parameters, Part},
    standing::Standings,
};

/// Octaves are divided into this many ranges, as a power of two: values below 65,536 (cents, a
/// minute in milliseconds) have a range of their own, larger ones one of 0.003 % of the value.
const PRECISION: u32 = 16;
/// Ranges of one count; the highest bit of an i64 is its sign.
const RANGES: usize = (65 - PRECISION as usize) << (PRECISION - 1);
/// A later look divides each range by this much at most.
const LOOK: u64 = 1 << 20;

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
    /// Reads the values of everyone ranked, as often as it takes to know every cut exactly: twice
    /// for real shops. The connection must be in a read transaction. `None`: nobody is ranked.
    pub fn find(connection: &Connection, parameters: &Parameters) -> rusqlite::Result<Option<Self>> {
        let mut counts: [Vec<u32>; 3] = std::array::from_fn(|_| vec![0; RANGES]);
        let mut customers = 0;
        for_each(connection, parameters, false, |keys| {
            customers += 1;
            for (count, key) in counts.iter_mut().zip(keys) {
                count[range_of(key)] += 1;
            }
        })?;
        if customers == 0 {
            return Ok(None);
        }
        let mut searches: [[Search; 4]; 3] = std::array::from_fn(|dimension| {
            std::array::from_fn(|fifth| {
                let place = last_place(customers, fifth as u64 + 1);
                // Recency counts back from the newest order; see `for_each`.
                let place = if dimension == 0 { customers + 1 - place } else { place };
                Search::first(place, &counts[dimension])
            })
        });
        drop(counts);
        while searches.iter().flatten().any(Search::is_open) {
            look_again(connection, parameters, &mut searches)?;
        }
        let [recency, frequency, monetary] = searches;
        Ok(Some(Self([
            recency.map(|search| search.cut_of_recency(parameters)),
            frequency.map(|search| search.cut()),
            monetary.map(|search| search.cut()),
        ])))
    }
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

/// The place of the last row of the first `fifth` fifths, counted from 1.
fn last_place(rows: u64, fifth: u64) -> u64 {
    fifth * (rows / 5) + fifth.min(rows % 5)
}

/// Calls `each` with the keys of everyone ranked. Keys are never negative. For frequency and money
/// they are the values; for recency they are the time since, which keeps fine what is recent.
/// `recency_only`: the other keys are not read.
fn for_each(
    connection: &Connection,
    parameters: &Parameters,
    recency_only: bool,
    mut each: impl FnMut([u64; 3]),
) -> rusqlite::Result<()> {
    let mut statement = parameters.prepare(connection, Part::Values)?;
    let mut rows = statement.raw_query();
    let mut standings = Standings::prepare(connection, parameters)?;
    while let Some(row) = rows.next()? {
        let (recency, frequency, monetary) = if recency_only {
            (standings.recency(row)?, 0, 0)
        } else {
            let standing = standings.read(row)?;
            (standing.recency, standing.frequency, standing.monetary)
        };
        let since = match recency {
            Some(at) => key(parameters.as_of.millis().saturating_sub(at)),
            None if parameters.include_without_orders => key(i64::MAX),
            None => continue,
        };
        each([since, key(frequency), key(monetary)]);
    }
    Ok(())
}

/// Counters are never negative; should one be, it counts as zero.
fn key(value: i64) -> u64 {
    value.max(0).unsigned_abs()
}

fn recency_of(since: u64, parameters: &Parameters) -> i64 {
    match i64::try_from(since) {
        Ok(since) if since < i64::MAX => parameters.as_of.millis() - since,
        _ => NEVER,
    }
}

/// The range of a key: the key itself while it is small, else its highest [`PRECISION`] bits.
#[expect(clippy::cast_possible_truncation, reason = "at most PRECISION bits are left")]
const fn range_of(key: u64) -> usize {
    let shift = (64 - PRECISION).saturating_sub(key.leading_zeros());
    ((shift as usize) << (PRECISION - 1)) + (key >> shift) as usize
}

/// The lowest key of a range, and how many keys it spans.
const fn bounds(range: usize) -> (u64, u64) {
    let half = 1 << (PRECISION - 1);
    let shift = (range / half).saturating_sub(1);
    (((range - shift * half) as u64) << shift, 1 << shift)
}

/// The search for the row at one place: a range of keys that holds it, narrowed look by look.
#[derive(Debug, Clone, Copy)]
struct Search {
    /// Which row, counted from 1 in the order of keys.
    place: u64,
    low: u64,
    width: u64,
    /// Rows whose key is below the range, and in it.
    below: u64,
    rows: u64,
}

impl Search {
    fn first(place: u64, counts: &[u32]) -> Self {
        let (range, below) = find(place, counts);
        let (low, width) = bounds(range);
        Self { place, low, width, below, rows: counts[range].into() }
    }

    /// Its range spans more than one key.
    const fn is_open(&self) -> bool {
        self.width > 1
    }

    /// Keys per part when the range is looked at again.
    const fn step(&self) -> u64 {
        self.width.div_ceil(LOOK)
    }

    fn narrow(&mut self, counts: &[u32]) {
        let (part, below) = find(self.place - self.below, counts);
        let step = self.step();
        self.low += part as u64 * step;
        self.width = step;
        self.below += below;
        self.rows = counts[part].into();
    }

    const fn cut(&self) -> Cut {
        Cut { value: self.low.cast_signed(), equals: self.place - self.below }
    }

    /// Recency is counted from the newest, so what is left of the equals is on the other side.
    fn cut_of_recency(&self, parameters: &Parameters) -> Cut {
        Cut { value: recency_of(self.low, parameters), equals: self.below + self.rows - self.place + 1 }
    }
}

/// The index of the count that holds the row at `place`, and the rows before it.
fn find(place: u64, counts: &[u32]) -> (usize, u64) {
    let mut below = 0;
    for (index, count) in counts.iter().enumerate() {
        if below + u64::from(*count) >= place {
            return (index, below);
        }
        below += u64::from(*count);
    }
    unreachable!("every place is counted: the look reads the same snapshot")
}

/// Narrows every open search by one more pass over the values.
fn look_again(
    connection: &Connection,
    parameters: &Parameters,
    searches: &mut [[Search; 4]; 3],
) -> rusqlite::Result<()> {
    let mut open: Vec<(usize, usize, Vec<u32>)> = Vec::new();
    for (dimension, fifths) in searches.iter().enumerate() {
        for (fifth, search) in fifths.iter().enumerate().filter(|(_, search)| search.is_open()) {
            let parts = usize::try_from(search.width.div_ceil(search.step())).unwrap_or(usize::MAX);
            open.push((dimension, fifth, vec![0; parts]));
        }
    }
    // Amounts and counts are mostly small enough to be known exactly from the first look.
    let recency_only = open.iter().all(|(dimension, ..)| *dimension == 0);
    for_each(connection, parameters, recency_only, |keys| {
        for (dimension, fifth, counts) in &mut open {
            let search = &searches[*dimension][*fifth];
            let offset = keys[*dimension].wrapping_sub(search.low);
            if offset < search.width {
                counts[usize::try_from(offset / search.step()).unwrap_or(usize::MAX)] += 1;
            }
        }
    })?;
    for (dimension, fifth, counts) in open {
        searches[dimension][fifth].narrow(&counts);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_cover_all_keys_in_order(key in 0u64..1 << 63, shift in 0u32..63) {
            let key = key >> shift;
            let range = range_of(key);
            let (low, width) = bounds(range);
            prop_assert!(range < RANGES);
            prop_assert!(low <= key && key - low < width);
            if low > 0 {
                let (before, span) = bounds(range - 1);
                prop_assert_eq!(before + span, low);
            }
        }

        #[test]
        fn places_are_those_of_ntile(rows in 1u64..10_000) {
            let places: Vec<u64> = (1..=5).map(|fifth| last_place(rows, fifth)).collect();
            let sizes: Vec<u64> = places.iter().scan(0, |last, place| Some(place - std::mem::replace(last, *place))).collect();
            prop_assert_eq!(places[4], rows);
            prop_assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] - sizes[4] <= 1);
        }
    }

    #[test]
    fn small_keys_are_exact() {
        for key in [0, 1, 99, 65_535] {
            assert_eq!(bounds(range_of(key)), (key, 1));
        }
        assert_eq!(bounds(range_of(65_536)), (65_536, 2));
        assert_eq!(range_of(i64::MAX.unsigned_abs()), RANGES - 1);
    }
}
