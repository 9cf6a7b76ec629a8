//! Forgetting a person: what names them goes, what they bought stays and counts for a customer
//! without a name.
//!
//! The source's id of the customer stays in the row, even where a program made it out of an e-mail: later
//! orders are counted by it, and destinations know by it whom to delete. Everything else by which the person was
//! known stays as a keyed hash alone ([`Tombstones`]).

use std::collections::BTreeSet;

use rusqlite::{Connection, Transaction, params};

use super::{
    Change, LedgerError,
    fields::Key,
    people::Placed,
    persons::{Cluster, Who, find_known, find_persons},
    tombstones::{self, Mark, Tombstones},
};
use crate::{
    model::{Person, Source, Timestamp},
    outbox::{self, EventType, Ids, Withdrawn},
};

/// Orders that are looked through while nobody else can write: some milliseconds.
const FEW_ORDERS: i64 = 20_000;

/// What [`erase`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Erased {
    /// Whom it was about; what has to be looked for elsewhere. Holds personal data.
    pub person: Cluster,
    /// Customers that had a name until now: our ids.
    pub customers: Vec<i64>,
    /// Orders that said who placed them.
    pub orders: usize,
    /// Somebody else may have placed orders with an e-mail of theirs: [`orders_with`] finds them.
    pub has_more_orders: bool,
    /// In the queue.
    pub withdrawn: Withdrawn,
    /// Events that tell destinations.
    pub events: usize,
}

/// Forgets the person: in customers, in their orders and in aliases, and in the queue, from which what is about
/// them is withdrawn. Who was told of them is told of this. Counters stay. Somebody never seen leaves
/// tombstones, so that a late message does not bring them in. One that comes before an earlier change of the
/// person's e-mail takes a guest with the old one too, whom it would not mean behind that change: it errs on
/// forgetting more. Whoever is still [`Cluster::sought`] is to be forgotten
/// by [`erase_sought`](super::erase_sought).
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn erase(tx: &Transaction<'_>, who: &Who, now: Timestamp) -> Result<Erased, LedgerError> {
    forget(tx, find_persons(tx, who)?, who, now)
}

/// Forgets customers of an earlier state of the database, who were erased in a later one, and no more of anybody than
/// the tombstones say that were taken over from that. Returns how many had a name.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn erase_known(tx: &Transaction<'_>, known: &BTreeSet<i64>, now: Timestamp) -> Result<usize, LedgerError> {
    let mut forgotten = 0;
    for id in known {
        // One of them may be the same person as the one before.
        if !is_erased(tx, *id)? {
            forgotten += forget(tx, find_known(tx, *id, known)?, &Who::default(), now)?.customers.len();
        }
    }
    Ok(forgotten)
}

/// Takes the e-mails of erased people out of all orders, aliases and customers: in an earlier state of the database
/// somebody may have had one of theirs who is known by another now, and keeps the name.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn blank_erased(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    let tombstones = Tombstones::load(tx)?;
    let emails = |select: &str| -> rusqlite::Result<BTreeSet<String>> {
        let mut select = tx.prepare(select)?;
        let mut rows = select.query([])?;
        let mut erased = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let email = row.get_ref(0)?.as_str()?;
            if tombstones.find(tx, Mark::Email(email))?.is_some() {
                erased.insert(email.to_owned());
            }
        }
        Ok(erased)
    };
    for email in emails("SELECT key FROM aliases WHERE kind = 'email'")? {
        tx.execute("DELETE FROM aliases WHERE kind = 'email' AND key = ?1", [email])?;
    }
    for email in emails("SELECT email_key FROM customers WHERE email_key IS NOT NULL")? {
        tx.execute("UPDATE customers SET email = NULL, email_key = NULL WHERE email_key = ?1", [email])?;
    }
    let orders = emails("SELECT email_key FROM orders WHERE email_key IS NOT NULL")?;
    blank(tx, &orders_with(tx, &orders, (0, newest_order(tx)?))?).map(drop)
}

