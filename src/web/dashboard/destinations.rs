//! `GET /destinations`: where do changes go, and does it work?

pub mod actions;
pub mod export;
mod fares;
mod latency;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use rusqlite::Connection;

use self::fares::{Fare, Filter, Turn};
use super::{
    App,
    deliveries::{self, queue, visible},
    order, statistics,
    view::{self, Chrome, Moment},
    words,
};
use crate::{
    config::{self, Preset, signing::Key},
    delivery::trial::Trial,
    model::Timestamp,
    outbox::{self, DestinationState, Health},
    web::error::PageError,
};

#[derive(Template)]
#[template(path = "destinations.html")]
struct Destinations {
    chrome: Chrome,
    cards: Vec<Card>,
    filter: Filter,
    /// There is something to sort and to filter.
    many: bool,
    /// Where all are shown, and only those that are not well; in the same order.
    everyone: String,
    ailing: String,
    /// The orders that they can stand in.
    turns: Vec<Turn>,
    csv: String,
    /// Destinations that have a queue and that the configuration lacks: name, deliveries, where they are.
    stranded: Vec<(String, String, String)>,
    config_path: String,
    kinds: Vec<&'static str>,
}

struct Card {
    /// Of the card on the page: `d1`.
    anchor: String,
    name: String,
    /// What its forms are sent to, and what they keep: `/destinations/my-tool`, `?sort=name`.
    action: String,
    kept: String,
    kind: String,
    tone: &'static str,
    state: &'static str,
    note: String,
    facts: Vec<(&'static str, String)>,
    deliveries: String,
    /// Deliveries in its queue; empty: none.
    queued: String,
    /// What can be done: each kind of button is there or not.
    pause: bool,
    resume: bool,
    /// It has a signing secret. If not, it is a tool that knows its people by e-mail, and may want a real
    /// one for a test.
    signs: bool,
    outcome: Option<Told>,
}

/// What became of the last button that was pressed.
struct Told {
    tone: &'static str,
    at: Moment,
    text: String,
    exchanges: Vec<Exchange>,
}

/// One request of a test and its answer.
struct Exchange {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
    said: String,
    answer: String,
}

/// The last word on each destination, until the program ends.
#[derive(Default)]
pub struct Outcomes(Mutex<BTreeMap<String, Outcome>>);

#[derive(Clone)]
pub struct Outcome {
    at: Timestamp,
    tone: &'static str,
    text: String,
    trial: Option<Trial>,
}

impl Outcomes {
    fn set(&self, name: &str, outcome: Outcome) {
        // Nothing is half written: those of a thread that died are as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), outcome);
    }

    /// A tool took a test.
    pub fn any_taken(&self) -> bool {
        let outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.values().any(|outcome| outcome.trial.as_ref().is_some_and(|trial| trial.ok))
    }

    /// The last thing that was done with it was a test that failed.
    fn has_failed(&self, name: &str) -> bool {
        self.get(name).and_then(|outcome| outcome.trial).is_some_and(|trial| !trial.ok)
    }

