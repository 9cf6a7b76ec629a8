//! Pages of customers by keyset: the page before says where to go on, so page 20,000 costs what
//! page 1 does.
//!
//! What each order costs, with a million customers:
//!
//! - newest or oldest first (the default) walks the primary key. With a segment it walks the index
//!   `scores_segment`, with scores it walks `customer_scores` and stops at the fiftieth hit: a cell of the
//!   heat map holds about one customer in 25; of an almost empty one [`SCORES`] are looked at a page;
//! - e-mails have an index, and sort every list ([`by_email`]);
//! - orders, spent and last order have none, because each order of the shop would pay for it. They are
//!   offered while the filter leaves at most [`SORTABLE`] customers;
//! - those without a score are found by looking at one customer after the other, [`LOOKED_AT`] a page;
//! - those who share an e-mail are found by comparing e-mails in their order ([`shared`]), in a small shop
//!   by asking for each customer;
//! - a search takes exact ids, then starts of e-mails, from indexes. Names have no index: they are
//!   compared newest customer first, [`NAMES_PER_PAGE`](super::search::NAMES_PER_PAGE) a page, and the page says where it stopped.
//!   What it found is sorted while it is all there is, and few ([`found`]).

mod by_email;
pub mod found;
mod passing;
mod person;
mod shared;

use rusqlite::{Connection, OptionalExtension, ToSql};

use self::shared::shared;
pub use self::{
    by_email::emails,
    passing::Passing,
    person::{Customer, title_of},
};
use super::{
    filter::{Cursor, Filter, Sort},
    search,
    statistics::{self, sql_limit},
};
use crate::scoring::told::{Told, segment_id};

/// Customers up to which a list can be sorted by a column without an index.
pub const SORTABLE: i64 = 20_000;
/// Customers looked at for one page of those without a score: about 40 ms.
const LOOKED_AT: usize = 50_000;
/// Scores looked at for one page of those with certain ones: about 10 ms.
const SCORES: usize = 100_000;
/// Merged and deleted customers are in no list.
const PRESENT: &str = "c.merged_into IS NULL AND c.deleted_at IS NULL";
/// A customer with an id of whom another has the same e-mail. Guests are one with whoever has theirs.
const SHARES_EMAIL: &str = "c.external_id IS NOT NULL
  AND EXISTS (SELECT 1 FROM customers o WHERE o.email_key = c.email_key AND o.external_id IS NOT NULL AND o.id <> c.id
                 AND o.merged_into IS NULL AND o.deleted_at IS NULL)";

/// Customers of one page and where the next one starts.
pub struct Page {
    pub customers: Vec<Customer>,
    pub next: Option<Cursor>,
    /// A search stopped at its limit before the page was full; `next` goes on.
    pub stopped: bool,
    /// Customers that it looked at by then.
    pub looked_at: usize,
    /// They stand as the filter says; else as they do without a sort.
    pub sorted: bool,
}

/// How many customers a filter leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    Exactly(i64),
    /// By the statistics of the run in force.
    AtRun(i64),
    /// By the same, of customers who stand anywhere among more than [`SCORES`]: too far apart to be sorted.
    Scattered(i64),
    /// By those statistics not more; only the pages know.
    AtMost(i64),
    /// Only the pages know.
    Unknown,
}

impl Total {
    /// May this list be sorted by any column?
    pub const fn is_sortable(self) -> bool {
        matches!(self, Self::Exactly(count) | Self::AtRun(count) | Self::AtMost(count) if count <= SORTABLE)
    }
}

/// Hits of one page, each with the cursor of what comes after it.
#[derive(Default)]
pub struct Hits {
    pub found: Vec<(i64, Cursor)>,
    /// Where to go on when a limit was reached first.
    pub stopped: Option<Cursor>,
    /// Customers looked at, where there is a limit.
    pub looked_at: usize,
}

