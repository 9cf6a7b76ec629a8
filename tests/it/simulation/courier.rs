//! The forwarder without its network: claims, answers and settlements go through the real queue and the
//! real judgement, requests go to [`Tool`](super::tool::Tool)s. As in `delivery::Forwarder` one write
//! records what ended and claims what is due, nothing is sent that was not claimed, and nothing while
//! the last write failed.

use std::sync::Arc;

use anyhow::{Context, ensure};
use quintile::{
    delivery::retry::{self, Judgement, Reply},
    model::Timestamp,
    outbox::{self, Claim, Claims, Effect, Gate, Ids, Places, Settlement, Shop, Verdict},
};

use super::{
    steps::TOOLS,
    tool::told,
    world::{Outcome, World},
};

/// Claims, settlements and events of one turn; the program takes more.
const LIMIT: usize = 16;
/// Between two looks at who agreed.
const REVIEW_MS: i64 = 3_600_000;

/// What the forwarder of one start of the program holds in memory.
#[derive(Debug)]
pub struct Courier {
    boot: Arc<str>,
    number: u64,
    first: usize,
    reclaimed: bool,
    /// When what waits for a customer's agreement was last looked at.
    reviewed_at: Option<Timestamp>,
    /// The last write succeeded.
    recordable: bool,
    lanes: [Lane; TOOLS],
    ended: Vec<Ended>,
    /// The next delivery is due then.
    pub next_due: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Claimed, in the order of the claims; some may have been sent.
    in_flight: Vec<Claim>,
    /// Not sent to as usual: what is claimed is given back, but a probe.
    stopped: bool,
    /// One of a row failed: what stands behind it is given back.
    broken: bool,
}

/// A request that ended, to be recorded.
#[derive(Debug, Clone)]
struct Ended {
    tool: usize,
    message_id: [u8; 16],
    events: Vec<i64>,
    settlement: Settlement,
}

impl Courier {
    pub fn new(start: u32) -> Self {
        Self {
            boot: format!("boot{start}").into(),
            number: 0,
            first: 0,
            reclaimed: false,
            reviewed_at: None,
            recordable: true,
            lanes: Default::default(),
            ended: Vec::new(),
            next_due: None,
        }
    }

    /// What was claimed behind a request that failed is still to be given back, perhaps by the start before.
    pub fn gives_back(&self) -> bool {
        let unsent = |ended: &Ended| ended.settlement.verdict == Verdict::Unsent;
        !self.reclaimed || self.lanes.iter().any(|lane| lane.broken) || self.ended.iter().any(unsent)
    }

    pub fn is_idle(&self) -> bool {
        self.ended.is_empty() && self.lanes.iter().all(|lane| lane.in_flight.is_empty())
    }
}

