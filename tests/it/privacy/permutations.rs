//! Whenever somebody is erased among the messages of a shop, and whatever is doubled: nothing of them
//! is left, their orders count once, and those of others are as if nothing had happened.

use proptest::prelude::*;
use quintile::{
    db::SCHEMA,
    intake::{self, Message, Received, Rules},
    model::{Source, Timestamp},
};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::redact;
use crate::support::shop::{DOMAIN, NOON, customer, order, rows};

const PEOPLE: u64 = 4;

fn email(person: u64) -> String {
    format!("person{person}@example.com")
}

/// Everything the shop tells of a person: as a guest, with an id, and of no use.
fn told_of(person: u64) -> Vec<(&'static str, Value)> {
    let (id, email) = (7000 + person, email(person));
    let number = 100 * person;
    vec![
        ("customers/create", customer(id, &email)),
        ("orders/create", order(number + 1).by(&customer(id, &email)).json()),
        ("orders/updated", order(number + 1).by(&customer(id, &email)).updated("2026-11-05T10:00:00Z").json()),
        ("orders/create", order(number + 2).guest(&email.to_uppercase()).json()),
        ("orders/create", order(number + 3).guest(&email).set("currency", "USD").json()),
        ("checkouts/create", json!({ "id": number + 4, "email": email, "total_price": "1.00" })),
    ]
}

fn receive(messages: &[(&'static str, Value)]) -> Connection {
    let mut connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(SCHEMA).unwrap();
    connection.pragma_update(None, "foreign_keys", true).unwrap();
    let rules = Rules { shop: DOMAIN.to_owned(), ..Rules::default() };
    for (second, (topic, body)) in (0..).zip(messages) {
        let tx = connection.transaction().unwrap();
        let message = Message {
            source: Source::Shopify,
            topic: (*topic).to_owned(),
            delivery_key: Some(format!("wh-{second}")),
            triggered_at: None,
            headers: json!({}),
            body: body.to_string().into_bytes(),
            received_at: Timestamp::from_millis(NOON + second * 1000),
        };
        let received = intake::Prepared::new(message, &rules).store(&tx, &rules).unwrap();
        assert_eq!(matches!(received, Received::Quarantined(_)), body["currency"] == "USD", "{topic}: {received:?}");
        tx.commit().unwrap();
    }
    connection
}

/// Every text of every table, in one.
fn everything(connection: &Connection) -> String {
    let tables = rows(connection, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
    let mut texts = Vec::new();
    for table in tables {
        let columns = rows(connection, &format!("SELECT name FROM pragma_table_info('{table}')"));
        let columns: Vec<String> = columns.iter().map(|name| format!("CAST({name} AS TEXT)")).collect();
        texts.extend(rows(connection, &format!("SELECT {} FROM {table}", columns.join(", "))));
    }
    texts.join("\n").to_lowercase()
}

proptest! {
    #[test]
    fn nothing_of_the_erased_is_left_and_nothing_of_others_is_lost(
        erased in proptest::collection::vec((0..PEOPLE, any::<bool>()), 1..4),
        copies in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
        seed in proptest::collection::vec(any::<u32>(), 40),
    ) {
        let mut messages: Vec<_> = (0..PEOPLE).flat_map(told_of).collect();
        for (person, with_id) in &erased {
            messages.push(("customers/redact", redact(with_id.then_some(7000 + person), Some(&email(*person)), None)));
        }
        for copy in copies {
            messages.push(copy.get(&messages).clone());
        }
        let mut shuffled: Vec<_> = messages.into_iter().zip(seed.into_iter().cycle().enumerate()).collect();
        shuffled.sort_by_key(|(_, (place, seed))| (seed.wrapping_mul(2_654_435_761), *place));
        let messages: Vec<_> = shuffled.into_iter().map(|(message, _)| message).collect();

        let connection = receive(&messages);
        prop_assert_eq!(quintile::invariants::violations(&connection).unwrap(), Vec::<String>::new());
        let texts = everything(&connection);
        for person in 0..PEOPLE {
            let gone = erased.iter().any(|(other, _)| *other == person);
            prop_assert_eq!(texts.contains(&email(person)), !gone, "{}", person);
            let owners = rows(&connection, &format!(
                "SELECT DISTINCT c.order_count, c.total_spent, c.redacted_at IS NOT NULL, c.email IS NULL
                   FROM orders o JOIN customers c ON c.id = o.customer_id WHERE o.source_id IN ('{}', '{}')",
                100 * person + 1, 100 * person + 2
            ));
            let expected = format!("2 | 9980 | {0} | {0}", i32::from(gone));
            prop_assert_eq!(owners, [expected], "{}", person);
        }
    }
}
