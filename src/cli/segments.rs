//! `quintile segments`: how large each segment is and what it brings.

use rusqlite::{Connection, OptionalExtension};
use serde_json::{Value, json};

use super::{
    Context, Outcome, UsageError,
    output::{Column, Format, List},
};
use crate::{
    config::{Config, Mistake},
    model::{Currency, Money},
    scoring::segment::{Problem, Scheme},
};

/// Show every segment with its customers and revenue, as of the latest run
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const COLUMNS: &[Column] = &[
    Column::text("segment", "Segment"),
    Column::number("customers", "Customers"),
    Column::share("customerShare", "Share"),
    Column::number("revenue", "Revenue"),
    Column::share("revenueShare", "Share"),
    Column::number("change", "Change"),
];

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let mut connection = readers.get()?;
    let snapshot = connection.transaction()?;
    let segments = latest(&snapshot)?;
    let empty = "No run has scored your customers yet; `quintile score` does.";
    let mut list = List::to_stdout(args.format, COLUMNS, empty)?;
    for row in rows(&segments, context.config.shop.currency) {
        list.row(&row)?;
    }
    list.finish()?;
    Ok(Outcome::Done)
}

/// A segment in the latest run.
struct Segment {
    name: String,
    customers: i64,
    revenue: Money,
    /// Customers in the run before; `None` when that was the first.
    before: Option<i64>,
}

/// In rank order; empty before the first run.
fn latest(connection: &Connection) -> rusqlite::Result<Vec<Segment>> {
    // "Latest" by the instant a run looked at: a backfill made today is about the past.
    let Some((run, previous)) = connection
        .query_row(
            "SELECT id, (SELECT earlier.id FROM runs AS earlier
                          WHERE earlier.scored_at IS NOT NULL AND (earlier.as_of, earlier.id) < (runs.as_of, runs.id)
                          ORDER BY earlier.as_of DESC, earlier.id DESC LIMIT 1)
               FROM runs WHERE scored_at IS NOT NULL ORDER BY as_of DESC, id DESC LIMIT 1",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?)),
        )
        .optional()?
    else {
        return Ok(Vec::new());
    };
    let mut statement = connection.prepare(
        "SELECT now.segment, now.customers, now.revenue,
                CASE WHEN ?2 IS NOT NULL THEN coalesce(before.customers, 0) END
           FROM run_segments AS now
           LEFT JOIN run_segments AS before ON before.run_id = ?2 AND before.segment = now.segment
          WHERE now.run_id = ?1 ORDER BY now.rank",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Segment { name: row.get(0)?, customers: row.get(1)?, revenue: row.get(2)?, before: row.get(3)? })
    };
    statement.query_map((run, previous), read)?.collect()
}

/// Refuses a `--segment` that neither the rules in force nor the latest run have.
pub fn must_know(connection: &Connection, context: &Context, segment: &str) -> anyhow::Result<()> {
    let scheme = Scheme::from_config(&context.config).map_err(|error| UsageError(error.to_string()))?;
    let mut names = names(&scheme);
    for scored in latest(connection)? {
        if !names.contains(&scored.name) {
            names.push(scored.name);
        }
    }
    if names.iter().any(|name| name == segment) {
        return Ok(());
    }
    Err(UsageError(format!("there is no segment {segment:?}; --segment takes {}", names.join(", "))).into())
}

/// In rank order.
fn names(scheme: &Scheme) -> Vec<String> {
    scheme.segments().iter().map(|segment| segment.name.clone()).collect()
}

/// What of the configuration does not fit the segments: rules that name none for somebody, filters
/// on segments that nobody can be in, which would silently send nothing.
pub fn mistakes(config: &Config) -> Vec<Mistake> {
    let scheme = match Scheme::from_config(config) {
        Ok(scheme) => scheme,
        Err(unusable) => {
            let mistake = |problem: &Problem| Mistake { path: vec!["segment".into()], message: problem.to_string() };
            return unusable.0.iter().map(mistake).collect();
        }
    };
    let mut mistakes = Vec::new();
    for (index, destination) in config.destination.iter().enumerate() {
        for (key, filter) in [("to", &destination.to), ("from", &destination.from)] {
            for (place, name) in filter.iter().enumerate().filter(|(_, name)| scheme.get(name).is_none()) {
                mistakes.push(Mistake {
                    path: vec!["destination".into(), index.into(), key.into(), place.into()],
                    message: format!("there is no segment {name:?}; write {}", names(&scheme).join(", ")),
                });
            }
        }
    }
    mistakes
}

fn rows(segments: &[Segment], currency: Currency) -> Vec<[Value; 6]> {
    let customers: i64 = segments.iter().map(|segment| segment.customers).sum();
    let revenue: Money = segments.iter().map(|segment| segment.revenue).sum();
    let row = |segment: &Segment| {
        [
            json!(segment.name),
            json!(segment.customers),
            share(segment.customers, customers),
            json!(segment.revenue.to_decimal(currency)),
            share(segment.revenue.0, revenue.0),
            // The first run has nothing to compare with: nothing has changed.
            json!(segment.before.map_or(0, |before| segment.customers - before)),
        ]
    };
    segments.iter().map(row).collect()
}

/// `part` of `whole`, rounded to three decimals; 0 of nothing.
fn share(part: i64, whole: i64) -> Value {
    if whole <= 0 {
        return json!(0.0);
    }
    let thousandths = (i128::from(part) * 2000 + i128::from(whole)) / (2 * i128::from(whole));
    #[expect(clippy::cast_precision_loss, reason = "at most 1000 thousandths")]
    let share = thousandths as f64 / 1000.0;
    json!(share)
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
            assert_eq!(share(part, whole).to_string(), text);
        }
    }
}