impl World {
    /// Records what ended and claims what is due, `free` per tool at most.
    pub fn turn(&mut self, free: usize) -> anyhow::Result<()> {
        let now = self.now();
        if !self.courier().reclaimed {
            let boot = self.courier().boot.clone();
            let done = self.write(move |tx| Ok(outbox::reclaim(tx, &boot, now)?));
            let Outcome::Done(count) = self.excuse("taking back", done)? else { return Ok(()) };
            self.note(format!("{count} taken back"));
            self.courier_mut().reclaimed = true;
            let zombies = std::mem::take(&mut self.zombies);
            let done = self.write(move |tx| Ok(outbox::settle(tx, &zombies, &mut Ids::random(now), now)?.matched));
            if let Outcome::Done(matched) = self.excuse("a late answer", done)? {
                ensure!(matched == 0, "{matched} answers to requests of an earlier start changed something");
            }
        }
        self.review(now)?;
        let ended = self.courier().ended.clone();
        let settlements: Vec<Settlement> = ended.iter().map(|ended| ended.settlement.clone()).collect();
        let claims = self.claims(free, now);
        let served = self.tools.iter().zip(&claims.places).filter(|(_, places)| places.free > 0);
        let served: Vec<String> = served.map(|(tool, _)| tool.name.clone()).collect();
        let done = self.write(move |tx| {
            let mut ids = Ids::random(now);
            let settled = outbox::settle(tx, &settlements, &mut ids, now)?;
            outbox::fan_out_unqueued(tx, &claims.routes, LIMIT, &mut ids, now)?;
            Ok((settled, outbox::claim(tx, &claims)?))
        });
        let outcome = self.excuse("a turn", done)?;
        let courier = self.courier_mut();
        courier.number += LIMIT as u64;
        courier.first = (courier.first + 1) % TOOLS;
        courier.recordable = matches!(outcome, Outcome::Done(_));
        let Outcome::Done((settled, claimed)) = outcome else { return Ok(()) };
        ensure!(settled.matched == ended.len(), "{} of {} settlements counted", settled.matched, ended.len());
        courier.ended.clear();
        for (lane, health) in courier.lanes.iter_mut().zip(&claimed.health) {
            lane.stopped = health.gate(now) != Gate::Open;
        }
        courier.next_due = claimed.next_due;
        for ended in &ended {
            self.is_recorded(ended);
        }
        let texts: Vec<String> = claimed
            .claims
            .iter()
            .map(|claim| format!("{}/{}@{}", claim.delivery_id, claim.attempt, self.tools[claim.route].name))
            .collect();
        if !ended.is_empty() || !texts.is_empty() {
            self.note(format!("{} recorded, claimed {}", ended.len(), texts.join(" ")));
        }
        for claim in claimed.claims {
            ensure!(!self.tools[claim.route].closed, "delivery {} goes to a closed tool", claim.delivery_id);
            self.courier_mut().lanes[claim.route].in_flight.push(claim);
        }
        served.iter().try_for_each(|tool| self.check_waits(tool))
    }

    /// Once an hour, what waits until a customer agrees.
    fn review(&mut self, now: Timestamp) -> anyhow::Result<()> {
        let recent = |at: Timestamp| (0..REVIEW_MS).contains(&(now.millis() - at.millis()));
        if self.courier().reviewed_at.is_some_and(recent) {
            return Ok(());
        }
        let mut after = Some(0);
        while let Some(last) = after {
            let routes = self.routes.clone();
            let done = self.write(move |tx| Ok(outbox::review_consent(tx, &routes, last, LIMIT, now)?));
            let Outcome::Done(next) = self.excuse("a look at who agreed", done)? else { return Ok(()) };
            after = next;
        }
        self.courier_mut().reviewed_at = Some(now);
        Ok(())
    }

    fn claims(&mut self, free: usize, now: Timestamp) -> Claims {
        let tools: Vec<bool> = self.tools.iter().map(|tool| tool.in_a_row).collect();
        let (shop, routes) = (Shop::from_config(&self.config), self.routes.clone());
        let courier = self.courier_mut();
        let places = courier
            .lanes
            .iter_mut()
            .zip(tools)
            .map(|(lane, in_a_row)| {
                lane.broken &= in_a_row && !lane.in_flight.is_empty();
                let free = if lane.broken { 0 } else { free.saturating_sub(lane.in_flight.len()) };
                Places { in_flight: lane.in_flight.len(), free, more_at: None }
            })
            .collect();
        Claims {
            boot: courier.boot.clone(),
            number: courier.number,
            shop,
            routes: routes.into(),
            places,
            start: courier.first,
            limit: LIMIT,
            now,
            latest: now.plus_millis(retry::LONGEST_WAIT_MS),
        }
    }

    fn is_recorded(&mut self, ended: &Ended) {
        let tool = &mut self.tools[ended.tool];
        tool.is_heard(ended.message_id, ended.settlement.step);
        if ended.settlement.verdict == Verdict::Delivered {
            tool.known.extend(&ended.events);
        }
        tool.closed |= ended.settlement.effect == Effect::Disable;
    }

