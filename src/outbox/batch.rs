//! Several events in one request: put together when they are queued, or at the first claim what was
//! queued alone; taken apart when the receiver refuses it.
//!
//! A batch is one row of `deliveries` without a customer, so it stands in no line. What is queued
//! after it waits for it, and once it was tried its destination takes nothing else until it has
//! ended. Of the ids of its events' own deliveries it has the highest; the others stay free
//! ([`take_apart`] and [`dissolve`] give them back), so each customer's line keeps its order.

use std::collections::HashSet;

use rusqlite::{Connection, Transaction, params};
use serde::Serialize;

use super::{
    Event, EventType, Fields, Ids, Shop,
    envelope::{Envelope, event_columns},
    line::{AT_ITS_TURN, Entry, Line},
    msg_id,
};
use crate::model::Timestamp;

/// A delivery of one event that is put into a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// Of its own delivery.
    pub id: i64,
    pub seq: i64,
    pub customer_id: Option<i64>,
}

/// Events of one run and type on their way into a batch of one destination.
#[derive(Debug)]
pub(super) struct Gathering<'a> {
    destination: &'a str,
    /// Events at most; 1: each goes alone.
    pub size: u32,
    kind: Option<EventType>,
    run_id: Option<i64>,
    message_id: [u8; 16],
    /// Their seq and customer, ascending.
    members: Vec<(i64, Option<i64>)>,
    /// Those customers.
    customers: HashSet<Option<i64>>,
}

impl<'a> Gathering<'a> {
    pub fn new(destination: &'a str, size: u32) -> Self {
        Self {
            destination,
            size,
            kind: None,
            run_id: None,
            message_id: [0; 16],
            members: Vec::new(),
            customers: HashSet::new(),
        }
    }

    /// Adds an event that nothing stands before in its customer's line.
    pub fn add(&mut self, tx: &Transaction<'_>, entry: &Entry<'_>, now: Timestamp) -> rusqlite::Result<()> {
        let other = (self.kind, self.run_id) != (Some(entry.kind), entry.run_id);
        let twice = self.customers.contains(&entry.customer_id);
        if other || self.members.len() >= self.size as usize || twice {
            self.flush(tx, now)?;
            (self.kind, self.run_id) = (Some(entry.kind), entry.run_id);
        }
        self.message_id = entry.message_id;
        self.members.push((entry.seq, entry.customer_id));
        self.customers.insert(entry.customer_id);
        Ok(())
    }

    /// Queues what was gathered.
    pub fn flush(&mut self, tx: &Transaction<'_>, now: Timestamp) -> rusqlite::Result<()> {
        let Some((last, customer_id)) = self.members.last().copied() else { return Ok(()) };
        // The newest id of all, so that what is queued later stands behind each of them.
        let newest: i64 =
            tx.prepare_cached("SELECT coalesce(max(id), 0) FROM deliveries")?.query_row([], |row| row.get(0))?;
        let own_ids = newest + 1..;
        let count = self.members.len();
        let leader = newest + i64::try_from(count).unwrap_or(i64::MAX);
        let alone = count == 1;
        tx.prepare_cached(
            "INSERT INTO deliveries (id, message_id, destination, seq, customer_id, run_id, state, events, due_at,
               created_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'waiting', ?7, ?8, ?9)",
        )?
        .execute(params![
            leader,
            self.message_id,
            self.destination,
            last,
            customer_id.filter(|_| alone),
            self.run_id,
            count,
            AT_ITS_TURN,
            now
        ])?;
        if !alone {
            let mut insert = tx.prepare_cached(INSERT_MEMBER)?;
            for (id, (seq, customer_id)) in own_ids.zip(&self.members) {
                insert.execute(params![leader, seq, customer_id, id])?;
            }
        }
        self.members.clear();
        self.customers.clear();
        Ok(())
    }
}

const INSERT_MEMBER: &str = "INSERT INTO batched (delivery_id, seq, customer_id, row_id) VALUES (?1, ?2, ?3, ?4)";

/// Puts `members` (two or more, ascending by id) into one delivery; returns its id.
pub(super) fn put_together(
    tx: &Transaction<'_>,
    destination: &str,
    members: &[Member],
    now: Timestamp,
) -> rusqlite::Result<i64> {
    let (leader, others) = members.split_last().map_or((0, members), |(last, others)| (last.id, others));
    let mut insert = tx.prepare_cached(INSERT_MEMBER)?;
    for member in members {
        insert.execute(params![leader, member.seq, member.customer_id, member.id])?;
    }
    let mut delete = tx.prepare_cached("DELETE FROM deliveries WHERE id = ?1")?;
    for member in others {
        delete.execute([member.id])?;
    }
    tx.prepare_cached("UPDATE deliveries SET events = ?2, customer_id = NULL WHERE id = ?1")?
        .execute(params![leader, members.len()])?;
    for member in members {
        // The next of each line is the head now; the destination itself waits for the batch.
        Line { destination: destination.to_owned(), customer_id: member.customer_id }.advance(tx, now)?;
    }
    Ok(leader)
}

