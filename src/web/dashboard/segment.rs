//! `GET /segments/{segment}`: who is in it, what should I do? With `.csv` at its end: its customers.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use rusqlite::Connection;

use super::{
    App, chart, customers,
    definitions::{self, Cut, Direction, Share, terms},
    export,
    filter::{Filter, Sort},
    list::{self, SORTABLE, Total},
    segment_table,
    statistics::{self, Run, SegmentCount},
    view::{self, Chrome, Moment},
    words,
};
use crate::{
    db::Readers,
    model::{Money, Timestamp},
    web::error::PageError,
};

/// Customers of a segment whose medians are counted while the page waits: about 20 ms.
const AT_ONCE: i64 = 20_000;

#[derive(Template)]
#[template(path = "segment.html")]
struct Page {
    chrome: Chrome,
    label: String,
    tone: &'static str,
    definition: String,
    action: String,
    /// Rules that name it; empty: an earlier one did.
    rules: Vec<Rule>,
    /// `None`: nothing was scored yet.
    figures: Option<Figures>,
    /// Who came and who went in the last run.
    moved: [Moved; 2],
    /// There was a run before, so somebody could move.
    second: bool,
    rows: Vec<customers::Row>,
    /// How many of how many, in which order.
    listed: String,
    /// Where all of them are, and where in other orders: label and address.
    elsewhere: Vec<(&'static str, String)>,
    csv: String,
    /// The page loads itself again, because the medians are being counted.
    again: bool,
}

/// The scores that a rule asks for.
struct Rule {
    /// Recency, frequency, monetary: scores in words, and the real values of the last run.
    dimensions: [(&'static str, String, String); 3],
}

struct Figures {
    customers: String,
    share: Share,
    change: String,
    revenue: String,
    of_revenue: Share,
    spent: String,
    medians: MediansView,
}

enum MediansView {
    Nobody,
    Counting,
    /// Days since the last order, orders, spent.
    Known([String; 3]),
}

struct Moved {
    title: &'static str,
    /// "from" or "to" the segment of each step.
    word: &'static str,
    steps: Vec<Step>,
}

/// Customers who came from or went to another segment.
struct Step {
    label: String,
    /// Empty: it has no page.
    href: String,
    direction: Direction,
    customers: String,
    bar: String,
}

#[derive(Template)]
#[template(path = "segment_unknown.html")]
struct Unknown {
    chrome: Chrome,
    name: String,
    known: Vec<(String, String, &'static str)>,
}

/// `GET /segments/{segment}`, `GET /segments/{segment}.csv`
pub async fn page(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response, PageError> {
    let now = app.clock.now();
    let (name, csv) = name.strip_suffix(".csv").map_or((name.as_str(), false), |name| (name, true));
    let (reader, wanted) = (Arc::clone(&app), name.to_owned());
    let found = app
        .readers
        .read(move |connection| {
            let run = statistics::in_force(connection)?;
            let segments = run.as_ref().map(|run| statistics::segments(connection, run.id)).transpose()?;
            let segments = segments.unwrap_or_default();
            let is_known = reader.names.knows(&wanted) || segments.iter().any(|segment| segment.segment == wanted);
            if !is_known {
                return Ok(Err(unknown(&reader, connection, run.as_ref(), &segments, wanted, now)?));
            }
            if csv {
                return Ok(Ok(None));
            }
            Ok(Ok(Some(load(&reader, connection, run.as_ref(), &segments, &wanted, now)?)))
        })
        .await?;
    match found {
        Ok(Some(page)) => view::html(&page),
        Ok(None) => export::customer_list(&app, &format!("{name}.csv"), of_segment(name)).await,
        Err(unknown) => Ok((StatusCode::NOT_FOUND, view::html(&unknown)?).into_response()),
    }
}

/// The rules in force and what the last run still had.
fn unknown(
    app: &App,
    connection: &Connection,
    run: Option<&Run>,
    segments: &[SegmentCount],
    name: String,
    now: Timestamp,
) -> rusqlite::Result<Unknown> {
    let mut names: Vec<&str> = app.names.all().map(|segment| segment.name.as_str()).collect();
    for segment in segments {
        if !names.contains(&segment.segment.as_str()) {
            names.push(&segment.segment);
        }
    }
    let link = |name: &str| (segment_table::href(name), app.names.label(name), app.names.tone(name));
    let chrome = Chrome::new(app, connection, "segments", run, now)?;
    Ok(Unknown { chrome, name, known: names.into_iter().map(link).collect() })
}

fn of_segment(name: &str) -> Filter {
    Filter { segment: Some(name.to_owned()), ..Filter::default() }
}

fn load(
    app: &App,
    connection: &Connection,
    run: Option<&Run>,
    segments: &[SegmentCount],
    name: &str,
    now: Timestamp,
) -> rusqlite::Result<Page> {
    let scored = run.filter(|run| run.scored > 0);
    let figures = scored.map(|run| figures(app, connection, run, segments, name)).transpose()?;
    let [came, went] = scored.map(|run| steps(app, connection, run, name)).transpose()?.unwrap_or_default();
    let before = scored.map(|run| statistics::before(connection, run)).transpose()?.flatten();
    let filter = of_segment(name);
    let page = list::page(connection, app.told, &filter, Total::Unknown, None, customers::PAGE)?;
    let own = segments.iter().find(|segment| segment.segment == name).map_or(0, |segment| segment.customers);
    let again = figures.as_ref().is_some_and(|figures| matches!(figures.medians, MediansView::Counting));
    Ok(Page {
        chrome: Chrome::new(app, connection, "segments", run, now)?.with_words_of("segment"),
        label: app.names.label(name),
        tone: app.names.tone(name),
        definition: app.names.definition(name).to_owned(),
        action: app.names.action(name).to_owned(),
        rules: rules(app, connection, scored, name)?,
        figures,
        moved: [
            Moved { title: "Came in the last run", word: "from", steps: came },
            Moved { title: "Went in the last run", word: "to", steps: went },
        ],
        second: before.is_some(),
        rows: page.customers.iter().map(|customer| customers::row(app, customer, now)).collect(),
        listed: listed(&page, own),
        elsewhere: elsewhere(&filter, page.next.is_some(), own),
        csv: format!("{}.csv", segment_table::href(name)),
        again,
    })
}

/// `own`: customers of the segment in the last run.
fn listed(page: &list::Page, own: i64) -> String {
    let here = i64::try_from(page.customers.len()).unwrap_or(i64::MAX);
    match page.next {
        Some(_) => {
            format!("The first {} of {} in the last run, the newest first.", words::count(here), words::count(own))
        }
        None if here > 1 => format!("All {}, the newest first.", words::count(here)),
        None => String::new(),
    }
}

/// The same customers on the page that can sort and filter them.
fn elsewhere(filter: &Filter, more: bool, own: i64) -> Vec<(&'static str, String)> {
    let mut links = Vec::new();
    if more {
        links.push(("All of them", filter.href("/customers", None)));
    }
    if own <= SORTABLE {
        links.push(("sorted by spent", filter.sorted(Sort::Spent, false).href("/customers", None)));
        links.push(("sorted by last order", filter.sorted(Sort::LastOrder, false).href("/customers", None)));
    }
    links
}

fn figures(
    app: &App,
    connection: &Connection,
    run: &Run,
    segments: &[SegmentCount],
    name: &str,
) -> rusqlite::Result<Figures> {
    let currency = app.config.shop.currency;
    let nobody = SegmentCount { segment: name.to_owned(), customers: 0, revenue: Money::ZERO };
    let own = segments.iter().find(|segment| segment.segment == name).unwrap_or(&nobody);
    let revenue: i64 = segments.iter().map(|segment| segment.revenue.0).sum();
    let change = match statistics::before(connection, run)? {
        Some(before) => {
            let then = statistics::counts(connection, before.id)?.get(name).copied().unwrap_or(0);
            format!("{} since the run before", words::signed(own.customers - then))
        }
        None => "the first run".to_owned(),
    };
    Ok(Figures {
        customers: words::count(own.customers),
        share: Share::of(own.customers, run.scored),
        change,
        revenue: words::money_rounded(own.revenue, currency),
        of_revenue: Share::of(own.revenue.0, revenue),
        spent: segment_table::mean(own).map_or_else(|| "–".to_owned(), |mean| words::money(mean, currency)),
        medians: medians(app, connection, run, own)?,
    })
}

/// What half of a segment's customers have at most: the lower of the two in the middle.
pub struct Medians {
    last_order_at: Timestamp,
    orders: i64,
    spent: Money,
}

/// The medians of a segment. No index holds them, and keeping them in order at every run would cost
/// each night what a look costs now and then; so they are counted at the first look after a run.
fn medians(app: &App, connection: &Connection, run: &Run, own: &SegmentCount) -> rusqlite::Result<MediansView> {
    let key = (run.id, own.segment.clone());
    let known = match app.medians.known(&key) {
        None if own.customers <= AT_ONCE => Some(app.medians.keep(key.clone(), count_medians(connection, &key.1)?)),
        known => known,
    };
    let Some(known) = known else {
        let name = key.1.clone();
        app.medians.count(&app.readers, key, move |readers: &Readers| Ok(count_medians(&*readers.get()?, &name)?));
        return Ok(MediansView::Counting);
    };
    Ok(known.as_ref().as_ref().map_or(MediansView::Nobody, |medians| {
        MediansView::Known([
            words::counted(definitions::days_between(medians.last_order_at, run.as_of), "day", "days"),
            words::counted(medians.orders, "order", "orders"),
            words::money(medians.spent, app.config.shop.currency),
        ])
    }))
}

/// `None`: nobody with an order is in it.
fn count_medians(connection: &Connection, name: &str) -> rusqlite::Result<Option<Medians>> {
    let mut values: [Vec<i64>; 3] = Default::default();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT c.last_order_at, c.order_count, c.total_spent FROM customer_scores s CROSS JOIN customers c ON c.id = s.customer_id
         WHERE s.segment_id = {} AND c.last_order_at IS NOT NULL",
        crate::scoring::told::segment_id("?1")
    ))?;
    let mut rows = statement.query([name])?;
    while let Some(row) = rows.next()? {
        for (index, values) in values.iter_mut().enumerate() {
            values.push(row.get(index)?);
        }
    }
    // Of days the lower one is of the later order.
    let half = values[0].len() / 2;
    let lower = half.saturating_sub(usize::from(values[0].len().is_multiple_of(2)));
    let middle =
        |values: &mut Vec<i64>, place: usize| (place < values.len()).then(|| *values.select_nth_unstable(place).1);
    let [last, orders, spent] = &mut values;
    Ok(match [middle(last, half), middle(orders, lower), middle(spent, lower)] {
        [Some(last), Some(orders), Some(spent)] => {
            Some(Medians { last_order_at: Timestamp::from_millis(last), orders, spent: Money(spent) })
        }
        _ => None,
    })
}

fn steps(app: &App, connection: &Connection, run: &Run, name: &str) -> rusqlite::Result<[Vec<Step>; 2]> {
    let moves = statistics::moves(connection, run.id)?;
    let level = |name: &str| app.names.level(name);
    let either: Vec<_> =
        moves.iter().filter(|step| step.old != step.new && (step.old == name || step.new == name)).collect();
    let longest = either.iter().map(|step| step.customers).max().unwrap_or(0);
    let steps = |came: bool| {
        either
            .iter()
            .filter(|step| if came { step.new == name } else { step.old == name })
            .map(|step| {
                let other = if came { &step.old } else { &step.new };
                let label = match (other.is_empty(), came) {
                    (true, true) => "Not scored before".to_owned(),
                    (true, false) => "Left".to_owned(),
                    (false, _) => app.names.label(other),
                };
                Step {
                    label,
                    href: if other.is_empty() { String::new() } else { segment_table::href(other) },
                    direction: definitions::direction(&step.old, &step.new, level),
                    customers: words::count(step.customers),
                    bar: chart::bar(step.customers, longest),
                }
            })
            .collect()
    };
    Ok([steps(true), steps(false)])
}

fn rules(app: &App, connection: &Connection, run: Option<&Run>, name: &str) -> rusqlite::Result<Vec<Rule>> {
    let cuts = |dimension: &str| run.map(|run| statistics::cuts(connection, run.id, dimension)).transpose();
    let [r, f, m] = [cuts("r")?, cuts("f")?, cuts("m")?].map(Option::unwrap_or_default);
    let currency = app.config.shop.currency;
    let day = |at: i64| Moment::day(app, Timestamp::from_millis(at)).text;
    Ok(app
        .names
        .rules_of(name)
        .into_iter()
        .map(|[recency, frequency, monetary]| Rule {
            dimensions: [
                ("Recency", scores(recency), range(&r, recency, "last order ", &day, "")),
                ("Frequency", scores(frequency), range(&f, frequency, "", &words::count, " orders")),
                (
                    "Monetary",
                    scores(monetary),
                    range(&m, monetary, "", &|spent| words::money(Money(spent), currency), ""),
                ),
            ],
        })
        .collect())
}

/// "4 or 5", "2 to 5", "1"
fn scores((low, high): (u8, u8)) -> String {
    match high - low {
        0 => low.to_string(),
        1 => format!("{low} or {high}"),
        4 => "any".to_owned(),
        _ => format!("{low} to {high}"),
    }
}

/// The real values that customers with these scores had in the last run; empty when any will do.
fn range(cuts: &[Cut], (low, high): (u8, u8), before: &str, show: &dyn Fn(i64) -> String, unit: &str) -> String {
    let inside: Vec<&Cut> =
        cuts.iter().filter(|cut| cut.customers > 0 && (low..=high).contains(&cut.quintile)).collect();
    let (Some(lowest), Some(highest)) =
        (inside.iter().map(|cut| cut.lowest).min(), inside.iter().map(|cut| cut.highest).max())
    else {
        return if cuts.is_empty() { String::new() } else { "nobody".to_owned() };
    };
    let (from, to) = (show(lowest), show(highest));
    let unit = if highest == 1 { unit.trim_end_matches('s') } else { unit };
    if from == to { format!("{before}{from}{unit}") } else { format!("{before}{from} – {to}{unit}") }
}
