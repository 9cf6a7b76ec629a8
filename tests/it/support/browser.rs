//! A browser in front of the dashboard: keeps its cookies, sends forms as its own pages do.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{Method, Request, header},
};

use super::pages::{Answer, send_request};

/// The password of shops that have one.
pub const PASSWORD: &str = "correct horse battery";
const HOST: &str = "127.0.0.1:8787";

pub struct Browser {
    router: Router,
    /// Where its connections come from.
    pub address: IpAddr,
    pub cookies: BTreeMap<String, String>,
    /// Sent with every request.
    pub headers: Vec<(&'static str, String)>,
}

impl Browser {
    pub fn new(router: &Router) -> Self {
        Self { router: router.clone(), address: [127, 0, 0, 1].into(), cookies: BTreeMap::new(), headers: Vec::new() }
    }

    pub fn from(router: &Router, address: &str) -> Self {
        Self { address: address.parse().unwrap(), ..Self::new(router) }
    }

    /// That has signed in.
    pub fn signed_in(router: &Router) -> Self {
        let mut browser = Self::new(router);
        assert_eq!(browser.sign_in(PASSWORD).status, 303);
        browser
    }

    pub fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "")
    }

    /// Sends a form.
    pub fn post(&mut self, path: &str, form: &str) -> Answer {
        self.send(Method::POST, path, &[("content-type", "application/x-www-form-urlencoded")], form)
    }

    pub fn sign_in(&mut self, password: &str) -> Answer {
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("password", password).finish();
        self.post("/login", &form)
    }

    pub fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let looks = method == Method::GET;
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, HOST);
        if !looks {
            request = request.header("sec-fetch-site", "same-origin").header(header::ORIGIN, format!("http://{HOST}"));
        }
        for (name, value) in
            headers.iter().copied().chain(self.headers.iter().map(|(name, value)| (*name, value.as_str())))
        {
            request = request.header(name, value);
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(header::COOKIE, cookies.join("; "));
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(ConnectInfo(SocketAddr::new(self.address, 50_000)));
        let answer = send_request(self.router.clone(), request);
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}
