//! `GET /deliveries/{id}`: what was sent, how often, and what came back.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::Response,
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{Row, curl, decide, queue::Delivery, row, standing, visible, what};
use crate::{
    delivery::preview::{Preview, preview},
    model::Timestamp,
    outbox::{self, Action, Draft, Shop, State as Stage, msg_id},
    web::{
        dashboard::{
            App, list,
            said::Notice,
            statistics,
            view::{self, Chrome, Moment},
            words,
        },
        error::PageError,
    },
};

/// Bytes of a body that are shown.
const SHOWN: usize = 16 * 1024;
/// Attempts that are shown, the newest: a tool that asks to slow down may see hundreds.
const ATTEMPTS: i64 = 50;
/// Customers of a batch that are shown.
const MEMBERS: i64 = 100;

#[derive(Template)]
#[template(path = "delivery.html")]
struct Page {
    chrome: Chrome,
    id: i64,
    row: Row,
    outcome: Option<Notice>,
    /// The delivery that sends it again, as far as this page knows; 0: none.
    seen: i64,
    obstacle: Option<String>,
    error: Option<String>,
    facts: Vec<Fact>,
    /// Value and label of each button.
    actions: Vec<(&'static str, &'static str)>,
    sent: &'static str,
    requests: Vec<Request>,
    /// Why there is no request to show.
    nothing: Option<String>,
    attempts: Vec<Attempt>,
    more_attempts: bool,
    members: Vec<Member>,
    more_members: Option<String>,
}

struct Fact {
    term: &'static str,
    value: String,
    href: Option<String>,
}

struct Request {
    line: String,
    headers: Vec<(String, String)>,
    body: String,
    /// "The first 16 kB of 212 kB are shown."
    cut: Option<String>,
    /// Of a body that is shown whole.
    curl: Option<String>,
    rows: usize,
}

struct Attempt {
    number: String,
    at: Moment,
    tone: &'static str,
    said: String,
    took: String,
    answer: String,
}

struct Member {
    href: String,
    name: String,
    what: String,
}

pub fn not_found() -> PageError {
    PageError::NotFound("There is no such delivery. The list shows all there are.".to_owned())
}

/// `GET /deliveries/{id}`
pub async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let reader = Arc::clone(&app);
    let wanted: Option<i64> = id.parse().ok();
    let found = app
        .readers
        .read(move |connection| {
            let delivery = wanted.map(|id| Delivery::by_id(connection, id)).transpose()?.flatten();
            Ok(delivery.map(|delivery| load(&reader, connection, &delivery)).transpose()?)
        })
        .await?;
    let outcome = app.said.take(&pairs);
    view::html(&Page { outcome, ..found.ok_or_else(not_found)? })
}

fn load(app: &App, connection: &Connection, delivery: &Delivery) -> rusqlite::Result<Page> {
    let now = app.clock.now();
    let route = app.routes.iter().position(|route| route.name == delivery.destination);
    let health = route.map(|_| outbox::health(connection, &delivery.destination, now)).transpose()?;
    let open = delivery.finished_at.is_none();
    let again = outbox::newest_replay(connection, delivery.id)?;
    let shop = Shop::from_config(&app.config);
    let draft = match route {
        Some(route) => outbox::draft(connection, &shop, &app.routes, route, delivery.id)?,
        None => None,
    };
    let mut attempts = attempts(app, connection, delivery.id)?;
    let more_attempts = i64::try_from(attempts.len()).is_ok_and(|count| count > ATTEMPTS);
    attempts.truncate(usize::try_from(ATTEMPTS).unwrap_or(usize::MAX));
    let (requests, nothing) =
        requests(app, delivery, draft.as_ref(), last_try(connection, delivery.id)?.unwrap_or(now));
    let members = if delivery.events > 1 { members(app, connection, delivery.id)? } else { Vec::new() };
    let hidden = delivery.events.saturating_sub(MEMBERS);
    Ok(Page {
        chrome: Chrome::new(app, connection, "deliveries", statistics::in_force(connection)?.as_ref(), now)?,
        id: delivery.id,
        row: row(app, delivery, health.as_ref(), now),
        outcome: None,
        seen: again.unwrap_or(0),
        obstacle: health
            .as_ref()
            .filter(|_| open)
            .and_then(|health| standing::obstacle(&delivery.destination, health, now)),
        error: delivery.last_error.as_deref().filter(|_| delivery.state != Stage::Delivered).map(visible::line),
        facts: facts(app, connection, delivery, again, now)?,
        actions: actions(delivery),
        sent: match draft {
            Some(_) if delivery.attempts > 0 => "What was sent",
            Some(_) => "What would be sent",
            None => "Request",
        },
        requests,
        nothing,
        attempts,
        more_attempts,
        more_members: (delivery.events > 1 && hidden > 0)
            .then(|| format!("and {}", words::counted(hidden, "more", "more"))),
        members,
    })
}

