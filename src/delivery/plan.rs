//! What a destination is sent: one or more HTTP requests, made from the frozen envelope.
//!
//! A plan is data. Its requests are templates, which a preset's file or the merchant wrote; the
//! same configuration and the same envelope always make the same bytes, so a retry sends what was
//! sent before although only the envelope is stored, and never a secret. Kind `webhook` has no
//! template: it sends the envelope itself.
//!
//! Reading order: `context` is what templates see, `template` how values are written into bodies,
//! addresses and headers, `request` one request, `answer` what a tool means by its answer, `sample`
//! the customer on whom everything is tried at start.

mod answer;
mod context;
mod request;
mod sample;
mod template;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use http::{
    HeaderMap, Method,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use minijinja::{Environment, Value};
use url::{Origin, Url};

use crate::{
    config::{self, Preset},
    outbox::Misconfigured,
};
pub use answer::{Meaning, Reading};
use context::{Fixed, Parsed};
use request::Compiled;

/// The requests of one destination. Cheap to clone; its `Debug` shows no secret.
#[derive(Clone)]
pub struct Plan(Arc<Inner>);

struct Inner {
    preset: &'static Preset,
    environment: Environment<'static>,
    fixed: Fixed,
    requests: Vec<Compiled>,
    /// Of kind `webhook`.
    webhook: Option<(Url, HeaderMap)>,
    base: Option<Url>,
    /// Where requests go, as far as it may be shown.
    masked_url: String,
    /// Requests of one delivery, at most.
    most: usize,
}

/// One delivery, as it is about to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// The frozen envelope, of one event or of a batch.
    pub body: &'a [u8],
    pub message_id: &'a str,
    /// Set properties only; start nothing.
    pub quiet: bool,
}

/// A request, ready but for the signature.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// A request that could not be made of this envelope. Quotes neither secrets nor the customer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("request {number}, {part}: {problem}")]
pub struct RenderError {
    /// From 1, as the merchant counts.
    pub number: usize,
    /// `url`, `body`, `header api-key`, `form visit`, `when`; `event` for the envelope itself.
    pub part: String,
    pub problem: String,
}

impl Plan {
    /// Reads the templates and makes every request once of a made-up customer, so that a mistake in
    /// them shows at start.
    ///
    /// # Errors
    /// The first setting that cannot be used: destination, key, number of the request, what to
    /// write.
    pub fn from_config(destination: &config::Destination, shop: &config::Shop) -> Result<Self, Misconfigured> {
        let problem = |key, problem: String| Misconfigured { destination: destination.name.clone(), key, problem };
        let Some(preset) = Preset::of(&destination.kind) else {
            let known: Vec<&str> = Preset::all().iter().map(|preset| preset.kind.as_str()).collect();
            return Err(problem(
                "kind",
                format!("is {:?}, which there is not; there are: {}", destination.kind, known.join(", ")),
            ));
        };
        let (batch, limit) = (destination.batch, preset.batch_limit());
        if !(1..=limit).contains(&batch) {
            return Err(problem("batch", format!("is {batch}; this kind takes 1 to {limit} events per request")));
        }
        let mut environment = template::environment();
        let fixed = Fixed::new(destination, preset, shop, &environment)
            .map_err(|(name, help)| problem("vars", format!("lacks {name}: {help}")))?;
        // Of a command that only looks, from a shell without the service's secrets.
        let looks_only = destination.secrets.values().any(config::Secret::is_empty);
        let webhook = if preset.sign {
            let url =
                check_url(&destination.url, destination.allow_http).map_err(|text| problem("url", text.to_owned()))?;
            let headers = if looks_only {
                HeaderMap::new()
            } else {
                custom_headers(&destination.headers, &mut environment, &fixed)
                    .map_err(|error| problem("headers", error.to_string()))?
            };
            Some((url, headers))
        } else {
            None
        };
        let base = match destination.base_url.trim() {
            "" => None,
            text => Some(Url::parse(text).map_err(|_| problem("base_url", "is not an address".to_owned()))?),
        };
        let given = if preset.is_template() { &destination.request } else { &preset.request };
        let mut requests = Vec::with_capacity(given.len());
        for (index, request) in given.iter().enumerate() {
            let compiled = Compiled::new(index + 1, request, destination.allow_http, &mut environment);
            requests.push(compiled.map_err(|error| problem("request", describe(&error)))?);
        }
        let masked_url = webhook.as_ref().map(|(url, _)| mask(url)).unwrap_or_default();
        let most = requests.len().max(1);
        let mut inner = Inner { preset, environment, fixed, requests, webhook, base, masked_url, most };
        if !looks_only {
            inner.try_samples(destination, shop).map_err(|error| problem("request", describe(&error)))?;
        }
        Ok(Self(Arc::new(inner)))
    }

