//! Recording what became of a claim, and letting the next of the line go.

use rusqlite::{OptionalExtension, Transaction, params};

use super::{
    ERASED, Effect, Health, Hold, Ids, State, batch,
    destinations::Wards,
    line::{AT_ITS_TURN, Line},
};
use crate::model::Timestamp;

/// What became of one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub delivery_id: i64,
    /// [`super::Claim::token`]
    pub token: String,
    /// [`super::Claim::attempt`]
    pub attempt: u32,
    /// When the request started.
    pub started_at: Timestamp,
    pub duration_ms: i64,
    /// HTTP status; `None`: no answer.
    pub status: Option<u16>,
    /// Why it is not simply delivered; a sentence for the merchant.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub answer: Vec<u8>,
    /// Requests of it that are done now.
    pub step: usize,
    pub verdict: Verdict,
    /// What the answer means for the destination.
    pub effect: Effect,
}

/// Where the delivery goes from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// Again at `at`. `spared`: this attempt does not count against the limit.
    Retry {
        at: Timestamp,
        spared: bool,
    },
    /// The batch was refused: its halves are sent at once. `remember`: the destination gets no
    /// larger ones from now on.
    Split {
        remember: bool,
    },
    Dead,
    Held(Hold),
    /// Claimed but never sent: as if it had not been claimed.
    Unsent,
}

impl Verdict {
    /// A word for logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry { .. } => "retry",
            Self::Split { .. } => "split",
            Self::Dead => "dead",
            Self::Held(_) => "held",
            Self::Unsent => "unsent",
        }
    }
}

/// A destination that entered another state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    pub destination: String,
    pub before: Health,
    pub after: Health,
}

/// What settling did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Settlements that still held their claim. One that does not (the program was restarted and
    /// the delivery handed out again) changes nothing.
    pub matched: usize,
    pub turned: Vec<Turned>,
}

/// Records settlements. `ids` name the halves of batches.
///
/// # Errors
/// Those of SQLite.
pub fn settle(
    tx: &Transaction<'_>,
    settlements: &[Settlement],
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<Settled> {
    let (mut matched, mut wards) = (0, Wards::default());
    for settlement in settlements {
        let line = match settlement.verdict {
            Verdict::Unsent => unclaim(tx, settlement, ids, now)?,
            verdict => record(tx, settlement, verdict, now)?,
        };
        let Some(line) = line else { continue };
        matched += 1;
        // What was sent may have been a probe, whatever it told.
        if settlement.verdict != Verdict::Unsent {
            let health = wards.of(tx, &line.destination, now)?;
            *health = health.after(settlement.effect, settlement.error.as_deref(), now);
        }
        match settlement.verdict {
            Verdict::Delivered | Verdict::Dead | Verdict::Held(_) => line.advance(tx, now)?,
            Verdict::Retry { .. } | Verdict::Unsent => line.give_way(tx, settlement.delivery_id, now)?,
            Verdict::Split { remember } => {
                let half = batch::take_apart(tx, settlement.delivery_id, ids, now)?;
                if remember {
                    let half = u32::try_from(half.max(1)).unwrap_or(u32::MAX);
                    let health = wards.of(tx, &line.destination, now)?;
                    health.batch_limit = Some(health.batch_limit.map_or(half, |known| known.min(half)));
                }
            }
        }
    }
    let turned = wards.store(tx)?.into_iter();
    let turned = turned.map(|(destination, before, after)| Turned { destination, before, after }).collect();
    Ok(Settled { matched, turned })
}

fn record(
    tx: &Transaction<'_>,
    settlement: &Settlement,
    verdict: Verdict,
    now: Timestamp,
) -> rusqlite::Result<Option<Line>> {
    let (state, hold, due_at, finished_at, spared) = match verdict {
        Verdict::Delivered => (State::Delivered, None, None, Some(now), false),
        Verdict::Dead => (State::Dead, None, None, Some(now), false),
        Verdict::Retry { at, spared } => (State::Retrying, None, Some(at), None, spared),
        Verdict::Split { .. } => (State::Retrying, None, Some(now), None, true),
        Verdict::Held(hold) => (State::Held, Some(hold), None, None, false),
        Verdict::Unsent => return Ok(None),
    };
    // Somebody in it was erased while it was on its way: of what the tool says no word is kept.
    let line = tx
        .prepare_cached(
            "UPDATE deliveries SET claim = NULL, state = ?3, hold = ?4, due_at = ?5, finished_at = ?6,
               spared = spared + ?7, last_status = ?8, last_error = CASE WHEN body IS NULL AND ?9 IS NOT NULL THEN ?11 ELSE ?9 END,
               step = ?10
             WHERE id = ?1 AND claim = ?2 RETURNING destination, customer_id, body IS NULL",
        )?
        .query_row(
            params![
                settlement.delivery_id,
                settlement.token,
                state,
                hold,
                due_at,
                finished_at,
                spared,
                settlement.status,
                settlement.error,
                settlement.step,
                ERASED
            ],
            |row| Ok((Line { destination: row.get(0)?, customer_id: row.get(1)? }, row.get::<_, bool>(2)?)),
        )
        .optional()?;
    if let Some((_, erased)) = line {
        let error = settlement.error.as_deref().map(|error| if erased { ERASED } else { error });
        let answer: &[u8] = if erased { &[] } else { &settlement.answer };
        tx.prepare_cached(
            "INSERT OR REPLACE INTO attempts (delivery_id, number, started_at, duration_ms, status, error, answer)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            settlement.delivery_id,
            settlement.attempt,
            settlement.started_at,
            settlement.duration_ms,
            settlement.status,
            error,
            answer
        ])?;
    }
    Ok(line.map(|(line, _)| line))
}

/// As if it had not been claimed. A batch that was never sent is taken apart: something before it
/// failed, and its customers may have to wait for that.
fn unclaim(
    tx: &Transaction<'_>,
    settlement: &Settlement,
    ids: &mut Ids,
    now: Timestamp,
) -> rusqlite::Result<Option<Line>> {
    let given_back = tx
        .prepare_cached(
            "UPDATE deliveries SET claim = NULL, attempts = attempts - 1,
               due_at = CASE attempts WHEN 1 THEN ?4 ELSE ?3 END,
               state = CASE attempts WHEN 1 THEN 'waiting' ELSE 'retrying' END
             WHERE id = ?1 AND claim = ?2 RETURNING destination, customer_id, events > 1 AND attempts = 0",
        )?
        .query_row(params![settlement.delivery_id, settlement.token, now, AT_ITS_TURN], |row| {
            Ok((Line { destination: row.get(0)?, customer_id: row.get(1)? }, row.get::<_, bool>(2)?))
        })
        .optional()?;
    if let Some((_, true)) = given_back {
        batch::dissolve(tx, settlement.delivery_id, ids, now)?;
    }
    Ok(given_back.map(|(line, _)| line))
}
