//! What all pages share: the frame around the content, and how a template becomes an answer.

use std::sync::{Arc, LazyLock};

use anyhow::Context;
use askama::Template;
use axum::{
    extract::State,
    http::header,
    response::{Html, IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::{App, words};
use crate::{model::Timestamp, web::error::PageError};

const STYLE: &str = include_str!("../assets/quintile.css");
const ICON: &str = include_str!("../assets/favicon.svg");
/// Part of the style sheet's address, so that browsers may keep it forever.
static STYLE_VERSION: LazyLock<String> = LazyLock::new(|| hex::encode(&Sha256::digest(STYLE)[..4]));
const FOREVER: &str = "public, max-age=31536000, immutable";

/// The frame: navigation, shop, version.
pub struct Chrome {
    /// Which entry of the navigation is the present one; empty: none.
    pub page: &'static str,
    pub shop: String,
    pub version: &'static str,
    pub style: &'static str,
}

impl Chrome {
    pub fn new(app: &App, page: &'static str) -> Self {
        let shop = &app.config.shop;
        let name = if shop.name.is_empty() { &shop.id } else { &shop.name };
        Self { page, shop: name.clone(), version: env!("CARGO_PKG_VERSION"), style: &STYLE_VERSION }
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
    /// Something of ours went wrong: say that nothing was lost and what to try.
    ours: bool,
}

/// The page behind an error. Failures of ours are logged here, and only here.
pub fn error_page(app: &App, error: &PageError) -> Response {
    let status = error.status();
    let ours = matches!(error, PageError::Internal(_));
    if ours {
        tracing::error!(error = format!("{error:#}"), "a page could not be made");
    }
    let page = ErrorPage { chrome: Chrome::new(app, ""), title: error.title(), message: error.to_string(), ours };
    match page.render() {
        Ok(text) => (status, Html(text)).into_response(),
        Err(_) => (status, error.to_string()).into_response(),
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
pub async fn wrong_method() -> PageError {
    PageError::MethodNotAllowed("This address only shows something; nothing can be sent to it.".to_owned())
}
