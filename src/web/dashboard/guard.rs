//! Who may talk to the dashboard, and the headers of every answer.
//!
//! The page has no login on this machine, so everything rests on three checks: the listener is on
//! a loopback address (a configuration with another is not loaded), the browser was really sent to
//! that address (Host: a foreign name pointed at 127.0.0.1 would pass an Origin check), and a form
//! comes from one of our own pages (the `CsrfLayer` in [`super::router`]).

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{App, view};
use crate::{config::Config, web::error::PageError};

const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Middleware around every route: checks, the page behind an error, and the security headers.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let mut response = match check(&app.config, request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let known = response.extensions().get::<Arc<PageError>>().cloned();
    if let Some(error) = known.or_else(|| view::refusal(&response).map(Arc::new)) {
        response = view::error_page(&app, &error);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Every page holds personal data or shop figures; only the assets say otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn check(config: &Config, uri: &Uri, headers: &HeaderMap) -> Result<(), PageError> {
    if let Some(name) = forwarded(headers) {
        return Err(PageError::Misdirected(format!(
            "This request came through a proxy (header {name}), and the dashboard has no password. Open it on this machine, or through `ssh -L`. Only [webhooks] listen is made to be exposed."
        )));
    }
    let hosts = headers.get_all(header::HOST);
    // A request line with a full address, as HTTP/2 always and HTTP/1 may have, names a host too.
    let named = hosts.iter().map(|value| value.to_str().unwrap_or_default());
    let mut all = named.chain(uri.authority().map(axum::http::uri::Authority::as_str)).peekable();
    if all.peek().is_none() {
        return Err(refused("no name at all"));
    }
    all.find(|host| !is_allowed(host, &config.dashboard.allowed_hosts)).map_or(Ok(()), |host| Err(refused(host)))
}

fn refused(host: &str) -> PageError {
    let host: String = host.chars().take(100).collect();
    PageError::Misdirected(format!(
        "This dashboard does not answer to {host}. Open it as http://localhost, or add the name to allowed_hosts in [dashboard] of config.toml."
    ))
}

/// The first header a proxy would have added.
fn forwarded(headers: &HeaderMap) -> Option<&str> {
    headers.keys().map(header::HeaderName::as_str).find(|name| *name == "forwarded" || name.starts_with("x-forwarded-"))
}

/// A loopback name with any port, or one the merchant listed (with its port, if listed with one).
fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let (name, port) = split_port(host);
    let valid_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    let local = ["localhost", "127.0.0.1", "[::1]"].iter().any(|local| name.eq_ignore_ascii_case(local));
    let listed = || allowed.iter().any(|entry| entry.eq_ignore_ascii_case(name) || entry.eq_ignore_ascii_case(host));
    valid_port && !name.is_empty() && (local || listed())
}

/// "name:port" in two; the colons inside `[…]` belong to an address.
fn split_port(host: &str) -> (&str, Option<&str>) {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_ours() {
        let allowed = ["quintile.lan".to_owned(), "box:9000".to_owned()];
        for host in [
            "localhost",
            "localhost:8787",
            "LOCALHOST:1",
            "127.0.0.1",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:8787",
            "quintile.lan",
            "Quintile.LAN:8787",
            "box:9000",
        ] {
            assert!(is_allowed(host, &allowed), "{host}");
        }
        for host in [
            "",
            ":8787",
            "evil.example",
            "localhost.evil.example",
            "evil.example:8787",
            "localhost:8787@evil.example",
            "localhost@evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.2",
            "0.0.0.0",
            "localhost:",
            "localhost:99999",
            "localhost:80:80",
            "[::1",
            "[::1]evil",
            "::1",
            "box:9001",
            "box",
            "localhost ",
        ] {
            assert!(!is_allowed(host, &allowed), "{host:?}");
        }
    }
}