fn forget(tx: &Transaction<'_>, mut person: Cluster, who: &Who, now: Timestamp) -> Result<Erased, LedgerError> {
    let mut done = Erased::default();
    let nameless = if let Some(first) = person.customers.iter().next() {
        super::identity::owner(tx, *first)?
    } else {
        let id = insert(tx, source_of(who), who.external_id.as_ref().map(|(_, id)| id.as_str()), now)?;
        if let Some(sought) = &mut person.sought {
            sought.stand_in = Some(id);
        }
        id
    };
    person.customers.insert(nameless);
    if let Some((source, id)) = &who.external_id
        && !is_known(tx, *source, id)?
    {
        person.customers.insert(merge_into(tx, *source, id, nameless, now)?);
    }
    for id in &person.customers {
        if unname(tx, *id, now)? {
            done.customers.push(*id);
        }
    }
    done.orders = blank_orders(tx, &person, &who.orders)?;
    let newest = newest_order(tx)?;
    if newest <= FEW_ORDERS {
        done.orders += blank(tx, &orders_with(tx, &person.emails, (0, newest))?)?;
    } else {
        done.has_more_orders = !person.emails.is_empty();
    }
    bury(tx, &person, nameless, now)?;
    done.withdrawn = outbox::withdraw(tx, &person.customers, now)?;
    let mut ids = Ids::random(now);
    for id in &done.customers {
        outbox::enqueue_one(tx, EventType::Redacted, Some(*id), now, &mut ids)?;
        done.events += 1;
    }
    done.person = person;
    Ok(done)
}

/// Whether this customer was erased.
pub(super) fn is_erased(connection: &Connection, customer: i64) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT redacted_at IS NOT NULL FROM customers WHERE id = ?1")?
        .query_row([customer], |row| row.get(0))
}

/// Whether a message speaks of somebody who was erased.
///
/// # Errors
/// Those of SQLite.
pub fn is_erased_person(connection: &Connection, person: &Person) -> rusqlite::Result<bool> {
    Ok(Tombstones::load(connection)?.of(connection, person)?.is_some())
}

/// Whether this order is of somebody who was erased.
///
/// # Errors
/// Those of SQLite.
pub fn is_erased_persons_order(connection: &Connection, source: Source, source_id: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM orders o JOIN customers c ON c.id = o.customer_id
             WHERE o.source_id = ?1 AND o.source = ?2 AND c.redacted_at IS NOT NULL",
        )?
        .exists(params![source_id, source])
}

/// Places somebody whose tombstone leads to the customer `nameless`. An id that was never seen gets a
/// row, merged into that one.
pub(super) fn place_again(
    tx: &Transaction<'_>,
    source: Source,
    key: &Key<'_>,
    nameless: i64,
    now: Timestamp,
) -> rusqlite::Result<Placed> {
    let owner = super::identity::owner(tx, nameless)?;
    let id = match key {
        Key::Guest(_) => nameless,
        Key::Id(id) => {
            let row = merge_into(tx, source, id, owner, now)?;
            unname(tx, row, now)?;
            tombstones::put(tx, Mark::Id(source, id), owner, now)?;
            row
        }
    };
    Ok(Placed { id, owner, change: Change::Unchanged, erased: true })
}

fn source_of(who: &Who) -> Source {
    let named = who.external_id.as_ref().map(|(source, _)| *source);
    named.or_else(|| who.orders.first().map(|(source, _)| *source)).unwrap_or(Source::Api)
}

fn is_known(tx: &Transaction<'_>, source: Source, external_id: &str) -> rusqlite::Result<bool> {
    tx.prepare_cached("SELECT 1 FROM customers WHERE external_id = ?1 AND source = ?2")?
        .exists(params![external_id, source])
}

/// A customer of whom nothing is known but that they were erased.
fn insert(tx: &Transaction<'_>, source: Source, external_id: Option<&str>, now: Timestamp) -> rusqlite::Result<i64> {
    tx.prepare_cached("INSERT INTO customers (source, external_id, redacted_at, created_at) VALUES (?1, ?2, ?3, ?3)")?
        .execute(params![source, external_id, now])?;
    Ok(tx.last_insert_rowid())
}

/// A row for an id that turned out to be the customer `nameless`, as if the shop had merged them.
fn merge_into(tx: &Transaction<'_>, source: Source, id: &str, nameless: i64, now: Timestamp) -> rusqlite::Result<i64> {
    let row = insert(tx, source, Some(id), now)?;
    tx.execute("UPDATE customers SET merged_into = ?2 WHERE id = ?1", [row, nameless])?;
    tx.execute(
        "INSERT INTO aliases (kind, source, key, customer_id, created_at) VALUES ('id', ?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
        params![source, id, nameless, now],
    )?;
    Ok(row)
}

