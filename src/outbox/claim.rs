//! Handing out what is due. A claim is committed before its request is sent: what was tried is
//! known after any crash, and a database that cannot be written stops the sending.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::{
    Envelope, Event, EventType, Gate, Health, Ids, Route, Shop, State,
    batch::{BODY_LIMIT, Batch, Member, dissolve, events_of, put_together},
    destinations,
    envelope::event_columns,
    line::Line,
    route::Consent,
};
use crate::model::Timestamp;

/// How often more is read in one transaction because customers do not agree any more.
const ROUNDS: usize = 16;
/// Due deliveries among which those are looked for that a batch has to wait for.
const BLOCKING: usize = 1000;

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

/// Claims what is due, oldest first, counts the attempt, and freezes the body of what is sent for
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
        let mut desk = Desk { tx, claims, index, probe, made: claimed.claims.len() as u64 };
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

/// Hands out the deliveries of one destination.
struct Desk<'a> {
    tx: &'a Transaction<'a>,
    claims: &'a Claims,
    index: usize,
    probe: bool,
    /// Claims made before.
    made: u64,
}

/// One row of `deliveries` that can be claimed.
struct Due {
    id: i64,
    message_id: [u8; 16],
    replay_of: Option<[u8; 16]>,
    attempts: u32,
    spared: u32,
    events: usize,
    step: usize,
    due_at: Option<Timestamp>,
    created_at: Timestamp,
    body: Option<Vec<u8>>,
    event: Event,
}

macro_rules! due_columns {
    () => {
        concat!(
            "d.id, d.message_id, d.replay_of, d.attempts, d.spared, d.events, d.step, d.due_at, d.created_at, d.body, ",
            event_columns!()
        )
    };
}

/// `FROM` of [`due_columns`], by the named index: without statistics the planner takes another one
/// and walks over the whole queue.
macro_rules! due_from {
    ($index:literal) => {
        concat!(
            " FROM deliveries d INDEXED BY ",
            $index,
            " CROSS JOIN outbox o ON o.seq = d.seq LEFT JOIN customers c ON c.id = o.customer_id"
        )
    };
}

impl Due {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        const OWN_COLUMNS: usize = 10;
        Ok(Self {
            id: row.get(0)?,
            message_id: row.get(1)?,
            replay_of: row.get(2)?,
            attempts: row.get(3)?,
            spared: row.get(4)?,
            events: row.get(5)?,
            step: row.get(6)?,
            due_at: row.get(7)?,
            created_at: row.get(8)?,
            body: row.get(9)?,
            event: Event::from_row(row, OWN_COLUMNS)?,
        })
    }

    /// Never tried, so it may still go together with others.
    fn is_fresh(&self) -> bool {
        self.attempts == 0 && self.body.is_none() && self.replay_of.is_none()
    }

    fn customer_id(&self) -> Option<i64> {
        self.event.customer.as_ref().map(|customer| customer.id)
    }
}

