//! The heat map of the Overview: recency over frequency, each cell a link to its customers.

use rusqlite::Connection;

use super::{
    App, chart,
    definitions::{self, Cut},
    statistics::{self, Cell, Run},
    words,
};
use crate::model::{Money, Timestamp};

pub struct Heat {
    pub by_revenue: bool,
    pub columns: Vec<Head>,
    pub rows: Vec<HeatRow>,
    /// Of the shades: what the emptiest and the fullest cell hold, of those with somebody.
    pub scale: Option<[String; 2]>,
    pub caption: String,
}

pub struct Head {
    pub score: u8,
    pub range: String,
    /// The same to the minute; empty where `range` is exact.
    pub exact: String,
    /// " days", " orders"
    pub unit: &'static str,
    /// The first with a range says the unit for all; the others only aloud.
    pub says_unit: bool,
}

pub struct HeatRow {
    pub head: Head,
    pub cells: Vec<HeatCell>,
}

pub struct HeatCell {
    pub shade: i64,
    pub tone: &'static str,
    pub text: String,
    pub label: String,
    pub title: String,
    /// Empty: nobody is in it.
    pub href: String,
}

/// The map of `run`; the best corner is top right.
pub fn heat(app: &App, connection: &Connection, run: &Run, by_revenue: bool) -> rusqlite::Result<Heat> {
    let cells = statistics::cells(connection, run.id)?;
    let recency = statistics::cuts(connection, run.id, "r")?;
    let frequency = statistics::cuts(connection, run.id, "f")?;
    let value = |cell: &Cell| if by_revenue { cell.revenue.0 } else { cell.customers };
    let sum = |r: u8, f: u8, value: &dyn Fn(&Cell) -> i64| -> i64 {
        cells.iter().filter(|cell| cell.scores[..2] == [r, f]).map(value).sum()
    };
    let pairs = || (1..=5u8).flat_map(|r| (1..=5u8).map(move |f| (r, f)));
    let filled = || pairs().map(|(r, f)| sum(r, f, &value)).filter(|value| *value > 0);
    let fullest = filled().max().unwrap_or(0);
    let mut heads: Vec<Head> = (1..=5u8).rev().map(|r| days_head(app, r, &recency, run.as_of)).collect();
    let mut columns: Vec<Head> = (1..=5u8).map(|f| orders_head(f, &frequency)).collect();
    for heads in [&mut heads, &mut columns] {
        if let Some(first) = heads.iter_mut().find(|head| !head.unit.is_empty()) {
            first.says_unit = true;
        }
    }
    let rows = (1..=5u8)
        .rev()
        .zip(heads)
        .map(|(r, head)| HeatRow {
            head,
            cells: (1..=5u8)
                .map(|f| {
                    let customers = sum(r, f, &|cell| cell.customers);
                    let revenue = Money(sum(r, f, &|cell| cell.revenue.0));
                    heat_cell(app, &cells, [r, f], customers, revenue, by_revenue, fullest)
                })
                .collect(),
        })
        .collect();
    let scale = filled().min().map(|least| scale(app, least, fullest, by_revenue));
    Ok(Heat { by_revenue, columns, rows, scale, caption: caption(run, &recency) })
}

fn heat_cell(
    app: &App,
    cells: &[Cell],
    [r, f]: [u8; 2],
    customers: i64,
    revenue: Money,
    by_revenue: bool,
    fullest: i64,
) -> HeatCell {
    // The segment that most of the cell's customers are in; m decides among several.
    let mut per_segment: Vec<(&str, i64)> = Vec::new();
    for cell in cells.iter().filter(|cell| cell.scores[..2] == [r, f]) {
        let Some(segment) = app.names.of(cell.scores) else { continue };
        match per_segment.iter_mut().find(|(name, _)| *name == segment) {
            Some((_, sum)) => *sum += cell.customers,
            None => per_segment.push((segment, cell.customers)),
        }
    }
    per_segment.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    let labels: Vec<String> = per_segment.iter().map(|(name, _)| app.names.label(name)).collect();
    let title = labels.join(", ");
    let currency = app.config.shop.currency;
    let (text, shade) = if by_revenue {
        (words::money_short(revenue, currency), chart::shade(revenue.0, fullest))
    } else {
        (words::count(customers), chart::shade(customers, fullest))
    };
    let amount = if by_revenue {
        format!("{text} from {}", words::counted(customers, "customer", "customers"))
    } else {
        words::counted(customers, "customer", "customers")
    };
    HeatCell {
        shade,
        tone: per_segment.first().map_or("d", |(name, _)| app.names.tone(name)),
        text: if customers == 0 { "–".to_owned() } else { text },
        label: format!("{amount}, recency {r}, frequency {f}, {title}"),
        title,
        href: if customers == 0 { String::new() } else { format!("/customers?r={r}&f={f}") },
    }
}

