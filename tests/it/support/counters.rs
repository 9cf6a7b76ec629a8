//! SQLite's own counters of what a statement did. They are the same on every machine and at every load.

use std::{collections::HashMap, ops::AddAssign};

use rusqlite::{StatementStatus, trace::StmtRef};

/// What executions of statements did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Instructions of SQLite's machine.
    pub steps: i64,
    /// Rows that a full scan of a table passed.
    pub scanned: i64,
    pub sorts: i64,
    /// How many there were.
    pub runs: i64,
}

impl AddAssign for Work {
    fn add_assign(&mut self, more: Self) {
        self.steps += more.steps;
        self.scanned += more.scanned;
        self.sorts += more.sorts;
        self.runs += more.runs;
    }
}

/// The last counters of each statement, by who prepared it and its text: they grow as long as it stays
/// prepared. Whoever begins to listen flushes what is prepared.
#[derive(Debug, Default)]
pub struct Counters(HashMap<(&'static str, String), Work>);

impl Counters {
    /// What the execution did that just ended.
    pub fn grown(&mut self, by: &'static str, statement: &StmtRef<'_>) -> Work {
        let status = |which| i64::from(statement.get_status(which));
        let now = Work {
            steps: status(StatementStatus::VmStep),
            scanned: status(StatementStatus::FullscanStep),
            sorts: status(StatementStatus::Sort),
            runs: status(StatementStatus::Run),
        };
        let before = self.0.insert((by, statement.sql().into_owned()), now);
        // Otherwise it was prepared anew.
        let before = before.filter(|before| before.runs + 1 == now.runs).unwrap_or_default();
        Work {
            steps: now.steps - before.steps,
            scanned: now.scanned - before.scanned,
            sorts: now.sorts - before.sorts,
            runs: 1,
        }
    }
}
