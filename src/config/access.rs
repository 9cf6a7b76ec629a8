//! `[dashboard]`: who may look, in what the file holds of a password and of tokens.

use argon2::{Params, password_hash::phc::PasswordHash};
use serde::{Deserialize, Serialize};

use super::{Dashboard, Secret, check::Findings};

/// Most memory that checking the password may take, in KiB: whoever writes a hash by hand must not
/// let a sign-in stop the machine.
const MOST_MEMORY_KIB: u32 = 256 * 1024;
/// Most passes over that memory.
const MOST_PASSES: u32 = 20;

/// `[[dashboard.token]]`: a program that may use the API.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Token {
    /// For people; appears in the log.
    pub name: String,
    pub scopes: Vec<Scope>,
    /// `sha256:` and the hash of the token in hex, as `quintile token` prints it.
    pub hash: Secret,
}

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// To send orders, and nothing else.
    Ingest,
    /// To look at everything.
    Read,
    /// Everything.
    Admin,
}

impl Scope {
    pub const ALL: [Self; 3] = [Self::Ingest, Self::Read, Self::Admin];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }
}

impl Token {
    /// The hash itself; `None`: it is not one.
    #[must_use]
    pub fn digest(&self) -> Option<[u8; 32]> {
        let digits = self.hash.expose().strip_prefix("sha256:")?;
        hex::decode(digits).ok()?.try_into().ok()
    }
}

/// What the types cannot say.
pub fn check(dashboard: &Dashboard, findings: &mut Findings) {
    let section = || "dashboard".into();
    let Dashboard { listen, allowed_hosts, password_hash, token } = dashboard;
    if password_hash.is_empty() && !listen.ip().is_loopback() {
        findings.add(
            [section(), "listen".into()],
            format!(
                "{listen} would show every customer to whoever reaches this computer; run `quintile hash-password` and write what it prints as password_hash, or write \"127.0.0.1:{}\"",
                listen.port()
            ),
        );
    }
    if !password_hash.is_empty()
        && let Err(problem) = usable(password_hash.expose())
    {
        findings.add(
            [section(), "password_hash".into()],
            format!("this {problem}; run `quintile hash-password` and write what it prints, or leave it empty"),
        );
    }
    for (index, host) in allowed_hosts.iter().enumerate() {
        if host.trim().is_empty() || host.contains(['/', ' ']) {
            findings.add(
                [section(), "allowed_hosts".into(), index.into()],
                format!("{host:?} is not a host name; write it without https:// and path, like \"shop-pc.local\""),
            );
        }
    }
    for (index, one) in token.iter().enumerate() {
        let at = |key: &str| [section(), "token".into(), index.into(), key.into()];
        if one.name.trim().is_empty() {
            findings.add(at("name"), "this token has no name; write what uses it, like name = \"reports\"");
        } else if token[..index].iter().any(|earlier| earlier.name == one.name) {
            findings.add(at("name"), format!("two tokens are called {:?}; give each its own name", one.name));
        }
        if one.scopes.is_empty() {
            findings.add(at("scopes"), "this token may do nothing; write scopes = [\"read\"], \"ingest\" or \"admin\"");
        }
        if one.digest().is_none() {
            findings.add(
                at("hash"),
                "this is not the hash of a token; run `quintile token NAME --scope read` and write what it prints",
            );
        }
    }
}

/// What is wrong with a password's hash, after "this".
fn usable(hash: &str) -> Result<(), &'static str> {
    const NOT_ONE: &str = "is not a hash of a password";
    let hash = PasswordHash::new(hash).map_err(|_| NOT_ONE)?;
    if hash.algorithm.as_str() != "argon2id" {
        return Err("is not an argon2id hash");
    }
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(NOT_ONE);
    }
    let params = Params::try_from(&hash).map_err(|_| NOT_ONE)?;
    if params.m_cost() > MOST_MEMORY_KIB || params.t_cost() > MOST_PASSES {
        return Err("hash takes more memory or time to check than a sign-in may");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_that_can_be_used() {
        const REST: &str = "$c29tZXNhbHRzb21lc2FsdA$LJJYK5xRjQgOPmTw8nbqBJBCY2p1Rbh5tVuF8tYHyL0";
        assert_eq!(usable(&format!("$argon2id$v=19$m=19456,t=2,p=1{REST}")), Ok(()));
        for wrong in [
            "hunter2",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA",
            &format!("$argon2i$v=19$m=19456,t=2,p=1{REST}"),
            &format!("$argon2id$v=19$m=0,t=2,p=1{REST}"),
            &format!("$argon2id$v=19$m=4194304,t=2,p=1{REST}"),
            &format!("$argon2id$v=19$m=19456,t=2000,p=1{REST}"),
            "$2b$12$abcdefghijklmnopqrstuuLJJYK5xRjQgOPmTw8nbqBJBCY2p1Rbh",
        ] {
            assert!(usable(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_token_is_known_by_a_hash() {
        let token = |hash: &str| Token { hash: Secret::new(hash), ..Token::default() };
        assert_eq!(token(&format!("sha256:{}", "0a".repeat(32))).digest(), Some([10; 32]));
        for wrong in ["", "sha256:", "sha256:0a", &"0a".repeat(32), &format!("sha256:{}", "zz".repeat(32))] {
            assert_eq!(token(wrong).digest(), None, "{wrong}");
        }
    }
}
