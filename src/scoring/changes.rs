//! What a run is going to write, kept small: seven bytes or so per changed customer, so that the
//! first run of 1,000,000 customers needs seven megabytes between reading and writing.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::outbox::Cause;

/// What happens to one row of `customer_scores`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Ranked for the first time.
    Insert,
    /// Other scores or another segment than before.
    Update,
    /// Scores stay, but the counters to tell the next cause from are others.
    Remember,
    /// Merged into another customer, who has a row of their own.
    Remove,
}

/// One customer's part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    pub customer_id: i64,
    pub action: Action,
    /// The segment before.
    pub old: Option<&'a str>,
    /// `None`: is not ranked any more.
    pub scores: Option<[u8; 3]>,
    /// The segment from now on.
    pub new: Option<&'a str>,
    pub cause: Cause,
    /// Counters at the run's as-of.
    pub order_count: i64,
    pub total_spent: i64,
}

impl Change<'_> {
    /// The segment changed: an event is due.
    #[must_use]
    pub fn moved(&self) -> bool {
        matches!(self.action, Action::Insert | Action::Update) && self.old != self.new
    }
}

/// Changes in ascending order of customer id, packed: of each the distance from the id before it, the
/// number of its [`Kind`] and the two counters.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Bytes,
    /// Each with the number of its changes.
    kinds: Vec<(Kind, u64)>,
    numbers: HashMap<Kind, usize>,
    /// Of segments.
    names: Vec<String>,
    last_id: i64,
}

/// What many changes have in common: a first run of a large shop knows 125 of them, the combinations
/// of scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    action: Action,
    cause: Cause,
    /// Places in [`Changes::names`].
    old: Option<usize>,
    new: Option<usize>,
    scores: Option<[u8; 3]>,
}

impl Changes {
    /// Appends a change; ids must ascend.
    pub fn push(&mut self, change: &Change<'_>) {
        let Change { customer_id, action, scores, cause, order_count, total_spent, .. } = *change;
        let (old, new) = (self.name(change.old), self.name(change.new));
        let kind = self.number(Kind { action, cause, old, new, scores });
        self.kinds[kind].1 += 1;
        // Two's complement differences: any order would be kept, ascending ones are short.
        self.put(customer_id.wrapping_sub(self.last_id).cast_unsigned());
        self.last_id = customer_id;
        self.put(kind as u64);
        self.put(order_count.cast_unsigned());
        self.put(total_spent.cast_unsigned());
    }

    /// All changes, in the order of [`Self::push`].
    pub const fn iter(&self) -> Iter<'_> {
        Iter { changes: self, position: 0, last_id: 0 }
    }

    /// How many customers move from which segment to which.
    pub fn moves(&self) -> BTreeMap<[Option<&str>; 2], u64> {
        let mut moves = BTreeMap::new();
        for (kind, count) in &self.kinds {
            let change = self.change(*kind, 0, 0, 0);
            if change.moved() {
                *moves.entry([change.old, change.new]).or_default() += count;
            }
        }
        moves
    }

    fn change(&self, kind: Kind, customer_id: i64, order_count: i64, total_spent: i64) -> Change<'_> {
        let Kind { action, cause, old, new, scores } = kind;
        let [old, new] = [old, new].map(|place| place.map(|place| self.names[place].as_str()));
        Change { customer_id, action, old, scores, new, cause, order_count, total_spent }
    }

    fn number(&mut self, kind: Kind) -> usize {
        *self.numbers.entry(kind).or_insert_with(|| {
            self.kinds.push((kind, 0));
            self.kinds.len() - 1
        })
    }

    fn name(&mut self, name: Option<&str>) -> Option<usize> {
        let name = name?;
        let known = self.names.iter().position(|known| known == name);
        Some(known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        }))
    }

    /// LEB128: seven bits a byte, the lowest first.
    fn put(&mut self, mut value: u64) {
        loop {
            let seven = value.to_le_bytes()[0] & 0x7f;
            value >>= 7;
            if value == 0 {
                return self.bytes.push(seven);
            }
            self.bytes.push(seven | 0x80);
        }
    }
}

