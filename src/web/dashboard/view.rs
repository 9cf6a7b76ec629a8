//! What all pages share: the frame around the content, and how a template becomes an answer.

use std::sync::{Arc, LazyLock, atomic::Ordering};

use anyhow::Context;
use askama::{Template, filters::Safe};
use axum::{
    extract::State,
    http::{Method, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::{
    App,
    definitions::terms::{self, Term},
    deliveries::{self, Tab, queue},
    faults,
    statistics::{Run, in_force},
    words,
};
use crate::{
    db,
    model::Timestamp,
    scoring::{
        clock_suspect,
        night::{self, Schedule},
    },
    web::error::PageError,
};

const STYLE: &str = include_str!("../assets/quintile.css");
const ICON: &str = include_str!("../assets/favicon.svg");
/// Part of the style sheet's address, so that browsers may keep it forever.
static STYLE_VERSION: LazyLock<String> = LazyLock::new(|| hex::encode(&Sha256::digest(STYLE)[..4]));
const FOREVER: &str = "public, max-age=31536000, immutable";

/// No numbers were shown yet.
pub const NEVER: i64 = i64::MIN;

/// How old the numbers are and when new ones come.
pub struct Freshness {
    /// When the scores in force were made, and how long that took.
    pub scored: Option<(Moment, String)>,
    pub next: Option<Moment>,
    /// No run starts by itself: the clock is not believed.
    pub stopped: bool,
}

impl Freshness {
    fn new(app: &App, connection: &Connection, run: Option<&Run>, now: Timestamp) -> rusqlite::Result<Self> {
        let stopped = clock_suspect(connection, now)?.is_some();
        Ok(Self {
            scored: run.map(|run| {
                let at = run.scored_at.unwrap_or(run.as_of);
                (Moment::near(app, at, now), words::duration(run.score_ms.unwrap_or(0)))
            }),
            next: [retry_at(connection, now)?, next_run(app, now)]
                .into_iter()
                .flatten()
                .min()
                .filter(|_| !stopped)
                .map(|at| Moment::near(app, at, now)),
            stopped,
        })
    }
}

/// When the latest run, which failed, is tried again.
fn retry_at(connection: &Connection, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let latest = connection
        .prepare_cached("SELECT state, retry_at FROM runs WHERE trigger <> 'backfill' ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<Timestamp>>(1)?)))
        .optional()?;
    Ok(latest.filter(|(state, _)| state == "failed").and_then(|(_, at)| at).filter(|at| *at > now))
}

/// When the night watch starts the next run; nothing for a schedule that `serve` would refuse.
pub fn next_run(app: &App, now: Timestamp) -> Option<Timestamp> {
    let schedule = Schedule::new(&app.config.scoring.cron, app.config.scoring.timezone).ok()?;
    night::next_due(&schedule, now).map(|slot| slot.at)
}

/// The frame: navigation, shop, version.
pub struct Chrome {
    /// Which entry of the navigation is the present one; empty: none.
    pub page: &'static str,
    /// Whose words it explains at its foot.
    words: &'static str,
    pub shop: String,
    pub version: &'static str,
    pub style: &'static str,
    /// `None`: the page shows no numbers.
    pub freshness: Option<Freshness>,
    /// Whoever looks may look at the other pages too; strangers are not told the shop's name.
    pub inside: bool,
    /// There is a password, so whoever is inside can sign out.
    pub has_password: bool,
    /// Deliveries that gave up, beside their entry in the navigation; empty: none.
    pub gave_up: String,
    /// Why nothing can be stored at the moment, a sentence.
    pub trouble: Option<String>,
}

impl Chrome {
    /// The frame of a page with numbers of `run`, the one in force.
    pub fn new(
        app: &App,
        connection: &Connection,
        page: &'static str,
        run: Option<&Run>,
        now: Timestamp,
    ) -> rusqlite::Result<Self> {
        let gave_up = queue::count(connection, Tab::GaveUp)?;
        if let Some(run) = run {
            app.scored.store(run.scored_at.unwrap_or(run.as_of).millis(), Ordering::Relaxed);
        }
        Ok(Self {
            page,
            words: page,
            freshness: Some(Freshness::new(app, connection, run, now)?),
            gave_up: if gave_up > 0 { deliveries::bounded(gave_up) } else { String::new() },
            ..Self::bare(app, true)
        })
    }

    /// The same with other words at its foot.
    pub fn with_words_of(self, words: &'static str) -> Self {
        Self { words, ..self }
    }

    /// The words of the page and what they mean.
    pub fn terms(&self) -> &'static [Term] {
        terms::of_page(self.words)
    }

    /// A heading, which leads to its meaning where it is one of the page's words.
    pub fn heading(&self, words: &str) -> Safe<String> {
        self.terms().iter().find(|term| term.term == words).map_or_else(|| terms::plain(words), Term::link)
    }

    /// The frame of a page for whoever has not signed in.
    pub fn outside(app: &App) -> Self {
        Self::bare(app, false)
    }

    /// The frame of a page that must come out even when the database cannot be read.
    fn bare(app: &App, inside: bool) -> Self {
        let shop = &app.config.shop;
        let name = if shop.name.is_empty() { &shop.id } else { &shop.name };
        Self {
            page: "",
            words: "",
            shop: name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            style: &STYLE_VERSION,
            freshness: None,
            inside,
            has_password: app.access.has_password(),
            gave_up: String::new(),
            trouble: app.writer.condition().trouble().filter(|_| inside).map(|reason| words::sentence(&reason)),
        }
    }
}

/// A value of the address; the last of a repeated name counts.
pub fn parameter<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// An instant as `<time>` needs it: for machines and for people.
pub struct Moment {
    pub iso: String,
    pub text: String,
}

impl Moment {
    /// "23 Nov 2026, 02:00"
    pub fn new(app: &App, at: Timestamp) -> Self {
        Self { iso: at.to_string(), text: words::moment(at, app.config.shop.timezone) }
    }

    /// "today at 02:00"
    pub fn near(app: &App, at: Timestamp, now: Timestamp) -> Self {
        Self { iso: at.to_string(), text: words::when(at, now, app.config.shop.timezone) }
    }

    /// "23 Nov 2026"
    pub fn day(app: &App, at: Timestamp) -> Self {
        Self { iso: at.to_string(), text: words::day(at, app.config.shop.timezone) }
    }
}

/// Renders a page.
pub fn html(template: &impl Template) -> Result<Response, PageError> {
    Ok(Html(template.render().context("a template could not be rendered")?).into_response())
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    chrome: Chrome,
    title: &'a str,
    message: String,
    /// Something of ours went wrong.
    ours: Option<Ours>,
    /// Whoever signs in may see more.
    sign_in: bool,
    /// Where the address belongs to: address and name of the page.
    back: Option<(&'static str, &'static str)>,
}

/// What there is to know of a failure of ours beside what it is.
struct Ours {
    /// How old the numbers are that were shown last.
    age: String,
    todo: &'static str,
}

/// The page that the address `path` belongs to: its entry in the navigation, address and name.
fn section(path: &str) -> Option<[&'static str; 3]> {
    const SECTIONS: [[&str; 3]; 8] = [
        ["segments", "/segments", "Segments"],
        ["customers", "/customers", "Customers"],
        ["runs", "/runs", "Runs"],
        ["deliveries", "/deliveries", "Deliveries"],
        ["destinations", "/destinations", "Destinations"],
        ["import", "/import", "Import"],
        ["import", "/syncs", "Fetched from the shop"],
        ["settings", "/settings", "Settings"],
    ];
    let first = path.split(['/', '.']).nth(1)?;
    SECTIONS.into_iter().find(|[_, address, _]| address[1..] == *first)
}

/// What a form is told that changed nothing because nothing can be stored.
pub fn nothing_done(reason: &str) -> PageError {
    PageError::Unavailable(format!(
        "Nothing was done, because nothing can be stored: {} Go back and press the button again once that is over.",
        words::sentence(reason)
    ))
}

/// [`nothing_done`], if that is what became of a form.
fn not_stored(app: &App, method: &Method, error: &PageError) -> Option<PageError> {
    let PageError::Internal(error) = error else { return None };
    let is_full = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::StorageFull)
    };
    if method.is_safe() || !(db::is_said(error) || error.chain().any(is_full)) {
        return None;
    }
    let reason = app.writer.condition().trouble();
    Some(nothing_done(reason.as_deref().unwrap_or("too much is being written, or the disk is full")))
}

