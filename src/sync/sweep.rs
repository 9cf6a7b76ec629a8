//! Once a week: what the shop no longer has, and no webhook told of.
//!
//! An order that is not in the shop's list need not be deleted: without the scope `read_all_orders`
//! the list goes back 60 days, and an app that lost a permission is shown none at all. So only what
//! was created since the oldest in the list is looked at, each missing one is asked for by its id,
//! and an improbable number of them is refused.

use std::fmt::Write as _;

use anyhow::{Context, bail};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Sync,
    log::{self, Counts, Entry, Position},
    queries::{EXISTING, Kind},
};
use crate::{
    bug::NoResult,
    intake::bulk::{Lines, kind_and_number},
    ledger,
    model::{Source, Timestamp},
};

/// Ids that are asked for at once; the shop takes no more.
const AT_ONCE: usize = 250;
/// So many may always be gone; beyond that no more than this share.
const ALWAYS: usize = 100;
const AT_MOST_PERCENT: usize = 10;
/// Characters of an id's number that fit an integer.
const LONGEST_NUMBER: usize = 19;

/// What the shop lists.
#[derive(Debug, Default, PartialEq, Eq)]
struct Listed {
    /// Ascending.
    ids: Vec<u64>,
    oldest: Option<Timestamp>,
    /// Lines that name something.
    count: u64,
}

impl Sync {
    /// Marks what is gone from the shop as deleted.
    pub(super) async fn sweep(&self, entry: &Entry, position: &mut Position, kind: Kind) -> anyhow::Result<()> {
        self.fetch(entry, position, &kind.ids_in_bulk()).await?;
        let path = self.file_path();
        let listed = tokio::task::spawn_blocking(move || -> anyhow::Result<Listed> {
            Listed::read(Lines::resume(&path, 0, 0).context("cannot read the shop's list")?, kind)
        })
        .await
        .map_err(NoResult::from)
        .context("reading was interrupted")??;
        let file = position.file.take().unwrap_or_default();
        position.operation = None;
        let _ = std::fs::remove_file(self.file_path()); // one that stays is written over
        self.save(entry, position).await?;
        if file.partial || listed.count != file.expected {
            bail!(
                "the shop's list of {} has {} of {}; nothing was taken for deleted, and the list is asked for again",
                kind.root(),
                listed.count,
                file.expected
            );
        }
        let Some(missing) = self.missing(listed, entry, kind).await? else { return Ok(()) };
        for ids in missing.chunks(AT_ONCE) {
            let gone = self.gone(kind, ids).await?;
            self.delete(entry, position, kind, gone).await?;
        }
        Ok(())
    }

    /// What is known here and not listed there. `None`: so much that it is not believed, which is noted.
    async fn missing(&self, listed: Listed, entry: &Entry, kind: Kind) -> anyhow::Result<Option<Vec<String>>> {
        let Some(oldest) = listed.oldest else {
            self.note(entry, format!("the shop lists no {}, so none was taken for deleted", kind.root())).await?;
            return Ok(None);
        };
        let known = self.database.readers().read(move |connection| Ok(known(connection, kind, oldest)?)).await?;
        let all = known.len();
        let missing: Vec<String> = known.into_iter().filter(|id| !listed.has(id)).collect();
        if missing.len() > ALWAYS.max(all * AT_MOST_PERCENT / 100) {
            let kind = kind.root();
            let told = format!(
                "the shop no longer lists {} of {all} {kind}, which looks like a missing permission; none was taken for deleted",
                missing.len()
            );
            self.note(entry, told).await?;
            return Ok(None);
        }
        Ok(Some(missing))
    }