/// The events of a batch, ascending by seq.
pub(super) fn events_of(connection: &Connection, delivery_id: i64) -> rusqlite::Result<Vec<Event>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            event_columns!(),
            " FROM batched b JOIN outbox o ON o.seq = b.seq LEFT JOIN customers c ON c.id = o.customer_id
          WHERE b.delivery_id = ?1 ORDER BY b.seq"
        ))?
        .query_map([delivery_id], |row| Event::from_row(row, 0))?
        .collect()
}

/// Splits a batch into two halves with new message ids, both due now; their attempts are counted
/// anew. A half of one event is that event's own delivery again, in its customer's line, and never
/// put together with others again. Returns the events of the larger half.
pub(super) fn take_apart(
    tx: &Transaction<'_>,
    delivery_id: i64,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    let members = members_of(tx, delivery_id)?;
    let (first, second) = members.split_at(members.len() / 2);
    for half in [first, second] {
        let Some(last) = half.last() else { continue };
        // The second half ends with the id that the batch has; the first gets its own back.
        if last.id != delivery_id {
            tx.prepare_cached(
                "INSERT INTO deliveries (id, message_id, destination, seq, run_id, state, attempts, last_status,
                   last_error, created_at)
                 SELECT ?2, ?3, destination, ?4, run_id, 'retrying', attempts, last_status, last_error, created_at
                   FROM deliveries WHERE id = ?1",
            )?
            .execute(params![delivery_id, last.id, ids.next(), last.seq])?;
        }
        let alone = half.len() == 1;
        tx.prepare_cached(
            "UPDATE deliveries SET events = ?2, customer_id = ?3, body = NULL, due_at = ?4, spared = attempts,
               message_id = CASE WHEN id = ?5 THEN ?6 ELSE message_id END
             WHERE id = ?1",
        )?
        .execute(params![
            last.id,
            half.len(),
            last.customer_id.filter(|_| alone),
            now,
            delivery_id,
            ids.next()
        ])?;
        if alone {
            tx.prepare_cached("DELETE FROM batched WHERE delivery_id = ?1 AND seq = ?2")?
                .execute(params![delivery_id, last.seq])?;
            enter_line(tx, last, now)?;
        } else if last.id != delivery_id {
            tx.prepare_cached("UPDATE batched SET delivery_id = ?2 WHERE delivery_id = ?1 AND row_id <= ?2")?
                .execute(params![delivery_id, last.id])?;
        }
    }
    Ok(second.len())
}

