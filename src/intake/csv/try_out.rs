//! What an import would do, without doing it.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Transaction;

use super::{FileReport, Input, apply, import};
use crate::{
    ledger::{Bulk, Rules},
    model::Timestamp,
};

/// Imports into `tx`, which the caller undoes: the report is what [`store`](super::store()) would
/// say. Writes no file. Ends with an error soon after `stop` is set.
///
/// # Errors
/// As [`import`](super::import()).
pub fn try_out(
    input: Input,
    tx: &Transaction<'_>,
    rules: &Rules,
    now: Timestamp,
    stop: &AtomicBool,
    progress: &dyn Fn(u64),
) -> anyhow::Result<FileReport> {
    let mut bulk = Bulk::of_many(tx, rules, now)?;
    let mut apply_unless_stopped = |batch| {
        anyhow::ensure!(!stop.load(Ordering::Relaxed), "quintile is shutting down");
        apply(&mut bulk, batch)
    };
    let report = import(input, false, &mut apply_unless_stopped, progress)?;
    bulk.finish()?;
    Ok(report)
}