/// The page behind an error at the address `path`. Failures of ours are logged here, and only here.
/// `inside`: for somebody who may look at the other pages.
pub async fn error_page(app: &Arc<App>, error: &PageError, inside: bool, (method, path): (&Method, &str)) -> Response {
    let not_stored = not_stored(app, method, error);
    let error = not_stored.as_ref().unwrap_or(error);
    let status = error.status();
    let section = section(path).filter(|_| inside);
    let mut chrome = Chrome::bare(app, inside);
    let (message, ours) = match error {
        PageError::Internal(error) => {
            tracing::error!(error = format!("{error:#}"), "a page could not be made");
            let fault = faults::of(error);
            (fault.what.to_owned(), Some(Ours { age: age(app), todo: fault.todo }))
        }
        error => {
            if inside {
                chrome = full(app, section.map_or("", |[page, ..]| page)).await.unwrap_or(chrome);
            }
            (error.to_string(), None)
        }
    };
    let back = section.map(|[_, address, name]| (address, name));
    let sign_in = !inside && chrome.has_password && !matches!(error, PageError::Misdirected(_));
    let page = ErrorPage { chrome, title: error.title(), message, ours, sign_in, back };
    let mut response = match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(_) => (status, page.message).into_response(),
    };
    if let PageError::TooMany(_, wait_s) = error {
        response.headers_mut().insert(header::RETRY_AFTER, (*wait_s).into());
    }
    response
}

