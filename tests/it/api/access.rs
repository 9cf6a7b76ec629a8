//! Tokens, and what each of them is good for.

use axum::http::{Method, StatusCode};
use quintile::{
    config::{Scope, Secret, Token},
    web::auth::{fresh_token, hash_of, password},
};

use super::problem;
use crate::support::{
    browser::{Browser, PASSWORD},
    pages::{Answer, Shop},
};

const ROUTES: [(Method, &str, Scope); 14] = [
    (Method::GET, "/api/v1/segments", Scope::Read),
    (Method::GET, "/api/v1/customers", Scope::Read),
    (Method::GET, "/api/v1/customers/7", Scope::Read),
    (Method::GET, "/api/v1/runs", Scope::Read),
    (Method::GET, "/api/v1/events", Scope::Read),
    (Method::GET, "/api/v1/deliveries", Scope::Read),
    (Method::GET, "/api/v1/destinations", Scope::Read),
    (Method::GET, "/api/v1/openapi.json", Scope::Read),
    (Method::GET, "/metrics", Scope::Read),
    (Method::GET, "/readyz", Scope::Read),
    (Method::POST, "/api/v1/orders", Scope::Ingest),
    (Method::POST, "/api/v1/runs", Scope::Admin),
    (Method::POST, "/api/v1/deliveries/retry", Scope::Admin),
    (Method::DELETE, "/api/v1/customers/7", Scope::Admin),
];

/// A shop with a password and a token of each scope.
struct Locked {
    shop: Shop,
    tokens: [Secret; 3],
}

impl Locked {
    fn new() -> Self {
        let mut shop = Shop::scored(60);
        shop.config.dashboard.password_hash = Secret::new(password::hash(PASSWORD).unwrap());
        let tokens = Scope::ALL.map(|_| fresh_token().unwrap());
        let token = |(scope, token): (&Scope, &Secret)| Token {
            name: format!("{} token", scope.as_str()),
            scopes: vec![*scope],
            hash: Secret::new(hash_of(token.expose())),
        };
        shop.config.dashboard.token = Scope::ALL.iter().zip(&tokens).map(token).collect();
        Self { shop, tokens }
    }

    fn send(&self, method: &Method, path: &str, authorization: &str) -> Answer {
        let mut program = Browser::new(&self.shop.router());
        let headers = [("content-type", "application/json"), ("authorization", authorization)];
        program.send(
            method.clone(),
            path,
            &headers,
            if *method == Method::POST { "{\"dryRun\":true,\"all\":true}" } else { "" },
        )
    }

    fn token(&self, scope: Scope) -> String {
        let place = Scope::ALL.iter().position(|it| *it == scope).unwrap();
        format!("Bearer {}", self.tokens[place].expose())
    }
}

#[test]
fn each_token_opens_what_it_is_for() {
    let locked = Locked::new();
    for scope in Scope::ALL {
        for (method, path, needed) in ROUTES {
            // The last: forgetting somebody is no test of all tokens.
            let answer = locked.send(&method, path, &locked.token(scope));
            if scope == needed || scope == Scope::Admin {
                assert!(answer.status.is_success(), "{scope:?} {method} {path}: {} {}", answer.status, answer.body);
            } else {
                let detail = problem(&answer, 403);
                assert!(detail.contains(scope.as_str()) && detail.contains(needed.as_str()), "{detail}");
                let challenge = answer.header("www-authenticate");
                assert!(challenge.contains(&format!("error=\"insufficient_scope\", scope=\"{}\"", needed.as_str())));
            }
        }
    }
}

#[test]
fn a_wrong_token_opens_nothing() {
    let locked = Locked::new();
    let good = locked.token(Scope::Admin);
    let hash = locked.shop.config.dashboard.token[2].hash.expose().to_owned();
    for wrong in [
        "Bearer",
        "Bearer x",
        &good[..good.len() - 1],
        &format!("{good}x"),
        &good.to_uppercase(),
        &format!("Bearer {hash}"),
        &format!("Token {}", locked.tokens[2].expose()),
        "Basic cXVpbnRpbGU6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5",
        &format!("Bearer {PASSWORD}"),
    ] {
        for (method, path, _) in ROUTES {
            let answer = locked.send(&method, path, wrong);
            let detail = problem(&answer, 401);
            assert!(answer.header("www-authenticate").starts_with("Bearer") && detail.contains("oken"), "{detail}");
        }
    }
    assert!(locked.shop.asked.is_empty());
    assert_eq!(locked.shop.value::<i64>("SELECT count(*) FROM customers WHERE redacted_at IS NULL"), 60);
}

#[test]
fn a_token_opens_no_page() {
    let locked = Locked::new();
    for path in ["/", "/customers", "/customers.csv", "/runs", "/import"] {
        let answer = locked.send(&Method::GET, path, &locked.token(Scope::Admin));
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{path}");
        assert!(answer.location().starts_with("/login"), "{path}");
    }
    let answer = locked.send(&Method::POST, "/runs", &locked.token(Scope::Admin));
    assert_eq!(answer.location(), "/login");
    assert!(locked.shop.asked.is_empty());
}

#[test]
fn a_session_may_use_the_api_and_its_own_pages_only() {
    let locked = Locked::new();
    let router = locked.shop.router();
    let mut merchant = Browser::signed_in(&router);
    assert_eq!(merchant.get("/api/v1/customers").status, StatusCode::OK);
    assert_eq!(merchant.send(Method::POST, "/api/v1/runs", &[], "").status, StatusCode::ACCEPTED);
    // A token that comes along decides, and must be right.
    let read = locked.token(Scope::Read);
    let ingest = merchant.send(Method::POST, "/api/v1/runs", &[("authorization", &read)], "");
    problem(&ingest, 403);
    problem(&merchant.send(Method::GET, "/api/v1/runs", &[("authorization", "Bearer x")], ""), 401);
}

#[test]
fn without_a_password_whoever_is_here_may_use_the_api() {
    let shop = Shop::scored(60);
    for (method, path, _) in ROUTES {
        let mut program = Browser::new(&shop.router());
        let body = if method == Method::POST { "{\"dryRun\":true,\"all\":true}" } else { "" };
        let answer = program.send(method.clone(), path, &[("content-type", "application/json")], body);
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.body);
    }
    let mut program = Browser::new(&shop.router());
    problem(&program.send(Method::GET, "/api/v1/runs", &[("authorization", "Bearer x")], ""), 401);
}
