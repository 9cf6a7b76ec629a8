//! Asking the shop: with a token that is renewed in time, at the pace that the shop allows, and with
//! patience while it has trouble. Tokens and secrets are in no error and no log.

use std::sync::{
    Mutex,
    atomic::{AtomicI64, Ordering},
};

use anyhow::Context;
use reqwest::{
    Url,
    header::{HeaderMap, HeaderValue},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    answer::{Verdict, judge, quote},
    http::{Http, Reply},
    queries::Query,
    throttle::{Bucket, Cost, back_off},
    timer::Timer,
};
use crate::{
    clock::Clock,
    config::{Config, Secret},
    delivery::guard::Guard,
    model::Timestamp,
};

/// Tries while the shop does not answer: half a minute in all.
const TRIES: u32 = 6;
/// Refusals in a row because of the bucket, after which something else is wrong.
const THROTTLED_AT_MOST: u32 = 20;
/// A token is renewed when so much of its life is over.
const RENEWED_AT_PERCENT: i64 = 80;

/// Why a question was not answered.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The shop does not let us in, or not to this. Says what to change.
    #[error("{0}")]
    Refused(String),
    /// The query asks for too much at once.
    #[error("the shop calls the query too expensive")]
    TooExpensive,
    /// Later, perhaps.
    #[error("{0}")]
    Unavailable(String),
    /// The query is wrong, or the answer is none.
    #[error("{0}")]
    Wrong(String),
}

/// With what we are let in.
enum Credentials {
    Token(Secret),
    /// Exchanged for a token that lives for a day.
    App {
        id: Secret,
        secret: Secret,
    },
}

/// A token in use.
#[derive(Clone)]
struct Token {
    value: HeaderValue,
    /// `None`: it does not end.
    renew_at: Option<Timestamp>,
}

/// The shop's Admin API.
pub struct Api {
    pub(super) http: Http,
    graphql: Url,
    exchange: Url,
    credentials: Credentials,
    token: tokio::sync::Mutex<Option<Token>>,
    bucket: Mutex<Bucket>,
    /// What our clock is ahead of the shop's, in milliseconds, as of its last answer.
    ahead: AtomicI64,
    clock: Clock,
    timer: Timer,
}

impl Api {
    /// # Errors
    /// There are no credentials (says which keys to write), or the client cannot start.
    pub fn new(config: &Config, clock: Clock, timer: Timer) -> anyhow::Result<Self> {
        let credentials = credentials(config)?;
        let base = &config.shopify.base_url;
        let base = if base.is_empty() { format!("https://{}", config.shop.id) } else { base.clone() };
        let url = |path: String| {
            let address = format!("{}{path}", base.trim_end_matches('/'));
            Url::parse(&address).with_context(|| format!("{address} is not an address; check [shop] id"))
        };
        let guard = Guard::new(&config.forwarder.allow_private)?;
        Ok(Self {
            http: Http::new(guard, base.starts_with("http://"))?,
            graphql: url(format!("/admin/api/{}/graphql.json", config.shopify.api_version))?,
            exchange: url("/admin/oauth/access_token".to_owned())?,
            credentials,
            token: tokio::sync::Mutex::default(),
            bucket: Mutex::default(),
            ahead: AtomicI64::new(0),
            clock,
            timer,
        })
    }

