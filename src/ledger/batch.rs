//! Many orders at once, for imports.

use rusqlite::Transaction;

use super::{
    Applied, LedgerError, Rules,
    counters::recompute_one,
    orders::{apply, apply_order, check_order},
};
use crate::model::{Order, Timestamp};

/// [`apply_order`] for each of `orders` in turn, with the same end state and the same answers, and
/// faster: the counters of a customer are recomputed once. A rejected order leaves nothing behind;
/// the others are applied all the same.
///
/// # Errors
/// Those of the database; the caller then undoes everything.
pub fn apply_orders(
    tx: &Transaction<'_>,
    rules: &Rules,
    orders: &[Order],
    now: Timestamp,
) -> rusqlite::Result<Vec<Result<Applied, LedgerError>>> {
    match in_savepoint(tx, || together(tx, rules, orders, now)) {
        Ok(applied) => Ok(applied),
        // Somebody's orders add up to more than an integer holds: find out with which of them.
        Err(LedgerError::Rejected(_)) => one_by_one(tx, rules, orders, now),
        Err(LedgerError::Sqlite(error)) => Err(error),
    }
}

fn together(
    tx: &Transaction<'_>,
    rules: &Rules,
    orders: &[Order],
    now: Timestamp,
) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
    let mut touched = Vec::with_capacity(orders.len());
    let mut applied = Vec::with_capacity(orders.len());
    for order in orders {
        applied.push(match check_order(order, rules, now) {
            Ok(()) => Ok(apply(tx, rules, order, now, &mut touched)?),
            Err(rejected) => Err(rejected),
        });
    }
    touched.sort_unstable();
    touched.dedup();
    for customer in touched {
        recompute_one(tx, customer)?;
    }
    Ok(applied)
}

fn one_by_one(
    tx: &Transaction<'_>,
    rules: &Rules,
    orders: &[Order],
    now: Timestamp,
) -> rusqlite::Result<Vec<Result<Applied, LedgerError>>> {
    let one = |order| match in_savepoint(tx, || apply_order(tx, rules, order, now)) {
        Err(LedgerError::Sqlite(error)) => Err(error),
        answer => Ok(answer),
    };
    orders.iter().map(one).collect()
}

/// Undoes what `write` wrote when it fails.
fn in_savepoint<T>(tx: &Transaction<'_>, write: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
    tx.execute_batch("SAVEPOINT orders")?;
    let result = write();
    // A database error may have rolled back everything, this savepoint included.
    if !matches!(result, Err(LedgerError::Sqlite(_))) {
        tx.execute_batch(if result.is_ok() { "RELEASE orders" } else { "ROLLBACK TO orders; RELEASE orders" })?;
    }
    result
}
