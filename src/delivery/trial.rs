//! One marked event sent to a destination at once, to see what its tool says. It goes past the
//! queue: nothing of it is stored, and it works while a destination is paused or failing.

use std::time::Instant;

use anyhow::{Context, bail};
use rusqlite::Connection;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    client::{Client, LIMITS},
    destination::{Destination, Message},
    guard::Guard,
    plan::{Meaning, mask},
    preview::{shown_headers, veiled},
    retry::{self, Failure, Reply, Try},
    send::understand,
};
use crate::{
    config::{self, Config},
    model::{Money, Quintile, Source, Timestamp},
    outbox::{Claim, Effect, Event, EventCustomer, EventType, Ids, Route, Shop, Verdict, body_of, msg_id, test_about},
};

/// The e-mail of the made-up customer, unless the merchant gives one: `.example` belongs to nobody.
const EMAIL: &str = "test@quintile.example";

/// What was sent and what came back. Shows no secret.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    pub destination: String,
    /// Every request was taken, by a tool that knows the customer and wants more.
    pub ok: bool,
    pub requests: Vec<Exchanged>,
    /// In plain words: what the tool says, and what to do.
    pub diagnosis: String,
}

/// One request and its answer.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exchanged {
    pub method: String,
    /// Without what may be secret in it.
    pub url: String,
    /// Names and values; of those that may be secret `…`.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// `None`: no answer.
    pub status: Option<u16>,
    /// The beginning of the answer's body.
    pub answer: String,
    pub duration_ms: u64,
}

/// Whom a test event is about, for tools that take one only of people they know.
#[derive(Debug, Clone)]
pub struct Person {
    pub email: String,
    /// What tools know of them already, so that the test changes nothing there; see
    /// [`test_about`]. `None`: no customer has this e-mail.
    pub known: Option<Event>,
}

impl Person {
    /// Whoever has this e-mail, with what is known of them.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn called(connection: &Connection, email: String, now: Timestamp) -> rusqlite::Result<Self> {
        Ok(Self { known: test_about(connection, &email, now)?, email })
    }
}

/// Sends one event of type `test` to the destination called `name`, about somebody made up or `person`.
///
/// # Errors
/// There is no such destination, it cannot be used, or it may not be told of the person; not what the tool
/// answers.
pub async fn trial(config: &Config, name: &str, person: Option<Person>, now: Timestamp) -> anyhow::Result<Trial> {
    let place = config.destination.iter().position(|destination| destination.name == name);
    let place = place.with_context(|| format!("there is no destination {name:?}"))?;
    let settings = &config.destination[place];
    let destination = Destination::from_config(config)?.swap_remove(place);
    let route = Route::from_config(config)?.swap_remove(place);
    let client = Client::new(Guard::new(&config.forwarder.allow_private)?, 1, LIMITS)?;
    let veil = &destination.veil;
    let (email, known) = person.map_or_else(|| (EMAIL.to_owned(), None), |person| (person.email, person.known));
    if let Some(problem) = known.as_ref().and_then(|known| route.may_not_be_told_of(known)) {
        bail!("{email}: {problem}; name somebody else");
    }
    let event = known.unwrap_or_else(|| made_up(&email, now));
    let claim = claim(&Shop::from_config(config), &route, event);
    let id = msg_id(&claim.message_id);
    let message = Message { claim: &claim, id: &id, quiet: false };
    let mut trial = Trial { destination: name.to_owned(), ok: true, requests: Vec::new(), diagnosis: String::new() };
    for step in 0..destination.plan.steps() {
        let request = match destination.request(step, &message, now) {
            Ok(Some(request)) => request,
            Ok(None) => continue,
            Err(problem) => {
                trial.ok = false;
                trial.diagnosis = format!("The request could not be made: {problem}.");
                return Ok(trial);
            }
        };
        let mut shown = Exchanged {
            method: request.method.to_string(),
            url: mask(&request.url),
            headers: shown_headers(&request.headers),
            body: veiled(veil, &request.body),
            status: None,
            answer: String::new(),
            duration_ms: 0,
        };
        let started = Instant::now();
        let mut exchange = client.send(request).await;
        shown.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        understand(&destination.plan, step, &mut exchange);
        shown.answer = veiled(veil, &exchange.body);
        if let Reply::Answer(answer) = &exchange.reply {
            shown.status = Some(answer.status);
        }
        trial.requests.push(shown);
        let this = Try { message_id: claim.message_id, attempt: 1, counted: 1, events: 1, spared: false };
        let judged = retry::judge(&exchange.reply, this, now);
        if exchange.reply.means(&Meaning::Skipped) {
            trial.ok = false;
            trial.diagnosis = unknown(&email);
            return Ok(trial);
        }
        if let Some(problem) = retry::explain(&exchange.reply, judged.verdict) {
            trial.ok = false;
            trial.diagnosis = diagnosis(&exchange.reply, &veil.take_out_text(&problem), judged.effect, settings);
            if judged.verdict != Verdict::Delivered {
                return Ok(trial);
            }
        }
    }
    if !trial.ok {
        return Ok(trial);
    }
    trial.diagnosis = match trial.requests.len() {
        0 => "There was nothing to send: the templates pass over an event of type `test`.".to_owned(),
        _ => "It works: your tool took the test event.".to_owned(),
    };
    Ok(trial)
}

