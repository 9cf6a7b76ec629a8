//! The record of what was sent to us and what became of it.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Message, Received};

/// Counts another copy of a message that is stored already; `false`: it is not. The sender's id
/// tells copies apart from repetitions; a message without one is known by its bytes.
pub fn count_duplicate(tx: &Transaction<'_>, message: &Message, body_hash: &[u8; 32]) -> rusqlite::Result<bool> {
    let earlier: Option<i64> = match &message.delivery_key {
        Some(key) => tx
            .prepare_cached("SELECT id FROM inbox WHERE delivery_key = ?1 AND topic = ?2 AND source = ?3")?
            .query_row(params![key, message.topic, message.source], |row| row.get(0)),
        None => tx
            .prepare_cached("SELECT id FROM inbox WHERE body_hash = ?1 AND topic = ?2 AND source = ?3 LIMIT 1")?
            .query_row(params![body_hash, message.topic, message.source], |row| row.get(0)),
    }
    .optional()?;
    if let Some(id) = earlier {
        tx.prepare_cached("UPDATE inbox SET duplicates = duplicates + 1 WHERE id = ?1")?.execute([id])?;
    }
    Ok(earlier.is_some())
}

/// Stores a message with what became of it. `note` is its reason when it was not quarantined.
pub fn insert(
    tx: &Transaction<'_>,
    message: &Message,
    body_hash: &[u8; 32],
    received: &Received,
    note: Option<&str>,
) -> rusqlite::Result<()> {
    let (state, reason) = match received {
        Received::Done | Received::Duplicate => ("done", note),
        Received::Stale => ("stale", note.or(Some("a newer state was known when it came"))),
        Received::Ignored => ("ignored", note),
        Received::Quarantined(reason) => ("quarantined", Some(reason.as_str())),
    };
    tx.prepare_cached(
        "INSERT INTO inbox (source, topic, delivery_key, body_hash, headers, body, state, reason, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        message.source,
        message.topic,
        message.delivery_key,
        body_hash,
        message.headers.to_string(),
        message.body,
        state,
        reason,
        message.received_at,
    ])?;
    Ok(())
}
