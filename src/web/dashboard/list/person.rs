//! One customer, as lists, files and their own page tell of them.

use rusqlite::{Connection, OptionalExtension, Row};

use crate::{
    model::{Money, Timestamp},
    scoring::told::Told,
};

/// A customer as a list shows them. Scores and segment are those that may be told ([`Told`]).
#[derive(Debug, Clone)]
pub struct Customer {
    pub id: i64,
    pub source: String,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub order_count: i64,
    pub total_spent: Money,
    pub avg_order_value: Money,
    pub first_order_at: Option<Timestamp>,
    pub last_order_at: Option<Timestamp>,
    pub scores: Option<[u8; 3]>,
    pub segment: Option<String>,
    pub previous_segment: Option<String>,
    pub segment_since: Option<Timestamp>,
    pub erased: bool,
}

impl Customer {
    /// One customer, whatever became of them.
    pub fn by_id(connection: &Connection, told: Told, id: i64) -> rusqlite::Result<Option<Self>> {
        let sql = format!(
            "SELECT c.id, c.source, c.external_id, c.email, c.first_name, c.last_name, c.order_count, c.total_spent,
               c.avg_order_value, c.first_order_at, c.last_order_at, {}, s.previous_segment, s.segment_since,
               c.redacted_at IS NOT NULL
             FROM customers c LEFT JOIN scores s ON s.customer_id = c.id WHERE c.id = ?1",
            told.columns()
        );
        connection.prepare_cached(&sql)?.query_row([id], Self::from_row).optional()
    }

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        let scores: (Option<u8>, Option<u8>, Option<u8>) = (row.get(11)?, row.get(12)?, row.get(13)?);
        Ok(Self {
            id: row.get(0)?,
            source: row.get(1)?,
            external_id: row.get(2)?,
            email: row.get(3)?,
            first_name: row.get(4)?,
            last_name: row.get(5)?,
            order_count: row.get(6)?,
            total_spent: row.get(7)?,
            avg_order_value: row.get(8)?,
            first_order_at: row.get(9)?,
            last_order_at: row.get(10)?,
            scores: match scores {
                (Some(r), Some(f), Some(m)) => Some([r, f, m]),
                _ => None,
            },
            segment: row.get(14)?,
            previous_segment: row.get(15)?,
            segment_since: row.get(16)?,
            erased: row.get(17)?,
        })
    }

    pub fn title(&self) -> String {
        title(self.id, [&self.first_name, &self.last_name, &self.email].map(Option::as_deref))
    }

    /// Why there are no scores, in three words; `None`: there are.
    pub fn unscored(&self) -> Option<&'static str> {
        match () {
            () if self.scores.is_some() => None,
            () if self.erased => Some("erased"),
            () if self.order_count == 0 => Some("no counted order"),
            () => Some("not yet"),
        }
    }
}

/// First and last name; the e-mail, then the id, of those without.
fn title(id: i64, [first, last, email]: [Option<&str>; 3]) -> String {
    let is_there = |text: &&str| !text.trim().is_empty();
    let names: Vec<&str> = [first, last].into_iter().flatten().filter(is_there).map(str::trim).collect();
    if !names.is_empty() {
        return names.join(" ");
    }
    email.filter(is_there).map_or_else(|| format!("Customer {id}"), str::to_owned)
}

/// [`Customer::title`] of an id.
pub fn title_of(connection: &Connection, id: i64) -> rusqlite::Result<Option<String>> {
    connection
        .prepare_cached("SELECT first_name, last_name, email FROM customers WHERE id = ?1")?
        .query_row([id], |row| {
            let texts: [Option<String>; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
            Ok(title(id, texts.each_ref().map(Option::as_deref)))
        })
        .optional()
}
