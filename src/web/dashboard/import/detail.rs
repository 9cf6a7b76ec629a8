//! `GET /import/{id}`: one file, how it would be read, how far it is and what became of it; and the
//! forms that try it out, import it or throw it away.

use std::{io::Read, sync::Arc};

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use tokio::sync::mpsc;

use super::{
    super::{
        App, export, statistics,
        view::{self, Chrome, Moment},
        words,
    },
    stage,
};
use crate::{
    bug::NoResult,
    intake::{
        csv::{Columns, Preview, Read as Row, Shown},
        uploads::{self, Action, Import, Report, State as Stage},
    },
    model::{Order, Person},
    web::error::PageError,
};

/// Bytes of a download that are read at a time.
const CHUNK: usize = 64 * 1024;

#[derive(Template)]
#[template(path = "import_one.html")]
struct Page {
    chrome: Chrome,
    id: i64,
    name: String,
    kind: String,
    size: String,
    at: Moment,
    tone: &'static str,
    state: &'static str,
    reason: Option<String>,
    /// Something is being done: the page loads itself again.
    busy: bool,
    /// What is being done, and how far it is.
    progress: Option<Progress>,
    preview: Option<PreviewCard>,
    foreseen: Option<Counts>,
    report: Option<Counts>,
    /// What the button that imports says; `None`: there is nothing to import.
    start: Option<&'static str>,
    has_rejected_file: bool,
    /// What the button that forgets the file says.
    discard: Option<&'static str>,
}

struct Progress {
    percent: u64,
    text: String,
}

/// How the file would be read.
struct PreviewCard {
    /// Of a CSV.
    columns: Option<ColumnsCard>,
    warning: Option<&'static str>,
    /// Each with its class, as are the cells.
    headings: Vec<(&'static str, &'static str)>,
    rows: Vec<PreviewRow>,
}

