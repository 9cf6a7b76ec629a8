//! Finds the messages of one person among all that the shop has sent.

use std::{borrow::Cow, collections::BTreeSet};

use aho_corasick::AhoCorasick;
use rusqlite::{Connection, Transaction, params};
use serde_json::{Map, Value};

use super::{
    is_erased,
    strip::strip,
    traces::{Traces, emails_in},
};
use crate::{
    ledger::{Cluster, Mark, Tombstones},
    model::Source,
};

/// How an `@` is written in addresses of pages and in JSON, once and twice.
const AT: [&str; 4] = ["%40", "%2540", "\\u0040", "\\\\u0040"];

/// Messages of one slice.
pub const ROWS: usize = 1000;
/// Bytes of their bodies: one may be 8 MiB.
const BYTES: usize = 16 * 1024 * 1024;

/// What is looked for: cheap to compare with most messages, exact where that does not rule it out.
pub struct Search<'a> {
    person: &'a Cluster,
    /// Parts of e-mails and ids that stand in a body as they are, however it is written.
    parts: Option<AhoCorasick>,
}

/// A message that speaks of the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    pub id: i64,
    pub topic: String,
    /// What may stay of it; `None`: all.
    body: Option<Vec<u8>>,
    headers: Option<String>,
    /// What became of it is told in words that name the person.
    is_named_in_reason: bool,
}

/// Instead of a reason that named somebody who was erased.
const NAMELESS: &str = "the reason named a customer who was erased";

/// A part of the inbox that was searched.
#[derive(Debug, Default)]
pub struct Slice {
    pub hits: Vec<Hit>,
    /// Searched up to and including this id; `None`: there was nothing left.
    pub position: Option<i64>,
}

impl<'a> Search<'a> {
    pub fn new(person: &'a Cluster) -> Self {
        let ids = person.ids.iter().chain(&person.orders).filter_map(|id| id.split_once(':')).map(|(_, id)| id);
        let known = ids.chain(person.emails.iter().map(String::as_str)).filter(|known| !known.is_empty());
        let plain: Vec<&str> = known.map(plain_part).collect();
        let written =
            plain.iter().filter(|part| part.contains('@')).flat_map(|part| AT.map(|at| part.replace('@', at)));
        let parts: Vec<Cow<'_, str>> = plain.iter().copied().map(Cow::from).chain(written.map(Cow::from)).collect();
        // Fails only beyond gigabytes of what is looked for. Then, and where JSON may write all of an id in another
        // way, every message is read.
        let parts = AhoCorasick::builder().ascii_case_insensitive(true).build(parts.iter().map(AsRef::as_ref)).ok();
        Self { person, parts: parts.filter(|_| !plain.contains(&"")) }
    }

    /// Looks through the next slice of the messages after `after` and up to `last`.
    ///
    /// # Errors
    /// Those of SQLite.
    pub fn slice(&self, connection: &Connection, after: i64, last: i64) -> rusqlite::Result<Slice> {
        let whom = Whom {
            may_be_in: &|bytes| self.may_speak(bytes),
            is_meant: &|source, traces| Ok(self.is_meant(source, traces)),
            has_email: &|email| Ok(self.person.emails.contains(email)),
        };
        whom.slice(connection, after, last)
    }

    /// Whether a part of a message means the person.
    pub fn is_meant(&self, source: Source, traces: &Traces) -> bool {
        knows(&self.person.ids, source, &traces.ids)
            || knows(&self.person.orders, source, &traces.orders)
            || traces.emails.iter().any(|email| self.person.emails.contains(email))
            || traces.phones().any(|phone| self.person.phones.contains(phone))
    }

    /// Whether a part of a message is the person's own, by [whom it is about](Traces::of_owner): with the id of
    /// somebody else, one e-mail among several or a phone that two share proves nothing. Nor does an order that was
    /// somebody else's before.
    pub fn is_owner(&self, source: Source, owner: &Traces) -> bool {
        let names_nobody = owner.ids.is_empty() && owner.emails.is_empty();
        knows(&self.person.ids, source, &owner.ids)
            || self.is_email_of_all(&owner.emails)
            || names_nobody
                && (knows(&self.person.orders, source, &owner.orders)
                    || owner.phones().any(|phone| self.person.phones.contains(phone)))
    }

    /// Whether these are the person's alone, or parts of one of theirs.
    fn is_email_of_all(&self, emails: &BTreeSet<String>) -> bool {
        let with_parts: Vec<String> = self.person.emails.iter().flat_map(|email| emails_in(email)).collect();
        !emails.is_disjoint(&self.person.emails) && emails.iter().all(|email| with_parts.contains(email))
    }

    fn may_speak(&self, bytes: &[u8]) -> bool {
        self.parts.as_ref().is_none_or(|parts| parts.is_match(bytes))
            || self.person.phones.iter().any(|phone| has_digits(bytes, phone.as_bytes()))
    }
}

