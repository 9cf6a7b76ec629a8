//! The numbers of a run, so that no page ever counts customers: per segment, per combination of
//! scores, per quintile, and who moved from where to where.

use rusqlite::{Connection, params};

use super::{
    changes::Changes,
    segment::{COMBINATIONS, Scheme, combination, combinations},
};

/// Counted while the customers stream by.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Customers and their revenue, per combination of scores.
    cells: Box<[Cell; COMBINATIONS]>,
    /// Per dimension and quintile.
    quintiles: [[Range; 5]; 3],
}

#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    customers: u64,
    revenue: i64,
}

/// Customers of one quintile, and the real minimum and maximum of the value inside it. Customers
/// without a counted order have no recency: they are counted, the range is of the others.
#[derive(Debug, Clone, Copy)]
struct Range {
    customers: u64,
    lowest: i64,
    highest: i64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            cells: Box::new([Cell::default(); COMBINATIONS]),
            quintiles: [[Range { customers: 0, lowest: i64::MAX, highest: i64::MIN }; 5]; 3],
        }
    }
}

impl Statistics {
    /// Counts one ranked customer: scores, the three values they come from, and all they spent.
    pub fn add(&mut self, scores: [u8; 3], values: [Option<i64>; 3], total_spent: i64) {
        let cell = &mut self.cells[combination(scores)];
        cell.customers += 1;
        cell.revenue = cell.revenue.saturating_add(total_spent);
        for ((quintiles, score), value) in self.quintiles.iter_mut().zip(scores).zip(values) {
            let range = &mut quintiles[usize::from(score) - 1];
            range.customers += 1;
            if let Some(value) = value {
                range.lowest = range.lowest.min(value);
                range.highest = range.highest.max(value);
            }
        }
    }

    /// Customers ranked.
    #[must_use]
    pub fn ranked(&self) -> u64 {
        self.cells.iter().map(|cell| cell.customers).sum()
    }

    /// Customers of each segment, the best first, empty ones included.
    #[must_use]
    pub fn segments(&self, scheme: &Scheme) -> Vec<(String, u64)> {
        self.per_segment(scheme).map(|(name, cell)| (name.to_owned(), cell.customers)).collect()
    }

    fn per_segment<'s>(&self, scheme: &'s Scheme) -> impl Iterator<Item = (&'s str, Cell)> {
        let mut sums = vec![Cell::default(); scheme.segments().len()];
        for rfm in combinations() {
            let (sum, cell) = (&mut sums[scheme.segment_of(rfm).rank], &self.cells[combination(rfm)]);
            sum.customers += cell.customers;
            sum.revenue = sum.revenue.saturating_add(cell.revenue);
        }
        scheme.segments().iter().map(|segment| segment.name.as_str()).zip(sums)
    }

    /// Writes `run_segments`, `run_cells` and `run_quintiles`.
    pub fn write(&self, connection: &Connection, run_id: i64, scheme: &Scheme) -> rusqlite::Result<()> {
        let mut segment = connection.prepare_cached(
            "INSERT INTO run_segments (run_id, segment, rank, customers, revenue) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for (rank, (name, sum)) in self.per_segment(scheme).enumerate() {
            segment.execute(params![run_id, name, rank, sum.customers, sum.revenue])?;
        }
        let mut cell = connection.prepare_cached(
            "INSERT INTO run_cells (run_id, r, f, m, customers, revenue) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for [r, f, m] in combinations() {
            let Cell { customers, revenue } = self.cells[combination([r, f, m])];
            if customers > 0 {
                cell.execute(params![run_id, r, f, m, customers, revenue])?;
            }
        }
        let mut quintile = connection.prepare_cached(
            "INSERT INTO run_quintiles (run_id, dimension, quintile, customers, lowest, highest)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for (dimension, quintiles) in ["r", "f", "m"].into_iter().zip(&self.quintiles) {
            for (score, range) in (1u8..).zip(quintiles) {
                if range.lowest <= range.highest {
                    quintile.execute(params![
                        run_id,
                        dimension,
                        score,
                        range.customers,
                        range.lowest,
                        range.highest
                    ])?;
                }
            }
        }
        Ok(())
    }
}

/// Writes `run_moves`: how many went from which segment to which; '' is none.
pub fn write_moves(connection: &Connection, run_id: i64, changes: &Changes) -> rusqlite::Result<()> {
    let mut insert =
        connection.prepare_cached("INSERT INTO run_moves (run_id, old, new, customers) VALUES (?1, ?2, ?3, ?4)")?;
    for ([old, new], customers) in changes.moves() {
        insert.execute(params![run_id, old.unwrap_or_default(), new.unwrap_or_default(), customers])?;
    }
    Ok(())
}
