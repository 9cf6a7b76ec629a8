//! Handing out what is due. A claim is committed before its request is sent: what was tried is
//! known after any crash, and a database that cannot be written stops the sending.

use std::sync::Arc;

use rusqlite::{Transaction, params};

use super::{Envelope, Event, EventType, Route, Shop, envelope::event_columns};
use crate::model::Timestamp;

/// Who claims, for whom, and how much.
#[derive(Debug, Clone)]
pub struct Claims {
    /// Names this start of the program; claims of another one are dead.
    pub boot: Arc<str>,
    /// The first number of the claims made here; each number is used once per boot.
    pub number: u64,
    pub shop: Shop,
    pub routes: Arc<[Route]>,
    /// How many more deliveries each of `routes` can take, in the same order.
    pub places: Vec<usize>,
    /// Which of `routes` is asked first: with more due than `limit`, each gets its turn.
    pub start: usize,
    /// Deliveries at most.
    pub limit: usize,
    pub now: Timestamp,
    /// No delivery is due later than this: a clock that was wrong for a while must not put it off
    /// for years.
    pub latest: Timestamp,
}

/// What was handed out.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    pub claims: Vec<Claim>,
    /// When the next delivery is due at a destination that has places left.
    pub next_due: Option<Timestamp>,
}

/// The right to send one delivery once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub delivery_id: i64,
    /// Index in [`Claims::routes`].
    pub route: usize,
    /// `boot id : number`
    pub token: String,
    pub message_id: [u8; 16],
    pub kind: EventType,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Attempts that count against the limit, this one included.
    pub counted: u32,
    /// The same bytes at every attempt.
    pub body: Vec<u8>,
}

/// Claims what is due, oldest first, counts the attempt, and freezes the body of what is sent for
/// the first time. Deliveries of destinations that are not in `routes` stay where they are.
///
/// # Errors
/// Those of SQLite; nothing may be sent then.
pub fn claim(tx: &Transaction<'_>, claims: &Claims) -> rusqlite::Result<Claimed> {
    let mut claimed = Claimed::default();
    let count = claims.routes.len();
    for index in (0..count).map(|offset| (claims.start + offset) % count) {
        let route = &claims.routes[index];
        let places = claims.places[index];
        if places == 0 {
            continue;
        }
        clamp(tx, &route.name, claims.latest)?;
        let limit = places.min(claims.limit - claimed.claims.len());
        let due = due(tx, &route.name, claims.now, limit)?;
        let places_left = due.len() < places;
        for due in due {
            let number = claims.number + claimed.claims.len() as u64;
            claimed.claims.push(take(tx, claims, index, due, format!("{}:{number}", claims.boot))?);
        }
        if places_left {
            claimed.next_due = [claimed.next_due, next_due(tx, &route.name)?].into_iter().flatten().min();
        }
    }
    Ok(claimed)
}

struct Due {
    id: i64,
    message_id: [u8; 16],
    attempts: u32,
    spared: u32,
    body: Option<Vec<u8>>,
    event: Event,
}

fn due(tx: &Transaction<'_>, destination: &str, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<Due>> {
    const OWN_COLUMNS: usize = 5;
    if limit == 0 {
        return Ok(Vec::new());
    }
    let mut select = tx.prepare_cached(concat!(
        "SELECT d.id, d.message_id, d.attempts, d.spared, d.body, ",
        event_columns!(),
        " FROM deliveries d JOIN outbox o ON o.seq = d.seq LEFT JOIN customers c ON c.id = o.customer_id
          WHERE d.destination = ?1 AND d.due_at <= ?2 ORDER BY d.due_at, d.id LIMIT ?3"
    ))?;
    let rows = select.query_map(params![destination, now, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok(Due {
            id: row.get(0)?,
            message_id: row.get(1)?,
            attempts: row.get(2)?,
            spared: row.get(3)?,
            body: row.get(4)?,
            event: Event::from_row(row, OWN_COLUMNS)?,
        })
    })?;
    rows.collect()
}

fn take(tx: &Transaction<'_>, claims: &Claims, index: usize, due: Due, token: String) -> rusqlite::Result<Claim> {
    let attempt = due.attempts + 1;
    let fields = claims.routes[index].fields;
    let fresh = due.body.is_none().then(|| Envelope { shop: &claims.shop, fields, event: &due.event }.to_bytes());
    tx.prepare_cached(
        "UPDATE deliveries SET state = 'sending', claim = ?2, attempts = ?3, due_at = NULL, body = coalesce(body, ?4)
         WHERE id = ?1",
    )?
    .execute(params![due.id, token, attempt, fresh])?;
    tx.prepare_cached("INSERT INTO attempts (delivery_id, number, started_at) VALUES (?1, ?2, ?3)")?
        .execute(params![due.id, attempt, claims.now])?;
    Ok(Claim {
        delivery_id: due.id,
        route: index,
        token,
        message_id: due.message_id,
        kind: due.event.kind,
        attempt,
        counted: attempt - due.spared,
        body: due.body.or(fresh).unwrap_or_default(),
    })
}

fn clamp(tx: &Transaction<'_>, destination: &str, latest: Timestamp) -> rusqlite::Result<()> {
    tx.prepare_cached("UPDATE deliveries SET due_at = ?2 WHERE destination = ?1 AND due_at > ?2")?
        .execute(params![destination, latest])?;
    Ok(())
}

fn next_due(tx: &Transaction<'_>, destination: &str) -> rusqlite::Result<Option<Timestamp>> {
    tx.prepare_cached("SELECT min(due_at) FROM deliveries WHERE destination = ?1 AND due_at IS NOT NULL")?
        .query_row([destination], |row| row.get(0))
}

/// Takes back what another start of the program left in flight: due at once, the cut-off attempt
/// marked `interrupted`. It stays counted, so that a delivery on which the program dies each time
/// comes to an end. Returns how many there were.
///
/// # Errors
/// Those of SQLite.
pub fn reclaim(tx: &Transaction<'_>, boot: &str, now: Timestamp) -> rusqlite::Result<usize> {
    tx.execute(
        "UPDATE attempts SET error = 'interrupted' WHERE (delivery_id, number) IN
           (SELECT id, attempts FROM deliveries WHERE state = 'sending' AND claim NOT GLOB ?1 || ':*')",
        [boot],
    )?;
    tx.execute(
        "UPDATE deliveries SET state = 'retrying', claim = NULL, due_at = ?2, last_error = 'interrupted'
         WHERE state = 'sending' AND claim NOT GLOB ?1 || ':*'",
        params![boot, now],
    )
}
