//! `GET /`: how is my customer base, and is the machine working?

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::Connection;

use super::{
    App, chart,
    definitions::{self, Direction, Move, Share, terms},
    deliveries::{Tab, queue},
    first_run::{self, Action, First, Stage},
    heat::{self, Heat},
    messages,
    nights::{self, Deliveries},
    notices::{self, Notice, notices},
    runs,
    segment_table::{self, SegmentRow},
    statistics::{self, Run},
    syncs,
    view::{self, Chrome},
    words,
};
use crate::{
    model::{Money, Timestamp},
    web::error::PageError,
};

/// A shop is led on to its email tool for so long after its first run; it may want none.
const NEW_MS: i64 = 14 * Timestamp::DAY;
/// Movements shown one by one.
const MOVES: usize = 6;
/// Runs shown one by one.
const RUNS: usize = 5;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    chrome: Chrome,
    notices: Vec<Notice>,
    /// `None`: nothing was scored yet.
    figures: Option<Figures>,
    /// What is left to do in a new shop.
    first: Option<First>,
    runs: Vec<runs::Row>,
    /// Where to add a destination.
    config_path: String,
}

struct Figures {
    /// "last night" or "in the last run".
    when: &'static str,
    run_href: String,
    customers: String,
    new: String,
    revenue: String,
    best: Option<Best>,
    moved: String,
    up: String,
    down: String,
    /// Who moved neither up nor down.
    aside: Option<String>,
    left: Option<String>,
    baseline: bool,
    segments: Vec<SegmentRow>,
    heat: Heat,
    movements: Vec<MoveRow>,
    smaller: Option<String>,
    deliveries: Deliveries,
}

struct Best {
    /// "Champions bring"
    brings: String,
    of_revenue: Share,
    of_customers: Share,
}

struct MoveRow {
    old: String,
    new: String,
    href: String,
    direction: Direction,
    customers: String,
    bar: String,
}

/// `GET /`, `GET /?by=revenue`
pub async fn page(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let now = app.clock.now();
    let by_revenue = view::parameter(&pairs, "by") == Some("revenue");
    let reader = Arc::clone(&app);
    let page = app.readers.read(move |connection| Ok(overview(&reader, connection, by_revenue, now)?)).await?;
    view::html(&page)
}

fn overview(app: &App, connection: &Connection, by_revenue: bool, now: Timestamp) -> rusqlite::Result<Overview> {
    let in_force = statistics::in_force(connection)?;
    let chrome = Chrome::new(app, connection, "overview", in_force.as_ref(), now)?;
    let made = in_force.is_some();
    // A run over nobody has no figures, only a next step.
    let run = in_force.filter(|run| run.scored > 0);
    let held = statistics::held(connection)?;
    let runs = statistics::latest(connection, RUNS)?;
    let figures = run.as_ref().map(|run| figures(app, connection, run, by_revenue, now)).transpose()?;
    let first_at = statistics::first_at(connection)?;
    let is_new = first_at.is_none_or(|at| now.millis().saturating_sub(at.millis()) < NEW_MS);
    let first = if run.is_none() || is_new {
        let taken = app.outcomes.any_taken()
            || !app.config.destination.is_empty() && queue::count(connection, Tab::Delivered)? > 0;
        let stage = match (run.is_some(), statistics::any_orders(connection)?, made) {
            (true, ..) => Stage::Scored,
            (_, false, _) => Stage::NoOrders,
            (_, _, false) => Stage::Ordered,
            (_, _, true) => Stage::NobodyScored,
        };
        (stage != Stage::Scored || !taken).then(|| first_run::first(app, stage, taken))
    } else {
        None
    };
    let mut above = messages::notices(app, connection, now)?;
    let deliveries = figures.as_ref().map(|figures| &figures.deliveries);
    above.extend(notices::clock(connection, now)?);
    above.extend(notices(app, run.as_ref(), runs.first(), &held, deliveries, now));
    above.extend(syncs::notice(app, connection)?);
    Ok(Overview {
        chrome,
        notices: above,
        figures,
        first,
        runs: runs.iter().map(|run| runs::row(app, run)).collect(),
        config_path: app.config_path.display().to_string(),
    })
}

