//! One request: its templates, and what they make of an event.

use http::{
    HeaderMap, Method,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use minijinja::{Environment, Error, ErrorKind, Value};
use serde::de::IgnoredAny;
use url::{Origin, Url, form_urlencoded};

use super::{RenderError, Rendered, template::Place};
use crate::config;

/// A request whose templates stand in the environment, by their names.
pub struct Compiled {
    number: usize,
    method: Method,
    allow_http: bool,
    url: String,
    when: Option<String>,
    headers: Vec<(HeaderName, String)>,
    body: Body,
    /// Where it goes with a made-up customer: no real one may send it elsewhere.
    origin: Option<Origin>,
}

enum Body {
    None,
    Text {
        template: String,
        is_json: bool,
    },
    /// Field and template.
    Form(Vec<(String, String)>),
}

impl Compiled {
    /// # Errors
    /// A template, header or method is not one.
    pub fn new(
        number: usize,
        request: &config::Request,
        allow_http: bool,
        environment: &mut Environment<'static>,
    ) -> Result<Self, RenderError> {
        let mut compiled = Self::headers_only(number, request, environment)?;
        compiled.allow_http = allow_http;
        compiled.method = Method::from_bytes(request.method.as_bytes())
            .map_err(|_| error(number, "method", "write POST, PUT, PATCH, GET or DELETE"))?;
        let mut add = |place: Place, part: &str, text: &str| add(environment, number, place, part, text);
        compiled.url = add(Place::Url, "url", &request.url)?;
        if !request.when.trim().is_empty() {
            let text = format!("{{% if {} %}}yes{{% endif %}}", request.when);
            compiled.when = Some(add(Place::Plain, "when", &text)?);
        }
        if !request.form.is_empty() {
            let mut fields = Vec::new();
            for (name, text) in &request.form {
                fields.push((name.clone(), add(Place::Plain, &format!("form {name}"), text)?));
            }
            compiled.body = Body::Form(fields);
        } else if !request.body.is_empty() {
            let mut headers = request.headers.iter();
            let content_type = headers.find(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE.as_str()));
            let place = Place::in_body(content_type.map(|(_, value)| value.as_str())).ok_or_else(|| {
                error(
                    number,
                    "header Content-Type",
                    "write application/json, application/x-www-form-urlencoded, application/xml, text/html or text/plain, without {{ }}: it says how values are written into the body",
                )
            })?;
            compiled.body = Body::Text { template: add(place, "body", &request.body)?, is_json: place == Place::Json };
        }
        Ok(compiled)
    }

    /// Without address and body.
    pub fn headers_only(
        number: usize,
        request: &config::Request,
        environment: &mut Environment<'static>,
    ) -> Result<Self, RenderError> {
        let mut headers = Vec::new();
        for (name, text) in &request.headers {
            let part = format!("header {name}");
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| error(number, &part, "this is not a name of a header"))?;
            headers.push((header, add(environment, number, Place::Header, &part, text)?));
        }
        Ok(Self {
            number,
            method: Method::POST,
            allow_http: false,
            url: String::new(),
            when: None,
            headers,
            body: Body::None,
            origin: None,
        })
    }

    /// All requests go to where this one goes.
    pub fn goes_to(&mut self, url: &Url) {
        self.origin.get_or_insert_with(|| url.origin());
    }

    /// Where it goes, once that is known.
    pub fn origin(&self) -> Option<Origin> {
        self.origin.clone()
    }

    /// `None`: not for this event.
    ///
    /// # Errors
    /// A template cannot be filled, or what it makes is no address, header or JSON.
    pub fn render(
        &self,
        environment: &Environment<'static>,
        context: &Value,
        base: Option<&Url>,
    ) -> Result<Option<Rendered>, RenderError> {
        if let Some(when) = &self.when
            && self.fill(environment, when, context)?.is_empty()
        {
            return Ok(None);
        }
        let url = self.address(&self.fill(environment, &self.url, context)?, base)?;
        let mut headers = self.headers(environment, context)?;
        let body = match &self.body {
            Body::None => Vec::new(),
            Body::Text { template, is_json } => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
                let body = self.fill(environment, template, context)?.into_bytes();
                if *is_json {
                    serde_json::from_slice::<IgnoredAny>(&body).map_err(|problem| {
                        let place = format!("line {}, column {}", problem.line(), problem.column());
                        let text = format!("what it makes is not JSON at {place}; write {{{{ … }}}} without quotes around it, they come by themselves");
                        error(self.number, "body", &text)
                    })?;
                }
                body
            }
            Body::Form(fields) => {
                headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/x-www-form-urlencoded"));
                let mut form = form_urlencoded::Serializer::new(String::new());
                for (name, template) in fields {
                    form.append_pair(name, &self.fill(environment, template, context)?);
                }
                form.finish().into_bytes()
            }
        };
        Ok(Some(Rendered { method: self.method.clone(), url, headers, body }))
    }

    /// # Errors
    /// A header's template cannot be filled.
    pub fn headers(&self, environment: &Environment<'static>, context: &Value) -> Result<HeaderMap, RenderError> {
        let mut headers = HeaderMap::with_capacity(self.headers.len());
        for (name, template) in &self.headers {
            let text = self.fill(environment, template, context)?;
            let mut value = HeaderValue::from_bytes(text.as_bytes())
                .map_err(|_| error(self.number, &format!("header {name}"), "what it makes is not a header's value"))?;
            value.set_sensitive(true);
            headers.insert(name.clone(), value);
        }
        Ok(headers)
    }

    fn fill(&self, environment: &Environment<'static>, name: &str, context: &Value) -> Result<String, RenderError> {
        let part = part_of(name);
        let template = environment.get_template(name).map_err(|problem| explain(self.number, part, &problem))?;
        template.render(context).map_err(|problem| {
            if problem.kind() == ErrorKind::UndefinedError {
                let mut absent: Vec<String> =
                    template.undeclared_variables(true).into_iter().filter(|path| !is_defined(context, path)).collect();
                absent.sort();
                if !absent.is_empty() {
                    let text = format!("there is no {}; {}", absent.join(", "), remedy(&absent));
                    return error(self.number, part, &text);
                }
            }
            explain(self.number, part, &problem)
        })
    }

    fn address(&self, text: &str, base: Option<&Url>) -> Result<Url, RenderError> {
        let refuse = |text: &str| error(self.number, "url", text);
        let path = text.split(['?', '#']).next().unwrap_or_default();
        if path.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(refuse("the address has a part that is only dots"));
        }
        let mut url = Url::parse(text.trim())
            .map_err(|_| refuse("what it makes is not an address; write it whole, like https://example.com/…"))?;
        if let Some(base) = base {
            rebase(&mut url, base).ok_or_else(|| refuse("base_url does not fit this address"))?;
        } else if url.scheme() != "https" && !(url.scheme() == "http" && self.allow_http) {
            return Err(refuse(
                "it must start with https://; plain http needs allow_http = true, for a tool on this machine",
            ));
        }
        if self.origin.as_ref().is_some_and(|origin| *origin != url.origin()) {
            return Err(refuse("a customer's data would send it to another host"));
        }
        Ok(url)
    }
}

