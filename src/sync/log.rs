//! The table `syncs`: what each pull did, and where one that was cut off goes on.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use crate::model::{Timestamp, text_enum};

/// Why a pull was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    Scheduled,
    /// So that a night scores what the shop knows.
    BeforeScoring,
    Manual,
}

/// How much is fetched, and by which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// By bulk operations: everything, or a gap of more than a week.
    Full,
    /// Page by page, what changed.
    Incremental,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Running,
    Done,
    Failed,
}

text_enum!(Trigger { Scheduled = "scheduled", BeforeScoring = "before_scoring", Manual = "manual" });
text_enum!(Mode { Full = "full", Incremental = "incremental" });
text_enum!(State { Running = "running", Done = "done", Failed = "failed" });

/// What is being done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    #[default]
    Orders,
    Customers,
    /// What is gone from the shop's list.
    DeletedOrders,
    DeletedCustomers,
    Finished,
}

/// Where a pull goes on. Stored in the transaction that brought it there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    pub stage: Stage,
    /// The bulk operation that runs or has ended: its global id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Its file, once that is here whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Fetched>,
    /// Pages: everything that changed before this instant is stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reached: Option<i64>,
}

/// A file of a bulk operation, and how far it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Objects that the shop says there are.
    pub expected: u64,
    /// The operation failed, and this is what it had until then.
    pub partial: bool,
    /// Lines stored, and the byte at which the next one starts.
    pub line: u64,
    pub byte: u64,
    /// Objects among these lines.
    pub objects: u64,
}

/// What a pull counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub orders: Tally,
    pub customers: Tally,
    /// States of orders that no webhook had told of; `None`: webhooks are not set up, or everything
    /// was fetched for the first time.
    pub missed: Option<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    pub read: u64,
    pub new: u64,
    pub updated: u64,
    pub rejected: u64,
    /// Gone from the shop without a word.
    pub deleted: u64,
}

/// One pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: i64,
    pub trigger: Trigger,
    pub mode: Mode,
    pub state: State,
    /// What changed from then on was asked for; `None`: everything.
    pub since: Option<Timestamp>,
    /// From here on the next pull asks, once this one is done.
    pub watermark: Timestamp,
    pub position: Option<Position>,
    pub started_at: Timestamp,
    /// When the first pull of all started.
    pub first_started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// More than 1: it was taken up again.
    pub attempts: u32,
    pub counts: Counts,
    /// Webhooks that were made in the shop.
    pub subscribed: u64,
    /// It looked for what was deleted.
    pub swept: bool,
    /// What the merchant should know, a sentence each.
    pub notes: Vec<String>,
    pub error: Option<String>,
}

/// What a pull starts with.
#[derive(Debug, Clone, Copy)]
pub struct Beginning {
    pub trigger: Trigger,
    pub mode: Mode,
    pub since: Option<Timestamp>,
    pub watermark: Timestamp,
    pub sweeps: bool,
    pub counts_missed: bool,
}

/// Notes kept of one pull; more of them say nothing new.
const NOTES: usize = 10;
const COLUMNS: &str = "id, trigger, mode, state, since, watermark, position, started_at, finished_at, attempts,
    orders_read, orders_new, orders_updated, orders_rejected, orders_deleted, orders_missed,
    customers_read, customers_new, customers_updated, customers_rejected, customers_deleted,
    subscribed, swept, remarks, error, (SELECT min(started_at) FROM syncs)";

/// Makes the row of a new pull; one that cannot be taken up again any more counts as failed.
pub(super) fn begin(tx: &Transaction<'_>, beginning: &Beginning, now: Timestamp) -> rusqlite::Result<i64> {
    tx.execute(
        "UPDATE syncs SET state = 'failed', position = NULL, finished_at = coalesce(finished_at, ?1),
           error = coalesce(error, 'it was cut off, and another one was started') WHERE state = 'running'",
        [now],
    )?;
    // Nobody comes back to these.
    tx.execute("UPDATE syncs SET position = NULL WHERE position IS NOT NULL", [])?;
    tx.execute(
        "INSERT INTO syncs (trigger, mode, state, since, watermark, started_at, swept, orders_missed)
         VALUES (?1, ?2, 'running', ?3, ?4, ?5, ?6, ?7)",
        params![
            beginning.trigger,
            beginning.mode,
            beginning.since,
            beginning.watermark,
            now,
            beginning.sweeps,
            beginning.counts_missed.then_some(0),
        ],
    )?;
    Ok(tx.last_insert_rowid())
}

/// Takes a pull up again.
pub(super) fn resume(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE syncs SET state = 'running', finished_at = NULL, error = NULL, attempts = attempts + 1 WHERE id = ?1",
        [id],
    )?;
    Ok(())
}

/// Adds what was done and says where to go on; `horizon` as in [`ask_again_from`].
pub(super) fn advance(
    tx: &Transaction<'_>,
    id: i64,
    done: &Counts,
    position: &Position,
    horizon: Timestamp,
) -> anyhow::Result<()> {
    let Counts { orders, customers, missed } = done;
    tx.prepare_cached(
        "UPDATE syncs SET position = ?2, watermark = min(watermark, ?14),
           orders_read = orders_read + ?3, orders_new = orders_new + ?4, orders_updated = orders_updated + ?5,
           orders_rejected = orders_rejected + ?6, orders_deleted = orders_deleted + ?7,
           orders_missed = orders_missed + ?8,
           customers_read = customers_read + ?9, customers_new = customers_new + ?10,
           customers_updated = customers_updated + ?11, customers_rejected = customers_rejected + ?12,
           customers_deleted = customers_deleted + ?13
         WHERE id = ?1",
    )?
    .execute(params![
        id,
        serde_json::to_string(position)?,
        orders.read,
        orders.new,
        orders.updated,
        orders.rejected,
        orders.deleted,
        missed.unwrap_or(0),
        customers.read,
        customers.new,
        customers.updated,
        customers.rejected,
        customers.deleted,
        horizon,
    ])?;
    Ok(())
}