/// One page of at most `limit` customers after `after`. Sorts that the list cannot have are the default.
pub fn page(
    connection: &Connection,
    told: Told,
    filter: &Filter,
    total: Total,
    after: Option<&Cursor>,
    limit: usize,
) -> rusqlite::Result<Page> {
    if matches!(total, Total::AtRun(0) | Total::Scattered(0) | Total::Exactly(0)) {
        return Ok(Page { customers: Vec::new(), next: None, stopped: false, looked_at: 0, sorted: true });
    }
    // One more than fits tells whether there is another page.
    let (hits, sorted) = match (&filter.search, filter.sort) {
        (Some(text), Sort::Known) => (search::search(connection, told, filter, text, after, limit + 1)?, true),
        (Some(text), _) => found::sorted(connection, told, filter, text, after, limit + 1)?,
        (None, sort) if sort != Sort::Known && total.is_sortable() => {
            (by_value(connection, Source::of(told, filter), filter, after, limit + 1)?, true)
        }
        (None, sort) if filter.same_email && !total.is_sortable() => {
            let usual = filter.usual();
            let sorted = sort == usual.sort;
            (shared(connection, told, if sorted { filter } else { &usual }, after, limit + 1)?, sorted)
        }
        (None, Sort::Email) => (by_email::by_email(connection, told, filter, after, limit + 1)?, true),
        (None, sort) if filter.is_unscored() => {
            (looked_at(connection, Source::of(told, filter), filter, after, limit + 1)?, sort == Sort::Known)
        }
        (None, sort) => (by_id(connection, told, filter, after, limit + 1)?, sort == Sort::Known),
    };
    let full = hits.found.len() > limit;
    let next =
        if full { hits.found.get(limit.saturating_sub(1)).map(|(_, after)| after.clone()) } else { hits.stopped };
    let stopped = !full && next.is_some();
    let customers = hits
        .found
        .iter()
        .take(limit)
        .filter_map(|(id, _)| Customer::by_id(connection, told, *id).transpose())
        .collect::<rusqlite::Result<_>>()?;
    Ok(Page { customers, next, stopped, looked_at: hits.looked_at, sorted })
}

/// Counts what can be counted cheaply: small shops exactly, others by the run's statistics.
pub fn total(connection: &Connection, told: Told, filter: &Filter) -> rusqlite::Result<Total> {
    if filter.search.is_some() {
        return Ok(Total::Unknown);
    }
    let highest: i64 =
        connection.prepare_cached("SELECT coalesce(max(id), 0) FROM customers")?.query_row([], |row| row.get(0))?;
    if highest <= SORTABLE {
        let source = Source::of(told, filter);
        let sql = format!("SELECT count(*) FROM {} WHERE {} > 0 AND {}", source.from, source.key, source.conditions);
        let values: Vec<&dyn ToSql> = source.values.iter().map(AsRef::as_ref).collect();
        return connection.prepare_cached(&sql)?.query_row(&values[..], |row| row.get(0)).map(Total::Exactly);
    }
    let Some(run) = statistics::in_force(connection)? else { return Ok(Total::Unknown) };
    let is_far_apart = highest > sql_limit(SCORES);
    let of_segment = |segment: &str| -> rusqlite::Result<i64> {
        Ok(statistics::counts(connection, run.id)?.get(segment).copied().unwrap_or(0))
    };
    let of_scores = || -> rusqlite::Result<i64> {
        let cells = statistics::cells(connection, run.id)?;
        Ok(cells.iter().filter(|cell| filter.admits(cell.scores)).map(|cell| cell.customers).sum())
    };
    Ok(match (&filter.segment, filter.has_scores()) {
        _ if filter.is_unscored() || filter.same_email => Total::Unknown,
        (Some(segment), false) => Total::AtRun(of_segment(segment)?),
        (None, true) if is_far_apart => Total::Scattered(of_scores()?),
        (None, true) => Total::AtRun(of_scores()?),
        // Nor does it tell which of a segment's customers have a score.
        (Some(segment), true) if !is_far_apart => Total::AtMost(of_segment(segment)?.min(of_scores()?)),
        // Of everybody, customers without an order included, no statistic tells.
        (None, false) | (Some(_), true) => Total::Unknown,
    })
}

/// The tables and conditions of a filter without its search.
struct Source {
    from: &'static str,
    /// The customer's id in the table that drives the walk.
    key: &'static str,
    conditions: String,
    values: Vec<Box<dyn ToSql>>,
}

