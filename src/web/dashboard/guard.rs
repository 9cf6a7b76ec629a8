//! Who may talk to the dashboard, and the headers of every answer.
//!
//! Checked in this order: the browser was really sent to this address (Host: a foreign name pointed at
//! 127.0.0.1 would pass an Origin check); without a password, no proxy stands in front (the listener is
//! on a loopback address then, or the configuration is not loaded); with one, who asks is signed in,
//! or is a program with a token; and a form comes from one of our own pages (the `CsrfLayer` in
//! [`super::router`]).
//!
//! Nobody need be known for the sign-in itself, the assets and `/healthz`. The API, `/metrics` and
//! `/readyz` are for programs: a token, or the merchant's own session. Pages are for people: a token
//! does not open them.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
    middleware::Next,
    response::{IntoResponse, Redirect, Response},
};

use super::{App, login, view};
use crate::{
    config::{Config, Scope},
    model::Timestamp,
    web::{
        api::{self, Problem},
        auth::{Cookies, Session},
        error::PageError,
        listen::url,
    },
};

const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Middleware around every route: checks, the page or the document behind an error, and the security
/// headers.
pub async fn guard(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let audience = Audience::of(&method, &path);
    let now = app.clock.now();
    let admitted = check(&app.config, request.uri(), request.headers())
        .map_err(Refused::Error)
        .and_then(|()| admit(&app, &request, audience, now));
    let inside = matches!(admitted, Ok(Visitor::Free | Visitor::Session(_)));
    let mut response = match admitted {
        Ok(visitor) => {
            let cookies = cookies(&app, request.headers());
            // Not with an asset, which others on the way may keep.
            let of_page = visitor.session().filter(|_| audience == Audience::People);
            let renewed = of_page.and_then(|session| session.renewed(now));
            request.extensions_mut().insert(visitor);
            let mut response = next.run(request).await;
            // Whoever signs in or out has new cookies already.
            if let Some(session) = renewed.filter(|_| !response.headers().contains_key(header::SET_COOKIE)) {
                login::set_cookies(&mut response, app.access.set_cookies(&session, cookies));
            }
            response
        }
        Err(Refused::Error(error)) => error.into_response(),
        Err(Refused::Program(problem)) => problem.into_response(),
        Err(Refused::SignIn(address)) => Redirect::to(&address).into_response(),
    };
    let known = response.extensions().get::<Arc<PageError>>().cloned();
    if let Some(error) = known.or_else(|| view::refusal(&response).map(Arc::new)) {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = match audience {
            Audience::Programs(_) if matches!(*error, PageError::NotFound(_)) => {
                Problem::no_such_address().into_response()
            }
            Audience::Programs(_) | Audience::Probe => Problem::from(&*error).into_response(),
            Audience::SignIn | Audience::People => view::error_page(&app, &error, inside, (&method, &path)).await,
        };
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Every page holds personal data or shop figures; only the assets say otherwise.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Whom an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Whoever wants to know whether the program lives.
    Probe,
    /// Whoever wants to become known.
    SignIn,
    People,
    /// And what their token must be good for.
    Programs(Scope),
}

impl Audience {
    fn of(method: &Method, path: &str) -> Self {
        match path {
            "/healthz" => Self::Probe,
            "/login" => Self::SignIn,
            "/metrics" | "/readyz" => Self::Programs(Scope::Read),
            _ if path.starts_with("/assets/") => Self::SignIn,
            _ if path == "/api" || path.starts_with("/api/") => Self::Programs(api::scope_of(method, path)),
            _ => Self::People,
        }
    }
}

/// Who was let in.
#[derive(Debug, Clone)]
pub enum Visitor {
    /// There is no password: whoever is on this machine.
    Free,
    /// The merchant.
    Session(Session),
    /// A program; or somebody who asks for what is everybody's.
    Other,
}

impl Visitor {
    pub const fn session(&self) -> Option<&Session> {
        match self {
            Self::Session(session) => Some(session),
            Self::Free | Self::Other => None,
        }
    }
}

/// Why somebody is not let in.
enum Refused {
    Error(PageError),
    Program(Problem),
    /// To be sent there.
    SignIn(String),
}

fn admit(app: &App, request: &Request, audience: Audience, now: Timestamp) -> Result<Visitor, Refused> {
    let headers = request.headers();
    if let Audience::Programs(needed) = audience
        && let Some(found) = app.access.bearer(headers)
    {
        let bearer = found.map_err(|refusal| Refused::Program(Problem::unauthorized(refusal.to_string())))?;
        return if bearer.may(needed) {
            Ok(Visitor::Other)
        } else {
            let detail = format!("the token {:?} lacks the scope {:?}", bearer.name, needed.as_str());
            Err(Refused::Program(Problem::lacks_scope(needed, detail)))
        };
    }
    if !app.access.has_password() {
        return Ok(Visitor::Free);
    }
    if let Some(session) = app.access.session(headers, cookies(app, headers), now) {
        return Ok(Visitor::Session(session));
    }
    match audience {
        Audience::Probe | Audience::SignIn => Ok(Visitor::Other),
        Audience::People => Err(Refused::SignIn(login::address(request.method(), request.uri()))),
        Audience::Programs(_) => Err(Refused::Program(Problem::unauthorized(
            "say who you are: Authorization: Bearer TOKEN; `quintile token` makes one",
        ))),
    }
}

/// How this browser's cookies are kept. A proxy is believed only with a password: without one there is
/// none, and its headers are refused.
pub fn cookies(app: &App, headers: &HeaderMap) -> Cookies {
    Cookies { secure: app.access.has_password() && is_https(headers) }
}

/// Whether the browser speaks HTTPS. Of several proxies the first is the one that it speaks to.
fn is_https(headers: &HeaderMap) -> bool {
    let first = |name| headers.get(name)?.to_str().ok()?.split(',').next();
    let proto = first("x-forwarded-proto").or_else(|| {
        // RFC 7239: for=192.0.2.60;proto=https;by=203.0.113.43
        let pairs = first("forwarded")?.split(';').filter_map(|pair| pair.split_once('='));
        let mut protos = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("proto"));
        protos.next().map(|(_, proto)| proto.trim().trim_matches('"'))
    });
    proto.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"))
}