    /// Up to `count` requests that are on their way end.
    pub fn answer(&mut self, count: usize, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        for _ in 0..count {
            let busy: Vec<usize> =
                (0..TOOLS).filter(|tool| !self.courier().lanes[*tool].in_flight.is_empty()).collect();
            if busy.is_empty() || !self.courier().recordable {
                return Ok(());
            }
            let tool = super::steps::any(dice, &busy);
            let in_a_row = self.tools[tool].in_a_row;
            let lane = &mut self.courier_mut().lanes[tool];
            let place = if in_a_row { 0 } else { dice.usize(..lane.in_flight.len()) };
            let claim = lane.in_flight.remove(place);
            let ended = self.send(tool, &claim, dice)?;
            let Settlement { verdict, effect, .. } = ended.settlement;
            self.note(format!("{}@{} {verdict:?}", claim.delivery_id, self.tools[tool].name));
            let lane = &mut self.courier_mut().lanes[tool];
            lane.broken |= in_a_row && verdict != Verdict::Delivered;
            lane.stopped |=
                verdict != Verdict::Unsent && matches!(effect, Effect::Wait(_) | Effect::Refused | Effect::Disable);
            self.courier_mut().ended.push(ended);
        }
        Ok(())
    }

    /// As `delivery::send` does it.
    fn send(&mut self, tool: usize, claim: &Claim, dice: &mut fastrand::Rng) -> anyhow::Result<Ended> {
        let now = self.now();
        // What is sent once more says nothing of what came first.
        let first = told(&claim.body)?.into_iter().filter(|_| claim.replay_of.is_none());
        let events = first.map(|(seq, ..)| seq).collect();
        let lane = &self.courier().lanes[tool];
        let (stopped, broken) = (lane.stopped, lane.broken);
        let mut settlement = Settlement {
            delivery_id: claim.delivery_id,
            token: claim.token.clone(),
            attempt: claim.attempt,
            started_at: now,
            duration_ms: 5,
            status: None,
            error: None,
            answer: b"an answer".to_vec(),
            step: claim.step,
            verdict: Verdict::Unsent,
            effect: Effect::None,
        };
        let ended = |settlement| Ended { tool, message_id: claim.message_id, events, settlement };
        if broken || (stopped && !claim.probe) || !self.may_send(claim)? {
            return Ok(ended(settlement));
        }
        self.check_turn(tool, claim)?;
        let mut satisfied = false;
        for step in claim.step..self.tools[tool].steps {
            if step > claim.step && !self.may_send(claim)? {
                settlement.verdict = Verdict::Retry { at: now, spared: true };
                break;
            }
            if self.tools[tool].asks_consent {
                told(&claim.body)?.iter().try_for_each(|(_, customer, _)| self.check_agreed(customer.parse()?))?;
            }
            let reply = self.tools[tool].receive(claim, step, dice)?;
            // The delay depends on the message id, which is random; of a seed everything is to come again.
            let steady = Claim { message_id: steady_id(claim.delivery_id), ..claim.clone() };
            let Judgement { verdict, effect } = retry::conclude(&reply, &steady, stopped, now);
            (settlement.verdict, settlement.effect) = (verdict, effect);
            settlement.status = match &reply {
                Reply::Answer(answer) => Some(answer.status),
                Reply::Failure(_) => None,
            };
            settlement.error = retry::explain(&reply, verdict);
            if verdict != Verdict::Delivered {
                break;
            }
            settlement.step = step + 1;
            satisfied |= effect == Effect::Disable;
        }
        if satisfied {
            settlement.effect = Effect::Disable;
        }
        Ok(ended(settlement))
    }

    fn may_send(&self, claim: &Claim) -> anyhow::Result<bool> {
        Ok(outbox::may_send(&*self.reader()?, &self.routes[claim.route], claim.delivery_id, &claim.token)?)
    }

