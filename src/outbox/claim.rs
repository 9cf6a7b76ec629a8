//! Handing out what is due. A claim is committed before its request is sent: what was tried is
//! known after any crash, and a database that cannot be written stops the sending.

mod batches;
mod desk;
mod due;

use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};

use self::desk::Desk;
use super::{
    EventType, Gate, Health, Route, Shop, destinations,
    line::Line,
    route::{Consent, Subject, told_consent},
};
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
    /// What each of `routes` can take, in the same order.
    pub places: Vec<Places>,
    /// Which of `routes` is asked first: with more due than `limit`, each gets its turn.
    pub start: usize,
    /// Deliveries at most.
    pub limit: usize,
    pub now: Timestamp,
    /// No delivery is due later than this: a clock that was wrong for a while must not put it off
    /// for years.
    pub latest: Timestamp,
}

/// What a destination can take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Places {
    /// Claimed, and not settled yet.
    pub in_flight: usize,
    /// Deliveries at most.
    pub free: usize,
    /// It takes more from then on, where its rate is limited.
    pub more_at: Option<Timestamp>,
}

/// What was handed out.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    pub claims: Vec<Claim>,
    /// When the next delivery is due at a destination that has places left.
    pub next_due: Option<Timestamp>,
    /// Something is due now that only waits for the rate of its destination.
    pub paced: bool,
    /// How each of the routes fares, in their order.
    pub health: Vec<Health>,
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
    /// The message that the merchant has sent again.
    pub replay_of: Option<[u8; 16]>,
    pub kind: EventType,
    /// Events in the body.
    pub events: usize,
    /// The baseline names everybody's segment: no news of the customers.
    pub initial: bool,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// Attempts that count against the limit, this one included.
    pub counted: u32,
    /// Claimed to see whether a failing destination works again.
    pub probe: bool,
    /// Its own time, if it was claimed before that, which only a probe is.
    pub early: Option<Timestamp>,
    /// Requests of it that are done already.
    pub step: usize,
    /// When it was queued.
    pub created_at: Timestamp,
    /// The same bytes at every attempt.
    pub body: Vec<u8>,
}

/// Claims what is due, first what was tried and has its time, then the rest in the order in which it
/// was queued; counts the attempt, and freezes the body of what is sent for
/// the first time. Deliveries of destinations that are not in `routes` stay where they are.
///
/// # Errors
/// Those of SQLite; nothing may be sent then.
pub fn claim(tx: &Transaction<'_>, claims: &Claims) -> rusqlite::Result<Claimed> {
    let mut claimed = Claimed::default();
    let health = claims.routes.iter().map(|route| destinations::health(tx, &route.name, claims.now));
    claimed.health = health.collect::<Result<_, _>>()?;
    let count = claims.routes.len();
    for index in (0..count).map(|offset| (claims.start + offset) % count) {
        let places = claims.places[index];
        let left = claims.limit - claimed.claims.len();
        let gate = claimed.health[index].gate(claims.now);
        let probe = gate == Gate::Probe;
        let mut desk = Desk {
            tx,
            claims,
            index,
            probe,
            made: claimed.claims.len() as u64,
            batch_limit: claimed.health[index].batch_limit,
        };
        let next = match gate {
            Gate::Closed => None,
            Gate::Until(at) => Some(at.min(claims.latest)),
            Gate::Probe if places.in_flight > 0 => None,
            Gate::Probe => {
                let before = claimed.claims.len();
                let more = desk.serve(&mut claimed, 1, Timestamp::from_millis(i64::MAX))?;
                // What was dropped is no probe; the next one may be.
                more.filter(|_| claimed.claims.len() == before).map(|_| claims.now)
            }
            Gate::Open if places.free == 0 && places.more_at.is_none() => None,
            Gate::Open => {
                let next = match places.free {
                    0 => desk.next_due()?,
                    free => desk.serve(&mut claimed, free.min(left), claims.now)?,
                };
                // What is due now waits for the rate; its answer would come too early.
                next.map(|next| match places.more_at.filter(|at| *at > next) {
                    Some(at) => {
                        claimed.paced |= next <= claims.now;
                        at
                    }
                    None => next,
                })
            }
        };
        claimed.next_due = [claimed.next_due, next].into_iter().flatten().min();
    }
    Ok(claimed)
}

/// Whether a claim may still be sent: it was not taken back, nobody in it was erased since, and
/// everybody in it still agrees where `route` asks for that. Asked before each request.
///
/// # Errors
/// Those of SQLite; nothing may be sent then.
pub fn may_send(connection: &Connection, route: &Route, delivery_id: i64, token: &str) -> rusqlite::Result<bool> {
    let stands = connection
        .prepare_cached("SELECT 1 FROM deliveries WHERE id = ?1 AND claim = ?2 AND body IS NOT NULL")?
        .exists(params![delivery_id, token])?;
    if !stands || !route.asks_consent() {
        return Ok(stands);
    }
    let mut select = connection.prepare_cached(concat!(
        "SELECT o.type, c.email, ",
        told_consent!(),
        ", c.redacted_at IS NOT NULL
         FROM (SELECT seq FROM deliveries WHERE id = ?1 AND events = 1
                UNION ALL SELECT seq FROM batched WHERE delivery_id = ?1) e
         CROSS JOIN outbox o ON o.seq = e.seq LEFT JOIN customers c ON c.id = o.customer_id"
    ))?;
    let mut rows = select.query([delivery_id])?;
    while let Some(row) = rows.next()? {
        let subject = Subject {
            email: row.get_ref(1)?.as_str_or_null()?,
            consent: row.get_ref(2)?.as_str_or_null()?,
            erased: row.get(3)?,
        };
        if route.consent(row.get(0)?, &subject) != Consent::Given {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes back what another start of the program left in flight: due at once, the cut-off attempt
/// marked `interrupted`, as it may have arrived. It stays counted, so that a delivery on which the
/// program dies each time comes to an end. Returns how many there were.
///
/// # Errors
/// Those of SQLite.
pub fn reclaim(tx: &Transaction<'_>, boot: &str, now: Timestamp) -> rusqlite::Result<usize> {
    tx.execute(
        "INSERT OR IGNORE INTO attempts (delivery_id, number, started_at, error)
         SELECT id, attempts, ?2, 'interrupted' FROM deliveries
          WHERE state = 'sending' AND claim NOT GLOB ?1 || ':*'",
        params![boot, now],
    )?;
    let reclaimed = tx
        .prepare(
            "UPDATE deliveries SET state = 'retrying', claim = NULL, due_at = ?2, last_error = 'interrupted'
             WHERE state = 'sending' AND claim NOT GLOB ?1 || ':*' RETURNING id, destination, customer_id",
        )?
        .query_map(params![boot, now], |row| {
            Ok((row.get(0)?, Line { destination: row.get(1)?, customer_id: row.get(2)? }))
        })?
        .collect::<Result<Vec<(i64, Line)>, _>>()?;
    for (id, line) in &reclaimed {
        line.give_way(tx, *id, now)?;
    }
    Ok(reclaimed.len())
}
