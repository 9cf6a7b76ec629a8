//! Importing one file: a thread reads and parses batches while the one before is being applied.
//!
//! Each batch is applied whole or not at all, so an import that is stopped anywhere can be run
//! again: what was stored is found unchanged.

use std::{collections::HashSet, path::PathBuf, sync::mpsc};

use anyhow::Context;
use csv::ByteRecord;

use super::{
    Format, Input, Parsed,
    counter::Counter,
    rejected::RejectedFile,
    source::{Row, Source},
};
use crate::{
    ledger::{Applied, Bulk, Change, LedgerError},
    model::{Order, Person, email_key},
};

/// Rows that are handed on together: enough to hide what that costs, few enough that the batches under
/// way stay within some MiB.
const ROWS_PER_BATCH: usize = 2_000;
/// Bytes of rows that are read together: ordinary rows have less than one KiB.
const BYTES_PER_BATCH: usize = 8 * 1024 * 1024;
/// Rows above this many bytes are not ordinary.
const LARGE_ROW: usize = 16 * 1024;
/// Parsed batches that may wait to be applied.
const BATCHES_AHEAD: usize = 2;
/// Reasons kept for a person to read; the file of rejected rows has them all.
const REASONS_SHOWN: usize = 5;

/// What to apply together, in the file's order. Of a table, each is named once.
#[derive(Debug, Default)]
pub struct Batch {
    pub orders: Vec<Order>,
    pub people: Vec<Person>,
}

/// What became of each order and person of a batch, or why it was refused.
#[derive(Debug, Default)]
pub struct Outcomes {
    pub orders: Vec<Result<Applied, String>>,
    pub people: Vec<Result<Applied, String>>,
}

impl Outcomes {
    /// Adds those of what comes after.
    pub(super) fn append(&mut self, mut other: Self) {
        self.orders.append(&mut other.orders);
        self.people.append(&mut other.people);
    }
}

/// What an import did with one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    pub file: PathBuf,
    pub format: Format,
    /// Rows below the header.
    pub rows: u64,
    pub orders: OrderCounts,
    pub customers: CustomerCounts,
    /// Where the rejected rows are, if any.
    pub rejected_file: Option<PathBuf>,
    /// The first few of them.
    pub rejections: Vec<Rejection>,
    /// Orders of which an amount had more digits than its currency and was rounded half to even.
    pub rounded: u64,
}

impl FileReport {
    /// Of a file of which nothing has been read.
    #[must_use]
    pub fn empty(file: PathBuf, format: Format) -> Self {
        Self {
            file,
            format,
            rows: 0,
            orders: OrderCounts::default(),
            customers: CustomerCounts::default(),
            rejected_file: None,
            rejections: Vec::new(),
            rounded: 0,
        }
    }
}

/// Orders by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OrderCounts {
    pub new: u64,
    pub updated: u64,
    /// Known already, or known better from elsewhere.
    pub unchanged: u64,
    pub rejected: u64,
}

impl OrderCounts {
    /// Adds one that was not rejected.
    pub(super) const fn count(&mut self, change: Change) {
        match change {
            Change::New => self.new += 1,
            Change::Updated => self.updated += 1,
            Change::Unchanged | Change::Stale => self.unchanged += 1,
        }
    }
}

/// Customers by what became of them; each is counted once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CustomerCounts {
    pub new: u64,
    pub updated: u64,
    /// Of a list of customers alone, as is `rejected`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unchanged: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rejected: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl FileReport {
    /// Rows that were rejected, of whatever kind.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.orders.rejected + self.customers.rejected
    }
}

impl Batch {
    /// Rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.orders.len() + self.people.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds what comes after.
    pub(super) fn append(&mut self, mut other: Self) {
        self.orders.append(&mut other.orders);
        self.people.append(&mut other.people);
    }

    fn clear(&mut self) {
        self.orders.clear();
        self.people.clear();
    }
}

/// Why a row was rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub line: u64,
    pub reason: String,
}

