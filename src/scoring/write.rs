//! Step 1's one short transaction: only rows that differ, in the order of the table, each change
//! with its history and its event.

use rusqlite::{
    CachedStatement, Transaction, params,
    types::{ToSqlOutput, Value},
};

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

/// Writes each change when the outbox asks for its event: all go through the changes once, and no list of
/// events is made of them. Returns the first and the last event.
fn write_changes(
    tx: &Transaction<'_>,
    header: &Header,
    changes: &Changes,
    ids: &mut Ids,
) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut rows = Rows::prepare(tx, header.run_id)?;
    let events = changes.iter().filter_map(|change| match rows.write(&change) {
        Ok(written) => (written && change.moved()).then(|| Ok(event(&change))),
        Err(error) => Some(Err(error)),
    });
    let range = outbox::enqueue(tx, header.run_id, header.at, ids, events)?;
    rows.finish()?;
    Ok(range)
}

const fn event<'a>(change: &Change<'a>) -> SegmentChange<'a> {
    SegmentChange {
        customer_id: change.customer_id,
        old: change.old,
        new: change.new,
        cause: change.cause,
        rfm: change.scores,
    }
}

/// The statements that change `customer_scores` and `history`.
struct Rows<'tx, 'a> {
    tx: &'tx Transaction<'tx>,
    run_id: i64,
    names: Names,
    insert: Inserts<'tx, 'a, 7>,
    /// The segment changed.
    move_: CachedStatement<'tx>,
    /// Only scores changed: leaves the index on segments alone.
    rescore: CachedStatement<'tx>,
    remember: CachedStatement<'tx>,
    remove: CachedStatement<'tx>,
    history: Inserts<'tx, 'a, 6>,
}

impl<'tx, 'a> Rows<'tx, 'a> {
    fn prepare(tx: &'tx Transaction<'tx>, run_id: i64) -> rusqlite::Result<Self> {
        Ok(Self {
            tx,
            run_id,
            names: Names::load(tx)?,
            insert: Inserts::prepare(
                tx,
                "customer_scores (segment_run, customer_id, order_count, total_spent, r, f, m, segment_id)",
                run_id,
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
            remember: tx.prepare_cached(
                "UPDATE customer_scores SET order_count = ?2, total_spent = ?3 WHERE customer_id = ?1",
            )?,
            remove: tx.prepare_cached("DELETE FROM customer_scores WHERE customer_id = ?1")?,
            history: Inserts::prepare(tx, "history (run_id, customer_id, r, f, m, segment, moved)", run_id)?,
        })
    }

    /// `false`: the row to change is not there any more; then nothing is written.
    fn write(&mut self, change: &Change<'a>) -> rusqlite::Result<bool> {
        let Change { customer_id: id, order_count, total_spent, .. } = *change;
        let [r, f, m] = change.scores.map_or([None; 3], |scores| scores.map(Some));
        let moved = change.moved();
        let segment = match change.new {
            Some(name) if moved || change.action == Action::Insert => Some(self.names.number(self.tx, name)?),
            _ => None,
        };
        let written = match change.action {
            Action::Insert => {
                let [r, f, m] = [r, f, m].map(or_null);
                self.insert.push([id.into(), order_count.into(), total_spent.into(), r, f, m, or_null(segment)])?;
                1
            }
            Action::Update if moved => {
                self.move_.execute(params![id, order_count, total_spent, r, f, m, segment, self.run_id])?
            }
            Action::Update => self.rescore.execute(params![id, order_count, total_spent, r, f, m])?,
            Action::Remember => self.remember.execute(params![id, order_count, total_spent])?,
            Action::Remove => self.remove.execute([id])?,
        };
        if written > 0 && matches!(change.action, Action::Insert | Action::Update) {
            let [r, f, m] = [r, f, m].map(or_null);
            self.history.push([id.into(), r, f, m, or_null(change.new), moved.into()])?;
        }
        Ok(written > 0)
    }

    /// Writes what is still to be inserted.
    fn finish(mut self) -> rusqlite::Result<()> {
        self.insert.finish()?;
        self.history.finish()
    }
}

/// Rows of one INSERT: to start and to end a statement costs as much as some rows.
const CHUNK: usize = 32;

/// Rows for one table, of which the first column is the same in all and `N` more differ.
struct Inserts<'tx, 'a, const N: usize> {
    one: CachedStatement<'tx>,
    chunk: CachedStatement<'tx>,
    pending: Vec<[ToSqlOutput<'a>; N]>,
}

impl<'tx, 'a, const N: usize> Inserts<'tx, 'a, N> {
    /// `table` with its columns in parentheses.
    fn prepare(tx: &'tx Transaction<'tx>, table: &str, first_column: i64) -> rusqlite::Result<Self> {
        let prepare = |rows: usize| -> rusqlite::Result<CachedStatement<'tx>> {
            let row = |row: usize| {
                let own: Vec<String> = (0..N).map(|place| format!("?{}", 2 + row * N + place)).collect();
                format!("(?1, {})", own.join(", "))
            };
            let values: Vec<String> = (0..rows).map(row).collect();
            // OR FAIL: nothing is kept aside to undo the statement alone; the run is undone as a whole.
            let mut insert = tx.prepare_cached(&format!("INSERT OR FAIL INTO {table} VALUES {}", values.join(", ")))?;
            insert.raw_bind_parameter(1, first_column)?;
            Ok(insert)
        };
        Ok(Self { one: prepare(1)?, chunk: prepare(CHUNK)?, pending: Vec::with_capacity(CHUNK) })
    }

    fn push(&mut self, row: [ToSqlOutput<'a>; N]) -> rusqlite::Result<()> {
        self.pending.push(row);
        if self.pending.len() == CHUNK {
            insert(&mut self.chunk, self.pending.drain(..).flatten())?;
        }
        Ok(())
    }

    fn finish(&mut self) -> rusqlite::Result<()> {
        self.pending.drain(..).try_for_each(|row| insert(&mut self.one, row))
    }
}

fn or_null<'a>(value: Option<impl Into<ToSqlOutput<'a>>>) -> ToSqlOutput<'a> {
    value.map_or(ToSqlOutput::Owned(Value::Null), Into::into)
}

fn insert<'a>(
    statement: &mut CachedStatement<'_>,
    row: impl IntoIterator<Item = ToSqlOutput<'a>>,
) -> rusqlite::Result<()> {
    for (place, value) in (2..).zip(row) {
        statement.raw_bind_parameter(place, value)?;
    }
    statement.raw_execute().map(drop)
}