/// Many bytes in blocks, of which all but the last are full: growing copies none of them and leaves no
/// hole behind.
#[derive(Debug, Default)]
struct Bytes {
    blocks: Vec<Vec<u8>>,
    length: usize,
}

impl Bytes {
    const BLOCK: usize = 1 << 16;

    fn push(&mut self, byte: u8) {
        if self.length.is_multiple_of(Self::BLOCK) {
            self.blocks.push(Vec::with_capacity(Self::BLOCK));
        }
        self.blocks[self.length / Self::BLOCK].push(byte);
        self.length += 1;
    }

    fn get(&self, position: usize) -> u8 {
        self.blocks[position / Self::BLOCK][position % Self::BLOCK]
    }
}

/// Iterator over [`Changes`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    changes: &'a Changes,
    position: usize,
    last_id: i64,
}

impl Iter<'_> {
    fn value(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.changes.bytes.get(self.position);
            self.position += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        if self.position == self.changes.bytes.length {
            return None;
        }
        self.last_id = self.last_id.wrapping_add(self.value().cast_signed());
        let (kind, _) = self.changes.kinds[usize::try_from(self.value()).ok()?];
        let (order_count, total_spent) = (self.value().cast_signed(), self.value().cast_signed());
        Some(self.changes.change(kind, self.last_id, order_count, total_spent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Fields = (i64, usize, usize, usize, Option<(u8, u8, u8)>, usize, i64, i64);

    const ACTIONS: [Action; 4] = [Action::Insert, Action::Update, Action::Remember, Action::Remove];
    const NAMES: [Option<&str>; 4] = [None, Some("champion"), Some("at_risk"), Some("")];

    fn change(fields: &Fields) -> Change<'static> {
        let (customer_id, action, old, new, scores, cause, order_count, total_spent) = *fields;
        Change {
            customer_id,
            action: ACTIONS[action],
            old: NAMES[old],
            new: NAMES[new],
            scores: scores.map(|(r, f, m)| [r, f, m]),
            cause: Cause::ALL[cause],
            order_count,
            total_spent,
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_out_again(fields in prop::collection::vec(
            (any::<i64>(), 0..4usize, 0..4usize, 0..4usize, prop::option::of((1..=5u8, 1..=5u8, 1..=5u8)), 0..5usize, any::<i64>(), any::<i64>()),
            0..50,
        )) {
            let mut fields: Vec<Fields> = fields;
            fields.sort_by_key(|fields| fields.0);
            let mut changes = Changes::default();
            for fields in &fields {
                changes.push(&change(fields));
            }
            prop_assert_eq!(changes.iter().count(), fields.len());
            let packed: Vec<Change<'_>> = changes.iter().collect();
            let pushed: Vec<Change<'_>> = fields.iter().map(change).collect();
            prop_assert_eq!(&packed, &pushed);
            let mut moves = BTreeMap::new();
            for change in pushed.iter().filter(|change| change.moved()) {
                *moves.entry([change.old, change.new]).or_default() += 1;
            }
            prop_assert_eq!(changes.moves(), moves);
        }
    }

    #[test]
    fn a_first_run_takes_seven_bytes_a_customer() {
        let fields = |id: i64| (id, 0, 0, 1, Some((5, 5, 5)), 3, 4, 1_000_000);
        let mut changes = Changes::default();
        for id in 1..=30_000 {
            changes.push(&change(&fields(id)));
        }
        assert!(changes.bytes.blocks.len() > 1 && changes.bytes.length <= 7 * 30_000, "{}", changes.bytes.length);
        for (unpacked, id) in changes.iter().zip(1..) {
            assert_eq!(unpacked, change(&fields(id)));
        }
        assert_eq!(changes.iter().count(), 30_000);
    }
}
