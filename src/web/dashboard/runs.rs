//! `GET /runs`, `GET /runs/{id}`: did the night work? `POST /runs`: score now.

use std::sync::{Arc, atomic::Ordering};

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use rusqlite::Connection;
use tokio::sync::mpsc::error::TrySendError;

use super::{
    App,
    definitions::{self, Cut, Direction, terms},
    deliveries::Tab,
    overview::segment_href,
    statistics::{self, Run},
    syncs,
    view::{self, Chrome, Moment},
    words,
};
use crate::{
    model::{Money, Timestamp},
    outbox,
    web::error::PageError,
};

/// Runs on a page.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs {
    chrome: Chrome,
    rows: Vec<Row>,
    /// What was fetched from the shop; under the newest runs alone.
    syncs: Vec<syncs::Row>,
    first: bool,
    next: Option<String>,
}

/// A run as a line of a list and the head of its own page.
pub struct Row {
    pub id: i64,
    pub href: String,
    pub as_of: Moment,
    pub trigger: &'static str,
    pub tone: &'static str,
    pub state: &'static str,
    /// These four are dashes of a run that scored nobody yet.
    pub scored: String,
    pub moved: String,
    pub new: String,
    pub left: String,
    pub duration: String,
    pub notes: Vec<String>,
}

#[derive(Template)]
#[template(path = "run.html")]
struct Detail {
    chrome: Chrome,
    row: Row,
    facts: Vec<(&'static str, String)>,
    error: Option<String>,
    receipts: Vec<ReceiptRow>,
    segments: Vec<(String, &'static str, String, String, String)>,
    cuts: Vec<CutRow>,
    moves: Vec<MoveRow>,
    /// The run came so far that there is something to say about customers.
    scored: bool,
    /// Where it is compared with any other run; empty: it cannot be.
    compare: String,
}

/// What became of the run's changes at one destination.
struct ReceiptRow {
    destination: String,
    /// Where most is to be looked at.
    href: String,
    tone: &'static str,
    events: String,
    /// As the tabs of Deliveries: delivered, waiting, retrying, held, gave up, not sent. The address is
    /// empty where there are none.
    tabs: [(String, String); 6],
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

/// `GET /runs`
pub async fn list(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let before: Option<i64> = view::parameter(&pairs, "after").and_then(|id| id.parse().ok());
    let reader = Arc::clone(&app);
    let (chrome, mut runs, syncs) = app
        .readers
        .read(move |connection| {
            let runs = statistics::page(connection, before.unwrap_or(i64::MAX), PAGE + 1)?;
            let syncs = if before.is_none() { syncs::latest(&reader, connection)? } else { Vec::new() };
            let run = statistics::in_force(connection)?;
            Ok((Chrome::new(&reader, connection, "runs", run.as_ref(), reader.clock.now())?, runs, syncs))
        })
        .await?;
    let more = runs.len() > PAGE;
    runs.truncate(PAGE);
    view::html(&Runs {
        chrome,
        next: runs.last().filter(|_| more).map(|run| format!("/runs?after={}", run.id)),
        rows: runs.iter().map(|run| row(&app, run)).collect(),
        syncs,
        first: before.is_none(),
    })
}

/// `GET /runs/{id}`
pub async fn detail(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, PageError> {
    let reader = Arc::clone(&app);
    let wanted: Option<i64> = id.parse().ok();
    let found = app
        .readers
        .read(move |connection| {
            let run = wanted.map(|id| statistics::by_id(connection, id)).transpose()?.flatten();
            Ok(run.map(|run| load(&reader, connection, &run)).transpose()?)
        })
        .await?;
    let detail =
        found.ok_or_else(|| PageError::NotFound("There is no such run. The list shows all there are.".to_owned()))?;
    view::html(&detail)
}

/// `POST /runs`: asks for a run and goes back to the Overview, which says so. When one is already
/// asked for, that one will do.
pub async fn score_now(State(app): State<Arc<App>>) -> Result<Response, PageError> {
    match app.score_now.try_send(()) {
        Ok(()) | Err(TrySendError::Full(())) => {
            app.asked.store(app.clock.now().millis(), Ordering::Relaxed);
            Ok(Redirect::to("/").into_response())
        }
        Err(TrySendError::Closed(())) => Err(PageError::Unavailable(
            "Scoring has stopped in this process. Restart quintile and try again.".to_owned(),
        )),
    }
}

pub fn row(app: &App, run: &Run) -> Row {
    let mut notes = Vec::new();
    if run.baseline {
        notes.push("first run".to_owned());
    }
    if run.remap {
        notes.push("new segment rules".to_owned());
    }
    if run.held {
        notes.push("deliveries held".to_owned());
    }
    if run.missed > 0 {
        notes.push(format!("stands for {} more", words::counted(run.missed, "missed night", "missed nights")));
    }
    if run.attempts > 1 {
        notes.push(format!("attempt {}", run.attempts));
    }
    let (tone, state) = match run.state.as_str() {
        "done" => ("ok", "Done"),
        "failed" => ("bad", "Failed"),
        "scored" => ("warn", "Sending"),
        _ => ("warn", "Scoring"),
    };
    let count = |number| if run.scored_at.is_some() { words::count(number) } else { "–".to_owned() };
    Row {
        id: run.id,
        href: format!("/runs/{}", run.id),
        as_of: Moment::new(app, run.as_of),
        trigger: match run.trigger.as_str() {
            "scheduled" => "Nightly",
            "catch_up" => "Caught up",
            "manual" => "By hand",
            _ => "Backfill",
        },
        tone,
        state,
        scored: count(run.scored),
        moved: count(run.moved),
        new: count(run.new),
        left: count(run.left),
        duration: run.score_ms.map_or_else(String::new, |ms| words::duration(ms + run.emit_ms.unwrap_or(0))),
        notes,
    }
}

fn load(app: &App, connection: &Connection, run: &Run) -> rusqlite::Result<Detail> {
    let currency = app.config.shop.currency;
    let segments = statistics::segments(connection, run.id)?;
    let moves = statistics::moves(connection, run.id)?;
    let [r, f, m] = ["r", "f", "m"].map(|dimension| statistics::cuts(connection, run.id, dimension));
    Ok(Detail {
        chrome: Chrome::new(app, connection, "runs", statistics::in_force(connection)?.as_ref(), app.clock.now())?,
        row: row(app, run),
        facts: facts(app, run),
        error: run.error.clone(),
        receipts: outbox::receipt(connection, run.id)?.iter().map(|receipt| receipt_row(run, receipt)).collect(),
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
        cuts: cut_rows(app, run, &r?, &f?, &m?),
        moves: moves
            .iter()
            .map(|step| (step, definitions::direction(&step.old, &step.new, |name| app.names.level(name))))
            .filter(|(_, way)| *way != Direction::None)
            .map(|(step, direction)| MoveRow {
                old: if step.old.is_empty() { "Not scored before".to_owned() } else { app.names.label(&step.old) },
                new: if step.new.is_empty() { "Left".to_owned() } else { app.names.label(&step.new) },
                direction,
                customers: words::count(step.customers),
            })
            .collect(),
        scored: run.scored_at.is_some(),
        compare: if run.scored_at.is_some() && run.scored > 0 && run.trigger != "backfill" {
            format!("/segments?to={}#flow", run.id)
        } else {
            String::new()
        },
    })
}

fn receipt_row(run: &Run, receipt: &outbox::Receipt) -> ReceiptRow {
    let href = |tab: Tab| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", tab.as_str()).append_pair("destination", &receipt.destination);
        query.append_pair("run", &run.id.to_string());
        format!("/deliveries?{}", query.finish())
    };
    let cell = |tab, events: i64| (words::count(events), if events > 0 { href(tab) } else { String::new() });
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
        events: words::count(receipt.changes),
        tabs: [
            cell(Tab::Delivered, receipt.delivered),
            cell(Tab::Waiting, receipt.open - receipt.held - receipt.retrying),
            cell(Tab::Retrying, receipt.retrying),
            cell(Tab::Held, receipt.held),
            cell(Tab::GaveUp, receipt.dead),
            cell(Tab::NotSent, receipt.superseded + receipt.discarded),
        ],
    }
}

fn facts(app: &App, run: &Run) -> Vec<(&'static str, String)> {
    let moment = |at: Option<Timestamp>| at.map_or_else(|| "not yet".to_owned(), |at| Moment::new(app, at).text);
    let span = |ms: Option<i64>| ms.map_or_else(|| "–".to_owned(), words::duration);
    let mut facts = Vec::new();
    if run.state != "failed" || run.scored_at.is_some() {
        facts.extend([
            ("Scored customers", words::count(run.scored)),
            ("Moved", words::count(run.moved)),
            ("New", words::count(run.new)),
            ("Left", words::count(run.left)),
            ("Scores in force since", moment(run.scored_at)),
            ("Events handed to deliveries", moment(run.emitted_at)),
        ]);
    }
    facts.extend([
        ("Started", Moment::new(app, run.started_at).text),
        ("Scoring took", span(run.score_ms)),
        ("of which ranking", span(run.rank_ms)),
        ("of which writing", span(run.write_ms)),
        ("Handing over took", span(run.emit_ms)),
        (
            "Equal customers",
            if run.ties == "together" { "get equal scores" } else { "are split by their id" }.to_owned(),
        ),
        (
            "Orders that count",
            if run.window_days == 0 { "all".to_owned() } else { format!("of the last {} days", run.window_days) },
        ),
    ]);
    if let Some(at) = run.retry_at {
        facts.push(("Tried again", Moment::new(app, at).text));
    }
    facts
}

fn cut_rows(app: &App, run: &Run, r: &[Cut], f: &[Cut], m: &[Cut]) -> Vec<CutRow> {
    let currency = app.config.shop.currency;
    let zone = app.config.shop.timezone;
    let text = |cuts: &[Cut], score: u8, show: &dyn Fn(i64) -> String, unit: &str| {
        cuts.iter().find(|cut| cut.quintile == score && cut.customers > 0).map_or_else(
            || ("nobody".to_owned(), String::new()),
            |cut| {
                let (low, high) = (show(cut.lowest), show(cut.highest));
                let range = if low == high { low } else { format!("{low} – {high}") };
                (
                    format!("{range}{}", if cut.highest == 1 { unit.trim_end_matches('s') } else { unit }),
                    words::counted(cut.customers, "customer", "customers"),
                )
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
                text(r, score, &|at| words::day(Timestamp::from_millis(at), zone), ""),
                text(f, score, &words::count, " orders"),
                text(m, score, &|spent| words::money(Money(spent), currency), ""),
            ],
        })
        .collect()
}
