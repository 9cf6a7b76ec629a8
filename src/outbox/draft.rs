//! One delivery as it was sent, or as it would be sent now. For readers: nothing here writes.

use rusqlite::{Connection, OptionalExtension};

use super::{Claim, Event, Route, Shop, State, batch::events_of, body_of, envelope::event_columns};
use crate::model::Timestamp;

/// A delivery to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// As it is handed to the forwarder, but for its right to be sent: `token` is empty. Of what was
    /// never tried its first attempt.
    pub claim: Claim,
    /// These bytes were sent; else they are what would be sent now.
    pub frozen: bool,
}

/// The delivery `id` to the destination that `routes` has at `route`. `None`: there is no body, because
/// it was forgotten or never made, and will not be.
///
/// # Errors
/// Those of SQLite.
pub fn draft(
    connection: &Connection,
    shop: &Shop,
    routes: &[Route],
    route: usize,
    id: i64,
) -> rusqlite::Result<Option<Draft>> {
    let found = connection
        .prepare_cached(
            "SELECT message_id, replay_of, state, attempts, spared, events, step, created_at, body, seq
             FROM deliveries WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let (state, attempts, spared): (State, u32, u32) = (row.get(2)?, row.get(3)?, row.get(4)?);
            let body: Option<Vec<u8>> = row.get(8)?;
            let claim = Claim {
                delivery_id: id,
                route,
                token: String::new(),
                message_id: row.get(0)?,
                replay_of: row.get(1)?,
                kind: super::EventType::SegmentChanged,
                events: row.get(5)?,
                initial: false,
                attempt: attempts.max(1),
                counted: attempts.saturating_sub(spared).max(1),
                probe: false,
                early: None,
                step: row.get(6)?,
                created_at: row.get::<_, Timestamp>(7)?,
                body: Vec::new(),
            };
            Ok((claim, state, attempts, body, row.get::<_, i64>(9)?))
        })
        .optional()?;
    let Some((mut claim, state, attempts, body, seq)) = found else { return Ok(None) };
    let to_come = attempts == 0 && matches!(state, State::Waiting | State::Held);
    if body.is_none() && !to_come {
        return Ok(None);
    }
    let events = if claim.events > 1 { events_of(connection, id)? } else { vec![event_of(connection, seq)?] };
    if let Some(event) = events.last() {
        (claim.kind, claim.initial) = (event.kind, event.is_initial());
    }
    let frozen = body.is_some();
    claim.body = match (body, routes.get(route)) {
        (Some(body), _) => body,
        (None, Some(route)) => body_of(shop, route, &claim.message_id, &events),
        (None, None) => return Ok(None),
    };
    Ok(Some(Draft { claim, frozen }))
}

fn event_of(connection: &Connection, seq: i64) -> rusqlite::Result<Event> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            event_columns!(),
            " FROM outbox o LEFT JOIN customers c ON c.id = o.customer_id WHERE o.seq = ?1"
        ))?
        .query_row([seq], |row| Event::from_row(row, 0))
}
