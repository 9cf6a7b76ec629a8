//! Sessions as signed cookies.
//!
//! `quintile_session` holds an id, when the password was given and when the session was last seen, and
//! a MAC over them. `quintile_browser` holds an id that outlives sessions: the browser has signed in
//! before, for [`super::attempts`]. Behind HTTPS both are `__Host-…` and Secure, and those without are
//! not looked at, so that nobody on the way can plant one.

use std::collections::HashMap;

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{is_mac, mac};
use crate::{db::EndedSession, model::Timestamp};

const SESSION: &str = "quintile_session";
const BROWSER: &str = "quintile_browser";

/// A session that nobody used for so long has ended.
const IDLE_MS: i64 = 30 * Timestamp::DAY;
/// The password is asked for again after so long, however much a session is used.
const LONGEST_MS: i64 = 180 * Timestamp::DAY;
/// How often a session in use is given a new cookie.
const RENEW_MS: i64 = Timestamp::DAY;
const BROWSER_MS: i64 = 400 * Timestamp::DAY;

/// Signs sessions.
pub struct Key(pub(super) [u8; 32]);

/// A browser whose user gave the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    id: [u8; 16],
    begun: Timestamp,
    seen: Timestamp,
}

impl Session {
    /// A new one; nothing of what the browser sent is in it.
    pub(super) fn begin(now: Timestamp) -> Result<Self, getrandom::Error> {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        Ok(Self { id, begun: now, seen: now })
    }

    pub(super) const fn is_alive(&self, now: Timestamp) -> bool {
        now.millis() < self.ends().millis()
    }

    const fn ends(&self) -> Timestamp {
        let (idle, longest) = (self.seen.plus_millis(IDLE_MS), self.begun.plus_millis(LONGEST_MS));
        if idle.millis() < longest.millis() { idle } else { longest }
    }

    /// The same session, seen now, if its cookie is old enough to be replaced.
    #[must_use]
    pub fn renewed(&self, now: Timestamp) -> Option<Self> {
        (now.millis() - self.seen.millis() >= RENEW_MS).then(|| Self { seen: now, ..self.clone() })
    }

    fn to_text(&self, key: &Key) -> String {
        let (begun, seen) = (self.begun.millis().to_be_bytes(), self.seen.millis().to_be_bytes());
        let mac = mac(&key.0, &[SESSION.as_bytes(), &self.id, &begun, &seen]);
        URL_SAFE_NO_PAD.encode([&self.id[..], &begun, &seen, &mac].concat())
    }

    fn parse(text: &str, key: &Key) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, rest) = bytes.split_first_chunk::<16>()?;
        let (begun, rest) = rest.split_first_chunk::<8>()?;
        let (seen, given) = rest.split_first_chunk::<8>()?;
        is_mac(&key.0, &[SESSION.as_bytes(), id, begun, seen], given).then(|| Self {
            id: *id,
            begun: Timestamp::from_millis(i64::from_be_bytes(*begun)),
            seen: Timestamp::from_millis(i64::from_be_bytes(*seen)),
        })
    }
}

/// Sessions that were ended before their time, until they would have ended by themselves: the browser
/// has thrown its cookie away, but there may be copies.
#[derive(Debug, Default)]
pub struct SignedOut(HashMap<[u8; 16], Timestamp>);

impl SignedOut {
    pub(super) fn new(known: &[EndedSession]) -> Self {
        Self(known.iter().copied().collect())
    }

    /// Says what has to be remembered beyond a restart.
    pub(super) fn add(&mut self, session: &Session, now: Timestamp) -> EndedSession {
        self.0.retain(|_, ends| *ends > now);
        // The newest cookie of a session lives no longer than this.
        let ended = (session.id, session.begun.plus_millis(LONGEST_MS));
        self.0.insert(ended.0, ended.1);
        ended
    }

    pub(super) fn holds(&self, session: &Session) -> bool {
        self.0.contains_key(&session.id)
    }
}

/// How cookies are read and written over one kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cookies {
    /// The browser speaks HTTPS.
    pub secure: bool,
}

impl Cookies {
    pub(super) fn session(self, headers: &HeaderMap, key: &Key) -> Option<Session> {
        self.values(headers, SESSION).find_map(|text| Session::parse(text, key))
    }

    /// The browser's own id.
    pub(super) fn browser(self, headers: &HeaderMap, key: &Key) -> Option<[u8; 16]> {
        self.values(headers, BROWSER).find_map(|text| {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            let (id, given) = bytes.split_first_chunk::<16>()?;
            is_mac(&key.0, &[BROWSER.as_bytes(), id], given).then_some(*id)
        })
    }