impl Source {
    fn of(told: Told, filter: &Filter) -> Self {
        let mut source = if filter.is_unscored() {
            // Who has no score has none of 1 to 5 either.
            let nobody = if filter.has_scores() { " AND FALSE" } else { "" };
            let unscored = format!("(s.segment_id IS NULL OR NOT {})", told.condition());
            Self {
                from: "customers c LEFT JOIN customer_scores s ON s.customer_id = c.id",
                key: "c.id",
                conditions: format!("{PRESENT} AND {unscored}{nobody}"),
                values: Vec::new(),
            }
        } else if filter.segment.is_some() || filter.has_scores() {
            Self {
                // Once SQLite knows how large segments are, it may walk the primary key for the smallest too.
                from: if filter.has_scores() {
                    "customer_scores s CROSS JOIN customers c ON c.id = s.customer_id"
                } else {
                    "customer_scores s INDEXED BY scores_segment CROSS JOIN customers c ON c.id = s.customer_id"
                },
                key: "s.customer_id",
                conditions: format!("{PRESENT} AND {}", told.condition()),
                values: Vec::new(),
            }
        } else {
            Self { from: "customers c", key: "c.id", conditions: PRESENT.to_owned(), values: Vec::new() }
        };
        if let Some(segment) = filter.segment.as_ref().filter(|_| !filter.is_unscored()) {
            // With scores the walk over the primary key is faster than the segment's index, whose
            // every hit would be looked up: the plus keeps SQLite from that index.
            let column = if filter.has_scores() { "+s.segment_id" } else { "s.segment_id" };
            let value = source.bind(segment.clone());
            source.conditions = format!("{} AND {column} = {}", source.conditions, segment_id(&value));
        }
        if filter.same_email {
            source.conditions = format!("{} AND {SHARES_EMAIL}", source.conditions);
        }
        for (column, wanted) in [("s.r", filter.r), ("s.f", filter.f), ("s.m", filter.m)] {
            if let Some(quintile) = wanted.filter(|_| !filter.is_unscored()) {
                source.and(column, Box::new(quintile));
            }
        }
        source
    }

    fn and(&mut self, column: &str, value: Box<dyn ToSql>) {
        self.values.push(value);
        self.conditions = format!("{} AND {column} = ?{}", self.conditions, self.values.len());
    }

    /// Adds a value and returns its placeholder.
    fn bind(&mut self, value: impl ToSql + 'static) -> String {
        self.values.push(Box::new(value));
        format!("?{}", self.values.len())
    }
}

/// Which way a walk by id goes, in SQL, and the id that it starts behind.
fn walk(filter: &Filter, after: Option<&Cursor>) -> (&'static str, &'static str, i64) {
    let (beyond, order, start) = if filter.ascending { (">", "ASC", i64::MIN) } else { ("<", "DESC", i64::MAX) };
    match after {
        Some(Cursor::Id(id)) => (beyond, order, *id),
        _ => (beyond, order, start),
    }
}

/// Newest (or oldest) known first. Of those with certain scores at most [`SCORES`] are looked at.
fn by_id(
    connection: &Connection,
    told: Told,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
) -> rusqlite::Result<Hits> {
    let mut source = Source::of(told, filter);
    let (beyond, order, start) = walk(filter, after);
    let end = if filter.has_scores() { end_of_look(connection, (beyond, order), start)? } else { None };
    let (up_to, last) = if filter.ascending { ("<=", i64::MAX) } else { (">=", i64::MIN) };
    let (start, last, rows) = (source.bind(start), source.bind(end.unwrap_or(last)), source.bind(sql_limit(limit)));
    let Source { from, key, conditions, values } = source;
    let sql = format!(
        "SELECT {key} FROM {from} WHERE {key} {beyond} {start} AND {key} {up_to} {last} AND {conditions} ORDER BY {key} {order} LIMIT {rows}"
    );
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let found: Vec<(i64, Cursor)> = connection
        .prepare_cached(&sql)?
        .query_map(&values[..], |row| row.get(0).map(|id| (id, Cursor::Id(id))))?
        .collect::<rusqlite::Result<_>>()?;
    let stopped = end.filter(|_| found.len() < limit).map(Cursor::Id);
    Ok(Hits { found, stopped, looked_at: SCORES })
}

