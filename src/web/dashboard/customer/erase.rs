//! `POST /customers/{id}/erase`: forget a person, as `quintile erase` does.

use std::sync::{Arc, PoisonError};

use axum::{
    Form,
    extract::{Path, State, rejection::FormRejection},
    response::{IntoResponse, Redirect, Response},
};
use rusqlite::{Connection, OptionalExtension};

use crate::{
    intake::privacy::{self, Forgotten},
    ledger::Who,
    model::Timestamp,
    outbox::Route,
    scoring::note_decided,
    web::{
        dashboard::{App, list::Customer, view, words},
        error::PageError,
    },
};

/// What the last erasure did, until the program ends; the page that it leads to says it.
pub struct Erased {
    customer: i64,
    text: String,
}

/// `POST /customers/{id}/erase`; the form holds what was typed to confirm it.
pub async fn erase(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    form: Result<Form<Vec<(String, String)>>, FormRejection>,
) -> Result<Response, PageError> {
    let missing = || PageError::NotFound("There is no such customer, so nothing was erased.".to_owned());
    let id: i64 = id.parse().map_err(|_| missing())?;
    let typed = form.map(|Form(pairs)| view::parameter(&pairs, "confirm").unwrap_or_default().trim().to_owned());
    let typed = typed.unwrap_or_default();
    let told = app.told;
    let customer = app.readers.read(move |connection| Ok(Customer::by_id(connection, told, id)?)).await?;
    let customer = customer.ok_or_else(missing)?;
    if !confirms(&typed, &customer) {
        let whom = answers(&customer);
        return Err(PageError::Incomplete(format!(
            "Nothing was erased: what was typed is not {whom}. Go back, and type it if you mean to erase this person."
        )));
    }
    let now = app.clock.now();
    let forgotten = app
        .writer
        .write(move |tx| {
            let forgotten = privacy::erase(tx, &Who { customer_id: Some(id), ..Who::default() }, now)?;
            // It may have been the last that a run waited for.
            note_decided(tx)?;
            Ok(forgotten)
        })
        .await?;
    // What is on its way to the tools stops; the rest of the inbox is searched, and the log emptied.
    app.wake.notify_one();
    app.privacy.notify_one();
    let text = report(&app, id, &forgotten);
    *app.erased.lock().unwrap_or_else(PoisonError::into_inner) = Some(Erased { customer: id, text });
    Ok(Redirect::to(&format!("/customers?erased={id}")).into_response())
}

/// What has to be typed: "29 or anna@example.com".
pub fn answers(customer: &Customer) -> String {
    match email(customer) {
        Some(email) => format!("{} or {email}", customer.id),
        None => customer.id.to_string(),
    }
}

fn confirms(typed: &str, customer: &Customer) -> bool {
    typed == customer.id.to_string() || email(customer).is_some_and(|email| typed.eq_ignore_ascii_case(email))
}

fn email(customer: &Customer) -> Option<&str> {
    customer.email.as_deref().map(str::trim).filter(|email| !email.is_empty())
}

fn report(app: &App, id: i64, forgotten: &Forgotten) -> String {
    let erased = &forgotten.erased;
    let count =
        |number: usize, one: &str, many: &str| words::counted(i64::try_from(number).unwrap_or(i64::MAX), one, many);
    if erased.customers.is_empty() {
        return format!("Customer {id} had no name any more, so there was nothing to erase.");
    }
    let routes = Route::from_config(&app.config).unwrap_or_default();
    let names = |told: bool| {
        let names: Vec<&str> = routes
            .iter()
            .filter(|route| route.is_told_of_erasures() == told)
            .map(|route| route.name.as_str())
            .collect();
        names.join(", ")
    };
    let others = match erased.customers.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(", with {}", count(more, "other entry of theirs", "other entries of theirs")),
    };
    let mut said = vec![
        format!("Customer {id} has no name any more{others}; their orders go on counting."),
        format!(
            "Blanked: {}, {} and {}; {} will never be sent.",
            count(erased.orders, "order", "orders"),
            count(forgotten.messages, "message of the shop", "messages of the shop"),
            count(erased.withdrawn.scrubbed, "past delivery", "past deliveries"),
            count(erased.withdrawn.cancelled, "delivery", "deliveries"),
        ),
    ];
    if forgotten.goes_on {
        said.push("Older messages of the shop and other people's orders are being searched.".to_owned());
    }
    let (told, by_hand) = (names(true), names(false));
    if !told.is_empty() {
        said.push(format!("Told to erase them too: {told}."));
    }
    if !by_hand.is_empty() {
        said.push(format!("Delete them by hand in {by_hand}, which cannot be told."));
    }
    said.extend(app.backups.holding());
    said.push("Imported files still hold what they held.".to_owned());
    said.join(" ")
}

/// What to say of an erasure on the page after it. An address that somebody made up says nothing.
pub fn outcome(app: &App, connection: &Connection, id: i64) -> rusqlite::Result<Option<String>> {
    if let Some(erased) = &*app.erased.lock().unwrap_or_else(PoisonError::into_inner)
        && erased.customer == id
    {
        return Ok(Some(erased.text.clone()));
    }
    let at: Option<Timestamp> = connection
        .prepare_cached("SELECT redacted_at FROM customers WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?
        .flatten();
    let day = at.map(|at| words::day(at, app.config.shop.timezone));
    Ok(day.map(|day| format!("Customer {id} was erased on {day}.")))
}
