//! What holds at any moment, and what holds once everything has come to rest.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use chrono::NaiveDate;
use quintile::{invariants, model::Timestamp};
use rusqlite::Row;

use super::{
    oracle::{Counters, Event, Scored},
    store::buyers,
    world::World,
};
use crate::support::shop::LABEL;

/// No attempt is further away than this.
const LONGEST_WAIT: i64 = 29 * Timestamp::DAY / 24;

impl World {
    pub fn rows<T>(&self, sql: &str, read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>) -> anyhow::Result<Vec<T>> {
        let reader = self.reader()?;
        let mut statement = reader.prepare_cached(sql)?;
        let rows = statement.query_map([], read)?.collect::<Result<_, _>>();
        rows.with_context(|| format!("cannot read {sql}"))
    }

    /// The rows of `sql`, of which there must be none.
    fn none(&self, law: &str, sql: &str) -> anyhow::Result<()> {
        let broken: Vec<String> = self.rows(sql, |row| row.get(0))?;
        ensure!(broken.is_empty(), "{law}: {broken:?}");
        Ok(())
    }

    /// Runs that were scored since the last look did what the oracle says.
    pub fn check_runs(&mut self) -> anyhow::Result<()> {
        let asked =
            format!("SELECT id, as_of FROM runs WHERE trigger = 'manual' AND id > {} ORDER BY id", self.seen_asked);
        for (id, as_of) in self.rows(&asked, |row| Ok((row.get(0)?, row.get(1)?)))? {
            self.oracle.is_asked(as_of);
            self.seen_asked = id;
        }
        let runs = self
            .rows("SELECT id, as_of FROM runs WHERE scored_at IS NOT NULL ORDER BY scored_at, id", |row| {
                Ok(Scored { id: row.get(0)?, as_of: row.get(1)? })
            })?;
        for run in runs.into_iter().skip(self.seen_runs) {
            let events = self.events(&format!("run_id = {}", run.id))?;
            self.note(format!("run {} as of {}: {} events", run.id, run.as_of, events.len()));
            self.oracle.is_scored(run, events)?;
            self.seen_runs += 1;
        }
        Ok(())
    }

