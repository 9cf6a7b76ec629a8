//! Sessions of the dashboard that were ended before their time: a restart must not bring them back.

use rusqlite::{Connection, Transaction};

use crate::model::Timestamp;

/// Before their ids, in `meta`.
const NAME: &str = "ended session ";

/// The id of a session, and until when it could still be shown.
pub type EndedSession = ([u8; 16], Timestamp);

/// Remembers that a session has ended, and forgets those that would be over by themselves.
///
/// # Errors
/// Those of SQLite.
pub fn end_session(tx: &Transaction<'_>, (id, until): EndedSession, now: Timestamp) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM meta WHERE substr(key, 1, length(?1)) = ?1 AND CAST(value AS INTEGER) <= ?2", (NAME, now))?;
    tx.execute(
        "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
        (format!("{NAME}{}", hex::encode(id)), until.millis().to_string()),
    )?;
    Ok(())
}

/// All that are remembered.
///
/// # Errors
/// Those of SQLite.
pub fn ended_sessions(connection: &Connection) -> rusqlite::Result<Vec<EndedSession>> {
    connection
        .prepare(
            "SELECT unhex(substr(key, length(?1) + 1)), CAST(value AS INTEGER) FROM meta
             WHERE substr(key, 1, length(?1)) = ?1",
        )?
        .query_map([NAME], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_remembered_until_they_are_over() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::db::SCHEMA).unwrap();
        let (at, tx) = (Timestamp::from_millis, connection.transaction().unwrap());
        crate::db::make_private_key(&tx).unwrap();
        assert_eq!(ended_sessions(&tx).unwrap(), []);
        end_session(&tx, ([1; 16], at(100)), at(0)).unwrap();
        end_session(&tx, ([2; 16], at(300)), at(0)).unwrap();
        end_session(&tx, ([2; 16], at(300)), at(0)).unwrap();
        assert_eq!(ended_sessions(&tx).unwrap(), [([1; 16], at(100)), ([2; 16], at(300))]);
        end_session(&tx, ([3; 16], at(400)), at(100)).unwrap();
        assert_eq!(ended_sessions(&tx).unwrap(), [([2; 16], at(300)), ([3; 16], at(400))]);
        assert!(crate::db::private_key(&tx).unwrap().is_some(), "nothing else is touched");
    }
}
