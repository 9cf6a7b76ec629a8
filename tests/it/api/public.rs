//! The running server, given to public tools: one that checks the document by OpenAPI's own schema,
//! and one that makes up requests from it and holds every answer against it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use quintile::web::auth::{fresh_token, hash_of};
use serde_json::{Value, json};

use crate::support::{
    http,
    merchant::{Merchant, post_orders, score_and_wait},
    process::Server,
};

/// A tool of tests/api/requirements.txt.
fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/api/bin").join(name);
    assert!(path.exists(), "{} is not there; tests/run --libraries installs it", path.display());
    path
}

fn run(command: &mut Command) {
    let output = command.output().expect("the tool starts");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&said));
}

/// A shop with a bit of everything, and a token that may do all.
fn shop() -> (Merchant, Server, String) {
    let token = fresh_token().unwrap();
    // Nothing listens there: some deliveries fail.
    let merchant = Merchant::with(
        "http://127.0.0.1:9",
        &format!("[[dashboard.token]]\nname = \"all\"\nscopes = [\"admin\"]\nhash = \"{}\"", hash_of(token.expose())),
    );
    let server = Server::start(merchant.path());
    let orders: Vec<Value> = (1..=30)
        .map(|n| {
            json!({"id": n.to_string(), "customer": {"id": n.to_string(), "email": format!("c{n}@example.com")},
                   "orderedAt": "2026-03-01T00:00:00Z", "total": format!("{n}.50"), "status": "paid"})
        })
        .collect();
    assert_eq!(post_orders(&server, "m1", &json!({"orders": orders})).unwrap().status, 200);
    score_and_wait(&merchant, &server);
    (merchant, server, token.expose().to_owned())
}

#[test]
fn public_tools_find_nothing_wrong() {
    let (merchant, server, token) = shop();
    let document = http::get(&format!("{}/api/v1/openapi.json", server.dashboard)).unwrap();
    assert_eq!(document.status, 200);
    let file = merchant.write("openapi.json", &document.body);
    run(Command::new(tool("openapi-spec-validator")).arg(&file));

    let settings = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/schemathesis.toml");
    run(Command::new(tool("schemathesis"))
        .current_dir(merchant.path())
        .args(["--config-file", settings.to_str().unwrap(), "run", file.to_str().unwrap()])
        .args(["--url", &server.dashboard, "--header", &format!("Authorization: Bearer {token}")]));
    assert_eq!(http::get(&format!("{}/readyz", server.dashboard)).unwrap().status, 200, "the server still works");
}
