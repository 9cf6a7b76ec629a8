//! The database: whole, of this program's schema, and true.

use rusqlite::Connection;

use super::{Context, Finding};
use crate::{
    backups,
    db::{self, SCHEMA_VERSION},
    invariants,
    model::Timestamp,
    scoring::{
        self,
        night::{self, ClockSuspect},
    },
};

/// Also the clock: the database knows what time it has been already.
pub fn check(context: &Context, deep: bool) -> Vec<Finding> {
    let now = context.clock.now();
    // Only where something is wrong: it reads the whole log.
    let advice = || backups::advice(&context.config, &context.config_path, now);
    let opened = context.readers().and_then(|readers| readers.get());
    let connection = match opened {
        Ok(connection) => connection,
        Err(error) if db::tells_of_damage(&error) => {
            return vec![Finding::fail("database", format!("{error:#}; {}", advice())), clock(None, now)];
        }
        Err(error) => return vec![Finding::fail("database", format!("{error:#}")), clock(None, now)],
    };
    let mut findings = vec![integrity(&connection, deep, &advice)];
    // Opening refuses any other version.
    findings.push(Finding::ok("schema", format!("version {SCHEMA_VERSION}")));
    if deep {
        findings.push(truth(&connection, &advice));
    }
    match scoring::latest_as_of(&connection) {
        Ok(latest) => findings.push(clock(latest, now)),
        Err(error) => findings.push(Finding::fail("clock", format!("the latest run cannot be read ({error})"))),
    }
    findings
}

fn integrity(connection: &Connection, deep: bool, advice: &dyn Fn() -> String) -> Finding {
    let depth = if deep { db::Depth::Everything } else { db::Depth::Pages };
    match db::faults(connection, depth) {
        Ok(faults) if faults.is_empty() => Finding::ok("database", if deep { "every page is whole" } else { "whole" }),
        Ok(faults) => Finding::fail("database", format!("it is damaged ({}); {}", faults.join("; "), advice())),
        Err(error) => Finding::fail("database", format!("it cannot be read ({error}); {}", advice())),
    }
}

fn truth(connection: &Connection, advice: &dyn Fn() -> String) -> Finding {
    match invariants::violations(connection) {
        Ok(violations) if violations.is_empty() => {
            Finding::ok("contents", "counters, runs, events and deliveries agree")
        }
        Ok(violations) => Finding::fail("contents", format!("{}; please report this", violations.join(". "))),
        Err(error) => Finding::fail("contents", format!("cannot be read ({error}); {}", advice())),
    }
}

/// As the night watch sees it, which starts no run while the clock is suspect.
fn clock(latest_run: Option<Timestamp>, now: Timestamp) -> Finding {
    const CHECK: &str = "clock";
    let latest = latest_run.map(|run| format!("the latest run, as of {run}")).unwrap_or_default();
    let set = "set this computer's date and time";
    match night::suspect(latest_run, now) {
        None => Finding::ok(CHECK, now.to_string()),
        Some(ClockSuspect::BeforeBuild) => {
            Finding::fail(CHECK, format!("{now} is before this program was made; {set}"))
        }
        Some(ClockSuspect::Behind) => Finding::fail(
            CHECK,
            format!(
                "{now} is before {latest}; no nightly run starts until then; if that is wrong, {set}; if not, `quintile score` starts again"
            ),
        ),
        Some(ClockSuspect::FarAhead) => Finding::warn(
            CHECK,
            format!(
                "{now} is more than a year after {latest}; if that is wrong, {set}; if not, `quintile score` starts again"
            ),
        ),
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
