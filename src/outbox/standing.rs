//! How each destination fares and what its queue holds, as programs are told. For readers.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde::Serialize;
use utoipa::ToSchema;

use super::{DestinationState, State, health};
use crate::{config, model::Timestamp};

/// A destination of the configuration. Counts are of events.
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

/// In the order of the configuration. Walks over the queue's index by state once.
///
/// # Errors
/// Those of SQLite.
pub fn standings(
    connection: &Connection,
    destinations: &[config::Destination],
    now: Timestamp,
) -> rusqlite::Result<Vec<Standing>> {
    let counts: BTreeMap<(String, String), i64> = connection
        .prepare("SELECT destination, state, sum(events) FROM deliveries GROUP BY destination, state")?
        .query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let standing = |destination: &config::Destination| {
        let health = health(connection, &destination.name, now)?;
        let count = |states: &[State]| {
            let of = |state: &State| counts.get(&(destination.name.clone(), state.to_string())).copied().unwrap_or(0);
            states.iter().map(of).sum()
        };
        Ok(Standing {
            name: destination.name.clone(),
            kind: destination.kind.clone(),
            state: health.state,
            waiting: count(&[State::Waiting, State::Sending]),
            retrying: count(&[State::Retrying]),
            held: count(&[State::Held]),
            delivered: count(&[State::Delivered]),
            dead: count(&[State::Dead]),
            reason: health.reason,
            since: health.since,
            next_probe_at: health.probe_at,
            wait_until: health.wait_until,
            batch_limit: health.batch_limit,
        })
    };
    destinations.iter().map(standing).collect()
}
