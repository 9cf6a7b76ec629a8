//! `GET /deliveries`: did my email tool get it?

pub mod curl;
pub mod decide;
pub mod detail;
pub mod export;
mod filter;
pub mod queue;
mod standing;
pub mod visible;

use std::{collections::BTreeMap, sync::Arc};

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::Connection;

pub use self::filter::Tab;
use self::{
    filter::{Filter, Spot},
    queue::Delivery,
};
use super::{
    App, names,
    said::Notice,
    statistics, timeline,
    view::{self, Chrome, Moment},
    words,
};
use crate::{
    model::Timestamp,
    outbox::{self, EventType, Health},
    web::error::PageError,
};

/// Deliveries on a page.
const PAGE: usize = 50;
/// Characters of an error in a list.
const ERROR_CHARS: usize = 140;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct Deliveries {
    chrome: Chrome,
    tabs: Vec<TabRow>,
    /// What the tab shows.
    meaning: String,
    /// What was just done.
    outcome: Option<Notice>,
    /// Destinations that are not sent to as usual.
    obstacles: Vec<String>,
    state: &'static str,
    destinations: Vec<Choice>,
    segments: Vec<Choice>,
    run: String,
    customer: String,
    /// Why what is listed is held, if only one reason is asked for.
    hold: Option<outbox::Hold>,
    narrow: bool,
    clear: String,
    rows: Vec<Row>,
    ended: bool,
    /// Label and address of what can be done with all that match.
    decisions: Vec<(&'static str, String)>,
    csv: String,
    first: Option<String>,
    next: Option<String>,
    stopped: bool,
    walk: String,
    empty: Empty,
    /// In which order they stand, and where they stand in the other one.
    order: String,
    turn: (&'static str, String),
    /// Kept by the filter's form; empty: the usual order.
    order_kept: &'static str,
}

struct TabRow {
    label: &'static str,
    count: String,
    href: String,
    current: bool,
}

struct Choice {
    value: String,
    label: String,
    selected: bool,
}

/// Why there are no rows.
enum Empty {
    /// Nothing was ever queued.
    Nothing {
        destinations: bool,
    },
    Tab,
    Filter,
}

/// A delivery as a line of the list.
pub struct Row {
    pub href: String,
    pub title: String,
    /// "At risk → Champions", "first order"
    pub what: String,
    pub destination: String,
    pub tone: &'static str,
    pub state: &'static str,
    /// Of what has not ended.
    pub next: String,
    /// Of what has.
    pub ended: Option<Moment>,
    pub tries: String,
    pub answer: String,
}

/// How each destination of the configuration fares.
pub type Healths = BTreeMap<String, Health>;

/// `GET /deliveries`
pub async fn page(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let asked = Filter::from_pairs(&pairs)?;
    names::must_know(&app, asked.segment.as_deref()).await?;
    let reader = Arc::clone(&app);
    let outcome = app.said.take(&pairs);
    let page = app.readers.read(move |connection| Ok(load(&reader, connection, &asked, &pairs)?)).await?;
    view::html(&Deliveries { outcome, ..page })
}

fn load(
    app: &App,
    connection: &Connection,
    asked: &Filter,
    pairs: &[(String, String)],
) -> rusqlite::Result<Deliveries> {
    let now = app.clock.now();
    let counts = queue::counts(connection)?;
    let tab = most_urgent(connection, asked, counts)?;
    let filter = asked.in_tab(tab);
    let after = view::parameter(pairs, "after").and_then(Spot::parse);
    let page = queue::page(connection, &filter, tab, after, PAGE)?;
    let run = statistics::in_force(connection)?;
    let healths = healths(app, connection, now)?;
    let known = run.as_ref().map(|run| statistics::segments(connection, run.id)).transpose()?.unwrap_or_default();
    let used: Vec<String> = known.into_iter().map(|segment| segment.segment).collect();
    let open = matches!(tab, Tab::Waiting | Tab::Retrying | Tab::Held);
    let rows: Vec<Row> =
        page.deliveries.iter().map(|delivery| row(app, delivery, healths.get(&delivery.destination), now)).collect();
    let decide = |action: &outbox::Action| {
        let href = filter.href("/deliveries/decide", &[("action", decide::name(*action))]);
        (decide::label(*action, tab), href)
    };
    Ok(Deliveries {
        chrome: Chrome::new(app, connection, "deliveries", run.as_ref(), now)?,
        tabs: tabs(asked, tab, counts),
        meaning: words::capital(tab.term().meaning),
        outcome: None,
        obstacles: obstacles(&healths, &filter, now)
            .into_iter()
            .filter(|_| open && counts_of(counts, tab) > 0)
            .collect(),
        state: tab.as_str(),
        destinations: destination_choices(app, &filter),
        segments: segment_choices(app, &filter, &used),
        run: filter.run.map(|run| run.to_string()).unwrap_or_default(),
        customer: filter.customer.map(|customer| customer.to_string()).unwrap_or_default(),
        hold: filter.hold,
        narrow: filter.is_narrow(),
        clear: Filter::default().in_tab(tab).href("/deliveries", &[]),
        ended: !open,
        decisions: if rows.is_empty() { Vec::new() } else { tab.actions().iter().map(decide).collect() },
        rows,
        csv: filter.href("/deliveries.csv", &[]),
        first: after.map(|_| filter.href("/deliveries", &[])),
        next: page.next.map(|spot| filter.href("/deliveries", &[("after", &spot.to_string())])),
        stopped: page.stopped,
        walk: words::count(i64::try_from(queue::WALK).unwrap_or(i64::MAX)),
        empty: match () {
            () if filter.is_narrow() => Empty::Filter,
            () if counts.iter().all(|count| *count == 0) => {
                Empty::Nothing { destinations: !app.config.destination.is_empty() }
            }
            () => Empty::Tab,
        },
        order: order(&filter, tab),
        turn: (if filter.oldest { "Newest first" } else { "Oldest first" }, filter.turned().href("/deliveries", &[])),
        order_kept: if filter.oldest { filter::OLDEST } else { "" },
    })
}

/// The tab that is asked for; else the first that has something, what needs the merchant before the rest.
fn most_urgent(connection: &Connection, filter: &Filter, counts: [i64; 6]) -> rusqlite::Result<Tab> {
    if let Some(tab) = filter.tab {
        return Ok(tab);
    }
    for tab in [Tab::GaveUp, Tab::Held, Tab::Retrying, Tab::Waiting] {
        if counts_of(counts, tab) > 0 && (!filter.is_narrow() || queue::any(connection, filter, tab)?) {
            return Ok(tab);
        }
    }
    Ok(Tab::Delivered)
}

/// A tab shows one state after the other, and of a run one destination after the other.
fn order(filter: &Filter, tab: Tab) -> String {
    let within = if filter.oldest { "the oldest first" } else { "the newest first" };
    match (filter.run, tab) {
        (Some(_), _) => format!("By destination, then {within}."),
        (None, Tab::Waiting) => format!("What is on its way, then what waits, each {within}."),
        (None, Tab::NotSent) => format!("What was replaced, then what was discarded, each {within}."),
        (None, _) => words::capital(within) + ".",
    }
}

fn counts_of(counts: [i64; 6], tab: Tab) -> i64 {
    Tab::ALL.iter().zip(counts).find(|(other, _)| **other == tab).map_or(0, |(_, count)| count)
}

fn tabs(asked: &Filter, current: Tab, counts: [i64; 6]) -> Vec<TabRow> {
    Tab::ALL
        .into_iter()
        .zip(counts)
        .map(|(tab, count)| TabRow {
            label: tab.label(),
            count: bounded(count),
            href: asked.in_tab(tab).href("/deliveries", &[]),
            current: tab == current,
        })
        .collect()
}

/// "412", "10,000+"
pub fn bounded(count: i64) -> String {
    let plus = if count >= queue::COUNTED { "+" } else { "" };
    format!("{}{plus}", words::count(count.min(queue::COUNTED)))
}

pub fn healths(app: &App, connection: &Connection, now: Timestamp) -> rusqlite::Result<Healths> {
    let health = |destination: &crate::config::Destination| {
        Ok((destination.name.clone(), outbox::health(connection, &destination.name, now)?))
    };
    app.config.destination.iter().map(health).collect()
}

fn obstacles(healths: &Healths, filter: &Filter, now: Timestamp) -> Vec<String> {
    let meant = |name: &str| filter.destination.as_deref().is_none_or(|wanted| wanted == name);
    healths
        .iter()
        .filter(|(name, _)| meant(name))
        .filter_map(|(name, health)| standing::obstacle(name, health, now))
        .collect()
}

fn destination_choices(app: &App, filter: &Filter) -> Vec<Choice> {
    let mut names: Vec<&str> = app.config.destination.iter().map(|destination| destination.name.as_str()).collect();
    // One that the configuration has no more.
    names.extend(filter.destination.as_deref().filter(|name| !names.contains(name)));
    let choice = |name: &str| Choice {
        value: name.to_owned(),
        label: name.to_owned(),
        selected: filter.destination.as_deref() == Some(name),
    };
    names.into_iter().map(choice).collect()
}

fn segment_choices(app: &App, filter: &Filter, used: &[String]) -> Vec<Choice> {
    let mut names: Vec<&str> = app.names.all().map(|segment| segment.name.as_str()).collect();
    for name in used.iter().map(String::as_str).chain(filter.segment.as_deref()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let choice = |name: &str| Choice {
        value: name.to_owned(),
        label: app.names.label(name),
        selected: filter.segment.as_deref() == Some(name),
    };
    names.into_iter().map(choice).collect()
}

/// A delivery in words.
pub fn row(app: &App, delivery: &Delivery, health: Option<&Health>, now: Timestamp) -> Row {
    let (tone, state) = timeline::state_words(delivery.state.as_str(), delivery.hold.map(outbox::Hold::as_str));
    Row {
        href: format!("/deliveries/{}", delivery.id),
        title: match &delivery.customer {
            _ if delivery.events > 1 => words::counted(delivery.events, "customer", "customers"),
            Some((_, name)) => name.clone(),
            None => "Nobody in particular".to_owned(),
        },
        what: what(app, delivery),
        destination: delivery.destination.clone(),
        tone,
        state,
        next: standing::next(delivery, health, now),
        ended: delivery.finished_at.map(|at| Moment::near(app, at, now)),
        tries: words::count(delivery.attempts),
        answer: answer(delivery),
    }
}

/// "At risk → Champions"; of a batch only its kind.
pub fn what(app: &App, delivery: &Delivery) -> String {
    let label = |name: &Option<String>| name.as_deref().map(|name| app.names.label(name));
    match (delivery.kind, label(&delivery.old), label(&delivery.new)) {
        (EventType::SegmentChanged, ..) if delivery.events > 1 => "changes of segment".to_owned(),
        (EventType::SegmentChanged, Some(old), Some(new)) => format!("{old} → {new}"),
        (EventType::SegmentChanged, None, Some(new)) => format!("{new}, first segment"),
        (EventType::SegmentChanged, Some(old), None) => format!("{old} → no segment"),
        (EventType::SegmentChanged, None, None) => "change of segment".to_owned(),
        (EventType::FirstOrder, ..) => "first order".to_owned(),
        (EventType::Lapsed, ..) => "no order for long".to_owned(),
        (EventType::Redacted, ..) => "erased on request".to_owned(),
        (EventType::Test, ..) => "test".to_owned(),
    }
}

/// The last answer, cut to one line.
fn answer(delivery: &Delivery) -> String {
    let text = match (&delivery.last_error, delivery.last_status) {
        (Some(error), _) => visible::line(error),
        (None, Some(status)) => format!("answered {status}"),
        (None, None) => String::new(),
    };
    let short: String = text.chars().take(ERROR_CHARS).collect();
    if short.len() < text.len() { format!("{short}…") } else { short }
}