/// The customer that a look at [`SCORES`] scores behind `start` ends with; `None`: there are not so many.
fn end_of_look(connection: &Connection, (beyond, order): (&str, &str), start: i64) -> rusqlite::Result<Option<i64>> {
    let sql = format!(
        "SELECT customer_id FROM customer_scores WHERE customer_id {beyond} ?1 ORDER BY customer_id {order} LIMIT 1 OFFSET ?2"
    );
    connection.prepare_cached(&sql)?.query_row((start, sql_limit(SCORES - 1)), |row| row.get(0)).optional()
}

/// Newest (or oldest) known first, of whom nothing but a look tells whether they are meant: they may be
/// few. At most [`LOOKED_AT`] customers are looked at.
fn looked_at(
    connection: &Connection,
    mut source: Source,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
) -> rusqlite::Result<Hits> {
    let (beyond, order, start) = walk(filter, after);
    let (from_here, at_most) = (source.bind(start), source.bind(sql_limit(LOOKED_AT)));
    let Source { from, key, conditions, values } = source;
    let sql = format!(
        "SELECT {key}, {conditions} FROM {from} WHERE {key} {beyond} {from_here} ORDER BY {key} {order} LIMIT {at_most}"
    );
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(&values[..])?;
    let mut hits = Hits::default();
    let mut last = start;
    while hits.found.len() < limit
        && let Some(row) = rows.next()?
    {
        (hits.looked_at, last) = (hits.looked_at + 1, row.get(0)?);
        if row.get(1)? {
            hits.found.push((last, Cursor::Id(last)));
        }
    }
    if hits.looked_at == LOOKED_AT && hits.found.len() < limit {
        hits.stopped = Some(Cursor::Id(last));
    }
    Ok(hits)
}

/// By a column without an index: every customer of the source is looked at.
fn by_value(
    connection: &Connection,
    mut source: Source,
    filter: &Filter,
    after: Option<&Cursor>,
    limit: usize,
) -> rusqlite::Result<Hits> {
    // Customers without a value come last when descending; without an e-mail, always.
    let value = match filter.sort {
        Sort::Known => "c.id",
        Sort::Email if filter.ascending => "coalesce(c.email_key, char(1114111))",
        Sort::Email => "coalesce(c.email_key, '')",
        Sort::Orders => "c.order_count",
        Sort::Spent => "c.total_spent",
        Sort::LastOrder => "coalesce(c.last_order_at, -9223372036854775807)",
    };
    let (beyond, order) = if filter.ascending { (">", "ASC") } else { ("<", "DESC") };
    let is_text = filter.sort == Sort::Email;
    let beyond_cursor = match after {
        Some(Cursor::Text { text, id }) if is_text => {
            format!("AND ({value}, c.id) {beyond} ({}, {})", source.bind(text.clone()), source.bind(*id))
        }
        Some(Cursor::Value { value: last, id }) if !is_text => {
            format!("AND ({value}, c.id) {beyond} ({}, {})", source.bind(*last), source.bind(*id))
        }
        _ => String::new(),
    };
    let limit = source.bind(sql_limit(limit));
    let Source { from, key, conditions, values } = source;
    let sql = format!(
        "SELECT c.id, {value} FROM {from} WHERE {key} > 0 AND {conditions} {beyond_cursor}
         ORDER BY 2 {order}, 1 {order} LIMIT {limit}"
    );
    let values: Vec<&dyn ToSql> = values.iter().map(AsRef::as_ref).collect();
    let found = connection
        .prepare_cached(&sql)?
        .query_map(&values[..], |row| {
            let id = row.get(0)?;
            let after =
                if is_text { Cursor::Text { text: row.get(1)?, id } } else { Cursor::Value { value: row.get(1)?, id } };
            Ok((id, after))
        })?
        .collect::<rusqlite::Result<_>>()?;
    Ok(Hits { found, ..Hits::default() })
}
