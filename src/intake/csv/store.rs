//! Storing a file.

use std::sync::atomic::{AtomicBool, Ordering};

use super::{
    Batch, FileReport, Input, Outcomes, import,
    transactions::{self, Limits},
};
use crate::{db::Writer, ledger::Rules, model::Timestamp};

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
    transactions::store(writer, rules, now, limits, |through_writer| {
        let mut in_pieces = |batch| {
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "quintile is shutting down");
            let pieces = if limits.are_of_pieces() { cut(batch, limits.rows) } else { vec![batch] };
            let mut done = Batch::default();
            let mut outcomes = Outcomes::default();
            for piece in pieces {
                let (piece, its_outcomes) = through_writer(piece)?;
                if done.is_empty() {
                    (done, outcomes) = (piece, its_outcomes); // the usual case: there is but one
                } else {
                    done.append(piece);
                    outcomes.append(its_outcomes);
                }
            }
            Ok((done, outcomes))
        };
        import(input, true, &mut in_pieces, progress)
    })
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
