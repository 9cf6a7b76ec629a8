//! What is said of an order, as it is stored, and which of two states comes later. Pure.

use std::{borrow::Cow, cmp::Reverse};

use super::{Rules, fields::is_blank, worth};
use crate::model::{Money, Order, OrderStatus, Timestamp};

/// An order's stored columns. The derived order decides which of two states with one version is
/// the later: what a shop does to an order only ever goes one way, so the one further along.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State<'a> {
    pub cancelled_at: Option<Timestamp>,
    pub refunded: Money,
    pub progress: u8,
    pub current: Option<Reverse<Money>>,
    pub outstanding: Option<Reverse<Money>>,
    pub gross: Money,
    pub net: Money,
    pub counted: bool,
    pub is_test: bool,
    pub ordered_at: Option<Timestamp>,
    pub created_at: Option<Timestamp>,
    pub customer_ref: Option<Cow<'a, str>>,
    pub email: Option<Cow<'a, str>>,
    pub name: Option<Cow<'a, str>>,
    pub currency: Cow<'a, str>,
}

impl<'a> State<'a> {
    pub fn of(order: &'a Order, rules: &Rules) -> Self {
        let (net, counted) = worth::net(order, rules);
        let person = order.person.as_ref();
        let text =
            |text: Option<&'a String>| text.map(String::as_str).filter(|text| !is_blank(text)).map(Cow::Borrowed);
        Self {
            cancelled_at: order.cancelled_at,
            refunded: order.refunded,
            progress: progress(if worth::is_cancelled(order) { OrderStatus::Cancelled } else { order.status }),
            current: order.current.map(Reverse),
            outstanding: order.outstanding.map(Reverse),
            gross: order.gross,
            net,
            counted,
            is_test: order.is_test,
            ordered_at: Some(order.ordered_at),
            created_at: order.created_at,
            customer_ref: text(person.and_then(|person| person.external_id.as_ref())),
            email: text(person.and_then(|person| person.email.as_ref())),
            name: text(order.name.as_ref()),
            currency: Cow::Borrowed(order.currency.code()),
        }
    }

    /// Keeps what a file does not tell and another one told: it may have had more columns.
    pub fn keep_untold(&mut self, order: &Order, known: &State<'static>) {
        if order.person.is_none() {
            (self.customer_ref, self.email) = (known.customer_ref.clone(), known.email.clone());
        }
        self.created_at = self.created_at.or(known.created_at);
        if self.cancelled_at.is_none() && known.cancelled_at.is_some() {
            (self.cancelled_at, self.progress) = (known.cancelled_at, known.progress);
            (self.refunded, self.net, self.counted) = (known.refunded, known.net, known.counted);
        }
        if self.progress != known.progress || self.gross != known.gross {
            return; // another state, of which the earlier amounts say nothing
        }
        self.current = self.current.or(known.current);
        self.outstanding = self.outstanding.or(known.outstanding);
        let misleads =
            matches!(order.status, OrderStatus::PartiallyPaid | OrderStatus::PartiallyRefunded | OrderStatus::Refunded);
        let no_refund_told = order.refunded == Money::ZERO || order.status == OrderStatus::Refunded;
        if misleads && order.net_payment.is_none() && no_refund_told {
            (self.refunded, self.net, self.counted) = (known.refunded, known.net, known.counted);
        }
    }

    pub fn status(&self) -> OrderStatus {
        STATUSES[usize::from(self.progress)]
    }

    /// Whether the customer's counters are the same with either.
    pub fn counts_like(&self, other: &State<'_>) -> bool {
        (self.counted, self.net, self.ordered_at) == (other.counted, other.net, other.ordered_at)
    }
}

/// The least far along first.
const STATUSES: [OrderStatus; 10] = [
    OrderStatus::Unknown,
    OrderStatus::Pending,
    OrderStatus::Authorized,
    OrderStatus::PartiallyPaid,
    OrderStatus::Paid,
    OrderStatus::PartiallyRefunded,
    OrderStatus::Refunded,
    OrderStatus::Voided,
    OrderStatus::Expired,
    OrderStatus::Cancelled,
];

/// How far along an order with this status is.
pub(super) fn progress(status: OrderStatus) -> u8 {
    STATUSES.iter().zip(0..).find_map(|(known, rank)| (*known == status).then_some(rank)).unwrap_or(0)
}
