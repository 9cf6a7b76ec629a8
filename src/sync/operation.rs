//! Bulk operations: the shop runs a query over everything it has and leaves the result as a file.
//! <https://shopify.dev/docs/api/usage/bulk-operations/queries>

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, anyhow, bail};
use rusqlite::Connection;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    OVERLAP, Sync,
    answer::quote,
    api::ApiError,
    http::NotFetched,
    log::{self, Entry, Fetched, Position},
    queries::{OPERATION, OPERATIONS, RUN_BULK},
};
use crate::model::Timestamp;

/// How often the shop is asked whether an operation has ended.
const POLL: Duration = Duration::from_secs(60);
/// How often we look whether the shop has told so by itself.
const LOOK: Duration = Duration::from_secs(5);
/// Polls of one operation: a day.
const POLLS: u32 = 24 * 60;
/// Polls while another operation holds the place: four hours.
const POLLS_FOR_A_PLACE: u32 = 4 * 60;
/// Tries to fetch a file, each with a fresh address.
const DOWNLOADS: u32 = 4;

/// What the shop says of an operation. Whoever has the address of its file may read that.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    status: String,
    error_code: Option<String>,
    #[serde(default)]
    root_object_count: Value,
    #[serde(default)]
    file_size: Value,
    url: Option<String>,
    partial_data_url: Option<String>,
}

/// A file of an operation that has ended.
struct Ended {
    /// `None`: there is nothing to fetch.
    url: Option<String>,
    size: Option<u64>,
    expected: u64,
    partial: bool,
}

/// An operation that ended without a file. The next pull starts another one.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoFile(String);

impl Sync {
    /// Where the file of the operation in hand is: beside the database, for its owner's eyes alone.
    pub(super) fn file_path(&self) -> PathBuf {
        let mut name = self.database.path().as_os_str().to_owned();
        name.push(".sync.jsonl");
        name.into()
    }

    /// Runs `query`, unless the position says that it runs already, waits for its end and fetches its
    /// file; the position then says that it is here.
    pub(super) async fn fetch(&self, entry: &Entry, position: &mut Position, query: &str) -> anyhow::Result<()> {
        if position.file.is_some() && self.file_path().exists() {
            return Ok(());
        }
        position.file = None;
        let operation = match position.operation.clone() {
            Some(operation) => operation,
            None => self.start(entry, query).await?,
        };
        position.operation = Some(operation.clone());
        self.save(entry, position).await?;
        let mut result = self.wait_for_end(&operation).await?;
        for tries in 1.. {
            let Some(url) = &result.url else { break };
            match self.api.http.download(url, &self.file_path()).await {
                Ok(size) if result.size.is_none_or(|expected| expected == size) => break,
                Ok(size) if tries >= DOWNLOADS => {
                    bail!("the shop's file has {size} bytes and should have {}", result.size.unwrap_or_default())
                }
                Err(NotFetched::Here(error)) => return Err(error),
                Err(error) if tries >= DOWNLOADS => return Err(error.into()),
                Ok(_) | Err(NotFetched::Expired(_)) => {}
                Err(NotFetched::Cut(reason)) => {
                    tracing::warn!(reason, "the shop's file is fetched again");
                    self.timer.sleep(LOOK).await;
                }
            }
            // A fresh address.
            result = self.wait_for_end(&operation).await?;
        }
        if result.url.is_none() {
            // Nothing matched: an empty file, so that what follows need not know.
            std::fs::write(self.file_path(), []).context("cannot write beside the database")?;
        }
        position.file = Some(Fetched { expected: result.expected, partial: result.partial, ..Fetched::default() });
        self.save(entry, position).await
    }

