//! What is still to be done for a person, slice by slice, and after a crash from where it was.

use std::path::{Path, PathBuf};

use anyhow::Context;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    answers, export,
    search::{Search, scrub},
};
use crate::{
    db::{self, Readers, Writer},
    intake::uploads,
    ledger::{self, Cluster, Erased, Who, find_persons},
    model::Timestamp,
};

/// Orders looked at before it is asked whether to stop.
const ORDERS: i64 = 100_000;
/// Customers whose phones are.
const CUSTOMERS: i64 = 100_000;

/// What [`work_off`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Worked {
    /// Messages out of which a person was taken.
    pub messages: usize,
    /// Customers who were forgotten because of their phone.
    pub customers: usize,
    /// Orders of others out of which a person's e-mail was taken.
    pub orders: usize,
    /// Files that answer requests for data.
    pub files: Vec<PathBuf>,
    /// Such files that were deleted, since the person was erased.
    pub deleted: usize,
    /// Erasures whose search came to its end.
    pub erasures: usize,
    /// Why something is still to be done, a sentence each: the next call tries it again.
    pub left: Vec<String>,
}

/// A row of `privacy_tasks`.
struct Task {
    id: i64,
    is_export: bool,
    /// Of a [`Cluster`].
    keys: String,
    position: i64,
    last: i64,
    inbox_id: Option<i64>,
    begun_at: Timestamp,
}

/// Searches a first slice of the inbox at once; notes the rest as a task. Returns how many messages
/// were scrubbed and whether there is a rest.
pub(super) fn begin_erasure(tx: &Transaction<'_>, erased: &Erased, now: Timestamp) -> rusqlite::Result<(usize, bool)> {
    let person = &erased.person;
    let last = newest(tx)?;
    let slice = Search::new(person).slice(tx, 0, last)?;
    scrub(tx, &slice.hits)?;
    let has_files = uploads::forget_in_reports(tx, &person.emails)?;
    let is_sought = person.sought.is_some();
    let goes_on =
        has_files || is_sought || erased.has_more_orders || slice.position.is_some_and(|position| position < last);
    if goes_on {
        insert(tx, "erase", person, slice.position.unwrap_or(last), last, None, now)?;
    }
    Ok((slice.hits.len(), goes_on))
}

/// Notes that somebody asked for what is known of a person, in the message `inbox_id`.
pub fn begin_export(tx: &Transaction<'_>, who: &Who, inbox_id: i64, now: Timestamp) -> rusqlite::Result<()> {
    let person = find_persons(tx, who)?;
    insert(tx, "export", &person, 0, inbox_id, Some(inbox_id), now)
}

/// The message that asked the same, by its bytes, and was or will be answered. Each request for data has an id
/// in its body: what comes again was sent again by somebody. One to forget somebody by id or e-mail asks for what is
/// done.
pub fn same_request(tx: &Transaction<'_>, topic: &str, body_hash: &[u8; 32]) -> rusqlite::Result<Option<i64>> {
    tx.prepare_cached(
        "SELECT id FROM inbox INDEXED BY inbox_body WHERE body_hash = ?1 AND topic = ?2 AND state = 'done' ORDER BY id LIMIT 1",
    )?
    .query_row(params![body_hash, topic], |row| row.get(0))
    .optional()
}

/// The id of the newest message, 0 for none.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(id), 0) FROM inbox", [], |row| row.get(0))
}

fn insert(
    tx: &Transaction<'_>,
    kind: &str,
    person: &Cluster,
    position: i64,
    last: i64,
    inbox_id: Option<i64>,
    now: Timestamp,
) -> rusqlite::Result<()> {
    tx.execute(
        "INSERT INTO privacy_tasks (kind, keys, position, last, inbox_id, begun_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![kind, keys(person), position, last, inbox_id, now],
    )?;
    Ok(())
}

fn keys(person: &Cluster) -> String {
    serde_json::to_string(person).unwrap_or_default() // texts and numbers: nothing here can fail
}

/// Does what is still to be done: searches on for erased people, also in what imports and answers to requests left
/// in `folder`, that of the database; writes the files that were asked for there; until `stop` says so. What cannot
/// be done keeps nothing waiting that can. Empty the write-ahead log after an erasure: it holds the past. Blocking, in
/// short transactions; may run in two processes at a time.
///
/// # Errors
/// The database cannot be read or written. What is left is done by the next call.
pub fn work_off(readers: &Readers, writer: &Writer, folder: &Path, stop: &dyn Fn() -> bool) -> anyhow::Result<Worked> {
    let mut worked = Worked::default();
    worked.deleted = answers::forget_erased(readers, writer, folder, &mut worked.left)?;
    let mut passed_over = 0;
    while let Some(task) = next(&*readers.get()?, passed_over)? {
        if stop() {
            break;
        }
        match work_off_one(readers, writer, folder, &task, stop, &mut worked) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) if db::tells_of_damage(&error) => return Err(error),
            Err(error) => {
                worked.left.push(format!("{error:#}"));
                passed_over = task.id;
            }
        }
    }
    if !worked.files.is_empty() || worked.customers > 0 {
        worked.deleted += answers::forget_erased(readers, writer, folder, &mut worked.left)?;
    }
    Ok(worked)
}

