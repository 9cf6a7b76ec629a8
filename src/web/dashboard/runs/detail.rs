//! `GET /runs/{id}`: what one run did.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use rusqlite::Connection;

use super::{Row, row};
use crate::{
    model::{Money, Timestamp},
    outbox,
    web::{
        dashboard::{
            App,
            definitions::{
                self, Cut, Direction, Move,
                terms::{self, Term},
            },
            deliveries::Tab,
            heat,
            matrix::{self, Matrix},
            notices,
            overview::segment_href,
            segments::flow,
            statistics::{self, Run},
            view::{self, Chrome, Moment},
            words,
        },
        error::PageError,
    },
};

/// Deliveries of a destination, state and size that are counted; beyond, the page says "100,000+".
const COUNTED: i64 = 100_000;
/// Movements listed one by one; the matrix has all.
const MOVES: usize = 8;

#[derive(Template)]
#[template(path = "run.html")]
struct Detail {
    chrome: Chrome,
    row: Row,
    facts: Vec<(&'static str, String)>,
    steps: Vec<Step>,
    error: Option<String>,
    receipts: Vec<ReceiptRow>,
    segments: Vec<(String, &'static str, String, String, String)>,
    cuts: Vec<CutRow>,
    /// Why two of their ranges may end in the same value.
    cuts_note: &'static str,
    /// What became of a run that failed.
    todo: String,
    /// `None`: the run never came so far that there is something to say about customers.
    moves: Option<Moves>,
    /// Where it is compared with any other run; empty: it cannot be.
    compare: String,
}

/// A step of the run.
struct Step {
    name: &'static str,
    /// "not yet"
    ended: String,
    took: String,
}

/// Who moved.
struct Moves {
    /// "24 moved, 3 new; 12 up, 9 down"
    summary: String,
    largest: Vec<MoveRow>,
    /// What is not in `largest`; empty: nothing.
    smaller: String,
    /// `None`: nobody is to be shown.
    matrix: Option<Matrix>,
    unchanged: bool,
    /// The same page with or without who stayed; empty: there is no run before.
    other: String,
    /// The drawing of the same.
    drawing: String,
}

/// What became of the run's changes at one destination.
struct ReceiptRow {
    destination: String,
    /// Where most is to be looked at.
    href: String,
    tone: &'static str,
    events: String,
    /// As the tabs of Deliveries: their word, how many, and where they are; empty where there are none.
    tabs: [(Term, String, String); 6],
}

struct CutRow {
    score: u8,
    /// (range of values, customers in it) of recency, frequency and monetary value.
    dimensions: [(String, String); 3],
}

struct MoveRow {
    old: String,
    new: String,
    direction: Direction,
    customers: String,
}

/// `GET /runs/{id}`, `GET /runs/{id}?unchanged=1`
pub async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let unchanged = view::parameter(&pairs, "unchanged") == Some("1");
    let reader = Arc::clone(&app);
    let wanted: Option<i64> = id.parse().ok();
    let found = app
        .readers
        .read(move |connection| {
            let run = wanted.map(|id| statistics::by_id(connection, id)).transpose()?.flatten();
            Ok(run.map(|run| load(&reader, connection, &run, unchanged)).transpose()?)
        })
        .await?;
    let detail =
        found.ok_or_else(|| PageError::NotFound("There is no such run. The list shows all there are.".to_owned()))?;
    view::html(&detail)
}

fn load(app: &App, connection: &Connection, run: &Run, unchanged: bool) -> rusqlite::Result<Detail> {
    let currency = app.config.shop.currency;
    let segments = statistics::segments(connection, run.id)?;
    let [r, f, m] = ["r", "f", "m"].map(|dimension| statistics::cuts(connection, run.id, dimension));
    let (r, f, m) = (r?, f?, m?);
    Ok(Detail {
        chrome: Chrome::new(app, connection, "runs", statistics::in_force(connection)?.as_ref(), app.clock.now())?
            .with_words_of("run"),
        row: row(app, run),
        facts: facts(app, run),
        steps: steps(app, run),
        error: run.error.clone(),
        receipts: outbox::receipt(connection, run.id, COUNTED)?
            .iter()
            .map(|receipt| receipt_row(run, receipt))
            .collect(),
        segments: segments
            .iter()
            .map(|segment| {
                let name = segment.segment.as_str();
                (
                    app.names.label(name),
                    app.names.tone(name),
                    segment_href(name),
                    words::count(segment.customers),
                    words::money_rounded(segment.revenue, currency),
                )
            })
            .collect(),
        cuts_note: match run.ties.as_str() {
            "split" => "Equal customers are split by their id, so one value can end two ranges.",
            _ if heat::meet_on_a_day(&r, run.as_of) => {
                "Where two ranges meet on a day, the hour of the last order parts them."
            }
            _ => "",
        },
        cuts: cut_rows(app, run, &r, &f, &m),
        todo: notices::again(app, run, app.clock.now()),
        moves: run.scored_at.map(|_| moves(app, connection, run, unchanged)).transpose()?,
        compare: if run.scored_at.is_some() && run.scored > 0 && run.trigger != "backfill" {
            format!("/segments?to={}#flow", run.id)
        } else {
            String::new()
        },
    })
}

fn moves(app: &App, connection: &Connection, run: &Run, unchanged: bool) -> rusqlite::Result<Moves> {
    let rank = |name: &str| app.names.all().position(|segment| segment.name == name);
    let level = |name: &str| app.names.level(name);
    // A backfill moves nobody.
    let before = if run.trigger == "backfill" { None } else { statistics::before(connection, run)? };
    let all = match &before {
        Some(before) => flow::of_run(connection, before.id, run.id)?,
        None => statistics::moves(connection, run.id)?,
    };
    let shown: Vec<&Move> = all.iter().filter(|step| unchanged || step.old != step.new).collect();
    let mut listed: Vec<(&Move, Direction)> = all
        .iter()
        .map(|step| (step, definitions::direction(&step.old, &step.new, level)))
        .filter(|(_, way)| *way != Direction::None)
        .collect();
    let rest = listed.split_off(listed.len().min(MOVES));
    let smaller: i64 = rest.iter().map(|(step, _)| step.customers).sum();
    let moved = definitions::moved(&all, level);
    let told = |parts: &[(i64, &str)]| -> String {
        let some = parts.iter().filter(|(count, _)| *count > 0);
        some.map(|(count, word)| format!("{} {word}", words::count(*count))).collect::<Vec<_>>().join(", ")
    };
    let mut summary = told(&[(moved.total, "moved"), (moved.new, "new"), (moved.left, "left")]);
    if moved.up + moved.down > 0 {
        summary = format!("{summary}; {}", told(&[(moved.up, "up"), (moved.down, "down"), (moved.aside(), "neither")]));
    }
    Ok(Moves {
        summary,
        largest: listed
            .into_iter()
            .map(|(step, direction)| MoveRow {
                old: matrix::old_label(app, &step.old),
                new: matrix::new_label(app, &step.new),
                direction,
                customers: words::count(step.customers),
            })
            .collect(),
        smaller: if smaller == 0 {
            String::new()
        } else {
            format!(
                "and {} in {}",
                words::counted(smaller, "customer", "customers"),
                words::counted(i64::try_from(rest.len()).unwrap_or(i64::MAX), "smaller movement", "smaller movements")
            )
        },
        matrix: (!shown.is_empty()).then(|| matrix::matrix(app, &shown, rank, level)),
        unchanged,
        other: match (&before, unchanged) {
            (None, _) => String::new(),
            (Some(_), true) => format!("/runs/{}#moves", run.id),
            (Some(_), false) => format!("/runs/{}?unchanged=1#moves", run.id),
        },
        drawing: before.map_or_else(String::new, |before| format!("/segments?from={}&to={}#flow", before.id, run.id)),
    })
}

fn receipt_row(run: &Run, receipt: &outbox::Receipt) -> ReceiptRow {
    let href = |tab: Tab| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", tab.as_str()).append_pair("destination", &receipt.destination);
        query.append_pair("run", &run.id.to_string());
        format!("/deliveries?{}", query.finish())
    };
    let counted = |events: i64| {
        let plus = if receipt.more && events >= COUNTED { "+" } else { "" };
        format!("{}{plus}", words::count(events))
    };
    let cell = |term, tab, events: i64| (term, counted(events), if events > 0 { href(tab) } else { String::new() });
    let worst = match () {
        () if receipt.dead > 0 => Tab::GaveUp,
        () if receipt.held > 0 => Tab::Held,
        () if receipt.retrying > 0 => Tab::Retrying,
        () if receipt.open > 0 => Tab::Waiting,
        () => Tab::Delivered,
    };
    ReceiptRow {
        destination: receipt.destination.clone(),
        href: href(worst),
        tone: match worst {
            Tab::GaveUp => "bad",
            Tab::Delivered => "ok",
            _ => "warn",
        },
        events: counted(receipt.changes),
        tabs: [
            cell(terms::DELIVERED, Tab::Delivered, receipt.delivered),
            cell(terms::WAITING, Tab::Waiting, receipt.open - receipt.held - receipt.retrying),
            cell(terms::RETRYING, Tab::Retrying, receipt.retrying),
            cell(terms::HELD, Tab::Held, receipt.held),
            cell(terms::GAVE_UP, Tab::GaveUp, receipt.dead),
            cell(terms::NOT_SENT, Tab::NotSent, receipt.superseded + receipt.discarded),
        ],
    }
}

