//! Asks of one customer after the other whether a filter lets them pass.

use rusqlite::{CachedStatement, Connection};

use super::Source;
use crate::{scoring::told::Told, web::dashboard::filter::Filter};

/// A question prepared once.
pub struct Passing<'a> {
    statement: CachedStatement<'a>,
    /// The parameter that takes the customer.
    place: usize,
}

impl<'a> Passing<'a> {
    pub fn new(connection: &'a Connection, told: Told, filter: &Filter) -> rusqlite::Result<Self> {
        let Source { from, key, conditions, values } = Source::of(told, filter);
        let place = values.len() + 1;
        let sql = format!("SELECT 1 FROM {from} WHERE {key} = ?{place} AND {conditions}");
        let mut statement = connection.prepare_cached(&sql)?;
        for (index, value) in values.iter().enumerate() {
            statement.raw_bind_parameter(index + 1, value)?;
        }
        Ok(Self { statement, place })
    }

    /// Is this customer present, and does all but the search of the filter let them pass?
    pub fn lets(&mut self, id: i64) -> rusqlite::Result<bool> {
        self.statement.raw_bind_parameter(self.place, id)?;
        Ok(self.statement.raw_query().next()?.is_some())
    }
}
