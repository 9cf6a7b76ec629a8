//! What waits until a customer agrees, looked at again.

use rusqlite::{Transaction, params};

use super::{
    EventType, Route, State,
    act::end_of_look,
    line::Line,
    route::{Consent, Subject, told_consent},
};
use crate::model::Timestamp;

/// Looks again at up to `limit` deliveries with an id above `after` that are held because it was not
/// known whether the customer agrees: who does by now gets them, for those who refused they are
/// dropped. Returns the last id looked at, `None` when there are no more. What is held for other reasons may be
/// as many as there are customers: it looks no further than a slice of those either.
///
/// # Errors
/// Those of SQLite.
pub fn review_consent(
    tx: &Transaction<'_>,
    routes: &[Route],
    after: i64,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Option<i64>> {
    let end = end_of_look(tx, State::Held, after)?;
    let mut select = tx.prepare_cached(concat!(
        "SELECT d.id, d.destination, d.customer_id, c.email, ",
        told_consent!(),
        ", c.redacted_at, o.type
         FROM deliveries d INDEXED BY deliveries_state
           CROSS JOIN customers c ON c.id = d.customer_id CROSS JOIN outbox o ON o.seq = d.seq
         WHERE d.state = 'held' AND d.id > ?1 AND d.id <= ?2 AND d.hold = 'consent' ORDER BY d.id LIMIT ?3"
    ))?;
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let held = select
        .query_map(params![after, end.unwrap_or(i64::MAX), most], |row| {
            let line = Line { destination: row.get(1)?, customer_id: row.get(2)? };
            let person: (Option<String>, Option<String>, Option<i64>) = (row.get(3)?, row.get(4)?, row.get(5)?);
            Ok((row.get::<_, i64>(0)?, line, person, row.get::<_, EventType>(6)?))
        })?
        .collect::<Result<Vec<_>, _>>()?;
    for (id, line, (email, consent, redacted_at), kind) in &held {
        let Some(route) = routes.iter().find(|route| route.name == line.destination) else { continue };
        let subject = Subject { email: email.as_deref(), consent: consent.as_deref(), erased: redacted_at.is_some() };
        match route.consent(*kind, &subject) {
            Consent::Given => line.release(tx, *id, now)?,
            Consent::Unknown => {}
            Consent::Refused(reason) => {
                tx.prepare_cached("UPDATE deliveries SET last_error = ?2 WHERE id = ?1")?
                    .execute(params![id, reason])?;
                line.finish(tx, *id, State::Discarded, now)?;
            }
        }
    }
    Ok(held.last().filter(|_| held.len() == limit).map(|(id, ..)| *id).or(end))
}