fn facts(app: &App, run: &Run) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Trigger", row(app, run).trigger.to_owned())];
    if run.scored_at.is_some() {
        facts.extend([
            ("Scored customers", words::count(run.scored)),
            ("Moved", words::count(run.moved)),
            ("New", words::count(run.new)),
            ("Left", words::count(run.left)),
        ]);
    }
    facts.extend([
        (
            "Equal customers",
            if run.ties == "together" { "get equal scores" } else { "are split by their id" }.to_owned(),
        ),
        (
            "Orders that count",
            if run.window_days == 0 { "all".to_owned() } else { format!("of the last {} days", run.window_days) },
        ),
    ]);
    if run.attempts > 1 {
        facts.push(("Attempts", words::count(run.attempts)));
    }
    if let Some(at) = run.retry_at {
        facts.push(("Tried again", Moment::new(app, at).text));
    }
    facts
}

/// The steps that a run has come to, and the next one.
fn steps(app: &App, run: &Run) -> Vec<Step> {
    let took = |ms: Option<i64>| ms.map_or_else(String::new, words::duration);
    let step = |name, ended: Option<Timestamp>, ms| Step {
        name,
        ended: ended.map_or_else(|| "not yet".to_owned(), |at| Moment::new(app, at).text),
        took: took(ms),
    };
    let mut steps = vec![Step { name: "Started", ended: Moment::new(app, run.started_at).text, took: String::new() }];
    if let Some(at) = run.scored_at {
        let ranked = run.started_at.plus_millis(run.rank_ms.unwrap_or(0));
        steps.push(step("Ranked all customers", Some(ranked), run.rank_ms));
        steps.push(step("Wrote scores, changes and events", Some(at), run.write_ms));
        steps.push(step("Events handed to deliveries", run.emitted_at, run.emit_ms));
    } else if run.state != "failed" {
        steps.push(step("Rank all customers and write what changed", None, None));
    }
    steps
}

fn cut_rows(app: &App, run: &Run, r: &[Cut], f: &[Cut], m: &[Cut]) -> Vec<CutRow> {
    let currency = app.config.shop.currency;
    let zone = app.config.shop.timezone;
    let text = |cuts: &[Cut], score: u8, show: &dyn Fn(i64) -> String| {
        cuts.iter().find(|cut| cut.quintile == score && cut.customers > 0).map_or_else(
            || ("nobody".to_owned(), String::new()),
            |cut| {
                let (low, high) = (show(cut.lowest), show(cut.highest));
                let range = if low == high { low } else { format!("{low} – {high}") };
                (range, words::counted(cut.customers, "customer", "customers"))
            },
        )
    };
    if run.scored_at.is_none() {
        return Vec::new();
    }
    (1..=5u8)
        .rev()
        .map(|score| CutRow {
            score,
            dimensions: [
                text(r, score, &|at| words::day(Timestamp::from_millis(at), zone)),
                text(f, score, &words::count),
                text(m, score, &|spent| words::money(Money(spent), currency)),
            ],
        })
        .collect()
}