    /// The program is gone: nobody hears the answers any more. What was on its way may have arrived.
    pub fn cut_off(&mut self, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        for tool in 0..TOOLS {
            let mut claims = std::mem::take(&mut self.courier_mut().lanes[tool].in_flight);
            if self.tools[tool].in_a_row {
                claims.truncate(1);
            }
            for claim in claims {
                if dice.bool() && self.courier().recordable {
                    let ended = self.send(tool, &claim, dice)?;
                    self.courier_mut().ended.push(ended);
                }
            }
        }
        for ended in std::mem::take(&mut self.courier_mut().ended) {
            let steps = 0..self.tools[ended.tool].steps;
            self.tools[ended.tool].forget_answers(ended.message_id, steps);
            self.zombies.push(ended.settlement);
        }
        Ok(())
    }

    /// The orderly end: what waits is given back, what is on its way ends and is recorded.
    pub fn finish(&mut self, dice: &mut fastrand::Rng) -> anyhow::Result<()> {
        self.answer(usize::MAX, dice)?;
        let ended = self.courier().ended.clone();
        let settlements: Vec<Settlement> = ended.iter().map(|ended| ended.settlement.clone()).collect();
        let now = self.now();
        let done = self.write(move |tx| Ok(outbox::settle(tx, &settlements, &mut Ids::random(now), now)?));
        if let Outcome::Done(_) = self.excuse("the last write", done)? {
            self.courier_mut().ended.clear();
            for ended in &ended {
                self.is_recorded(ended);
            }
        }
        Ok(())
    }

    fn courier(&self) -> &Courier {
        &self.program().courier
    }

    fn courier_mut(&mut self) -> &mut Courier {
        &mut self.program_mut().courier
    }

    /// Nothing older of the same customers may still have to be sent. In a row the one before was taken,
    /// but that need not be recorded yet. What waited until its customer agreed comes back into the line
    /// while another of them, of another type, is on its way.
    fn check_turn(&self, tool: usize, claim: &Claim) -> anyhow::Result<()> {
        let taken = self.courier().ended.iter().map(|ended| &ended.settlement);
        let taken = taken.filter(|settlement| settlement.verdict == Verdict::Delivered);
        let taken: Vec<String> = taken.map(|settlement| settlement.delivery_id.to_string()).collect();
        let taken = format!("[{}]", taken.join(","));
        let reader = self.reader()?;
        let mut older = reader.prepare_cached(
            "WITH mine AS (
               SELECT id, customer_id, seq FROM deliveries WHERE id = ?1 AND events = 1
                UNION ALL SELECT row_id, customer_id, seq FROM batched WHERE delivery_id = ?1),
             waiting AS (
               SELECT * FROM deliveries
                WHERE destination = ?2 AND finished_at IS NULL AND id <> ?1 AND id NOT IN (SELECT value FROM json_each(?3))
                  AND (hold IS NULL OR hold NOT IN ('baseline', 'consent'))),
             open AS (
               SELECT id, customer_id, seq FROM waiting WHERE events = 1
                UNION ALL
               SELECT b.row_id, b.customer_id, b.seq FROM batched b JOIN waiting ON waiting.id = b.delivery_id)
             SELECT coalesce(group_concat(open.id), '') FROM mine JOIN open USING (customer_id)
               JOIN outbox told ON told.seq = mine.seq JOIN outbox untold ON untold.seq = open.seq
              WHERE open.id < mine.id AND (told.type = untold.type OR NOT ?4)",
        )?;
        let older: String = older
            .query_row(
                rusqlite::params![claim.delivery_id, self.tools[tool].name, taken, self.tools[tool].asks_consent],
                |row| row.get(0),
            )
            .context("the queue cannot be read")?;
        ensure!(older.is_empty(), "delivery {} is sent before {older} of its customer has ended", claim.delivery_id);
        Ok(())
    }
}

fn steady_id(delivery_id: i64) -> [u8; 16] {
    let mut id = [7; 16];
    id[..8].copy_from_slice(&delivery_id.to_be_bytes());
    id
}
