//! What an answer of the GraphQL API means. Pure.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{http::Reply, throttle::Cost};

/// Characters of the shop's own words that are told on.
const LONGEST_QUOTE: usize = 300;
/// Fields that a shop's plan or an app's permissions may hide. They come as null then, beside an
/// error; everything else is worth having.
const PERSONAL: [&str; 6] = ["email", "phone", "firstName", "lastName", "defaultEmailAddress", "defaultPhoneNumber"];

/// What to do about an answer.
#[derive(Debug)]
pub enum Verdict {
    Data(Value, Option<Cost>),
    /// The token is not accepted (any more).
    Unauthorized(String),
    /// The bucket was too low.
    Throttled {
        cost: Option<Cost>,
        retry_after: Option<Duration>,
    },
    /// The query asks for more than a bucket can ever hold.
    TooExpensive,
    /// The shop has trouble of its own.
    Unavailable {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// The shop will not give this; says what to change.
    Refused(String),
    /// The query is wrong, or the answer is none.
    Wrong(String),
}

#[derive(Deserialize)]
struct Body {
    data: Option<Value>,
    /// A list, or for some refusals a text.
    errors: Option<Value>,
    extensions: Option<Extensions>,
}

#[derive(Deserialize)]
struct Extensions {
    cost: Option<Cost>,
}

#[must_use]
pub fn judge(reply: &Reply) -> Verdict {
    let body: Option<Body> = serde_json::from_slice(&reply.body).ok();
    let said = body.as_ref().and_then(|body| body.errors.as_ref()).map(in_words).unwrap_or_default();
    let quoted = if said.is_empty() { String::new() } else { format!(": {said}") };
    match reply.status {
        200 => body.map_or_else(|| Verdict::Wrong("the shop's answer is not JSON".to_owned()), judge_body),
        401 => Verdict::Unauthorized(quoted),
        429 | 430 => Verdict::Throttled { cost: None, retry_after: reply.retry_after },
        402 => Verdict::Refused("the shop is frozen: its bill to Shopify is not paid".to_owned()),
        403 => Verdict::Refused(format!("the shop refuses the app (403){quoted}; is it installed with its scopes?")),
        404 => Verdict::Refused(
            "the shop does not know this address (404); check [shop] id and [shopify] api_version".to_owned(),
        ),
        423 => Verdict::Refused("the shop is locked by Shopify (423); its owner has to write to Shopify".to_owned()),
        301..=308 => Verdict::Refused(format!(
            "the shop's address has moved to {}; write that name into [shop] id",
            host(reply.location.as_deref())
        )),
        500..=599 => Verdict::Unavailable {
            reason: format!("Shopify has trouble of its own ({})", reply.status),
            retry_after: reply.retry_after,
        },
        status => Verdict::Wrong(format!("the shop answered {status}{quoted}")),
    }
}

fn judge_body(body: Body) -> Verdict {
    let cost = body.extensions.and_then(|extensions| extensions.cost);
    let errors = match body.errors {
        Some(Value::Array(errors)) => errors,
        Some(other) => return Verdict::Wrong(format!("the shop says: {}", in_words(&other))),
        None => Vec::new(),
    };
    let has = |code: &str| errors.iter().any(|error| code_of(error) == Some(code));
    let said = || in_words(&Value::Array(errors.clone()));
    if has("THROTTLED") {
        return Verdict::Throttled { cost, retry_after: None };
    }
    if has("MAX_COST_EXCEEDED") {
        return Verdict::TooExpensive;
    }
    if has("SHOP_INACTIVE") {
        return Verdict::Refused("the shop is closed or paused".to_owned());
    }
    if errors.iter().any(|error| code_of(error) == Some("ACCESS_DENIED") && !is_personal(error)) {
        return Verdict::Refused(format!(
            "the app may not read this: {}; give it the scopes read_orders, read_all_orders and read_customers, and install it again",
            said()
        ));
    }
    if has("INTERNAL_SERVER_ERROR") || has("TIMEOUT") {
        return Verdict::Unavailable {
            reason: format!("Shopify has trouble of its own: {}", said()),
            retry_after: None,
        };
    }
    match body.data {
        Some(data @ Value::Object(_)) if errors.iter().all(is_personal) => Verdict::Data(data, cost),
        _ if errors.is_empty() => Verdict::Wrong("the shop's answer holds no data".to_owned()),
        _ => Verdict::Wrong(format!("the shop does not take the query: {}", said())),
    }
}

fn code_of(error: &Value) -> Option<&str> {
    error.pointer("/extensions/code").and_then(Value::as_str)
}

/// Whether nothing but personal data was held back.
fn is_personal(error: &Value) -> bool {
    let last = error.get("path").and_then(Value::as_array).and_then(|path| path.last()).and_then(Value::as_str);
    code_of(error) == Some("ACCESS_DENIED") && last.is_some_and(|field| PERSONAL.contains(&field))
}

/// The shop's own words, cut short.
fn in_words(errors: &Value) -> String {
    let text = match errors {
        Value::Array(errors) => {
            let messages = errors.iter().filter_map(|error| error.get("message").and_then(Value::as_str));
            messages.take(3).collect::<Vec<_>>().join("; ")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    quote(&text)
}

/// Foreign text, safe to print: one line, not longer than a person reads.
#[must_use]
pub fn quote(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_QUOTE).collect()
}

fn host(location: Option<&str>) -> String {
    let url = location.and_then(|location| reqwest::Url::parse(location).ok());
    url.and_then(|url| url.host_str().map(quote)).unwrap_or_else(|| "another one".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reply(status: u16, body: &Value) -> Reply {
        Reply {
            date: None,
            status,
            retry_after: None,
            location: Some("https://new-name.myshopify.com/admin?token=x".to_owned()),
            body: body.to_string().into_bytes(),
        }
    }

    fn error(code: &str, path: &Value) -> Value {
        json!({ "message": format!("it is {code}"), "path": path, "extensions": { "code": code } })
    }

    fn told(status: u16, body: &Value) -> String {
        format!("{:?}", judge(&reply(status, body)))
    }

    #[test]
    fn each_answer_has_its_meaning() {
        let errors = |code: &str| json!({ "data": null, "errors": [error(code, &json!(["orders"]))] });
        for (status, body, expected) in [
            (200, json!({ "data": { "shop": {} } }), "Data("),
            (200, errors("THROTTLED"), "Throttled"),
            (200, errors("MAX_COST_EXCEEDED"), "TooExpensive"),
            (200, errors("SHOP_INACTIVE"), "Refused(\"the shop is closed"),
            (200, errors("ACCESS_DENIED"), "Refused(\"the app may not read this: it is ACCESS_DENIED; give it"),
            (200, errors("INTERNAL_SERVER_ERROR"), "Unavailable"),
            (200, errors("undefinedField"), "Wrong(\"the shop does not take the query: it is undefinedField"),
            (200, json!({}), "Wrong(\"the shop's answer holds no data"),
            (200, json!("<html>"), "Wrong(\"the shop's answer is not JSON"),
            (401, json!({ "errors": "[API] Invalid API key" }), "Unauthorized(\": [API] Invalid API key"),
            (402, json!({}), "Refused(\"the shop is frozen"),
            (404, json!({ "errors": "Not Found" }), "Refused(\"the shop does not know this address"),
            (301, json!(null), "Refused(\"the shop's address has moved to new-name.myshopify.com;"),
            (429, json!({}), "Throttled"),
            (503, json!({}), "Unavailable"),
            (418, json!({}), "Wrong(\"the shop answered 418"),
        ] {
            let told = told(status, &body);
            assert!(told.starts_with(expected), "{status} {body}: {told}");
        }
    }

    #[test]
    fn hidden_personal_data_is_no_failure_but_a_hidden_customer_is() {
        let data = json!({ "orders": { "nodes": [{ "email": null }] } });
        let with = |path: Value| json!({ "data": data, "errors": [error("ACCESS_DENIED", &path)] });
        assert!(told(200, &with(json!(["orders", "nodes", 0, "email"]))).starts_with("Data("));
        // Without it every order would look like a guest's.
        assert!(told(200, &with(json!(["orders", "nodes", 0, "customer"]))).starts_with("Refused("));
    }

    #[test]
    fn foreign_words_stay_short_and_on_one_line() {
        let told = quote(&format!("a\nb\u{1b}[31m{}", "x".repeat(1000)));
        assert!(told.starts_with("a b [31mxx") && told.len() == LONGEST_QUOTE);
    }
}