/// Takes what names the customer out of the row. Whether they had not been erased before.
fn unname(tx: &Transaction<'_>, id: i64, now: Timestamp) -> rusqlite::Result<bool> {
    let blanked = tx.execute(
        "UPDATE customers SET email = NULL, email_key = NULL, first_name = NULL, last_name = NULL, phone = NULL,
           consent = NULL, tags = NULL, email_version = NULL, first_name_version = NULL, last_name_version = NULL,
           phone_version = NULL, consent_version = NULL, tags_version = NULL, redacted_at = ?2
         WHERE id = ?1 AND redacted_at IS NULL",
        params![id, now],
    )?;
    Ok(blanked > 0)
}

/// Takes e-mails out of the person's orders, out of those that the request names, and out of those of guests with
/// one of theirs. Returns how many had one.
fn blank_orders(tx: &Transaction<'_>, person: &Cluster, named: &[(Source, String)]) -> rusqlite::Result<usize> {
    let mut blanked = 0;
    let mut by_customer =
        tx.prepare("UPDATE orders SET email = NULL, email_key = NULL WHERE customer_id = ?1 AND email IS NOT NULL")?;
    for id in &person.customers {
        blanked += by_customer.execute([id])?;
    }
    let mut by_id = tx.prepare(
        "UPDATE orders SET email = NULL, email_key = NULL WHERE source_id = ?1 AND source = ?2 AND email IS NOT NULL",
    )?;
    for (source, id) in named {
        blanked += by_id.execute(params![id, source])?;
    }
    let mut of_guests = tx.prepare(
        "UPDATE orders INDEXED BY orders_guest SET email = NULL, email_key = NULL
          WHERE email_key = ?1 AND customer_ref IS NULL AND email IS NOT NULL",
    )?;
    for email in &person.emails {
        blanked += of_guests.execute([email])?;
    }
    Ok(blanked)
}

/// Orders among those with an id from `first` to `last` that were placed with one of these e-mails. No index
/// leads from an e-mail to the orders of customers with an id, so each is looked at: in a large shop while others
/// write, slice by slice.
///
/// # Errors
/// Those of SQLite.
pub fn orders_with(
    connection: &Connection,
    emails: &BTreeSet<String>,
    (first, last): (i64, i64),
) -> rusqlite::Result<Vec<i64>> {
    let emails = serde_json::to_string(emails).unwrap_or_default(); // texts: nothing here can fail
    connection
        .prepare_cached(
            "SELECT id FROM orders WHERE id >= ?1 AND id <= ?2 AND +email_key IN (SELECT value FROM json_each(?3))",
        )?
        .query_map(params![first, last, emails], |row| row.get(0))?
        .collect()
}

/// The newest order's id, 0 for none.
///
/// # Errors
/// Those of SQLite.
pub fn newest_order(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(id), 0) FROM orders", [], |row| row.get(0))
}

/// Takes the e-mails out of these orders. Returns how many had one.
///
/// # Errors
/// Those of SQLite.
pub fn blank(tx: &Transaction<'_>, orders: &[i64]) -> rusqlite::Result<usize> {
    let mut blank =
        tx.prepare_cached("UPDATE orders SET email = NULL, email_key = NULL WHERE id = ?1 AND email IS NOT NULL")?;
    orders.iter().map(|id| blank.execute([id])).sum()
}

/// Leaves tombstones in place of what the person was known by.
fn bury(tx: &Transaction<'_>, person: &Cluster, nameless: i64, now: Timestamp) -> rusqlite::Result<()> {
    for email in &person.emails {
        tombstones::put(tx, Mark::Email(email), nameless, now)?;
        tx.execute("DELETE FROM aliases WHERE kind = 'email' AND key = ?1", [email])?;
    }
    for phone in &person.phones {
        tombstones::put(tx, Mark::Phone(phone), nameless, now)?;
    }
    let mut known =
        tx.prepare("SELECT source, external_id FROM customers WHERE id = ?1 AND external_id IS NOT NULL")?;
    for id in &person.customers {
        for row in known.query_map([id], |row| Ok((row.get::<_, Source>(0)?, row.get::<_, String>(1)?)))? {
            let (source, external_id) = row?;
            tombstones::put(tx, Mark::Id(source, &external_id), *id, now)?;
        }
    }
    Ok(())
}
