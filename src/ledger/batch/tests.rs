use proptest::prelude::*;
use rusqlite::Connection;

use super::{
    super::{Who, apply_person, delete_customer, delete_order, erase, merge_customers},
    *,
};
use crate::model::{Currency, OrderStatus, Origin, Person, Source};

const NOW: Timestamp = Timestamp::from_millis(1_764_000_000_000);

fn rules() -> Rules {
    Rules {
        shop: String::new(),
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
    Person(Box<Person>),
    List(Vec<Person>),
    /// These stand between two imports.
    Merged(&'static str, &'static str),
    CustomerDeleted(&'static str),
    OrderDeleted(u8),
    Erased(Option<&'static str>, Option<&'static str>),
}

fn a_step() -> impl Strategy<Value = Step> {
    let id = || prop_oneof![Just("c1"), Just("c2"), Just("c3")];
    prop_oneof![
        6 => proptest::collection::vec(an_order(), 0..12).prop_map(Step::Orders),
        3 => a_person().prop_map(|person| Step::Person(Box::new(person))),
        1 => (id(), id()).prop_map(|(deleted, kept)| Step::Merged(deleted, kept)),
        1 => id().prop_map(Step::CustomerDeleted),
        1 => (0u8..12).prop_map(Step::OrderDeleted),
        1 => proptest::collection::vec(a_person(), 0..5).prop_map(Step::List),
        1 => (proptest::option::of(id()), proptest::option::of(Just("a@x.example")))
            .prop_map(|(id, email)| Step::Erased(id, email)),
    ]
}

/// Makes a change that no import makes.
fn disturb(tx: &Transaction<'_>, step: &Step) {
    let answer = match step {
        Step::Merged(deleted, kept) => merge_customers(tx, &rules(), Source::Shopify, deleted, kept, NOW).map(drop),
        Step::CustomerDeleted(id) => delete_customer(tx, &rules(), Source::Shopify, id, NOW).map(drop),
        Step::OrderDeleted(id) => delete_order(tx, &rules(), Source::Csv, &id.to_string(), NOW, NOW).map(drop),
        Step::Erased(None, None) | Step::Orders(_) | Step::Person(_) | Step::List(_) => Ok(()),
        Step::Erased(id, email) => {
            let external_id = id.map(|id| (Source::Shopify, id.to_owned()));
            erase(tx, &Who { external_id, email: email.map(str::to_owned), ..Who::default() }, NOW).map(drop)
        }
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
            Step::List(people) => {
                let tombstones = Tombstones::load(&tx).unwrap();
                for person in people {
                    let teller = if person.updated_at.is_some() { Teller::Message } else { Teller::ListInFile };
                    let placed = people::place(&tx, &rules(), &tombstones, person, teller, NOW).unwrap();
                    answers.push(format!("{:?}", placed.map(|placed| answer(Change::Unchanged, Some(&placed)))));
                }
            }
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
    let is_message = |step: &Step| matches!(step, Step::Orders(_) | Step::Person(_) | Step::List(_));
    for together in steps.chunk_by(|a, b| is_message(a) && is_message(b)) {
        let tx = connection.transaction().unwrap();
        let rules = rules();
        let bulk = if room == ROOM { Bulk::of_many(&tx, &rules, NOW) } else { Bulk::new(&tx, &rules, NOW) };
        let mut bulk = Bulk { people: Remembered::new(room), ..bulk.unwrap() };
        for step in together {
            match step {
                Step::Orders(orders) => {
                    answers.extend(bulk.apply(orders).unwrap().iter().map(|a| format!("{a:?}")));
                }
                Step::Person(person) => answers.push(format!("{:?}", bulk.apply_person(person).unwrap())),
                Step::List(people) => {
                    answers.extend(bulk.apply_list(people).unwrap().iter().map(|a| format!("{:?}", a.as_ref().ok())));
                }
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
