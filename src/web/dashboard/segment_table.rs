//! The rows of the segment table, on the Overview, on the page of all segments and in its file.

use std::collections::HashMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    App,
    chart::{self, Spark},
    definitions::Share,
    order::{Key, Order, down, up},
    statistics::{Run, SegmentCount, Week},
    words,
};
use crate::model::Money;

pub struct SegmentRow {
    pub label: String,
    pub tone: &'static str,
    pub href: String,
    pub definition: String,
    pub customers: String,
    pub share: Share,
    pub revenue: String,
    pub of_revenue: Share,
    /// What a customer of it spent on average; a dash where there is none.
    pub spent: String,
    pub customers_bar: String,
    pub revenue_bar: String,
    /// A dash: there is no run before.
    pub change: String,
    pub spark: Spark,
    pub trend: String,
}

/// The segments of `run`, best first; `earlier` are the counts of the run before.
pub fn rows(
    app: &App,
    weeks: &[Option<Week>],
    run: &Run,
    earlier: Option<&HashMap<String, i64>>,
    segments: &[SegmentCount],
) -> Vec<SegmentRow> {
    let currency = app.config.shop.currency;
    let revenue: i64 = segments.iter().map(|segment| segment.revenue.0).sum();
    let shares =
        |segment: &SegmentCount| (Share::of(segment.customers, run.scored), Share::of(segment.revenue.0, revenue));
    let longest = segments.iter().map(|segment| shares(segment).0.max(shares(segment).1).0).max().unwrap_or(0);
    segments
        .iter()
        .map(|segment| {
            let name = segment.segment.as_str();
            let (share, of_revenue) = shares(segment);
            let history = sizes(weeks, name);
            SegmentRow {
                label: app.names.label(name),
                tone: app.names.tone(name),
                href: href(name),
                definition: app.names.definition(name).to_owned(),
                customers: words::count(segment.customers),
                share,
                revenue: words::money_rounded(segment.revenue, currency),
                of_revenue,
                spent: mean(segment).map_or_else(|| "–".to_owned(), |mean| words::money(mean, currency)),
                customers_bar: chart::bar(share.0, longest),
                revenue_bar: chart::bar(of_revenue.0, longest),
                change: earlier.map_or_else(
                    || "–".to_owned(),
                    |counts| words::signed(segment.customers - counts.get(name).copied().unwrap_or(0)),
                ),
                spark: chart::spark(&history),
                trend: trend(&history),
            }
        })
        .collect()
}

/// What the table can be sorted by; the best segment first is the usual order. A share goes with its number.
pub const KEYS: &[Key] = &[up("rank"), down("customers"), down("revenue"), down("spent"), down("change")];

/// Sorts `segments`, which stand best first; `earlier` are the counts of the run before.
pub fn sort(segments: &mut [SegmentCount], order: Order, earlier: Option<&HashMap<String, i64>>) {
    let change = |segment: &SegmentCount| {
        earlier.map(|counts| segment.customers - counts.get(&segment.segment).copied().unwrap_or(0))
    };
    let value = |segment: &SegmentCount| match order.by() {
        "customers" => Some(segment.customers),
        "revenue" => Some(segment.revenue.0),
        "spent" => mean(segment).map(|mean| mean.0),
        "change" => change(segment),
        _ => None,
    };
    // Equals stay as they are, the better segment first.
    if order.by() == KEYS[0].name {
        if !order.ascending {
            segments.reverse();
        }
    } else if order.ascending {
        segments.sort_by_key(value);
    } else {
        segments.sort_by_key(|segment| std::cmp::Reverse(value(segment)));
    }
}

/// Customers of a segment in each week; `None` where there was no run.
pub fn sizes(weeks: &[Option<Week>], name: &str) -> Vec<Option<i64>> {
    weeks.iter().map(|week| week.as_ref().map(|week| week.counts.get(name).copied().unwrap_or(0))).collect()
}

/// What a customer of it spent on average.
pub fn mean(segment: &SegmentCount) -> Option<Money> {
    (segment.customers > 0).then(|| Money(segment.revenue.0 / segment.customers))
}

/// The page of a segment.
pub fn href(name: &str) -> String {
    /// Names of segments have these, and nothing else.
    const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'_').remove(b'-');
    format!("/segments/{}", utf8_percent_encode(name, &KEPT))
}

/// The spark line in words: "645 12 weeks ago, 763 now".
fn trend(history: &[Option<i64>]) -> String {
    let first = history.iter().position(Option::is_some);
    match (first, history.last().copied().flatten()) {
        (Some(index), Some(now)) if index + 1 < history.len() => {
            let weeks = history.len() - 1 - index;
            let then = words::count(history[index].unwrap_or(0));
            format!(
                "{then} {} ago, {} now",
                if weeks == 1 { "a week".to_owned() } else { format!("{weeks} weeks") },
                words::count(now)
            )
        }
        _ => "no earlier weeks".to_owned(),
    }
}
