//! Who has not ordered for as long as the merchant asked about (`lapsed_days`), since this run and
//! not since the one before.

use rusqlite::{Connection, Transaction, params};

use super::compare::Before;
use crate::{model::Timestamp, outbox::Lapse};

/// A customer for whom a threshold was passed between two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapsed {
    customer_id: i64,
    last_order_at: Timestamp,
    days: u32,
}

/// Who passed a threshold after the as-of of the run before, and at `as_of` at the latest. Without
/// a run before, nobody: years of customers would lapse in one night.
///
/// # Errors
/// Those of SQLite.
pub fn find(
    connection: &Connection,
    thresholds: &[u32],
    before: &Before,
    as_of: Timestamp,
) -> rusqlite::Result<Vec<Lapsed>> {
    let Some(previous) = before.as_of.filter(|previous| *previous < as_of && !before.statistics_only) else {
        return Ok(Vec::new());
    };
    if thresholds.is_empty() {
        return Ok(Vec::new());
    }
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
         WHERE ({}) AND order_count > 0 AND merged_into IS NULL AND redacted_at IS NULL AND deleted_at IS NULL
         ORDER BY id",
        spans.join(" OR ")
    );
    let mut select = connection.prepare(&sql)?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (customer_id, last_order_at) = (row.get(0)?, row.get(1)?);
        if let Some(days) = passed(thresholds, last_order_at, previous, as_of) {
            found.push(Lapsed { customer_id, last_order_at, days });
        }
    }
    Ok(found)
}

/// The largest threshold that was passed after `previous` and not after `as_of`.
fn passed(thresholds: &[u32], last_order_at: Timestamp, previous: Timestamp, as_of: Timestamp) -> Option<u32> {
    let is_passed = |days: &&u32| {
        let at = last_order_at.plus_millis(millis(**days));
        previous < at && at <= as_of
    };
    thresholds.iter().filter(is_passed).max().copied()
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
    fn a_threshold_is_passed_once_and_of_several_the_largest_counts() {
        let day = |day: i64| Timestamp::from_millis(day * Timestamp::DAY);
        for (previous, as_of, expected) in [
            (0, 29, None),
            (29, 30, Some(30)), // on the day itself
            (30, 31, None),     // was told
            (29, 89, Some(30)),
            (29, 90, Some(90)),
            (89, 91, Some(90)),
            (90, 400, None),
        ] {
            let found = passed(&[30, 90], day(0), day(previous), day(as_of));
            assert_eq!(found, expected, "from day {previous} to day {as_of}");
        }
    }
}
