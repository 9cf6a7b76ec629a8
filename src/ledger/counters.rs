//! A customer's counters, always from the orders themselves: a duplicate or a replay cannot make
//! them drift.

use rusqlite::{Row, Transaction, params};

use super::{IdSet, LedgerError, fields::Fields};
use crate::model::{Money, Timestamp};

/// Recomputes the counters of each customer in `ids` from the orders they own.
///
/// # Errors
/// [`LedgerError::Rejected`] when a sum passes what an integer holds.
pub(super) fn recompute(tx: &Transaction<'_>, ids: &[i64]) -> Result<(), LedgerError> {
    for (position, id) in ids.iter().enumerate() {
        if !ids[..position].contains(id) {
            recompute_one(tx, *id)?;
        }
    }
    Ok(())
}

/// What a customer's orders come to.
#[derive(Default)]
pub(super) struct Counters {
    orders: i64,
    spent: Money,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
}

/// What is counted; answered from the index `orders_customer` alone.
macro_rules! counted {
    () => {
        "count(*), coalesce(sum(net), 0), min(ordered_at), max(ordered_at) FROM orders"
    };
}

/// The counters of one customer.
pub(super) fn recompute_one(tx: &Transaction<'_>, customer: i64) -> Result<(), LedgerError> {
    tx.prepare_cached(concat!("SELECT ", counted!(), " WHERE customer_id = ?1 AND counted = 1"))?
        .query_row([customer], |row| Counters::read(row, 0))
        .map_err(too_much)?
        .store(tx, customer)
}

/// Tells `each` what the orders of each of `ids` come to, ascending.
///
/// # Errors
/// Those of `each`; [`LedgerError::Rejected`] when a sum passes what an integer holds.
pub(super) fn count_all(
    tx: &Transaction<'_>,
    ids: &IdSet,
    mut each: impl FnMut(i64, Counters) -> Result<(), LedgerError>,
) -> Result<(), LedgerError> {
    /// Of neighbours so close, all are counted: less work than to look for each.
    const CLOSE: i64 = 4;
    let mut statement = tx.prepare_cached(concat!(
        "SELECT customer_id, ",
        counted!(),
        " WHERE customer_id BETWEEN ?1 AND ?2 AND counted = 1 GROUP BY customer_id ORDER BY customer_id"
    ))?;
    let mut ids = ids.iter().peekable();
    while let Some(first) = ids.next() {
        let (mut last, mut stretch) = (first, vec![first]);
        while let Some(next) = ids.next_if(|next| next - last <= CLOSE) {
            stretch.push(next);
            last = next;
        }
        let mut stretch = stretch.into_iter().peekable();
        let mut rows = statement.query([first, last])?;
        while let Some(row) = rows.next().map_err(too_much)? {
            let id = row.get(0)?;
            while let Some(without) = stretch.next_if(|next| *next < id) {
                each(without, Counters::default())?;
            }
            if stretch.next_if_eq(&id).is_some() {
                each(id, Counters::read(row, 1)?)?;
            }
        }
        for without in stretch {
            each(without, Counters::default())?;
        }
    }
    Ok(())
}

impl Counters {
    fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Self> {
        Ok(Self { orders: row.get(at)?, spent: row.get(at + 1)?, first: row.get(at + 2)?, last: row.get(at + 3)? })
    }

    pub fn store(&self, tx: &Transaction<'_>, customer: i64) -> Result<(), LedgerError> {
        let Self { orders, spent, first, last } = self;
        tx.prepare_cached(
            "UPDATE customers SET order_count = ?2, total_spent = ?3, avg_order_value = ?4, first_order_at = ?5, last_order_at = ?6
             WHERE id = ?1",
        )?
        .execute(params![customer, orders, spent, average(*spent, *orders), first, last])?;
        Ok(())
    }

    /// [`Self::store`], and the customer's fields with it: a row that is written once.
    pub fn store_with(&self, tx: &Transaction<'_>, customer: i64, fields: &Fields) -> Result<(), LedgerError> {
        let Self { orders, spent, first, last } = self;
        let [email, first_name, last_name, phone, consent, tags] = fields;
        tx.prepare_cached(
            "UPDATE customers SET order_count = ?2, total_spent = ?3, avg_order_value = ?4, first_order_at = ?5, last_order_at = ?6,
               email = ?7, email_version = ?8, first_name = ?9, first_name_version = ?10, last_name = ?11,
               last_name_version = ?12, phone = ?13, phone_version = ?14, consent = ?15, consent_version = ?16, tags = ?17,
               tags_version = ?18
             WHERE id = ?1",
        )?
        .execute(params![
            customer,
            orders,
            spent,
            average(*spent, *orders),
            first,
            last,
            email.value,
            email.version,
            first_name.value,
            first_name.version,
            last_name.value,
            last_name.version,
            phone.value,
            phone.version,
            consent.value,
            consent.version,
            tags.value,
            tags.version,
        ])?;
        Ok(())
    }
}

fn too_much(error: rusqlite::Error) -> LedgerError {
    if error.to_string().contains("integer overflow") {
        LedgerError::Rejected(
            "with it this customer's orders add up to more than any shop sells; check its amounts".to_owned(),
        )
    } else {
        error.into()
    }
}

/// `spent` / `count` in whole minor units, half to even; zero of nothing.
#[must_use]
pub fn average(spent: Money, count: i64) -> Money {
    if count <= 0 {
        return Money::ZERO;
    }
    let (quotient, twice_rest) = (spent.0.div_euclid(count), i128::from(spent.0.rem_euclid(count)) * 2);
    let round_up = twice_rest > i128::from(count) || (twice_rest == i128::from(count) && quotient % 2 != 0);
    Money(quotient + i64::from(round_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages() {
        for (spent, count, expected) in [
            (0, 0, 0),
            (7, 1, 7),
            (3, 2, 2),
            (5, 2, 2),
            (8, 3, 3),
            (7, 3, 2),
            (10, 4, 2),
            (14, 4, 4),
            (i64::MAX, 2, i64::MAX / 2 + 1),
        ] {
            assert_eq!(average(Money(spent), count), Money(expected), "{spent} / {count}");
        }
    }
}
