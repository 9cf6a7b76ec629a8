//! Who somebody is: the merchant by one password and the session that it began, a program by a
//! bearer token. [`dashboard::guard`](super::dashboard) says who may do what.
//!
//! There is no table of sessions. A session is a signed cookie; its key is made of the database's
//! own key and of the password's hash, so that neither a copy of the configuration nor one of the
//! database alone is enough to make one, a restart ends no session, and another hash ends all.

mod attempts;
mod bearer;
pub mod password;
mod session;

use std::{net::IpAddr, sync::Mutex};

use axum::http::HeaderMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::{
    config::{Config, Secret},
    db::EndedSession,
    model::Timestamp,
};

pub use attempts::{Client, TooMany};
pub use bearer::{Bearer, Refusal, fresh_token, hash_of};
pub use session::{Cookies, Session};

use attempts::Attempts;
use bearer::Bearers;
use password::Verifier;
use session::{Key, SignedOut};

/// What is known of the password and the tokens.
pub struct Access {
    /// `None`: the page asks for no password.
    login: Option<Login>,
    bearers: Bearers,
}

struct Login {
    verifier: Verifier,
    key: Key,
    attempts: Mutex<Attempts>,
    signed_out: Mutex<SignedOut>,
}

impl Access {
    /// `database_key`: the key that this database keeps for itself; `ended`: the sessions of which it
    /// knows that they ended before their time.
    #[must_use]
    pub fn new(config: &Config, database_key: &[u8; 32], ended: &[EndedSession]) -> Self {
        let hash = &config.dashboard.password_hash;
        let login = (!hash.is_empty()).then(|| Login {
            verifier: Verifier::new(hash),
            key: Key(derive(database_key, hash)),
            attempts: Mutex::default(),
            signed_out: Mutex::new(SignedOut::new(ended)),
        });
        Self { login, bearers: Bearers::new(&config.dashboard.token) }
    }

    /// Whether the page asks for a password.
    #[must_use]
    pub const fn has_password(&self) -> bool {
        self.login.is_some()
    }

    /// The session that a request belongs to, if it is one of ours and has not ended.
    #[must_use]
    pub fn session(&self, headers: &HeaderMap, cookies: Cookies, now: Timestamp) -> Option<Session> {
        let login = self.login.as_ref()?;
        let session = cookies.session(headers, &login.key)?;
        (session.is_alive(now) && !lock(&login.signed_out).holds(&session)).then_some(session)
    }

    /// The program whose token a request carries; `None`: it carries none.
    ///
    /// # Errors
    /// The token is nobody's.
    pub fn bearer(&self, headers: &HeaderMap) -> Option<Result<Bearer, Refusal>> {
        self.bearers.find(headers)
    }

    /// Tries a password. `Ok(None)`: it was wrong, which counts against `client`.
    ///
    /// # Errors
    /// The client has failed too often; or the password could not be checked.
    pub async fn sign_in(
        &self,
        client: Client,
        password: String,
        now: Timestamp,
    ) -> Result<Option<Session>, SignInError> {
        let Some(login) = &self.login else { return Ok(None) };
        // Counted before it is known: a hundred at once are not a hundred tries.
        lock(&login.attempts).begin(client, now)?;
        if !login.verifier.verify(password).await? {
            return Ok(None);
        }
        lock(&login.attempts).succeeded(client);
        Ok(Some(Session::begin(now).map_err(anyhow::Error::from)?))
    }

    /// Ends a session before its time. Says what has to be remembered beyond a restart.
    pub fn sign_out(&self, session: &Session, now: Timestamp) -> Option<EndedSession> {
        self.login.as_ref().map(|login| lock(&login.signed_out).add(session, now))
    }

    /// Values of `Set-Cookie` for the session; nothing without a password.
    #[must_use]
    pub fn set_cookies(&self, session: &Session, cookies: Cookies) -> Vec<String> {
        self.login.as_ref().map(|login| cookies.set(session, &login.key)).unwrap_or_default()
    }

    /// Whom a failed sign-in counts against: the browser, or the other end of the connection, `proxied`
    /// or not.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, cookies: Cookies, peer: Option<IpAddr>, proxied: bool) -> Client {
        let browser = self.login.as_ref().and_then(|login| cookies.browser(headers, &login.key));
        browser.map_or_else(|| Client::stranger(peer, proxied), Client::Known)
    }
}

/// Why a password was not tried.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    #[error(transparent)]
    TooMany(#[from] TooMany),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

/// The key of sessions.
fn derive(database_key: &[u8; 32], hash: &Secret) -> [u8; 32] {
    mac(database_key, &[b"session", hash.expose().as_bytes()])
}

/// HMAC-SHA256 of the parts, each with its length.
fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    keyed(key, parts).finalize().into_bytes().into()
}

/// Compares in constant time.
fn is_mac(key: &[u8; 32], parts: &[&[u8]], given: &[u8]) -> bool {
    keyed(key, parts).verify_slice(given).is_ok()
}

fn keyed(key: &[u8; 32], parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&block.into());
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

/// What a panic left behind is still good: every change here is one step.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
