//! Sets of our ids.

/// A set of our ids, which are dense: a bit each, so that a million customers take 125 kB.
#[derive(Debug, Default)]
pub struct IdSet(Vec<u64>);

impl IdSet {
    /// Whether it was not in the set before.
    pub fn insert(&mut self, id: i64) -> bool {
        let Some((word, bit)) = place(id) else { return false };
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    /// Whether it was in the set.
    pub fn remove(&mut self, id: i64) -> bool {
        let Some((word, bit)) = place(id) else { return false };
        let Some(word) = self.0.get_mut(word) else { return false };
        let there = *word & bit != 0;
        *word &= !bit;
        there
    }

    #[must_use]
    pub fn contains(&self, id: i64) -> bool {
        place(id).and_then(|(word, bit)| Some(self.0.get(word)? & bit != 0)).unwrap_or(false)
    }

    /// All of them, ascending.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.0.iter().zip(0i64..).flat_map(|(&bits, word)| {
            (0i64..64).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| word * 64 + bit)
        })
    }
}

fn place(id: i64) -> Option<(usize, u64)> {
    let id = usize::try_from(id).ok()?;
    Some((id / 64, 1 << (id % 64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_in_order() {
        let mut ids = IdSet::default();
        for id in [700, 3, 64, 0, 63, 3] {
            ids.insert(id);
        }
        assert!(!ids.insert(3));
        assert!(ids.remove(64) && !ids.remove(64) && !ids.remove(9_999));
        assert!(ids.contains(63) && !ids.contains(64) && !ids.contains(-1));
        assert_eq!(ids.iter().collect::<Vec<_>>(), [0, 3, 63, 700]);
    }
}
