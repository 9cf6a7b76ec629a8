//! Lists as CSV: exactly what the filter shows, however long, in pieces while it is read.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Query, State},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::{Stream, StreamExt};
use rusqlite::Connection;
use tokio::sync::mpsc;

use super::{
    App, definitions::Share, filter::Filter, list, list::Customer, names, order::Order, segment_table, statistics,
};
use crate::{
    model::{Currency, Timestamp, spreadsheet::guarded},
    scoring::told::Told,
    web::error::PageError,
};

/// Rows read at a time.
pub const CHUNK: usize = 1000;
/// Pieces that wait for a slow reader; then reading waits too.
const AHEAD: usize = 4;
/// A reader that takes nothing for so long is gone: it would keep the database from shrinking its log.
const PATIENCE: Duration = Duration::from_secs(60);

type Piece = Result<Vec<u8>, anyhow::Error>;

/// `GET /customers.csv`
pub async fn customers(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let filter = Filter::from_pairs(&pairs)?;
    names::must_know(&app, filter.segment.as_deref().filter(|_| !filter.is_unscored())).await?;
    customer_list(&app, "customers.csv", filter).await
}

/// The customers that a filter leaves, to be saved as `name`.
pub async fn customer_list(app: &App, name: &str, filter: Filter) -> Result<Response, PageError> {
    let (told, currency) = (app.told, app.config.shop.currency);
    stream(app, name, move |connection, out| write_customers(connection, told, &filter, currency, out)).await
}

/// `GET /segments.csv`
pub async fn segments(
    State(app): State<Arc<App>>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Response, PageError> {
    let (currency, order) = (app.config.shop.currency, Order::from_pairs(segment_table::KEYS, &pairs));
    stream(&app, "segments.csv", move |connection, out| write_segments(connection, currency, order, out)).await
}

/// Answers with the first rows and writes while the browser reads, all from one snapshot of the database. A
/// failure before them is a page of its own; one on the way breaks the connection, so that half a file is
/// not taken for a whole one.
pub async fn stream<F>(app: &App, name: &str, write: F) -> Result<Response, PageError>
where
    F: FnOnce(&Connection, &mut Sink) -> anyhow::Result<()> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::channel::<Piece>(AHEAD);
    let mut sink = Sink { sender, runtime: tokio::runtime::Handle::current(), held: None, sent: false };
    let readers = app.readers.clone();
    tokio::task::spawn_blocking(move || {
        let result = (|| {
            let mut connection = readers.get()?;
            let snapshot = connection.transaction()?;
            write(&snapshot, &mut sink)?;
            sink.flush()
        })();
        if let Err(error) = result {
            if sink.sent {
                tracing::warn!(error = format!("{error:#}"), "an export stopped before its end");
            }
            let _ = sink.send(Err(error));
        }
    });
    let first = receiver.recv().await.transpose()?.unwrap_or_default();
    Ok(file(name, futures_util::stream::once(async { Ok(first) }).chain(in_turn(receiver))))
}

/// A CSV file to be saved as `name`, in pieces as they come.
pub fn attachment<E>(name: &str, pieces: mpsc::Receiver<Result<Vec<u8>, E>>) -> Response
where
    E: Into<axum::BoxError> + Send + 'static,
{
    file(name, in_turn(pieces))
}

fn file<E: Into<axum::BoxError> + Send + 'static>(
    name: &str,
    pieces: impl Stream<Item = Result<Vec<u8>, E>> + Send + 'static,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

/// The pieces as a stream that may be asked again after its end, as compressing does.
fn in_turn<T>(mut pieces: mpsc::Receiver<T>) -> impl Stream<Item = T> {
    futures_util::stream::poll_fn(move |context| pieces.poll_recv(context))
}

/// Where pieces of the file go; a piece is some rows.
pub struct Sink {
    sender: mpsc::Sender<Piece>,
    runtime: tokio::runtime::Handle,
    /// The heading, which goes with the first rows: until then it may turn out that there is no file.
    held: Option<Vec<u8>>,
    sent: bool,
}

impl Sink {
    fn send(&self, piece: Piece) -> anyhow::Result<()> {
        let sent = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, self.sender.send(piece)).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => anyhow::bail!("the reader went away"),
            Err(_) => anyhow::bail!("the reader took nothing for {} s", PATIENCE.as_secs()),
        }
    }

    pub fn rows(&mut self, rows: impl IntoIterator<Item = Vec<String>>) -> anyhow::Result<()> {
        let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
        for row in rows {
            writer.write_record(&row)?;
        }
        let piece = writer.into_inner().map_err(|error| anyhow::anyhow!("{error}"))?;
        match self.held.take() {
            None if !self.sent => self.held = Some(piece),
            None => self.send(Ok(piece))?,
            Some(heading) => {
                self.sent = true;
                self.send(Ok([heading, piece].concat()))?;
            }
        }
        Ok(())
    }

    /// Sends what is held back.
    fn flush(&mut self) -> anyhow::Result<()> {
        self.held.take().map_or(Ok(()), |piece| self.send(Ok(piece)))
    }
}

