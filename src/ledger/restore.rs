//! Orders that come back: some shops delete into a bin.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Change, LedgerError, Rules, counters::recompute, worth};
use crate::model::{Money, OrderStatus, Source, Timestamp};

/// Whether shops of this make delete into a bin.
pub(super) const fn has_bin(source: Source) -> bool {
    matches!(source, Source::WooCommerce)
}

/// Forgets the deletion of an order if it came before `alive_at`; what is known of the order holds
/// again. Nothing to forget, or a later deletion: [`Change::Unchanged`]. So is what is not newer than the
/// state that was deleted: that came before its deletion, whatever two clocks say of the two.
///
/// # Errors
/// [`LedgerError::Rejected`] when the customer's total passes what an integer holds.
pub fn restore_order(
    tx: &Transaction<'_>,
    rules: &Rules,
    source: Source,
    source_id: &str,
    alive_at: Timestamp,
) -> Result<Change, LedgerError> {
    let deleted = tx
        .prepare_cached(
            "SELECT id, customer_id, status, is_test, gross, net, cancelled_at IS NOT NULL OR ordered_at IS NULL FROM orders
             WHERE source_id = ?1 AND source = ?2 AND deleted_at < ?3 AND coalesce(source_updated_at < ?3, 1)",
        )?
        .query_row(params![source_id, source, alive_at], |row| {
            let (status, is_test, gross, net): (OrderStatus, bool, Money, Money) =
                (row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?);
            // A tombstone has no date and cannot count, whatever its state says later.
            let excluded = is_test || row.get(6)? || status == OrderStatus::Cancelled;
            let counted = !excluded && worth::counts(status, gross, net, rules);
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, counted))
        })
        .optional()?;
    let Some((id, customer, counted)) = deleted else { return Ok(Change::Unchanged) };
    tx.prepare_cached("UPDATE orders SET deleted_at = NULL, counted = ?2 WHERE id = ?1")?
        .execute(params![id, counted])?;
    if counted {
        recompute(tx, customer.as_slice())?;
    }
    Ok(Change::Updated)
}
