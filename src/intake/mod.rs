//! Bytes become an order or a person.
//!
//! A signed message is stored in `inbox` byte for byte and applied to the ledger, in one
//! transaction; only then is the sender answered. What cannot be used is quarantined with a reason
//! a merchant can read. Reading a body is pure and is done before the transaction ([`Prepared`]).
//! What was stored can be read again for a while ([`inbox`]), and who is to be forgotten is ([`privacy`]).
//!
//! The shop's signature covers the body alone: whoever has seen a message can send its body again under
//! other headers. So a body counts as sent when its first copy was, whatever later copies say, and one that
//! comes again is what has been applied already: it takes back nothing that was deleted since, and is no
//! deletion of another kind. The price: of two states with one `updated_at`, where one
//! was sent both before and after the other, byte for byte the same (the shop went back within a second, or
//! told of it late under another topic), the copy that comes first decides, until the next change or pull.

pub mod api;
pub mod bulk;
pub mod csv;
pub mod inbox;
mod json;
pub mod privacy;
mod shopify;
pub mod signature;
pub mod uploads;
mod woocommerce;

use rusqlite::Transaction;
use sha2::{Digest, Sha256};

use self::inbox::First;
pub use crate::ledger::Rules;
use crate::{
    ledger::{self, Change, LedgerError, Who},
    model::{Order, OrderStatus, Person, Source, Timestamp},
};

/// Largest body that the API takes and longest line of a file of orders, in bytes; of webhooks the configuration says.
pub const MAX_BODY: usize = 8 * 1024 * 1024;

/// A message whose signature was good.
#[derive(Debug, Clone)]
pub struct Message {
    pub source: Source,
    /// What it is about, in the source's words ("orders/create").
    pub topic: String,
    /// The sender's id of this message, the same in every copy of it. Only with the body is it an id: it may
    /// be forged, and the orders of a bulk change in WooCommerce share one.
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
    /// A person whose body does not say of when it is: as of when it was sent.
    UndatedPerson(Person),
    CustomerDeleted {
        external_id: String,
        at: Timestamp,
    },
    CustomersMerged {
        deleted_id: String,
        kept_id: String,
    },
    /// The shop asks to forget somebody.
    Erasure(Who),
    /// Somebody asks what is known of them.
    DataRequest(Who),
}

impl Event {
    /// Of whom it tells something that may be stored.
    fn person(&self) -> Option<&Person> {
        match self {
            Self::Order(order) | Self::LivingOrder { order, .. } => order.person.as_ref(),
            Self::Person(person) | Self::UndatedPerson(person) => Some(person),
            _ => None,
        }
    }

    /// What is believed of it when its body came before, as `first`; `None`: all. `Err`: nothing, and why.
    fn again(&self, source: Source, first: &First) -> Result<Option<Self>, String> {
        let is_shopify = source == Source::Shopify; // others sign when they sent it, or do not say
        let of = |person: &Person| Person { triggered_at: first.sent, ..person.clone() };
        Ok(match self {
            Self::Order(order) if is_shopify => {
                let person = order.person.as_ref().map(of);
                Some(Self::Order(Order { triggered_at: first.sent, person, ..order.clone() }))
            }
            Self::Person(person) if is_shopify => Some(Self::Person(of(person))),
            Self::UndatedPerson(person) if is_shopify => {
                let updated_at = first.sent.or(Some(first.received_at));
                Some(Self::Person(Person { updated_at, ..of(person) }))
            }
            // What was deleted since it came is not taken back by the same bytes.
            Self::LivingOrder { order, .. } if order.status == OrderStatus::Cancelled => {
                Some(Self::Order(order.clone())) // it may well be in the bin
            }
            Self::LivingOrder { order, alive_at } => {
                let alive_at = alive_as_told(order, *alive_at, first.received_at);
                Some(Self::LivingOrder { order: order.clone(), alive_at })
            }
            // WooCommerce's orders and customers have the same numbers.
            Self::OrderDeleted { .. } | Self::CustomerDeleted { .. } if source == Source::WooCommerce => {
                match &first.other_topic {
                    Some(topic) => {
                        return Err(format!(
                            "the same bytes came as {topic} before, and nobody signs the topic; if this was deleted \
                             as well, run `quintile inbox replay --message` with the id of this message"
                        ));
                    }
                    None => None,
                }
            }
            _ => None,
        })
    }
}

