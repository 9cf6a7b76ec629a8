//! The key under which this database hashes what it must recognise and may not keep.

use rusqlite::{Connection, OptionalExtension, Transaction};

/// Its name in `meta`.
const NAME: &str = "private key";

/// The key, if there is one yet.
///
/// # Errors
/// Those of SQLite.
pub fn private_key(connection: &Connection) -> rusqlite::Result<Option<[u8; 32]>> {
    connection
        .prepare_cached("SELECT unhex(value) FROM meta WHERE key = ?1")?
        .query_row([NAME], |row| row.get(0))
        .optional()
}

/// The key, made from the randomness of the operating system when there is none yet.
///
/// # Errors
/// Those of SQLite, or the system gives no randomness.
pub fn make_private_key(tx: &Transaction<'_>) -> rusqlite::Result<[u8; 32]> {
    if let Some(key) = private_key(tx)? {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.to_string().into()))?;
    tx.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", (NAME, hex::encode(key)))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_differs_from_file_to_file() {
        let keys: Vec<[u8; 32]> = (0..2)
            .map(|_| {
                let mut connection = Connection::open_in_memory().unwrap();
                connection.execute_batch(crate::db::SCHEMA).unwrap();
                assert_eq!(private_key(&connection).unwrap(), None);
                let tx = connection.transaction().unwrap();
                let key = make_private_key(&tx).unwrap();
                assert_eq!(make_private_key(&tx).unwrap(), key);
                assert_eq!(private_key(&tx).unwrap(), Some(key));
                key
            })
            .collect();
        assert_ne!(keys[0], keys[1]);
    }
}
