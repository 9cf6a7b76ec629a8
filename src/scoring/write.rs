//! Step 1's one short transaction: only rows that differ, in the order of the table, each change
//! with its history and its event.

use rusqlite::{CachedStatement, Transaction, params};

use super::{
    changes::{Action, Change, Changes},
    compare::Comparison,
    lapsed::{self, Lapsed},
    names::Names,
    segment::Scheme,
    statistics::write_moves,
};
use crate::{
    model::Timestamp,
    outbox::{self, Ids, SegmentChange},
};

/// What the transaction needs to know of its run.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    pub run_id: i64,
    pub baseline: bool,
    pub remap: bool,
    /// Its deliveries wait for the merchant.
    pub held: bool,
    /// The run's own instant.
    pub at: Timestamp,
}

/// Writes scores, history, events and statistics of a run, and stamps it scored. Returns how many
/// customers changed their segment.
pub fn write(
    tx: &Transaction<'_>,
    header: &Header,
    scheme: &Scheme,
    comparison: &Comparison,
    lapsed: &[Lapsed],
    ids: &mut Ids,
) -> rusqlite::Result<u64> {
    let changes = &comparison.changes;
    let range = write_changes(tx, header, changes, ids)?;
    comparison.statistics.write(tx, header.run_id, scheme)?;
    write_moves(tx, header.run_id, changes)?;
    let moved = range.map_or(0, |(first, last)| (last - first + 1).unsigned_abs());
    // Directly after the changes: one range holds all events of the run.
    let lapsed = outbox::enqueue_lapsed(tx, header.run_id, header.at, ids, lapsed::still(tx, lapsed)?)?;
    let first_seq = range.or(lapsed).map(|(first, _)| first);
    let last_seq = lapsed.or(range).map(|(_, last)| last);
    tx.execute(
        "UPDATE runs SET state = 'scored', scored_at = ?2, baseline = ?3, remap = ?4, held = ?5, scored = ?6,
           changed = ?7, first_seq = ?8, last_seq = ?9, emit_position = ?8 - 1, error = NULL
         WHERE id = ?1",
        params![
            header.run_id,
            header.at,
            header.baseline,
            header.remap,
            header.held,
            comparison.statistics.ranked(),
            moved,
            first_seq,
            last_seq,
        ],
    )?;
    Ok(moved)
}

/// Writes each change when the outbox asks for its event, so that a page of the file is still at
/// hand when the event refers to the same customer. Returns the first and the last event.
fn write_changes(
    tx: &Transaction<'_>,
    header: &Header,
    changes: &Changes,
    ids: &mut Ids,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut rows = Rows::prepare(tx)?;
    let mut failed = None;
    let events = changes
        .iter()
        .map_while(|change| match rows.write(&change, header) {
            Ok(written) => Some((written && change.moved()).then_some(change)),
            Err(error) => {
                failed = Some(error);
                None
            }
        })
        .flatten()
        .map(|change| SegmentChange {
            customer_id: change.customer_id,
            old: change.old,
            new: change.new,
            cause: change.cause,
            rfm: change.scores,
        });
    let range = outbox::enqueue(tx, header.run_id, header.at, ids, events)?;
    failed.map_or(Ok(range), Err)
}

/// The statements that change `customer_scores` and `history`.
struct Rows<'tx> {
    tx: &'tx Transaction<'tx>,
    names: Names,
    insert: CachedStatement<'tx>,
    /// The segment changed.
    move_: CachedStatement<'tx>,
    /// Only scores changed: leaves the index on segments alone.
    rescore: CachedStatement<'tx>,
    remember: CachedStatement<'tx>,
    remove: CachedStatement<'tx>,
    history: CachedStatement<'tx>,
}

impl<'tx> Rows<'tx> {
    fn prepare(tx: &'tx Transaction<'tx>) -> rusqlite::Result<Self> {
        Ok(Self {
            tx,
            names: Names::load(tx)?,
            insert: tx.prepare_cached(
                "INSERT INTO customer_scores (customer_id, order_count, total_spent, r, f, m, segment_id, segment_run)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            move_: tx.prepare_cached(
                "UPDATE customer_scores SET order_count = ?2, total_spent = ?3, r = ?4, f = ?5, m = ?6,
                   previous_segment_id = segment_id, segment_id = ?7, segment_run = ?8
                 WHERE customer_id = ?1",
            )?,
            rescore: tx.prepare_cached(
                "UPDATE customer_scores SET order_count = ?2, total_spent = ?3, r = ?4, f = ?5, m = ?6
                 WHERE customer_id = ?1",
            )?,
            remember: tx
                .prepare_cached("UPDATE customer_scores SET order_count = ?2, total_spent = ?3 WHERE customer_id = ?1")?,
            remove: tx.prepare_cached("DELETE FROM customer_scores WHERE customer_id = ?1")?,
            history: tx.prepare_cached(
                "INSERT INTO history (customer_id, run_id, r, f, m, segment, moved) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?,
        })
    }

    /// `false`: the row to change is not there any more; then nothing was written.
    fn write(&mut self, change: &Change<'_>, header: &Header) -> rusqlite::Result<bool> {
        let Change { customer_id: id, order_count, total_spent, .. } = *change;
        let [r, f, m] = change.scores.map_or([None; 3], |scores| scores.map(Some));
        let (run, moved) = (header.run_id, change.moved());
        let written = match change.action {
            Action::Update if !moved => self.rescore.execute(params![id, order_count, total_spent, r, f, m])?,
            Action::Insert | Action::Update => {
                let segment = change.new.map(|name| self.names.number(self.tx, name)).transpose()?;
                let statement = if change.action == Action::Insert { &mut self.insert } else { &mut self.move_ };
                statement.execute(params![id, order_count, total_spent, r, f, m, segment, run])?
            }
            Action::Remember => self.remember.execute(params![id, order_count, total_spent])?,
            Action::Remove => self.remove.execute([id])?,
        };
        if written > 0 && matches!(change.action, Action::Insert | Action::Update) {
            self.history.execute(params![id, run, r, f, m, change.new, moved])?;
        }
        Ok(written > 0)
    }
}
