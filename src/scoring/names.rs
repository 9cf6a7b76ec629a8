//! `segments`: the number that stands for a segment's name in the rows of `customer_scores`.

use rusqlite::{Connection, Transaction};

/// Every name with its number, by ascending number.
#[derive(Debug, Default)]
pub struct Names(Vec<(i64, String)>);

impl Names {
    pub fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare_cached("SELECT id, name FROM segments ORDER BY id")?;
        let names = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Self(names.collect::<rusqlite::Result<_>>()?))
    }

    pub fn of(&self, number: i64) -> Option<&str> {
        let index = self.0.binary_search_by_key(&number, |(known, _)| *known).ok()?;
        Some(&self.0[index].1)
    }

    /// The number of `name`; one that is new is stored.
    pub fn number(&mut self, tx: &Transaction<'_>, name: &str) -> rusqlite::Result<i64> {
        if let Some((number, _)) = self.0.iter().find(|(_, known)| known == name) {
            return Ok(*number);
        }
        tx.execute("INSERT INTO segments (name) VALUES (?1)", [name])?;
        let number = tx.last_insert_rowid();
        self.0.push((number, name.to_owned()));
        Ok(number)
    }
}