    /// Asks `query`. `points`: what it may cost; learnt from the answer and kept by the caller, so
    /// that the next page waits until the bucket holds as much.
    ///
    /// # Errors
    /// [`ApiError`].
    pub async fn ask<T: DeserializeOwned>(
        &self,
        query: &Query,
        variables: &Value,
        points: &mut f64,
    ) -> Result<T, ApiError> {
        let body = json!({ "query": query.text, "operationName": query.name, "variables": variables }).to_string();
        let (mut failures, mut throttled, mut renewed) = (0, 0, false);
        loop {
            self.wait_for(*points).await;
            let token = self.token().await?;
            let verdict = match self.post(&body, token.value.clone()).await {
                Ok(reply) => judge(&reply),
                Err(reason) => Verdict::Unavailable { reason, retry_after: None },
            };
            match verdict {
                Verdict::Data(data, cost) => {
                    if let Some(cost) = cost {
                        self.learn(&cost);
                        *points = cost.requested_query_cost;
                    }
                    return serde_json::from_value(data).map_err(|error| {
                        ApiError::Wrong(format!("the shop's answer to {} is odd: {}", query.name, kind(&error)))
                    });
                }
                Verdict::Unauthorized(_) if !renewed && matches!(self.credentials, Credentials::App { .. }) => {
                    renewed = true;
                    self.forget(&token).await;
                }
                Verdict::Unauthorized(said) => return Err(ApiError::Refused(self.unauthorized(&said))),
                Verdict::Throttled { cost, retry_after } => {
                    throttled += 1;
                    if throttled > THROTTLED_AT_MOST {
                        return Err(ApiError::Unavailable(
                            "the shop answers no more questions for now: other apps use up its limit".to_owned(),
                        ));
                    }
                    if let Some(cost) = cost {
                        self.learn(&cost);
                        *points = points.max(cost.requested_query_cost);
                    }
                    self.timer.sleep(back_off(throttled, retry_after)).await;
                }
                Verdict::Unavailable { reason, retry_after } => {
                    failures += 1;
                    if failures >= TRIES {
                        return Err(ApiError::Unavailable(reason));
                    }
                    self.timer.sleep(back_off(failures, retry_after)).await;
                }
                Verdict::TooExpensive => return Err(ApiError::TooExpensive),
                Verdict::Refused(reason) => return Err(ApiError::Refused(reason)),
                Verdict::Wrong(reason) => return Err(ApiError::Wrong(reason)),
            }
        }
    }

    async fn post(&self, body: &str, token: HeaderValue) -> Result<Reply, String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-shopify-access-token", token);
        let reply = self.http.post(&self.graphql, headers, "application/json", body.as_bytes().to_vec()).await?;
        if let Some(date) = reply.date {
            self.ahead.store(self.clock.now().millis().saturating_sub(date.millis()), Ordering::Relaxed);
        }
        Ok(reply)
    }

    /// What the shop's clock shows now; ours, until the shop has answered.
    pub fn shop_now(&self) -> Timestamp {
        self.clock.now().plus_millis(-self.ahead.load(Ordering::Relaxed))
    }

    async fn wait_for(&self, points: f64) {
        let wait = self.bucket.lock().unwrap_or_else(std::sync::PoisonError::into_inner).wait(points, self.clock.now());
        if !wait.is_zero() {
            self.timer.sleep(wait).await;
        }
    }

    fn learn(&self, cost: &Cost) {
        self.bucket.lock().unwrap_or_else(std::sync::PoisonError::into_inner).learn(cost, self.clock.now());
    }

    fn unauthorized(&self, said: &str) -> String {
        let key = match self.credentials {
            Credentials::Token(_) => "token",
            Credentials::App { .. } => "client_id and client_secret",
        };
        self.veiled(&format!("the shop does not accept [shopify] {key} (401){said}; copy them again from the app, and see that it is installed in this shop"))
    }

    /// The token in force: the one that there is, or a fresh one.
    async fn token(&self) -> Result<Token, ApiError> {
        let mut held = self.token.lock().await;
        let now = self.clock.now();
        if let Some(token) = held.as_ref().filter(|token| token.renew_at.is_none_or(|at| now < at)) {
            return Ok(token.clone());
        }
        let fresh = match &self.credentials {
            Credentials::Token(token) => Token { value: header("token", token.expose())?, renew_at: None },
            Credentials::App { id, secret } => self.exchange(id, secret).await?,
        };
        *held = Some(fresh.clone());
        Ok(fresh)
    }

    /// Lets go of a token that was refused, unless another one is there already.
    async fn forget(&self, token: &Token) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|held| held.value == token.value) {
            *held = None;
        }
    }

    /// The client-credentials grant.
    async fn exchange(&self, id: &Secret, secret: &Secret) -> Result<Token, ApiError> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
            expires_in: Option<i64>,
        }
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "client_credentials")
            .append_pair("client_id", id.expose())
            .append_pair("client_secret", secret.expose())
            .finish();
        let mut failures = 0;
        loop {
            let asked_at = self.clock.now();
            let sent = self
                .http
                .post(&self.exchange, HeaderMap::new(), "application/x-www-form-urlencoded", form.clone().into_bytes())
                .await;
            let (reason, retry_after) = match sent {
                Ok(reply) if reply.status == 200 => {
                    let granted: Granted = serde_json::from_slice(&reply.body).map_err(|_| {
                        ApiError::Wrong("the shop's answer to the credentials holds no token".to_owned())
                    })?;
                    let life = granted.expires_in.map(|seconds| seconds.saturating_mul(10 * RENEWED_AT_PERCENT));
                    let renew_at = life.map(|millis| asked_at.plus_millis(millis));
                    return Ok(Token { value: header("access token", &granted.access_token)?, renew_at });
                }
                Ok(reply) if reply.status == 429 || reply.status >= 500 => {
                    (format!("Shopify has trouble of its own ({})", reply.status), reply.retry_after)
                }
                Ok(reply) => return Err(ApiError::Refused(self.veiled(&why_no_token(&reply)))),
                Err(reason) => (reason, None),
            };
            failures += 1;
            if failures >= TRIES {
                return Err(ApiError::Unavailable(reason));
            }
            self.timer.sleep(back_off(failures, retry_after)).await;
        }
    }

    /// `text` without our secrets, should the shop have repeated one.
    fn veiled(&self, text: &str) -> String {
        let secrets = match &self.credentials {
            Credentials::Token(token) => [token.expose(), ""],
            Credentials::App { id, secret } => [secret.expose(), id.expose()],
        };
        secrets
            .iter()
            .filter(|secret| !secret.is_empty())
            .fold(text.to_owned(), |text, secret| text.replace(secret, "…"))
    }
}

