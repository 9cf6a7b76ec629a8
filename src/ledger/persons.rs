//! All that is one person: rows that were merged, guests, and ids that share an e-mail.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::{
    Sought,
    identity::{followers, owner},
    sought::{FEW_CUSTOMERS, with_phone},
    tombstones::{Mark, Tombstones},
};
use crate::model::{Source, email_key, phone_key};

/// Customers with one e-mail beyond which it is no person's, but a till's or the shop's own: a person
/// has an id in each of a few sources, hardly more. Then it leads from one of them to no other.
const SHARED: usize = 5;

/// Whom a request means, by whatever it says. Each part may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    /// Our id.
    pub customer_id: Option<i64>,
    /// The source's id.
    pub external_id: Option<(Source, String)>,
    pub email: Option<String>,
    /// Orders of theirs, by the source's ids. They say who it is when no id and no e-mail does.
    pub orders: Vec<(Source, String)>,
    /// Says who it is when nothing else does.
    pub phone: Option<String>,
}

/// What one person is known by. Holds personal data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Our ids, ascending.
    pub customers: BTreeSet<i64>,
    /// The sources' ids: "shopify:7001".
    pub ids: BTreeSet<String>,
    /// Normalised.
    pub emails: BTreeSet<String>,
    /// Normalised.
    pub phones: BTreeSet<String>,
    /// The sources' ids of their orders: "shopify:1001".
    pub orders: BTreeSet<String>,
    /// Who has this phone is not known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sought: Option<Sought>,
}

/// An id as a [`Cluster`] has it.
#[must_use]
pub fn sourced(source: Source, id: &str) -> String {
    format!("{source}:{id}")
}

/// Everything that belongs to the person: rows merged with theirs, the guest with their e-mail, other
/// ids with it. Erased ones are found by their tombstones. Who is unknown has no customers in it, but
/// what the request says.
///
/// # Errors
/// Those of SQLite.
pub fn find_persons(connection: &Connection, who: &Who) -> rusqlite::Result<Cluster> {
    find(connection, who, None)
}

/// What of the customer `id` tombstones know, and whoever of `known`, who were erased with them, is the same person: in
/// an earlier state of the database somebody else may have had an e-mail of theirs.
pub(super) fn find_known(connection: &Connection, id: i64, known: &BTreeSet<i64>) -> rusqlite::Result<Cluster> {
    find(connection, &Who { customer_id: Some(id), ..Who::default() }, Some(known))
}

fn find(connection: &Connection, who: &Who, known: Option<&BTreeSet<i64>>) -> rusqlite::Result<Cluster> {
    let mut search = Search { connection, tombstones: Tombstones::load(connection)?, known, found: Cluster::default() };
    search.begin(who)?;
    let mut looked = BTreeSet::new();
    while let Some(id) = search.found.customers.iter().copied().find(|id| !looked.contains(id)) {
        looked.insert(id);
        search.follow(id)?;
    }
    let orders = search.orders()?;
    search.found.orders.extend(orders);
    Ok(search.found)
}

struct Search<'a> {
    connection: &'a Connection,
    tombstones: Tombstones,
    /// Nobody else is found.
    known: Option<&'a BTreeSet<i64>>,
    found: Cluster,
}

