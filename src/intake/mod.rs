//! Bytes become an order or a person.
//!
//! A signed message is stored in `inbox` byte for byte and applied to the ledger, in one
//! transaction; only then is the sender answered. What cannot be used is quarantined with a reason
//! a merchant can read. Reading a body is pure and is done before the transaction ([`Prepared`]).

pub mod api;
pub mod csv;
mod inbox;
mod json;
mod shopify;
pub mod signature;
pub mod uploads;
mod woocommerce;

use rusqlite::Transaction;
use sha2::{Digest, Sha256};

pub use crate::ledger::Rules;
use crate::{
    ledger::{self, Change, LedgerError},
    model::{Order, Person, Source, Timestamp},
};

/// Largest body that is read, in bytes.
pub const MAX_BODY: usize = 8 * 1024 * 1024;

/// A message whose signature was good.
#[derive(Debug, Clone)]
pub struct Message {
    pub source: Source,
    /// What it is about, in the source's words ("orders/create").
    pub topic: String,
    /// The sender's id of this message, the same in every copy of it.
    pub delivery_key: Option<String>,
    /// When the source sent it; breaks ties between states of one order.
    pub triggered_at: Option<Timestamp>,
    /// Headers worth keeping, signatures left out: a JSON object.
    pub headers: serde_json::Value,
    pub body: Vec<u8>,
    pub received_at: Timestamp,
}

/// What became of a message. In every case it is stored, or was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    Done,
    /// A newer state was known.
    Stale,
    /// Nothing here acts on messages like this.
    Ignored,
    /// A copy of one that was stored before.
    Duplicate,
    /// Signed but unusable; why, for the merchant.
    Quarantined(String),
}

/// What a body says.
#[derive(Debug)]
enum Reading {
    /// `note` is for the merchant ("an amount was rounded").
    Event {
        event: Box<Event>,
        note: Option<String>,
    },
    /// Nothing for the ledger; the text says why it is kept.
    Noted(&'static str),
    Ignored(String),
    Unreadable(String),
}

/// A change that the ledger knows how to make.
#[derive(Debug)]
enum Event {
    Order(Order),
    /// Deletions before `alive_at` hold no longer.
    LivingOrder {
        order: Order,
        alive_at: Timestamp,
    },
    OrderDeleted {
        source_id: String,
        at: Timestamp,
    },
    Person(Person),
    CustomerDeleted {
        external_id: String,
        at: Timestamp,
    },
    CustomersMerged {
        deleted_id: String,
        kept_id: String,
    },
}

/// A message with its body read, ready for the transaction.
#[derive(Debug)]
pub struct Prepared {
    message: Message,
    body_hash: [u8; 32],
    reading: Reading,
}

impl Prepared {
    /// Reads the body. Pure; takes about as long as parsing the JSON.
    #[must_use]
    pub fn new(message: Message, rules: &Rules) -> Self {
        let reading = match message.source {
            Source::Shopify => shopify::read(&message, rules),
            Source::WooCommerce => woocommerce::read(&message, rules),
            Source::Csv | Source::Api => {
                Reading::Ignored(format!("messages from {} are not read here", message.source))
            }
        };
        Self { body_hash: Sha256::digest(&message.body).into(), message, reading }
    }

    /// Stores the message and makes its change.
    ///
    /// # Errors
    /// Only those of the database: then nothing may be kept of it and the sender must try again.
    pub fn store(&self, tx: &Transaction<'_>, rules: &Rules) -> anyhow::Result<Received> {
        let message = &self.message;
        if inbox::count_duplicate(tx, message, &self.body_hash)? {
            return Ok(Received::Duplicate);
        }
        let (received, note) = match &self.reading {
            Reading::Event { event, note } => {
                let done = undoable(tx, || apply(tx, rules, event, message));
                (received(done)?, note.as_deref())
            }
            Reading::Noted(note) => (Received::Done, Some(*note)),
            Reading::Ignored(reason) => (Received::Ignored, Some(reason.as_str())),
            Reading::Unreadable(reason) => (Received::Quarantined(reason.clone()), None),
        };
        inbox::insert(tx, message, &self.body_hash, &received, note)?;
        Ok(received)
    }
}

fn received(done: Result<Change, LedgerError>) -> rusqlite::Result<Received> {
    match done {
        Ok(Change::Stale) => Ok(Received::Stale),
        Ok(Change::New | Change::Updated | Change::Unchanged) => Ok(Received::Done),
        Err(LedgerError::Rejected(reason)) => Ok(Received::Quarantined(reason)),
        Err(LedgerError::Sqlite(error)) => Err(error),
    }
}

fn apply(tx: &Transaction<'_>, rules: &Rules, event: &Event, message: &Message) -> Result<Change, LedgerError> {
    let (source, now) = (message.source, message.received_at);
    match event {
        Event::Order(order) => Ok(ledger::apply_order(tx, rules, order, now)?.order),
        Event::LivingOrder { order, alive_at } => {
            let restored = ledger::restore_order(tx, rules, source, &order.source_id, *alive_at)?;
            let applied = ledger::apply_order(tx, rules, order, now)?.order;
            Ok(if restored == Change::Updated { restored } else { applied })
        }
        Event::OrderDeleted { source_id, at } => ledger::delete_order(tx, rules, source, source_id, *at, now),
        Event::Person(person) => ledger::apply_person(tx, rules, person, now),
        Event::CustomerDeleted { external_id, at } => ledger::delete_customer(tx, rules, source, external_id, *at),
        Event::CustomersMerged { deleted_id, kept_id } => {
            ledger::merge_customers(tx, rules, source, deleted_id, kept_id, now)
        }
    }
}

/// Runs `change`; what it wrote before it refused is undone.
fn undoable<T>(tx: &Transaction<'_>, change: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
    tx.prepare_cached("SAVEPOINT message")?.execute([])?;
    let result = change();
    if matches!(result, Err(LedgerError::Rejected(_))) {
        tx.prepare_cached("ROLLBACK TO message")?.execute([])?;
    }
    tx.prepare_cached("RELEASE message")?.execute([])?;
    result
}
