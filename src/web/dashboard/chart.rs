//! Charts that are layout: bars, spark lines, nights and the shades of the heat map, as numbers
//! for SVG attributes. Pure integer arithmetic in tenths of a unit; the templates hold the markup.

/// Length of a bar as SVG takes it ("40.2%"); the longest of its chart is 100 %. A value above
/// zero is always visible.
#[must_use]
pub fn bar(value: i64, longest: i64) -> String {
    if value <= 0 || longest <= 0 {
        return "0%".to_owned();
    }
    format!("{}%", tenths(scaled(value, longest, 1000).clamp(8, 1000)))
}

/// Shade of a heat-map cell, 0 (nothing or hardly anything) to 5 (near the fullest cell).
#[must_use]
pub fn shade(value: i64, fullest: i64) -> i64 {
    if value <= 0 || fullest <= 0 { 0 } else { scaled(value, fullest, 6).clamp(0, 5) }
}

/// A line in a box of 72 × 22, with a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spark {
    /// `points` of a polyline; empty when there are fewer than two values.
    pub points: String,
    pub x: String,
    pub y: String,
}

/// Draws values at equal steps in time, oldest first. A missing value is a gap that the line
/// crosses straight.
#[must_use]
pub fn spark(values: &[Option<i64>]) -> Spark {
    let known: Vec<i64> = values.iter().flatten().copied().collect();
    let (Some(low), Some(high), true) = (known.iter().min(), known.iter().max(), known.len() > 1) else {
        return Spark::default();
    };
    let steps = i64::try_from(values.len() - 1).unwrap_or(1);
    let points: Vec<(String, String)> = (0i64..)
        .zip(values)
        .filter_map(|(index, value)| {
            let x = 20 + 660 * index / steps;
            let y = if low == high { 110 } else { 180 - scaled(value.as_ref()? - low, high - low, 140) };
            value.map(|_| (tenths(x), tenths(y)))
        })
        .collect();
    let (x, y) = points.last().cloned().unwrap_or_default();
    let points = points.iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ");
    Spark { points, x, y }
}

/// One column of a bar chart of 280 × 58: finished deliveries, and under them those that need
/// somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub x: i64,
    pub good: Option<Block>,
    pub open: Option<Block>,
    pub bad: Option<Block>,
}

/// A part of a column: where it starts and how high it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub y: String,
    pub height: String,
}

/// Stacks (good, open, bad) per night; bad stands at the foot and is never thinner than 3.
#[must_use]
pub fn columns(nights: &[[i64; 3]]) -> Vec<Column> {
    const FLOOR: i64 = 560;
    const TALLEST: i64 = 520;
    let highest = nights.iter().map(|parts| parts.iter().sum::<i64>()).max().unwrap_or(0);
    let block = |value: i64, floor: &mut i64| {
        (value > 0).then(|| {
            let height = scaled(value, highest, TALLEST).clamp(30, TALLEST);
            *floor -= height;
            Block { y: tenths(*floor), height: tenths(height) }
        })
    };
    (0i64..)
        .zip(nights)
        .map(|(index, [good, open, bad])| {
            let mut floor = FLOOR;
            let bad = block(*bad, &mut floor);
            let open = block(*open, &mut floor);
            // What must be seen may have taken more than its share; the rest gives way.
            let height = scaled(*good, highest, TALLEST).clamp(10, (floor - 40).max(10));
            let good = (*good > 0).then(|| Block { y: tenths(floor - height), height: tenths(height) });
            Column { x: index * 20 + 1, good, open, bad }
        })
        .collect()
}

/// A name as it stands in a drawing, where it cannot go on in a second line.
#[must_use]
pub fn short(name: &str) -> String {
    const LONGEST: usize = 20;
    if name.chars().count() <= LONGEST {
        return name.to_owned();
    }
    name.chars().take(LONGEST - 1).chain(['…']).collect()
}

/// `value / whole * scale`, rounded down; 0 without a whole.
fn scaled(value: i64, whole: i64, scale: i64) -> i64 {
    if whole <= 0 {
        return 0;
    }
    i64::try_from(i128::from(value) * i128::from(scale) / i128::from(whole)).unwrap_or(scale)
}

fn tenths(value: i64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_relative_to_the_longest() {
        for (value, longest, length) in [
            (0, 10, "0%"),
            (-5, 10, "0%"),
            (5, 0, "0%"),
            (402, 1000, "40.2%"),
            (10, 10, "100.0%"),
            (20, 10, "100.0%"),
            (1, 1_000_000, "0.8%"),
            (i64::MAX, i64::MAX, "100.0%"),
        ] {
            assert_eq!(bar(value, longest), length, "{value} of {longest}");
        }
    }

    #[test]
    fn names_in_drawings_are_cut() {
        assert_eq!(short("Potential loyalists"), "Potential loyalists");
        assert_eq!(short("Größte Freunde des Hauses"), "Größte Freunde des …");
    }

    #[test]
    fn shades_reach_from_nothing_to_the_fullest_cell() {
        let shades = [0, 1, 59, 66, 129, 201, 268, 300, 359].map(|value| shade(value, 359));
        assert_eq!(shades, [0, 0, 0, 1, 2, 3, 4, 5, 5]);
        assert_eq!(shade(0, 0), 0);
        assert_eq!(shade(7, 7), 5);
    }

    #[test]
    fn a_spark_line_spans_its_box() {
        let line = spark(&[Some(10), None, Some(30), Some(20)]);
        assert_eq!(line.points, "2.0,18.0 46.0,4.0 68.0,11.0");
        assert_eq!((line.x.as_str(), line.y.as_str()), ("68.0", "11.0"));
        assert_eq!(spark(&[Some(5), Some(5)]).points, "2.0,11.0 68.0,11.0");
        for too_few in [&[][..], &[Some(1)], &[None, Some(1), None]] {
            assert_eq!(spark(too_few), Spark::default());
        }
    }

    #[test]
    fn one_bad_delivery_among_thousands_is_visible() {
        let nights = columns(&[[5000, 0, 1], [0, 0, 0], [2500, 0, 0], [0, 10, 0]]);
        let height = |block: &Option<Block>| block.as_ref().map(|block| block.height.clone());
        assert_eq!(height(&nights[0].bad).as_deref(), Some("3.0"));
        assert_eq!(nights[0].good.as_ref().unwrap().y, "4.0");
        assert_eq!((&nights[1].good, &nights[1].open, &nights[1].bad), (&None, &None, &None));
        assert_eq!(height(&nights[2].good).as_deref(), Some("25.9"));
        assert_eq!(height(&nights[3].open).as_deref(), Some("3.0"));
        assert_eq!(nights.iter().map(|night| night.x).collect::<Vec<_>>(), [1, 21, 41, 61]);
        assert_eq!(columns(&[[0; 3]]).len(), 1);
    }
}
