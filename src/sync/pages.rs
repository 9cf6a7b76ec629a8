//! What changed, page by page, the earliest first: a pull that is cut off goes on from what it reached.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    Sync,
    api::ApiError,
    log::{Entry, Position},
    queries::{Kind, changed_since},
    store::Batch,
};
use crate::{intake::bulk::Line, model::Timestamp};

/// Nodes per page; fewer when the shop calls that too expensive.
const FIRST: u32 = 100;
const FEWEST: u32 = 5;
/// Points that are waited for until an answer says what a page costs.
const UNKNOWN_COST: f64 = 500.0;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PageInfo {
    has_next_page: bool,
    end_cursor: Option<String>,
}

impl PageInfo {
    /// Where the next page starts, if there is one.
    pub fn next(self) -> Option<String> {
        self.end_cursor.filter(|_| self.has_next_page)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    page_info: PageInfo,
    nodes: Vec<Box<RawValue>>,
}

/// Orders or customers, whichever was asked for.
#[derive(Deserialize)]
struct Answer {
    #[serde(alias = "orders", alias = "customers")]
    page: Page,
}

impl Sync {
    /// Fetches and stores everything of `kind` that changed since the pull's window began.
    pub(super) async fn pages(&self, entry: &Entry, position: &mut Position, kind: Kind) -> anyhow::Result<()> {
        let from = position.reached.map(Timestamp::from_millis).or(entry.since);
        let filter = from.map(changed_since);
        let (mut first, mut points, mut after) = (FIRST, UNKNOWN_COST, Value::Null);
        loop {
            let variables = json!({ "first": first, "after": after, "query": filter });
            let page = match self.api.ask::<Value>(kind.page(), &variables, &mut points).await {
                Ok(data) => page_of(&data).with_context(|| format!("the shop's page of {} is odd", kind.root()))?,
                Err(ApiError::TooExpensive) if first > FEWEST => {
                    first = (first / 2).max(FEWEST);
                    points = UNKNOWN_COST;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if let Some(reached) = page.nodes.last().and_then(|node| updated_at(node.get())) {
                position.reached = Some(reached.millis());
            }
            self.store_page(entry, position, kind, &page.nodes).await?;
            match page.page_info.next() {
                Some(next) => after = next.into(),
                None => return Ok(()),
            }
        }
    }

    async fn store_page(
        &self,
        entry: &Entry,
        position: &Position,
        kind: Kind,
        nodes: &[Box<RawValue>],
    ) -> anyhow::Result<()> {
        let line = |(number, node): (u64, &RawValue)| Line { number, text: Some(node.get().as_bytes().to_vec()) };
        let lines: Vec<Line> = (1..).zip(nodes.iter().map(AsRef::as_ref)).map(line).collect();
        let batch = Batch::read(&lines, &self.rules, entry.history());
        self.store(batch, entry, kind, position).await
    }
}

fn page_of(data: &Value) -> Result<Page, serde_json::Error> {
    serde_json::from_str::<Answer>(&data.to_string()).map(|answer| answer.page)
}

/// When a node was changed.
fn updated_at(node: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Updated {
        updated_at: String,
    }
    let updated: Updated = serde_json::from_str(node).ok()?;
    Timestamp::parse_rfc3339(&updated.updated_at).ok()
}