/// Looks through the next slice for all who were erased, by their tombstones.
///
/// # Errors
/// Those of SQLite.
pub fn erased(connection: &Connection, tombstones: &Tombstones, after: i64, last: i64) -> rusqlite::Result<Slice> {
    let whom = Whom {
        may_be_in: &|_| true,
        is_meant: &|source, traces| is_erased(connection, tombstones, source, traces),
        has_email: &|email| Ok(tombstones.find(connection, Mark::Email(email))?.is_some()),
    };
    whom.slice(connection, after, last)
}

/// By what a message is known to speak of somebody who is looked for.
struct Whom<'a> {
    /// Cheap: not so, and a body or a text need not be read.
    may_be_in: &'a dyn Fn(&[u8]) -> bool,
    is_meant: &'a dyn Fn(Source, &Traces) -> rusqlite::Result<bool>,
    has_email: &'a dyn Fn(&str) -> rusqlite::Result<bool>,
}

impl Whom<'_> {
    fn slice(&self, connection: &Connection, after: i64, last: i64) -> rusqlite::Result<Slice> {
        let mut select = connection.prepare_cached(
            "SELECT id, source, topic, headers, body, reason FROM inbox WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
        )?;
        let mut rows = select.query(params![after, last, i64::try_from(ROWS).unwrap_or(i64::MAX)])?;
        let (mut slice, mut bytes) = (Slice::default(), 0);
        while let Some(row) = rows.next()? {
            let id = row.get(0)?;
            slice.position = Some(id);
            let (headers, body) = (row.get_ref(3)?.as_str()?, row.get_ref(4)?.as_blob()?);
            let reason = row.get_ref(5)?.as_str_or_null()?.unwrap_or_default();
            bytes += body.len();
            if [body, headers.as_bytes(), reason.as_bytes()].into_iter().any(self.may_be_in) {
                let (source, topic): (Source, String) = (row.get(1)?, row.get(2)?);
                let body = strip(&topic, body, &mut |traces| (self.is_meant)(source, traces))?;
                let headers = self.without_headers(headers)?;
                let is_named_in_reason = self.names(reason)?;
                if body.is_some() || headers.is_some() || is_named_in_reason {
                    slice.hits.push(Hit { id, topic, body, headers, is_named_in_reason });
                }
            }
            if bytes >= BYTES {
                break;
            }
        }
        Ok(slice)
    }

    /// Whether an e-mail of theirs stands in the text.
    fn names(&self, text: &str) -> rusqlite::Result<bool> {
        for email in emails_in(text) {
            if (self.has_email)(&email)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The headers but those that name them; `None`: none does.
    fn without_headers(&self, headers: &str) -> rusqlite::Result<Option<String>> {
        let Ok(Value::Object(members)) = serde_json::from_str::<Value>(headers) else { return Ok(None) };
        let (count, mut kept) = (members.len(), Map::new());
        for (name, value) in members {
            if !self.names(value.as_str().unwrap_or_default())? {
                kept.insert(name, value);
            }
        }
        Ok((kept.len() < count).then(|| Value::Object(kept).to_string()))
    }
}

/// Takes the person out of the messages that were found.
///
/// # Errors
/// Those of SQLite; then the caller's transaction must not be committed.
pub fn scrub(tx: &Transaction<'_>, hits: &[Hit]) -> rusqlite::Result<()> {
    let mut update = tx.prepare_cached(
        "UPDATE inbox SET body = coalesce(?2, body), headers = coalesce(?3, headers), reason = coalesce(?4, reason)
         WHERE id = ?1",
    )?;
    for hit in hits {
        update.execute(params![hit.id, hit.body, hit.headers, hit.is_named_in_reason.then_some(NAMELESS)])?;
    }
    Ok(())
}

/// Whether one of the ids that are told, without their source, is among those known with it.
fn knows(known: &BTreeSet<String>, source: Source, told: &BTreeSet<String>) -> bool {
    told.iter().any(|id| known.contains(&crate::ledger::sourced(source, id)))
}

/// The longest part of an e-mail or id that JSON never writes in another way.
fn plain_part(known: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@.-_".contains(c);
    known.split(|c| !plain(c)).max_by_key(|part| part.len()).unwrap_or_default()
}

/// Whether these digits stand in a text of a JSON body one after the other, whatever is between them:
/// [`phone_key`](crate::model::phone_key) looks at nothing else.
fn has_digits(bytes: &[u8], digits: &[u8]) -> bool {
    let mut held: Vec<u8> = Vec::with_capacity(2 * digits.len());
    let mut place = 0;
    while let Some(byte) = bytes.get(place) {
        place += 1;
        match byte {
            b'0'..=b'9' => {
                held.push(*byte);
                if held.ends_with(digits) {
                    return true;
                }
                if held.len() == 2 * digits.len() {
                    held.drain(..digits.len());
                }
            }
            b'"' => held.clear(),
            // What is escaped, such as \u00a0, has no digits.
            b'\\' => place += if bytes.get(place) == Some(&b'u') { 5 } else { 1 },
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_are_found_however_they_are_written() {
        for (text, found) in [
            ("\"phone\":\"+49 (30) 123-456\"", true),
            ("4930123456", true),
            ("004930123456789", true),
            ("49 30 12345, 6", true),
            ("\"+49\u{a0}30\u{a0}123456\"", true),
            (r#""+49\u00a030\u2013123\/456""#, true),
            (r#""493012345","6""#, false),
            (r#""+49 30 12345\u00e6""#, false),
            ("\\", false),
            ("", false),
        ] {
            assert_eq!(has_digits(text.as_bytes(), b"4930123456"), found, "{text}");
        }
        let long = format!("{}4930123456", "7".repeat(1000));
        assert!(has_digits(long.as_bytes(), b"4930123456"));
    }

    #[test]
    fn an_email_is_looked_for_by_what_is_never_escaped() {
        assert_eq!(plain_part("anna@example.com"), "anna@example.com");
        assert_eq!(plain_part("anna+shop@example.com"), "shop@example.com");
        assert_eq!(plain_part("jürgen@example.com"), "rgen@example.com");
        let hidden = Cluster { ids: std::iter::once("api:ü".to_owned()).collect(), ..Cluster::default() };
        assert!(Search::new(&hidden).may_speak(br#"{"id":"\u00fc"}"#));
        assert!(!Search::new(&Cluster::default()).may_speak(b"{}"));
    }

    #[test]
    fn a_message_is_found_by_any_of_what_the_person_is_known_by() {
        let set = |text: &str| std::iter::once(text.to_owned()).collect();
        let person = Cluster {
            customers: std::iter::once(1).collect(),
            ids: set("shopify:7001"),
            emails: set("jürgen@example.com"),
            phones: set("4930123456"),
            orders: set("shopify:1001"),
            sought: None,
        };
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(crate::db::SCHEMA).unwrap();
        let bodies = [
            ("shopify", "orders/create", r#"{"id":1,"email":"J\u00fcrgen@example.com"}"#, true),
            ("shopify", "customers/update", r#"{"id":7001,"first_name":"J"}"#, true),
            ("shopify", "customers/update", r#"{"id":7002,"phone":"+49 30 123456","first_name":"J"}"#, true),
            ("shopify", "customers/update", r#"{"id":7002,"email":"b@x.example","phone":"+49 30 123456"}"#, false),
            ("shopify", "orders/updated", r#"{"id":1001,"shipping_address":{"name":"J"}}"#, true),
            ("shopify", "orders/updated", r#"{"id":7001,"shipping_address":{"name":"B"}}"#, false),
            ("api", "orders", r#"{"id":"1001","customer":{"id":"7001","firstName":"B"}}"#, false),
            ("shopify", "checkouts/create", r#"{"id":3,"note":"write to jürgen@example.com"}"#, true),
            ("shopify", "orders/create", "{\"email\":\"jürgen@example.com\"", true),
            ("shopify", "orders/delete", r#"{"id":1002}"#, false),
            ("shopify", "orders/create", r#"{"id":4,"landing_site":"/?email=J%C3%BCrgen%40Example.com&utm=1"}"#, true),
            ("shopify", "orders/create", r#"{"id":5,"note":"{\"email\":\"j\\u00fcrgen\\u0040example.com\"}"}"#, true),
            ("shopify", "orders/create", r#"{"id":6,"referring_site":"/?email=jürgen@example.org"}"#, false),
        ];
        for (source, topic, body, _) in bodies {
            connection
                .execute(
                    "INSERT INTO inbox (source, topic, body_hash, headers, body, state, received_at)
                     VALUES (?1, ?2, x'', '{}', ?3, 'done', 1)",
                    params![source, topic, body.as_bytes()],
                )
                .unwrap();
        }
        let headers = r#"{"user-agent":"shop","x-shopify-note":"jürgen@example.com"}"#;
        connection
            .execute(
                "INSERT INTO inbox (source, topic, body_hash, headers, body, state, received_at)
                 VALUES ('shopify', 'x', x'', ?1, x'7b7d', 'done', 1)",
                [headers],
            )
            .unwrap();
        connection
            .execute(
                "INSERT INTO inbox (source, topic, body_hash, headers, body, state, reason, received_at)
                 VALUES ('api', 'orders', x'', '{}', x'', 'done', 'order 1: \"Jürgen@example.com\" is not a time', 1)",
                [],
            )
            .unwrap();
        let found = Search::new(&person).slice(&connection, 0, 100).unwrap();
        let hits: Vec<i64> = found.hits.iter().map(|hit| hit.id).collect();
        let expected: Vec<i64> =
            (1..).zip(bodies).filter(|(_, (.., found))| *found).map(|(id, _)| id).chain([14, 15]).collect();
        assert_eq!((hits, found.position), (expected, Some(15)));
        let [.., by_headers, by_reason] = &found.hits[..] else { panic!("{found:?}") };
        assert_eq!(by_headers.headers.as_deref(), Some(r#"{"user-agent":"shop"}"#));
        assert!(by_reason.is_named_in_reason && !by_headers.is_named_in_reason);
        assert_eq!(Search::new(&person).slice(&connection, 15, 100).unwrap().position, None);
    }
}
