//! Sizes over time as bands that lie on each other. Pure arithmetic in tenths of a unit; the template
//! holds the markup, the style sheet the colours, and a table says the same.
//!
//! The bands' box is stretched to whatever is wide beside the names, which keep their size: so one
//! drawing fits a phone and fills a desktop.

/// The bands' box is 520 wide, stretched, and 214 high, not stretched.
const WIDE: i64 = 5200;
const TOP: i64 = 60;
const FLOOR: i64 = 2140;
/// Names closer than this would run into each other.
const LINE: i64 = 140;

/// One band, for `points` of a polygon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Band {
    /// Which of the given ones.
    pub index: usize,
    pub points: String,
    /// `None`: nobody is in it at the end, or there is no room for it; the table has it.
    pub name: Option<Name>,
}

/// Where a band's name stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub y: String,
    /// The middle of the band's end, from which a line leads to the name.
    pub from: String,
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
    let ends: Vec<(i64, i64)> =
        (0..sizes.len()).map(|band| (size(band, last), i64::midpoint(y(band, last), y(band + 1, last)))).collect();
    names(&ends)
        .into_iter()
        .enumerate()
        .map(|(band, name)| {
            let point = |band: usize, time: usize| format!("{},{}", tenths(x(time)), tenths(y(band, time)));
            let upper = known.iter().map(|time| point(band, *time));
            let lower = known.iter().rev().map(|time| point(band + 1, *time));
            let points = upper.chain(lower).collect::<Vec<_>>().join(" ");
            Band { index: band, points, name }
        })
        .collect()
}

/// Places names at the ends of bands of (size, middle), top down, each on a line of its own and as near
/// to its band as the others let it. Where there are too many, the smallest bands go without.
fn names(ends: &[(i64, i64)]) -> Vec<Option<Name>> {
    let mut named: Vec<usize> = (0..ends.len()).filter(|band| ends[*band].0 > 0).collect();
    let lines = usize::try_from((FLOOR - TOP) / LINE).unwrap_or(1);
    named.sort_by_key(|band| std::cmp::Reverse(ends[*band].0));
    named.truncate(lines);
    named.sort_unstable();
    let mut places: Vec<i64> = Vec::new();
    for band in &named {
        places.push(ends[*band].1.max(places.last().map_or(TOP + LINE / 2, |above| above + LINE)));
    }
    // What was pushed below the floor pushes back.
    let mut lowest = FLOOR - LINE / 2;
    for place in places.iter_mut().rev() {
        *place = (*place).min(lowest);
        lowest = *place - LINE;
    }
    let mut names = vec![None; ends.len()];
    for (band, place) in named.into_iter().zip(places) {
        names[band] = Some(Name { y: tenths(place), from: tenths(ends[band].1) });
    }
    names
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
        assert_eq!(drawn[0].name, Some(Name { y: "84.0".to_owned(), from: "84.0".to_owned() }));
        assert_eq!(drawn[2].name, None, "nobody is in it");
    }

    #[test]
    fn an_unknown_time_is_crossed() {
        let drawn = bands(&[vec![Some(1), None, Some(1)], vec![Some(500), None, Some(500)]]);
        assert_eq!(drawn[0].points.split(' ').count(), 4);
        for nothing in [&[][..], &[vec![Some(1)]], &[vec![None, Some(1)]], &[vec![Some(0), Some(0)]]] {
            assert_eq!(bands(nothing), []);
        }
    }

    #[test]
    fn names_never_run_into_each_other() {
        let lines = |sizes: &[i64]| -> Vec<f64> {
            let drawn = bands(&sizes.iter().map(|size| vec![Some(*size); 2]).collect::<Vec<_>>());
            drawn.iter().filter_map(|band| band.name.as_ref()).map(|name| name.y.parse().unwrap()).collect()
        };
        for sizes in [&[1, 1, 1, 5000, 1, 1, 1][..], &[5000, 1, 1, 1, 1], &[1, 1, 1, 1, 5000], &[1; 40]] {
            let lines = lines(sizes);
            assert_eq!(lines.len(), sizes.len().min(14));
            assert!(lines.windows(2).all(|pair| pair[1] - pair[0] >= 14.0), "{lines:?}");
            assert!(lines[0] >= 13.0 && lines[lines.len() - 1] <= 207.0, "{lines:?}");
        }
        // Of too many the largest are named.
        let sizes: Vec<i64> = (1..=20).collect();
        assert_eq!(lines(&sizes).len(), 14);
        let drawn = bands(&sizes.iter().map(|size| vec![Some(*size); 2]).collect::<Vec<_>>());
        assert!(drawn[..6].iter().all(|band| band.name.is_none()) && drawn[6].name.is_some());
    }
}
