//! Orders, customers and their counters: what the shop has sold and to whom.
//!
//! The end state is a function of the SET of messages, not of the order in which they came:
//!
//! - an order is the greatest of its states by (`updated_at`, `triggered_at`, how far along it is);
//! - each field of a person is the one told by the greatest [`Version`];
//! - deletions stay, whichever way round they come, but for shops that have a bin ([`restore_order`]);
//!   an older state still fills what is unknown;
//! - who owns an order follows from ids, e-mails and merges alone ([`identity`]);
//! - counters are recomputed from the orders, never incremented ([`counters`]).
//!
//! A live order that is its customer's first one that counts becomes an event, in the same
//! transaction ([`first_order`]).
//!
//! Messages without a version (files) fill what no versioned message has told, and among them a list
//! of customers goes before what orders tell of theirs.
//!
//! Who was erased ([`erase`](erase())) stays nameless: every way in ends here, and here their marks are
//! known ([`Tombstones`]). Their orders go on counting.
//!
//! The tables `orders`, `customers`, `aliases` and `tombstones` are written here and nowhere else.

mod batch;
mod counters;
mod earlier;
mod erase;
mod fields;
mod first_order;
mod identity;
mod ids;
mod orders;
mod people;
mod persons;
mod remembered;
mod restore;
mod sought;
mod state;
mod tombstones;
mod worth;

pub use batch::Bulk;
pub use counters::average;
pub use earlier::Erasures;
pub use erase::{
    Erased, blank, blank_erased, erase, erase_known, is_erased_person, is_erased_persons_order, newest_order,
    orders_with,
};
pub use fields::Version;
pub use identity::merge_customers;
pub use ids::IdSet;
pub use orders::{apply_order, check_order, delete_order};
pub use people::{apply_person, check_person, delete_customer};
pub use persons::{Cluster, Who, find_persons, sourced};
pub use restore::restore_order;
pub use sought::{Sought, erase_sought, find_sought, with_phone};
pub use tombstones::{Mark, Tombstones};
pub use worth::net;

use crate::{
    config::Config,
    model::{Currency, Timestamp},
};

/// What the merchant decided about orders and people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The shop whose data this is, by its domain; a message that names another one is refused.
    pub shop: String,
    /// The one currency of this database; orders in another one are refused, never converted.
    pub currency: Currency,
    /// Orders that are not paid yet count at their full price (cash on delivery).
    pub count_pending: bool,
    /// Orders placed for nothing (gifts) count.
    pub count_zero_value: bool,
    /// A guest's orders belong to the customer who has the guest's e-mail.
    pub merge_guests_by_email: bool,
    /// WooCommerce's words for orders that count, such as "processing".
    pub paid_statuses: Vec<String>,
}

impl Rules {
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        Self {
            shop: config.shop.id.clone(),
            currency: config.shop.currency,
            count_pending: config.orders.count_pending,
            count_zero_value: config.orders.count_zero_value,
            merge_guests_by_email: config.orders.merge_guests_by_email,
            paid_statuses: config.orders.paid_statuses.clone(),
        }
    }
}

/// Those of an unchanged config.toml.
impl Default for Rules {
    fn default() -> Self {
        Self::from_config(&Config::default())
    }
}

/// What a message did to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    New,
    Updated,
    /// It told what was known.
    Unchanged,
    /// A newer state was known; nothing was taken from this one.
    Stale,
}

/// What [`apply_order`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    pub order: Change,
    /// `None`: the order names nobody.
    pub customer: Option<Change>,
    /// Our id of the person the order names.
    pub customer_id: Option<i64>,
    /// For whom the order counts: the same, or the customer they were merged into.
    pub owner: Option<i64>,
}

/// Why a message was not applied.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The message cannot be true or does not belong here; a sentence for the merchant. Nothing of
    /// it may stay: roll back to where it began.
    #[error("{0}")]
    Rejected(String),
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
}

/// Dates before this are typing errors or zero dates, not sales.
pub const EARLIEST: Timestamp = Timestamp::from_millis(631_152_000_000); // 1990-01-01
/// How far a shop's clock may be ahead of ours, in milliseconds.
pub const CLOCK_AHEAD: i64 = 2 * Timestamp::DAY;

/// Whether something of this shop can be of this instant.
pub fn can_be(at: Timestamp, now: Timestamp) -> bool {
    (EARLIEST..=now.plus_millis(CLOCK_AHEAD)).contains(&at)
}

/// Refuses an instant that no order of this shop can have.
fn check_date(what: &str, at: Option<Timestamp>, now: Timestamp) -> Result<(), LedgerError> {
    match at {
        Some(at) if !can_be(at, now) => Err(LedgerError::Rejected(format!(
            "its {what} {at} is not between 1990 and two days from now; correct the date in the shop"
        ))),
        _ => Ok(()),
    }
}
