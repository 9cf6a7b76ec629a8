//! What the two listeners bear: a limit on everything that a stranger decides.

use std::time::Duration;

/// The limits of one listener. Tests take smaller ones.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time. Both listeners at their limit, with all that the program opens beside
    /// them, stay below the 1024 files that a process may usually have open.
    pub connections: usize,
    /// Of these by one client, who would otherwise have them all.
    pub of_one_client: usize,
    /// How long a connection may stay without a whole head of a request: from its beginning, or from
    /// the end of the answer before. Slow headers and silence look the same from outside, so one number
    /// ends both; it is what Apache and Node allow a silent connection.
    pub head: Duration,
    /// Longest head of a request, in bytes; beyond it 431.
    pub head_bytes: usize,
    /// How long a client may take nothing of its answer.
    pub answer: Duration,
    /// How long a body may take; one that is a file, how long it may stand still.
    pub body: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            of_one_client: 64,
            head: Duration::from_secs(5),
            head_bytes: 16 * 1024,
            answer: Duration::from_secs(15),
            body: Duration::from_secs(10),
        }
    }
}
