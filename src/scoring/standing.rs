//! What a customer stands at: the counters of a row where they hold for the run's as-of, else
//! counted again.

use rusqlite::{Connection, Row, Statement, types::ValueRef};

use super::sql::{Parameters, Part};

/// One customer's orders at the run's as-of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// `None`: has no counted order.
    pub recency: Option<i64>,
    /// Orders inside the window.
    pub frequency: i64,
    /// Money of those orders.
    pub monetary: i64,
    /// All orders, and all money.
    pub order_count: i64,
    pub total_spent: i64,
}

/// Reads standings from rows that begin with id, `first_order_at`, `last_order_at`, `order_count`,
/// `total_spent`.
pub struct Standings<'c> {
    as_of: i64,
    window_start: i64,
    recount: Statement<'c>,
    customer: usize,
}

impl<'c> Standings<'c> {
    pub fn prepare(connection: &'c Connection, parameters: &Parameters) -> rusqlite::Result<Self> {
        let recount = parameters.prepare(connection, Part::Recount)?;
        let customer = recount.parameter_index(":customer")?.unwrap_or_default();
        Ok(Self { as_of: parameters.as_of.millis(), window_start: parameters.window_start(), recount, customer })
    }

    /// The counters are right for everyone who has not ordered since the as-of and whose first
    /// order is inside the window; the others are counted again, through a covering index.
    pub fn read(&mut self, row: &Row<'_>) -> rusqlite::Result<Standing> {
        let ValueRef::Integer(last) = row.get_ref(2)? else {
            return Ok(Standing { recency: None, frequency: 0, monetary: 0, order_count: 0, total_spent: 0 });
        };
        let has_window = self.window_start > i64::MIN;
        if last > self.as_of || (has_window && integer(row, 1)? <= self.window_start) {
            return self.recount(integer(row, 0)?);
        }
        let (order_count, total_spent) = (integer(row, 3)?, integer(row, 4)?);
        Ok(Standing { recency: Some(last), frequency: order_count, monetary: total_spent, order_count, total_spent })
    }

    fn recount(&mut self, customer_id: i64) -> rusqlite::Result<Standing> {
        self.recount.raw_bind_parameter(self.customer, customer_id)?;
        let mut rows = self.recount.raw_query();
        let row = rows.next()?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        Ok(Standing {
            recency: row.get(0)?,
            order_count: integer(row, 1)?,
            total_spent: integer(row, 2)?,
            frequency: integer(row, 3)?,
            monetary: integer(row, 4)?,
        })
    }
}

/// An integer that is never NULL.
pub fn integer(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(row.get_ref(column)?.as_i64()?)
}