fn actions(delivery: &Delivery) -> Vec<(&'static str, &'static str)> {
    let offered: &[(Action, &str)] = match delivery.state {
        Stage::Waiting => &[(Action::Discard, "Give up")],
        Stage::Retrying => &[(Action::Retry, "Try now"), (Action::Discard, "Give up")],
        // What waits for a consent is not the merchant's to send.
        Stage::Held if delivery.hold == Some(outbox::Hold::Consent) => &[(Action::Discard, "Give up")],
        Stage::Held => &[(Action::Release, "Send it"), (Action::Discard, "Give up")],
        Stage::Dead => &[(Action::Retry, "Send again")],
        Stage::Delivered | Stage::Superseded | Stage::Discarded => &[(Action::Replay, "Send again")],
        Stage::Sending => &[],
    };
    offered.iter().map(|(action, label)| (decide::name(*action), *label)).collect()
}

fn facts(
    app: &App,
    connection: &Connection,
    delivery: &Delivery,
    again: Option<i64>,
    now: Timestamp,
) -> rusqlite::Result<Vec<Fact>> {
    let plain = |term, value: String| Fact { term, value, href: None };
    let mut facts = vec![plain("Id", msg_id(&delivery.message_id))];
    if let Some((id, name)) = &delivery.customer {
        facts.push(Fact { term: "Customer", value: name.clone(), href: Some(format!("/customers/{id}")) });
    }
    facts.push(plain("What happened", what(app, delivery)));
    facts.push(Fact {
        term: "Destination",
        value: delivery.destination.clone(),
        href: Some("/destinations".to_owned()),
    });
    if let Some(run) = delivery.run_id {
        facts.push(Fact { term: "Run", value: run.to_string(), href: Some(format!("/runs/{run}")) });
    }
    facts.push(plain("Queued", Moment::near(app, delivery.created_at, now).text));
    if let Some(at) = delivery.finished_at {
        facts.push(plain("Ended", Moment::near(app, at, now).text));
        let took = at.millis().saturating_sub(delivery.created_at.millis());
        facts.push(plain("From queue to end", words::span(took)));
    }
    facts.push(plain("Tries", words::count(delivery.attempts)));
    if let Some(original) = delivery.replay_of {
        let id = original_of(connection, delivery, &original)?;
        facts.push(Fact {
            term: "Sends again",
            value: id.map_or_else(|| msg_id(&original), |id| format!("delivery {id}")),
            href: id.map(|id| format!("/deliveries/{id}")),
        });
    }
    if let Some(id) = again {
        facts.push(Fact {
            term: "Sent again as",
            value: format!("delivery {id}"),
            href: Some(format!("/deliveries/{id}")),
        });
    }
    Ok(facts)
}

/// The delivery whose event this one sends again: alone, or in a batch.
fn original_of(connection: &Connection, delivery: &Delivery, original: &[u8; 16]) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT id FROM deliveries WHERE seq = ?1 AND message_id = ?2
             UNION ALL
             SELECT d.id FROM batched b CROSS JOIN deliveries d ON d.id = b.delivery_id
              WHERE b.seq = ?1 AND d.message_id = ?2 LIMIT 1",
        )?
        .query_row(params![delivery.seq, original], |row| row.get(0))
        .optional()
}

/// The requests, or why there are none.
fn requests(app: &App, delivery: &Delivery, draft: Option<&Draft>, at: Timestamp) -> (Vec<Request>, Option<String>) {
    let Some(draft) = draft else {
        let known = app.routes.iter().any(|route| route.name == delivery.destination);
        let text = match delivery.state {
            _ if !known => "The configuration has no destination of this name, so what it gets cannot be shown.",
            Stage::Discarded | Stage::Superseded if delivery.attempts == 0 => "It was never sent.",
            _ => {
                "What was sent is not kept any more: 30 days after the end, 90 days for what gave up, and not at all of customers who were erased."
            }
        };
        return (Vec::new(), Some(text.to_owned()));
    };
    match preview(&app.config, &draft.claim, at) {
        Ok(shown) if shown.is_empty() => (Vec::new(), Some("There is nothing to send of this event.".to_owned())),
        Ok(shown) => (shown.into_iter().map(request).collect(), None),
        Err(error) => (Vec::new(), Some(words::sentence(&format!("The request cannot be made: {error:#}")))),
    }
}

