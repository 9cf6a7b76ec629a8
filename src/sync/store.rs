//! What was fetched goes into the ledger, by the same functions as a webhook's; counted as it goes.

use rusqlite::{OptionalExtension, Transaction};

use super::{
    log::{self, Counts, Entry},
    queries::Kind,
};
use crate::{
    intake::bulk::{self, History, Line, Node, Outcome, Refused},
    ledger::{Change, Rules},
    model::{Order, Source, Timestamp},
};

/// Webhooks may take so long to arrive without counting as missed.
const ON_ITS_WAY: i64 = 2 * 60_000;
/// Rejections that are told of one batch; the log keeps few anyway.
const REASONS: usize = 3;

impl Entry {
    /// Orders placed before the first pull of all are history: nobody is greeted for them.
    pub(super) const fn history(&self) -> History {
        History::Before(self.first_started_at)
    }
}

/// Lines or nodes that were read, ready for a transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    nodes: Vec<Node>,
    refused: Vec<Refused>,
}

impl Batch {
    /// Reads lines. Pure.
    pub fn read(lines: &[Line], rules: &Rules, history: History) -> Self {
        let mut batch = Self::default();
        for line in lines {
            match line.node(rules, history) {
                Ok(node) => batch.nodes.push(node),
                Err(refused) => batch.refused.push(refused),
            }
        }
        batch
    }

    /// Objects of the shop in it: lines that stand for themselves.
    pub fn objects(&self) -> u64 {
        let parts = self.nodes.iter().filter(|node| matches!(node, Node::Part)).count();
        (self.nodes.len() + self.refused.len() - parts) as u64
    }

    /// Applies everything in the caller's transaction; what it did.
    ///
    /// # Errors
    /// Those of the database; the caller undoes everything.
    pub fn store(
        &self,
        tx: &Transaction<'_>,
        rules: &Rules,
        entry: &Entry,
        kind: Kind,
        now: Timestamp,
    ) -> anyhow::Result<Counts> {
        let mut counts = Counts { missed: Some(self.missed(tx, entry)?), ..Counts::default() };
        let mut rejected: Vec<String> = self
            .refused
            .iter()
            .map(|Refused { id, reason }| {
                format!("{} {}: {reason}", singular(kind), id.as_deref().unwrap_or("without id"))
            })
            .collect();
        for (node, outcome) in self.nodes.iter().zip(bulk::apply(tx, rules, &self.nodes, now)?) {
            let change = match outcome {
                Outcome::Order(applied) => applied.order,
                Outcome::Person(change) => change,
                Outcome::Part => continue,
                Outcome::Rejected(reason) => {
                    rejected.push(format!("{}: {reason}", name(node)));
                    continue;
                }
            };
            let tally = tally(&mut counts, kind);
            match change {
                Change::New => tally.new += 1,
                Change::Updated => tally.updated += 1,
                Change::Unchanged | Change::Stale => {}
            }
        }
        let tally = tally(&mut counts, kind);
        tally.read = self.objects();
        tally.rejected = rejected.len() as u64;
        for reason in rejected.iter().take(REASONS) {
            log::note(tx, entry.id, reason)?;
        }
        Ok(counts)
    }

    /// States that should have come by webhook and have not.
    fn missed(&self, tx: &Transaction<'_>, entry: &Entry) -> rusqlite::Result<u64> {
        if entry.counts.missed.is_none() {
            return Ok(0);
        }
        let mut missed = 0;
        for node in &self.nodes {
            if let Node::Order { order, .. } = node {
                missed += u64::from(is_missed(tx, order, entry)?);
            }
        }
        Ok(missed)
    }
}

fn is_missed(tx: &Transaction<'_>, order: &Order, entry: &Entry) -> rusqlite::Result<bool> {
    let Some(updated_at) = order.updated_at else { return Ok(false) };
    if entry.since.is_some_and(|since| updated_at < since) || updated_at > entry.started_at.plus_millis(-ON_ITS_WAY) {
        return Ok(false);
    }
    let known: Option<Option<Timestamp>> = tx
        .prepare_cached("SELECT source_updated_at FROM orders WHERE source_id = ?1 AND source = ?2")?
        .query_row((&order.source_id, Source::Shopify), |row| row.get(0))
        .optional()?;
    Ok(known.flatten().is_none_or(|known| known < updated_at))
}

const fn tally(counts: &mut Counts, kind: Kind) -> &mut log::Tally {
    match kind {
        Kind::Orders => &mut counts.orders,
        Kind::Customers => &mut counts.customers,
    }
}

const fn singular(kind: Kind) -> &'static str {
    match kind {
        Kind::Orders => "order",
        Kind::Customers => "customer",
    }
}

fn name(node: &Node) -> String {
    match node {
        Node::Order { order, .. } => format!("order {}", order.source_id),
        Node::Person(person) => format!("customer {}", person.external_id.as_deref().unwrap_or("without id")),
        Node::Part => "a part".to_owned(),
    }
}