fn write_customers(
    connection: &Connection,
    told: Told,
    filter: &Filter,
    currency: Currency,
    out: &mut Sink,
) -> anyhow::Result<()> {
    const HEADERS: [&str; 18] = [
        "id",
        "source",
        "external_id",
        "email",
        "first_name",
        "last_name",
        "order_count",
        "total_spent",
        "avg_order_value",
        "currency",
        "first_order_at",
        "last_order_at",
        "r",
        "f",
        "m",
        "segment",
        "previous_segment",
        "segment_since",
    ];
    out.rows([HEADERS.map(str::to_owned).to_vec()])?;
    let total = list::total(connection, told, filter)?;
    let (mut filter, mut after) = (filter.clone(), None);
    loop {
        let page = list::page(connection, told, &filter, total, after.as_ref(), CHUNK)?;
        if !page.sorted {
            filter = filter.usual();
        }
        if !page.customers.is_empty() {
            out.rows(page.customers.iter().map(|customer| customer_row(customer, currency)))?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn customer_row(customer: &Customer, currency: Currency) -> Vec<String> {
    let text = |value: &Option<String>| guarded(value.as_deref().unwrap_or_default()).into_owned();
    let score = |index: usize| customer.scores.map_or_else(String::new, |scores| scores[index].to_string());
    vec![
        customer.id.to_string(),
        customer.source.clone(),
        text(&customer.external_id),
        text(&customer.email),
        text(&customer.first_name),
        text(&customer.last_name),
        customer.order_count.to_string(),
        customer.total_spent.to_decimal(currency),
        customer.avg_order_value.to_decimal(currency),
        currency.to_string(),
        time(customer.first_order_at),
        time(customer.last_order_at),
        score(0),
        score(1),
        score(2),
        text(&customer.segment),
        text(&customer.previous_segment),
        time(customer.segment_since),
    ]
}

/// As `quintile segments --format csv`, of the run in force, and what the page shows beside it.
fn write_segments(connection: &Connection, currency: Currency, order: Order, out: &mut Sink) -> anyhow::Result<()> {
    const HEADERS: [&str; 7] =
        ["segment", "customers", "customer_share", "revenue", "revenue_share", "change", "spent_each"];
    let ago = |weeks| match weeks {
        1 => "customers_1_week_ago".to_owned(),
        weeks => format!("customers_{weeks}_weeks_ago"),
    };
    out.rows([HEADERS.map(str::to_owned).into_iter().chain((1..=statistics::WEEKS).rev().map(ago)).collect()])?;
    let Some(run) = statistics::in_force(connection)? else { return Ok(()) };
    let weeks = statistics::weeks(connection, &run)?;
    let mut segments = statistics::segments(connection, run.id)?;
    let before = statistics::before(connection, &run)?;
    let earlier = before.map(|before| statistics::counts(connection, before.id)).transpose()?;
    segment_table::sort(&mut segments, order, earlier.as_ref());
    let customers: i64 = segments.iter().map(|segment| segment.customers).sum();
    let revenue: i64 = segments.iter().map(|segment| segment.revenue.0).sum();
    // Thousandths of the whole, as tenths of a percent are.
    let share = |part, whole| {
        let Share(thousandths) = Share::of(part, whole);
        format!("{}.{:03}", thousandths / 1000, thousandths % 1000)
    };
    out.rows(segments.iter().map(|segment| {
        let change = earlier.as_ref().map(|counts| segment.customers - counts.get(&segment.segment).unwrap_or(&0));
        // The last one is the run itself.
        let history = segment_table::sizes(&weeks[..weeks.len().saturating_sub(1)], &segment.segment);
        let mut row = vec![
            guarded(&segment.segment).into_owned(),
            segment.customers.to_string(),
            share(segment.customers, customers),
            segment.revenue.to_decimal(currency),
            share(segment.revenue.0, revenue),
            change.map_or_else(String::new, |change| change.to_string()),
            segment_table::mean(segment).map_or_else(String::new, |mean| mean.to_decimal(currency)),
        ];
        row.extend(history.into_iter().map(|size| size.map_or_else(String::new, |size| size.to_string())));
        row
    }))
}

pub fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    #[test]
    fn the_end_may_be_asked_for_again() {
        let (sender, receiver) = mpsc::channel(1);
        sender.try_send(7).unwrap();
        drop(sender);
        let mut stream = in_turn(receiver);
        let mut next = || stream.next().now_or_never().expect("nothing to wait for");
        assert_eq!([next(), next(), next()], [Some(7), None, None]);
    }
}