fn check(config: &Config, uri: &Uri, headers: &HeaderMap) -> Result<(), PageError> {
    if config.dashboard.password_hash.is_empty()
        && let Some(name) = forwarded(headers)
    {
        return Err(PageError::Misdirected(format!(
            "This request came through a proxy (header {name}), and the dashboard has no password. Open it on this machine, or through `ssh -L`; or run `quintile hash-password` and set password_hash in [dashboard] of config.toml. Only [webhooks] listen is made to be exposed."
        )));
    }
    let hosts = headers.get_all(header::HOST);
    // A request line with a full address, as HTTP/2 always and HTTP/1 may have, names a host too.
    let named = hosts.iter().map(|value| value.to_str().unwrap_or_default());
    let mut all = named.chain(uri.authority().map(axum::http::uri::Authority::as_str)).peekable();
    if all.peek().is_none() {
        return Err(refused("no name at all", config.dashboard.listen));
    }
    let listen = config.dashboard.listen;
    let own = |host: &str| !listen.ip().is_unspecified() && host == listen.to_string();
    match all.find(|host| !is_allowed(host, &config.dashboard.allowed_hosts) && !own(host)) {
        None => Ok(()),
        Some(host) => Err(refused(host, listen)),
    }
}

/// An address of our own, which no foreign name can be pointed at, is one to open.
fn refused(host: &str, listen: SocketAddr) -> PageError {
    let host: String = host.chars().take(100).collect();
    PageError::Misdirected(format!(
        "This dashboard does not answer to {host}. On the machine it runs on, open it as {}, or add the name to allowed_hosts in [dashboard] of config.toml.",
        url(listen)
    ))
}

/// The first header a proxy would have added.
pub fn forwarded(headers: &HeaderMap) -> Option<&str> {
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
    fn whom_an_address_is_for() {
        for (method, path, audience) in [
            (Method::GET, "/", Audience::People),
            (Method::POST, "/logout", Audience::People),
            (Method::GET, "/customers.csv", Audience::People),
            (Method::GET, "/apis", Audience::People),
            (Method::GET, "/login/x", Audience::People),
            (Method::GET, "/assets", Audience::People),
            (Method::GET, "/healthz/", Audience::People),
            (Method::POST, "/login", Audience::SignIn),
            (Method::GET, "/assets/quintile.css", Audience::SignIn),
            (Method::GET, "/healthz", Audience::Probe),
            (Method::GET, "/readyz", Audience::Programs(Scope::Read)),
            (Method::HEAD, "/metrics", Audience::Programs(Scope::Read)),
            (Method::GET, "/api", Audience::Programs(Scope::Read)),
            (Method::GET, "/api/v1/openapi.json", Audience::Programs(Scope::Read)),
            (Method::GET, "/api/v1/orders", Audience::Programs(Scope::Read)),
            (Method::POST, "/api/v1/orders", Audience::Programs(Scope::Ingest)),
            (Method::POST, "/api/v1/orders/", Audience::Programs(Scope::Admin)),
            (Method::POST, "/api/v1/runs", Audience::Programs(Scope::Admin)),
            (Method::DELETE, "/api/v1/customers/7", Audience::Programs(Scope::Admin)),
            (Method::OPTIONS, "/api/v1/runs", Audience::Programs(Scope::Admin)),
        ] {
            assert_eq!(Audience::of(&method, path), audience, "{method} {path}");
        }
    }

    #[test]
    fn proxies_say_it_in_two_ways() {
        for (name, value, https) in [
            ("x-forwarded-proto", "https", true),
            ("x-forwarded-proto", "HTTPS , http", true),
            ("x-forwarded-proto", "http, https", false),
            ("x-forwarded-proto", "", false),
            ("forwarded", "proto=https", true),
            ("forwarded", "for=192.0.2.60; Proto=\"https\";by=203.0.113.43, for=10.0.0.1;proto=http", true),
            ("forwarded", "for=192.0.2.60;proto=http, proto=https", false),
            ("forwarded", "for=\"[2001:db8::1]:4711\";host=shop.example", false),
            ("forwarded", "for=https", false),
            ("x-proto", "https", false),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(is_https(&headers), https, "{name}: {value}");
        }
    }

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
