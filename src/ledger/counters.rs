//! A customer's counters, always from the orders themselves: a duplicate or a replay cannot make
//! them drift.

use rusqlite::{Transaction, params};

use super::LedgerError;
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

/// The counters of one customer.
pub(super) fn recompute_one(tx: &Transaction<'_>, customer: i64) -> Result<(), LedgerError> {
    // Answered from the index orders_customer alone.
    let (count, spent, first, last) = tx
        .prepare_cached(
            "SELECT count(*), coalesce(sum(net), 0), min(ordered_at), max(ordered_at)
             FROM orders WHERE customer_id = ?1 AND counted = 1",
        )?
        .query_row([customer], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, Money>(1)?,
                row.get::<_, Option<Timestamp>>(2)?,
                row.get::<_, Option<Timestamp>>(3)?,
            ))
        })
        .map_err(|error| {
            if error.to_string().contains("integer overflow") {
                LedgerError::Rejected(
                    "with it this customer's orders add up to more than any shop sells; check its amounts".to_owned(),
                )
            } else {
                error.into()
            }
        })?;
    tx.prepare_cached(
        "UPDATE customers SET order_count = ?2, total_spent = ?3, avg_order_value = ?4, first_order_at = ?5, last_order_at = ?6
         WHERE id = ?1",
    )?
    .execute(params![customer, count, spent, average(spent, count), first, last])?;
    Ok(())
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
