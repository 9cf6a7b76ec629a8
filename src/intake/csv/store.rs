//! Storing an import: many batches to a transaction.
//!
//! Orders of one batch touch pages all over the file. The more of them share a transaction, the
//! fewer times each page is written: 50,000 rows instead of 2,000 make an import several times as
//! fast. A transaction is cut short when it has taken long enough to lose.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use rusqlite::Transaction;

use super::{Batch, FileReport, Input, Outcomes, apply, import, import::ROWS_PER_BATCH};
use crate::{db::Writer, ledger::Rules, model::Timestamp};

/// How large a transaction of an import may become, and for how long it may keep other writers
/// waiting. Whichever is reached first ends it. With fewer rows than a batch has, batches are cut
/// into pieces, each a transaction of its own that waits for nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub rows: usize,
    pub time: Duration,
}

impl Limits {
    /// When nobody else writes: as much as one would not mind to do again after a power cut.
    pub const ALONE: Self = Self { rows: 50_000, time: Duration::from_secs(2) };
    /// Beside a server, whose webhooks get in between: about as long as a commit takes on a slow disk.
    pub const BESIDE: Self = Self { rows: 500, time: Duration::from_millis(50) };

    const fn cuts_batches(self) -> bool {
        self.rows < ROWS_PER_BATCH
    }
}

/// Page cache of the writer during an import, in KiB. An import touches far more pages than SQLite's
/// usual 2 MB hold; more than this gains little.
const CACHE_KIB: i64 = 40_000;
/// SQLite's own size.
const USUAL_CACHE_KIB: i64 = 2_000;

/// [`import`]s a file into the ledger through the writer. Rejected rows go to a file beside the input.
///
/// # Errors
/// The file cannot be read on, or the database not be written. Transactions committed before stay.
pub fn store(
    input: Input,
    writer: &Writer,
    rules: &Rules,
    now: Timestamp,
    limits: Limits,
    progress: &dyn Fn(u64),
) -> anyhow::Result<FileReport> {
    store_until(input, writer, rules, now, limits, &AtomicBool::new(false), progress)
}

/// [`store`] that ends with an error soon after `stop` is set; what was committed stays.
///
/// # Errors
/// As [`store`].
pub fn store_until(
    input: Input,
    writer: &Writer,
    rules: &Rules,
    now: Timestamp,
    limits: Limits,
    stop: &AtomicBool,
    progress: &dyn Fn(u64),
) -> anyhow::Result<FileReport> {
    // A rendezvous: a batch is handed over when a transaction asks for it.
    let (batches, asked) = mpsc::sync_channel::<Batch>(0);
    let (answer, answers) = mpsc::channel::<(Batch, Outcomes)>();
    let asked = Arc::new(Mutex::new(asked));
    std::thread::scope(|scope| {
        let committer = scope.spawn(move || {
            // The first is awaited outside of the transaction, which others wait for.
            while let Ok(first) = next(&asked) {
                let (asked, answer, rules) = (Arc::clone(&asked), answer.clone(), rules.clone());
                writer.write_blocking(move |tx| transaction(tx, first, &asked, &answer, &rules, now, limits))?;
            }
            writer.write_blocking(|tx| Ok(tx.pragma_update(None, "cache_size", -USUAL_CACHE_KIB)?))
        });
        let stopped = || anyhow!("the database could not be written");
        let mut through_writer = |batch| {
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "quintile is shutting down");
            let mut pieces = if limits.cuts_batches() { cut(batch, limits.rows) } else { vec![batch] };
            let mut done = Batch::default();
            let mut outcomes = Outcomes::default();
            for piece in pieces.drain(..) {
                batches.send(piece).map_err(|_| stopped())?;
                let (piece, its_outcomes) = answers.recv().map_err(|_| stopped())?;
                if done.is_empty() {
                    (done, outcomes) = (piece, its_outcomes); // the usual case: there is but one
                } else {
                    done.append(piece);
                    outcomes.append(its_outcomes);
                }
            }
            Ok((done, outcomes))
        };
        let report = import(input, true, &mut through_writer, progress);
        drop(batches); // the last transaction ends
        let last = committer.join().map_err(|_| stopped())?;
        // Why a transaction failed says more than that no batch went through any more.
        last.context("the import stopped; run it again, nothing is stored twice").and(report)
    })
}

fn next(batches: &Mutex<mpsc::Receiver<Batch>>) -> Result<Batch, mpsc::RecvError> {
    batches.lock().unwrap_or_else(PoisonError::into_inner).recv()
}

/// Pieces of at most `rows`; an empty batch is one piece.
fn cut(batch: Batch, rows: usize) -> Vec<Batch> {
    let Batch { mut orders, mut people } = batch;
    let mut pieces = Vec::with_capacity((orders.len() + people.len()) / rows + 1);
    loop {
        let rest = Batch {
            orders: orders.split_off(orders.len().min(rows)),
            people: people.split_off(people.len().min(rows)),
        };
        pieces.push(Batch { orders, people });
        if rest.is_empty() {
            return pieces;
        }
        Batch { orders, people } = rest;
    }
}

/// Applies batches until a limit is reached, or there are no more.
fn transaction(
    tx: &Transaction<'_>,
    first: Batch,
    batches: &Mutex<mpsc::Receiver<Batch>>,
    answer: &mpsc::Sender<(Batch, Outcomes)>,
    rules: &Rules,
    now: Timestamp,
    limits: Limits,
) -> anyhow::Result<()> {
    tx.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let (mut batch, mut rows, started) = (first, 0, Instant::now());
    loop {
        rows += batch.len();
        let applied = apply(tx, rules, batch, now)?;
        let _ = answer.send(applied); // nobody waits for it: the import has failed elsewhere
        if limits.cuts_batches() || rows >= limits.rows || started.elapsed() >= limits.time {
            return Ok(());
        }
        match next(batches) {
            Ok(more) => batch = more,
            Err(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Person, Source};

    #[test]
    fn pieces_of_a_batch() {
        let batch = |count| Batch { orders: Vec::new(), people: vec![Person::unknown(Source::Csv); count] };
        for (count, expected) in [(0, &[0][..]), (1, &[1]), (500, &[500]), (501, &[500, 1]), (1_100, &[500, 500, 100])]
        {
            let sizes: Vec<_> = cut(batch(count), 500).iter().map(Batch::len).collect();
            assert_eq!(sizes, expected, "{count}");
        }
    }
}
