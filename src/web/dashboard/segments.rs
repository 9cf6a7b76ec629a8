//! `GET /segments`: which groups do I have, how do they move?

mod bands;
pub mod flow;
mod sankey;
mod wanted;

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::Connection;

use self::{
    bands::Band,
    flow::Flow,
    sankey::{Bar, Ribbon, Sankey},
    wanted::Wanted,
};
use super::{
    App, chart,
    definitions::{self, Move},
    matrix::{self, Matrix},
    order::{self, Column},
    segment_table::{self, SegmentRow},
    statistics::{self, Run, SegmentCount, Week},
    view::{self, Chrome, Moment},
    words,
};
use crate::{model::Timestamp, web::error::PageError};

/// Ribbons of the drawing; the matrix has all.
const RIBBONS: usize = 60;

#[derive(Template)]
#[template(path = "segments.html")]
struct Segments {
    chrome: Chrome,
    /// `None`: nothing was scored yet.
    figures: Option<Figures>,
    csv: String,
    /// The page loads itself again, because something is being counted.
    again: bool,
}

struct Figures {
    columns: Vec<Column>,
    /// In which order they stand.
    order: &'static str,
    /// Kept by the form of the flow.
    sort: Vec<(&'static str, &'static str)>,
    rows: Vec<SegmentRow>,
    total: String,
    sizes: Sizes,
    /// `None`: there is no run before.
    flow: Option<FlowView>,
}

/// Size over time, drawn and as a table.
struct Sizes {
    bands: Vec<DrawnBand>,
    first: String,
    last: String,
    /// Places along the time as SVG takes them, and the days there.
    ticks: Vec<Tick>,
    columns: Vec<String>,
    /// Newest first: the day, and the customers per segment.
    rows: Vec<(Moment, Vec<String>)>,
}

struct DrawnBand {
    band: Band,
    name: String,
    tone: &'static str,
    customers: String,
}

struct Tick {
    x: String,
    day: String,
    /// Class of where it stands: first, last; empty between.
    end: &'static str,
}

/// An `<option>` of a run.
struct Choice {
    id: i64,
    label: String,
}

struct FlowView {
    choices: Vec<Choice>,
    from: i64,
    to: i64,
    unchanged: bool,
    /// The address names a run that cannot be compared.
    note: Option<String>,
    /// Not all runs are offered, and how to name another.
    offered: Option<String>,
    days: [String; 2],
    found: Found,
}

enum Found {
    /// So many moves are to be read first.
    Counting(String),
    /// Events of these runs are not kept any more.
    Forgotten,
    Nobody,
    Drawn(Box<Drawn>),
}

