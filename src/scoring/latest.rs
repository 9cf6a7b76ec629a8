//! The segments of the latest run, as programs are told. For readers.

use rusqlite::{Connection, OptionalExtension};

use super::{
    segment::Scheme,
    told::{BEFORE, IN_FORCE},
};
use crate::model::{Money, Timestamp};

/// A segment in the latest run.
#[derive(Debug, Clone, PartialEq)]
pub struct SegmentNow {
    pub name: String,
    pub customers: i64,
    /// Of all scored customers, 0 to 1 with three decimals.
    pub customer_share: f64,
    pub revenue: Money,
    /// Of their revenue.
    pub revenue_share: f64,
    /// Customers more than in the run before; `None` in the first, which has nothing to compare with.
    pub change: Option<i64>,
}

/// In rank order; empty before the first run.
///
/// # Errors
/// Those of SQLite.
pub fn segments_now(connection: &Connection) -> rusqlite::Result<Vec<SegmentNow>> {
    let in_force = connection.query_row(&format!("SELECT as_of, id FROM runs {IN_FORCE}"), [], |row| {
        Ok((row.get::<_, Timestamp>(0)?, row.get::<_, i64>(1)?))
    });
    let Some((as_of, run)) = in_force.optional()? else { return Ok(Vec::new()) };
    let previous: Option<i64> =
        connection.query_row(&format!("SELECT id FROM runs {BEFORE}"), (as_of, run), |row| row.get(0)).optional()?;
    let mut statement = connection.prepare(
        "SELECT now.segment, now.customers, now.revenue,
                CASE WHEN ?2 IS NOT NULL THEN now.customers - coalesce(before.customers, 0) END
           FROM run_segments AS now
           LEFT JOIN run_segments AS before ON before.run_id = ?2 AND before.segment = now.segment
          WHERE now.run_id = ?1 ORDER BY now.rank, now.segment",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(SegmentNow {
            name: row.get(0)?,
            customers: row.get(1)?,
            customer_share: 0.0,
            revenue: row.get(2)?,
            revenue_share: 0.0,
            change: row.get(3)?,
        })
    };
    let mut segments = statement.query_map((run, previous), read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let customers: i64 = segments.iter().map(|segment| segment.customers).sum();
    let revenue: Money = segments.iter().map(|segment| segment.revenue).sum();
    for segment in &mut segments {
        segment.customer_share = share(segment.customers, customers);
        segment.revenue_share = share(segment.revenue.0, revenue.0);
    }
    Ok(segments)
}

/// Every segment that somebody may be in: those of the rules in force, and those of the latest run.
///
/// # Errors
/// Those of SQLite.
pub fn known_segments(connection: &Connection, scheme: &Scheme) -> rusqlite::Result<Vec<String>> {
    let mut names: Vec<String> = scheme.segments().iter().map(|segment| segment.name.clone()).collect();
    for scored in segments_now(connection)? {
        if !names.contains(&scored.name) {
            names.push(scored.name);
        }
    }
    Ok(names)
}

/// `part` of `whole`, rounded to three decimals; 0 of nothing.
fn share(part: i64, whole: i64) -> f64 {
    if whole <= 0 {
        return 0.0;
    }
    let thousandths = (i128::from(part) * 2000 + i128::from(whole)) / (2 * i128::from(whole));
    #[expect(clippy::cast_precision_loss, reason = "at most 1000 thousandths")]
    let share = thousandths as f64 / 1000.0;
    share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_three_decimals() {
        for (part, whole, text) in [
            (181, 1000, "0.181"),
            (1, 3, "0.333"),
            (2, 3, "0.667"),
            (1, 2000, "0.001"),
            (0, 0, "0.0"),
            (7, 7, "1.0"),
            (Money::MAX * 1000, Money::MAX * 4000, "0.25"),
        ] {
            assert_eq!(format!("{:?}", share(part, whole)), text);
        }
    }
}
