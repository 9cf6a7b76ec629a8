//! What each statement that serves an address costs, in steps of SQLite's machine: the same on every
//! machine and at every load.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use quintile::db::{READERS, Reader};
use rusqlite::{
    Connection,
    trace::{TraceEvent, TraceEventCodes},
};

use crate::support::{counters::Counters, pages::Shop};

/// The steps of a statement while one address was served.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub all: i64,
    /// Of the execution that took most.
    pub longest: i64,
}

/// By their text.
pub type Costs = BTreeMap<String, Cost>;

#[derive(Default)]
struct Seen {
    costs: Costs,
    counters: Counters,
}

/// A callback of SQLite's can carry nothing with it.
static SEEN: Mutex<Option<Seen>> = Mutex::new(None);

fn seen() -> MutexGuard<'static, Option<Seen>> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(by: &'static str, event: &TraceEvent<'_>) {
    let TraceEvent::Profile(statement, _) = event else { return };
    let mut seen = seen();
    let seen = seen.get_or_insert_default();
    let steps = seen.counters.grown(by, statement).steps;
    let cost = seen.costs.entry(statement.sql().into_owned()).or_default();
    cost.all += steps;
    cost.longest = cost.longest.max(steps);
}

/// Hears of every statement of a shop. All but one of its readers are taken, so that nothing is read unheard.
pub struct Meter<'a> {
    shop: &'a Shop,
    _taken: Vec<Reader>,
}

impl<'a> Meter<'a> {
    pub fn new(shop: &'a Shop) -> Self {
        let mut taken: Vec<Reader> = (0..READERS).map(|_| shop.database.readers().get().unwrap()).collect();
        let listen = |connection: &Connection, to| connection.trace_v2(TraceEventCodes::SQLITE_TRACE_PROFILE, Some(to));
        listen(&taken.pop().unwrap(), |event| note("reader", &event));
        shop.write(move |tx| {
            listen(tx, |event| note("writer", &event));
            Ok(())
        });
        Self { shop, _taken: taken }
    }

    /// What `ask` makes SQLite do. Every statement is prepared anew.
    pub fn costs_of<T>(&self, ask: impl FnOnce() -> T) -> (Costs, T) {
        self.shop.database.readers().get().unwrap().flush_prepared_statement_cache();
        self.shop.write(|tx| {
            tx.flush_prepared_statement_cache();
            Ok(())
        });
        *seen() = None;
        let done = ask();
        (seen().take().unwrap_or_default().costs, done)
    }
}
