//! Many orders at once, for imports.

use rusqlite::Transaction;

use super::{
    Applied, Change, IdSet, LedgerError, Rules,
    counters::{recompute_one, recompute_with},
    orders::{Shelf, answer, apply_order, check_order},
    people::{self, Key, Placed},
    remembered::{ROOM, Remembered},
};
use crate::model::{Money, Order, Person, Timestamp, email_key};

/// An order above this is no ordinary one: a million of them still add up.
const ORDINARY: Money = Money(1_000_000_000_000);

/// [`apply_order`] for each of `orders` in turn, with the same end state and the same answers, and
/// faster; see [`Bulk`]. A rejected order leaves nothing behind; the others are applied all the same.
///
/// # Errors
/// The database could not be written, or a customer's total passes what an integer holds because
/// of earlier orders; the caller then undoes everything.
pub fn apply_orders(
    tx: &Transaction<'_>,
    rules: &Rules,
    orders: &[Order],
    now: Timestamp,
) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
    let mut bulk = Bulk::new(tx, rules, now)?;
    let applied = bulk.apply(orders)?;
    bulk.finish()?;
    Ok(applied)
}

/// The orders and people of one transaction. Whoever is met again is not asked of the database again;
/// their fields, and the counters of everyone, are written once at the end: without
/// [`Self::finish`] the transaction must not be committed. Until then nobody else may read or
/// write people in it.
pub struct Bulk<'a> {
    tx: &'a Transaction<'a>,
    rules: &'a Rules,
    now: Timestamp,
    shelf: Shelf<'a>,
    people: Remembered,
    /// A guess from the person before: whoever is new indeed need not be looked for. The outcome does
    /// not depend on it.
    likely_new: bool,
    /// Whose counters are to be recomputed.
    touched: IdSet,
}

impl<'a> Bulk<'a> {
    /// # Errors
    /// Those of SQLite.
    pub fn new(tx: &'a Transaction<'a>, rules: &'a Rules, now: Timestamp) -> Result<Self, LedgerError> {
        let (shelf, people) = (Shelf::new(tx, rules, now, true)?, Remembered::new(ROOM));
        Ok(Self { tx, rules, now, shelf, people, likely_new: true, touched: IdSet::default() })
    }

