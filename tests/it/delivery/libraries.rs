//! What the forwarder sends, given to the public libraries that receivers use.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::{Engine, engine::general_purpose::STANDARD};
use quintile::config::Secret;
use serde_json::{Value, json};

use super::fixture::Shop;
use crate::support::receiver::{Received, Receiver, SECRET};

const OLD: &str = SECRET;
const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A request with a non-ASCII body, as a tool gets it while `secret` signs.
async fn sent_with(secret: &str) -> Received {
    let tool = Receiver::start().await;
    let mut shop = Shop::new(&[&tool]);
    shop.config.destination[0].secret = Secret::new(secret);
    shop.config.destination[0].fields = ["segment", "email", "name"].map(str::to_owned).to_vec();
    shop.moves(&[7], "champion");
    assert_eq!(shop.deliver().await.delivered, 1);
    tool.received().remove(0)
}

/// Requests and whether a receiver that holds the secret must accept them.
async fn requests() -> Vec<(&'static str, Value, bool)> {
    let request = |request: &Received, secret: &str, change: &str| {
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        let headers: Value = headers.iter().map(|name| ((*name).to_owned(), json!(request.header(name)))).collect();
        let body = String::from_utf8(request.body.clone()).unwrap();
        assert!(body.contains("Zoë 李"), "the body is not ASCII: {body}");
        json!({"secret": secret, "headers": headers, "body": STANDARD.encode(body.replace("champion", change))})
    };
    let before = sent_with(OLD).await;
    let rotating = sent_with(&format!("{NEW} {OLD}@2099-01-01T00:00:00Z")).await;
    let after = sent_with(&format!("{NEW} {OLD}@2026-01-01T00:00:00Z")).await;
    let same = "champion";
    vec![
        ("before, old secret", request(&before, OLD, same), true),
        ("before, new secret", request(&before, NEW, same), false),
        ("rotating, old secret", request(&rotating, OLD, same), true),
        ("rotating, new secret", request(&rotating, NEW, same), true),
        ("rotating, another secret", request(&rotating, OTHER, same), false),
        ("rotating, tampered, old secret", request(&rotating, OLD, "loyal"), false),
        ("rotating, tampered, new secret", request(&rotating, NEW, "loyal"), false),
        ("after, new secret", request(&after, NEW, same), true),
        ("after, old secret", request(&after, OLD, same), false),
    ]
}

/// Runs a script of tests/libraries on all requests; it prints the verdicts of each library.
async fn judged_by(interpreter: &Path, script: &str, libraries: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/libraries");
    let requests = requests().await;
    let mut child = Command::new(interpreter)
        .arg(folder.join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}; tests/run --libraries installs it", interpreter.display()));
    let input: Vec<&Value> = requests.iter().map(|(_, request, _)| request).collect();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(&input).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script} failed; tests/run --libraries installs what it needs");
    let verdicts: Value = serde_json::from_slice(&output.stdout).unwrap();
    for library in libraries {
        let verdicts = verdicts[library].as_array().unwrap();
        assert_eq!(verdicts.len(), requests.len());
        for ((name, _, genuine), verdict) in requests.iter().zip(verdicts) {
            assert_eq!(verdict, genuine, "{library} of {script}: {name}");
        }
    }
}

#[tokio::test]
async fn the_libraries_of_node_accept_what_is_sent() {
    judged_by(Path::new("node"), "verify.mjs", &["standardwebhooks", "svix"]).await;
}

#[tokio::test]
async fn the_library_of_python_accepts_what_is_sent() {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/libraries/bin/python");
    judged_by(&python, "verify.py", &["standardwebhooks"]).await;
}

#[tokio::test]
async fn the_library_of_rust_accepts_what_is_sent() {
    for (name, request, genuine) in requests().await {
        let headers = request["headers"].as_object().unwrap().iter();
        let pair = |(name, it): (&String, &Value)| -> (HeaderName, HeaderValue) {
            (name.parse().unwrap(), it.as_str().unwrap().parse().unwrap())
        };
        let headers: HeaderMap = headers.map(pair).collect();
        let body = STANDARD.decode(request["body"].as_str().unwrap()).unwrap();
        let library = standardwebhooks::Webhook::new(request["secret"].as_str().unwrap()).unwrap();
        assert_eq!(library.verify(&body, &headers).is_ok(), genuine, "{name}");
    }
}
