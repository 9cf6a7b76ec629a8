//! Storing an import: many batches to a transaction.
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

use super::{Batch, FileReport, Input, Outcomes, apply, import};
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
}

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
    // A rendezvous: a batch is handed over when a transaction asks for it.
    let (batches, asked) = mpsc::sync_channel::<Batch>(0);
    let (answer, answers) = mpsc::channel::<(Batch, Outcomes)>();
    let asked = Arc::new(Mutex::new(asked));
    std::thread::scope(|scope| {
        let committer = scope.spawn(move || {
            loop {
                let (asked, answer, rules) = (Arc::clone(&asked), answer.clone(), rules.clone());
                let goes_on = writer.write_bulk_blocking(move |tx| {
                    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
                    transaction(tx, &asked, &answer, &rules, now, limits)
                })?;
                if !goes_on {
                    return anyhow::Ok(());
                }
            }
        });
        let stopped = || anyhow!("the database could not be written");
        let mut through_writer = |batch| {
            batches.send(batch).map_err(|_| stopped())?;
            answers.recv().map_err(|_| stopped())
        };
        let report = import(input, true, &mut through_writer, progress);
        drop(batches); // the last transaction ends
        let last = committer.join().map_err(|_| stopped())?;
        // Why a transaction failed says more than that no batch went through any more.
        last.context("the import stopped; run it again, nothing is stored twice").and(report)
    })
}

/// Applies batches until a limit is reached; whether there may be more.
fn transaction(
    tx: &Transaction<'_>,
    batches: &mpsc::Receiver<Batch>,
    answer: &mpsc::Sender<(Batch, Outcomes)>,
    rules: &Rules,
    now: Timestamp,
    limits: Limits,
) -> anyhow::Result<bool> {
    let mut bulk = Bulk::new(tx, rules, now)?;
    let (mut rows, mut started, mut goes_on) = (0, None, false);
    while let Ok(batch) = batches.recv() {
        let started = *started.get_or_insert_with(Instant::now);
        rows += batch.len();
        let applied = apply(&mut bulk, batch)?;
        let _ = answer.send(applied); // nobody waits for it: the import has failed elsewhere
        if rows >= limits.rows || started.elapsed() >= limits.time {
            goes_on = true;
            break;
        }
    }
    bulk.finish()?;
    Ok(goes_on)
}