    /// Both cookies of a session.
    pub(super) fn set(self, session: &Session, key: &Key) -> Vec<String> {
        let mac = mac(&key.0, &[BROWSER.as_bytes(), &session.id]);
        let browser = URL_SAFE_NO_PAD.encode([&session.id[..], &mac].concat());
        vec![self.cookie(SESSION, &session.to_text(key), IDLE_MS), self.cookie(BROWSER, &browser, BROWSER_MS)]
    }

    /// Makes the browser forget its session.
    #[must_use]
    pub fn clear(self) -> String {
        self.cookie(SESSION, "", 0)
    }

    fn cookie(self, name: &str, value: &str, lives_ms: i64) -> String {
        let (prefix, secure) = if self.secure { ("__Host-", "; Secure") } else { ("", "") };
        format!("{prefix}{name}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Lax{secure}", lives_ms / 1000)
    }

    /// Every value of a cookie: a browser sends one that somebody planted for a path beside ours.
    fn values<'a>(self, headers: &'a HeaderMap, name: &'static str) -> impl Iterator<Item = &'a str> {
        let prefix = if self.secure { "__Host-" } else { "" };
        headers
            .get_all(header::COOKIE)
            .into_iter()
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(move |pair| pair.trim().strip_prefix(prefix)?.strip_prefix(name)?.strip_prefix('='))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([1; 32]);
    const NOW: Timestamp = Timestamp::from_millis(1_795_431_600_000);
    const PLAIN: Cookies = Cookies { secure: false };

    fn days(days: i64) -> Timestamp {
        NOW.plus_millis(days * Timestamp::DAY)
    }

    fn sent(cookie: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, cookie.parse().unwrap());
        headers
    }

    #[test]
    fn a_session_comes_back_and_cannot_be_made() {
        let session = Session::begin(NOW).unwrap();
        assert_ne!(session.id, Session::begin(NOW).unwrap().id);
        let text = session.to_text(&KEY);
        assert_eq!(Session::parse(&text, &KEY), Some(session.clone()));
        assert_eq!(Session::parse(&text, &Key([2; 32])), None, "another key");
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for place in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert_eq!(Session::parse(&URL_SAFE_NO_PAD.encode(&changed), &KEY), None, "byte {place}");
            assert_eq!(Session::parse(&URL_SAFE_NO_PAD.encode(&bytes[..place]), &KEY), None, "cut at {place}");
        }
    }

    #[test]
    fn sessions_end() {
        let session = Session::begin(NOW).unwrap();
        assert!(session.is_alive(days(29)) && !session.is_alive(days(30)));
        assert_eq!(session.renewed(NOW.plus_millis(RENEW_MS - 1)), None);
        let mut used = session.clone();
        for day in 1..=180 {
            used = used.renewed(days(day)).unwrap();
        }
        assert!(used.is_alive(days(179)) && !used.is_alive(days(180)), "the password is asked for again");

        let mut signed_out = SignedOut::default();
        signed_out.add(&session, NOW);
        assert!(signed_out.holds(&session) && signed_out.holds(&used), "every cookie of the session");
        signed_out.add(&Session::begin(days(180)).unwrap(), days(180));
        assert_eq!(signed_out.0.len(), 1, "those that are over are forgotten");
    }

    #[test]
    fn cookies_of_the_other_kind_are_not_looked_at() {
        let session = Session::begin(NOW).unwrap();
        let https = Cookies { secure: true };
        let [plain, browser] = PLAIN.set(&session, &KEY).try_into().unwrap();
        assert!(
            plain.starts_with("quintile_session=")
                && plain.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax")
        );
        let secure = https.set(&session, &KEY).remove(0);
        assert!(secure.starts_with("__Host-quintile_session=") && secure.ends_with("; HttpOnly; SameSite=Lax; Secure"));
        let pair = |cookie: &str| cookie.split(';').next().unwrap().to_owned();
        assert_eq!(PLAIN.session(&sent(&pair(&plain)), &KEY), Some(session.clone()));
        assert_eq!(https.session(&sent(&pair(&plain)), &KEY), None);
        assert_eq!(PLAIN.session(&sent(&pair(&secure)), &KEY), None);
        let beside = format!("a=b; quintile_session=planted; {}; c", pair(&plain));
        assert_eq!(PLAIN.session(&sent(&beside), &KEY), Some(session.clone()));
        assert_eq!(PLAIN.browser(&sent(&pair(&browser)), &KEY), Some(session.id));
        let as_session = pair(&browser).replace(BROWSER, SESSION);
        assert_eq!(PLAIN.session(&sent(&as_session), &KEY), None, "the one is not the other");
    }
}
