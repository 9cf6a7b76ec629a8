//! The record of what was sent to us and what became of it.

mod retention;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, params, types::ValueRef};
use serde_json::Value;

pub use self::retention::{Expired, KEPT_DAYS, forget};
use super::{Decided, Message, Prepared, Received, Rules, api};
use crate::model::{Source, Timestamp, text_enum};

/// A message that was stored before another copy of it came.
#[derive(Debug)]
pub(super) struct Earlier {
    pub id: i64,
    pub state: State,
    /// When it was sent, by its headers.
    pub triggered_at: Option<Timestamp>,
    pub received_at: Timestamp,
    /// Something of it was not taken, or there is another note.
    pub has_reason: bool,
}

impl Earlier {
    fn read(row: &Row<'_>, source: Source) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            state: row.get(1)?,
            triggered_at: triggered_at(source, &headers(row.get_ref(2)?.as_str()?)),
            received_at: row.get(3)?,
            has_reason: row.get_ref(4)? != ValueRef::Null,
        })
    }
}

/// Counts another copy of a message that is stored already; `None`: it is not. The sender's id
/// tells copies apart from repetitions, and never makes a copy of other bytes: a shop's signature does not
/// cover it. A message without one is known by its bytes.
pub(super) fn count_duplicate(
    tx: &Transaction<'_>,
    message: &Message,
    body_hash: &[u8; 32],
) -> rusqlite::Result<Option<Earlier>> {
    let read = |row: &Row<'_>| Earlier::read(row, message.source);
    let earlier = match &message.delivery_key {
        Some(key) => tx
            .prepare_cached(
                "SELECT id, state, headers, received_at, reason FROM inbox
                 WHERE delivery_key = ?1 AND topic = ?2 AND source = ?3 AND body_hash = ?4",
            )?
            .query_row(params![key, message.topic, message.source, body_hash], read),
        None => tx
            .prepare_cached(
                "SELECT id, state, headers, received_at, reason FROM inbox
                 WHERE body_hash = ?1 AND topic = ?2 AND source = ?3 LIMIT 1",
            )?
            .query_row(params![body_hash, message.topic, message.source], read),
    }
    .optional()?;
    if let Some(earlier) = &earlier {
        tx.prepare_cached("UPDATE inbox SET duplicates = duplicates + 1 WHERE id = ?1")?.execute([earlier.id])?;
    }
    Ok(earlier)
}

/// The first message with the bytes of another.
#[derive(Debug)]
pub(super) struct First {
    /// Its topic, where that is not the other's.
    pub other_topic: Option<String>,
    /// When it was sent, by its headers.
    pub sent: Option<Timestamp>,
    pub received_at: Timestamp,
}

/// The first message with these bytes from this source, among those with ids below `before`.
pub(super) fn first(
    tx: &Transaction<'_>,
    message: &Message,
    body_hash: &[u8; 32],
    before: i64,
) -> rusqlite::Result<Option<First>> {
    let source = message.source;
    tx.prepare_cached(
        "SELECT nullif(topic, ?3), headers, received_at FROM inbox
         WHERE body_hash = ?1 AND source = ?2 AND id < ?4 ORDER BY id LIMIT 1",
    )?
    .query_row(params![body_hash, source, message.topic, before], |row| {
        Ok(First {
            other_topic: row.get(0)?,
            sent: triggered_at(source, &headers(row.get_ref(1)?.as_str()?)),
            received_at: row.get(2)?,
        })
    })
    .optional()
}

/// Whether an earlier message keeps the bytes of one in this state. What is quarantined waits for those of its
/// own topic that wait too; of what is ignored those of any topic do, of which there is no end.
fn is_kept(tx: &Transaction<'_>, message: &Message, body_hash: &[u8; 32], state: State) -> rusqlite::Result<bool> {
    if message.source == Source::Api {
        return Ok(false); // who signs the ids sends nothing endlessly
    }
    let first: Option<State> = tx
        .prepare_cached(
            "SELECT state FROM inbox WHERE body_hash = ?1 AND source = ?2 AND (topic = ?3 OR ?4) ORDER BY id LIMIT 1",
        )?
        .query_row(params![body_hash, message.source, message.topic, state == State::Ignored], |row| row.get(0))
        .optional()?;
    Ok(first.is_some_and(|first| state != State::Quarantined || first == State::Quarantined))
}