struct Drawn {
    summary: String,
    sankey: Sankey,
    /// Of the segments that bars stand for.
    names: Vec<String>,
    ribbons: Vec<(Ribbon, &'static str, String)>,
    /// Ribbons that are not drawn.
    smaller: bool,
    matrix: Matrix,
}

/// `GET /segments`, `GET /segments?from=RUN&to=RUN&unchanged=1`
pub async fn page(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let wanted = Wanted::from_pairs(&pairs);
    let reader = Arc::clone(&app);
    let page = app.readers.read(move |connection| Ok(load(&reader, connection, &wanted, now)?)).await?;
    view::html(&page)
}

fn load(app: &App, connection: &Connection, wanted: &Wanted, now: Timestamp) -> rusqlite::Result<Segments> {
    let in_force = statistics::in_force(connection)?;
    let chrome = Chrome::new(app, connection, "segments", in_force.as_ref(), now)?;
    let run = in_force.filter(|run| run.scored > 0);
    let figures = run.map(|run| figures(app, connection, &run, wanted)).transpose()?;
    let flow = figures.as_ref().and_then(|figures| figures.flow.as_ref());
    let again = flow.is_some_and(|flow| matches!(flow.found, Found::Counting(_)));
    let csv = order::address("/segments.csv", wanted.order.pairs());
    Ok(Segments { chrome, figures, csv, again })
}

fn figures(app: &App, connection: &Connection, run: &Run, wanted: &Wanted) -> rusqlite::Result<Figures> {
    let before = statistics::before(connection, run)?;
    let earlier = before.as_ref().map(|before| statistics::counts(connection, before.id)).transpose()?;
    let segments = statistics::segments(connection, run.id)?;
    let weeks = statistics::weeks(connection, run)?;
    let mut sorted = segments.clone();
    segment_table::sort(&mut sorted, wanted.order, earlier.as_ref());
    Ok(Figures {
        columns: wanted.columns(),
        order: match wanted.order.by() {
            "rank" if wanted.order.ascending => "The best segment first, as the rules rank them.",
            "rank" => "The best segment last, as the rules rank them.",
            _ => "",
        },
        sort: wanted.order.pairs(),
        rows: segment_table::rows(app, &weeks, run, earlier.as_ref(), &sorted),
        total: words::counted(run.scored, "customer", "customers"),
        sizes: sizes(app, &weeks, &segments),
        flow: before.map(|before| flow_view(app, connection, run, &before, wanted)).transpose()?,
    })
}

fn sizes(app: &App, weeks: &[Option<Week>], segments: &[SegmentCount]) -> Sizes {
    let names: Vec<&str> = segments.iter().map(|segment| segment.segment.as_str()).collect();
    let sizes: Vec<Vec<Option<i64>>> = names.iter().map(|name| segment_table::sizes(weeks, name)).collect();
    let known: Vec<&Week> = weeks.iter().flatten().collect();
    let day = |week: Option<&&Week>| week.map_or_else(String::new, |week| Moment::day(app, week.as_of).text);
    Sizes {
        bands: bands::bands(&sizes)
            .into_iter()
            .map(|band| {
                let (name, segment) = (names[band.index], &segments[band.index]);
                DrawnBand {
                    name: app.names.label(name),
                    tone: app.names.tone(name),
                    customers: words::count(segment.customers),
                    band,
                }
            })
            .collect(),
        ticks: ticks(app, weeks),
        first: day(known.first()),
        last: day(known.last()),
        columns: names.iter().map(|name| app.names.label(name)).collect(),
        rows: known
            .iter()
            .rev()
            .map(|week| {
                let count = |name: &&str| words::count(week.counts.get(*name).copied().unwrap_or(0));
                (Moment::day(app, week.as_of), names.iter().map(count).collect())
            })
            .collect(),
    }
}

fn ticks(app: &App, weeks: &[Option<Week>]) -> Vec<Tick> {
    let last = weeks.len().saturating_sub(1).max(1);
    weeks
        .iter()
        .enumerate()
        .filter_map(|(index, week)| {
            let day = words::local(week.as_ref()?.as_of, app.config.shop.timezone).date_naive();
            Some(Tick {
                x: format!("{}%", index * 100 / last),
                day: words::short_day(day),
                end: match index {
                    0 => "first",
                    _ if index == last => "last",
                    _ => "",
                },
            })
        })
        .collect()
}

/// The two runs that the address names, where they are there and can be compared; otherwise the last
/// two. The earlier one is always the first.
fn chosen(connection: &Connection, run: &Run, before: &Run, wanted: &Wanted) -> rusqlite::Result<(Run, Run)> {
    let find = |id: Option<i64>| -> rusqlite::Result<Option<Run>> {
        let run = id.map(|id| statistics::by_id(connection, id)).transpose()?.flatten();
        Ok(run.filter(|run| run.scored_at.is_some() && run.scored > 0 && run.trigger != "backfill"))
    };
    let to = find(wanted.to)?.unwrap_or_else(|| run.clone());
    let from = match find(wanted.from)? {
        // Not with itself in place of one that cannot be compared.
        Some(from) if from.id != to.id || wanted.to == Some(to.id) => from,
        _ => statistics::before(connection, &to)?.unwrap_or_else(|| before.clone()),
    };
    Ok(if (from.as_of, from.id) <= (to.as_of, to.id) { (from, to) } else { (to, from) })
}

fn flow_view(
    app: &App,
    connection: &Connection,
    run: &Run,
    before: &Run,
    wanted: &Wanted,
) -> rusqlite::Result<FlowView> {
    let (from, to) = chosen(connection, run, before, wanted)?;
    let taken = [from.id, to.id];
    let missed = [wanted.from, wanted.to].into_iter().flatten().find(|id| !taken.contains(id));
    let (mut runs, all) = statistics::choices(connection)?;
    for chosen in [&from, &to] {
        if !runs.iter().any(|(id, _)| *id == chosen.id) {
            runs.push((chosen.id, chosen.as_of));
        }
    }
    runs.sort_by_key(|(id, as_of)| std::cmp::Reverse((*as_of, *id)));
    let shown = i64::try_from(runs.len()).unwrap_or(i64::MAX);
    let steps = flow::steps(connection, &from, &to)?;
    let (key, cost) = ((from.id, to.id), flow::cost(&steps));
    let known = match app.flows.known(&key) {
        None if cost <= flow::AT_ONCE => Some(app.flows.keep(key, flow::between(connection, from.id, to.id, &steps)?)),
        known => known,
    };
    let found = match known.as_deref() {
        None => {
            app.flows.count(&app.readers, key, move |readers| flow::beside(readers, key.0, key.1, &steps));
            Found::Counting(words::count(cost))
        }
        Some(Flow::Forgotten) => Found::Forgotten,
        Some(Flow::Known(moves)) => {
            let ranked = ranked(connection, &from, &to)?;
            draw(app, moves, &ranked, wanted.unchanged).map_or(Found::Nobody, |drawn| Found::Drawn(Box::new(drawn)))
        }
    };
    Ok(FlowView {
        choices: runs.into_iter().map(|(id, as_of)| Choice { id, label: format!("{}, run {id}", Moment::new(app, as_of).text) }).collect(),
        from: from.id,
        to: to.id,
        unchanged: wanted.unchanged,
        note: missed.map(|id| {
            format!("Run {id} cannot be compared: it is not there, scored nobody, or was a backfill. Choose another one.")
        }),
        offered: (shown < all).then(|| {
            format!(
                "{} of {} runs can be chosen here: the last {} one by one, and before them the last of each week. Any other one stands under Runs: open it, and compare from there.",
                words::count(shown),
                words::count(all),
                statistics::SINGLE
            )
        }),
        days: days(app, &from, &to),
        found,
    })
}

/// When they were, as the sides of the drawing are called; to the minute where both were on one day.
fn days(app: &App, from: &Run, to: &Run) -> [String; 2] {
    let runs = [from.as_of, to.as_of];
    let [from, to] = runs.map(|at| Moment::day(app, at).text);
    if from == to { runs.map(|at| Moment::new(app, at).text) } else { [from, to] }
}

/// The segments of both runs, best first; those of the later one decide.
fn ranked(connection: &Connection, from: &Run, to: &Run) -> rusqlite::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    for run in [to, from] {
        for segment in statistics::segments(connection, run.id)? {
            if !names.contains(&segment.segment) {
                names.push(segment.segment);
            }
        }
    }
    Ok(names)
}