impl Desk<'_> {
    fn route(&self) -> &Route {
        &self.claims.routes[self.index]
    }

    /// Claims up to `limit` deliveries that are due before `before`. Returns when the next is due.
    fn serve(&mut self, claimed: &mut Claimed, limit: usize, before: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
        self.clamp()?;
        let alone = self.route().batch == 1;
        if limit == 0 {
            return self.next_due();
        }
        // Of a destination that takes single events now, a batch from before.
        if !alone || self.has_batch()? {
            let busy = alone && self.claims.places[self.index].in_flight > 0;
            return if busy { Ok(None) } else { self.serve_batches(claimed, if alone { 1 } else { limit }, before) };
        }
        let mut given = 0;
        for _ in 0..ROUNDS {
            let due = self.due(before, limit - given)?;
            if due.is_empty() {
                return self.next_due();
            }
            for due in due {
                if self.vet(&due)? {
                    claimed.claims.push(self.take(due, None)?);
                    given += 1;
                }
            }
            if given == limit {
                // With all its places taken the next answer is the reason to look again.
                return Ok(None);
            }
        }
        self.next_due()
    }

    /// A destination of batches gets one request after the other, so several may be claimed ahead:
    /// what was refused or failed before anything else.
    fn serve_batches(
        &mut self,
        claimed: &mut Claimed,
        limit: usize,
        before: Timestamp,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let learnt = claimed.health[self.index].batch_limit;
        let size = learnt.map_or(self.route().batch, |learnt| learnt.clamp(1, self.route().batch)) as usize;
        let mut given = 0;
        for _ in 0..limit + ROUNDS {
            if given == limit {
                return Ok(None);
            }
            if let Some(open) = self.open_batch()? {
                let blocked = self.is_blocked(open.id)?;
                if blocked || open.due_at.is_some_and(|due| due > before) {
                    return if blocked { self.serve_blocking(claimed, before) } else { Ok(open.due_at) };
                }
                let events = events_of(self.tx, open.id)?;
                if self.vet_all(open.id, &events)? {
                    claimed.claims.push(self.take(open, Some(&events))?);
                    given += 1;
                }
                continue;
            }
            let mut due = self.due(before, size)?;
            let Some(first) = due.first() else { return self.next_due() };
            if first.is_fresh() {
                let (run_id, kind) = (first.event.run_id, first.event.kind);
                due.retain(|due| due.is_fresh() && due.event.run_id == run_id && due.event.kind == kind);
            } else {
                due.truncate(1);
            }
            let mut members = Vec::with_capacity(due.len());
            for due in due {
                if self.vet(&due)? {
                    members.push(due);
                }
            }
            members.sort_by_key(|member| member.id);
            if members.is_empty() {
                continue; // all of them were held or dropped
            }
            claimed.claims.push(self.take_together(members)?);
            given += 1;
        }
        self.next_due()
    }

    /// Single events before which a batch has to wait, and nothing else.
    fn serve_blocking(&mut self, claimed: &mut Claimed, before: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
        let first = self.due(before, BLOCKING)?.into_iter().find(|due| !due.is_fresh());
        let Some(first) = first else { return self.next_retry() };
        if self.vet(&first)? {
            claimed.claims.push(self.take_together(vec![first])?);
        }
        Ok(None)
    }

    fn take_together(&mut self, mut members: Vec<Due>) -> rusqlite::Result<Claim> {
        if self.route().batch == 1 && members.len() == 1 {
            let alone = members.pop().unwrap_or_else(|| unreachable!("there is one"));
            return self.take(alone, None);
        }
        let body = loop {
            let last = members.len() - 1;
            let events: Vec<Event> = members.iter().map(|member| member.event.clone()).collect();
            let body = self.batch_body(&members[last].message_id, &events);
            if body.len() <= BODY_LIMIT || members.len() == 1 {
                break body;
            }
            members.truncate((members.len() * BODY_LIMIT / body.len()).clamp(1, last));
        };
        let count = members.len();
        if count > 1 {
            let rows: Vec<Member> = members
                .iter()
                .map(|due| Member { id: due.id, seq: due.event.seq, customer_id: due.customer_id() })
                .collect();
            put_together(self.tx, &self.route().name, &rows, self.claims.now)?;
        }
        let leader = members.pop().unwrap_or_else(|| unreachable!("a batch has a last event"));
        let fresh = leader.body.is_none();
        let leader = Due { events: count, body: if fresh { Some(body) } else { leader.body }, ..leader };
        self.take(leader, None)
    }

    fn batch_body(&self, message_id: &[u8; 16], events: &[Event]) -> Vec<u8> {
        Batch { shop: &self.claims.shop, fields: self.route().fields, message_id, events }.to_bytes()
    }

    fn due(&self, before: Timestamp, limit: usize) -> rusqlite::Result<Vec<Due>> {
        self.tx
            .prepare_cached(concat!(
                "SELECT ",
                due_columns!(),
                due_from!("deliveries_due"),
                " WHERE d.destination = ?1 AND d.due_at <= ?2 AND d.events = 1 ORDER BY d.due_at, d.id LIMIT ?3"
            ))?
            .query_map(params![self.route().name, before, i64::try_from(limit).unwrap_or(i64::MAX)], Due::from_row)?
            .collect()
    }

    fn open_batch(&self) -> rusqlite::Result<Option<Due>> {
        self.tx
            .prepare_cached(concat!(
                "SELECT ",
                due_columns!(),
                due_from!("deliveries_batches"),
                " WHERE d.destination = ?1 AND d.events > 1 AND d.finished_at IS NULL
                    AND d.state IN ('waiting', 'retrying')
                  ORDER BY d.id LIMIT 1"
            ))?
            .query_row([&self.route().name], Due::from_row)
            .optional()
    }

    /// A batch that has not ended, wherever it stands.
    fn has_batch(&self) -> rusqlite::Result<bool> {
        self.tx
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_batches
                   WHERE destination = ?1 AND events > 1 AND finished_at IS NULL AND state <> 'held')",
            )?
            .query_row([&self.route().name], |row| row.get(0))
    }

    /// Whether an older event of one of its customers stands alone and has not ended: after a crash
    /// batches of different runs may have been claimed.
    fn is_blocked(&self, batch: i64) -> rusqlite::Result<bool> {
        self.tx
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM batched b CROSS JOIN deliveries d INDEXED BY deliveries_open
                   WHERE b.delivery_id = ?1 AND d.destination = ?2 AND d.customer_id = b.customer_id
                     AND d.finished_at IS NULL AND d.id < b.row_id
                     AND (d.hold IS NULL OR d.hold NOT IN ('baseline', 'consent')))",
            )?
            .query_row(params![batch, self.route().name], |row| row.get(0))
    }

    /// Whether the customers of a batch agree still; if not, its events go on one by one.
    fn vet_all(&self, batch: i64, events: &[Event]) -> rusqlite::Result<bool> {
        let agree = events.iter().all(|event| self.consent(event) == Consent::Given);
        if !agree {
            dissolve(self.tx, batch, &mut Ids::random(self.claims.now), self.claims.now)?;
        }
        Ok(agree)
    }

    fn consent(&self, event: &Event) -> Consent {
        event.customer.as_ref().map_or(Consent::Given, |customer| {
            self.route().consent(customer.email.as_deref(), customer.consent.as_deref())
        })
    }

    /// Whether the customer agrees still; if not, the delivery is held or dropped.
    fn vet(&self, due: &Due) -> rusqlite::Result<bool> {
        match self.consent(&due.event) {
            Consent::Given => return Ok(true),
            Consent::Unknown => {
                self.tx
                    .prepare_cached(
                        "UPDATE deliveries SET state = 'held', hold = 'consent', due_at = NULL WHERE id = ?1",
                    )?
                    .execute([due.id])?;
                self.line(due).advance(self.tx, self.claims.now)?;
            }
            Consent::Refused(reason) => {
                self.tx
                    .prepare_cached("UPDATE deliveries SET last_error = ?2 WHERE id = ?1")?
                    .execute(params![due.id, reason])?;
                self.line(due).finish(self.tx, due.id, State::Discarded, self.claims.now)?;
            }
        }
        Ok(false)
    }

    fn line(&self, due: &Due) -> Line {
        Line { destination: self.route().name.clone(), customer_id: due.customer_id() }
    }

    /// `events`: those of a batch that was put together before.
    fn take(&mut self, due: Due, events: Option<&[Event]>) -> rusqlite::Result<Claim> {
        let (claims, attempt) = (self.claims, due.attempts + 1);
        let fields = self.route().fields;
        let body = due.body.unwrap_or_else(|| match events {
            Some(events) => self.batch_body(&due.message_id, events),
            None if self.route().batch > 1 => self.batch_body(&due.message_id, std::slice::from_ref(&due.event)),
            None => Envelope { shop: &claims.shop, fields, event: &due.event }.to_bytes(),
        });
        let token = format!("{}:{}", claims.boot, claims.number + self.made);
        self.made += 1;
        self.tx
            .prepare_cached(
                "UPDATE deliveries SET state = 'sending', claim = ?2, attempts = ?3, due_at = NULL,
                   body = coalesce(body, ?4)
                 WHERE id = ?1",
            )?
            .execute(params![due.id, token, attempt, body])?;
        Ok(Claim {
            delivery_id: due.id,
            route: self.index,
            token,
            message_id: due.message_id,
            replay_of: due.replay_of,
            kind: due.event.kind,
            events: due.events,
            initial: due.event.is_initial(),
            attempt,
            counted: attempt - due.spared,
            probe: self.probe,
            early: due.due_at.filter(|at| *at > claims.now),
            step: due.step,
            created_at: due.created_at,
            body,
        })
    }

    fn clamp(&self) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached("UPDATE deliveries SET due_at = ?2 WHERE destination = ?1 AND due_at > ?2")?
            .execute(params![self.route().name, self.claims.latest])?;
        Ok(())
    }

    fn next_due(&self) -> rusqlite::Result<Option<Timestamp>> {
        self.tx
            .prepare_cached("SELECT min(due_at) FROM deliveries WHERE destination = ?1 AND due_at IS NOT NULL")?
            .query_row([&self.route().name], |row| row.get(0))
    }

    /// When the next delivery that was tried is due.
    fn next_retry(&self) -> rusqlite::Result<Option<Timestamp>> {
        self.tx
            .prepare_cached(
                "SELECT min(due_at) FROM deliveries WHERE destination = ?1 AND due_at IS NOT NULL AND attempts > 0",
            )?
            .query_row([&self.route().name], |row| row.get(0))
    }
}

/// Takes back what another start of the program left in flight: due at once, the cut-off attempt
/// marked `interrupted`. It stays counted, so that a delivery on which the program dies each time
/// comes to an end. Returns how many there were.
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
    tx.execute(
        "UPDATE deliveries SET state = 'retrying', claim = NULL, due_at = ?2, last_error = 'interrupted'
         WHERE state = 'sending' AND claim NOT GLOB ?1 || ':*'",
        params![boot, now],
    )
}
