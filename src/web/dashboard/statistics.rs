//! Read-only queries over what scoring keeps per run, so that no page counts customers.

use std::{collections::HashMap, sync::LazyLock};

use rusqlite::{Connection, OptionalExtension, Row};

use super::definitions::{Cut, Move};
use crate::{
    model::{Money, Timestamp},
    scoring::told::{BEFORE, IN_FORCE, MOVES},
};

/// A number of rows as SQL takes it.
pub fn sql_limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A row of `runs`.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: i64,
    pub trigger: String,
    pub state: String,
    pub as_of: Timestamp,
    pub started_at: Timestamp,
    pub scored_at: Option<Timestamp>,
    pub emitted_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub attempts: i64,
    pub retry_at: Option<Timestamp>,
    pub error: Option<String>,
    pub baseline: bool,
    pub remap: bool,
    pub held: bool,
    pub missed: i64,
    pub ties: String,
    pub window_days: i64,
    pub scored: i64,
    /// Events: moved, new and left together.
    pub changed: i64,
    /// In another segment than in the run before.
    pub moved: i64,
    /// Scored for the first time.
    pub new: i64,
    /// Scored no more.
    pub left: i64,
    pub score_ms: Option<i64>,
    pub rank_ms: Option<i64>,
    pub write_ms: Option<i64>,
    pub emit_ms: Option<i64>,
}

/// A query of `runs` up to its conditions.
static RUN: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id, trigger, state, as_of, started_at, scored_at, emitted_at, finished_at, attempts, retry_at, error,
           baseline, remap, held, missed, ties, window_days, scored, changed, score_ms, rank_ms, write_ms, emit_ms, {}
         FROM runs",
        MOVES.join(", ")
    )
});

impl Run {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            trigger: row.get(1)?,
            state: row.get(2)?,
            as_of: row.get(3)?,
            started_at: row.get(4)?,
            scored_at: row.get(5)?,
            emitted_at: row.get(6)?,
            finished_at: row.get(7)?,
            attempts: row.get(8)?,
            retry_at: row.get(9)?,
            error: row.get(10)?,
            baseline: row.get(11)?,
            remap: row.get(12)?,
            held: row.get(13)?,
            missed: row.get(14)?,
            ties: row.get(15)?,
            window_days: row.get(16)?,
            scored: row.get(17)?,
            changed: row.get(18)?,
            score_ms: row.get(19)?,
            rank_ms: row.get(20)?,
            write_ms: row.get(21)?,
            emit_ms: row.get(22)?,
            moved: row.get(23)?,
            new: row.get(24)?,
            left: row.get(25)?,
        })
    }
}

/// The run whose scores are in force.
pub fn in_force(connection: &Connection) -> rusqlite::Result<Option<Run>> {
    connection.prepare_cached(&format!("{} {IN_FORCE}", *RUN))?.query_row([], Run::from_row).optional()
}

/// The run before `run`, which its changes are counted from.
pub fn before(connection: &Connection, run: &Run) -> rusqlite::Result<Option<Run>> {
    connection.prepare_cached(&format!("{} {BEFORE}", *RUN))?.query_row((run.as_of, run.id), Run::from_row).optional()
}

/// Runs whose deliveries wait for the merchant, newest first.
pub fn held(connection: &Connection) -> rusqlite::Result<Vec<Run>> {
    connection
        .prepare_cached(&format!("{} WHERE held = 1 AND trigger <> 'backfill' ORDER BY id DESC LIMIT 5", *RUN))?
        .query_map([], Run::from_row)?
        .collect()
}