/// The frame with all that the database has for it, as long as it can be read.
async fn full(app: &Arc<App>, page: &'static str) -> anyhow::Result<Chrome> {
    let reader = Arc::clone(app);
    app.readers
        .read(move |connection| {
            let run = in_force(connection)?;
            Ok(Chrome::new(&reader, connection, page, run.as_ref(), reader.clock.now())?)
        })
        .await
}

/// How old the numbers are that the pages showed last: the database may not be asked.
fn age(app: &App) -> String {
    match app.scored.load(Ordering::Relaxed) {
        NEVER => "No page with numbers was shown since quintile started.".to_owned(),
        at => {
            let at = Moment::near(app, Timestamp::from_millis(at), app.clock.now());
            format!("The numbers that were shown last were scored {}.", at.text)
        }
    }
}

/// The error behind a refusal that the framework wrote itself: an address or a body that it cannot
/// read. Those with a page or a form for machines are left alone.
pub fn refusal(response: &Response) -> Option<PageError> {
    let plain =
        response.headers().get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes().starts_with(b"text/plain"));
    match response.status() {
        status if !plain || !status.is_client_error() => None,
        StatusCode::PAYLOAD_TOO_LARGE => Some(PageError::TooLarge(
            "More was sent than any form of the dashboard has, so nothing was done.".to_owned(),
        )),
        // No form, or one that is no UTF-8.
        StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => Some(PageError::Incomplete(
            "What was sent is not the form of this page, so nothing was done. Go back and press the button again."
                .to_owned(),
        )),
        _ => Some(PageError::BadRequest(
            "This address cannot be read. Check it for typing errors, or start from the navigation.".to_owned(),
        )),
    }
}

impl IntoResponse for PageError {
    /// The bare status; [`super::guard::guard`] knows the shop and makes the page of it.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// `GET /assets/quintile.css`
pub async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, FOREVER)], STYLE).into_response()
}

/// `GET /assets/favicon.svg`
pub async fn icon() -> Response {
    ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, FOREVER)], ICON).into_response()
}

/// Everything else.
pub async fn not_found(State(_): State<Arc<App>>) -> PageError {
    PageError::NotFound("There is no page at this address. The navigation shows those there are.".to_owned())
}

/// A known address with another method.
pub async fn wrong_method(method: Method) -> PageError {
    PageError::MethodNotAllowed(
        if matches!(method, Method::GET | Method::HEAD) {
            "There is nothing to see at this address: it takes what a button sends. Go back to the page and press it there."
        } else {
            "This address only shows something; nothing can be sent to it."
        }
        .to_owned(),
    )
}