/// Stores a message with what became of it; returns its id. Of a shop's bytes that come again under fresh ids,
/// as anybody may send them who has seen them once, no second body is kept.
pub(super) fn insert(
    tx: &Transaction<'_>,
    message: &Message,
    body_hash: &[u8; 32],
    decided: &Decided,
) -> rusqlite::Result<i64> {
    let (state, reason) = decided.state();
    let body: &[u8] =
        if is_kept(tx, message, body_hash, state)? { &[] } else { decided.stripped.as_ref().unwrap_or(&message.body) };
    tx.prepare_cached(
        "INSERT INTO inbox (source, topic, delivery_key, body_hash, headers, body, state, reason, received_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        message.source,
        message.topic,
        message.delivery_key,
        body_hash,
        message.headers.to_string(),
        body,
        state,
        reason,
        message.received_at,
    ])?;
    Ok(tx.last_insert_rowid())
}

impl Decided {
    /// `state` and `reason` of the row.
    fn state(&self) -> (State, Option<&str>) {
        let note = self.note.as_deref();
        match &self.received {
            Received::Done | Received::Duplicate => (State::Done, note),
            Received::Stale => (State::Stale, note.or(Some("a newer state was known when it came"))),
            Received::Ignored => (State::Ignored, note),
            Received::Quarantined(reason) => (State::Quarantined, Some(reason.as_str())),
        }
    }
}

text_enum!(State { Done = "done", Stale = "stale", Ignored = "ignored", Quarantined = "quarantined" });

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It changed what it was to change, or nothing was left to.
    Done,
    /// A newer state was known.
    Stale,
    /// Nothing here acts on messages like it.
    Ignored,
    /// It could not be used.
    Quarantined,
}

impl State {
    /// What may be read again.
    pub const AGAIN: &'static [Self] = &[Self::Quarantined, Self::Ignored];
}

/// Which messages are meant: those that all of the named conditions hold for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub id: Option<i64>,
    pub state: Option<State>,
    pub source: Option<Source>,
    pub topic: Option<String>,
    /// Received at or after this.
    pub since: Option<Timestamp>,
    /// Received before this.
    pub until: Option<Timestamp>,
}

/// Conditions of [`Filter::params`], behind one on the state.
const MATCHING: &str = "(?1 IS NULL OR id = ?1) AND (?2 IS NULL OR source = ?2) AND (?3 IS NULL OR topic = ?3)
    AND (?4 IS NULL OR received_at >= ?4) AND (?5 IS NULL OR received_at < ?5)";

impl Filter {
    fn params(&self) -> [&dyn ToSql; 5] {
        [&self.id, &self.source, &self.topic, &self.since, &self.until]
    }
}

/// A row of the inbox without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub id: i64,
    pub source: Source,
    pub topic: String,
    pub state: State,
    pub reason: Option<String>,
    pub duplicates: i64,
    /// Of its body; `None`: it is not kept any more.
    pub bytes: Option<i64>,
    pub received_at: Timestamp,
}

/// Messages with an id below `before`, the newest first, `limit` at most.
///
/// # Errors
/// Those of SQLite.
pub fn list(connection: &Connection, filter: &Filter, before: i64, limit: usize) -> rusqlite::Result<Vec<Stored>> {
    // In the text, not behind an OR, so that the index on the state is used.
    let state = filter.state.map_or_else(|| "TRUE".to_owned(), |state| format!("state = '{state}'"));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut params = filter.params().to_vec();
    params.extend([&before as &dyn ToSql, &limit]);
    connection
        .prepare_cached(&format!(
            "SELECT id, source, topic, state, reason, duplicates, nullif(length(body), 0), received_at
             FROM inbox WHERE {state} AND {MATCHING} AND id < ?6 ORDER BY id DESC LIMIT ?7"
        ))?
        .query_map(&params[..], |row| {
            Ok(Stored {
                id: row.get(0)?,
                source: row.get(1)?,
                topic: row.get(2)?,
                state: row.get(3)?,
                reason: row.get(4)?,
                duplicates: row.get(5)?,
                bytes: row.get(6)?,
                received_at: row.get(7)?,
            })
        })?
        .collect()
}

/// What became of messages that were read again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayed {
    pub done: u64,
    pub stale: u64,
    pub ignored: u64,
    pub quarantined: u64,
}

/// What a filter means for [`replay`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replayable {
    /// Messages that would be read again.
    pub kept: i64,
    /// Ignored ones of which there is nothing to read any more: their bodies are not kept.
    pub forgotten: i64,
}

/// How many messages [`replay`] would read again, and how many it would pass over.
///
/// # Errors
/// Those of SQLite.
pub fn count_replayable(connection: &Connection, filter: &Filter) -> rusqlite::Result<Replayable> {
    connection
        .prepare_cached(&format!(
            "SELECT count(*) FILTER (WHERE {KEPT}), count(*) FILTER (WHERE NOT {KEPT})
             FROM inbox WHERE {} AND {MATCHING}",
            replayable(filter)
        ))?
        .query_row(&filter.params()[..], |row| Ok(Replayable { kept: row.get(0)?, forgotten: row.get(1)? }))
}

