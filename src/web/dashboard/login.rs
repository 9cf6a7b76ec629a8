//! `GET /login`, `POST /login`: the one password. `POST /logout`.

use std::{net::IpAddr, sync::Arc};

use askama::Template;
use axum::{
    extract::{Extension, Form, FromRequest, Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};

use super::{
    App,
    guard::{self, Visitor},
    view::{self, Chrome},
};
use crate::{
    db::end_session,
    web::{auth::SignInError, error::PageError, peer},
};

/// Longest address that is gone back to after signing in.
const LONGEST_NEXT: usize = 2000;
/// What a program that stumbles upon the form might try.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"quintile\"");

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    chrome: Chrome,
    /// Where to go on afterwards.
    next: String,
    /// The password was wrong.
    wrong: bool,
}

/// `GET /login?next=/customers`
pub async fn page(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let next = local(view::parameter(&pairs, "next").unwrap_or_default());
    if !matches!(visitor, Visitor::Other) {
        return Ok(Redirect::to(next).into_response());
    }
    view::html(&Login { chrome: Chrome::outside(&app), next: next.to_owned(), wrong: false })
}

/// `POST /login`: the password, and where to go on. Begins a new session whatever cookie came with it.
pub async fn sign_in(State(app): State<Arc<App>>, request: Request) -> Result<Response, PageError> {
    let (headers, peer): (HeaderMap, Option<IpAddr>) = (request.headers().clone(), peer::address(&request));
    let Ok(Form(mut pairs)) = Form::<Vec<(String, String)>>::from_request(request, &()).await else {
        return Err(PageError::BadRequest(
            "This is no form with a password. Open /login and write it there.".to_owned(),
        ));
    };
    let next = local(view::parameter(&pairs, "next").unwrap_or_default()).to_owned();
    if !app.access.has_password() {
        return Ok(Redirect::to(&next).into_response());
    }
    let given = pairs.iter().position(|(name, _)| name == "password").map(|place| pairs.swap_remove(place).1);
    let cookies = guard::cookies(&app, &headers);
    let client = app.access.client(&headers, cookies, peer, guard::forwarded(&headers).is_some());
    match app.access.sign_in(client, given.unwrap_or_default(), app.clock.now()).await {
        Ok(Some(session)) => {
            tracing::info!("somebody signed in to the dashboard");
            let mut response = Redirect::to(&next).into_response();
            set_cookies(&mut response, app.access.set_cookies(&session, cookies));
            Ok(response)
        }
        Ok(None) => {
            tracing::warn!(peer = peer.map(tracing::field::display), "a wrong password for the dashboard");
            let page = view::html(&Login { chrome: Chrome::outside(&app), next, wrong: true })?;
            Ok((StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, CHALLENGE)], page).into_response())
        }
        Err(SignInError::TooMany(too_many)) => Err(PageError::TooMany(
            format!("There were too many wrong passwords. Wait {} seconds and try again.", too_many.wait_s),
            too_many.wait_s,
        )),
        Err(SignInError::Other(error)) => Err(error.into()),
    }
}

/// `POST /logout`: ends this session; others go on.
pub async fn sign_out(
    State(app): State<Arc<App>>,
    Extension(visitor): Extension<Visitor>,
    headers: HeaderMap,
) -> Response {
    let now = app.clock.now();
    if let Some(ended) = visitor.session().and_then(|session| app.access.sign_out(session, now)) {
        let kept = app.writer.write(move |tx| Ok(end_session(tx, ended, now)?)).await;
        if let Err(error) = kept {
            let error = format!("{error:#}");
            tracing::error!(
                error,
                "a sign-out could not be stored: copies of its cookie are good again after a restart"
            );
        }
    }
    let mut response = Redirect::to("/login").into_response();
    set_cookies(&mut response, [guard::cookies(&app, &headers).clear()]);
    response
}

/// Adds `Set-Cookie` headers.
pub fn set_cookies(response: &mut Response, cookies: impl IntoIterator<Item = String>) {
    for cookie in cookies {
        if let Ok(value) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(header::SET_COOKIE, value);
        }
    }
}

/// The sign-in that leads back to what was asked for.
pub fn address(method: &Method, uri: &Uri) -> String {
    let wanted = uri.path_and_query().map_or("/", |path| path.as_str());
    // What a form would have done is not done again by going back to it.
    if *method != Method::GET || local(wanted) == "/" {
        return "/login".to_owned();
    }
    format!("/login?{}", form_urlencoded::Serializer::new(String::new()).append_pair("next", wanted).finish())
}

/// An address on this dashboard, or `/`. Browsers read `//host` and `/\host` as other sites, and
/// leave out line breaks and tabs.
fn local(address: &str) -> &str {
    let plain = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let here = address.starts_with('/') && !address.starts_with("//");
    if plain && here && address.len() <= LONGEST_NEXT { address } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_ours_are_gone_back_to() {
        for ours in ["/", "/customers", "/customers?q=anna%40example.com&r=5", "/runs/7", "/a//b", "/login"] {
            assert_eq!(local(ours), ours);
        }
        for foreign in [
            "",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "https://evil.example",
            "javascript:alert(1)",
            "evil.example",
            " /customers",
            "/ü",
            &format!("/{}", "x".repeat(LONGEST_NEXT)),
        ] {
            assert_eq!(local(foreign), "/", "{foreign:?}");
        }
    }

    #[test]
    fn the_way_back_stands_in_the_address() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert_eq!(address(&Method::GET, &uri("/")), "/login");
        assert_eq!(address(&Method::POST, &uri("/runs")), "/login");
        assert_eq!(address(&Method::GET, &uri("/customers?q=a&r=5")), "/login?next=%2Fcustomers%3Fq%3Da%26r%3D5");
        assert_eq!(address(&Method::GET, &uri("//evil.example/")), "/login");
        assert_eq!(address(&Method::GET, &uri("http://localhost/runs")), "/login?next=%2Fruns");
    }
}
