//! The table `imports`.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::Report;
use crate::model::{Timestamp, text_enum};

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Bytes are coming in.
    Uploading,
    /// Waits for the merchant.
    Ready,
    /// It is no file that can be imported.
    Refused,
    /// A dry run is under way.
    Trying,
    Importing,
    Done,
    /// quintile or the browser stopped in the middle.
    Interrupted,
    /// Something of ours went wrong.
    Failed,
}

text_enum!(State {
    Uploading = "uploading",
    Ready = "ready",
    Refused = "refused",
    Trying = "trying",
    Importing = "importing",
    Done = "done",
    Interrupted = "interrupted",
    Failed = "failed",
});

impl State {
    /// Whether something is being done.
    #[must_use]
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Uploading | Self::Trying | Self::Importing)
    }

    /// Whether it is not over.
    #[must_use]
    pub const fn is_open(self) -> bool {
        self.is_busy() || matches!(self, Self::Ready)
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    pub id: i64,
    /// As the browser named it.
    pub file_name: String,
    pub state: State,
    /// Bytes.
    pub size: i64,
    /// What the file is, in words.
    pub format: Option<String>,
    /// Why it stands where it does; a sentence for the merchant.
    pub reason: Option<String>,
    /// What the last dry run found.
    pub foreseen: Option<Report>,
    /// What the import did.
    pub report: Option<Report>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// Whether the file is there to be tried or imported.
    pub has_file: bool,
}

const COLUMNS: &str = "id, file_name, state, size, format, reason, foreseen, report, created_at, finished_at, has_file";

fn read(row: &Row<'_>) -> rusqlite::Result<Import> {
    let report = |column| -> rusqlite::Result<Option<Report>> {
        // A report of another version is not worth a broken page.
        Ok(row.get::<_, Option<String>>(column)?.and_then(|text| serde_json::from_str(&text).ok()))
    };
    Ok(Import {
        id: row.get(0)?,
        file_name: row.get(1)?,
        state: row.get(2)?,
        size: row.get(3)?,
        format: row.get(4)?,
        reason: row.get(5)?,
        foreseen: report(6)?,
        report: report(7)?,
        created_at: row.get(8)?,
        finished_at: row.get(9)?,
        has_file: row.get(10)?,
    })
}

/// All imports, newest first. They are kept for a while only.
///
/// # Errors
/// Those of the database.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<Import>> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM imports ORDER BY id DESC"))?;
    statement.query_map([], read)?.collect()
}

/// Whether something is being done with one.
///
/// # Errors
/// Those of the database.
pub fn any_busy(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached(&format!("SELECT 1 FROM imports WHERE {BUSY}"))?.exists([])
}

/// One import.
///
/// # Errors
/// Those of the database.
pub fn find(connection: &Connection, id: i64) -> rusqlite::Result<Option<Import>> {
    connection.prepare_cached(&format!("SELECT {COLUMNS} FROM imports WHERE id = ?1"))?.query_row([id], read).optional()
}

/// Begins an upload. Those that only waited give way; returns them too.
pub(super) fn begin(tx: &Transaction<'_>, file_name: &str, now: Timestamp) -> rusqlite::Result<(i64, Vec<i64>)> {
    let replaced = ids(tx, "DELETE FROM imports WHERE state = 'ready' RETURNING id")?;
    tx.execute(
        "INSERT INTO imports (file_name, state, created_at) VALUES (?1, 'uploading', ?2)",
        params![file_name, now],
    )?;
    Ok((tx.last_insert_rowid(), replaced))
}

/// The upload is over.
pub(super) fn received(
    tx: &Transaction<'_>,
    id: i64,
    (state, reason): (State, Option<&str>),
    size: u64,
    format: Option<&str>,
) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE imports SET state = ?2, reason = ?3, size = ?4, format = ?5, has_file = ?2 = 'ready' WHERE id = ?1",
        params![id, state, reason, i64::try_from(size).unwrap_or(i64::MAX), format],
    )?;
    Ok(())
}

/// Begins a dry run or an import, if the file waits for one; else `None`. Returns its name.
pub(super) fn start(tx: &Transaction<'_>, id: i64, state: State) -> rusqlite::Result<Option<String>> {
    tx.query_row(
        "UPDATE imports SET state = ?2, reason = NULL
         WHERE id = ?1 AND has_file = 1 AND state IN ('ready', 'interrupted', 'failed') RETURNING file_name",
        params![id, state],
        |row| row.get(0),
    )
    .optional()
}

/// A dry run is over.
pub(super) fn tried(tx: &Transaction<'_>, id: i64, report: &Report) -> rusqlite::Result<()> {
    tx.execute("UPDATE imports SET state = 'ready', foreseen = ?2 WHERE id = ?1", params![id, json(report)])?;
    Ok(())
}

/// An import is over.
pub(super) fn imported(tx: &Transaction<'_>, id: i64, report: &Report, now: Timestamp) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE imports SET state = 'done', report = ?2, finished_at = ?3, has_file = 0 WHERE id = ?1",
        params![id, json(report), now],
    )?;
    Ok(())
}

/// It stopped before its end.
pub(super) fn stopped(tx: &Transaction<'_>, id: i64, state: State, reason: &str) -> rusqlite::Result<()> {
    tx.execute("UPDATE imports SET state = ?2, reason = ?3 WHERE id = ?1", params![id, state, reason])?;
    Ok(())
}

/// Forgets an import that nothing is being done with; whether there was one.
pub(super) fn delete(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<bool> {
    Ok(tx.execute(&format!("DELETE FROM imports WHERE id = ?1 AND NOT {BUSY}"), [id])? > 0)
}

/// Forgets all that were over, or have waited, since before `before`. Returns their ids.
pub(super) fn forget(tx: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<Vec<i64>> {
    tx.prepare(&format!(
        "DELETE FROM imports WHERE coalesce(finished_at, created_at) < ?1 AND NOT {BUSY} RETURNING id"
    ))?
    .query_map([before], |row| row.get(0))?
    .collect()
}

/// Something is being done.
const BUSY: &str = "state IN ('uploading', 'trying', 'importing')";

/// After a start nothing is being done any more. Returns the imports that are kept.
pub(super) fn recover(tx: &Transaction<'_>) -> rusqlite::Result<Vec<i64>> {
    tx.execute_batch(
        "UPDATE imports SET state = 'interrupted', reason = 'quintile stopped while the file came in, so nothing of it was kept. Upload it again.'
           WHERE state = 'uploading';
         UPDATE imports SET state = 'interrupted', reason = 'quintile stopped during the dry run, which stores nothing.'
           WHERE state = 'trying';
         UPDATE imports SET state = 'interrupted', reason = 'quintile stopped during the import. Go on with it: nothing is stored twice.'
           WHERE state = 'importing';",
    )?;
    ids(tx, "SELECT id FROM imports WHERE has_file = 1 OR state = 'done'")
}

fn ids(tx: &Transaction<'_>, sql: &str) -> rusqlite::Result<Vec<i64>> {
    tx.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Puts other reports in place of those of an import.
pub(super) fn rewrite_reports(
    tx: &Transaction<'_>,
    id: i64,
    foreseen: Option<&Report>,
    report: Option<&Report>,
) -> rusqlite::Result<()> {
    tx.execute(
        "UPDATE imports SET foreseen = ?2, report = ?3 WHERE id = ?1",
        params![id, foreseen.map(json), report.map(json)],
    )?;
    Ok(())
}

fn json(report: &Report) -> String {
    serde_json::to_string(report).unwrap_or_default()
}
