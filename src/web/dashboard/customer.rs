//! `GET /customers/{id}`: why is this person here, and what happened?

pub mod erase;

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use rusqlite::{Connection, OptionalExtension};

use super::{
    App,
    definitions::{self, Cut, Direction},
    list::Customer,
    place::Place,
    segment_table,
    statistics::{self, Run},
    timeline::{self, Timeline},
    view::{self, Chrome, Moment},
    words,
};
use crate::{
    config::UnknownConsent,
    model::{Money, Quintile, Timestamp},
    web::error::PageError,
};

#[derive(Template)]
#[template(path = "customer.html")]
struct Page {
    chrome: Chrome,
    title: String,
    segment: Option<Segment>,
    /// What to say when there is no segment.
    unscored: &'static str,
    gone: Option<&'static str>,
    scores: Vec<Score>,
    next_order: Option<String>,
    facts: Vec<(&'static str, String)>,
    timeline: Timeline,
    /// What to type to have the person erased; `None`: they are erased already.
    erase: Option<String>,
    first: bool,
    href: String,
}

struct Segment {
    label: String,
    tone: &'static str,
    href: String,
    since: Option<Moment>,
    before: Option<String>,
    action: String,
}

/// One of r, f, m.
struct Score {
    letter: &'static str,
    name: &'static str,
    score: u8,
    standing: String,
    value: String,
    /// What would move this person up; empty at the top.
    up: String,
}

/// What the list does not show.
struct Record {
    phone: Option<String>,
    consent: Option<String>,
    tags: Option<String>,
    created_at: Timestamp,
    merged_into: Option<i64>,
    redacted: bool,
    deleted: bool,
}

/// `GET /customers/{id}`; a merged customer's address leads to the one that was kept.
pub async fn page(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let missing =
        || PageError::NotFound("There is no such customer. Search finds people by e-mail, name or id.".to_owned());
    let id: i64 = id.parse().map_err(|_| missing())?;
    let before = view::parameter(&pairs, "before").and_then(Place::parse);
    let now = app.clock.now();
    let reader = Arc::clone(&app);
    let found = app.readers.read(move |connection| Ok(load(&reader, connection, id, before, now)?)).await?;
    match found {
        Found::Nobody => Err(missing()),
        Found::MergedInto(kept) => Ok(Redirect::to(&format!("/customers/{kept}")).into_response()),
        Found::Page(page) => view::html(&*page),
    }
}

enum Found {
    Nobody,
    MergedInto(i64),
    Page(Box<Page>),
}

fn load(app: &App, connection: &Connection, id: i64, before: Option<Place>, now: Timestamp) -> rusqlite::Result<Found> {
    let (Some(customer), Some(record)) = (Customer::by_id(connection, app.told, id)?, record(connection, id)?) else {
        return Ok(Found::Nobody);
    };
    if let Some(kept) = record.merged_into {
        return Ok(Found::MergedInto(kept));
    }
    let run = statistics::in_force(connection)?;
    let standing = match (&run, customer.scores) {
        (Some(run), Some(scores)) => Some(Standing::load(connection, run, &customer, scores, now)?),
        _ => None,
    };
    Ok(Found::Page(Box::new(Page {
        chrome: Chrome::new(app, connection, "customers", run.as_ref(), now)?,
        title: customer.title(),
        segment: segment(app, &customer),
        unscored: match &run {
            _ if record.redacted => "Not scored: erased on request.",
            None => "Not scored yet: no run has been made.",
            Some(_) if customer.order_count > 0 => "Not scored yet: the next run does it.",
            Some(_) => "Not scored: there is no counted order.",
        },
        gone: match (record.redacted, record.deleted) {
            (true, _) => Some("This person's data was erased on request."),
            (_, true) => Some("The shop deleted this customer."),
            _ => None,
        },
        scores: standing.as_ref().map(|standing| standing.scores(app, &customer, now)).unwrap_or_default(),
        next_order: standing.as_ref().and_then(|standing| standing.next_order(app, &customer, now)),
        facts: facts(app, &customer, &record, now),
        erase: (!record.redacted).then(|| erase::answers(&customer)),
        timeline: timeline::load(app, connection, id, before.unwrap_or(Place::END), now)?,
        first: before.is_none(),
        href: format!("/customers/{id}"),
    })))
}

fn record(connection: &Connection, id: i64) -> rusqlite::Result<Option<Record>> {
    connection
        .prepare_cached(
            "SELECT phone, consent, tags, created_at, merged_into, redacted_at, deleted_at FROM customers WHERE id = ?1",
        )?
        .query_row([id], |row| {
            Ok(Record {
                phone: row.get(0)?,
                consent: row.get(1)?,
                tags: row.get(2)?,
                created_at: row.get(3)?,
                merged_into: row.get(4)?,
                redacted: row.get::<_, Option<i64>>(5)?.is_some(),
                deleted: row.get::<_, Option<i64>>(6)?.is_some(),
            })
        })
        .optional()
}

fn segment(app: &App, customer: &Customer) -> Option<Segment> {
    let name = customer.segment.as_deref()?;
    Some(Segment {
        label: app.names.label(name),
        tone: app.names.tone(name),
        href: segment_table::href(name),
        since: customer.segment_since.map(|at| Moment::day(app, at)),
        before: customer.previous_segment.as_deref().map(|name| app.names.label(name)),
        action: app.names.action(name).to_owned(),
    })
}

/// A scored customer among the others of the run in force.
struct Standing {
    scores: [u8; 3],
    cuts: [Vec<Cut>; 3],
    /// What the next run will rank by: orders and money, within the run's window if it has one.
    orders: i64,
    spent: i64,
    split: bool,
}

impl Standing {
    fn load(
        connection: &Connection,
        run: &Run,
        customer: &Customer,
        scores: [u8; 3],
        now: Timestamp,
    ) -> rusqlite::Result<Self> {
        let (orders, spent) = if run.window_days == 0 {
            (customer.order_count, customer.total_spent.0)
        } else {
            let from = now.plus_millis(-run.window_days.saturating_mul(Timestamp::DAY));
            connection
                .prepare_cached(
                    "SELECT count(*), coalesce(sum(net), 0) FROM orders WHERE customer_id = ?1 AND ordered_at > ?2 AND counted = 1",
                )?
                .query_row((customer.id, from), |row| Ok((row.get(0)?, row.get(1)?)))?
        };
        let cuts = |dimension| statistics::cuts(connection, run.id, dimension);
        Ok(Self { scores, cuts: [cuts("r")?, cuts("f")?, cuts("m")?], orders, spent, split: run.ties == "split" })
    }