impl Search<'_> {
    fn begin(&mut self, who: &Who) -> rusqlite::Result<()> {
        let mut start = Vec::new();
        if let Some(id) = who.customer_id {
            start.extend(self.ids("SELECT id FROM customers WHERE id = ?1", [id])?);
        }
        if let Some((source, id)) = &who.external_id {
            self.found.ids.insert(sourced(*source, id));
            start.extend(self.by_id(*source, id)?);
        }
        if let Some(email) = who.email.as_deref().and_then(email_key) {
            let same = self.by_email(&email)?;
            // Asked for by nothing else, it is meant however many have it.
            if start.is_empty() || same.len() <= SHARED {
                start.extend(same);
                self.found.emails.insert(email.into_owned());
            }
        }
        for (source, id) in &who.orders {
            self.found.orders.insert(sourced(*source, id));
            if start.is_empty() {
                let owner = "SELECT customer_id FROM orders WHERE source_id = ?1 AND source = ?2 AND customer_id > 0";
                start.extend(self.ids(owner, params![id, source])?);
            }
        }
        if let Some(phone) = who.phone.as_deref().and_then(phone_key) {
            if start.is_empty() {
                start.extend(self.by_phone(&phone)?);
            }
            self.found.phones.insert(phone);
        }
        self.found.customers.extend(start);
        Ok(())
    }

    /// Adds whoever is the same person as the customer `id`.
    fn follow(&mut self, id: i64) -> rusqlite::Result<()> {
        let root = owner(self.connection, id)?;
        self.found.customers.insert(root);
        self.found.customers.extend(followers(self.connection, id)?.into_iter().map(|node| node.id));
        let (id, email, phone): (Option<String>, Option<String>, Option<String>) = self
            .connection
            .prepare_cached("SELECT source || ':' || external_id, email_key, phone FROM customers WHERE id = ?1")?
            .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        self.found.ids.extend(id);
        if let Some(phone) = phone.as_deref().and_then(phone_key)
            && self.may_follow(Mark::Phone(&phone))?
        {
            self.found.phones.insert(phone);
        }
        if let Some(email) = email.filter(|email| !self.found.emails.contains(email))
            && self.may_follow(Mark::Email(&email))?
        {
            let mut same = self.by_email(&email)?;
            if let Some(known) = self.known {
                same.retain(|id| known.contains(id));
            }
            if same.len() <= SHARED {
                self.found.customers.extend(same);
                self.found.emails.insert(email);
            }
        }
        Ok(())
    }

    fn may_follow(&self, mark: Mark<'_>) -> rusqlite::Result<bool> {
        Ok(self.known.is_none() || self.tombstones.find(self.connection, mark)?.is_some())
    }

    fn by_id(&self, source: Source, id: &str) -> rusqlite::Result<Vec<i64>> {
        let mut found =
            self.ids("SELECT id FROM customers WHERE external_id = ?1 AND source = ?2", params![id, source])?;
        found.extend(self.tombstones.find(self.connection, Mark::Id(source, id))?);
        Ok(found)
    }

    fn by_email(&self, email: &str) -> rusqlite::Result<Vec<i64>> {
        let mut found = self.ids(
            "SELECT id FROM customers WHERE email_key = ?1 AND external_id IS NULL
              UNION ALL SELECT id FROM customers WHERE email_key = ?1 AND external_id IS NOT NULL",
            [email],
        )?;
        found.extend(self.tombstones.find(self.connection, Mark::Email(email))?);
        Ok(found)
    }

    /// Of a large shop only who was erased; the others are still to be looked for.
    fn by_phone(&mut self, phone: &str) -> rusqlite::Result<Vec<i64>> {
        let last = self.connection.query_row("SELECT coalesce(max(id), 0) FROM customers", [], |row| row.get(0))?;
        let mut found = Vec::new();
        if last <= FEW_CUSTOMERS {
            found = with_phone(self.connection, phone, (0, last))?;
        } else {
            self.found.sought = Some(Sought { phone: phone.to_owned(), last, stand_in: None });
        }
        found.extend(self.tombstones.find(self.connection, Mark::Phone(phone))?);
        Ok(found)
    }

    fn orders(&self) -> rusqlite::Result<Vec<String>> {
        let mut select =
            self.connection.prepare_cached("SELECT source || ':' || source_id FROM orders WHERE customer_id = ?1")?;
        let mut orders = Vec::new();
        for id in &self.found.customers {
            for order in select.query_map([id], |row| row.get(0))? {
                orders.push(order?);
            }
        }
        Ok(orders)
    }

    fn ids(&self, sql: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<i64>> {
        self.connection.prepare_cached(sql)?.query_map(params, |row| row.get(0))?.collect()
    }
}
