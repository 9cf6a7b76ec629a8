//! `quintile customers`: everyone, with counters, scores and segment.

use anyhow::Context as _;
use rusqlite::{Connection, Row};
use serde_json::{Value, json};

use super::{
    Context, Outcome,
    output::{Column, Format, List},
    segments,
};
use crate::{
    config::Config,
    model::{Currency, Money, Source, Timestamp},
    scoring::{
        segment::NONE,
        told::{Told, segment_id},
    },
};

/// List customers with their counters, scores and segment
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only customers in this segment; `none`: those without one
    #[arg(long)]
    segment: Option<String>,
    /// Only customers whose e-mail or name holds this text, or whose id is it
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What is told of a customer, here and by `quintile customer`.
pub const COLUMNS: &[Column] = &[
    Column::text("id", "Id"),
    Column::hidden("source"),
    Column::hidden("externalId"),
    Column::text("email", "E-mail").guarded(),
    Column::text("firstName", "First name").guarded(),
    Column::text("lastName", "Last name").guarded(),
    Column::number("orderCount", "Orders"),
    Column::number("totalSpent", "Spent"),
    Column::hidden("avgOrderValue"),
    Column::hidden("currency"),
    Column::hidden("firstOrderAt"),
    Column::text("lastOrderAt", "Last order"),
    Column::number("r", "R"),
    Column::number("f", "F"),
    Column::number("m", "M"),
    Column::text("segment", "Segment"),
    Column::hidden("previousSegment"),
    Column::hidden("segmentSince"),
];

/// Ends before WHERE; the columns in the order of [`COLUMNS`], without the currency.
pub fn select(config: &Config) -> String {
    format!(
        "SELECT c.id, c.source, c.external_id, c.email, c.first_name, c.last_name, c.order_count, c.total_spent,
                c.avg_order_value, c.first_order_at, c.last_order_at, {}, s.previous_segment, s.segment_since
           FROM customers AS c LEFT JOIN scores AS s ON s.customer_id = c.id",
        Told::from_config(config).columns()
    )
}

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let mut connection = readers.get()?;
    let snapshot = connection.transaction()?;
    if let Some(segment) = args.segment.as_ref().filter(|segment| *segment != NONE) {
        segments::must_know(&snapshot, context, segment)?;
    }
    let mut list = List::to_stdout(args.format, COLUMNS, "No customers.")?;
    print_all(&snapshot, args, &context.config, &mut list)?;
    list.finish()?;
    Ok(Outcome::Done)
}

fn print_all(
    snapshot: &Connection,
    args: &Args,
    config: &Config,
    list: &mut List<impl std::io::Write>,
) -> anyhow::Result<()> {
    let told = Told::from_config(config).condition();
    let by_segment = match args.segment.as_deref() {
        Some(NONE) => format!("?1 IS NOT NULL AND (s.segment IS NULL OR NOT {told})"),
        Some(_) => format!(
            "c.id IN (SELECT customer_id FROM customer_scores WHERE segment_id = {}) AND {told}",
            segment_id("?1")
        ),
        None => "?1 IS NULL".to_owned(),
    };
    let mut statement = snapshot.prepare(&format!(
        "{} WHERE c.merged_into IS NULL AND c.deleted_at IS NULL AND {by_segment} ORDER BY c.id",
        select(config)
    ))?;
    let search = args.search.as_ref().map(|text| text.trim().to_lowercase());
    let mut rows = statement.query([&args.segment])?;
    while let Some(row) = rows.next().context("reading customers")? {
        let customer = read(row, config.shop.currency)?;
        if search.as_ref().is_none_or(|text| matches(&customer, text)) {
            list.row(&customer)?;
        }
    }
    Ok(())
}

/// A row of [`select`] as values of [`COLUMNS`].
pub fn read(row: &Row<'_>, currency: Currency) -> rusqlite::Result<[Value; 18]> {
    let text = |index| row.get::<_, Option<String>>(index).map(|text| json!(text));
    let time = |index| row.get::<_, Option<Timestamp>>(index).map(|time| json!(time));
    let score = |index| row.get::<_, Option<i64>>(index).map(|score| json!(score));
    let money = |index| row.get::<_, Money>(index).map(|money| json!(money.to_decimal(currency)));
    Ok([
        json!(row.get::<_, i64>(0)?.to_string()),
        json!(row.get::<_, Source>(1)?.as_str()),
        text(2)?,
        text(3)?,
        text(4)?,
        text(5)?,
        json!(row.get::<_, i64>(6)?),
        money(7)?,
        money(8)?,
        json!(currency.code()),
        time(9)?,
        time(10)?,
        score(11)?,
        score(12)?,
        score(13)?,
        text(14)?,
        text(15)?,
        time(16)?,
    ])
}

/// In Rust and not with LIKE, which knows upper and lower case of ASCII alone.
fn matches(customer: &[Value; 18], text: &str) -> bool {
    let field = |index: usize| customer[index].as_str().unwrap_or_default().to_lowercase();
    let name = format!("{} {}", field(4), field(5));
    field(0) == text || field(2) == text || field(3).contains(text) || name.contains(text)
}
