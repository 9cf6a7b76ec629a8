//! `quintile segments`: how large each segment is and what it brings.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{
    Context, Outcome, UsageError,
    output::{Column, Format, List},
};
use crate::{
    config::{Config, Mistake},
    model::Currency,
    scoring::{
        self, SegmentNow,
        segment::{Problem, Scheme},
    },
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
    let empty = "No run has scored your customers yet; `quintile score` does.";
    let mut list = List::to_stdout(args.format, COLUMNS, empty)?;
    for segment in scoring::segments_now(&snapshot)? {
        list.row(&row(&segment, context.config.shop.currency))?;
    }
    list.finish()?;
    Ok(Outcome::Done)
}

/// Refuses a `--segment` that neither the rules in force nor the latest run have.
pub fn must_know(connection: &Connection, context: &Context, segment: &str) -> anyhow::Result<()> {
    let scheme = Scheme::from_config(&context.config).map_err(|error| UsageError(error.to_string()))?;
    let names = scoring::known_segments(connection, &scheme)?;
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

fn row(segment: &SegmentNow, currency: Currency) -> [Value; 6] {
    [
        json!(segment.name),
        json!(segment.customers),
        json!(segment.customer_share),
        json!(segment.revenue.to_decimal(currency)),
        json!(segment.revenue_share),
        json!(segment.change),
    ]
}