/// Scheme, host and port of `base`, and its path before the other.
fn rebase(url: &mut Url, base: &Url) -> Option<()> {
    url.set_scheme(base.scheme()).ok()?;
    url.set_host(base.host_str()).ok()?;
    url.set_port(base.port()).ok()?;
    let path = format!("{}{}", base.path().trim_end_matches('/'), url.path());
    url.set_path(&path);
    Some(())
}

fn add(
    environment: &mut Environment<'static>,
    number: usize,
    place: Place,
    part: &str,
    text: &str,
) -> Result<String, RenderError> {
    let name = place.name(number, part);
    environment.add_template_owned(name.clone(), text.to_owned()).map_err(|problem| explain(number, part, &problem))?;
    Ok(name)
}

fn part_of(name: &str) -> &str {
    name.splitn(3, '/').nth(2).unwrap_or(name)
}

fn is_defined(context: &Value, path: &str) -> bool {
    let step = |value: Value, name: &str| value.get_attr(name).ok().filter(|value| !value.is_undefined());
    path.split('.').try_fold(context.clone(), step).is_some()
}

fn remedy(absent: &[String]) -> &'static str {
    let any = |names: &[&str]| absent.iter().any(|name| names.contains(&name.as_str()));
    if any(&["customer.firstName", "customer.lastName"]) {
        "add \"name\" to the destination's fields"
    } else if any(&["customer.phone"]) {
        "add \"phone\" to the destination's fields"
    } else if any(&["customer.orderCount", "customer.totalSpent", "customer.currency", "customer.lastOrderAt"]) {
        "add \"counters\" to the destination's fields"
    } else if any(&["event.rfm.r", "event.rfm.f", "event.rfm.m"]) {
        "add \"rfm\" to the destination's fields"
    } else if absent.iter().any(|name| name.starts_with("secret.")) {
        "write it as a key of the destination, like token_env for {{ secret.token }}"
    } else {
        "README.md lists what there is"
    }
}

/// The engine's own words; they name the line, never a value.
fn explain(number: usize, part: &str, problem: &Error) -> RenderError {
    let line = problem.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    let detail = problem.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    error(number, part, &format!("{}{detail}{line}", problem.kind()))
}

fn error(number: usize, part: &str, problem: &str) -> RenderError {
    RenderError { number, part: part.to_owned(), problem: problem.to_owned() }
}
