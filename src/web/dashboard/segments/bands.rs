//! Sizes over time as bands that lie on each other. Pure arithmetic in tenths of a unit; the template
//! holds the markup, the style sheet the colours, and a table says the same.

/// The drawing's box is 660 × 220; bands end at 520, their labels stand behind.
const WIDE: i64 = 5200;
const TOP: i64 = 60;
const FLOOR: i64 = 2140;
/// Labels closer than this would run into each other.
const LABEL: i64 = 130;

/// One band, for `points` of a polygon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Band {
    /// Which of the given ones.
    pub index: usize,
    pub points: String,
    /// Where its label stands; `None`: no room, the table has it.
    pub label_y: Option<String>,
}

/// Draws one list of sizes per band, the first on top, oldest size first, at equal steps of time.
/// `None` is a time nothing is known of: bands cross it straight. Empty with fewer than two times.
#[must_use]
pub fn bands(sizes: &[Vec<Option<i64>>]) -> Vec<Band> {
    let times = sizes.iter().map(Vec::len).min().unwrap_or(0);
    let known: Vec<usize> = (0..times).filter(|time| sizes.iter().all(|sizes| sizes[*time].is_some())).collect();
    let size = |band: usize, time: usize| sizes[band][time].unwrap_or(0).max(0);
    let total = |time: usize| (0..sizes.len()).map(|band| size(band, time)).sum::<i64>();
    let highest = known.iter().map(|time| total(*time)).max().unwrap_or(0);
    if known.len() < 2 || highest == 0 {
        return Vec::new();
    }
    let x = |time: usize| position(time, times - 1, WIDE);
    // How high the bands below `band` reach.
    let y = |band: usize, time: usize| {
        let below: i64 = (band..sizes.len()).map(|band| size(band, time)).sum();
        FLOOR - scaled(below, highest, FLOOR - TOP)
    };
    let last = known[known.len() - 1];
    let mut label_end = i64::MIN / 2;
    (0..sizes.len())
        .map(|band| {
            let point = |band: usize, time: usize| format!("{},{}", tenths(x(time)), tenths(y(band, time)));
            let upper = known.iter().map(|time| point(band, *time));
            let lower = known.iter().rev().map(|time| point(band + 1, *time));
            let points = upper.chain(lower).collect::<Vec<_>>().join(" ");
            let middle = i64::midpoint(y(band, last), y(band + 1, last));
            let fits = size(band, last) > 0 && middle - label_end >= LABEL;
            if fits {
                label_end = middle;
            }
            Band { index: band, points, label_y: fits.then(|| tenths(middle + 40)) }
        })
        .collect()
}

fn position(index: usize, last: usize, width: i64) -> i64 {
    let [index, last] = [index, last.max(1)].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    scaled(index, last, width)
}

fn scaled(value: i64, whole: i64, scale: i64) -> i64 {
    i64::try_from(i128::from(value) * i128::from(scale) / i128::from(whole.max(1))).unwrap_or(scale)
}

fn tenths(value: i64) -> String {
    format!("{}.{}", value / 10, value % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_lie_on_each_other() {
        let drawn = bands(&[vec![Some(10), Some(30)], vec![Some(10), Some(10)], vec![Some(0), Some(0)]]);
        assert_eq!(drawn[0].points, "0.0,110.0 520.0,6.0 520.0,162.0 0.0,162.0");
        assert_eq!(drawn[1].points, "0.0,162.0 520.0,162.0 520.0,214.0 0.0,214.0");
        assert_eq!(drawn[0].label_y.as_deref(), Some("88.0"));
        assert_eq!(drawn[2].label_y, None, "nobody is in it");
    }

    #[test]
    fn an_unknown_time_is_crossed_and_thin_bands_have_no_label() {
        let drawn =
            bands(&[vec![Some(1), None, Some(1)], vec![Some(1), None, Some(1)], vec![Some(500), None, Some(500)]]);
        assert_eq!(drawn[0].points.split(' ').count(), 4);
        assert!(drawn[0].label_y.is_some());
        assert_eq!(drawn[1].label_y, None);
        for nothing in [&[][..], &[vec![Some(1)]], &[vec![None, Some(1)]], &[vec![Some(0), Some(0)]]] {
            assert_eq!(bands(nothing), []);
        }
    }
}
