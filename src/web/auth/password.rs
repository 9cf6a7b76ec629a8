//! The one password: argon2id, checked where it stops nobody.

use std::sync::mpsc;

use anyhow::{Context, anyhow};
use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::oneshot;

use crate::config::Secret;

/// Shortest password, in characters; what can be guessed in a year at five tries a minute is shorter.
pub const SHORTEST: usize = 8;
/// Longest password, in bytes.
pub const LONGEST: usize = 1024;

/// A hash in the PHC form with a fresh salt (argon2id, 19 MiB, two passes), which takes some 20 ms.
///
/// # Errors
/// The operating system has no random numbers to give.
pub fn hash(password: &str) -> anyhow::Result<String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| anyhow!("the password could not be hashed: {error}"))
}

/// Compares passwords with one hash, one after the other on one thread: the memory that a check takes
/// is then taken once, and not once for each thread that ever made one.
pub struct Verifier {
    asked: mpsc::Sender<Question>,
}

/// A password, and where to say whether it is the one.
type Question = (String, oneshot::Sender<anyhow::Result<bool>>);

impl Verifier {
    #[must_use]
    pub fn new(hash: &Secret) -> Self {
        let (asked, questions) = mpsc::channel::<Question>();
        let hash = hash.clone();
        // Ends with the sender.
        std::thread::spawn(move || {
            for (password, answer) in questions {
                let _ = answer.send(check(&hash, &password)); // the browser may have gone
            }
        });
        Self { asked }
    }

    /// Whether it is the password. Waits its turn.
    ///
    /// # Errors
    /// The hash is none, which the configuration does not let through.
    pub async fn verify(&self, password: String) -> anyhow::Result<bool> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let (answer, answered) = oneshot::channel();
        self.asked.send((password, answer)).context("sign-ins have ended")?;
        answered.await.context("checking a password was interrupted")?
    }
}

fn check(hash: &Secret, password: &str) -> anyhow::Result<bool> {
    let hash = PasswordHash::new(hash.expose()).map_err(|error| anyhow!("password_hash: {error}"))?;
    Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_password_and_no_other() {
        let made = hash("correct horse").unwrap();
        assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(made, hash("correct horse").unwrap(), "every hash has its own salt");
        let verifier = Verifier::new(&Secret::new(made));
        for (password, right) in
            [("correct horse", true), ("Correct horse", false), ("", false), ("correct horse ", false)]
        {
            assert_eq!(verifier.verify(password.to_owned()).await.unwrap(), right, "{password:?}");
        }
        assert!(!verifier.verify("x".repeat(LONGEST + 1)).await.unwrap());
    }
}
