//! Counting the customers of an import in little memory.

use super::CustomerCounts;
use crate::ledger::{Applied, Change};

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

/// A set of our ids, which are dense: a bit each, so that a million customers take 125 kB.
#[derive(Default)]
struct IdSet(Vec<u64>);

impl IdSet {
    /// Whether it was not in the set before.
    fn insert(&mut self, id: i64) -> bool {
        let Some((word, bit)) = place(id) else { return false };
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    fn contains(&self, id: i64) -> bool {
        place(id).and_then(|(word, bit)| Some(self.0.get(word)? & bit != 0)).unwrap_or(false)
    }
}

fn place(id: i64) -> Option<(usize, u64)> {
    let id = usize::try_from(id).ok()?;
    Some((id / 64, 1 << (id % 64)))
}
