//! Who went from which segment to which between any two runs, exactly.
//!
//! What a run moved is kept as counts (`run_moves`), and for two runs next to each other that is the
//! answer. Counts of several runs cannot be put together: who went from A to B one night and from B
//! to C the next is one customer from A to C. So the events of all runs between are read, which hold
//! the segment before and after of everyone who moved, and of each customer the first "before" and
//! the last "after" count. That reads as many rows as customers moved, never all customers; from
//! [`AT_ONCE`] on it is done beside the page. Those who stayed follow from the counts of both runs.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;

use crate::{
    db::Readers,
    web::dashboard::{
        definitions::Move,
        statistics::{self, Run},
    },
};

/// Events that are read while the page waits: about 20 ms.
pub const AT_ONCE: i64 = 50_000;

/// A run between the two, and where its events are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    run: i64,
    first_seq: Option<i64>,
    changed: i64,
}

/// All moves from one run to a later one; those who stayed have the same segment twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// Most first.
    Known(Vec<Move>),
    /// Events of these runs are not kept any more.
    Forgotten,
}

/// The runs after `from` up to and including `to`, in the order of their instants.
pub fn steps(connection: &Connection, from: &Run, to: &Run) -> rusqlite::Result<Vec<Step>> {
    connection
        .prepare_cached(
            "SELECT id, first_seq, changed FROM runs
             WHERE scored_at IS NOT NULL AND trigger <> 'backfill' AND as_of >= ?1 AND as_of <= ?3
               AND (as_of, id) > (?1, ?2) AND (as_of, id) <= (?3, ?4) ORDER BY as_of, id",
        )?
        .query_map((from.as_of, from.id, to.as_of, to.id), |row| {
            Ok(Step { run: row.get(0)?, first_seq: row.get(1)?, changed: row.get(2)? })
        })?
        .collect()
}

/// Rows that [`between`] reads for these steps.
pub fn cost(steps: &[Step]) -> i64 {
    if steps.len() == 1 { 0 } else { steps.iter().map(|step| step.changed).sum() }
}

/// The flow over `steps`, which lead from `from` to `to`.
pub fn between(connection: &Connection, from: i64, to: i64, steps: &[Step]) -> rusqlite::Result<Flow> {
    if let [_] = steps {
        return Ok(Flow::Known(of_run(connection, from, to)?));
    }
    let mut walk = Walk::default();
    for step in steps {
        if !walk.step(connection, *step)? {
            return Ok(Flow::Forgotten);
        }
    }
    let counts = [statistics::counts(connection, from)?, statistics::counts(connection, to)?];
    Ok(Flow::Known(with_those_who_stayed(walk.moves(), &counts)))
}

/// The flow of one run, from the run `before` it: what it counted itself.
pub fn of_run(connection: &Connection, before: i64, run: i64) -> rusqlite::Result<Vec<Move>> {
    let counts = [statistics::counts(connection, before)?, statistics::counts(connection, run)?];
    let moves = statistics::moves(connection, run)?;
    let moves = moves.into_iter().map(|step| ((step.old, step.new), step.customers)).collect();
    Ok(with_those_who_stayed(moves, &counts))
}

/// [`between`] beside the pages: each run by itself, so that no reader holds an old state of the
/// database while millions of rows go by. What a run wrote does not change.
pub fn beside(readers: &Readers, from: i64, to: i64, steps: &[Step]) -> anyhow::Result<Flow> {
    let mut walk = Walk::default();
    for step in steps {
        if !walk.step(&*readers.get()?, *step)? {
            return Ok(Flow::Forgotten);
        }
    }
    let connection = readers.get()?;
    let counts = [statistics::counts(&connection, from)?, statistics::counts(&connection, to)?];
    Ok(Flow::Known(with_those_who_stayed(walk.moves(), &counts)))
}

type Counts = BTreeMap<(String, String), i64>;

/// What became of everyone who moved so far. About 30 bytes a customer.
#[derive(Default)]
struct Walk {
    /// Segments, by the number they have in `customers`; '' is none.
    names: Vec<String>,
    /// The segment before the first move and after the last one.
    customers: HashMap<i64, (u16, u16)>,
}

