//! What comes out of a backup may have been sent since that was made.

use rusqlite::Transaction;

use super::{Hold, State};

/// Holds everything that would go out by itself, in flight or not, until the merchant says whether it
/// does. What waits for another decision, or for a customer's consent, goes on waiting for that.
/// Returns how many there are.
///
/// # Errors
/// Those of SQLite.
pub fn hold_restored(tx: &Transaction<'_>) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE deliveries SET state = ?1, hold = ?2, due_at = NULL, claim = NULL
         WHERE finished_at IS NULL AND state IN (?3, ?4, ?5)",
        [
            State::Held.as_str(),
            Hold::Restored.as_str(),
            State::Waiting.as_str(),
            State::Sending.as_str(),
            State::Retrying.as_str(),
        ],
    )
}
