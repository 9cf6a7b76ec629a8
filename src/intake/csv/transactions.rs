//! Many batches of an import to a transaction.
//!
//! Orders touch pages all over the file, and every customer has some. The more of them share a
//! transaction, the fewer times each page and each customer is written. A transaction is cut short
//! when it has taken long enough to lose.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use rusqlite::Transaction;

use super::{Batch, Outcomes, apply};
use crate::{
    db::Writer,
    ledger::{Bulk, Rules},
    model::Timestamp,
};

/// How large a transaction of an import may become, and for how long it may keep other writers
/// waiting. Whichever is reached first ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub rows: usize,
    pub time: Duration,
}

impl Limits {
    /// When nobody else writes: as much as one would not mind to do again after a power cut.
    pub const ALONE: Self = Self { rows: 1_000_000, time: Duration::from_secs(30) };
    /// Beside a server, whose webhooks get in between: about as long as a commit takes on a slow disk.
    /// Batches are cut into pieces of so many rows, each a transaction of its own that waits for nothing.
    pub const BESIDE: Self = Self { rows: 500, time: Duration::from_millis(50) };

    pub(super) const fn are_of_pieces(self) -> bool {
        self.rows <= Self::BESIDE.rows
    }
}

/// A batch that was applied, with what became of it.
type Applied = (Batch, Outcomes);

/// Lets `read` store batches through the writer.
///
/// # Errors
/// Those of `read`, or the database could not be written. Transactions committed before stay.
pub(super) fn store<R>(
    writer: &Writer,
    rules: &Rules,
    now: Timestamp,
    limits: Limits,
    read: impl FnOnce(&mut dyn FnMut(Batch) -> anyhow::Result<Applied>) -> anyhow::Result<R>,
) -> anyhow::Result<R> {
    // A rendezvous: a batch is handed over when a transaction asks for it.
    let (batches, asked) = mpsc::sync_channel(0);
    let (answer, answers) = mpsc::channel();
    let asked = Arc::new(Mutex::new(asked));
    std::thread::scope(|scope| {
        let committer = scope.spawn(move || {
            // The first is awaited outside of the transaction, which others wait for.
            while let Ok(first) = next(&asked) {
                let (batches, answer, rules) = (Arc::clone(&asked), answer.clone(), rules.clone());
                let job = move |tx: &Transaction<'_>| {
                    let of = if limits.are_of_pieces() { Bulk::new } else { Bulk::of_many };
                    let mut bulk = of(tx, &rules, now)?;
                    fill(&mut bulk, first, &batches, &answer, limits)?;
                    Ok(bulk.finish()?)
                };
                if limits.are_of_pieces() {
                    writer.write_blocking(job)?;
                } else {
                    writer.write_bulk_blocking(job)?;
                }
            }
            anyhow::Ok(())
        });
        let stopped = || anyhow!("the database could not be written");
        let mut through_writer = |batch| {
            batches.send(batch).map_err(|_| stopped())?;
            answers.recv().map_err(|_| stopped())
        };
        let report = read(&mut through_writer);
        drop(batches); // the last transaction ends
        let last = committer.join().map_err(|_| stopped())?;
        // Why a transaction failed says more than that no batch went through any more.
        last.context("the import stopped; run it again, nothing is stored twice").and(report)
    })
}

fn next(batches: &Mutex<mpsc::Receiver<Batch>>) -> Result<Batch, mpsc::RecvError> {
    batches.lock().unwrap_or_else(PoisonError::into_inner).recv()
}

/// Applies batches until a limit is reached, or there are no more.
fn fill(
    bulk: &mut Bulk<'_>,
    first: Batch,
    batches: &Mutex<mpsc::Receiver<Batch>>,
    answer: &mpsc::Sender<Applied>,
    limits: Limits,
) -> anyhow::Result<()> {
    let (mut batch, mut rows, started) = (first, 0, Instant::now());
    loop {
        rows += batch.len();
        let _ = answer.send(apply(bulk, batch)?); // nobody waits for it: the import has failed elsewhere
        if limits.are_of_pieces() || rows >= limits.rows || started.elapsed() >= limits.time {
            return Ok(());
        }
        let Ok(next) = next(batches) else { return Ok(()) };
        batch = next;
    }
}