impl Walk {
    /// Adds the events of a run; `false`: not all of them are there.
    fn step(&mut self, connection: &Connection, step: Step) -> rusqlite::Result<bool> {
        let Some(first) = step.first_seq.filter(|_| step.changed > 0) else { return Ok(true) };
        let mut statement = connection.prepare_cached(
            "SELECT customer_id, old_segment, new_segment FROM outbox
             WHERE seq >= ?1 AND seq <= ?2 AND type = 'rfm/segment.changed'",
        )?;
        let mut rows = statement.query((first, first + step.changed - 1))?;
        let mut found = 0;
        while let Some(row) = rows.next()? {
            found += 1;
            let old = self.number(row.get_ref(1)?.as_str_or_null()?.unwrap_or_default());
            let new = self.number(row.get_ref(2)?.as_str_or_null()?.unwrap_or_default());
            self.customers.entry(row.get(0)?).and_modify(|(_, last)| *last = new).or_insert((old, new));
        }
        Ok(found == step.changed)
    }

    fn number(&mut self, name: &str) -> u16 {
        let index = self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    fn moves(&self) -> Counts {
        let mut sums: HashMap<(u16, u16), i64> = HashMap::new();
        for step in self.customers.values().filter(|(old, new)| old != new) {
            *sums.entry(*step).or_default() += 1;
        }
        let name = |number: u16| self.names.get(usize::from(number)).cloned().unwrap_or_default();
        sums.into_iter().map(|((old, new), customers)| ((name(old), name(new)), customers)).collect()
    }
}

/// A segment holds in the later run those who came and those who stayed. Who was in it before and
/// neither went nor stayed was merged into another customer, which makes no event: they left.
fn with_those_who_stayed(mut moves: Counts, counts: &[HashMap<String, i64>; 2]) -> Vec<Move> {
    let mut names: Vec<&String> = counts.iter().flat_map(HashMap::keys).collect();
    names.sort_unstable();
    names.dedup();
    let of = |counts: &HashMap<String, i64>, name: &String| counts.get(name).copied().unwrap_or(0);
    for name in names {
        let sum = |pick: &dyn Fn(&(String, String)) -> bool| -> i64 {
            moves.iter().filter(|(step, _)| step.0 != step.1 && pick(step)).map(|(_, customers)| customers).sum()
        };
        let (came, went) = (sum(&|step| step.1 == *name), sum(&|step| step.0 == *name));
        let stayed = (of(&counts[1], name) - came).max(0);
        let merged = of(&counts[0], name) - went - stayed;
        moves.insert((name.clone(), name.clone()), stayed);
        if merged > 0 {
            *moves.entry((name.clone(), String::new())).or_default() += merged;
        }
    }
    let mut moves: Vec<Move> = moves
        .into_iter()
        .filter(|(_, customers)| *customers > 0)
        .map(|((old, new), customers)| Move { old, new, customers })
        .collect();
    moves.sort_by_key(|step| std::cmp::Reverse(step.customers));
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts<const N: usize>(of: [(&str, i64); N]) -> HashMap<String, i64> {
        of.into_iter().map(|(name, customers)| (name.to_owned(), customers)).collect()
    }

    fn moves<const N: usize>(of: [(&str, &str, i64); N]) -> Vec<Move> {
        of.into_iter()
            .map(|(old, new, customers)| Move { old: old.to_owned(), new: new.to_owned(), customers })
            .collect()
    }

    #[test]
    fn those_who_stayed_follow_from_the_counts() {
        let steps = moves([("a", "b", 3), ("", "a", 2), ("b", "", 1)]);
        let steps = steps.into_iter().map(|step| ((step.old, step.new), step.customers)).collect();
        let found = with_those_who_stayed(steps, &[counts([("a", 10), ("b", 5)]), counts([("a", 9), ("b", 7)])]);
        assert_eq!(found, moves([("a", "a", 7), ("b", "b", 4), ("a", "b", 3), ("", "a", 2), ("b", "", 1)]));
    }

    #[test]
    fn who_was_merged_away_left() {
        let found = with_those_who_stayed(Counts::new(), &[counts([("a", 10)]), counts([("a", 8)])]);
        assert_eq!(found, moves([("a", "a", 8), ("a", "", 2)]));
    }

    #[test]
    fn an_empty_segment_is_no_flow() {
        assert_eq!(with_those_who_stayed(Counts::new(), &[counts([("a", 0)]), counts([])]), []);
    }
}
