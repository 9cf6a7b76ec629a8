//! Errors as RFC 9457 problem documents.

use std::collections::BTreeMap;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::{
    IntoResponses, PartialSchema, ToSchema,
    openapi::{Content, RefOr, ResponseBuilder, response},
};

use crate::{config::Scope, db::is_said, web::error::PageError};

/// The media type of all errors.
pub const CONTENT_TYPE: &str = "application/problem+json";
/// What a sender is told to wait when we cannot store, in seconds.
const RETRY_AFTER: i64 = 5;

/// Why there is no answer. The detail is for whoever wrote the request and says what to write.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    /// `WWW-Authenticate`
    challenge: Option<String>,
    retry_after: Option<i64>,
}

/// A problem document (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
struct Document<'a> {
    /// Always `about:blank`: the status says all there is to branch on.
    #[serde(rename = "type")]
    kind: &'a str,
    /// What the status is called.
    title: &'a str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong with this request, and what to write instead.
    detail: &'a str,
}

impl Problem {
    fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), challenge: None, retry_after: None }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Everything that is not described.
    pub fn no_such_address() -> Self {
        Self::not_found("there is nothing at this address; /api/v1/openapi.json shows what there is")
    }

    pub fn not_json() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send JSON, and say so in the header Content-Type: application/json",
        )
    }

    pub fn too_large(bytes: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {bytes} bytes"))
    }

    pub fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "the body did not come within ten seconds")
    }

    /// Nobody knows who asks.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        let challenge = Some("Bearer realm=\"quintile\"".to_owned());
        Self { challenge, ..Self::new(StatusCode::UNAUTHORIZED, detail) }
    }

    /// Who asks is known, and may not.
    pub fn lacks_scope(needed: Scope, detail: impl Into<String>) -> Self {
        let challenge =
            format!("Bearer realm=\"quintile\", error=\"insufficient_scope\", scope=\"{}\"", needed.as_str());
        Self { challenge: Some(challenge), ..Self::new(StatusCode::FORBIDDEN, detail) }
    }

    /// Ours to repair. The details are in the log, not in the answer.
    pub fn internal(error: &anyhow::Error) -> Self {
        tracing::error!(error = format!("{error:#}"), "a request to the API failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the database could not be read; the log says why")
    }

    /// Nothing was stored; the same request may be sent again.
    pub fn unavailable(error: &anyhow::Error) -> Self {
        if !is_said(error) {
            tracing::error!(error = format!("{error:#}"), "a request to the API changed nothing");
        }
        Self::not_now("nothing was stored; please send it again")
    }

    /// Something that has to run does not.
    pub fn not_now(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(RETRY_AFTER), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }
}

impl From<&PageError> for Problem {
    fn from(error: &PageError) -> Self {
        match error {
            PageError::Internal(error) => Self::internal(error),
            PageError::TooMany(_, wait_s) => {
                Self { retry_after: Some(*wait_s), ..Self::new(error.status(), error.to_string()) }
            }
            _ => Self::new(error.status(), error.to_string()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let document = Document {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("error"),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        let mut response = (self.status, axum::Json(document)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// A known address with another method; the answer keeps its `Allow`.
pub async fn wrong_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this address does not take this method; see the Allow header")
}

/// The problems of every request, for the description of the API.
pub struct Refusals;
/// Those of a request with a body, beside [`Refusals`].
pub struct BodyRefusals;
/// Something that is named in the address is not there.
pub struct Missing;

impl IntoResponses for Refusals {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        problems(&[
            (400, "Something in the request cannot be read; nothing was done."),
            (401, "There is a password, and no token or session came with the request; or the token is unknown."),
            (403, "The token lacks the scope; or another site sent the request."),
            (413, "The body is too large, also where none is read."),
            (421, "The Host header names an address that is not in allowed_hosts."),
            (500, "The database could not be read."),
            (503, "Nothing was stored; the same request may be sent again."),
        ])
    }
}

impl IntoResponses for BodyRefusals {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        problems(&[(408, "The body did not come in time."), (415, "The body is not JSON, or does not say that it is.")])
    }
}

impl IntoResponses for Missing {
    fn responses() -> BTreeMap<String, RefOr<response::Response>> {
        problems(&[(404, "There is nothing by this name.")])
    }
}

fn problems(all: &[(u16, &str)]) -> BTreeMap<String, RefOr<response::Response>> {
    let one = |(status, description): &(u16, &str)| {
        let content = Content::new(Some(utoipa::openapi::Ref::from_schema_name("Problem")));
        let response = ResponseBuilder::new().description(*description).content(CONTENT_TYPE, content).build();
        (status.to_string(), RefOr::T(response))
    };
    all.iter().map(one).collect()
}

/// The name and the schema of the document, which [`problems`] refers to.
pub fn schema() -> (String, RefOr<utoipa::openapi::Schema>) {
    (Document::name().into_owned(), Document::schema())
}
