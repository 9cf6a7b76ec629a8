//! Hands out the deliveries of one destination.

use rusqlite::{Transaction, params};

use super::{Claim, Claimed, Claims, due::Due};
use crate::{
    model::Timestamp,
    outbox::{
        self, Event, Hold, Ids, Route, State, batch,
        line::{Line, set_aside},
        route::{Consent, Subject},
    },
};

/// How often more is read in one transaction because customers do not agree any more, or a batch is
/// taken apart.
pub(super) const ROUNDS: usize = 16;

/// Hands out the deliveries of one destination.
pub(super) struct Desk<'a> {
    pub tx: &'a Transaction<'a>,
    pub claims: &'a Claims,
    /// Of the destination, among [`Claims::routes`].
    pub index: usize,
    pub probe: bool,
    /// Claims made before.
    pub made: u64,
    /// Events per request at most, as learnt from its answers.
    pub batch_limit: Option<u32>,
}

impl Desk<'_> {
    pub fn route(&self) -> &Route {
        &self.claims.routes[self.index]
    }

    /// Claims up to `limit` deliveries that are due before `before`. Returns when the next is due.
    pub fn serve(
        &mut self,
        claimed: &mut Claimed,
        limit: usize,
        before: Timestamp,
    ) -> rusqlite::Result<Option<Timestamp>> {
        self.clamp()?;
        if limit == 0 {
            return self.next_due();
        }
        if self.route().batch > 1 {
            return self.serve_batches(claimed, limit, before);
        }
        // Of a destination that takes single events now, a batch from before: one at a time.
        if self.has_tried_batch()? {
            let busy = self.claims.places[self.index].in_flight > 0;
            return if busy { Ok(None) } else { self.serve_batches(claimed, 1, before) };
        }
        let mut given = 0;
        for _ in 0..ROUNDS {
            let batch = self.first_batch()?;
            let due = self.due(before, limit - given, batch.as_ref())?;
            if due.is_empty() {
                match batch {
                    Some(batch) => self.dissolve(&batch)?,
                    None => return self.next_due(),
                }
            }
            for due in due {
                if self.vet(&due)? {
                    claimed.claims.push(self.take_alone(due)?);
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

    pub(super) fn dissolve(&self, batch: &Due) -> rusqlite::Result<()> {
        batch::dissolve(self.tx, batch.id, &mut Ids::random(self.claims.now), self.claims.now)?;
        Ok(())
    }

    pub(super) fn consent(&self, event: &Event) -> Consent {
        event.customer.as_ref().map_or(Consent::Given, |customer| {
            let (email, consent) = (customer.email.as_deref(), customer.consent.as_deref());
            self.route().consent(event.kind, &Subject { email, consent, erased: customer.redacted })
        })
    }

    /// Whether the customer agrees still; if not, the delivery is held or dropped.
    pub(super) fn vet(&self, due: &Due) -> rusqlite::Result<bool> {
        match self.consent(&due.event) {
            Consent::Given => {
                self.outdate(&due.event)?;
                return Ok(true);
            }
            Consent::Unknown => {
                set_aside(self.tx, due.id, Hold::Consent)?;
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

    /// Older news of the same type that waits for the consent which this customer has given since:
    /// sent later, they would be the last word.
    pub(super) fn outdate(&self, event: &Event) -> rusqlite::Result<()> {
        let Some(customer) = event.customer.as_ref().filter(|_| self.route().asks_consent()) else { return Ok(()) };
        self.tx
            .prepare_cached(
                "UPDATE deliveries SET state = 'superseded', finished_at = ?5
                 WHERE id IN (SELECT id FROM deliveries WHERE destination = ?1 AND customer_id = ?2
                                 AND finished_at IS NULL ORDER BY id LIMIT 100)
                   AND hold = 'consent' AND seq < ?3
                   AND (SELECT type FROM outbox WHERE outbox.seq = deliveries.seq) = ?4",
            )?
            .execute(params![self.route().name, customer.id, event.seq, event.kind, self.claims.now])?;
        Ok(())
    }

    fn line(&self, due: &Due) -> Line {
        Line { destination: self.route().name.clone(), customer_id: due.customer_id() }
    }

    fn take_alone(&mut self, mut due: Due) -> rusqlite::Result<Claim> {
        let frozen = due.body.take();
        let body = frozen.unwrap_or_else(|| {
            outbox::body_of(&self.claims.shop, self.route(), &due.message_id, std::slice::from_ref(&due.event))
        });
        self.take(&due, body)
    }

    /// `body`: what is sent, the frozen one where there is one.
    pub(super) fn take(&mut self, due: &Due, body: Vec<u8>) -> rusqlite::Result<Claim> {
        let (claims, attempt) = (self.claims, due.attempts + 1);
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

    /// Some in each turn: a clock that was wrong may have put off a whole queue.
    fn clamp(&self) -> rusqlite::Result<()> {
        const LIMIT: i64 = 2_000;
        self.tx
            .prepare_cached(
                "UPDATE deliveries SET due_at = ?2 WHERE id IN
                   (SELECT id FROM deliveries INDEXED BY deliveries_due
                     WHERE destination = ?1 AND due_at > ?2 LIMIT ?3)",
            )?
            .execute(params![self.route().name, self.claims.latest, LIMIT])?;
        Ok(())
    }
}