/// Applies a batch to the ledger, in a transaction of the caller. Hands it back, to be dropped elsewhere
/// than on the writer thread, with what became of each row.
///
/// # Errors
/// The database could not be written; the caller undoes the transaction.
pub fn apply(bulk: &mut Bulk<'_>, batch: Batch) -> anyhow::Result<(Batch, Outcomes)> {
    let in_words = |outcomes: Vec<Result<Applied, LedgerError>>| {
        outcomes.into_iter().map(|outcome| outcome.map_err(|error| error.to_string())).collect()
    };
    let orders = in_words(bulk.apply(&batch.orders)?);
    let people = in_words(bulk.apply_list(&batch.people)?);
    Ok((batch, Outcomes { orders, people }))
}

/// Streams a file through `apply`, which applies a batch whole and says for each order what it did
/// or why not. `keep_rejected`: write rejected rows beside the input, or remove
/// those of an earlier import when there are none. `progress` is told bytes.
///
/// # Errors
/// The file cannot be read on, or `apply` failed. Batches applied before stay.
pub fn import(
    input: Input,
    keep_rejected: bool,
    apply: &mut dyn FnMut(Batch) -> anyhow::Result<(Batch, Outcomes)>,
    progress: &dyn Fn(u64),
) -> anyhow::Result<FileReport> {
    let Input { path, format, file, content, .. } = input;
    let (header, last_row_wins) = (content.header(), content.last_row_wins());
    let mut tally = Tally::new(path, format);
    let mut rejected = RejectedFile::beside(&tally.report.file);
    let (full, stretches) = mpsc::sync_channel(BATCHES_AHEAD);
    let (done, empty) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut source = Source::new(content, file);
            loop {
                let mut stretch = empty.try_recv().unwrap_or_else(|_| Stretch::default());
                stretch.fill(&mut source);
                if last_row_wins {
                    stretch.keep_last();
                }
                let last = stretch.end.is_some();
                if full.send(stretch).is_err() || last {
                    break; // applied no further, or nothing left
                }
            }
        });
        for mut stretch in stretches {
            let (batch, outcomes) = apply(std::mem::take(&mut stretch.batch))?;
            stretch.batch = batch;
            tally.count(&mut stretch, outcomes);
            if keep_rejected {
                for Refused { row, line, reason } in &stretch.refused {
                    rejected.write(&header, *line, reason, &stretch.records[*row])?;
                }
            }
            progress(stretch.bytes);
            if let Some(end) = stretch.end {
                return end;
            }
            let _ = done.send(stretch); // the reader may have ended
        }
        Ok(())
    })
    .with_context(|| {
        format!("the import of {} stopped; run it again, nothing is stored twice", tally.report.file.display())
    })?;
    if keep_rejected {
        tally.report.rejected_file = rejected.finish()?;
    }
    Ok(tally.report)
}

/// A stretch of rows, with what the parser made of them. Reused, so that reading does not allocate.
#[derive(Default)]
struct Stretch {
    /// The rows, of which the first `rows` are of this stretch.
    records: Vec<ByteRecord>,
    rows: usize,
    batch: Batch,
    /// Where each order of the batch stands, and each person.
    orders: Vec<Place>,
    people: Vec<Place>,
    refused: Vec<Refused>,
    /// Position in the file behind the last row.
    bytes: u64,
    /// Set when no rows come after these: the file ended, or could not be read on.
    end: Option<anyhow::Result<()>>,
}

#[derive(Clone, Copy)]
struct Place {
    row: usize,
    line: u64,
    /// An amount of it was.
    rounded: bool,
}

struct Refused {
    row: usize,
    line: u64,
    reason: String,
}

