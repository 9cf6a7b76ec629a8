//! The API for programs: over the router for what it answers, over the real program for what the
//! commands must agree with.

mod access;
mod changes;
mod document;
mod lists;
mod public;

use axum::http::{Method, StatusCode};
use serde_json::Value;

use crate::support::{
    browser::Browser,
    pages::{Answer, Shop},
};

/// A request with a JSON body; an empty one is none.
fn send(shop: &Shop, method: Method, path: &str, body: &str) -> Answer {
    let json = [("content-type", "application/json")];
    Browser::new(&shop.router()).send(method, path, if body.is_empty() { &[] } else { &json }, body)
}

/// The JSON of an answer that must be good.
#[track_caller]
fn good(answer: &Answer) -> Value {
    assert!(answer.status.is_success(), "{}: {}", answer.status, answer.body);
    assert_eq!(answer.header("content-type"), "application/json");
    serde_json::from_str(&answer.body).unwrap()
}

#[track_caller]
fn get(shop: &Shop, path: &str) -> Value {
    good(&send(shop, Method::GET, path, ""))
}

/// The detail of an answer that must be a problem with this status.
#[track_caller]
fn problem(answer: &Answer, status: u16) -> String {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (StatusCode::from_u16(status).unwrap(), "application/problem+json"),
        "{}",
        answer.body
    );
    let problem: Value = serde_json::from_str(&answer.body).unwrap();
    assert!(
        problem["status"] == status && problem["type"] == "about:blank" && problem["title"].is_string(),
        "{problem}"
    );
    problem["detail"].as_str().unwrap().to_owned()
}