/// Whether it came to its end; not so when it was told to stop.
fn work_off_one(
    readers: &Readers,
    writer: &Writer,
    folder: &Path,
    task: &Task,
    stop: &dyn Fn() -> bool,
    worked: &mut Worked,
) -> anyhow::Result<bool> {
    let person =
        serde_json::from_str(&task.keys).with_context(|| format!("privacy task {} cannot be read", task.id))?;
    let &Task { id, inbox_id, .. } = task;
    if task.is_export {
        let name = answers::file_name(inbox_id.unwrap_or(id));
        let path = folder.join(&name);
        let mut reader = readers.get()?;
        let snapshot = reader.transaction()?;
        export::write(&snapshot, &ledger::find_sought(&snapshot, &person)?, task.last, &path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        drop(snapshot);
        drop(reader);
        writer.write_blocking(move |tx| {
            let note = format!(
                "{name}, beside the database, holds what is known of this customer; send it to them within 30 days"
            );
            tx.execute("UPDATE inbox SET reason = ?2 WHERE id = ?1", params![inbox_id, note])?;
            Ok(end(tx, id)?)
        })?;
        worked.files.push(path);
        return Ok(true);
    }
    // A file that cannot be rewritten keeps nothing in the database.
    let files = uploads::forget_in_files(&*readers.get()?, folder, &person.emails);
    let Some(person) = search_customers(readers, writer, task, person, stop, worked)? else { return Ok(false) };
    let Some(orders) = search_orders(readers, writer, &person, stop)? else { return Ok(false) };
    let (messages, ended) = search_on(readers, writer, task, &person, files.is_err(), stop)?;
    worked.orders += orders;
    worked.messages += messages;
    files?;
    worked.erasures += usize::from(ended);
    Ok(ended)
}

/// Forgets whoever has the phone by which somebody is sought, looking while others write; notes when that is done. One
/// that was cut off begins again. Returns the person, whose phone nobody has any more; `None`: it was told to stop.
fn search_customers(
    readers: &Readers,
    writer: &Writer,
    task: &Task,
    mut person: Cluster,
    stop: &dyn Fn() -> bool,
    worked: &mut Worked,
) -> anyhow::Result<Option<Cluster>> {
    let Some(sought) = person.sought.take() else { return Ok(Some(person)) };
    let (id, begun_at) = (task.id, task.begun_at);
    let mut first = 0;
    while first <= sought.last {
        let last = sought.last.min(first + CUSTOMERS - 1);
        let found = ledger::with_phone(&*readers.get()?, &sought.phone, (first, last))?;
        for customer in found {
            let sought = sought.clone();
            let forgotten = writer.write_blocking(move |tx| {
                let erased = ledger::erase_sought(tx, &sought, customer, begun_at)?;
                Ok(erased.map(|erased| super::search_for(tx, erased, begun_at)).transpose()?)
            })?;
            worked.customers += usize::from(forgotten.is_some());
            worked.messages += forgotten.map_or(0, |forgotten| forgotten.messages);
        }
        first = last + 1;
        if first <= sought.last && stop() {
            return Ok(None);
        }
    }
    let keys = keys(&person);
    writer.write_blocking(move |tx| {
        Ok(tx.execute("UPDATE privacy_tasks SET keys = ?2 WHERE id = ?1", params![id, keys])?)
    })?;
    Ok(Some(person))
}

/// Takes the person's e-mails out of orders of others, looking while others write. It keeps no place: one that was
/// cut off begins again, and that takes seconds. Returns how many there were; `None`: it was told to stop.
fn search_orders(
    readers: &Readers,
    writer: &Writer,
    person: &Cluster,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<Option<usize>> {
    let last = ledger::newest_order(&*readers.get()?)?;
    let (mut first, mut blanked) = (0, 0);
    while first <= last && !person.emails.is_empty() {
        let found = ledger::orders_with(&*readers.get()?, &person.emails, (first, first + ORDERS - 1))?;
        if !found.is_empty() {
            blanked += writer.write_blocking(move |tx| Ok(ledger::blank(tx, &found)?))?;
        }
        first += ORDERS;
        if first <= last && stop() {
            return Ok(None);
        }
    }
    Ok(Some(blanked))
}

/// Looks while others write, writes what it found. Returns in how many messages that was, and whether
/// it came to its end. The task ends then, unless there `is_more`.
fn search_on(
    readers: &Readers,
    writer: &Writer,
    task: &Task,
    person: &Cluster,
    is_more: bool,
    stop: &dyn Fn() -> bool,
) -> anyhow::Result<(usize, bool)> {
    let search = Search::new(person);
    let (id, last) = (task.id, task.last);
    let (mut position, mut messages) = (task.position, 0);
    loop {
        let slice = search.slice(&*readers.get()?, position, last)?;
        messages += slice.hits.len();
        let reached = slice.position;
        writer.write_blocking(move |tx| {
            scrub(tx, &slice.hits)?;
            match reached.filter(|reached| *reached < last).or_else(|| is_more.then_some(last)) {
                Some(reached) => {
                    tx.execute("UPDATE privacy_tasks SET position = max(position, ?2) WHERE id = ?1", [id, reached])?;
                }
                None => end(tx, id)?,
            }
            Ok(())
        })?;
        match reached.filter(|reached| *reached < last) {
            Some(_) if stop() => return Ok((messages, false)),
            Some(reached) => position = reached,
            None => return Ok((messages, true)),
        }
    }
}

/// The first behind the one with the id `after`.
fn next(connection: &Connection, after: i64) -> rusqlite::Result<Option<Task>> {
    connection
        .prepare_cached(
            "SELECT id, kind, keys, position, last, inbox_id, begun_at FROM privacy_tasks
              WHERE id > ?1 ORDER BY id LIMIT 1",
        )?
        .query_row([after], |row| {
            Ok(Task {
                id: row.get(0)?,
                is_export: row.get::<_, String>(1)? == "export",
                keys: row.get(2)?,
                position: row.get(3)?,
                last: row.get(4)?,
                inbox_id: row.get(5)?,
                begun_at: row.get(6)?,
            })
        })
        .optional()
}

fn end(tx: &Transaction<'_>, id: i64) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM privacy_tasks WHERE id = ?1", [id]).map(drop)
}
