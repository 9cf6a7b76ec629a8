//! A flow drawn as ribbons between two columns of bars. Pure arithmetic in tenths of a unit; the
//! template holds the markup, the style sheet the colours, and a table says the same.
//!
//! The `charts-rs` crate draws sankeys too, with fixed colours in every element and a font of its
//! own: they could follow neither the page's light and dark nor its type.
//!
//! Ribbons go from 0 to 100 in a box that is stretched to whatever is wide between the names, which
//! keep their size: so one drawing fits a phone and fills a desktop.

/// Height of all customers together: at most this, and less where only a few bars share it.
const TALL: i64 = 2200;
const TALL_PER_BAR: i64 = 400;
use std::collections::{BTreeMap, BTreeSet};

/// A bar's place is never lower than its name.
const LINE: i64 = 170;
const GAP: i64 = 70;
const MARGIN: i64 = 40;

/// A bar of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bar {
    /// Which of the given names.
    pub name: usize,
    pub customers: i64,
    pub y: String,
    pub height: String,
    /// The line that its name stands on.
    pub name_y: String,
}

/// A ribbon from the left to the right, for `d` of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ribbon {
    /// Which of the given flows.
    pub flow: usize,
    pub path: String,
}

/// The drawing, `height` high.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sankey {
    pub height: String,
    pub left: Vec<Bar>,
    pub right: Vec<Bar>,
    pub ribbons: Vec<Ribbon>,
}

/// Draws `flows` of (name on the left, name on the right, customers); names are numbered in the order
/// in which they stand below each other. Empty without customers.
#[must_use]
pub fn sankey(flows: &[(usize, usize, i64)]) -> Sankey {
    let total: i64 = flows.iter().map(|(.., customers)| *customers).sum();
    if total <= 0 {
        return Sankey::default();
    }
    let scale = Scale { total, tall: tall(flows) };
    let left = column(flows.iter().map(|(left, _, customers)| (*left, *customers)), scale);
    let right = column(flows.iter().map(|(_, right, customers)| (*right, *customers)), scale);
    let mut order: Vec<usize> = (0..flows.len()).filter(|index| flows[*index].2 > 0).collect();
    order.sort_by_key(|index| (flows[*index].0, flows[*index].1));
    // Where the next ribbon begins at each bar: first at the left, by its end, then at the right.
    let place = |places: &[Place], name: usize| places.iter().position(|place| place.name == name).unwrap_or_default();
    let mut starts: Vec<i64> = left.places.iter().map(|place| place.top).collect();
    let mut ends: Vec<i64> = right.places.iter().map(|place| place.top).collect();
    let ribbons = order
        .into_iter()
        .map(|flow| {
            let (from, to, customers) = flows[flow];
            let (from, to) = (place(&left.places, from), place(&right.places, to));
            let width = scale.height(customers);
            let path = ribbon(starts[from], ends[to], width);
            starts[from] += width;
            ends[to] += width;
            Ribbon { flow, path }
        })
        .collect();
    Sankey { height: tenths(left.height.max(right.height)), left: left.bars, right: right.bars, ribbons }
}

struct Place {
    name: usize,
    top: i64,
}

struct Column {
    bars: Vec<Bar>,
    places: Vec<Place>,
    height: i64,
}

fn column(parts: impl Iterator<Item = (usize, i64)>, scale: Scale) -> Column {
    let mut sums = BTreeMap::<usize, (i64, i64)>::new();
    for (name, customers) in parts.filter(|(_, customers)| *customers > 0) {
        let sum = sums.entry(name).or_default();
        // The bar is as high as its ribbons, each of which is visible.
        *sum = (sum.0 + customers, sum.1 + scale.height(customers));
    }
    let mut y = MARGIN;
    let mut column = Column { bars: Vec::new(), places: Vec::new(), height: 0 };
    for (name, (customers, height)) in sums {
        let room = height.max(LINE);
        let top = y + (room - height) / 2;
        column.places.push(Place { name, top });
        column.bars.push(Bar { name, customers, y: tenths(top), height: tenths(height), name_y: tenths(y + room / 2) });
        y += room + GAP;
    }
    column.height = y - GAP + MARGIN;
    column
}

/// How high customers are drawn.
#[derive(Debug, Clone, Copy)]
struct Scale {
    total: i64,
    tall: i64,
}

impl Scale {
    /// Never so little that it cannot be seen.
    fn height(self, customers: i64) -> i64 {
        let height = i128::from(customers) * i128::from(self.tall) / i128::from(self.total);
        i64::try_from(height).unwrap_or(self.tall).max(10)
    }
}

fn tall(flows: &[(usize, usize, i64)]) -> i64 {
    let bars = |side: &dyn Fn(&(usize, usize, i64)) -> usize| {
        flows.iter().filter(|flow| flow.2 > 0).map(side).collect::<BTreeSet<_>>().len()
    };
    let most = bars(&|flow| flow.0).max(bars(&|flow| flow.1));
    i64::try_from(most).unwrap_or(TALL).saturating_mul(TALL_PER_BAR).min(TALL)
}

/// Two curves that leave and arrive level, joined at both ends.
fn ribbon(from: i64, to: i64, width: i64) -> String {
    let [a, b, c, d] = [from, to, to + width, from + width].map(tenths);
    format!("M0,{a}C50,{a} 50,{b} 100,{b}V{c}C50,{c} 50,{d} 0,{d}Z")
}

fn tenths(value: i64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> f64 {
        text.parse().unwrap()
    }

    #[test]
    fn bars_hold_their_ribbons_and_never_overlap() {
        // 1,000 to one side, single customers to the other.
        let flows = [(0, 0, 1000), (0, 2, 1), (1, 0, 1), (1, 2, 40), (3, 1, 500)];
        let drawn = sankey(&flows);
        assert_eq!(drawn.ribbons.len(), 5);
        assert_eq!(
            drawn.left.iter().map(|bar| (bar.name, bar.customers)).collect::<Vec<_>>(),
            [(0, 1001), (1, 41), (3, 500)]
        );
        assert_eq!(
            drawn.right.iter().map(|bar| (bar.name, bar.customers)).collect::<Vec<_>>(),
            [(0, 1001), (1, 500), (2, 41)]
        );
        for column in [&drawn.left, &drawn.right] {
            for pair in column.windows(2) {
                assert!(number(&pair[0].y) + number(&pair[0].height) < number(&pair[1].y), "{pair:?}");
                assert!(number(&pair[1].name_y) - number(&pair[0].name_y) >= 17.0, "{pair:?}");
            }
            let last = column.last().unwrap();
            assert!(number(&last.y) + number(&last.height) <= number(&drawn.height));
        }
        // The first ribbon begins at the top of the first bar.
        let [first, second] = [&drawn.ribbons[0], &drawn.ribbons[1]];
        assert_eq!((first.flow, second.flow), (0, 1));
        assert!(first.path.starts_with(&format!("M0,{}C", drawn.left[0].y)), "{}", first.path);
        // A single customer is a ribbon of one unit.
        assert_eq!(drawn.left[1].height, tenths(10 + 40 * 3 * TALL_PER_BAR / 1542));
    }

    #[test]
    fn nobody_is_no_drawing() {
        for none in [&[][..], &[(0, 1, 0)]] {
            assert_eq!(sankey(none), Sankey::default());
        }
        assert_eq!(sankey(&[(0, 0, i64::MAX / 2)]).left[0].height, "40.0");
    }
}
