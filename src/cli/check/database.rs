//! The database: whole, of this program's schema, and true.

use rusqlite::{Connection, OptionalExtension};

use super::{Context, Finding};
use crate::{clock, db::SCHEMA_VERSION, invariants, model::Timestamp};

/// Longer than any shop leaves its machine off; a clock that says so has jumped.
const LONGEST_PAUSE: i64 = 400 * Timestamp::DAY;

/// Also the clock: the database knows what time it has been already.
pub fn check(context: &Context, deep: bool) -> Vec<Finding> {
    let now = context.clock.now();
    let opened = context.readers().and_then(|readers| readers.get());
    let connection = match opened {
        Ok(connection) => connection,
        Err(error) => return vec![Finding::fail("database", format!("{error:#}")), clock(None, now)],
    };
    let mut findings = vec![integrity(&connection, deep)];
    // Opening refuses any other version.
    findings.push(Finding::ok("schema", format!("version {SCHEMA_VERSION}")));
    if deep {
        findings.push(truth(&connection));
    }
    let newest = connection.query_row("SELECT max(started_at) FROM runs", [], |row| row.get(0)).optional();
    findings.push(clock(newest.ok().flatten().flatten(), now));
    findings
}

fn integrity(connection: &Connection, deep: bool) -> Finding {
    let pragma = if deep { "PRAGMA integrity_check" } else { "PRAGMA quick_check" };
    let read =
        || -> rusqlite::Result<Vec<String>> { connection.prepare(pragma)?.query_map([], |row| row.get(0))?.collect() };
    match read() {
        Ok(lines) if lines == ["ok"] => Finding::ok("database", if deep { "every page is whole" } else { "whole" }),
        Ok(lines) => {
            Finding::fail("database", format!("it is damaged ({}); {RESTORE}", lines[..lines.len().min(3)].join("; ")))
        }
        Err(error) => Finding::fail("database", format!("it cannot be read ({error}); {RESTORE}")),
    }
}

const RESTORE: &str = "stop quintile and put a backup in its place";

fn truth(connection: &Connection) -> Finding {
    match invariants::violations(connection) {
        Ok(violations) if violations.is_empty() => {
            Finding::ok("contents", "counters, runs, events and deliveries agree")
        }
        Ok(violations) => Finding::fail("contents", format!("{}; please report this", violations.join(". "))),
        Err(error) => Finding::fail("contents", format!("cannot be read ({error}); {RESTORE}")),
    }
}

fn clock(newest_run: Option<Timestamp>, now: Timestamp) -> Finding {
    let set = "set this computer's date and time";
    match newest_run {
        _ if now < clock::EARLIEST => Finding::fail("clock", format!("{now} is before this program was made; {set}")),
        Some(run) if now < run => Finding::fail("clock", format!("{now} is before the latest run of {run}; {set}")),
        Some(run) if now.millis() - run.millis() > LONGEST_PAUSE => Finding::warn(
            "clock",
            format!("{now} is more than a year after the latest run of {run}; if that is wrong, {set}"),
        ),
        _ => Finding::ok("clock", now.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::State, *};

    #[test]
    fn the_clock_cannot_run_backwards() {
        let at = |text| Timestamp::parse_rfc3339(text).unwrap();
        let now = at("2027-06-01T12:00:00Z");
        for (newest, now, state) in [
            (None, now, State::Ok),
            (None, at("2020-01-01T00:00:00Z"), State::Fail),
            (Some(at("2027-06-01T02:00:00Z")), now, State::Ok),
            (Some(at("2027-06-02T02:00:00Z")), now, State::Fail),
            (Some(at("2027-06-02T02:00:00Z")), at("2099-01-01T00:00:00Z"), State::Warn),
        ] {
            assert_eq!(clock(newest, now).state, state, "{newest:?} {now}");
        }
    }
}