fn request(preview: Preview) -> Request {
    let whole = preview.body.len() <= SHOWN;
    let most = preview.body.len().min(SHOWN);
    let end = (0..=most).rev().find(|at| preview.body.is_char_boundary(*at)).unwrap_or(0);
    let size = |bytes: usize| words::bytes(u64::try_from(bytes).unwrap_or(u64::MAX));
    let curl = whole.then(|| curl::command(&preview));
    Request {
        line: format!("{} {}", preview.method, preview.url),
        rows: curl.as_deref().map_or(0, |text| text.lines().count() + 4),
        curl,
        body: visible::line(&preview.body[..end]),
        cut: (!whole).then(|| format!("The first {} of {} are shown.", size(SHOWN), size(preview.body.len()))),
        headers: preview.headers,
    }
}

fn last_try(connection: &Connection, id: i64) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT started_at FROM attempts WHERE delivery_id = ?1 ORDER BY number DESC LIMIT 1")?
        .query_row([id], |row| row.get(0))
        .optional()
}

/// Newest first, one more than is shown.
fn attempts(app: &App, connection: &Connection, id: i64) -> rusqlite::Result<Vec<Attempt>> {
    connection
        .prepare_cached(
            "SELECT number, started_at, duration_ms, status, error, answer FROM attempts
             WHERE delivery_id = ?1 ORDER BY number DESC LIMIT ?2",
        )?
        .query_map(params![id, ATTEMPTS + 1], |row| {
            let (status, error): (Option<i64>, Option<String>) = (row.get(3)?, row.get(4)?);
            let answer: Option<Vec<u8>> = row.get(5)?;
            let (tone, said) = match (status, error) {
                (_, Some(error)) => ("bad", visible::line(&error)),
                (Some(status), None) => ("ok", format!("answered {status}")),
                (None, None) => ("warn", "no answer".to_owned()),
            };
            let answer = answer.map(|answer| visible::text(&answer)).unwrap_or_default();
            Ok(Attempt {
                number: words::count(row.get(0)?),
                at: Moment::new(app, row.get(1)?),
                tone,
                said,
                took: row.get::<_, Option<i64>>(2)?.map(words::duration).unwrap_or_default(),
                answer: if answer.trim().is_empty() { String::new() } else { answer },
            })
        })?
        .collect()
}

/// The first customers of a batch.
fn members(app: &App, connection: &Connection, id: i64) -> rusqlite::Result<Vec<Member>> {
    let mut select = connection.prepare_cached(
        "SELECT b.customer_id, o.old_segment, o.new_segment FROM batched b CROSS JOIN outbox o ON o.seq = b.seq
         WHERE b.delivery_id = ?1 ORDER BY b.seq LIMIT ?2",
    )?;
    let mut rows = select.query(params![id, MEMBERS])?;
    let mut members = Vec::new();
    while let Some(row) = rows.next()? {
        let customer: Option<i64> = row.get(0)?;
        let label = |name: Option<String>| name.map_or_else(|| "none".to_owned(), |name| app.names.label(&name));
        let known = customer.map(|id| list::title_of(connection, id)).transpose()?.flatten();
        members.push(Member {
            href: customer.map(|id| format!("/customers/{id}")).unwrap_or_default(),
            name: known.unwrap_or_else(|| "Nobody in particular".to_owned()),
            what: format!("{} → {}", label(row.get(1)?), label(row.get(2)?)),
        });
    }
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_body_is_cut_between_letters_and_has_no_command() {
        let preview = |body: String| Preview {
            method: "POST".to_owned(),
            url: "https://a/…".to_owned(),
            headers: Vec::new(),
            body,
        };
        let small = request(preview("{}".to_owned()));
        assert_eq!((small.body.as_str(), small.cut, small.curl.is_some()), ("{}", None, true));
        let large = request(preview("é".repeat(SHOWN)));
        assert_eq!((large.body.len(), large.curl), (SHOWN, None));
        assert_eq!(large.cut.as_deref(), Some("The first 16 kB of 32 kB are shown."));
    }
}
