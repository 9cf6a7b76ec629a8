//! What a run is going to write, kept small: about ten bytes per changed customer, so that the
//! first run of 1,000,000 customers needs no more than ten megabytes between reading and writing.

use std::collections::BTreeMap;

use crate::outbox::Cause;

use super::segment::combination;

/// What happens to one row of `customer_scores`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// Changes in ascending order of customer id, packed.
#[derive(Debug, Default)]
pub struct Changes {
    bytes: Vec<u8>,
    /// Segment names, numbered from 1 in `bytes`.
    names: Vec<String>,
    /// Customers that move from one segment to another, by the numbers of the two; 0 is none.
    moves: BTreeMap<[u64; 2], u64>,
    last_id: i64,
}

const ACTIONS: [Action; 4] = [Action::Insert, Action::Update, Action::Remember, Action::Remove];
/// Stands for "not ranked" among the combinations.
const UNRANKED: u8 = 125;

impl Changes {
    /// Appends a change; ids must ascend.
    pub fn push(&mut self, change: &Change<'_>) {
        let action = ACTIONS.iter().position(|action| *action == change.action).unwrap_or_default();
        let cause = Cause::ALL.iter().position(|cause| *cause == change.cause).unwrap_or_default();
        let (old, new) = (self.number(change.old), self.number(change.new));
        if change.moved() {
            *self.moves.entry([old, new]).or_default() += 1;
        }
        // Two's complement differences: any order would be kept, ascending ones are short.
        self.put(change.customer_id.wrapping_sub(self.last_id).cast_unsigned());
        self.last_id = change.customer_id;
        self.bytes.push(u8::try_from(action << 4 | cause).unwrap_or_default());
        self.put(old);
        self.put(new);
        self.bytes.push(change.scores.map_or(UNRANKED, |scores| u8::try_from(combination(scores)).unwrap_or(UNRANKED)));
        self.put(change.order_count.cast_unsigned());
        self.put(change.total_spent.cast_unsigned());
    }

    /// All changes, in the order of [`Self::push`].
    pub const fn iter(&self) -> Iter<'_> {
        Iter { changes: self, position: 0, last_id: 0 }
    }

    /// How many customers move from which segment to which.
    pub fn moves(&self) -> impl Iterator<Item = (Option<&str>, Option<&str>, u64)> {
        self.moves.iter().map(|([old, new], customers)| (self.name(*old), self.name(*new), *customers))
    }

    fn name(&self, number: u64) -> Option<&str> {
        let index = usize::try_from(number.checked_sub(1)?).ok()?;
        self.names.get(index).map(String::as_str)
    }

    fn number(&mut self, name: Option<&str>) -> u64 {
        let Some(name) = name else { return 0 };
        let index = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        index as u64 + 1
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

/// Iterator over [`Changes`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    changes: &'a Changes,
    position: usize,
    last_id: i64,
}

impl<'a> Iter<'a> {
    fn byte(&mut self) -> u8 {
        let byte = self.changes.bytes[self.position];
        self.position += 1;
        byte
    }

    fn value(&mut self) -> u64 {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }

    fn name(&mut self) -> Option<&'a str> {
        let number = self.value();
        self.changes.name(number)
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = Change<'a>;

    fn next(&mut self) -> Option<Change<'a>> {
        if self.position == self.changes.bytes.len() {
            return None;
        }
        self.last_id = self.last_id.wrapping_add(self.value().cast_signed());
        let head = self.byte();
        let (old, new) = (self.name(), self.name());
        let scores = match self.byte() {
            UNRANKED => None,
            code => Some([code / 25 + 1, code / 5 % 5 + 1, code % 5 + 1]),
        };
        Some(Change {
            customer_id: self.last_id,
            action: ACTIONS[usize::from(head >> 4)],
            old,
            scores,
            new,
            cause: Cause::ALL[usize::from(head & 15)],
            order_count: self.value().cast_signed(),
            total_spent: self.value().cast_signed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Fields = (i64, usize, usize, usize, Option<(u8, u8, u8)>, usize, i64, i64);

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
            for (old, new, customers) in changes.moves() {
                let moving = pushed.iter().filter(|change| change.moved() && change.old == old && change.new == new);
                prop_assert_eq!(moving.count() as u64, customers);
            }
            let moved = pushed.iter().filter(|change| change.moved()).count() as u64;
            prop_assert_eq!(changes.moves().map(|(.., customers)| customers).sum::<u64>(), moved);
        }
    }

    #[test]
    fn a_first_run_takes_ten_bytes_a_customer() {
        let mut changes = Changes::default();
        for id in 1..=1000 {
            changes.push(&change(&(id, 0, 0, 1, Some((5, 5, 5)), 3, 4, 1_000_000)));
        }
        assert!(changes.bytes.len() <= 10_000, "{}", changes.bytes.len());
    }
}