/// "3" to "412 customers", "€120" to "€45k of revenue"
fn scale(app: &App, least: i64, most: i64, by_revenue: bool) -> [String; 2] {
    if by_revenue {
        let money = |amount| words::money_short(Money(amount), app.config.shop.currency);
        [money(least), format!("{} of revenue", money(most))]
    } else {
        [words::count(least), words::counted(most, "customer", "customers")]
    }
}

fn caption(run: &Run, recency: &[Cut]) -> String {
    let ties = if run.ties == "split" {
        "Each row and each column holds a fifth of your customers. Equal ones are parted by their id, so a value can stand at the ends of two."
    } else if meet_on_a_day(recency, run.as_of) {
        "Rows and columns are fifths of your customers; equal ones stay together, and the hour parts rows that meet on a day."
    } else {
        "Rows and columns are fifths of your customers, except that equal ones stay together."
    };
    format!("{ties} Select a cell to see them.")
}

/// Whether the last orders of two neighbouring quintiles lie on one day, though at different times.
pub fn meet_on_a_day(cuts: &[Cut], as_of: Timestamp) -> bool {
    let days = |at: i64| definitions::days_between(Timestamp::from_millis(at), as_of);
    let filled: Vec<&Cut> = cuts.iter().filter(|cut| cut.customers > 0).collect();
    filled.windows(2).any(|pair| days(pair[0].highest) == days(pair[1].lowest))
}

/// "0–21 days": from the newest to the oldest last order inside the quintile.
fn days_head(app: &App, score: u8, cuts: &[Cut], as_of: Timestamp) -> Head {
    let days = |at: i64| definitions::days_between(Timestamp::from_millis(at), as_of);
    let moment = |at: i64| words::moment(Timestamp::from_millis(at), app.config.shop.timezone);
    let head = head(score, cuts, |cut| (days(cut.highest), days(cut.lowest)), [" day", " days"]);
    let cut = cuts.iter().find(|cut| cut.quintile == score && cut.customers > 0);
    Head {
        exact: cut
            .map_or_else(String::new, |cut| format!("last order {} to {}", moment(cut.lowest), moment(cut.highest))),
        ..head
    }
}

/// "3–5 orders"
fn orders_head(score: u8, cuts: &[Cut]) -> Head {
    head(score, cuts, |cut| (cut.lowest, cut.highest), [" order", " orders"])
}

fn head(score: u8, cuts: &[Cut], ends: impl Fn(&Cut) -> (i64, i64), [one, many]: [&'static str; 2]) -> Head {
    let (range, unit) = match cuts.iter().find(|cut| cut.quintile == score && cut.customers > 0).map(ends) {
        None => ("nobody".to_owned(), ""),
        Some((from, to)) if from == to => (words::count(from), if from == 1 { one } else { many }),
        Some((from, to)) => (format!("{}–{}", words::count(from), words::count(to)), many),
    };
    Head { score, range, exact: String::new(), unit, says_unit: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_meet_on_a_day_are_told_from_those_that_do_not() {
        const DAY: i64 = Timestamp::DAY;
        let as_of = Timestamp::from_millis(100 * DAY);
        let cut = |quintile, customers, lowest, highest| Cut { quintile, customers, lowest, highest };
        // 49 days and 2 hours, 49 days and 1 hour.
        let hour = DAY / 24;
        let meeting = [cut(4, 5, 10 * DAY, 51 * DAY - 2 * hour), cut(5, 5, 51 * DAY - hour, 99 * DAY)];
        assert!(meet_on_a_day(&meeting, as_of));
        let apart = [cut(4, 5, 10 * DAY, 49 * DAY), cut(5, 5, 51 * DAY, 99 * DAY)];
        assert!(!meet_on_a_day(&apart, as_of));
        // Nobody is between them, so they are neighbours.
        let around_nobody = [meeting[0], cut(5, 0, 0, 0), meeting[1]];
        assert!(meet_on_a_day(&around_nobody, as_of));
        assert!(!meet_on_a_day(&[], as_of));
    }
}
