//! Who has not ordered for as long as the merchant asked about (`lapsed_days`), as of this run and
//! not as of the one before: each threshold once until the next order, the smaller ones first.
//!
//! Several that pass in one gap are all told: a tool that listens for one of them must not miss it
//! because the computer was off. An order that is cancelled after a run saw it was one: the thresholds
//! that the customer is past again without it are told, also if they were before that order.

use rusqlite::{Connection, Transaction, params};

use super::{compare::Before, sql::Parameters};
use crate::{model::Timestamp, outbox::Lapse};

/// A customer for whom a threshold was passed between two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapsed {
    customer_id: i64,
    last_order_at: Timestamp,
    days: u32,
}

/// Who passed a threshold after the as-of of the run before, and at `parameters.as_of` at the latest.
/// Without a run before, nobody: years of customers would lapse in one night.
///
/// # Errors
/// Those of SQLite.
pub fn find(
    connection: &Connection,
    thresholds: &[u32],
    before: &Before,
    parameters: &Parameters,
) -> rusqlite::Result<Vec<Lapsed>> {
    let as_of = parameters.as_of;
    let Some(previous) = before.as_of.filter(|previous| *previous < as_of && !before.statistics_only) else {
        return Ok(Vec::new());
    };
    if thresholds.is_empty() {
        return Ok(Vec::new());
    }
    let mut found = waited(connection, thresholds, previous, as_of)?;
    found.extend(lost_an_order(connection, thresholds, previous, parameters)?);
    found.sort_by_key(|lapsed| (lapsed.customer_id, lapsed.days));
    found.dedup();
    Ok(found)
}

/// Those for whom nothing but time has passed.
fn waited(
    connection: &Connection,
    thresholds: &[u32],
    previous: Timestamp,
    as_of: Timestamp,
) -> rusqlite::Result<Vec<Lapsed>> {
    let spans: Vec<String> = thresholds
        .iter()
        .map(|days| {
            let [after, until] = [previous, as_of].map(|end| end.plus_millis(-millis(*days)).millis());
            format!("(last_order_at > {after} AND last_order_at <= {until})")
        })
        .collect();
    // One pass over everyone, however many thresholds there are.
    let sql = format!(
        "SELECT id, last_order_at FROM customers
         WHERE ({}) AND order_count > 0 AND merged_into IS NULL AND redacted_at IS NULL AND deleted_at IS NULL",
        spans.join(" OR ")
    );
    let mut select = connection.prepare(&sql)?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (customer_id, last_order_at) = (row.get(0)?, row.get(1)?);
        let days = passed(thresholds, (last_order_at, previous), (last_order_at, as_of));
        found.extend(days.map(|days| Lapsed { customer_id, last_order_at, days }));
    }
    Ok(found)
}

/// Those whose last order at the run before counts no more: an older one is the last again. Of their
/// orders up to then fewer count than that run counted, and one after the last that counts now was
/// told of since.
fn lost_an_order(
    connection: &Connection,
    thresholds: &[u32],
    previous: Timestamp,
    parameters: &Parameters,
) -> rusqlite::Result<Vec<Lapsed>> {
    let mut select = connection.prepare(
        // By the index alone, but for the orders that are meant.
        "SELECT c.id, c.last_order_at, max(o.ordered_at)
           FROM orders o INDEXED BY orders_customer CROSS JOIN customers c ON c.id = o.customer_id
           CROSS JOIN customer_scores s ON s.customer_id = c.id
          WHERE o.counted = 0 AND o.ordered_at > c.last_order_at AND o.ordered_at <= ?1 AND o.received_at > ?1
            AND c.order_count > 0 AND c.merged_into IS NULL AND c.redacted_at IS NULL AND c.deleted_at IS NULL
            AND s.order_count > (SELECT count(*) FROM orders still
                                  WHERE still.customer_id = c.id AND still.counted = 1 AND still.ordered_at <= ?1
                                    AND still.ordered_at > ?2)
          GROUP BY o.customer_id",
    )?;
    let window = Parameters { as_of: previous, ..*parameters }.window_start();
    let mut rows = select.query(params![previous, window])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (customer_id, last_order_at, was) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let days = passed(thresholds, (was, previous), (last_order_at, parameters.as_of));
        found.extend(days.map(|days| Lapsed { customer_id, last_order_at, days }));
    }
    Ok(found)
}

/// The thresholds that a customer was not past `then` and is past `now`, each the last order at that
/// time and the time.
fn passed(thresholds: &[u32], then: (Timestamp, Timestamp), now: (Timestamp, Timestamp)) -> impl Iterator<Item = u32> {
    let is_past =
        |days: u32, (last_order_at, at): (Timestamp, Timestamp)| last_order_at.plus_millis(millis(days)) <= at;
    thresholds.iter().copied().filter(move |days| !is_past(*days, then) && is_past(*days, now))
}

fn millis(days: u32) -> i64 {
    i64::from(days) * Timestamp::DAY
}

/// Of those, who still has the same last order: orders came while the run ranked.
///
/// # Errors
/// Those of SQLite.
pub fn still(tx: &Transaction<'_>, lapsed: &[Lapsed]) -> rusqlite::Result<Vec<Lapse>> {
    let mut ask = tx.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM customers WHERE id = ?1 AND last_order_at = ?2 AND merged_into IS NULL
           AND redacted_at IS NULL AND deleted_at IS NULL)",
    )?;
    let mut still = Vec::with_capacity(lapsed.len());
    for Lapsed { customer_id, last_order_at, days } in lapsed {
        if ask.query_row(params![customer_id, last_order_at], |row| row.get(0))? {
            still.push(Lapse { customer_id: *customer_id, days: *days });
        }
    }
    Ok(still)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_threshold_is_passed_once() {
        let day = |day: i64| Timestamp::from_millis(day * Timestamp::DAY);
        // The last order at the run before and now, the days of both runs.
        for ((was, last), (previous, as_of), expected) in [
            ((0, 0), (0, 29), &[][..]),
            ((0, 0), (29, 30), &[30]), // on the day itself
            ((0, 0), (30, 31), &[]),   // was told
            ((0, 0), (29, 89), &[30]),
            ((0, 0), (29, 90), &[30, 90]),
            ((0, 0), (89, 91), &[90]),
            ((0, 0), (90, 400), &[]),
            // The last order was cancelled.
            ((177, 0), (178, 179), &[30, 90]),
            ((120, 0), (178, 179), &[90]),
            ((170, 150), (178, 179), &[]),
            ((40, 0), (178, 179), &[]),
        ] {
            let found: Vec<u32> = passed(&[30, 90], (day(was), day(previous)), (day(last), day(as_of))).collect();
            assert_eq!(found, expected, "from day {previous} to day {as_of}");
        }
    }
}
