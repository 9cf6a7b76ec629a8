//! Files that answer requests for data, once they are written. None is kept for long, and none of a person who was
//! erased.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use anyhow::Context;
use rusqlite::{Connection, params};
use serde_json::Value;

use super::{Traces, is_erased};
use crate::{
    db::{Readers, Writer, folder_of, remove_if_there},
    ledger::Tombstones,
    model::{Source, Timestamp},
};

/// How long a file is kept after it was made, in days: until then the merchant must have sent it.
const KEPT_DAYS: i64 = 30;

/// Of the file that answers the message `inbox_id`.
pub(super) fn file_name(inbox_id: i64) -> String {
    format!("data-request-{inbox_id}.json")
}

/// Deletes the files in `folder`, that of the database, about people who were erased since. Blocking; returns how
/// many there were. Of a file that cannot be read, nobody knows whether it is one. What is to be done by hand is
/// added to `left`, once.
///
/// # Errors
/// The database cannot be read or written, or the folder not be read.
pub(super) fn forget_erased(
    readers: &Readers,
    writer: &Writer,
    folder: &Path,
    left: &mut Vec<String>,
) -> anyhow::Result<usize> {
    if Tombstones::load(&*readers.get()?)?.is_empty() {
        return Ok(0);
    }
    let mut deleted = 0;
    let mut leave = |said| {
        if !left.contains(&said) {
            left.push(said);
        }
    };
    for (request, path) in all(folder)? {
        let file = match read(&path) {
            Ok(Some(file)) => file,
            Ok(None) => continue,
            Err(error) => {
                leave(format!("{} may be about somebody who was erased: {error}; look and delete it", path.display()));
                continue;
            }
        };
        if is_about_erased(&*readers.get()?, &file)? {
            if let Err(error) = remove_if_there(&path) {
                leave(format!("{} is about somebody who was erased: {error}; delete it", path.display()));
                continue;
            }
            note(writer, request, "the customer was erased, and with them the file that answered this")?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// `None`: another process has deleted it.
fn read(path: &Path) -> io::Result<Option<Value>> {
    match fs::read(path) {
        // An editor may have put a mark of its encoding before it.
        Ok(bytes) => Ok(Some(serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes))?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes the files beside the database that were made [`KEPT_DAYS`] before `now`, or earlier. Blocking; returns
/// how many there were.
///
/// # Errors
/// The database cannot be written, or a file not be removed.
pub fn forget_old(writer: &Writer, database: &Path, now: Timestamp) -> anyhow::Result<usize> {
    let until = now.plus_millis(-KEPT_DAYS * Timestamp::DAY);
    let mut deleted = 0;
    for (request, path) in all(folder_of(database))? {
        if made_at(&path).is_some_and(|at| at <= until) {
            let why = format!("the file that answered this was deleted {KEPT_DAYS} days after it was made");
            remove_if_there(&path).with_context(|| format!("cannot remove {}", path.display()))?;
            note(writer, request, &why)?;
            deleted += 1;
        }
    }
    Ok(deleted)
}

/// The files with the messages they answer.
fn all(folder: &Path) -> anyhow::Result<Vec<(i64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_prefix("data-request-").and_then(|rest| rest.strip_suffix(".json"));
        if let Some(request) = number.and_then(|number| number.parse().ok())
            && file_name(request) == name
        {
            found.push((request, folder.join(&*name)));
        }
    }
    Ok(found)
}

/// Whether the file tells of a customer who had a name then and has none now; of who was unknown, whether what the
/// request says is of somebody erased.
fn is_about_erased(connection: &Connection, file: &Value) -> rusqlite::Result<bool> {
    let list = |name: &str| file[name].as_array().map(Vec::as_slice).unwrap_or_default();
    // The source of a guest is the first by name of those that brought them: another one may come before it.
    let mut erased = connection.prepare_cached(
        "SELECT 1 FROM customers
          WHERE id = ?1 AND (?3 IS NULL OR (source = ?2 AND external_id = ?3)) AND redacted_at IS NOT NULL",
    )?;
    for customer in list("customers") {
        let who = ["id", "source", "externalId"].map(|name| customer[name].as_str());
        if customer["erasedAt"].is_null() && erased.exists(who)? {
            return Ok(true);
        }
    }
    let request = list("messages").iter().rfind(|message| message["topic"] == "customers/data_request");
    match request.filter(|_| list("customers").is_empty()) {
        Some(request) => {
            let traces = Traces::of("customers/data_request", &request["body"]);
            is_erased(connection, &Tombstones::load(connection)?, Source::Shopify, &traces)
        }
        None => Ok(false),
    }
}

/// `None`: nobody knows.
fn made_at(path: &Path) -> Option<Timestamp> {
    let made = fs::metadata(path).and_then(|seen| seen.modified()).ok()?;
    let since = made.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_millis(i64::try_from(since.as_millis()).ok()?))
}

/// Says in the message that a file answered `why` that is gone.
fn note(writer: &Writer, request: i64, why: &str) -> anyhow::Result<()> {
    let why = why.to_owned();
    writer.write_blocking(move |tx| {
        tx.execute(
            "UPDATE inbox SET reason = ?2 WHERE id = ?1 AND topic = 'customers/data_request'",
            params![request, why],
        )?;
        Ok(())
    })
}