    fn scores(&self, app: &App, customer: &Customer, now: Timestamp) -> Vec<Score> {
        let money = |minor: i64| words::money(Money(minor), app.config.shop.currency);
        let [r, f, m] = self.scores;
        let standing = |index: usize| {
            let quintile = Quintile::new(self.scores[index]).unwrap_or(Quintile::ALL[0]);
            definitions::standing(quintile, &self.cuts[index])
        };
        let bought = customer
            .last_order_at
            .map_or_else(|| "never bought".to_owned(), |at| format!("bought {}", words::ago(at, now)));
        let up = |index: usize, value: i64, need: &dyn Fn(i64) -> String| {
            let (score, cuts) = (self.scores[index], &self.cuts[index]);
            let Some(next) = definitions::next_up(score, cuts) else { return String::new() };
            let reached = definitions::quintile_of(value, cuts);
            if reached > score && !self.split {
                format!("enough for {reached} in the next run already")
            } else {
                format!("{} → {}", need((next.lowest - value).max(1)), next.quintile)
            }
        };
        let last = customer.last_order_at.map_or(i64::MIN, Timestamp::millis);
        let best = definitions::quintile_of(now.millis(), &self.cuts[0]);
        let renewed = definitions::quintile_of(last, &self.cuts[0]);
        let recency_up = match () {
            () if r >= best => String::new(),
            () if renewed > r && !self.split => format!("enough for {renewed} in the next run already"),
            () => format!("an order now → {best}"),
        };
        vec![
            Score { letter: "R", name: "Recency", score: r, standing: standing(0), value: bought, up: recency_up },
            Score {
                letter: "F",
                name: "Frequency",
                score: f,
                standing: standing(1),
                value: words::counted(self.orders, "order", "orders"),
                up: up(1, self.orders, &more_orders),
            },
            Score {
                letter: "M",
                name: "Monetary",
                score: m,
                standing: standing(2),
                value: format!("{} spent", money(self.spent)),
                up: up(2, self.spent, &|minor| format!("{} more", money(minor))),
            },
        ]
    }

