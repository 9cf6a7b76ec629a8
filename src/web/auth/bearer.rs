//! Bearer tokens of programs (RFC 6750), known by their hashes.

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::config::{Scope, Secret, Token};

/// Before the random part, so that a token is recognised where it should not be.
const PREFIX: &str = "quintile_";

/// A fresh token of 256 random bits: what makes a plain hash enough to keep.
///
/// # Errors
/// The operating system has no random numbers to give.
pub fn fresh_token() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))))
}

/// What the configuration holds of a token.
#[must_use]
pub fn hash_of(token: &str) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(token)))
}

/// A program that may do some things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub name: String,
    scopes: Vec<Scope>,
}

impl Bearer {
    /// Whether it may do what `needed` stands for.
    #[must_use]
    pub fn may(&self, needed: Scope) -> bool {
        self.scopes.iter().any(|scope| *scope == needed || *scope == Scope::Admin)
    }
}

/// Why a request with an `Authorization` header is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("write one header Authorization: Bearer, a space and the token")]
    NotABearer,
    #[error("this token is not in [[dashboard.token]] of config.toml; `quintile token` makes one")]
    Unknown,
}

/// The tokens of the configuration.
pub struct Bearers(Vec<([u8; 32], Bearer)>);

impl Bearers {
    pub(super) fn new(tokens: &[Token]) -> Self {
        let bearer =
            |token: &Token| Some((token.digest()?, Bearer { name: token.name.clone(), scopes: token.scopes.clone() }));
        Self(tokens.iter().filter_map(bearer).collect())
    }

    /// Whose token a request carries; `None`: it carries none.
    pub(super) fn find(&self, headers: &HeaderMap) -> Option<Result<Bearer, Refusal>> {
        let mut all = headers.get_all(header::AUTHORIZATION).into_iter();
        let first = all.next()?;
        let more = all.next().is_some();
        let token = first.to_str().ok().and_then(|text| text.split_once(' '));
        Some(match token {
            Some((scheme, token)) if !more && scheme.eq_ignore_ascii_case("bearer") => self.known(token.trim()),
            _ => Err(Refusal::NotABearer),
        })
    }

    /// Hashes are compared: how long that takes tells nothing of the token.
    fn known(&self, token: &str) -> Result<Bearer, Refusal> {
        let digest: [u8; 32] = Sha256::digest(token).into();
        let found = self.0.iter().find(|(known, _)| *known == digest);
        found.map(|(_, bearer)| bearer.clone()).ok_or(Refusal::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        headers
    }

    #[test]
    fn a_token_is_found_by_its_hash() {
        let token = fresh_token().unwrap();
        assert_eq!(token.expose().len(), PREFIX.len() + 43);
        let configured =
            Token { name: "reports".to_owned(), scopes: vec![Scope::Read], hash: Secret::new(hash_of(token.expose())) };
        let bearers = Bearers::new(&[configured]);
        let find = |value: &str| bearers.find(&header(value)).unwrap();
        let found = find(&format!("Bearer {}", token.expose())).unwrap();
        assert_eq!(found.name, "reports");
        assert_eq!(Scope::ALL.map(|scope| found.may(scope)), [false, true, false]);
        assert_eq!(find(&format!("bearer {}", token.expose())), Ok(found));
        assert_eq!(find("Bearer x"), Err(Refusal::Unknown));
        assert_eq!(find("Bearer"), Err(Refusal::NotABearer));
        assert_eq!(find("Basic dXNlcjpwYXNz"), Err(Refusal::NotABearer));
        assert_eq!(find(&format!("Bearer {}", hash_of(token.expose()))), Err(Refusal::Unknown), "the hash is no token");
        let mut two = header("Bearer x");
        two.append(header::AUTHORIZATION, format!("Bearer {}", token.expose()).parse().unwrap());
        assert_eq!(bearers.find(&two), Some(Err(Refusal::NotABearer)));
        assert_eq!(bearers.find(&HeaderMap::new()), None);
    }

    #[test]
    fn admin_may_everything_and_ingest_nothing_else() {
        let may = |scope| Scope::ALL.map(|needed| Bearer { name: String::new(), scopes: vec![scope] }.may(needed));
        assert_eq!(may(Scope::Ingest), [true, false, false]);
        assert_eq!(may(Scope::Admin), [true, true, true]);
    }
}