    /// How many requests there are, those that are passed over included.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.0.requests.len().max(1)
    }

    /// How many requests one delivery takes at most: fewer than there are steps where one or the
    /// other is passed over.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.0.most
    }

    /// Hosts and ports that requests go to, each once; none when they could not be tried for want
    /// of a secret.
    #[must_use]
    pub fn hosts(&self) -> Vec<(String, u16)> {
        let webhook = self.0.webhook.iter().map(|(url, _)| url.origin());
        let mut hosts = Vec::new();
        for origin in webhook.chain(self.0.requests.iter().filter_map(Compiled::origin)) {
            if let Origin::Tuple(_, host, port) = origin
                && !hosts.contains(&(host.to_string(), port))
            {
                hosts.push((host.to_string(), port));
            }
        }
        hosts
    }

    /// Request `step`, from 0. `None`: it is passed over for this message.
    ///
    /// # Errors
    /// No request can be made of this message; it would be so at every attempt.
    pub fn render(&self, step: usize, message: &Message<'_>) -> Result<Option<Rendered>, RenderError> {
        if let Some((url, custom)) = &self.0.webhook {
            let mut headers = custom.clone();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            let (method, url, body) = (Method::POST, url.clone(), message.body.to_vec());
            return Ok(Some(Rendered { method, url, headers, body }));
        }
        self.0.render(step, message)
    }

    /// What the tool means by an answer to request `step`.
    #[must_use]
    pub fn read(&self, _step: usize, status: u16, headers: &HeaderMap, body: &[u8]) -> Reading {
        Reading::new(self.0.preset, status, headers, body)
    }

    /// Whether requests carry the signature of Standard Webhooks.
    #[must_use]
    pub fn sign(&self) -> bool {
        self.0.preset.sign
    }

    /// Events per request, at most.
    #[must_use]
    pub fn batch_limit(&self) -> u32 {
        self.0.preset.batch_limit()
    }

    /// Requests at a time, at most.
    #[must_use]
    pub fn connections(&self) -> usize {
        const USUAL: usize = 16;
        match self.0.preset.connections {
            0 => USUAL,
            limit => limit,
        }
    }

    /// Requests a minute that the tool takes; `None`: it does not say.
    #[must_use]
    pub fn per_minute(&self) -> Option<u32> {
        self.0.preset.per_minute
    }

    /// Where requests go, without what may be secret in it: `https://hooks.example.com/…`.
    #[must_use]
    pub fn masked_url(&self) -> String {
        self.0.masked_url.clone()
    }
}

impl Inner {
    fn render(&self, step: usize, message: &Message<'_>) -> Result<Option<Rendered>, RenderError> {
        let Some(request) = self.requests.get(step) else { return Ok(None) };
        let event =
            |problem: &str| RenderError { number: step + 1, part: "event".to_owned(), problem: problem.to_owned() };
        let parsed = Parsed::new(message.body, &self.fixed).map_err(event)?;
        // A preset has no words for events it does not know, like that of an erased customer.
        if !self.preset.is_template() && !parsed.is_named {
            return Ok(None);
        }
        let context: Value = parsed.context(&self.fixed, message);
        request.render(&self.environment, &context, self.base.as_ref())
    }

    /// Makes every request of made-up customers, and remembers to which host each goes.
    fn try_samples(&mut self, destination: &config::Destination, shop: &config::Shop) -> Result<(), RenderError> {
        let mut most = 0;
        // Of a template, what the destination lets through; a preset knows what it has no words for.
        let wanted = |kind: &&str| {
            let events = &destination.events;
            let named = events.iter().any(|event| event == kind);
            !self.preset.is_template() || named || (events.is_empty() && *kind != sample::REDACTED)
        };
        let kinds: Vec<&str> = sample::TYPES.into_iter().filter(wanted).collect();
        for (kind, sample) in sample::samples(destination, shop, self.preset, &kinds) {
            for quiet in [false, true].into_iter().filter(|quiet| !quiet || self.preset.quiet) {
                let message = Message { body: &sample, message_id: "msg_01JSAMPLESAMPLESAMPLESAMPL", quiet };
                let mut count = 0;
                for step in 0..self.requests.len() {
                    let rendered = self.render(step, &message).map_err(|error| name_type(error, kind))?;
                    let Some(rendered) = rendered else { continue };
                    count += 1;
                    self.requests[step].goes_to(&rendered.url);
                    if self.masked_url.is_empty() {
                        self.masked_url = mask(&rendered.url);
                    }
                }
                most = most.max(count);
            }
        }
        // What the merchant's own conditions let through is not known from samples.
        if !self.preset.is_template() {
            self.most = most.max(1);
        }
        Ok(())
    }
}

/// Most templates are written with a change of segment in mind; what other events lack is told with
/// their type.
fn name_type(mut error: RenderError, kind: &str) -> RenderError {
    if kind != sample::TYPES[0] {
        error.problem = format!(
            "of an event of type {kind} it cannot be made: {}; name the types it is meant for in `events`, or ask for \
             the value with {{% if … is given %}}",
            error.problem
        );
    }
    error
}

fn describe(error: &RenderError) -> String {
    format!("number {}, {}: {}", error.number, error.part, error.problem)
}

/// Scheme, host and port: what of an address may be shown.
pub(super) fn mask(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}/…", url.scheme())
}

/// The headers that a merchant adds to a webhook: they know the secrets, not the event.
fn custom_headers(
    given: &std::collections::BTreeMap<String, String>,
    environment: &mut Environment<'static>,
    fixed: &Fixed,
) -> Result<HeaderMap, RenderError> {
    let templates = config::Request { headers: given.clone(), ..Default::default() };
    let compiled = Compiled::headers_only(1, &templates, environment)?;
    compiled.headers(environment, &fixed.context())
}

/// The messages do not quote the address: of some tools it is a secret.
fn check_url(text: &str, allow_http: bool) -> Result<Url, &'static str> {
    if text.trim().is_empty() {
        return Err("is missing; write the address that your tool shows for incoming webhooks");
    }
    let url = Url::parse(text.trim())
        .map_err(|_| "is not an address; write it whole, like https://example.com/hooks/quintile")?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http => Ok(url),
        "http" => Err("is http, which anybody on the way can read; write https, or set allow_http = true for a tool \
                       on this machine"),
        _ => Err("must start with https://"),
    }
}

/// Shows where it goes and how, not what: headers and bodies hold secrets and people.
impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&HeaderName> = self.headers.keys().collect();
        f.debug_struct("Rendered")
            .field("method", &self.method)
            .field("url", &mask(&self.url))
            .field("headers", &headers)
            .field("body", &self.body.len())
            .finish()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("kind", &self.0.preset.kind).field("url", &self.0.masked_url).finish()
    }
}