/// The runs started last, newest first, whatever became of them.
pub fn latest(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Run>> {
    connection
        .prepare_cached(&format!("{} WHERE trigger <> 'backfill' ORDER BY id DESC LIMIT ?1", *RUN))?
        .query_map([sql_limit(limit)], Run::from_row)?
        .collect()
}

pub fn by_id(connection: &Connection, id: i64) -> rusqlite::Result<Option<Run>> {
    connection.prepare_cached(&format!("{} WHERE id = ?1", *RUN))?.query_row([id], Run::from_row).optional()
}

/// Runs in this order; those that are gone are left out.
pub fn by_ids(connection: &Connection, ids: &[i64]) -> rusqlite::Result<Vec<Run>> {
    ids.iter().filter_map(|id| by_id(connection, *id).transpose()).collect()
}

/// Runs newest first, those with a smaller id than `before`.
pub fn page(connection: &Connection, before: i64, limit: usize) -> rusqlite::Result<Vec<Run>> {
    connection
        .prepare_cached(&format!("{} WHERE id < ?1 ORDER BY id DESC LIMIT ?2", *RUN))?
        .query_map((before, sql_limit(limit)), Run::from_row)?
        .collect()
}

/// Scored runs with an as-of in `from..`, oldest first; at most `limit`. Backfills sent nothing.
pub fn since(connection: &Connection, from: Timestamp, limit: usize) -> rusqlite::Result<Vec<Run>> {
    let mut runs: Vec<Run> = connection
        .prepare_cached(&format!(
            "{} WHERE scored_at IS NOT NULL AND trigger <> 'backfill' AND as_of >= ?1 ORDER BY as_of DESC LIMIT ?2",
            *RUN
        ))?
        .query_map((from, sql_limit(limit)), Run::from_row)?
        .collect::<rusqlite::Result<_>>()?;
    runs.reverse();
    Ok(runs)
}

/// Of the newest runs, those that are offered one by one.
pub const SINGLE: i64 = 60;

/// Runs that a flow may begin or end at, newest first: the last [`SINGLE`] one by one, of those before
/// the last one of each week; and how many there are in all.
pub fn choices(connection: &Connection) -> rusqlite::Result<(Vec<(i64, Timestamp)>, i64)> {
    const WEEKLY: i64 = 150;
    const WEEK: i64 = 7 * Timestamp::DAY;
    let newest: Vec<(i64, Timestamp)> = connection
        .prepare_cached(
            "SELECT id, as_of FROM runs WHERE scored_at IS NOT NULL AND trigger <> 'backfill' AND scored > 0
             ORDER BY as_of DESC, id DESC LIMIT ?1",
        )?
        .query_map([SINGLE], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let all: i64 = connection
        .prepare_cached(
            "SELECT count(*) FROM runs WHERE scored_at IS NOT NULL AND trigger <> 'backfill' AND scored > 0",
        )?
        .query_row([], |row| row.get(0))?;
    let Some((_, oldest)) = newest.last().copied() else { return Ok((newest, all)) };
    let weekly: Vec<(i64, Timestamp)> = connection
        .prepare_cached(
            "SELECT id, max(as_of) FROM runs WHERE scored_at IS NOT NULL AND trigger <> 'backfill' AND scored > 0 AND as_of < ?1
             GROUP BY (?1 - as_of) / ?2 ORDER BY 2 DESC LIMIT ?3",
        )?
        .query_map((oldest, WEEK, WEEKLY), |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(([newest, weekly].concat(), all))
}

/// One row of `run_segments`.
#[derive(Debug, Clone)]
pub struct SegmentCount {
    pub segment: String,
    pub customers: i64,
    pub revenue: Money,
}

/// Segments of a run, best first.
pub fn segments(connection: &Connection, run: i64) -> rusqlite::Result<Vec<SegmentCount>> {
    connection
        .prepare_cached(
            "SELECT segment, customers, revenue FROM run_segments WHERE run_id = ?1 ORDER BY rank, segment",
        )?
        .query_map([run], |row| {
            Ok(SegmentCount { segment: row.get(0)?, customers: row.get(1)?, revenue: row.get(2)? })
        })?
        .collect()
}

/// Customers per segment of a run.
pub fn counts(connection: &Connection, run: i64) -> rusqlite::Result<HashMap<String, i64>> {
    connection
        .prepare_cached("SELECT segment, customers FROM run_segments WHERE run_id = ?1")?
        .query_map([run], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// Weeks before the present one that pages look back.
pub const WEEKS: i64 = 12;

/// A week's last run, and the customers per segment it counted.
#[derive(Debug, Clone)]
pub struct Week {
    pub as_of: Timestamp,
    pub counts: HashMap<String, i64>,
}

/// Each of the 13 weeks until `run`, oldest first; `None` where no run fell into the week.
pub fn weeks(connection: &Connection, run: &Run) -> rusqlite::Result<Vec<Option<Week>>> {
    const WEEK: i64 = 7 * Timestamp::DAY;
    let mut in_week = connection.prepare_cached(
        "SELECT id, as_of FROM runs WHERE scored_at IS NOT NULL AND as_of > ?1 AND as_of <= ?2 ORDER BY as_of DESC, id DESC LIMIT 1",
    )?;
    (0..=WEEKS)
        .rev()
        .map(|weeks| {
            let end = run.as_of.plus_millis(-weeks * WEEK);
            let found: Option<(i64, Timestamp)> = if weeks == 0 {
                Some((run.id, run.as_of))
            } else {
                in_week.query_row((end.plus_millis(-WEEK), end), |row| Ok((row.get(0)?, row.get(1)?))).optional()?
            };
            found.map(|(id, as_of)| Ok(Week { as_of, counts: counts(connection, id)? })).transpose()
        })
        .collect()
}

/// One row of `run_cells`.
#[derive(Debug, Clone, Copy)]
pub struct Cell {
    pub scores: [u8; 3],
    pub customers: i64,
    pub revenue: Money,
}

/// The 125 combinations of a run that somebody is in.
pub fn cells(connection: &Connection, run: i64) -> rusqlite::Result<Vec<Cell>> {
    connection
        .prepare_cached("SELECT r, f, m, customers, revenue FROM run_cells WHERE run_id = ?1")?
        .query_map([run], |row| {
            Ok(Cell { scores: [row.get(0)?, row.get(1)?, row.get(2)?], customers: row.get(3)?, revenue: row.get(4)? })
        })?
        .collect()
}

/// The cut values of one dimension ("r", "f", "m") of a run, worst quintile first.
pub fn cuts(connection: &Connection, run: i64, dimension: &str) -> rusqlite::Result<Vec<Cut>> {
    connection
        .prepare_cached(
            "SELECT quintile, customers, lowest, highest FROM run_quintiles WHERE run_id = ?1 AND dimension = ?2 ORDER BY quintile",
        )?
        .query_map((run, dimension), |row| {
            Ok(Cut { quintile: row.get(0)?, customers: row.get(1)?, lowest: row.get(2)?, highest: row.get(3)? })
        })?
        .collect()
}

/// What moved from where to where in a run, most first.
pub fn moves(connection: &Connection, run: i64) -> rusqlite::Result<Vec<Move>> {
    connection
        .prepare_cached(
            "SELECT old, new, customers FROM run_moves WHERE run_id = ?1 ORDER BY customers DESC, old, new",
        )?
        .query_map([run], |row| Ok(Move { old: row.get(0)?, new: row.get(1)?, customers: row.get(2)? }))?
        .collect()
}

/// Has any order ever come in?
/// When somebody was scored first; a backfill does not count.
pub fn first_at(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    connection
        .prepare_cached("SELECT min(scored_at) FROM runs WHERE scored > 0 AND trigger <> 'backfill'")?
        .query_row([], |row| row.get(0))
}

pub fn any_orders(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM orders LIMIT 1")?.exists([])
}
