//! Whose scores are told. Pages, files, the API and commands all ask here, so that one customer has one
//! answer everywhere.

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