/// What kind of oddity; not the library's own words, which may repeat a value.
fn kind(error: &serde_json::Error) -> &'static str {
    if error.is_data() { "a field is missing or of another kind" } else { "it is not JSON" }
}

fn header(what: &str, text: &str) -> Result<HeaderValue, ApiError> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| ApiError::Refused(format!("the {what} has characters that no token has; copy it again")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn credentials(config: &Config) -> anyhow::Result<Credentials> {
    let shopify = &config.shopify;
    if let Some(missing) = shopify.missing.first() {
        return Err(ApiError::Refused(missing.clone()).into());
    }
    if !shopify.token.is_empty() {
        return Ok(Credentials::Token(shopify.token.clone()));
    }
    if shopify.client_id.is_empty() || shopify.client_secret.is_empty() {
        return Err(ApiError::Refused(
            "there is nothing to ask the shop with; write client_id and client_secret of an app into [shopify] in config.toml, or a token".to_owned(),
        )
        .into());
    }
    Ok(Credentials::App { id: shopify.client_id.clone(), secret: shopify.client_secret.clone() })
}

/// The token endpoint's refusals, in words that say what to do.
fn why_no_token(reply: &Reply) -> String {
    #[derive(Deserialize)]
    struct Refusal {
        error: Option<String>,
        error_description: Option<String>,
    }
    let refusal: Option<Refusal> = serde_json::from_slice(&reply.body).ok();
    let (error, description) = refusal.map(|refusal| (refusal.error, refusal.error_description)).unwrap_or_default();
    let said = [error.as_deref(), description.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let remedy = match (reply.status, error.as_deref()) {
        (_, Some("shop_not_permitted")) => {
            "the app and the shop belong to different organisations; make the app in the organisation of the shop, or use a token"
        }
        (_, Some("app_not_installed" | "application_not_installed")) => "install the app in the shop first",
        (404, _) => "there is no such shop; check [shop] id",
        (301..=308, _) => "the shop has another name now; check [shop] id",
        _ => "check [shopify] client_id and client_secret, and that the app is installed in this shop",
    };
    let said = if said.is_empty() { format!("status {}", reply.status) } else { quote(&said) };
    format!("the shop gives no token ({said}); {remedy}")
}