/// The next pull asks from there on, unless from earlier.
pub(super) fn ask_again_from(tx: &Transaction<'_>, id: i64, horizon: Timestamp) -> rusqlite::Result<()> {
    tx.execute("UPDATE syncs SET watermark = min(watermark, ?2) WHERE id = ?1", params![id, horizon])?;
    Ok(())
}

/// Keeps a sentence for the merchant, once.
pub(super) fn note(tx: &Transaction<'_>, id: i64, sentence: &str) -> rusqlite::Result<()> {
    let notes: Option<String> = tx.query_row("SELECT remarks FROM syncs WHERE id = ?1", [id], |row| row.get(0))?;
    let mut notes: Vec<&str> = notes.as_deref().map(|notes| notes.lines().collect()).unwrap_or_default();
    if notes.len() >= NOTES || notes.contains(&sentence) {
        return Ok(());
    }
    notes.push(sentence);
    tx.execute("UPDATE syncs SET remarks = ?2 WHERE id = ?1", params![id, notes.join("\n")])?;
    Ok(())
}

pub(super) fn subscribed(tx: &Transaction<'_>, id: i64, made: u64) -> rusqlite::Result<()> {
    tx.execute("UPDATE syncs SET subscribed = subscribed + ?2 WHERE id = ?1", params![id, made])?;
    Ok(())
}

pub(super) fn finish(tx: &Transaction<'_>, id: i64, now: Timestamp) -> rusqlite::Result<()> {
    tx.execute("UPDATE syncs SET state = 'done', position = NULL, finished_at = ?2 WHERE id = ?1", params![id, now])?;
    Ok(())
}

pub(super) fn fail(tx: &Transaction<'_>, id: i64, error: &str, now: Timestamp) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE syncs SET state = 'failed', finished_at = ?2, error = ?3 WHERE id = ?1",
        params![id, now, error],
    )?;
    Ok(())
}

/// All pulls, the newest first.
///
/// # Errors
/// Those of SQLite.
pub fn list(connection: &Connection, limit: u32) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare(&format!("SELECT {COLUMNS} FROM syncs ORDER BY id DESC LIMIT ?1"))?;
    let entries = statement.query_map([limit], read)?;
    entries.collect()
}

/// # Errors
/// There is none with this id, or those of SQLite.
pub fn find(connection: &Connection, id: i64) -> rusqlite::Result<Entry> {
    connection.query_row(&format!("SELECT {COLUMNS} FROM syncs WHERE id = ?1"), [id], read)
}

/// The newest pull.
///
/// # Errors
/// Those of SQLite.
pub fn latest(connection: &Connection) -> rusqlite::Result<Option<Entry>> {
    connection.query_row(&format!("SELECT {COLUMNS} FROM syncs ORDER BY id DESC LIMIT 1"), [], read).optional()
}

/// What the pulls so far say about the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// From here on something may be missing; `None`: nothing was ever fetched whole.
    pub watermark: Option<Timestamp>,
    /// When what was deleted was last looked for; the first pull counts, since it found everything.
    pub swept_at: Option<Timestamp>,
    /// Failures since the last one that was done.
    pub failures: u32,
}

/// # Errors
/// Those of SQLite.
pub fn history(connection: &Connection) -> rusqlite::Result<History> {
    connection.query_row(
        // The last of each, not the latest by clocks that may have been wrong.
        "SELECT (SELECT watermark FROM syncs WHERE state = 'done' ORDER BY id DESC LIMIT 1),
           (SELECT finished_at FROM syncs WHERE state = 'done' AND (swept = 1 OR since IS NULL) ORDER BY id DESC LIMIT 1),
           coalesce(sum(attempts) FILTER (
             WHERE state = 'failed' AND id > coalesce((SELECT max(id) FROM syncs WHERE state = 'done'), 0)), 0)
         FROM syncs",
        [],
        |row| Ok(History { watermark: row.get(0)?, swept_at: row.get(1)?, failures: row.get(2)? }),
    )
}

fn read(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let position: Option<String> = row.get(6)?;
    let tally = |first: usize, deleted: usize| -> rusqlite::Result<Tally> {
        Ok(Tally {
            read: row.get(first)?,
            new: row.get(first + 1)?,
            updated: row.get(first + 2)?,
            rejected: row.get(first + 3)?,
            deleted: row.get(deleted)?,
        })
    };
    let notes: Option<String> = row.get(23)?;
    Ok(Entry {
        id: row.get(0)?,
        trigger: row.get(1)?,
        mode: row.get(2)?,
        state: row.get(3)?,
        since: row.get(4)?,
        watermark: row.get(5)?,
        // One that cannot be read was written by a later version: then it starts from the beginning.
        position: position.and_then(|position| serde_json::from_str(&position).ok()),
        started_at: row.get(7)?,
        finished_at: row.get(8)?,
        attempts: row.get(9)?,
        counts: Counts { orders: tally(10, 14)?, missed: row.get(15)?, customers: tally(16, 20)? },
        subscribed: row.get(21)?,
        swept: row.get(22)?,
        notes: notes.map(|notes| notes.lines().map(str::to_owned).collect()).unwrap_or_default(),
        error: row.get(24)?,
        first_started_at: row.get(25)?,
    })
}
