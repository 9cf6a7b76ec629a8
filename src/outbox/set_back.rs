//! What waits for its time when the clock is set back.

use rusqlite::{Transaction, params};

use super::Route;
use crate::model::Timestamp;

/// The clock was set back by so many milliseconds and shows `now`: what waits waits as long as it would
/// have, and what was due is due. Nothing becomes due before `now`, so that a clock that was years ahead
/// leaves no instant which none can be.
///
/// # Errors
/// Those of SQLite; nothing was changed then.
pub fn set_back(tx: &Transaction<'_>, routes: &[Route], millis: i64, now: Timestamp) -> rusqlite::Result<()> {
    let mut deliveries = tx.prepare_cached(
        "UPDATE deliveries INDEXED BY deliveries_due SET due_at = max(due_at - ?3, ?2)
         WHERE destination = ?1 AND due_at > ?2",
    )?;
    let mut destination = tx.prepare_cached(
        "UPDATE destinations
            SET probe_at = CASE WHEN probe_at > ?2 THEN max(probe_at - ?3, ?2) ELSE probe_at END,
                wait_until = CASE WHEN wait_until > ?2 THEN max(wait_until - ?3, ?2) ELSE wait_until END
          WHERE name = ?1",
    )?;
    for route in routes {
        deliveries.execute(params![route.name, now, millis])?;
        destination.execute(params![route.name, now, millis])?;
    }
    Ok(())
}
