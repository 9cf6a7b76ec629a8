//! Many orders or people at once, for imports.

use rusqlite::Transaction;

use super::{
    Applied, Change, LedgerError, Rules,
    counters::recompute_one,
    orders::{apply, apply_order, check_order},
    people::{self, Teller, check_person},
    tombstones::Tombstones,
};
use crate::model::{Money, Order, Person, Timestamp};

/// An order above this is no ordinary one: a million of them still add up.
const ORDINARY: Money = Money(1_000_000_000_000);

/// [`apply_order`] for each of `orders` in turn, with the same end state and the same answers, and
/// faster: the counters of a customer are recomputed once. A rejected order leaves nothing behind;
/// the others are applied all the same.
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
    // No savepoint here: SQLite would copy every page that is touched after it.
    if orders.iter().any(|order| order.gross > ORDINARY) {
        one_by_one(tx, rules, orders, now)
    } else {
        together(tx, rules, orders, now)
    }
}

/// Takes a file's customers. One that says when it changed is the shop's own word; what another tells
/// gives way to what the shop itself tells, and replaces what files of orders told. `order` of each answer is [`Change::Unchanged`].
///
/// # Errors
/// As [`apply_orders`].
pub fn apply_people(
    tx: &Transaction<'_>,
    rules: &Rules,
    people: &[Person],
    now: Timestamp,
) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
    let tombstones = Tombstones::load(tx)?;
    let one = |person: &Person| {
        if let Err(rejected) = check_person(person, now) {
            return Ok(Err(rejected));
        }
        let teller = if person.updated_at.is_some() { Teller::Message } else { Teller::ListInFile };
        Ok(match people::place(tx, rules, &tombstones, person, teller, now)? {
            None => Err(LedgerError::Rejected("this customer has neither an id nor an e-mail".to_owned())),
            Some(placed) => Ok(Applied {
                order: Change::Unchanged,
                customer: Some(placed.change),
                customer_id: Some(placed.id),
                owner: Some(placed.owner),
            }),
        })
    };
    people.iter().map(one).collect()
}

fn together(
    tx: &Transaction<'_>,
    rules: &Rules,
    orders: &[Order],
    now: Timestamp,
) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError> {
    let mut touched = Vec::with_capacity(orders.len());
    let mut applied = Vec::with_capacity(orders.len());
    let tombstones = Tombstones::load(tx)?;
    for order in orders {
        applied.push(match check_order(order, rules, now) {
            Ok(()) => Ok(apply(tx, rules, &tombstones, order, now, &mut touched)?),
            Err(rejected) => Err(rejected),
        });
    }
    touched.sort_unstable();
    touched.dedup();
    for customer in touched {
        recompute_one(tx, customer)?;
    }
    Ok(applied)
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

    use super::*;
    use crate::model::{Currency, OrderStatus, Origin, Person, Source};

    const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

    fn rules() -> Rules {
        Rules {
            currency: Currency::EUR,
            count_pending: false,
            count_zero_value: false,
            merge_guests_by_email: true,
            paid_statuses: Vec::new(),
        }
    }

    fn text(of: impl Strategy<Value = Option<&'static str>>) -> impl Strategy<Value = Option<String>> {
        of.prop_map(|text| text.map(str::to_owned))
    }

    prop_compose! {
        fn a_person()(
            id in text(prop_oneof![Just(None), Just(Some("c1")), Just(Some("c2")), Just(Some("c3"))]),
            email in text(prop_oneof![Just(None), Just(Some("a@x.example")), Just(Some("A@x.example ")), Just(Some("b@x.example"))]),
            first_name in text(prop_oneof![Just(None), Just(Some("Ann")), Just(Some("Bob"))]),
            source in prop_oneof![Just(Source::Csv), Just(Source::Shopify)],
            updated in proptest::option::of(0i64..4),
        ) -> Person {
            Person {
                external_id: id,
                email,
                first_name,
                updated_at: updated.map(|hours| NOW.plus_millis(-hours * 3_600_000)),
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

    type Apply =
        fn(&Transaction<'_>, &Rules, &[Order], Timestamp) -> Result<Vec<Result<Applied, LedgerError>>, LedgerError>;

    fn apply_with(apply: Apply, batches: &[Vec<Order>]) -> (Vec<String>, Vec<String>) {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::db::SCHEMA).unwrap();
        let mut answers = Vec::new();
        for batch in batches {
            let tx = connection.transaction().unwrap();
            answers.extend(apply(&tx, &rules(), batch, NOW).unwrap().iter().map(|answer| format!("{answer:?}")));
            tx.commit().unwrap();
        }
        (dump(&connection), answers)
    }

    proptest! {
        #[test]
        fn together_is_as_one_by_one(batches in proptest::collection::vec(proptest::collection::vec(an_order(), 0..25), 1..4)) {
            let (rows, answers) = apply_with(apply_orders, &batches);
            let (expected_rows, expected_answers) = apply_with(one_by_one, &batches);
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
        let (rows, answers) = apply_with(apply_orders, std::slice::from_ref(&orders));
        let taken: Vec<_> = answers.iter().map(|answer| answer.starts_with("Ok")).collect();
        assert_eq!(taken, [true, false, true, true], "{answers:?}");
        assert_eq!((rows, answers), apply_with(one_by_one, &[orders]));
    }
}
