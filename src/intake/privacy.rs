//! Requests of privacy law: forget a person, tell them what is known of them.
//!
//! [`erase`] forgets a person in the ledger and the queue, and begins the search through what the shop
//! has sent ([`search`]), which for a large inbox goes on in slices ([`work_off`]): a long one must not
//! keep orders waiting. What comes later is looked at when it comes ([`of_the_erased`]).
//!
//! - [`traces`] are by what a message shows whom it speaks of;
//! - [`strip`] leaves of it what an order is worth;
//! - [`search`] finds the messages of one person;
//! - [`export`] writes down what is known of one;
//! - [`answers`] are the files it wrote, until they are deleted;
//! - [`tasks`] remember what is still to be done.

pub mod answers;
mod export;
mod search;
mod strip;
mod tasks;
mod traces;

use rusqlite::{Connection, Transaction};

use super::Message;
use crate::{
    ledger::{self, Erased, Erasures, LedgerError, Mark, Tombstones, Who},
    model::{Source, Timestamp},
};
pub use tasks::{Worked, work_off};
pub(super) use tasks::{begin_export, same_request};
use traces::Traces;
pub(super) use traces::emails_in;

/// What [`erase`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forgotten {
    pub erased: Erased,
    /// Messages out of which the person was taken so far.
    pub messages: usize,
    /// More messages, orders or customers are to be looked at: call [`work_off`].
    pub goes_on: bool,
}

/// Forgets a person everywhere. What a small inbox holds of them is gone with it, and so are a small shop's orders
/// that somebody else placed with their e-mail, and its customers with their phone where they are known by nothing
/// else; what is larger is searched on by [`work_off`].
///
/// # Errors
/// Those of the database; then the caller's transaction must not be committed.
pub fn erase(tx: &Transaction<'_>, who: &Who, now: Timestamp) -> Result<Forgotten, LedgerError> {
    Ok(search_for(tx, ledger::erase(tx, who, now)?, now)?)
}

/// Forgets in an earlier state of a database, which nobody else writes, whoever was erased in it since; also those who
/// were no customers then, and are named in what the shop had sent. Returns how many customers had a name.
///
/// # Errors
/// Those of the database; then the caller's transaction must not be committed.
pub fn erase_again(tx: &Transaction<'_>, erasures: &Erasures, now: Timestamp) -> Result<usize, LedgerError> {
    let Some(named) = erasures.take_over(tx)? else { return Ok(0) };
    let forgotten = ledger::erase_known(tx, &named, now)?;
    ledger::blank_erased(tx)?;
    let tombstones = Tombstones::load(tx)?;
    let (mut position, last) = (0, tasks::newest(tx)?);
    while position < last {
        let slice = search::erased(tx, &tombstones, position, last)?;
        search::scrub(tx, &slice.hits)?;
        position = slice.position.unwrap_or(last);
    }
    Ok(forgotten)
}

/// Searches for whom the ledger has forgotten in what the shop has sent.
fn search_for(tx: &Transaction<'_>, erased: Erased, now: Timestamp) -> rusqlite::Result<Forgotten> {
    let (messages, goes_on) = tasks::begin_erasure(tx, &erased, now)?;
    Ok(Forgotten { erased, messages, goes_on })
}

/// What may be kept of a message's body, if it speaks of somebody who was erased; `None`: all of it.
pub(super) fn of_the_erased(tx: &Transaction<'_>, message: &Message) -> rusqlite::Result<Option<Vec<u8>>> {
    let tombstones = Tombstones::load(tx)?;
    if tombstones.is_empty() {
        return Ok(None);
    }
    let source = message.source;
    strip::strip(&message.topic, &message.body, &mut |traces| is_erased(tx, &tombstones, source, traces))
}

/// What may be kept of the body of a message that is about somebody who was erased.
pub(super) fn numbers_alone(message: &Message) -> rusqlite::Result<Option<Vec<u8>>> {
    strip::strip(&message.topic, &message.body, &mut |_| Ok(true))
}

fn is_erased(
    connection: &Connection,
    tombstones: &Tombstones,
    source: Source,
    traces: &Traces,
) -> rusqlite::Result<bool> {
    let ids = traces.ids.iter().map(|id| Mark::Id(source, id));
    let emails = traces.emails.iter().map(|email| Mark::Email(email));
    let phones = traces.phones().map(|phone| Mark::Phone(phone));
    for mark in ids.chain(emails).chain(phones) {
        if tombstones.find(connection, mark)?.is_some() {
            return Ok(true);
        }
    }
    for order in &traces.orders {
        if ledger::is_erased_persons_order(connection, source, order)? {
            return Ok(true);
        }
    }
    Ok(false)
}
