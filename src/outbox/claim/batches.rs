//! Handing out to a destination that takes several events in one request.

use super::{
    Claim, Claimed,
    desk::{Desk, ROUNDS},
    due::Due,
};
use crate::{
    model::Timestamp,
    outbox::{
        Event,
        batch::{Member, events_of, put_together},
        route::Consent,
    },
};

impl Desk<'_> {
    /// A destination of batches gets one request after the other, so several may be claimed ahead:
    /// the batch that was tried before anything else, then what has its own time, then what is new,
    /// in the order in which it was queued.
    pub(super) fn serve_batches(
        &mut self,
        claimed: &mut Claimed,
        limit: usize,
        before: Timestamp,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let size = self.batch_limit.map_or(self.route().batch, |learnt| learnt.clamp(1, self.route().batch)) as usize;
        let mut given = 0;
        for _ in 0..limit + ROUNDS {
            if given == limit {
                return Ok(None);
            }
            let batch = self.next_batch()?;
            let claim = match batch {
                Some(tried) if tried.attempts > 0 => {
                    if let (true, next) = self.blocked(tried.id)? {
                        return self.serve_blocking(claimed, &tried, before, next);
                    }
                    if tried.due_at.is_some_and(|due| due > before) {
                        return Ok(tried.due_at);
                    }
                    self.take_batch(tried, size)?
                }
                fresh => match (self.due(before, size, fresh.as_ref())?, fresh) {
                    (due, Some(batch)) if due.is_empty() => self.take_batch(batch, size)?,
                    (due, None) if due.is_empty() => return self.next_due(),
                    (due, _) => self.take_together(due)?,
                },
            };
            if let Some(claim) = claim {
                claimed.claims.push(claim);
                given += 1;
            }
        }
        self.next_due()
    }

    /// The batch that is sent next; of those that were tried the one that no other has to go before.
    fn next_batch(&self) -> rusqlite::Result<Option<Due>> {
        let mut batch = self.first_batch()?;
        for _ in 0..ROUNDS {
            let Some(tried) = batch.as_ref().filter(|batch| batch.attempts > 0) else { break };
            let Some(older) = self.older_batch(tried.id)? else { break };
            batch = Some(older);
        }
        Ok(batch)
    }

    /// A single delivery that a batch has to wait for, and nothing else; `next` is due of those.
    fn serve_blocking(
        &mut self,
        claimed: &mut Claimed,
        batch: &Due,
        before: Timestamp,
        next: Option<Timestamp>,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let Some(blocker) = self.blocker(batch.id, before)? else { return Ok(next) };
        match self.take_together(vec![blocker])? {
            Some(claim) => {
                claimed.claims.push(claim);
                Ok(None)
            }
            None => Ok(Some(self.claims.now)), // it was dropped; the next may be
        }
    }

    /// Claims one request of what is due: what was tried goes alone, what is new with what is like
    /// it. `None`: nobody in it agrees any more.
    fn take_together(&mut self, mut due: Vec<Due>) -> rusqlite::Result<Option<Claim>> {
        match due.first() {
            Some(first) if first.is_fresh() => {
                let (run_id, kind) = (first.event.run_id, first.event.kind);
                due.retain(|due| due.is_fresh() && due.event.run_id == run_id && due.event.kind == kind);
            }
            _ => due.truncate(1),
        }
        let mut members = Vec::with_capacity(due.len());
        for due in due {
            if self.vet(&due)? {
                members.push(due);
            }
        }
        members.sort_by_key(|member| member.id);
        let body = loop {
            let Some(last) = members.last() else { return Ok(None) };
            let mut events: Vec<Event> = members.iter().map(|member| member.event.clone()).collect();
            events.sort_by_key(|event| event.seq);
            let body = self.body_of(&last.message_id, &events);
            let limit = self.route().body_limit;
            if body.len() <= limit || members.len() == 1 {
                break body;
            }
            members.truncate((members.len() * limit / body.len()).clamp(1, members.len() - 1));
        };
        let count = members.len();
        if count > 1 {
            let rows: Vec<Member> = members
                .iter()
                .map(|due| Member { id: due.id, seq: due.event.seq, customer_id: due.customer_id() })
                .collect();
            put_together(self.tx, &self.route().name, &rows, self.claims.now)?;
        }
        let Some(mut leader) = members.pop() else { return Ok(None) };
        let body = leader.body.take().unwrap_or(body);
        self.take(&Due { events: count, ..leader }, body).map(Some)
    }

    /// Claims a batch. One that was never sent is taken apart instead when it cannot go as it is: it
    /// is too large, an event before it has not ended, or somebody does not agree any more (for that
    /// also one that was). Then `None`.
    fn take_batch(&mut self, mut batch: Due, size: usize) -> rusqlite::Result<Option<Claim>> {
        let fresh = batch.attempts == 0;
        if fresh && (batch.events > size || self.blocked(batch.id)?.0) {
            self.dissolve(&batch)?;
            return Ok(None);
        }
        let events = events_of(self.tx, batch.id)?;
        let agree = events.iter().all(|event| self.consent(event) == Consent::Given);
        let body = batch.body.take().unwrap_or_else(|| self.body_of(&batch.message_id, &events));
        if !agree || (fresh && body.len() > self.route().body_limit) {
            self.dissolve(&batch)?;
            return Ok(None);
        }
        for event in &events {
            self.outdate(event)?;
        }
        self.take(&batch, body).map(Some)
    }

    fn body_of(&self, message_id: &[u8; 16], events: &[Event]) -> Vec<u8> {
        crate::outbox::body_of(&self.claims.shop, self.route(), message_id, events)
    }
}
