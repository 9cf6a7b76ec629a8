//! Many orders or people at once, for imports.

use rusqlite::Transaction;

use super::{
    Applied, Change, IdSet, LedgerError, Rules,
    counters::count_all,
    fields::{Key, Teller, Told},
    orders::{Shelf, answer, apply_order, check_order, teller},
    people::{self, Course, Placed},
    remembered::{ROOM, Remembered},
    tombstones::Tombstones,
};
use crate::{
    db,
    model::{Money, Order, Person, Timestamp, email_key},
};

/// An order above this is no ordinary one: a million of them still add up.
const ORDINARY: Money = Money(1_000_000_000_000);

/// Where the orders of a customer stand.
const BY_CUSTOMER: &str = "orders_customer";

/// The orders and people of one transaction. Whoever is met again is not asked of the database again;
/// their fields, and the counters of everyone, are written once at the end: without
/// [`Self::finish`] the transaction must not be committed. Until then nobody else may read or
/// write people in it.
pub struct Bulk<'a> {
    tx: &'a Transaction<'a>,
    rules: &'a Rules,
    now: Timestamp,
    tombstones: Tombstones,
    shelf: Shelf<'a>,
    people: Remembered,
    course: Course,
    /// Whose counters are to be recomputed.
    touched: IdSet,
    /// How the index [`BY_CUSTOMER`] is made again; see [`Self::of_many`].
    index: Option<String>,
}

impl<'a> Bulk<'a> {
    /// # Errors
    /// Those of SQLite.
    pub fn new(tx: &'a Transaction<'a>, rules: &'a Rules, now: Timestamp) -> Result<Self, LedgerError> {
        let (shelf, people) = (Shelf::new(tx, rules, now, true)?, Remembered::new(ROOM));
        let tombstones = Tombstones::load(tx)?;
        let course = Course::begin(tx)?;
        Ok(Self { tx, rules, now, tombstones, shelf, people, course, touched: IdSet::default(), index: None })
    }