/// Which column is which.
struct ColumnsCard {
    /// What stands between cells, in words.
    separator: &'static str,
    read: Vec<(&'static str, String)>,
    others: usize,
}

struct PreviewRow {
    line: String,
    cells: Vec<(String, &'static str)>,
    /// Why it would be rejected; then there are no cells.
    rejected: Option<String>,
}

struct Counts {
    facts: Vec<(&'static str, String)>,
    rejections: Vec<(String, String)>,
    /// Rejected rows that are not shown.
    more: u64,
}

/// `GET /import/{id}`
pub async fn page(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, PageError> {
    let (chrome, import) = {
        let (id, reader) = (number(&id)?, Arc::clone(&app));
        app.readers
            .read(move |connection| {
                let run = statistics::in_force(connection)?;
                let chrome = Chrome::new(&reader, connection, "import", run.as_ref(), reader.clock.now())?;
                Ok((chrome, uploads::find(connection, id)?))
            })
            .await?
    };
    let import = import.ok_or_else(gone)?;
    let preview = preview(&app, &import).await?;
    let (preview, unusable) = match preview {
        Some(Ok(preview)) => (Some(preview_card(&app, preview)), None),
        Some(Err(reason)) => (None, Some(reason)),
        None => (None, None),
    };
    let (tone, state) = stage(import.state);
    let done = app.uploads.progress(import.id);
    view::html(&Page {
        chrome,
        id: import.id,
        name: import.file_name.clone(),
        kind: import.format.clone().unwrap_or_default(),
        size: words::bytes(u64::try_from(import.size).unwrap_or(0)),
        at: Moment::new(&app, import.created_at),
        tone,
        state,
        start: (import.has_file && !import.state.is_busy() && unusable.is_none()).then_some(match import.state {
            Stage::Interrupted | Stage::Failed => "Go on with the import",
            _ => "Import",
        }),
        reason: unusable.or(import.reason),
        busy: import.state.is_busy(),
        progress: done.filter(|_| import.state.is_busy()).map(|done| progress(import.size, done)),
        preview,
        foreseen: import.foreseen.as_ref().filter(|_| import.report.is_none()).map(counts),
        has_rejected_file: import.report.as_ref().is_some_and(|report| report.has_rejected_file),
        report: import.report.as_ref().map(counts),
        discard: (!import.state.is_busy()).then_some(if import.has_file {
            "Throw away"
        } else {
            "Remove from the list"
        }),
    })
}

/// `POST /import/{id}/try`
pub async fn try_out(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, PageError> {
    start_with(&app, &id, Action::Try).await
}

/// `POST /import/{id}/start`
pub async fn start(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, PageError> {
    start_with(&app, &id, Action::Import).await
}

async fn start_with(app: &App, id: &str, action: Action) -> Result<Response, PageError> {
    let id = number(id)?;
    app.uploads.start(id, action).await?;
    Ok(Redirect::to(&format!("/import/{id}")).into_response())
}

/// `POST /import/{id}/discard`
pub async fn discard(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, PageError> {
    app.uploads.discard(number(&id)?).await?;
    Ok(Redirect::to("/import").into_response())
}

/// `GET /import/{id}/rejected.csv`: as it is, so that it can be corrected and imported.
pub async fn rejected(State(app): State<Arc<App>>, Path(id): Path<String>) -> Result<Response, PageError> {
    let id = number(&id)?;
    let file = app.uploads.rejected(id).map_err(|error| PageError::Internal(error.into()))?;
    let mut file = file.ok_or_else(|| {
        PageError::NotFound("There is no file of rejected rows: none was rejected, or it has been removed.".to_owned())
    })?;
    let (pieces, receiver) = mpsc::channel::<std::io::Result<Vec<u8>>>(2);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; CHUNK];
            let read = file.read(&mut piece);
            let end = !matches!(read, Ok(1..));
            let piece = read.map(|length| {
                piece.truncate(length);
                piece
            });
            if pieces.blocking_send(piece).is_err() || end {
                return;
            }
        }
    });
    Ok(export::attachment(&format!("rejected-{id}.csv"), receiver))
}

fn number(id: &str) -> Result<i64, PageError> {
    id.parse().map_err(|_| gone())
}

fn gone() -> PageError {
    PageError::NotFound("There is no such import. The list shows those of the last 30 days.".to_owned())
}

/// How the file would be read; `None`: there is none to read, or it is being worked on.
async fn preview(app: &App, import: &Import) -> Result<Option<Result<Preview, String>>, PageError> {
    if !import.has_file || import.state.is_busy() {
        return Ok(None);
    }
    let (uploads, import) = (app.uploads.clone(), import.clone());
    let read = tokio::task::spawn_blocking(move || uploads.preview(&import).map_err(|problem| problem.to_string()));
    read.await.map(Some).map_err(|error| PageError::Internal(NoResult::from(error).into()))
}

fn progress(size: i64, done: u64) -> Progress {
    let size = u64::try_from(size).unwrap_or(0);
    if size == 0 {
        return Progress { percent: 0, text: words::bytes(done) };
    }
    let percent = (done.min(size) * 100).checked_div(size).unwrap_or(0);
    Progress { percent, text: format!("{percent} % of {}", words::bytes(size)) }
}

/// Headings of the first rows, with the class of their cells.
const OF_ORDERS: &[(&str, &str)] =
    &[("Order", ""), ("Customer", ""), ("Ordered", ""), ("Total", "n"), ("Refunded", "n"), ("Status", "")];
const OF_CUSTOMERS: &[(&str, &str)] = &[("Customer", ""), ("E-mail", ""), ("Name", ""), ("Phone", ""), ("Consent", "")];

fn preview_card(app: &App, preview: Preview) -> PreviewCard {
    let of_customers = preview.rows.iter().all(|row| matches!(row.read, Ok(Row::Person(_))));
    let headings = if of_customers { OF_CUSTOMERS } else { OF_ORDERS };
    PreviewCard {
        columns: preview.table.map(columns_card),
        warning: preview.warning,
        rows: preview.rows.iter().map(|shown| preview_row(app, shown, headings)).collect(),
        headings: headings.to_vec(),
    }
}

fn columns_card(columns: Columns) -> ColumnsCard {
    let separator = match columns.delimiter {
        ',' => "commas",
        ';' => "semicolons",
        '\t' => "tabs",
        _ => "vertical bars",
    };
    ColumnsCard { separator, read: columns.read, others: columns.others }
}

fn preview_row(app: &App, shown: &Shown, headings: &'static [(&str, &'static str)]) -> PreviewRow {
    let (cells, rejected) = match &shown.read {
        Ok(Row::Order(order)) => (order_cells(app, order), None),
        Ok(Row::Person(person)) if headings == OF_CUSTOMERS => (person_cells(person), None),
        Ok(Row::Person(person)) => (person_among_orders(person), None),
        Err(reason) => (Vec::new(), Some(reason.clone())),
    };
    let classes = headings.iter().map(|(_, class)| *class);
    PreviewRow { line: shown.line.to_string(), cells: cells.into_iter().zip(classes).collect(), rejected }
}

/// Lines of a bulk operation may hold both.
fn person_among_orders(person: &Person) -> Vec<String> {
    let who = person.email.clone().or_else(|| person.external_id.clone()).unwrap_or_default();
    let none = String::new;
    vec!["a customer".to_owned(), who, none(), none(), none(), none()]
}

fn order_cells(app: &App, order: &Order) -> Vec<String> {
    let person = order.person.as_ref();
    let who = person.and_then(|person| person.email.clone().or_else(|| person.external_id.clone()));
    let refunded = order.refunded;
    vec![
        order.name.clone().unwrap_or_else(|| order.source_id.clone()),
        who.unwrap_or_else(|| "nobody".to_owned()),
        words::moment(order.ordered_at, app.config.shop.timezone),
        words::money(order.gross, order.currency),
        if refunded.0 > 0 { words::money(refunded, order.currency) } else { String::new() },
        words::from_name(order.status.as_str()),
    ]
}

fn person_cells(person: &Person) -> Vec<String> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let name = format!("{} {}", text(&person.first_name), text(&person.last_name));
    let consent = person.consent.as_deref().map(words::from_name).unwrap_or_default();
    vec![text(&person.external_id), text(&person.email), name.trim().to_owned(), text(&person.phone), consent]
}

fn counts(report: &Report) -> Counts {
    let count = |number: u64| words::count(i64::try_from(number).unwrap_or(i64::MAX));
    let (orders, customers) = (report.orders, report.customers);
    let mut facts = vec![("Rows", count(report.rows))];
    if report.of_customers {
        facts.extend([
            ("New customers", count(customers.new)),
            ("Updated customers", count(customers.updated)),
            ("Unchanged customers", count(customers.unchanged)),
        ]);
    } else {
        facts.extend([
            ("New orders", count(orders.new)),
            ("Updated orders", count(orders.updated)),
            ("Unchanged orders", count(orders.unchanged)),
            ("New customers", count(customers.new)),
            ("Updated customers", count(customers.updated)),
        ]);
    }
    if report.rounded > 0 {
        facts.push(("Orders with rounded amounts", count(report.rounded)));
    }
    facts.push(("Rejected rows", count(report.rejected())));
    Counts {
        facts,
        rejections: report.rejections.iter().map(|(line, reason)| (line.to_string(), reason.clone())).collect(),
        more: report.rejected().saturating_sub(report.rejections.len() as u64),
    }
}