/// `None`: nobody is to be shown.
fn draw(app: &App, moves: &[Move], ranked: &[String], unchanged: bool) -> Option<Drawn> {
    let rank = |name: &str| ranked.iter().position(|known| known == name);
    let level = |name: &str| app.names.level(name);
    let shown: Vec<&Move> = moves.iter().filter(|step| unchanged || step.old != step.new).collect();
    if shown.is_empty() {
        return None;
    }
    let names: Vec<String> = shown.iter().flat_map(|step| [step.old.clone(), step.new.clone()]).collect();
    let names = matrix::ordered(&names, rank);
    let place = |name: &str| names.iter().position(|known| *known == name).unwrap_or_default();
    let drawn: Vec<&Move> = shown.iter().take(RIBBONS).copied().collect();
    let flows: Vec<_> = drawn.iter().map(|step| (place(&step.old), place(&step.new), step.customers)).collect();
    let mut sankey = sankey::sankey(&flows);
    let ribbons = std::mem::take(&mut sankey.ribbons)
        .into_iter()
        .map(|ribbon| {
            let step = drawn[ribbon.flow];
            let title = format!(
                "{} → {}: {}",
                matrix::old_label(app, &step.old),
                matrix::new_label(app, &step.new),
                words::counted(step.customers, "customer", "customers")
            );
            (ribbon, matrix::way(step, level), title)
        })
        .collect();
    Some(Drawn {
        summary: summary(moves, level),
        sankey,
        names: names.iter().map(|name| app.names.label(name)).collect(),
        ribbons,
        smaller: shown.len() > RIBBONS,
        matrix: matrix::matrix(app, &shown, rank, level),
    })
}

impl Bar {
    fn count(&self) -> String {
        words::count(self.customers)
    }
}

impl Drawn {
    /// What a bar of the drawing is called.
    fn name<'a>(&'a self, bar: &Bar, none: &'a str) -> &'a str {
        self.names.get(bar.name).map(String::as_str).filter(|name| !name.is_empty()).unwrap_or(none)
    }
}

/// What the drawing shows, for those who do not see it.
fn summary(moves: &[Move], level: impl Fn(&str) -> Option<usize>) -> String {
    let moved = definitions::moved(moves, level);
    let stayed: i64 = moves.iter().filter(|step| step.old == step.new).map(|step| step.customers).sum();
    let mut parts = vec![
        format!(
            "{} moved, {} up, {} down{}",
            words::counted(moved.total, "customer", "customers"),
            words::count(moved.up),
            words::count(moved.down),
            if moved.aside() > 0 { format!(", {} neither", words::count(moved.aside())) } else { String::new() }
        ),
        format!("{} stayed", words::count(stayed)),
    ];
    if moved.new > 0 {
        parts.push(format!("{} new", words::count(moved.new)));
    }
    if moved.left > 0 {
        parts.push(format!("{} left", words::count(moved.left)));
    }
    format!("{}.", parts.join("; "))
}