fn figures(
    app: &App,
    connection: &Connection,
    run: &Run,
    by_revenue: bool,
    now: Timestamp,
) -> rusqlite::Result<Figures> {
    let before = statistics::before(connection, run)?;
    let segments = statistics::segments(connection, run.id)?;
    let moves = statistics::moves(connection, run.id)?;
    let level = |name: &str| app.names.level(name);
    let moved = definitions::moved(&moves, level);
    let revenue: i64 = segments.iter().map(|segment| segment.revenue.0).sum();
    let currency = app.config.shop.currency;
    let nightly = matches!(run.trigger.as_str(), "scheduled" | "catch_up");
    let last_night = nightly && definitions::days_between(run.as_of, now) == 0;
    let (movements, smaller) = movements(app, &moves);
    let earlier = before.as_ref().map(|before| statistics::counts(connection, before.id)).transpose()?;
    Ok(Figures {
        when: if last_night { "last night" } else { "in the last run" },
        run_href: format!("/runs/{}", run.id),
        customers: words::count(run.scored),
        new: match &before {
            Some(before) => {
                format!(
                    "{} new since {}",
                    words::count(moved.new),
                    words::when(before.as_of, now, app.config.shop.timezone).trim_start_matches("on ")
                )
            }
            None => "the first run".to_owned(),
        },
        revenue: words::money_rounded(Money(revenue), currency),
        best: segments.first().filter(|_| revenue > 0).map(|best| Best {
            brings: format!("{} bring", app.names.label(&best.segment)),
            of_revenue: Share::of(best.revenue.0, revenue),
            of_customers: Share::of(best.customers, run.scored),
        }),
        moved: words::count(moved.total),
        up: words::count(moved.up),
        down: words::count(moved.down),
        aside: (moved.aside() > 0).then(|| words::count(moved.aside())),
        left: (moved.left > 0).then(|| words::count(moved.left)),
        baseline: run.baseline,
        segments: segment_table::rows(app, &statistics::weeks(connection, run)?, run, earlier.as_ref(), &segments),
        heat: heat::heat(app, connection, run, by_revenue)?,
        movements,
        smaller,
        deliveries: nights::load(app, connection, run, now)?,
    })
}

/// The customers of a segment.
pub fn segment_href(name: &str) -> String {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("segment", name).finish();
    format!("/customers?{query}")
}

/// The largest moves between two segments, and what the rest adds up to.
fn movements(app: &App, moves: &[Move]) -> (Vec<MoveRow>, Option<String>) {
    let level = |name: &str| app.names.level(name);
    let between: Vec<(&Move, Direction)> = moves
        .iter()
        .map(|step| (step, definitions::direction(&step.old, &step.new, level)))
        .filter(|(_, way)| !matches!(way, Direction::None | Direction::New | Direction::Left))
        .collect();
    let longest = between.first().map_or(0, |(step, _)| step.customers);
    let rows = between
        .iter()
        .take(MOVES)
        .map(|(step, direction)| MoveRow {
            old: app.names.label(&step.old),
            new: app.names.label(&step.new),
            href: segment_href(&step.new),
            direction: *direction,
            customers: words::count(step.customers),
            bar: chart::bar(step.customers, longest),
        })
        .collect();
    let rest = between.get(MOVES..).unwrap_or_default();
    let smaller = (!rest.is_empty()).then(|| {
        let customers: i64 = rest.iter().map(|(step, _)| step.customers).sum();
        let steps = i64::try_from(rest.len()).unwrap_or(i64::MAX);
        format!(
            "and {} in {}",
            words::counted(customers, "customer", "customers"),
            words::counted(steps, "smaller movement", "smaller movements")
        )
    });
    (rows, smaller)
}
