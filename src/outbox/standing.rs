//! How each destination fares and what its queue holds, as programs are told. For readers.

use rusqlite::{Connection, params};
use serde::Serialize;
use utoipa::ToSchema;

use super::{DestinationState, State, health};
use crate::{config, model::Timestamp};

/// A destination of the configuration. Counts are of events; in each state up to 10,000 deliveries are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Destination)]
pub struct Standing {
    pub name: String,
    /// "webhook", or the email tool.
    pub kind: String,
    #[serde(serialize_with = "super::read::as_text")]
    #[schema(value_type = String)]
    pub state: DestinationState,
    /// In flight ones included.
    pub waiting: i64,
    pub retrying: i64,
    pub held: i64,
    pub delivered: i64,
    pub dead: i64,
    /// Why it is not active, or what to mend although it is.
    pub reason: Option<String>,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// While failing: when it is tried again.
    pub next_probe_at: Option<Timestamp>,
    /// It asked for nothing before this.
    pub wait_until: Option<Timestamp>,
    /// Events per request at most, where it refused more.
    pub batch_limit: Option<u32>,
}

/// In the order of the configuration. In each state at most `most` deliveries are counted.
///
/// # Errors
/// Those of SQLite.
pub fn standings(
    connection: &Connection,
    destinations: &[config::Destination],
    most: i64,
    now: Timestamp,
) -> rusqlite::Result<Vec<Standing>> {
    // The index of receipts has destination and state behind the run: a look for each run.
    let mut events = connection.prepare_cached(
        "SELECT coalesce(sum(events), 0) FROM (
           SELECT events FROM deliveries INDEXED BY deliveries_run
            WHERE run_id IS NULL AND destination = ?1 AND state = ?2
            UNION ALL
           SELECT d.events FROM runs CROSS JOIN deliveries d INDEXED BY deliveries_run
            WHERE d.run_id = runs.id AND d.destination = ?1 AND d.state = ?2
            LIMIT ?3)",
    )?;
    let mut standing = |destination: &config::Destination| {
        let health = health(connection, &destination.name, now)?;
        let mut count = |state: State| -> rusqlite::Result<i64> {
            events.query_row(params![destination.name, state, most], |row| row.get(0))
        };
        Ok(Standing {
            name: destination.name.clone(),
            kind: destination.kind.clone(),
            state: health.state,
            waiting: count(State::Waiting)? + count(State::Sending)?,
            retrying: count(State::Retrying)?,
            held: count(State::Held)?,
            delivered: count(State::Delivered)?,
            dead: count(State::Dead)?,
            reason: health.reason,
            since: health.since,
            next_probe_at: health.probe_at,
            wait_until: health.wait_until,
            batch_limit: health.batch_limit,
        })
    };
    destinations.iter().map(&mut standing).collect()
}