    /// As [`apply_orders`].
    ///
    /// # Errors
    /// As [`apply_orders`].
    pub fn apply(&mut self, orders: &[Order]) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
        // No savepoint here: SQLite would copy every page that is touched after it.
        if orders.iter().any(|order| order.gross > ORDINARY) {
            self.write()?;
            return one_by_one(self.tx, self.rules, orders, self.now);
        }
        let one = |order| match check_order(order, self.rules, self.now) {
            Ok(()) => self.order(order).map(Ok),
            Err(rejected) => Ok(Err(rejected)),
        };
        orders.iter().map(one).collect()
    }

    /// [`super::apply_person`] among the orders of the same transaction.
    ///
    /// # Errors
    /// [`LedgerError::Rejected`]: the person has neither an id nor an e-mail, or impossible dates.
    pub fn apply_person(&mut self, person: &Person) -> Result<Change, LedgerError> {
        people::check_person(person, self.now)?;
        match self.place(person)? {
            Some(placed) => Ok(placed.change),
            None => Err(people::nobody()),
        }
    }

    /// Brings every row up to date.
    ///
    /// # Errors
    /// As [`apply_orders`].
    pub fn finish(mut self) -> Result<(), LedgerError> {
        self.write()
    }

    fn order(&mut self, order: &Order) -> Result<Applied, LedgerError> {
        // Also of a stale order: the person it names exists, and their fields have versions of their own.
        let placed = match &order.person {
            Some(person) => self.place(person)?,
            None => None,
        };
        let owner = placed.as_ref().map(|placed| placed.owner);
        let touched = &mut self.touched;
        let touch = |customer| {
            touched.insert(customer);
        };
        let change = self.shelf.settle(order, owner, touch)?;
        Ok(answer(change, placed.as_ref()))
    }

    fn place(&mut self, person: &Person) -> Result<Option<Placed>, LedgerError> {
        let Some(key) = Key::of(person) else { return Ok(None) };
        if self.people.is_full() {
            self.write_people()?;
        }
        if let Some(placed) = self.people.meet(person, &key) {
            return Ok(Some(placed));
        }
        self.forget(person, &key)?;
        let (placed, known) = people::place_by(self.tx, self.rules, person, &key, self.now, &mut self.likely_new)?;
        for email in &known.settled {
            if let Some(guest) = email_key(email).map(Key::Guest) {
                self.forget(person, &guest)?;
            }
        }
        self.people.remember(person.source, &key, &known);
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
        for (id, at) in self.people.unwritten() {
            let fields = self.people.fields(at);
            if self.touched.remove(id) {
                recompute_with(self.tx, id, &fields)?;
            } else {
                people::store_fields(self.tx, id, &fields)?;
            }
        }
        self.people.clear();
        for customer in std::mem::take(&mut self.touched).iter() {
            recompute_one(self.tx, customer)?;
        }
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
fn one_by_one(
    tx: &Transaction<'_>,
    rules: &Rules,
    orders: &[Order],
    now: Timestamp,
) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
    let one = |order| match in_savepoint(tx, || apply_order(tx, rules, order, now)) {
        Err(LedgerError::Sqlite(error)) => Err(error.into()),
        answer => Ok(answer),
    };
    orders.iter().map(one).collect()
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
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::{
        super::{apply_person, delete_customer, delete_order, merge_customers},
        *,
    };
    use crate::model::{Currency, OrderStatus, Origin, Person, Source};

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn rules() -> Rules {
        Rules { currency: Currency::EUR, count_pending: false, count_zero_value: false, merge_guests_by_email: true }
    }

    fn text(of: impl Strategy<Value = Option<&'static str>>) -> impl Strategy<Value = Option<String>> {
        of.prop_map(|text| text.map(str::to_owned))
    }

    prop_compose! {
        fn a_person()(
            id in text(prop_oneof![Just(None), Just(Some("c1")), Just(Some("c2")), Just(Some("c3"))]),
            email in text(prop_oneof![Just(None), Just(Some("a@x.example")), Just(Some("A@x.example ")), Just(Some("b@x.example"))]),
            first_name in text(prop_oneof![Just(None), Just(Some("Ann")), Just(Some("Bob")), Just(Some(" "))]),
            phone in proptest::option::weighted(0.2, prop_oneof![Just("1".to_owned()), Just("1".repeat(70_000))]),
            consent in text(prop_oneof![Just(None), Just(Some("subscribed")), Just(Some("unsubscribed"))]),
            source in prop_oneof![Just(Source::Csv), Just(Source::Shopify)],
            updated in proptest::option::of(0i64..4),
            consent_hours in proptest::option::of(0i64..4),
        ) -> Person {
            let hours_ago = |hours: i64| NOW.plus_millis(-hours * 3_600_000);
            Person {
                external_id: id,
                email,
                first_name,
                phone,
                consent,
                consent_at: consent_hours.map(hours_ago),
                updated_at: updated.map(hours_ago),
                ..Person::unknown(source)
            }
        }
    }

    prop_compose! {
        fn an_order()(
            id in 0u8..12,
            person in proptest::option::weighted(0.9, a_person()),
            status in prop_oneof![Just(OrderStatus::Paid), Just(OrderStatus::Pending), Just(OrderStatus::Refunded)],
            gross in 0i64..9,
            currency in prop_oneof![9 => Just(Currency::EUR), 1 => Just(Currency::new("USD").unwrap())],
            hours in 0i64..6,
            updated in proptest::option::of(0i64..4),
            from_file: bool,
        ) -> Order {
            let source = person.as_ref().map_or(Source::Csv, |person| person.source);
            Order {
                source,
                source_id: id.to_string(),
                person,
                name: None,
                status,
                is_test: false,
                currency,
                gross: Money(gross),
                current: None,
                outstanding: None,
                refunded: Money::ZERO,
                net_payment: None,
                ordered_at: NOW.plus_millis(-hours * 3_600_000),
                created_at: None,
                cancelled_at: None,
                updated_at: updated.filter(|_| !from_file).map(|hours| NOW.plus_millis(-hours * 3_600_000)),
                triggered_at: None,
                origin: if from_file { Origin::Csv } else { Origin::Webhook },
                historical: from_file,
            }
        }
    }

    /// Every row of the ledger's tables.
    fn dump(connection: &Connection) -> Vec<String> {
        let mut rows = Vec::new();
        for table in ["customers", "orders", "aliases"] {
            let mut statement = connection.prepare(&format!("SELECT * FROM {table} ORDER BY 1, 2, 3")).unwrap();
            let columns = statement.column_count();
            let mut found = statement.query([]).unwrap();
            while let Some(row) = found.next().unwrap() {
                let cells: Vec<_> = (0..columns).map(|column| format!("{:?}", row.get_ref(column).unwrap())).collect();
                rows.push(format!("{table}: {}", cells.join(" ")));
            }
        }
        rows
    }

    /// What happens to a ledger.
    #[derive(Debug, Clone)]
    enum Step {
        Orders(Vec<Order>),
        Person(Person),
        /// These stand between two imports.
        Merged(&'static str, &'static str),
        CustomerDeleted(&'static str),
        OrderDeleted(u8),
        Redacted(&'static str),
    }

    fn a_step() -> impl Strategy<Value = Step> {
        let id = || prop_oneof![Just("c1"), Just("c2"), Just("c3")];
        prop_oneof![
            6 => proptest::collection::vec(an_order(), 0..12).prop_map(Step::Orders),
            3 => a_person().prop_map(Step::Person),
            1 => (id(), id()).prop_map(|(deleted, kept)| Step::Merged(deleted, kept)),
            1 => id().prop_map(Step::CustomerDeleted),
            1 => (0u8..12).prop_map(Step::OrderDeleted),
            1 => id().prop_map(Step::Redacted),
        ]
    }

    /// Makes a change that no import makes.
    fn disturb(tx: &Transaction<'_>, step: &Step) {
        let answer = match step {
            Step::Merged(deleted, kept) => merge_customers(tx, &rules(), Source::Shopify, deleted, kept, NOW).map(drop),
            Step::CustomerDeleted(id) => delete_customer(tx, &rules(), Source::Shopify, id, NOW).map(drop),
            Step::OrderDeleted(id) => delete_order(tx, &rules(), Source::Csv, &id.to_string(), NOW, NOW).map(drop),
            Step::Redacted(id) => tx
                .execute("UPDATE customers SET redacted_at = 1 WHERE external_id = ?1 AND redacted_at IS NULL", [id])
                .map(drop)
                .map_err(Into::into),
            Step::Orders(_) | Step::Person(_) => Ok(()),
        };
        assert!(matches!(answer, Ok(()) | Err(LedgerError::Rejected(_))), "{answer:?}");
    }

    fn ledger() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::db::SCHEMA).unwrap();
        connection
    }

    /// Rows and answers when each message is applied by itself.
    fn by_itself(steps: &[Step]) -> (Vec<String>, Vec<String>) {
        let mut connection = ledger();
        let mut answers = Vec::new();
        for step in steps {
            let tx = connection.transaction().unwrap();
            match step {
                Step::Orders(orders) => {
                    answers.extend(one_by_one(&tx, &rules(), orders, NOW).unwrap().iter().map(|a| format!("{a:?}")));
                }
                Step::Person(person) => answers.push(format!("{:?}", apply_person(&tx, &rules(), person, NOW))),
                other => disturb(&tx, other),
            }
            tx.commit().unwrap();
        }
        (dump(&connection), answers)
    }

    /// The same with as many messages as possible in one [`Bulk`], which remembers `room` bytes.
    fn in_bulk(steps: &[Step], room: usize) -> (Vec<String>, Vec<String>) {
        let mut connection = ledger();
        let mut answers = Vec::new();
        let is_message = |step: &Step| matches!(step, Step::Orders(_) | Step::Person(_));
        for together in steps.chunk_by(|a, b| is_message(a) && is_message(b)) {
            let tx = connection.transaction().unwrap();
            let rules = rules();
            let mut bulk = Bulk { people: Remembered::new(room), ..Bulk::new(&tx, &rules, NOW).unwrap() };
            for step in together {
                match step {
                    Step::Orders(orders) => {
                        answers.extend(bulk.apply(orders).unwrap().iter().map(|a| format!("{a:?}")));
                    }
                    Step::Person(person) => answers.push(format!("{:?}", bulk.apply_person(person))),
                    other => disturb(&tx, other),
                }
            }
            bulk.finish().unwrap();
            tx.commit().unwrap();
        }
        (dump(&connection), answers)
    }

    proptest! {
        #[test]
        fn together_is_as_one_by_one(
            steps in proptest::collection::vec(a_step(), 1..9),
            room in prop_oneof![Just(0), Just(300), Just(ROOM)],
        ) {
            let (rows, answers) = in_bulk(&steps, room);
            let (expected_rows, expected_answers) = by_itself(&steps);
            prop_assert_eq!(answers, expected_answers);
            prop_assert_eq!(rows, expected_rows);
        }
    }

    #[test]
    fn an_order_too_many_leaves_nothing_behind() {
        let order = |id: &str, customer: &str, gross| Order {
            source: Source::Csv,
            source_id: id.to_owned(),
            person: Some(Person { external_id: Some(customer.to_owned()), ..Person::unknown(Source::Csv) }),
            name: None,
            status: OrderStatus::Paid,
            is_test: false,
            currency: Currency::EUR,
            gross: Money(gross),
            current: None,
            outstanding: None,
            refunded: Money::ZERO,
            net_payment: None,
            ordered_at: NOW,
            created_at: None,
            cancelled_at: None,
            updated_at: None,
            triggered_at: None,
            origin: Origin::Csv,
            historical: true,
        };
        let orders =
            [order("1", "c1", i64::MAX - 1), order("2", "c1", 2), order("3", "c2", 2), order("4", "c1", 1)].to_vec();
        // Those before it in the same transaction are counted when it comes.
        let steps =
            [Step::Orders(vec![order("0", "c1", 1)]), Step::Orders(orders), Step::Orders(vec![order("5", "c2", 1)])];
        let (rows, answers) = in_bulk(&steps, ROOM);
        let taken: Vec<_> = answers.iter().map(|answer| answer.starts_with("Ok")).collect();
        assert_eq!(taken, [true, true, false, true, false, true], "{answers:?}");
        assert_eq!((rows, answers), by_itself(&steps));
    }
}