/// Gives every event of a batch its own delivery back, as if they had never been put together.
/// Returns them.
pub(super) fn dissolve(
    tx: &Transaction<'_>,
    delivery_id: i64,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<Vec<Member>> {
    let destination: String = tx
        .prepare_cached("SELECT destination FROM deliveries WHERE id = ?1")?
        .query_row([delivery_id], |row| row.get(0))?;
    let members = members_of(tx, delivery_id)?;
    for member in members.iter().filter(|member| member.id != delivery_id) {
        tx.prepare_cached(
            "INSERT INTO deliveries (id, message_id, destination, seq, customer_id, run_id, state, created_at)
             SELECT ?2, ?3, destination, ?4, ?5, run_id, 'waiting', created_at FROM deliveries WHERE id = ?1",
        )?
        .execute(params![delivery_id, member.id, ids.next(), member.seq, member.customer_id])?;
    }
    tx.prepare_cached("DELETE FROM batched WHERE delivery_id = ?1")?.execute([delivery_id])?;
    let own = members.last().and_then(|member| member.customer_id);
    // Its message id was given to other bytes.
    tx.prepare_cached(
        "UPDATE deliveries SET events = 1, customer_id = ?2, body = NULL, message_id = ?3, state = 'waiting',
           hold = NULL, due_at = NULL, attempts = 0, spared = 0, step = 0, last_status = NULL, last_error = NULL,
           claim = NULL
         WHERE id = ?1",
    )?
    .execute(params![delivery_id, own, ids.next()])?;
    tx.prepare_cached("DELETE FROM attempts WHERE delivery_id = ?1")?.execute([delivery_id])?;
    for member in &members {
        let line = Line { destination: destination.clone(), customer_id: member.customer_id };
        line.hold_back(tx, member.id)?;
        line.advance(tx, now)?;
    }
    Ok(members)
}

/// The next batches of a destination, with an id above `after`, that were never sent, or of those
/// that were the ones whose next attempt the merchant may still decide about.
pub(super) fn next_batches(
    tx: &Transaction<'_>,
    destination: &str,
    tried: bool,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Vec<i64>> {
    tx.prepare_cached(
        "SELECT id FROM deliveries INDEXED BY deliveries_batches
         WHERE destination = ?1 AND events > 1 AND finished_at IS NULL AND id > ?2 AND (attempts > 0) = ?4
           AND state <> 'sending'
         ORDER BY id LIMIT ?3",
    )?
    .query_map(params![destination, after, i64::try_from(limit).unwrap_or(i64::MAX), tried], |row| row.get(0))?
    .collect()
}

/// Whether somebody in a batch has other news of the same type in the queue of its destination, that
/// wait for no decision. Asked when the batches that were never sent are taken apart: what is left
/// are the few that were.
pub(super) fn has_rival(tx: &Transaction<'_>, delivery_id: i64) -> rusqlite::Result<bool> {
    tx.prepare_cached(
        "SELECT EXISTS (
           SELECT 1 FROM deliveries this CROSS JOIN batched mine ON mine.delivery_id = this.id
             CROSS JOIN outbox told ON told.seq = mine.seq
            WHERE this.id = ?1 AND (
              EXISTS (SELECT 1 FROM deliveries other INDEXED BY deliveries_open
                        CROSS JOIN outbox news ON news.seq = other.seq
                       WHERE other.destination = this.destination AND other.customer_id = mine.customer_id
                         AND other.finished_at IS NULL AND (other.hold IS NULL OR other.hold = 'destination')
                         AND news.type = told.type)
              OR EXISTS (SELECT 1 FROM deliveries other INDEXED BY deliveries_batches
                           CROSS JOIN batched theirs ON theirs.delivery_id = other.id
                           CROSS JOIN outbox news ON news.seq = theirs.seq
                          WHERE other.destination = this.destination AND other.events > 1
                            AND other.finished_at IS NULL AND other.id <> this.id
                            AND theirs.customer_id = mine.customer_id AND news.type = told.type)))",
    )?
    .query_row([delivery_id], |row| row.get(0))
}

fn members_of(tx: &Transaction<'_>, delivery_id: i64) -> rusqlite::Result<Vec<Member>> {
    tx.prepare_cached("SELECT row_id, seq, customer_id FROM batched WHERE delivery_id = ?1 ORDER BY row_id")?
        .query_map([delivery_id], |row| Ok(Member { id: row.get(0)?, seq: row.get(1)?, customer_id: row.get(2)? }))?
        .collect()
}

/// It stands before what was queued after it, and behind what was released before it meanwhile. While one that
/// was claimed ahead is not given back, none of the line is due.
fn enter_line(tx: &Transaction<'_>, member: &Member, now: Timestamp) -> rusqlite::Result<()> {
    let destination = tx
        .prepare_cached("SELECT destination FROM deliveries WHERE id = ?1")?
        .query_row([member.id], |row| row.get(0))?;
    let line = Line { destination, customer_id: member.customer_id };
    line.hold_back(tx, member.id)?;
    line.give_way(tx, member.id, now)
}

/// The body of a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Batch<'a> {
    pub shop: &'a Shop,
    pub fields: Fields,
    pub message_id: &'a [u8; 16],
    pub events: &'a [Event],
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    timestamp: Timestamp,
    id: String,
    count: usize,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    shop_id: &'a str,
    run_id: Option<i64>,
    events: Vec<Envelope<'a>>,
}

impl Batch<'_> {
    /// The bytes of a request.
    pub fn to_bytes(self) -> Vec<u8> {
        let Some(first) = self.events.first() else { return Vec::new() };
        let envelope = |event| Envelope { shop: self.shop, fields: self.fields, event };
        let body = Body {
            r#type: format!("{}.batch", first.kind),
            timestamp: first.at,
            id: msg_id(self.message_id),
            count: self.events.len(),
            data: Data {
                shop_id: &self.shop.id,
                run_id: first.run_id,
                events: self.events.iter().map(envelope).collect(),
            },
        };
        serde_json::to_vec(&body).unwrap_or_default() // texts, numbers and nulls: nothing here can fail
    }
}
