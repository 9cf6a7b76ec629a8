//! `GET /`: how is my customer base, and is the machine working?

use std::sync::{Arc, atomic::Ordering};

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::Connection;

use super::{
    App,
    chart::{self, Spark},
    definitions::{self, Cut, DEFINITIONS, Definition, Direction, Move, Share},
    nights::{self, Deliveries},
    statistics::{self, Cell, Run, SegmentCount},
    view::{self, Chrome, Moment},
    words,
};
use crate::{
    model::{Money, Timestamp},
    web::error::PageError,
};

/// Movements shown one by one.
const MOVES: usize = 6;
/// How long after "Score now" the page says so, when no run has shown up yet.
const ASKED_MS: i64 = 30_000;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    chrome: Chrome,
    notices: Vec<Notice>,
    next_run: Option<Moment>,
    /// `None`: nothing was scored yet; `empty` says what to do.
    figures: Option<Figures>,
    empty: Option<Empty>,
    definitions: &'static [Definition],
    /// Where to add a destination.
    config_path: String,
}

/// Something the merchant should know of. The tone is a class: ok, warn, bad.
struct Notice {
    tone: &'static str,
    title: String,
    text: String,
    /// The command that shows more; empty: none.
    command: &'static str,
    link: Option<(String, &'static str)>,
}

/// Why there are no figures yet.
enum Empty {
    NoOrders { webhooks: String },
    NoRun,
}

struct Figures {
    scored_at: Moment,
    duration: String,
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
    left: Option<String>,
    baseline: bool,
    segments: Vec<SegmentRow>,
    heat: Heat,
    movements: Vec<MoveRow>,
    smaller: Option<String>,
    deliveries: Deliveries,
}

struct Best {
    label: String,
    of_revenue: String,
    of_customers: String,
}

struct SegmentRow {
    label: String,
    tone: &'static str,
    href: String,
    customers: String,
    share: Share,
    of_revenue: Share,
    customers_bar: String,
    revenue_bar: String,
    /// Empty: there is no run before.
    change: String,
    spark: Spark,
    trend: String,
}

struct Heat {
    by_revenue: bool,
    columns: Vec<Head>,
    rows: Vec<HeatRow>,
    caption: &'static str,
}

struct Head {
    score: u8,
    range: String,
}

struct HeatRow {
    head: Head,
    cells: Vec<HeatCell>,
}

struct HeatCell {
    shade: i64,
    tone: &'static str,
    text: String,
    label: String,
    title: String,
    /// Empty: nobody is in it.
    href: String,
}

struct MoveRow {
    old: String,
    new: String,
    href: String,
    direction: Direction,
    customers: String,
    bar: String,
}

#[derive(serde::Deserialize)]
pub struct Params {
    #[serde(default)]
    by: String,
}

/// `GET /`, `GET /?by=revenue`
pub async fn page(State(app): State<Arc<App>>, Query(params): Query<Params>) -> Result<Response, PageError> {
    let now = app.clock.now();
    let by_revenue = params.by == "revenue";
    let reader = Arc::clone(&app);
    let page = app.readers.read(move |connection| Ok(overview(&reader, connection, by_revenue, now)?)).await?;
    view::html(&page)
}

fn overview(app: &App, connection: &Connection, by_revenue: bool, now: Timestamp) -> rusqlite::Result<Overview> {
    let run = statistics::in_force(connection)?;
    let latest = statistics::latest(connection)?;
    let figures = run.as_ref().map(|run| figures(app, connection, run, by_revenue, now)).transpose()?;
    let empty = match &run {
        Some(_) => None,
        None if statistics::any_orders(connection)? => Some(Empty::NoRun),
        None => Some(Empty::NoOrders { webhooks: app.config.webhooks.listen.to_string() }),
    };
    Ok(Overview {
        chrome: Chrome::new(app, "overview"),
        notices: notices(app, run.as_ref(), latest.as_ref(), figures.as_ref(), now),
        next_run: next_run(app, now).map(|at| Moment::near(app, at, now)),
        figures,
        empty,
        definitions: DEFINITIONS,
        config_path: app.config_path.display().to_string(),
    })
}

fn next_run(app: &App, now: Timestamp) -> Option<Timestamp> {
    let _ = (app, now);
    None
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
    let rank = |name: &str| app.names.rank(name);
    let moved = definitions::moved(&moves, rank);
    let revenue: i64 = segments.iter().map(|segment| segment.revenue.0).sum();
    let currency = app.config.shop.currency;
    let nightly = matches!(run.trigger.as_str(), "scheduled" | "catch_up");
    let last_night = nightly && definitions::days_between(run.as_of, now) == 0;
    let (movements, smaller) = movements(app, &moves);
    Ok(Figures {
        scored_at: Moment::near(app, run.scored_at.unwrap_or(run.as_of), now),
        duration: words::duration(run.score_ms.unwrap_or(0)),
        when: if last_night { "last night" } else { "in the last run" },
        run_href: format!("/runs/{}", run.id),
        customers: words::count(run.scored),
        new: match &before {
            Some(before) => {
                format!("{} new since {}", words::count(moved.new), view::Moment::day(app, before.as_of).text)
            }
            None => "the first run".to_owned(),
        },
        revenue: words::money_rounded(Money(revenue), currency),
        best: segments.first().filter(|_| revenue > 0).map(|best| Best {
            label: app.names.label(&best.segment),
            of_revenue: Share::of(best.revenue.0, revenue).rounded(),
            of_customers: Share::of(best.customers, run.scored).rounded(),
        }),
        moved: words::count(moved.total),
        up: words::count(moved.up),
        down: words::count(moved.down),
        left: (moved.left > 0).then(|| words::count(moved.left)),
        baseline: run.baseline,
        segments: segment_rows(app, connection, run, before.as_ref(), &segments, revenue)?,
        heat: heat(app, connection, run, by_revenue)?,
        movements,
        smaller,
        deliveries: nights::load(app, connection, run, now)?,
    })
}

fn segment_rows(
    app: &App,
    connection: &Connection,
    run: &Run,
    before: Option<&Run>,
    segments: &[SegmentCount],
    revenue: i64,
) -> rusqlite::Result<Vec<SegmentRow>> {
    let earlier = before.map(|before| statistics::counts(connection, before.id)).transpose()?;
    let weeks = statistics::weekly_counts(connection, run)?;
    let shares =
        |segment: &SegmentCount| (Share::of(segment.customers, run.scored), Share::of(segment.revenue.0, revenue));
    let longest = segments.iter().map(|segment| shares(segment).0.max(shares(segment).1).0).max().unwrap_or(0);
    Ok(segments
        .iter()
        .map(|segment| {
            let name = segment.segment.as_str();
            let (share, of_revenue) = shares(segment);
            let history: Vec<Option<i64>> =
                weeks.iter().map(|week| week.as_ref().map(|counts| counts.get(name).copied().unwrap_or(0))).collect();
            SegmentRow {
                label: app.names.label(name),
                tone: app.names.tone(name).class(),
                href: segment_href(name),
                customers: words::count(segment.customers),
                share,
                of_revenue,
                customers_bar: chart::bar(share.0, longest),
                revenue_bar: chart::bar(of_revenue.0, longest),
                change: earlier.as_ref().map_or_else(String::new, |counts| {
                    words::signed(segment.customers - counts.get(name).copied().unwrap_or(0))
                }),
                spark: chart::spark(&history),
                trend: trend(&history),
            }
        })
        .collect())
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

/// The customers of a segment.
pub fn segment_href(name: &str) -> String {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("segment", name).finish();
    format!("/customers?{query}")
}

fn heat(app: &App, connection: &Connection, run: &Run, by_revenue: bool) -> rusqlite::Result<Heat> {
    let cells = statistics::cells(connection, run.id)?;
    let recency = statistics::cuts(connection, run.id, "r")?;
    let frequency = statistics::cuts(connection, run.id, "f")?;
    let value = |cell: &Cell| if by_revenue { cell.revenue.0 } else { cell.customers };
    let sum = |r: u8, f: u8, value: &dyn Fn(&Cell) -> i64| -> i64 {
        cells.iter().filter(|cell| cell.scores[..2] == [r, f]).map(value).sum()
    };
    let pairs = || (1..=5u8).flat_map(|r| (1..=5u8).map(move |f| (r, f)));
    let fullest = pairs().map(|(r, f)| sum(r, f, &value)).max().unwrap_or(0);
    let rows = (1..=5u8)
        .rev()
        .map(|r| HeatRow {
            head: Head { score: r, range: days_range(r, &recency, run.as_of) },
            cells: (1..=5u8)
                .map(|f| {
                    let customers = sum(r, f, &|cell| cell.customers);
                    let revenue = Money(sum(r, f, &|cell| cell.revenue.0));
                    heat_cell(app, &cells, [r, f], customers, revenue, by_revenue, fullest)
                })
                .collect(),
        })
        .collect();
    Ok(Heat {
        by_revenue,
        columns: (1..=5u8).map(|f| Head { score: f, range: orders_range(f, &frequency) }).collect(),
        rows,
        caption: if run.ties == "together" {
            "Each row and each column holds about a fifth of your customers; equal customers stay together. Select a cell to see them."
        } else {
            "Each row and each column holds a fifth of your customers. Select a cell to see them."
        },
    })
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
        format!(
            "{} from {}",
            words::money_rounded(revenue, currency),
            words::counted(customers, "customer", "customers")
        )
    } else {
        words::counted(customers, "customer", "customers")
    };
    HeatCell {
        shade,
        tone: per_segment.first().map_or("d", |(name, _)| app.names.tone(name).class()),
        text: if customers == 0 { "–".to_owned() } else { text },
        label: format!("{amount}, recency {r}, frequency {f}, {title}"),
        title,
        href: if customers == 0 { String::new() } else { format!("/customers?r={r}&f={f}") },
    }
}

/// "0–21 days": from the newest to the oldest last order inside the quintile.
fn days_range(quintile: u8, cuts: &[Cut], as_of: Timestamp) -> String {
    range(quintile, cuts, |cut| {
        let days = |at: i64| definitions::days_between(Timestamp::from_millis(at), as_of);
        (days(cut.highest), days(cut.lowest), "day", "days")
    })
}

/// "3–5 orders"
fn orders_range(quintile: u8, cuts: &[Cut]) -> String {
    range(quintile, cuts, |cut| (cut.lowest, cut.highest, "order", "orders"))
}

fn range(quintile: u8, cuts: &[Cut], ends: impl Fn(&Cut) -> (i64, i64, &'static str, &'static str)) -> String {
    let Some(cut) = cuts.iter().find(|cut| cut.quintile == quintile && cut.customers > 0) else {
        return "nobody".to_owned();
    };
    let (from, to, one, many) = ends(cut);
    if from == to {
        words::counted(from, one, many)
    } else {
        format!("{}–{} {many}", words::count(from), words::count(to))
    }
}

/// The largest moves between two segments, and what the rest adds up to.
fn movements(app: &App, moves: &[Move]) -> (Vec<MoveRow>, Option<String>) {
    let rank = |name: &str| app.names.rank(name);
    let between: Vec<(&Move, Direction)> = moves
        .iter()
        .map(|step| (step, definitions::direction(&step.old, &step.new, rank)))
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

/// Only what needs the merchant, most urgent first.
fn notices(
    app: &App,
    run: Option<&Run>,
    latest: Option<&Run>,
    figures: Option<&Figures>,
    now: Timestamp,
) -> Vec<Notice> {
    let mut notices = Vec::new();
    if let Some(latest) = latest {
        notices.extend(run_notice(app, run, latest, now));
    }
    let asked = Timestamp::from_millis(app.asked.load(Ordering::Relaxed));
    let shown = latest.is_some_and(|latest| latest.started_at >= asked);
    if !shown && now.millis().saturating_sub(asked.millis()) < ASKED_MS {
        notices.push(Notice {
            tone: "ok",
            title: "Scoring".to_owned(),
            text: "A run was asked for and starts now.".to_owned(),
            command: "",
            link: Some(("/".to_owned(), "Look again")),
        });
    }
    if let Some(figures) = figures {
        if let Some(dead) = &figures.deliveries.dead {
            notices.push(Notice {
                tone: "bad",
                title: format!("{} gave up", dead.count),
                text: format!("{} List them with", dead.sentence),
                command: "quintile deliveries --state dead",
                link: None,
            });
        }
        if let Some(held) = &figures.deliveries.held {
            notices.push(Notice {
                tone: "warn",
                title: format!("{held} held"),
                text: "Deliveries wait for your decision. List them with".to_owned(),
                command: "quintile deliveries --state held",
                link: None,
            });
        }
    }
    if let Some(run) = run
        && run.scored < definitions::SMALL_SHOP
    {
        notices.push(Notice {
            tone: "warn",
            title: words::counted(run.scored, "customer", "customers"),
            text: format!(
                "With fewer than {} customers a quintile is about five people or less, so a single order can move someone to another segment.",
                definitions::SMALL_SHOP
            ),
            command: "",
            link: None,
        });
    }
    notices
}

/// The latest run when it is not simply done.
fn run_notice(app: &App, run: Option<&Run>, latest: &Run, now: Timestamp) -> Option<Notice> {
    let near = |at: Timestamp| words::when(at, now, app.config.shop.timezone);
    let link = Some((format!("/runs/{}", latest.id), "See the run"));
    match latest.state.as_str() {
        "failed" => {
            let age = run.map_or_else(String::new, |run| format!(" The numbers below are from {}.", near(run.as_of)));
            let again = latest.retry_at.map_or_else(
                || " It is not tried again by itself: press Score now.".to_owned(),
                |at| format!(" It is tried again {}.", near(at)),
            );
            let error = latest.error.as_deref().unwrap_or("The reason is in the log.");
            Some(Notice {
                tone: "bad",
                title: "Scoring failed".to_owned(),
                text: format!("{error}{age}{again}"),
                command: "",
                link,
            })
        }
        "scoring" => Some(Notice {
            tone: "ok",
            title: "Scoring".to_owned(),
            text: format!("A run is under way since {}.", near(latest.started_at)),
            command: "",
            link: Some(("/".to_owned(), "Look again")),
        }),
        _ if latest.held => Some(Notice {
            tone: "warn",
            title: "Run held".to_owned(),
            text: format!(
                "It changed {}, more than usual, so nothing was sent yet.",
                words::counted(latest.changed, "customer", "customers")
            ),
            command: "",
            link,
        }),
        _ => None,
    }
}
