//! `quintile events`: what changed, as the email tool is told it.

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{
    Context, Outcome,
    output::{Column, Format, List},
};
use crate::outbox::{Cause, Envelope, Event, Fields, Shop, events, evt_id};

/// List events, the oldest first
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only events after this one: the last `seq` you have seen
    #[arg(long, value_name = "N", default_value_t = 0)]
    after_seq: i64,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Of the table and the CSV; JSON has the events as they are sent.
const COLUMNS: &[Column] = &[
    Column::number("seq", "Seq"),
    Column::hidden("id"),
    Column::hidden("type"),
    Column::text("timestamp", "Time"),
    Column::hidden("shopId"),
    Column::text("customerId", "Customer"),
    Column::text("oldSegment", "From"),
    Column::text("newSegment", "To"),
    Column::text("cause", "Cause"),
    Column::text("runId", "Run"),
    Column::number("r", "R"),
    Column::number("f", "F"),
    Column::number("m", "M"),
];

/// Events read at a time, so that memory does not grow with their number.
const PAGE: usize = 1000;

pub fn run(args: &Args, context: &Context) -> anyhow::Result<Outcome> {
    let readers = context.readers()?;
    let mut connection = readers.get()?;
    let snapshot = connection.transaction()?;
    let mut list = List::to_stdout(args.format, COLUMNS, "No events.")?;
    print_all(&snapshot, args.after_seq, &Shop::from_config(&context.config), &mut list)?;
    list.finish()?;
    Ok(Outcome::Done)
}

fn print_all(
    snapshot: &Connection,
    mut after: i64,
    shop: &Shop,
    list: &mut List<impl std::io::Write>,
) -> anyhow::Result<()> {
    loop {
        let page = events(snapshot, after, PAGE)?;
        for event in &page {
            list.row_or_document(&row(event, shop), &Envelope { shop, fields: Fields::ALL, event })?;
        }
        match page.last() {
            Some(newest) => after = newest.seq,
            None => return Ok(()),
        }
    }
}

fn row(event: &Event, shop: &Shop) -> [Value; 13] {
    let score = |dimension: usize| json!(event.rfm.map(|rfm| rfm[dimension].get()));
    [
        json!(event.seq),
        json!(evt_id(&event.id)),
        json!(event.kind.as_str()),
        json!(event.at),
        json!(shop.id),
        json!(event.customer.as_ref().map(|customer| customer.id.to_string())),
        json!(event.old),
        json!(event.new),
        json!(event.cause.map(Cause::as_str)),
        json!(event.run_id.map(|run| run.to_string())),
        score(0),
        score(1),
        score(2),
    ]
}
