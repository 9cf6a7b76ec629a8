//! `customer/first_order`: a live order made the customer's count of orders 1.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::{
    model::{Order, Origin, Timestamp},
    outbox::{self, Ids},
};

/// An order placed longer ago is no news: a shop that sends its past as webhooks must not greet
/// everyone. Three days, so that a weekend of waiting webhooks still is.
const NEWS: i64 = 3 * Timestamp::DAY;

/// Whether the message tells of something that happens now; the rest is asked of the stored order.
pub(super) fn is_live(order: &Order, now: Timestamp) -> bool {
    matches!(order.origin, Origin::Webhook | Origin::Sync | Origin::Api)
        && !order.historical
        && is_news(order.ordered_at, now)
}

fn is_news(ordered_at: Timestamp, now: Timestamp) -> bool {
    ordered_at >= now.plus_millis(-NEWS)
}

/// How many orders count for this customer.
pub(super) fn count(tx: &Transaction<'_>, customer: i64) -> rusqlite::Result<i64> {
    tx.prepare_cached("SELECT order_count FROM customers WHERE id = ?1")?.query_row([customer], |row| row.get(0))
}

/// Enqueues the event if `order`, as it is stored now, is what took its owner's count from none to
/// one.
pub(super) fn tell(tx: &Transaction<'_>, order: &Order, owner: i64, now: Timestamp) -> rusqlite::Result<()> {
    let counts: Option<bool> = tx
        .prepare_cached(
            "SELECT o.counted = 1 AND o.historical = 0 AND o.customer_id = c.id AND c.order_count = 1
             FROM orders o JOIN customers c ON c.id = ?3 WHERE o.source_id = ?1 AND o.source = ?2",
        )?
        .query_row(params![order.source_id, order.source, owner], |row| row.get(0))
        .optional()?
        .flatten();
    if counts == Some(true) {
        outbox::enqueue_first_order(tx, owner, now, &mut Ids::random(now))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_news_for_three_days() {
        let now = Timestamp::from_millis(100 * Timestamp::DAY);
        for (ago, news) in [(0, true), (NEWS, true), (NEWS + 1, false), (-Timestamp::DAY, true)] {
            assert_eq!(is_news(now.plus_millis(-ago), now), news, "{ago} ms ago");
        }
    }
}