impl Stretch {
    /// Reads the next rows, in the memory of those before.
    fn fill<R: std::io::Read>(&mut self, source: &mut Source<R>) {
        self.batch.clear();
        self.orders.clear();
        self.people.clear();
        self.refused.clear();
        self.records.iter_mut().filter(|record| record.as_slice().len() > LARGE_ROW).for_each(|record| {
            *record = ByteRecord::new(); // its memory would be kept for rows that need less
        });
        (self.rows, self.end) = (0, None);
        self.records.resize_with(ROWS_PER_BATCH, ByteRecord::new);
        let mut bytes = 0;
        while self.rows < ROWS_PER_BATCH && bytes < BYTES_PER_BATCH {
            let row = self.rows;
            let Row { line, parsed } = match source.next(&mut self.records[row]) {
                Ok(Some(read)) => read,
                end => {
                    self.end = Some(end.map(|_| ()));
                    break;
                }
            };
            bytes += self.records[row].as_slice().len();
            self.rows += 1;
            match parsed {
                Ok(Parsed::Order { order, rounded }) => {
                    self.batch.orders.push(*order);
                    self.orders.push(Place { row, line, rounded });
                }
                Ok(Parsed::Person(person)) => {
                    self.batch.people.push(*person);
                    self.people.push(Place { row, line, rounded: false });
                }
                Ok(Parsed::Passed) => {}
                Err(reason) => self.refused.push(Refused { row, line, reason }),
            }
        }
        self.bytes = source.bytes();
    }

    /// Of the rows that name one order or person keeps the last. Applied one after the other, they
    /// would change it there and back with every import of the file.
    fn keep_last(&mut self) {
        let Batch { orders, people } = &mut self.batch;
        if !orders.is_empty() {
            let last = are_last(orders.iter().map(|order| order.source_id.as_str()));
            keep(orders, &last);
            keep(&mut self.orders, &last);
        }
        if !people.is_empty() {
            let last = are_last(people.iter().map(|person| {
                let guest = || person.email.as_deref().and_then(email_key);
                (person.external_id.clone(), person.external_id.is_none().then(guest).flatten())
            }));
            keep(people, &last);
            keep(&mut self.people, &last);
        }
    }
}

/// Which of `keys` do not come again; empty: none does.
fn are_last<K: Eq + std::hash::Hash>(keys: impl DoubleEndedIterator<Item = K> + ExactSizeIterator) -> Vec<bool> {
    let count = keys.len();
    let mut later = HashSet::with_capacity(count);
    let mut last: Vec<bool> = keys.rev().map(|key| later.insert(key)).collect();
    if later.len() == count {
        return Vec::new();
    }
    last.reverse();
    last
}

fn keep<T>(items: &mut Vec<T>, kept: &[bool]) {
    if !kept.is_empty() {
        let mut kept = kept.iter();
        items.retain(|_| kept.next() == Some(&true));
    }
}

/// Counts what happened, for the report.
struct Tally {
    report: FileReport,
    people: Counter,
}

impl Tally {
    fn new(file: PathBuf, format: Format) -> Self {
        Self { report: FileReport::empty(file, format), people: Counter::default() }
    }

    /// Adds one stretch; the ledger's refusals take their place among the parser's.
    fn count(&mut self, stretch: &mut Stretch, outcomes: Outcomes) {
        let report = &mut self.report;
        let of_customers = report.format.is_of_customers();
        let customers = &report.customers;
        let mut met = customers.new + customers.updated + customers.unchanged;
        for (&Place { row, line, .. }, outcome) in stretch.orders.iter().zip(outcomes.orders) {
            match outcome {
                Ok(applied) => {
                    report.orders.count(applied.order);
                    self.people.count(&mut report.customers, applied);
                }
                Err(reason) => stretch.refused.push(Refused { row, line, reason }),
            }
        }
        for (&Place { row, line, .. }, outcome) in stretch.people.iter().zip(outcomes.people) {
            match outcome {
                Ok(applied) => {
                    self.people.count(&mut report.customers, applied);
                    met += applied.owner.map_or(0, |owner| u64::from(self.people.meet(owner)));
                }
                Err(reason) => stretch.refused.push(Refused { row, line, reason }),
            }
        }
        stretch.refused.sort_by_key(|refused| refused.row);
        report.rows += stretch.rows as u64;
        report.rounded += stretch.orders.iter().filter(|place| place.rounded).count() as u64;
        let rejected = if of_customers { &mut report.customers.rejected } else { &mut report.orders.rejected };
        *rejected += stretch.refused.len() as u64;
        if of_customers {
            report.customers.unchanged = met - report.customers.new - report.customers.updated;
        }
        let room = REASONS_SHOWN - report.rejections.len();
        let shown = stretch.refused.iter().take(room);
        report.rejections.extend(shown.map(|refused| Rejection { line: refused.line, reason: refused.reason.clone() }));
    }
}
