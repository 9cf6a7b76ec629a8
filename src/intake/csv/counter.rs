//! Counting the customers of an import in little memory.

use super::CustomerCounts;
use crate::ledger::{Applied, Change, IdSet};

/// Counts customers of orders, each once.
#[derive(Default)]
pub(super) struct Counter {
    new: IdSet,
    updated: IdSet,
    /// All of a list of customers.
    met: IdSet,
}

impl Counter {
    /// A new customer is one who had no row; an updated one has other fields, or other orders.
    pub fn count(&mut self, counts: &mut CustomerCounts, applied: Applied) {
        let Some(owner) = applied.owner else { return };
        if applied.customer == Some(Change::New) && applied.customer_id == applied.owner {
            counts.new += u64::from(self.new.insert(owner));
        } else if [Some(applied.order), applied.customer]
            .iter()
            .flatten()
            .any(|c| matches!(c, Change::New | Change::Updated))
            && !self.new.contains(owner)
        {
            counts.updated += u64::from(self.updated.insert(owner));
        }
    }

    /// Whether a list of customers had not named them before.
    pub fn meet(&mut self, owner: i64) -> bool {
        self.met.insert(owner)
    }
}