    fn events(&self, condition: &str) -> anyhow::Result<Vec<Event>> {
        self.rows(
            &format!(
                "SELECT type, {LABEL}, old_segment, new_segment FROM outbox
                 JOIN customers c ON c.id = outbox.customer_id WHERE {condition}"
            ),
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
    }

    /// Counters, messages and events are those of the oracle.
    pub fn check_oracle(&self) -> anyhow::Result<()> {
        let rows = self.rows(
            &format!(
                "SELECT {LABEL}, order_count, total_spent, first_order_at, last_order_at, consent FROM customers c"
            ),
            |row| {
                let counters: Counters = (row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?);
                Ok((row.get::<_, String>(0)?, (counters, row.get::<_, Option<String>>(5)?)))
            },
        )?;
        let mut stored: BTreeMap<_, _> = rows.into_iter().collect();
        for customer in buyers() {
            let consent = self.oracle.consent(customer).map(str::to_owned);
            let expected = (self.oracle.counters(customer), consent);
            let actual = stored.remove(&customer.label()).unwrap_or(((0, 0, None, None), None));
            ensure!(actual == expected, "{} has {actual:?}, and should have {expected:?}", customer.label());
        }
        ensure!(stored.is_empty(), "customers that nobody named: {stored:?}");
        let keys = self.rows("SELECT delivery_key FROM inbox", |row| row.get::<_, String>(0))?;
        ensure!(
            keys.len() == self.oracle.stored.len(),
            "{} of {} messages are there",
            keys.len(),
            self.oracle.stored.len()
        );
        ensure!(keys.iter().all(|key| self.oracle.stored.contains(key)), "a message is there that nobody sent");
        let mut events: BTreeMap<Event, usize> = BTreeMap::new();
        for event in self.events("TRUE")? {
            *events.entry(event).or_default() += 1;
        }
        ensure!(events == self.oracle.events, "there are {events:?}, and should be {:?}", self.oracle.events);
        Ok(())
    }

    /// What holds at any moment.
    pub fn check_laws(&mut self) -> anyhow::Result<()> {
        let mut violations = invariants::violations(&*self.reader()?)?;
        if self.program().courier.gives_back() {
            // Until then the half of a batch that was split stands in a line beside what is given back.
            violations.retain(|violation| !violation.contains("one alone is due or sent"));
        }
        ensure!(violations.is_empty(), "{}", violations.join("; "));
        self.none(
            "a customer's events are told with times that ascend",
            "SELECT format('event %d', seq) FROM
               (SELECT seq, at, lag(at) OVER (PARTITION BY customer_id ORDER BY seq) AS before FROM outbox)
              WHERE at <= before",
        )?;
        self.none(
            "a night has one run",
            "SELECT slot FROM runs WHERE slot IS NOT NULL GROUP BY slot HAVING count(*) > 1",
        )?;
        self.check_ends()
    }

    /// Nothing waits for what a customer has said already.
    pub fn check_waits_for_consent(&self) -> anyhow::Result<()> {
        let waits = self.rows(
            &format!("SELECT DISTINCT {LABEL} FROM deliveries d JOIN customers c ON c.id = d.customer_id WHERE hold = 'consent' AND state = 'held'"),
            |row| row.get::<_, String>(0),
        )?;
        for customer in buyers().into_iter().filter(|customer| waits.contains(&customer.label())) {
            let said = self.oracle.consent(customer);
            ensure!(said.is_none(), "deliveries still wait for what {} said: {said:?}", customer.label());
        }
        Ok(())
    }

    /// Of whom a tool of e-mails is told has agreed.
    pub fn check_agreed(&self, customer: i64) -> anyhow::Result<()> {
        let labels = self
            .rows(&format!("SELECT {LABEL} FROM customers c WHERE id = {customer}"), |row| row.get::<_, String>(0))?;
        let named = buyers().into_iter().find(|buyer| labels.contains(&buyer.label()));
        let said = named.and_then(|customer| self.oracle.consent(customer));
        ensure!(said == Some("subscribed"), "a tool is told of {labels:?}, who said {said:?}");
        Ok(())
    }

    /// What has ended stays so, but for a dead one that is sent again; and who is said to have it, has it.
    fn check_ends(&mut self) -> anyhow::Result<()> {
        let rows = self.rows(
            "SELECT id, state, message_id, destination FROM deliveries WHERE finished_at IS NOT NULL",
            |row| {
                Ok((
                    row.get::<_, i64>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, [u8; 16]>(2)?,
                    row.get::<_, String>(3)?,
                ))
            },
        )?;
        let mut ended = BTreeMap::new();
        for (id, state, message_id, destination) in rows {
            let before = self.ended.remove(&id).unwrap_or_else(|| state.clone());
            ensure!(
                before == state || (before == "dead" && state == "superseded"),
                "delivery {id} was {before} and is {state}"
            );
            let tool = self.tools.iter().find(|tool| tool.name == destination).context("an unknown tool")?;
            ensure!(
                state != "delivered" || tool.took(message_id),
                "delivery {id} is delivered, but {destination} has not got it"
            );
            ended.insert(id, state);
        }
        ensure!(self.ended.is_empty(), "deliveries that had ended are gone: {:?}", self.ended);
        self.ended = ended;
        Ok(())
    }

    /// After a turn that served a tool none of its attempts is further away than the longest wait, whatever
    /// the clock did.
    pub fn check_waits(&self, tool: &str) -> anyhow::Result<()> {
        let latest = self.now().plus_millis(LONGEST_WAIT).millis();
        self.none(
            "an attempt is too far away",
            &format!(
                "SELECT format('delivery %d', deliveries.id) FROM deliveries LEFT JOIN destinations ON name = destination
                  WHERE destination = '{tool}' AND due_at > {latest} AND coalesce(destinations.state, 'active') = 'active'
                    AND wait_until IS NULL"
            ),
        )
    }

    /// The night has its run.
    pub fn check_night(&self, slot: NaiveDate) -> anyhow::Result<()> {
        let states =
            self.rows(&format!("SELECT state FROM runs WHERE slot = '{slot}'"), |row| row.get::<_, String>(0))?;
        ensure!(states == ["done"], "the run of the night of {slot}: {states:?}");
        Ok(())
    }

    /// After a whole walk no body is kept longer than it should be, or as long as one before it.
    pub fn check_forgotten(&self, now: Timestamp) -> anyhow::Result<()> {
        for (states, days) in [("'delivered', 'superseded', 'discarded'", 30), ("'dead'", 90)] {
            let until = now.plus_millis(-days * Timestamp::DAY).millis();
            let now = now.millis();
            self.none(
                "a body is kept for too long",
                &format!(
                    "SELECT format('delivery %d is %s', id, state) FROM deliveries d
                      WHERE body IS NOT NULL AND state IN ({states}) AND finished_at <= {until} AND NOT EXISTS
                        (SELECT 1 FROM deliveries before WHERE before.state = d.state AND before.id <= d.id
                            AND before.created_at > {until} AND before.created_at <= {now})"
                ),
            )?;
        }
        Ok(())
    }

    /// Nothing waits any more: each tool has every event that it wants, or a reason stands in sight.
    pub fn check_rest(&self) -> anyhow::Result<()> {
        self.none(
            "a delivery still waits",
            "SELECT format('%d is %s at %s', id, state, destination) FROM deliveries
              WHERE finished_at IS NULL AND state <> 'held'",
        )?;
        self.none("an event was not queued", "SELECT format('%d', seq) FROM unqueued")?;
        self.none(
            "a run is not done",
            "SELECT format('%d is %s', id, state) FROM runs WHERE state NOT IN ('done', 'failed')",
        )?;
        for tool in &self.tools {
            let told = self.rows(
                &format!(
                    "WITH told AS (
                       SELECT seq, state FROM deliveries WHERE destination = '{0}' AND events = 1 AND replay_of IS NULL
                        UNION ALL
                       SELECT b.seq, d.state FROM batched b JOIN deliveries d ON d.id = b.delivery_id
                        WHERE d.destination = '{0}' AND d.replay_of IS NULL)
                     SELECT outbox.seq, type, redacted_at IS NOT NULL, count(told.seq), coalesce(max(told.state), '')
                       FROM outbox JOIN customers ON customers.id = customer_id LEFT JOIN told ON told.seq = outbox.seq
                      GROUP BY outbox.seq",
                    tool.name
                ),
                |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get::<_, String>(1)?,
                        row.get::<_, i64>(3)?,
                        row.get::<_, String>(4)?,
                    ))
                },
            )?;
            for (seq, kind, paths, state) in told {
                let wanted = i64::from(kind != "customer/redacted" || !tool.asks_consent);
                ensure!(paths == wanted, "event {seq} ({kind}) has {paths} deliveries to {}, not {wanted}", tool.name);
                let known = tool.known.contains(&seq);
                ensure!(
                    (state == "delivered") == known,
                    "event {seq} is {state:?} at {}, which knows: {known}",
                    tool.name
                );
            }
        }
        Ok(())
    }
}
