//! Erased people, recognised without being known: keyed hashes of their ids, e-mails and phones.

use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use sha2::Sha256;

use crate::{
    db,
    model::{Person, Source, Timestamp, email_key, phone_key},
};

/// By what a person was known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark<'a> {
    Id(Source, &'a str),
    /// Normalised: [`email_key`].
    Email(&'a str),
    /// Normalised: [`phone_key`].
    Phone(&'a str),
}

/// The tombstones of one database.
#[derive(Debug, Clone)]
pub struct Tombstones {
    /// Keyed. `None`: nobody was ever erased, so nobody has to be recognised.
    mac: Option<Hmac<Sha256>>,
}

impl Tombstones {
    /// Of a shop in which nobody was erased this costs one look.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let any: bool =
            connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM tombstones)")?.query_row([], |row| row.get(0))?;
        let key = if any { db::private_key(connection)? } else { None };
        Ok(Self { mac: key.as_ref().map(keyed) })
    }

    /// Nobody was ever erased.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.mac.is_none()
    }

    /// Our id of the nameless customer whom this mark stood for.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn find(&self, connection: &Connection, mark: Mark<'_>) -> rusqlite::Result<Option<i64>> {
        let Some(mac) = &self.mac else { return Ok(None) };
        connection
            .prepare_cached("SELECT customer_id FROM tombstones WHERE kind = ?1 AND source = ?2 AND hash = ?3")?
            .query_row(params![mark.kind(), mark.source(), mark.hash(mac)], |row| row.get(0))
            .optional()
    }

    /// Customers who have a name although they are known as erased. There are none, but in an earlier state of the
    /// database that was given the tombstones of a later one.
    ///
    /// # Errors
    /// Those of SQLite.
    pub(super) fn named(&self, connection: &Connection) -> rusqlite::Result<BTreeSet<i64>> {
        let mut select =
            connection.prepare("SELECT id, source, external_id, email_key FROM customers WHERE redacted_at IS NULL")?;
        let mut rows = select.query([])?;
        let mut named = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let (source, external_id, email): (Source, Option<&str>, Option<&str>) =
                (row.get(1)?, row.get_ref(2)?.as_str_or_null()?, row.get_ref(3)?.as_str_or_null()?);
            // Two with an id may share an e-mail.
            let mark = external_id.map(|id| Mark::Id(source, id)).or(email.map(Mark::Email));
            if let Some(mark) = mark
                && self.find(connection, mark)?.is_some()
            {
                named.insert(row.get(0)?);
            }
        }
        Ok(named)
    }

    /// The erased customer that a message means: by id, by e-mail, and where it has no e-mail by
    /// phone. Households share a phone, so one alone proves nothing where an e-mail says otherwise.
    pub(super) fn of(&self, connection: &Connection, person: &Person) -> rusqlite::Result<Option<i64>> {
        if self.is_empty() {
            return Ok(None);
        }
        if let Some(id) = person.external_id.as_deref().filter(|id| !id.is_empty())
            && let Some(found) = self.find(connection, Mark::Id(person.source, id))?
        {
            return Ok(Some(found));
        }
        if let Some(email) = person.contact_email.as_deref().and_then(email_key)
            && let Some(found) = self.find(connection, Mark::Email(&email))?
        {
            return Ok(Some(found));
        }
        match (person.email.as_deref().and_then(email_key), person.phone.as_deref().and_then(phone_key)) {
            (Some(email), _) => self.find(connection, Mark::Email(&email)),
            (None, Some(phone)) => self.find(connection, Mark::Phone(&phone)),
            (None, None) => Ok(None),
        }
    }
}

/// Remembers that `mark` stood for the customer `customer_id`. The first erasure stays.
pub(super) fn put(tx: &Transaction<'_>, mark: Mark<'_>, customer_id: i64, at: Timestamp) -> rusqlite::Result<()> {
    let mac = keyed(&db::make_private_key(tx)?);
    put_hash(tx, (mark.kind(), mark.source(), &mark.hash(&mac)), customer_id, at).map(drop)
}

/// [`put`] of a mark by its kind, its source and what it was hashed to under the key of this database.
/// Whether it was not known yet.
pub(super) fn put_hash(
    tx: &Transaction<'_>,
    (kind, source, hash): (&str, &str, &[u8]),
    customer_id: i64,
    at: Timestamp,
) -> rusqlite::Result<bool> {
    let put = tx
        .prepare_cached(
            "INSERT INTO tombstones (kind, source, hash, customer_id, erased_at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
        )?
        .execute(params![kind, source, hash, customer_id, at])?;
    Ok(put > 0)
}

fn keyed(key: &[u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..key.len()].copy_from_slice(key);
    Hmac::new(&block.into())
}

impl Mark<'_> {
    const fn kind(self) -> &'static str {
        match self {
            Self::Id(..) => "id",
            Self::Email(_) => "email",
            Self::Phone(_) => "phone",
        }
    }

    const fn source(self) -> &'static str {
        match self {
            Self::Id(source, _) => source.as_str(),
            Self::Email(_) | Self::Phone(_) => "",
        }
    }

    /// The kind is part of what is hashed: an id and a phone of the same digits differ.
    fn hash(self, mac: &Hmac<Sha256>) -> Vec<u8> {
        let (Self::Id(_, text) | Self::Email(text) | Self::Phone(text)) = self;
        let parts = [self.kind(), "\0", self.source(), "\0", text];
        let mac = parts.iter().fold(mac.clone(), |mac, part| mac.chain_update(part.as_bytes()));
        mac.finalize().into_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn person(id: Option<&str>, email: Option<&str>, phone: Option<&str>) -> Person {
        let text = |text: Option<&str>| text.map(str::to_owned);
        Person { external_id: text(id), email: text(email), phone: text(phone), ..Person::unknown(Source::Shopify) }
    }

    #[test]
    fn the_erased_are_recognised_and_others_are_not() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(db::SCHEMA).unwrap();
        connection.execute("INSERT INTO customers (id, source, created_at) VALUES (7, 'shopify', 1)", []).unwrap();
        let tx = connection.transaction().unwrap();
        assert!(Tombstones::load(&tx).unwrap().is_empty());
        let at = Timestamp::from_millis(1);
        for mark in [Mark::Id(Source::Shopify, "7001"), Mark::Email("anna@example.com"), Mark::Phone("493012345")] {
            put(&tx, mark, 7, at).unwrap();
            put(&tx, mark, 7, at).unwrap();
        }
        let tombstones = Tombstones::load(&tx).unwrap();
        let (mail, other, phone) = (Some(" ANNA@Example.com"), Some("bert@example.com"), Some("+49 (30) 123-45"));
        for (who, erased) in [
            (person(Some("7001"), None, None), true),
            (person(Some("7001"), other, None), true),
            (person(Some("7002"), mail, None), true),
            (person(None, mail, None), true),
            (person(Some("7002"), Some(" "), phone), true),
            (person(Some("7002"), None, phone), true),
            (person(Some("7002"), other, phone), false),
            (person(Some("493012345"), None, Some("7001")), false),
            (Person { source: Source::Api, ..person(Some("7001"), None, None) }, false),
            (person(None, None, None), false),
        ] {
            assert_eq!(tombstones.of(&tx, &who).unwrap(), erased.then_some(7), "{who:?}");
        }
        let plain: i64 = tx
            .query_row(
                "SELECT count(*) FROM tombstones WHERE instr(hash, 'anna') > 0 OR length(hash) <> 32",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(plain, 0);
    }
}