/// A test event about nobody.
fn made_up(email: &str, now: Timestamp) -> Event {
    Event {
        seq: 0,
        id: Ids::random(now).next(),
        kind: EventType::Test,
        at: now,
        run_id: None,
        old: Some("loyal".to_owned()),
        new: Some("champion".to_owned()),
        cause: None,
        rfm: Quintile::new(5).map(|best| [best; 3]),
        lapsed_days: None,
        customer: Some(EventCustomer {
            id: 0,
            source: Source::Api,
            external_id: Some("test".to_owned()),
            email: Some(email.to_owned()),
            first_name: Some("Test".to_owned()),
            last_name: Some("Customer".to_owned()),
            phone: None,
            order_count: 7,
            total_spent: Money(41_250),
            last_order_at: Some(now),
            consent: None,
            redacted: false,
        }),
    }
}

/// The test event as it would be claimed.
fn claim(shop: &Shop, route: &Route, event: Event) -> Claim {
    let (kind, now) = (event.kind, event.at);
    let message_id = Ids::random(now).next();
    let body = body_of(shop, route, &message_id, &[event]);
    Claim {
        delivery_id: 0,
        route: 0,
        token: String::new(),
        message_id,
        replay_of: None,
        kind,
        events: 1,
        initial: false,
        attempt: 1,
        counted: 1,
        probe: false,
        early: None,
        step: 0,
        created_at: now,
        body,
    }
}

fn unknown(email: &str) -> String {
    format!(
        "your tool does not know {email}: it is not in the audience, or `list` is wrong; try --email of somebody who is"
    )
}

/// What to do about it.
fn diagnosis(reply: &Reply, problem: &str, effect: Effect, settings: &config::Destination) -> String {
    let advice = match effect {
        Effect::Refused if settings.kind == "webhook" => {
            " The signing secret here and the one in your tool differ, or it wants a header of its own: see `headers`."
        }
        Effect::Refused => " The API key is wrong, was revoked, or may not do this.",
        Effect::Wait(_) => " Try again in a few minutes; deliveries wait by themselves.",
        Effect::Disable => " A delivery with this answer would disable the destination.",
        _ => "",
    };
    match reply {
        Reply::Answer(_) => format!("Your tool {problem}.{advice}"),
        Reply::Failure(Failure::Blocked(_)) => format!("Your tool was not asked: {problem}."),
        Reply::Failure(_) => format!("Your tool gave no answer: {problem}."),
    }
}
