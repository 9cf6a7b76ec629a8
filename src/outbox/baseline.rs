//! The merchant's answer to a held baseline: tell the tool about everyone, or about nobody until
//! they change.

use rusqlite::{Transaction, params};

use super::settle::{Line, advance};
use crate::model::Timestamp;

/// Lets held deliveries of the first run go, `limit` at a time, oldest first; of one destination
/// or of all. Returns how many; 0 means that none is left.
///
/// # Errors
/// Those of SQLite.
pub fn release_baseline(
    tx: &Transaction<'_>,
    destination: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    tx.prepare_cached(
        "UPDATE deliveries SET state = 'waiting', hold = NULL, due_at = CASE WHEN EXISTS
           (SELECT 1 FROM deliveries older
            WHERE older.destination = deliveries.destination AND older.customer_id = deliveries.customer_id
              AND older.finished_at IS NULL AND older.id < deliveries.id) THEN NULL ELSE ?3 END
         WHERE id IN (SELECT id FROM deliveries
                      WHERE state = 'held' AND hold = 'baseline' AND (?1 IS NULL OR destination = ?1)
                      ORDER BY id LIMIT ?2)",
    )?
    .execute(params![destination, i64::try_from(limit).unwrap_or(i64::MAX), now])
}

/// Gives up held deliveries of the first run, `limit` at a time; of one destination or of all.
/// Returns how many; 0 means that none is left.
///
/// # Errors
/// Those of SQLite.
pub fn discard_baseline(
    tx: &Transaction<'_>,
    destination: Option<&str>,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    let lines: Vec<Line> = tx
        .prepare_cached(
            "UPDATE deliveries SET state = 'discarded', finished_at = ?3
             WHERE id IN (SELECT id FROM deliveries
                          WHERE state = 'held' AND hold = 'baseline' AND (?1 IS NULL OR destination = ?1)
                          ORDER BY id LIMIT ?2)
             RETURNING destination, customer_id",
        )?
        .query_map(params![destination, i64::try_from(limit).unwrap_or(i64::MAX), now], |row| {
            Ok(Line { destination: row.get(0)?, customer_id: row.get(1)? })
        })?
        .collect::<Result<_, _>>()?;
    for line in &lines {
        advance(tx, line, now)?;
    }
    Ok(lines.len())
}