/// There is something to read again. Of a quarantined message even an empty body is what was sent.
const KEPT: &str = "(state = 'quarantined' OR length(body) > 0)";

/// That of a message, be it kept by the first with its bytes and topic.
const BODY: &str = "CASE WHEN length(body) > 0 THEN body ELSE
    (SELECT body FROM inbox AS kept WHERE kept.body_hash = inbox.body_hash AND kept.topic = inbox.topic
       AND kept.source = inbox.source ORDER BY id LIMIT 1) END";

fn replayable(filter: &Filter) -> String {
    let states = State::AGAIN.iter().filter(|state| filter.state.is_none_or(|wanted| wanted == **state));
    let states: Vec<String> = states.map(|state| format!("'{state}'")).collect();
    format!("state IN ({})", states.join(", "))
}

/// Reads quarantined and ignored messages again, under the rules of today: `limit` at most, with ids
/// above `after`, the oldest first; those whose body is not kept any more are passed over. Each takes its place
/// by its version, as if it came only now, and its row says what became of it. Adds to `replayed`; returns the
/// last id, `None` when none was left.
///
/// # Errors
/// Those of the database; then the caller's transaction must not be committed.
pub fn replay(
    tx: &Transaction<'_>,
    rules: &Rules,
    filter: &Filter,
    after: i64,
    limit: usize,
    now: Timestamp,
    replayed: &mut Replayed,
) -> anyhow::Result<Option<i64>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut params = filter.params().to_vec();
    params.extend([&after as &dyn ToSql, &limit]);
    let found: Vec<(i64, Message)> = tx
        .prepare_cached(&format!(
            "SELECT id, source, topic, delivery_key, headers, {BODY}, received_at FROM inbox
             WHERE {} AND {KEPT} AND {MATCHING} AND id > ?6 ORDER BY id LIMIT ?7",
            replayable(filter)
        ))?
        .query_map(&params[..], |row| Ok((row.get(0)?, message(row)?)))?
        .collect::<Result<_, _>>()?;
    let last = found.last().map(|(id, _)| *id);
    for (id, message) in found {
        let decided = if message.source == Source::Api {
            api::Prepared::new(message, rules).decide(tx, rules, now)?.0
        } else {
            let prepared = Prepared::new(message, rules).told_late();
            let mut first = first(tx, &prepared.message, &prepared.body_hash, id)?;
            // Whoever names one message has looked at it.
            if let Some(first) = first.as_mut().filter(|_| filter.id.is_some()) {
                first.other_topic = None;
            }
            let decided = prepared.decide(tx, rules, first.as_ref(), now)?;
            prepared.follow_up(tx, id, &decided, now)?;
            decided
        };
        match update(tx, id, &decided)? {
            State::Done => replayed.done += 1,
            State::Stale => replayed.stale += 1,
            State::Ignored => replayed.ignored += 1,
            State::Quarantined => replayed.quarantined += 1,
        }
    }
    Ok(last)
}

/// Says in the row of a message what became of it now; returns that.
pub(super) fn update(tx: &Transaction<'_>, id: i64, decided: &Decided) -> rusqlite::Result<State> {
    let (state, reason) = decided.state();
    tx.prepare_cached("UPDATE inbox SET state = ?2, reason = ?3, body = coalesce(?4, body) WHERE id = ?1")?
        .execute(params![id, state, reason, decided.stripped])?;
    Ok(state)
}

/// A message as it came, from columns 1 to 6.
fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let source: Source = row.get(1)?;
    let headers = headers(row.get_ref(4)?.as_str()?);
    Ok(Message {
        source,
        topic: row.get(2)?,
        delivery_key: row.get(3)?,
        triggered_at: triggered_at(source, &headers),
        headers,
        body: row.get(5)?,
        received_at: row.get(6)?,
    })
}

fn headers(stored: &str) -> Value {
    serde_json::from_str(stored).unwrap_or_default()
}

/// When the source sent a message, by the headers that were kept of it.
fn triggered_at(source: Source, headers: &Value) -> Option<Timestamp> {
    let text = |name: &str| headers.get(name).and_then(Value::as_str);
    match source {
        Source::Shopify => {
            let told = text("x-shopify-triggered-at").or_else(|| text("shopify-triggered-at"))?;
            Timestamp::parse_rfc3339(told.trim()).ok()
        }
        Source::Api => {
            let seconds: i64 = text("webhook-timestamp")?.trim().parse().ok()?;
            Some(Timestamp::from_millis(seconds.checked_mul(1000)?))
        }
        Source::WooCommerce | Source::Csv => None,
    }
}