    /// Where one more order of the usual size would lead, if to a better segment.
    fn next_order(&self, app: &App, customer: &Customer, now: Timestamp) -> Option<String> {
        let usual = customer.avg_order_value.0;
        let values = [now.millis(), self.orders + 1, self.spent.saturating_add(usual)];
        let mut then = self.scores;
        for (index, value) in values.into_iter().enumerate() {
            then[index] = then[index].max(definitions::quintile_of(value, &self.cuts[index]));
        }
        let segment = app.names.of(then)?;
        let level = |name: &str| app.names.level(name);
        if definitions::direction(customer.segment.as_deref()?, segment, level) != Direction::Up {
            return None;
        }
        let [r, f, m] = then;
        let usual = words::money(Money(usual), app.config.shop.currency);
        Some(format!("One more order of the usual {usual} would give R{r} F{f} M{m}: {}.", app.names.label(segment)))
    }
}

/// "one more order", "3 more orders"
fn more_orders(number: i64) -> String {
    if number == 1 { "one more order".to_owned() } else { format!("{} more orders", words::count(number)) }
}

fn facts(app: &App, customer: &Customer, record: &Record, now: Timestamp) -> Vec<(&'static str, String)> {
    let money = |amount| words::money(amount, app.config.shop.currency);
    let day = |at: Option<Timestamp>| {
        at.map_or_else(|| "never".to_owned(), |at| format!("{} ({})", Moment::day(app, at).text, words::ago(at, now)))
    };
    let shop_id = customer.external_id.as_deref().map_or_else(|| "guest".to_owned(), str::to_owned);
    let mut facts = vec![
        ("Orders", words::count(customer.order_count)),
        ("Spent, net of refunds", money(customer.total_spent)),
        ("Average order", money(customer.avg_order_value)),
        ("First order", day(customer.first_order_at)),
        ("Last order", day(customer.last_order_at)),
    ];
    let optional = [("E-mail", &customer.email), ("Phone", &record.phone), ("Tags", &record.tags)];
    for (term, value) in optional {
        if let Some(value) = value.as_deref().filter(|text| !text.trim().is_empty()) {
            facts.push((term, value.to_owned()));
        }
    }
    if !record.redacted {
        facts.push(("E-mail marketing", consent(app, record.consent.as_deref().unwrap_or_default())));
    }
    facts.push(("Id in the shop", format!("{shop_id} ({})", source_name(&customer.source))));
    facts.push(("Id here", customer.id.to_string()));
    facts.push(("Known since", Moment::day(app, record.created_at).text));
    facts
}

/// Whether they agreed to e-mail, and what that means for email tools.
fn consent(app: &App, state: &str) -> String {
    let rules = &app.config.consent;
    let word = match state.trim() {
        "" if rules.unknown == UnknownConsent::Hold => {
            return "Unknown, so what email tools would hear is held".to_owned();
        }
        "" => return "Unknown, and email tools hear of changes".to_owned(),
        "subscribed" => "Agreed".to_owned(),
        "not_subscribed" => "Never agreed".to_owned(),
        "unsubscribed" => "Withdrawn".to_owned(),
        "pending" => "Not confirmed yet".to_owned(),
        other => words::from_name(other),
    };
    if rules.states.iter().any(|agreed| agreed.eq_ignore_ascii_case(state.trim())) {
        format!("{word}, so email tools hear of changes")
    } else {
        format!("{word}, so email tools do not hear of changes")
    }
}

fn source_name(source: &str) -> &str {
    match source {
        "shopify" => "Shopify",
        "woocommerce" => "WooCommerce",
        "csv" => "CSV",
        "api" => "API",
        other => other,
    }
}
