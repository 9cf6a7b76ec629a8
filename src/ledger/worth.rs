//! What an order is worth, and whether it counts. Pure.

use super::Rules;
use crate::model::{Money, Order, OrderStatus};

/// The order's net worth in the shop's money (never negative) and whether it counts for its
/// customer: the table under "What an order is worth" in the design's `orders.md`.
///
/// An order that cannot count by its nature (test, cancelled) is worth nothing.
#[must_use]
pub fn net(order: &Order, rules: &Rules) -> (Money, bool) {
    if order.is_test || is_cancelled(order) {
        return (Money::ZERO, false);
    }
    let placed_less_refunds = order.gross - order.refunded;
    let worth = match order.status {
        OrderStatus::Pending | OrderStatus::Authorized if rules.count_pending => {
            order.current.unwrap_or(placed_less_refunds)
        }
        OrderStatus::Pending
        | OrderStatus::Authorized
        | OrderStatus::Voided
        | OrderStatus::Expired
        | OrderStatus::Cancelled
        | OrderStatus::Unknown => return (Money::ZERO, false),
        // `outstanding` is left out on purpose: some paid orders made through the API carry their
        // whole price in it.
        OrderStatus::Paid => order.current.unwrap_or(placed_less_refunds),
        OrderStatus::PartiallyPaid | OrderStatus::PartiallyRefunded | OrderStatus::Refunded => {
            match (order.net_payment, order.current, order.outstanding) {
                (Some(net_payment), _, _) => net_payment,
                (None, Some(current), Some(outstanding)) => current - outstanding,
                _ => placed_less_refunds,
            }
        }
    };
    let worth = worth.max(Money::ZERO);
    (worth, counts(order.status, order.gross, worth, rules))
}

/// Whether an order that is worth `net` counts, if it is neither a test nor cancelled nor deleted.
pub(super) fn counts(status: OrderStatus, gross: Money, net: Money, rules: &Rules) -> bool {
    let settled = match status {
        OrderStatus::Pending | OrderStatus::Authorized => rules.count_pending,
        OrderStatus::Voided | OrderStatus::Expired | OrderStatus::Cancelled | OrderStatus::Unknown => false,
        OrderStatus::Paid | OrderStatus::PartiallyPaid | OrderStatus::PartiallyRefunded | OrderStatus::Refunded => true,
    };
    // A gift was placed for nothing; an order refunded to nothing was not.
    let gift = rules.count_zero_value && gross == Money::ZERO;
    settled && (net > Money::ZERO || gift)
}

/// Some sources say it by the status, some by the date.
pub(super) fn is_cancelled(order: &Order) -> bool {
    order.status == OrderStatus::Cancelled || order.cancelled_at.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Currency, Origin, Source, Timestamp};

    /// The rest of the table is tested through real bodies (`tests/it/intake/worth.rs`); only the
    /// pull from the shop knows the net payment.
    #[test]
    fn what_was_received_goes_before_what_is_left() {
        let rules = Rules {
            shop: String::new(),
            currency: Currency::EUR,
            count_pending: false,
            count_zero_value: false,
            merge_guests_by_email: true,
            paid_statuses: Vec::new(),
        };
        let order = |status, net_payment| Order {
            source: Source::Shopify,
            source_id: "1".to_owned(),
            person: None,
            name: None,
            status,
            is_test: false,
            currency: Currency::EUR,
            gross: Money(100),
            current: Some(Money(90)),
            outstanding: Some(Money(20)),
            refunded: Money(10),
            net_payment,
            ordered_at: Timestamp::from_millis(0),
            created_at: None,
            cancelled_at: None,
            updated_at: None,
            triggered_at: None,
            origin: Origin::Sync,
            historical: false,
        };
        for (status, net_payment, expected) in [
            (OrderStatus::PartiallyPaid, Some(Money(55)), (Money(55), true)),
            (OrderStatus::PartiallyRefunded, Some(Money(0)), (Money(0), false)),
            (OrderStatus::Refunded, Some(Money(-5)), (Money(0), false)),
            (OrderStatus::PartiallyPaid, None, (Money(70), true)),
            (OrderStatus::Paid, Some(Money(55)), (Money(90), true)),
            (OrderStatus::Pending, Some(Money(55)), (Money(0), false)),
        ] {
            assert_eq!(net(&order(status, net_payment), &rules), expected, "{status} {net_payment:?}");
        }
    }
}