    /// Starts an operation. Where ours runs already, started by a process that is gone, it is taken
    /// over, and what changed since it began is left to the next pull; where another one holds the place,
    /// it is waited for.
    async fn start(&self, entry: &Entry, query: &str) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            bulk_operation_run_query: Option<Payload>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Payload {
            bulk_operation: Option<Started>,
            user_errors: Vec<UserError>,
        }
        #[derive(Deserialize)]
        struct Started {
            id: String,
        }
        #[derive(Deserialize)]
        struct UserError {
            message: String,
            code: Option<String>,
        }
        for _ in 0..POLLS_FOR_A_PLACE {
            let answer: Answer = self.api.ask(&RUN_BULK, &json!({ "query": query }), &mut 0.0).await?;
            let payload =
                answer.bulk_operation_run_query.ok_or_else(|| anyhow!("the shop starts no bulk operation"))?;
            if let Some(started) = payload.bulk_operation {
                return Ok(started.id);
            }
            let Some(error) = payload.user_errors.first() else { bail!("the shop starts no bulk operation") };
            let full = ["OPERATION_IN_PROGRESS", "LIMIT_REACHED"].map(Some).contains(&error.code.as_deref());
            if !full && !error.message.contains("already in progress") {
                bail!("the shop refuses the bulk operation: {}", quote(&error.message));
            }
            if let Some((ours, begun)) = self.running(query).await? {
                let (id, horizon) = (entry.id, begun.plus_millis(-OVERLAP));
                self.database.writer().write(move |tx| Ok(log::ask_again_from(tx, id, horizon)?)).await?;
                return Ok(ours);
            }
            self.timer.sleep(POLL).await;
        }
        Err(ApiError::Unavailable("the shop has been running other bulk operations of this app for hours".to_owned())
            .into())
    }

    /// The operation that runs this query already, and when it began by the shop's clock.
    async fn running(&self, query: &str) -> Result<Option<(String, Timestamp)>, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            bulk_operations: Nodes,
        }
        #[derive(Deserialize)]
        struct Nodes {
            nodes: Vec<Known>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Known {
            id: String,
            status: String,
            query: String,
            created_at: String,
        }
        let answer: Answer = self.api.ask(&OPERATIONS, &json!({}), &mut 0.0).await?;
        let runs =
            |known: &Known| matches!(known.status.as_str(), "CREATED" | "RUNNING") && known.query.trim() == query;
        let mut ours = answer.bulk_operations.nodes.into_iter().filter(runs);
        Ok(ours.find_map(|known| Timestamp::parse_rfc3339(&known.created_at).ok().map(|begun| (known.id, begun))))
    }

    /// Asks every minute, and at once when the shop says that an operation has ended.
    async fn wait_for_end(&self, id: &str) -> anyhow::Result<Ended> {
        for _ in 0..POLLS {
            let seen = self.newest_message().await?;
            let operation = self.ask_for(id).await?;
            if let Some(result) = operation.result()? {
                return Ok(result);
            }
            let mut waited = Duration::ZERO;
            while waited < POLL && !self.was_told(seen).await? {
                self.timer.sleep(LOOK).await;
                waited += LOOK;
            }
        }
        bail!("the shop has worked on its bulk operation for a day; it is asked for again later")
    }

    async fn ask_for(&self, id: &str) -> anyhow::Result<Operation> {
        #[derive(Deserialize)]
        struct Answer {
            node: Option<Operation>,
        }
        let answer: Answer = self.api.ask(&OPERATION, &json!({ "id": id }), &mut 0.0).await?;
        let gone = || NoFile("the shop no longer knows its bulk operation; another one is started".to_owned());
        Ok(answer.node.ok_or_else(gone)?)
    }

    /// The id of the newest row of the inbox.
    async fn newest_message(&self) -> anyhow::Result<i64> {
        let newest = |connection: &Connection| {
            Ok(connection.query_row("SELECT coalesce(max(id), 0) FROM inbox", [], |row| row.get(0))?)
        };
        self.database.readers().read(newest).await
    }

    /// Whether a `bulk_operations/finish` came after the row `seen`. Its body has no address, so the
    /// operation is asked for anyway.
    async fn was_told(&self, seen: i64) -> anyhow::Result<bool> {
        let told = move |connection: &Connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM inbox WHERE id > ?1 AND topic = 'bulk_operations/finish')";
            Ok(connection.query_row(sql, [seen], |row| row.get(0))?)
        };
        self.database.readers().read(told).await
    }
}

impl Operation {
    /// `None`: it has not ended.
    fn result(&self) -> Result<Option<Ended>, NoFile> {
        let expected = number(&self.root_object_count).unwrap_or_default();
        let why = || self.error_code.as_deref().map(|code| format!(" ({})", quote(code))).unwrap_or_default();
        match self.status.as_str() {
            "COMPLETED" => {
                let size = number(&self.file_size).filter(|_| self.url.is_some());
                Ok(Some(Ended { url: self.url.clone(), size, expected, partial: false }))
            }
            "FAILED" if self.error_code.as_deref() == Some("ACCESS_DENIED") => Err(NoFile(
                "the app may not read everything that the bulk operation asks for; give it the scopes read_orders, read_all_orders and read_customers".to_owned(),
            )),
            "FAILED" | "CANCELED" | "EXPIRED" if self.partial_data_url.is_some() => {
                Ok(Some(Ended { url: self.partial_data_url.clone(), size: None, expected, partial: true }))
            }
            "FAILED" => Err(NoFile(format!("the shop's bulk operation failed{}; another one is started", why()))),
            "CANCELED" => Err(NoFile("somebody cancelled the bulk operation in the shop; another one is started".to_owned())),
            "EXPIRED" => Err(NoFile("the shop's bulk operation was too slow and has expired; another one is started".to_owned())),
            _ => Ok(None),
        }
    }
}

/// Large numbers come as text.
fn number(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    }
}
