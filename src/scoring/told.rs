//! What is told of runs and scores, as SQL. Pages, files, the API and commands all ask here, so that one
//! customer has one answer everywhere, and one number one meaning.

use crate::config::Config;

/// Who has scores and a segment for whoever asks. Between two runs a customer may lose the last counted
/// order, or be erased: they are in no segment from then on, not only from the next run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    without_orders: bool,
}

impl Told {
    #[must_use]
    pub const fn from_config(config: &Config) -> Self {
        Self { without_orders: config.scoring.include_without_orders }
    }

    /// As SQL: may the scores of the row `c` of `customers` be told?
    #[must_use]
    pub const fn condition(self) -> &'static str {
        if self.without_orders { "c.redacted_at IS NULL" } else { "(c.order_count > 0 AND c.redacted_at IS NULL)" }
    }

    /// As SQL: r, f, m and segment of `scores AS s`, four columns, NULL where they are not told.
    #[must_use]
    pub fn columns(self) -> String {
        let condition = self.condition();
        ["r", "f", "m", "segment"].map(|column| format!("CASE WHEN {condition} THEN s.{column} END")).join(", ")
    }
}

/// As SQL: the number by which `customer_scores` knows the segment called `name`, an expression.
#[must_use]
pub fn segment_id(name: &str) -> String {
    format!("(SELECT id FROM segments WHERE name = {name})")
}

/// The end of a query of `runs`: the one whose scores are in force, the newest as-of that was scored.
/// Backfills are about the past and change nobody.
pub const IN_FORCE: &str = "WHERE scored_at IS NOT NULL AND trigger <> 'backfill' ORDER BY as_of DESC, id DESC LIMIT 1";

/// The end of a query of `runs`: the one before the run with as-of `?1` and id `?2`, which its changes are
/// counted from. One that scored nobody is none.
pub const BEFORE: &str = "WHERE scored_at IS NOT NULL AND trigger <> 'backfill' AND scored > 0 AND as_of <= ?1 \
     AND (as_of, id) < (?1, ?2) ORDER BY as_of DESC, id DESC LIMIT 1";

/// Columns of a query of `runs`: customers that the run moved from one segment to another, that are
/// new in it, and that left: are scored no more. Together they are `changed`, one event each.
pub const MOVES: [&str; 3] = [
    "(SELECT coalesce(sum(customers), 0) FROM run_moves WHERE run_id = runs.id AND old <> '' AND new <> '')",
    "(SELECT coalesce(sum(customers), 0) FROM run_moves WHERE run_id = runs.id AND old = '')",
    "(SELECT coalesce(sum(customers), 0) FROM run_moves WHERE run_id = runs.id AND new = '')",
];
