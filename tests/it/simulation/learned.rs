//! What a pull has stored. No message says so, so it is read from the database, and believed only if the
//! shop once said the same and it is news; the oracle then knows it too.

use anyhow::{Context, ensure};
use quintile::model::{Source, Timestamp};

use super::world::World;
use crate::support::orders::{Buyer, Order};

/// A stored order of the shop's.
struct Row {
    id: u64,
    updated_at: Option<i64>,
    deleted: bool,
    historical: bool,
    received_at: i64,
}

/// Where a version holds the time of what it is a version of.
const SENT_BITS: i64 = 21;

impl World {
    pub fn learn_what_was_pulled(&mut self) -> anyhow::Result<()> {
        self.learn_customers()?;
        let mut news = Vec::new();
        for row in self.stored_orders()? {
            let id = (Source::Shopify, row.id);
            let known = self.oracle.order(id);
            if row.deleted {
                if known.is_some_and(|known| !known.deleted) {
                    let really = self.store.orders.get(&id).context("an order that nobody placed")?;
                    ensure!(really.deleted, "order {} was taken for deleted, which it is not", row.id);
                    news.push((row, really.clone()));
                }
                continue;
            }
            if row.historical && !self.oracle.is_historical(id) {
                let placed_at = self.store.orders.get(&id).context("an order that nobody placed")?.placed_at;
                ensure!(
                    self.oracle.first_pull.is_some_and(|first| placed_at < first),
                    "order {} is history, though it came after the first pull",
                    row.id
                );
                self.oracle.is_history(id);
            }
            let known = self.oracle.order(id).map(|known| known.updated_at);
            if row.updated_at != known {
                ensure!(row.updated_at > known, "order {} went back from {known:?} to {:?}", row.id, row.updated_at);
                let state = row.updated_at.and_then(|at| self.store.states.get(&(id, at)));
                let state = state.with_context(|| format!("order {} never was as it is stored", row.id))?.clone();
                news.push((row, state));
            }
        }
        self.tell_the_oracle(news)
    }

    /// In the order in which a batch is applied: live ones first, as they stand in it.
    fn tell_the_oracle(&mut self, mut news: Vec<(Row, Order)>) -> anyhow::Result<()> {
        if news.is_empty() {
            return Ok(());
        }
        let mode = self.rows("SELECT mode FROM syncs ORDER BY id DESC LIMIT 1", |row| row.get::<_, String>(0))?;
        let by_id = mode == ["full"];
        news.sort_by_key(|(row, order)| (row.historical, if by_id { 0 } else { order.updated_at }, row.id));
        for (row, order) in news {
            self.note(format!("order {} pulled as of {:?}", row.id, row.updated_at));
            self.oracle.is_pulled((Source::Shopify, row.id), &order, Timestamp::from_millis(row.received_at));
        }
        Ok(())
    }

    fn learn_customers(&mut self) -> anyhow::Result<()> {
        let rows = self.rows(
            "SELECT CAST(external_id AS INTEGER), email_key, redacted_at IS NOT NULL, consent, consent_version,
                    deleted_at IS NOT NULL
               FROM customers WHERE source = 'shopify' AND external_id IS NOT NULL",
            |row| {
                Ok((
                    row.get::<_, u64>(0)?,
                    row.get::<_, Option<String>>(1)?,
                    row.get::<_, bool>(2)?,
                    row.get::<_, Option<String>>(3)?,
                    row.get::<_, Option<i64>>(4)?,
                    row.get::<_, bool>(5)?,
                ))
            },
        )?;
        for (id, email, erased, consent, version, gone) in rows {
            let customer = Buyer::Known(Source::Shopify, id);
            if gone && self.oracle.is_gone(customer) {
                ensure!(!self.store.accounts.contains_key(&id), "customer {id} was taken for deleted");
            }
            if let Some(email) = &email {
                ensure!(*email == customer.email(), "customer {id} has the e-mail {email}");
            }
            self.oracle.is_named(customer, email.is_some());
            let (Some(state), Some(version), false) = (consent, version, erased) else { continue };
            let at = version >> SENT_BITS;
            let known = self.oracle.asked_at(customer);
            if known != Some(at) {
                let said = self.store.said.iter().find(|said| **said == (id, at, state.as_str()));
                let (.., state) = said.with_context(|| format!("customer {id} never said {state} at {at}"))?;
                ensure!(Some(at) > known, "what customer {id} said at {at} is not the last of it");
                self.oracle.has_said(customer, at, state);
            }
        }
        Ok(())
    }

    fn stored_orders(&self) -> anyhow::Result<Vec<Row>> {
        self.rows(
            "SELECT CAST(source_id AS INTEGER), source_updated_at, deleted_at IS NOT NULL, historical, received_at
               FROM orders WHERE source = 'shopify'",
            |row| {
                Ok(Row {
                    id: row.get(0)?,
                    updated_at: row.get(1)?,
                    deleted: row.get(2)?,
                    historical: row.get(3)?,
                    received_at: row.get(4)?,
                })
            },
        )
    }
}