    fn get(&self, name: &str) -> Option<Outcome> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// `GET /destinations`
pub async fn page(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let reader = Arc::clone(&app);
    let page = app.readers.read(move |connection| Ok(load(&reader, connection, Filter::from_pairs(&pairs))?)).await?;
    view::html(&page)
}

fn load(app: &App, connection: &Connection, filter: Filter) -> rusqlite::Result<Destinations> {
    let now = app.clock.now();
    let fares = fares::load(app, connection, filter, now)?;
    let cards: Vec<Card> = fares.iter().map(|fare| card(app, fare, filter, now)).collect();
    let names = queue::open_destinations(connection)?;
    let unknown = names.into_iter().filter(|name| app.config.destination.iter().all(|known| known.name != *name));
    let stranded = unknown
        .map(|name| {
            let count = deliveries::bounded(queue::open(connection, &name)?);
            let href = link(&name);
            Ok((name, count, href))
        })
        .collect::<rusqlite::Result<_>>()?;
    Ok(Destinations {
        chrome: Chrome::new(app, connection, "destinations", statistics::in_force(connection)?.as_ref(), now)?,
        many: app.config.destination.len() > 1,
        turns: filter.turns(),
        everyone: Filter { ailing: false, ..filter }.href("/destinations"),
        ailing: Filter { ailing: true, ..filter }.href("/destinations"),
        filter,
        csv: filter.href("/destinations.csv"),
        cards,
        stranded,
        config_path: app.config_path.display().to_string(),
        kinds: Preset::all().iter().map(|preset| preset.kind.as_str()).collect(),
    })
}

/// Its deliveries.
fn link(name: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("destination", name).finish();
    format!("/deliveries?{query}")
}

fn card(app: &App, fare: &Fare, filter: Filter, now: Timestamp) -> Card {
    let Fare { index, ref health, queue, latency } = *fare;
    let destination = &app.config.destination[index];
    let (tone, state, note) = standing(app, &destination.name, health, now);
    let signs = Preset::of(&destination.kind).is_some_and(|preset| preset.sign);
    let mut facts = vec![
        ("Goes to", app.addresses.get(index).cloned().unwrap_or_default()),
        ("Queue", if queue == 0 { "empty".to_owned() } else { deliveries::bounded(queue) }),
        ("Answers in", latency.answers.map_or_else(|| "–".to_owned(), words::span)),
        ("Latency", latency.arrives.map_or_else(|| "–".to_owned(), words::span)),
        ("Gets", gets(app, destination)),
    ];
    if destination.batch > 1 {
        facts.push((
            "Per request",
            format!("up to {}", words::counted(i64::from(destination.batch), "event", "events")),
        ));
    }
    facts.push(("Secret", secret(app, destination, signs, now)));
    Card {
        anchor: format!("d{}", index + 1),
        name: destination.name.clone(),
        action: actions::path(&destination.name),
        kept: order::address("", filter.order.pairs()),
        kind: destination.kind.clone(),
        tone,
        state,
        note,
        facts,
        deliveries: link(&destination.name),
        queued: if queue == 0 { String::new() } else { deliveries::bounded(queue) },
        pause: matches!(health.state, DestinationState::Active | DestinationState::Failing),
        resume: health.state != DestinationState::Active,
        signs,
        outcome: app.outcomes.get(&destination.name).map(|outcome| told(app, outcome, now)),
    }
}

/// Tone and word of how it fares, and what there is to know beside it.
fn standing(app: &App, name: &str, health: &Health, now: Timestamp) -> (&'static str, &'static str, String) {
    let since = words::when(health.since, now, app.config.shop.timezone);
    let reason = health.reason.as_deref().map(|reason| visible::line(&words::sentence(reason))).unwrap_or_default();
    match health.state {
        DestinationState::Active => match health.wait_until.filter(|until| *until > now) {
            Some(until) => ("warn", "Asked to slow down", format!("It is sent to again {}.", words::until(until, now))),
            None if health.failures > 0 => {
                let failures = match health.failures {
                    1 => "try".to_owned(),
                    failures => words::counted(i64::from(failures), "try", "tries"),
                };
                ("warn", "Unsteady", format!("The last {failures} failed."))
            }
            // A blocked address, or what failed before it was resumed: until a delivery arrives.
            None if !reason.is_empty() => ("warn", "Look at this", words::capital(&reason)),
            None if app.outcomes.has_failed(name) => ("warn", "Look at this", "The last test of it failed.".to_owned()),
            None => ("ok", "Healthy", String::new()),
        },
        DestinationState::Failing => {
            let next = health.probe_at.map(|at| format!(" Next try {}.", words::until(at, now))).unwrap_or_default();
            ("bad", "Failing", format!("Since {since}: {reason}{next}"))
        }
        DestinationState::Paused => ("warn", "Paused", format!("Since {since}. Its queue waits.")),
        DestinationState::Disabled => ("bad", "Disabled", format!("Since {since}: {reason} Its queue waits.")),
    }
}

/// What is sent to it, in words.
pub fn gets(app: &App, destination: &config::Destination) -> String {
    let labels = |names: &[String]| names.iter().map(|name| app.names.label(name)).collect::<Vec<_>>().join(", ");
    let mut parts = vec![match destination.events.as_slice() {
        [] => "all events".to_owned(),
        events => events.join(", "),
    }];
    if !destination.to.is_empty() {
        parts.push(format!("to {}", labels(&destination.to)));
    }
    if !destination.from.is_empty() {
        parts.push(format!("from {}", labels(&destination.from)));
    }
    if !destination.cause.is_empty() {
        parts.push(format!("caused by {}", destination.cause.join(", ")));
    }
    if !destination.min_spent.is_empty() {
        parts.push(format!("of customers who spent {} or more", destination.min_spent));
    }
    parts.join("; ")
}

/// Its secret as far as it may be seen: the last four letters of the newest key.
fn secret(app: &App, destination: &config::Destination, signs: bool, now: Timestamp) -> String {
    if !signs {
        return match destination.secrets.keys().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => "none".to_owned(),
            names => format!("{} is set", names.join(", ")),
        };
    }
    let hint = destination.secret.hint().unwrap_or_else(|| "not set".to_owned());
    let keys = Key::parse_all(destination.secret.expose()).unwrap_or_default();
    let older = keys.iter().skip(1).filter_map(|key| key.ends.filter(|_| key.is_live(now.seconds()))).max();
    match older {
        Some(end) => {
            format!("{hint}; the one before signs too, until {}", words::when(end, now, app.config.shop.timezone))
        }
        None => hint,
    }
}

fn told(app: &App, outcome: Outcome, now: Timestamp) -> Told {
    let exchange = |exchanged: crate::delivery::trial::Exchanged| Exchange {
        line: format!("{} {}", exchanged.method, exchanged.url),
        headers: exchanged.headers,
        body: visible::line(&exchanged.body),
        said: match exchanged.status {
            Some(status) => format!("answered {status} in {} ms", exchanged.duration_ms),
            None => format!("no answer after {} ms", exchanged.duration_ms),
        },
        answer: visible::line(exchanged.answer.trim()),
    };
    Told {
        tone: outcome.tone,
        at: Moment::near(app, outcome.at, now),
        text: outcome.text,
        exchanges: outcome.trial.map(|trial| trial.requests.into_iter().map(exchange).collect()).unwrap_or_default(),
    }
}

/// Whether a destination of this name is in the configuration.
fn place(app: &App, name: &str) -> Result<usize, PageError> {
    app.config.destination.iter().position(|destination| destination.name == name).ok_or_else(|| {
        PageError::NotFound(
            "The configuration has no destination of this name. Destinations shows those there are.".to_owned(),
        )
    })
}

/// How the destination at `index` fares.
async fn health(app: &App, index: usize) -> Result<Health, PageError> {
    let (name, now) = (app.config.destination[index].name.clone(), app.clock.now());
    Ok(app.readers.read(move |connection| Ok(outbox::health(connection, &name, now)?)).await?)
}
