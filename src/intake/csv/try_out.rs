//! What an import would do, without doing it.

use rusqlite::Transaction;

use super::{FileReport, Input, apply, import};
use crate::{ledger::Rules, model::Timestamp};

/// Imports into `tx`, which the caller undoes: the report is what [`store`](super::store()) would
/// say. Writes no file.
///
/// # Errors
/// As [`import`](super::import()).
pub fn try_out(
    input: Input,
    tx: &Transaction<'_>,
    rules: &Rules,
    now: Timestamp,
    progress: &dyn Fn(u64),
) -> anyhow::Result<FileReport> {
    import(input, false, &mut |batch| apply(tx, rules, batch, now), progress)
}