    /// Which of `ids` the shop does not have.
    async fn gone(&self, kind: Kind, ids: &[String]) -> anyhow::Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Answer {
            nodes: Vec<Option<Value>>,
        }
        let global = |id: &String| format!("gid://shopify/{}/{id}", kind.type_name());
        let global: Vec<String> = ids.iter().map(global).collect();
        let answer: Answer = self.api.ask(&EXISTING, &json!({ "ids": global }), &mut 0.0).await?;
        if answer.nodes.len() != ids.len() {
            bail!("the shop was asked for {} {} and answered for {}", ids.len(), kind.root(), answer.nodes.len());
        }
        let gone = ids.iter().zip(answer.nodes).filter(|(_, node)| node.is_none());
        Ok(gone.map(|(id, _)| id.clone()).collect())
    }

    async fn delete(&self, entry: &Entry, position: &Position, kind: Kind, ids: Vec<String>) -> anyhow::Result<()> {
        let (rules, now, at) = (self.rules.clone(), self.clock.now(), entry.started_at);
        let (id, position, counts_missed) = (entry.id, position.clone(), entry.counts.missed.is_some());
        let horizon = self.horizon();
        self.database
            .writer()
            .write(move |tx| {
                let mut counts = Counts::default();
                for gone in &ids {
                    match kind {
                        Kind::Orders => {
                            ledger::delete_order(tx, &rules, Source::Shopify, gone, at, now)?;
                            counts.orders.deleted += 1;
                        }
                        Kind::Customers => {
                            ledger::delete_customer(tx, &rules, Source::Shopify, gone, at)?;
                            counts.customers.deleted += 1;
                        }
                    }
                }
                counts.missed = counts_missed.then_some(counts.orders.deleted);
                log::advance(tx, id, &counts, &position, horizon)
            })
            .await
    }
}

impl Listed {
    fn read(mut lines: Lines<impl std::io::BufRead>, kind: Kind) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Item {
            id: String,
            created_at: String,
        }
        let mut listed = Self::default();
        while let Some(line) = lines.read().context("cannot read the shop's list")? {
            let item: Option<Item> = line.text.as_deref().and_then(|text| serde_json::from_slice(text).ok());
            let number = item.as_ref().and_then(|item| match kind_and_number(&item.id) {
                Some((name, number)) if name == kind.type_name() => number.parse().ok(),
                _ => None,
            });
            let created_at = item.as_ref().and_then(|item| Timestamp::parse_rfc3339(&item.created_at).ok());
            let (Some(number), Some(created_at)) = (number, created_at) else {
                let mut told = String::new();
                let _ = write!(told, "line {} of the shop's list is no {}", line.number, kind.type_name());
                bail!(told)
            };
            listed.ids.push(number);
            listed.oldest = Some(listed.oldest.map_or(created_at, |oldest| oldest.min(created_at)));
            listed.count += 1;
        }
        listed.ids.sort_unstable();
        Ok(listed)
    }

    fn has(&self, id: &str) -> bool {
        // A number that does not fit is nobody's to delete.
        id.len() > LONGEST_NUMBER || id.parse().is_ok_and(|number: u64| self.ids.binary_search(&number).is_ok())
    }
}

/// Shopify ids that are not deleted and were created since. What came in after the list was made is
/// among them; the shop is asked for it.
fn known(connection: &Connection, kind: Kind, from: Timestamp) -> rusqlite::Result<Vec<String>> {
    let sql = match kind {
        Kind::Orders => {
            "SELECT source_id FROM orders
             WHERE source = ?1 AND deleted_at IS NULL AND created_at >= ?2 AND source_updated_at IS NOT NULL"
        }
        // When one was created in the shop is not stored; the list of customers is always whole.
        Kind::Customers => {
            "SELECT external_id FROM customers
             WHERE source = ?1 AND deleted_at IS NULL AND merged_into IS NULL AND redacted_at IS NULL
               AND external_id IS NOT NULL AND ?2 = ?2"
        }
    };
    let mut statement = connection.prepare(sql)?;
    let ids = statement.query_map((Source::Shopify, from), |row| row.get(0))?;
    ids.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str, kind: Kind) -> anyhow::Result<Listed> {
        Listed::read(Lines::new(text.as_bytes()), kind)
    }

    #[test]
    fn a_list_is_read_whole_or_not_at_all() {
        let line = |kind: &str, id: u64, day: u8| {
            format!("{{\"id\":\"gid://shopify/{kind}/{id}\",\"createdAt\":\"2026-11-{day:02}T00:00:00Z\"}}\n")
        };
        let text = [line("Order", 9, 3), line("Order", 7, 2), line("Order", 8, 4)].concat();
        let list = listed(&text, Kind::Orders).unwrap();
        assert_eq!((list.ids.as_slice(), list.count), (&[7, 8, 9][..], 3));
        assert_eq!(list.oldest.unwrap().to_string(), "2026-11-02T00:00:00Z");
        assert!(list.has("8") && !list.has("6") && list.has(&"9".repeat(30)));
        assert!(listed(&text, Kind::Customers).unwrap_err().to_string().starts_with("line 1"));
        assert!(listed("{\"id\":\"gid", Kind::Orders).is_err());
        assert_eq!(listed("", Kind::Orders).unwrap(), Listed::default());
    }
}