    /// For so many orders that it pays to make an index anew behind them, sorted, instead of finding the
    /// place of each: so it does where there are none yet. Nothing here asks for it meanwhile.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn of_many(tx: &'a Transaction<'a>, rules: &'a Rules, now: Timestamp) -> Result<Self, LedgerError> {
        let any: bool = tx.query_row("SELECT EXISTS (SELECT 1 FROM orders)", [], |row| row.get(0))?;
        let mut index = None;
        if !any {
            index =
                Some(tx.query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [BY_CUSTOMER], |row| row.get(0))?);
            tx.execute_batch(&format!("DROP INDEX {BY_CUSTOMER}"))?;
        }
        Ok(Self { index, ..Self::new(tx, rules, now)? })
    }

    /// [`apply_order`] for each of `orders` in turn, with the same end state and the same answers, but
    /// no event about a first order: they are history. A rejected order leaves nothing behind; the
    /// others are applied all the same.
    ///
    /// # Errors
    /// The database could not be written, or a customer's total passes what an integer holds because
    /// of earlier orders; the caller then undoes everything.
    pub fn apply<'o>(
        &mut self,
        orders: impl IntoIterator<Item = &'o Order> + Clone,
    ) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        // No savepoint here: SQLite would copy every page that is touched after it.
        if orders.clone().into_iter().any(|order| order.gross > ORDINARY) {
            self.write()?;
            return one_by_one(self.tx, self.rules, orders, self.now);
        }
        let one = |order| match check_order(order, self.rules, self.now) {
            Ok(()) => self.order(order).map(Ok),
            Err(rejected) => Ok(Err(rejected)),
        };
        orders.into_iter().map(one).collect()
    }

    /// [`super::apply_person`] among the orders of the same transaction.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_person(&mut self, person: &Person) -> Result<Result<Change, LedgerError>, LedgerError> {
        let placed = self.check_and_place(person, Teller::Message)?;
        Ok(placed.map(|placed| placed.change))
    }

    /// Takes a file's customers. One that says when it changed is the shop's own word; what another tells
    /// gives way to what the shop itself tells, and replaces what files of orders told. `order` of each answer is [`Change::Unchanged`].
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_list(&mut self, people: &[Person]) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        let one = |person: &Person| {
            let teller = if person.updated_at.is_some() { Teller::Message } else { Teller::ListInFile };
            let placed = self.check_and_place(person, teller)?;
            Ok(placed.map(|placed| answer(Change::Unchanged, Some(&placed))))
        };
        people.iter().map(one).collect()
    }

    /// Brings every row up to date.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn finish(mut self) -> Result<(), LedgerError> {
        self.write()
    }

    fn order(&mut self, order: &Order) -> Result<Applied, LedgerError> {
        // Also of a stale order: the person it names exists, and their fields have versions of their own.
        let placed = match &order.person {
            Some(person) => self.place(person, teller(order))?,
            None => None,
        };
        let touched = &mut self.touched;
        let touch = |customer| {
            touched.insert(customer);
        };
        let change = self.shelf.settle(order, placed.as_ref(), touch)?;
        Ok(answer(change, placed.as_ref()))
    }

    fn check_and_place(&mut self, person: &Person, teller: Teller) -> Result<Result<Placed, LedgerError>, LedgerError> {
        if let Err(rejected) = people::check_person(person, self.now) {
            return Ok(Err(rejected));
        }
        Ok(self.place(person, teller)?.ok_or_else(people::nobody))
    }

    fn place(&mut self, person: &Person, teller: Teller) -> Result<Option<Placed>, LedgerError> {
        let Some(told) = Told::by(person, teller) else { return Ok(None) };
        if self.people.is_full() {
            self.write_people()?;
        }
        let erased = self.tombstones.of(self.tx, person)?;
        if erased.is_none()
            && let Some(placed) = self.people.meet(&told)
        {
            return Ok(Some(placed));
        }
        self.forget(person, &told.key)?;
        let (placed, known) = people::place_told(self.tx, self.rules, &told, erased, self.now, &mut self.course)?;
        for customer in self.course.touched.drain(..) {
            self.touched.insert(customer);
        }
        if let Some(known) = known {
            for email in &known.settled {
                if let Some(guest) = email_key(email).map(Key::Guest) {
                    self.forget(person, &guest)?;
                }
            }
            self.people.remember(person.source, &told.key, &known);
        }
        Ok(Some(placed))
    }

    /// Writes what is not written of one person; the database is asked for them the next time.
    fn forget(&mut self, person: &Person, key: &Key<'_>) -> Result<(), LedgerError> {
        if let Some((id, fields)) = self.people.forget(person.source, key) {
            people::store_fields(self.tx, id, &fields)?;
        }
        Ok(())
    }

    /// Writes everything that is not written, and remembers nobody.
    fn write(&mut self) -> Result<(), LedgerError> {
        if let Some(index) = self.index.take() {
            db::keep_few_pages(self.tx)?;
            self.tx.execute_batch(&index)?;
        }
        let (tx, people) = (self.tx, &self.people);
        let mut unwritten = people.unwritten().into_iter().peekable();
        count_all(tx, &std::mem::take(&mut self.touched), |id, counters| {
            while let Some((other, at)) = unwritten.next_if(|(next, _)| *next < id) {
                people::store_fields(tx, other, &people.fields(at))?;
            }
            match unwritten.next_if(|(next, _)| *next == id) {
                Some((_, at)) => counters.store_with(tx, id, &people.fields(at)),
                None => counters.store(tx, id),
            }
        })?;
        for (id, at) in unwritten {
            people::store_fields(tx, id, &people.fields(at))?;
        }
        self.people.clear();
        Ok(())
    }

    /// Writes the fields of everyone, and remembers nobody.
    fn write_people(&mut self) -> Result<(), LedgerError> {
        for (id, at) in self.people.unwritten() {
            people::store_fields(self.tx, id, &self.people.fields(at))?;
        }
        self.people.clear();
        Ok(())
    }
}

/// Each in a savepoint, so that one whose customer's total is too large can be undone.
fn one_by_one<'o>(
    tx: &Transaction<'_>,
    rules: &Rules,
    orders: impl IntoIterator<Item = &'o Order>,
    now: Timestamp,
) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
    let one = |order| match in_savepoint(tx, || apply_order(tx, rules, order, now)) {
        Err(LedgerError::Sqlite(error)) => Err(error.into()),
        answer => Ok(answer),
    };
    orders.into_iter().map(one).collect()
}

/// Undoes what `write` wrote when it fails.
fn in_savepoint<T>(tx: &Transaction<'_>, write: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
    tx.execute_batch("SAVEPOINT orders")?;
    let result = write();
    // A database error may have rolled back everything, this savepoint included.
    if !matches!(result, Err(LedgerError::Sqlite(_))) {
        tx.execute_batch(if result.is_ok() { "RELEASE orders" } else { "ROLLBACK TO orders; RELEASE orders" })?;
    }
    result
}

#[cfg(test)]
mod tests;