/// Until when the deletions of an order hold no longer that was told of at `received_at`: those that came later do.
fn alive_as_told(order: &Order, alive_at: Timestamp, received_at: Timestamp) -> Timestamp {
    alive_at.min(order.updated_at.unwrap_or(order.ordered_at).max(received_at))
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

    /// Where it came a while ago: what was deleted since is not taken back.
    fn told_late(mut self) -> Self {
        if let Reading::Event { event, .. } = &mut self.reading
            && let Event::LivingOrder { order, alive_at } = &mut **event
        {
            *alive_at = alive_as_told(order, *alive_at, self.message.received_at);
        }
        self
    }

    /// Stores the message and makes its change.
    ///
    /// # Errors
    /// Only those of the database: then nothing may be kept of it and the sender must try again.
    pub fn store(&self, tx: &Transaction<'_>, rules: &Rules) -> anyhow::Result<Received> {
        let message = &self.message;
        if inbox::count_duplicate(tx, message, &self.body_hash)?.is_some() {
            return Ok(Received::Duplicate);
        }
        let first = inbox::first(tx, message, &self.body_hash, i64::MAX)?;
        let decided = self.decide(tx, rules, first.as_ref(), message.received_at)?;
        let id = inbox::insert(tx, message, &self.body_hash, &decided)?;
        self.follow_up(tx, id, &decided, message.received_at)?;
        Ok(decided.received)
    }

    /// Makes the change, and says what is to be stored of the message. `first`: the one that brought its body.
    fn decide(
        &self,
        tx: &Transaction<'_>,
        rules: &Rules,
        first: Option<&First>,
        now: Timestamp,
    ) -> rusqlite::Result<Decided> {
        let source = self.message.source;
        let (received, note) = match &self.reading {
            Reading::Event { event, note } => {
                let what_became = match **event {
                    Event::DataRequest(_) => Some("is answered by a file of its own"),
                    // By orders or a phone alone, whoever comes later is found only when it is done again.
                    Event::Erasure(ref who) if who.external_id.is_some() || who.email.is_some() => {
                        Some("was done, and holds for what comes later too")
                    }
                    _ => None,
                };
                if let Some(what_became) = what_became
                    && let Some(first) = privacy::same_request(tx, &self.message.topic, &self.body_hash)?
                {
                    let note = format!("the same request as message {first}, which {what_became}");
                    return Ok(Decided { received: Received::Ignored, note: Some(note), stripped: self.stripped(tx)? });
                }
                match first.map_or(Ok(None), |first| event.again(source, first)) {
                    Ok(believed) => {
                        let event = believed.as_ref().unwrap_or(event);
                        let done = undoable(tx, || apply(tx, rules, event, source, now));
                        (received(done)?, note.clone())
                    }
                    Err(reason) => (Received::Quarantined(reason), None),
                }
            }
            Reading::Noted(note) => (Received::Done, Some((*note).to_owned())),
            Reading::Ignored(reason) => (Received::Ignored, Some(reason.clone())),
            Reading::Unreadable(reason) => (Received::Quarantined(reason.clone()), None),
        };
        Ok(Decided { received, note, stripped: self.stripped(tx)? })
    }

    /// What alone may be kept of the body, if it is about somebody who was erased.
    fn stripped(&self, tx: &Transaction<'_>) -> rusqlite::Result<Option<Vec<u8>>> {
        match &self.reading {
            Reading::Event { event, .. } if matches!(**event, Event::Erasure(_)) => {
                privacy::numbers_alone(&self.message)
            }
            Reading::Event { event, .. } => match event.person() {
                Some(person) if ledger::is_erased_person(tx, person)? => privacy::numbers_alone(&self.message),
                _ => privacy::of_the_erased(tx, &self.message),
            },
            _ => privacy::of_the_erased(tx, &self.message),
        }
    }

    /// What needs to know the row of the message.
    fn follow_up(
        &self,
        tx: &Transaction<'_>,
        inbox_id: i64,
        decided: &Decided,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        match &self.reading {
            Reading::Event { event, .. } if decided.received == Received::Done => match &**event {
                Event::DataRequest(who) => privacy::begin_export(tx, who, inbox_id, now),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// What became of a message, and what of it is stored.
#[derive(Debug)]
struct Decided {
    received: Received,
    /// For the merchant, when it was not quarantined.
    note: Option<String>,
    /// Instead of the body, which speaks of somebody who was erased.
    stripped: Option<Vec<u8>>,
}

fn received(done: Result<Change, LedgerError>) -> rusqlite::Result<Received> {
    match done {
        Ok(Change::Stale) => Ok(Received::Stale),
        Ok(Change::New | Change::Updated | Change::Unchanged) => Ok(Received::Done),
        Err(LedgerError::Rejected(reason)) => Ok(Received::Quarantined(reason)),
        Err(LedgerError::Sqlite(error)) => Err(error),
    }
}

fn apply(
    tx: &Transaction<'_>,
    rules: &Rules,
    event: &Event,
    source: Source,
    now: Timestamp,
) -> Result<Change, LedgerError> {
    match event {
        Event::Order(order) => Ok(ledger::apply_order(tx, rules, order, now)?.order),
        Event::LivingOrder { order, alive_at } => {
            let restored = ledger::restore_order(tx, rules, source, &order.source_id, *alive_at)?;
            let applied = ledger::apply_order(tx, rules, order, now)?.order;
            Ok(if restored == Change::Updated { restored } else { applied })
        }
        Event::OrderDeleted { source_id, at } => ledger::delete_order(tx, rules, source, source_id, *at, now),
        Event::Person(person) | Event::UndatedPerson(person) => ledger::apply_person(tx, rules, person, now),
        Event::CustomerDeleted { external_id, at } => ledger::delete_customer(tx, rules, source, external_id, *at),
        Event::CustomersMerged { deleted_id, kept_id } => {
            let change = ledger::merge_customers(tx, rules, source, deleted_id, kept_id, now)?;
            // Whoever is one person with somebody erased is erased too, whichever was told first. Where both are,
            // all was searched for them; so it is for copies of this message.
            let is_erased = |id: &String| {
                ledger::is_erased_person(tx, &Person { external_id: Some(id.clone()), ..Person::unknown(source) })
            };
            let erased = (is_erased(deleted_id)?, is_erased(kept_id)?);
            if change != Change::Stale && erased.0 != erased.1 {
                let id = if erased.0 { deleted_id } else { kept_id };
                privacy::erase(tx, &Who { external_id: Some((source, id.clone())), ..Who::default() }, now)?;
            }
            Ok(change)
        }
        Event::Erasure(who) => {
            privacy::erase(tx, who, now)?;
            Ok(Change::Updated)
        }
        Event::DataRequest(_) => Ok(Change::Unchanged),
    }
}

/// Runs `change`; what it wrote before it refused is undone.
fn undoable<T>(tx: &Transaction<'_>, change: impl FnOnce() -> Result<T, LedgerError>) -> Result<T, LedgerError> {
    tx.prepare_cached("SAVEPOINT message")?.execute([])?;
    let result = change();
    // A database error may have rolled back everything, this savepoint included; the caller undoes the rest.
    if matches!(result, Err(LedgerError::Sqlite(_))) {
        return result;
    }
    if result.is_err() {
        tx.prepare_cached("ROLLBACK TO message")?.execute([])?;
    }
    tx.prepare_cached("RELEASE message")?.execute([])?;
    result
}
