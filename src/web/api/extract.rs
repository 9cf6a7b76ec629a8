//! Reading requests; what cannot be read is answered with what is wrong.

use std::time::Duration;

use axum::{
    body::{Bytes, HttpBody},
    extract::{FromRequest, FromRequestParts, OptionalFromRequest, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::de::DeserializeOwned;

use super::{BODY_LIMIT, problem::Problem};

/// For what Rust says of digits.
const NUMBER: &str = "write a whole number";
/// How long a sender may take over its body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The parameters of the address. Unknown ones, and those that come twice, are errors.
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let read = axum::extract::Query::try_from_uri(&parts.uri);
        read.map(|axum::extract::Query(value)| Self(value)).map_err(|error| unreadable("the parameters", &error))
    }
}

/// One part of the path.
pub struct Path(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Path {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        read.map(|axum::extract::Path(value)| Self(value)).map_err(|error| unreadable("the address", &error))
    }
}

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = json_bytes(request, BODY_LIMIT).await?;
        // The fields of an object may be written as an array without their names, for serde.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Problem::bad_request("send a JSON object, like {\"name\": \"value\"}"));
        }
        serde_json::from_slice(&body).map(Self).map_err(|error| Problem::bad_request(format!("the body: {error}")))
    }
}

/// None, when nothing at all was sent.
impl<S: Send + Sync, T: DeserializeOwned> OptionalFromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        if request.body().is_end_stream() {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

/// What is wrong with a part of the request, in the words of whoever tried to read it; those around them
/// are about the framework.
fn unreadable(part: &str, error: &dyn std::error::Error) -> Problem {
    let cause = std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error);
    let said = cause
        .to_string()
        .replace("invalid digit found in string", NUMBER)
        .replace("cannot parse integer from empty string", NUMBER)
        .replace("number too large to fit in target type", "the number is too large")
        .replace("number too small to fit in target type", "the number is too small");
    Problem::bad_request(format!("{part}: {said}"))
}

/// An id as we write it: digits, and nothing else.
pub fn id(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The bytes of a body that says it is JSON, for those who read it themselves. `limit` is what the
/// route's layer lets through.
pub async fn json_bytes(request: Request, limit: usize) -> Result<Bytes, Problem> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::not_json());
    }
    match tokio::time::timeout(BODY_TIME, Bytes::from_request(request, &())).await {
        Err(_) => Err(Problem::too_slow()),
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Problem::too_large(limit)),
        Ok(Err(_)) => Err(Problem::bad_request("the body did not arrive whole")),
    }
}
