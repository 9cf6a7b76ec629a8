//! The statements of `score.sql`.

use rusqlite::{Connection, Statement};

use super::Ties;
use crate::model::Timestamp;

/// The file, a document of its own.
const FILE: &str = include_str!("score.sql");

/// What a run ranks by: the parameters of `score.sql`.
#[derive(Debug, Clone, Copy)]
pub struct Parameters {
    pub as_of: Timestamp,
    /// 0: all history.
    pub window_days: u32,
    pub include_without_orders: bool,
    pub ties: Ties,
}

/// A statement of `score.sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// id, r, f, m of everyone ranked, by id.
    Quintiles,
    /// Counters of everyone who is not gone.
    Values,
    /// Everyone beside the scores in force, by id.
    Standing,
    /// Counters of one customer at the as-of.
    Recount,
}

impl Parameters {
    /// Orders at or before this instant are outside the window.
    pub(super) fn window_start(&self) -> i64 {
        match self.window_days {
            0 => i64::MIN,
            days => self.as_of.plus_millis(-i64::from(days) * Timestamp::DAY).millis(),
        }
    }

    /// Prepares a part and binds what it asks for.
    pub fn prepare<'c>(&self, connection: &'c Connection, part: Part) -> rusqlite::Result<Statement<'c>> {
        let mut statement = connection.prepare(&text(part))?;
        for (name, value) in [
            (":as_of", self.as_of.millis()),
            (":window_start", self.window_start()),
            (":include_without_orders", i64::from(self.include_without_orders)),
            (":together", i64::from(self.ties == Ties::Together)),
        ] {
            if let Some(index) = statement.parameter_index(name)? {
                statement.raw_bind_parameter(index, value)?;
            }
        }
        Ok(statement)
    }
}

/// The text of a statement.
#[must_use]
pub fn text(part: Part) -> String {
    match part {
        Part::Quintiles => format!("{}\n{}", section("people"), section("quintiles")),
        Part::Values => section("values").to_owned(),
        Part::Standing => section("standing").to_owned(),
        Part::Recount => section("recount").to_owned(),
    }
}

/// What stands between `-- part: name` and the next part.
///
/// # Panics
/// There is no such part, which any test of this module would notice.
fn section(name: &str) -> &'static str {
    FILE.split("-- part: ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .find_map(|(title, body)| (title.trim() == name).then_some(body))
        .expect("score.sql has the part")
}
