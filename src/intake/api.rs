//! Orders of shops of other makes: `POST /webhooks/orders`, one order or many.
//!
//! The sender waits for the answer, so each order is accepted or refused by itself and the answer
//! says which. A message sent again gets the answer again and changes nothing, but that what was refused before may be
//! taken.

use rusqlite::Transaction;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::{Decided, Message, Received, Rules, inbox, json, json::Told, privacy, undoable};
use crate::{
    ledger::{self, Change, LedgerError},
    model::{Currency, Money, Order, OrderStatus, Origin, Person, Source, Timestamp},
};

/// The `topic` of these messages in the inbox.
pub const TOPIC: &str = "orders";
/// Orders in one message: they share one write, and other writers wait for it.
const MAX_ORDERS: usize = 10_000;

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Answer {
    /// Taken, or known already.
    pub accepted: u64,
    /// A newer state was known.
    pub stale: u64,
    pub rejected: Vec<Rejected>,
}

/// An order that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rejected {
    /// As given; `None`: not even that could be read.
    pub id: Option<String>,
    pub reason: String,
}

/// A message with its orders read, ready for the transaction.
#[derive(Debug)]
pub struct Prepared {
    message: Message,
    body_hash: [u8; 32],
    /// `Err`: the body as a whole is unusable.
    orders: Result<Vec<Result<Order, Rejected>>, String>,
}

/// What became of a message, when the database could be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Answered(Answer),
    /// The body as a whole is unusable; it was stored with this reason.
    Unreadable(String),
}

impl Prepared {
    /// Reads the body. Pure.
    #[must_use]
    pub fn new(message: Message, rules: &Rules) -> Self {
        Self { body_hash: Sha256::digest(&message.body).into(), orders: read(&message, rules), message }
    }

    /// Why the body as a whole is unusable, if it is.
    #[must_use]
    pub fn unusable(&self) -> Option<&str> {
        self.orders.as_ref().err().map(String::as_str)
    }

    /// Stores the message and applies its orders.
    ///
    /// # Errors
    /// Only those of the database: then nothing may be kept of it and the sender must try again.
    pub fn store(&self, tx: &Transaction<'_>, rules: &Rules) -> anyhow::Result<Outcome> {
        let now = self.message.received_at;
        if let Some(earlier) = inbox::count_duplicate(tx, &self.message, &self.body_hash)? {
            let Ok(orders) = &self.orders else { return Ok(self.unreadable()) };
            if earlier.has_reason {
                // What was refused then may be taken now, and must be if the answer says so. It was sent and came when
                // it was and did first: each try is signed with a time of its own.
                let inbox::Earlier { triggered_at, received_at, .. } = earlier;
                let message = Message { triggered_at, received_at, ..self.message.clone() };
                let (mut decided, outcome) = Self::new(message, rules).decide(tx, rules, now)?;
                if earlier.state == inbox::State::Done && decided.received == Received::Stale {
                    decided.received = Received::Done; // what it changed was overtaken since
                }
                inbox::update(tx, earlier.id, &decided)?;
                return Ok(outcome);
            }
            // Worked out again for the answer alone.
            tx.execute_batch("SAVEPOINT again")?;
            let answer = Self::apply(tx, rules, orders, now)?;
            tx.execute_batch("ROLLBACK TO again; RELEASE again")?;
            return Ok(Outcome::Answered(answer));
        }
        let (decided, outcome) = self.decide(tx, rules, now)?;
        inbox::insert(tx, &self.message, &self.body_hash, &decided)?;
        Ok(outcome)
    }

    fn unreadable(&self) -> Outcome {
        Outcome::Unreadable(self.orders.as_ref().err().cloned().unwrap_or_default())
    }

    /// Applies the orders, and says what is to be stored of the message.
    pub(super) fn decide(
        &self,
        tx: &Transaction<'_>,
        rules: &Rules,
        now: Timestamp,
    ) -> rusqlite::Result<(Decided, Outcome)> {
        let (received, note, outcome) = match &self.orders {
            Ok(orders) => {
                let answer = Self::apply(tx, rules, orders, now)?;
                let (received, note) = answer.summary();
                (received, note, Outcome::Answered(answer))
            }
            Err(reason) => (Received::Quarantined(reason.clone()), None, self.unreadable()),
        };
        Ok((Decided { received, note, stripped: privacy::of_the_erased(tx, &self.message)? }, outcome))
    }

    fn apply(
        tx: &Transaction<'_>,
        rules: &Rules,
        orders: &[Result<Order, Rejected>],
        now: Timestamp,
    ) -> rusqlite::Result<Answer> {
        let mut answer = Answer::default();
        for order in orders {
            let order = match order {
                Ok(order) => order,
                Err(rejected) => {
                    answer.rejected.push(rejected.clone());
                    continue;
                }
            };
            match undoable(tx, || ledger::apply_order(tx, rules, order, now)) {
                Ok(applied) if applied.order == Change::Stale => answer.stale += 1,
                Ok(_) => answer.accepted += 1,
                Err(LedgerError::Rejected(reason)) => {
                    answer.rejected.push(Rejected { id: Some(order.source_id.clone()), reason });
                }
                Err(LedgerError::Sqlite(error)) => return Err(error),
            }
        }
        Ok(answer)
    }
}

impl Answer {
    /// The state and note of the inbox row.
    fn summary(&self) -> (Received, Option<String>) {
        const NAMED: usize = 3;
        let refused = (!self.rejected.is_empty()).then(|| {
            let first: Vec<String> = self
                .rejected
                .iter()
                .take(NAMED)
                .map(|rejected| {
                    format!("order {}: {}", rejected.id.as_deref().unwrap_or("without id"), rejected.reason)
                })
                .collect();
            let more = if self.rejected.len() > NAMED { "; …" } else { "" };
            format!("{} refused, the sender was told: {}{more}", self.rejected.len(), first.join("; "))
        });
        match (self.accepted, self.stale, refused) {
            (0, 0, Some(refused)) => (Received::Quarantined(refused), None),
            (0, 1.., refused) => (Received::Stale, refused),
            (_, _, refused) => (Received::Done, refused),
        }
    }
}

/// The orders of a body: `{"orders": […]}`, `[…]` or one order.
fn read(message: &Message, rules: &Rules) -> Result<Vec<Result<Order, Rejected>>, String> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        orders: Option<List<'a>>,
    }
    let text = json::body(&message.body)?;
    let list = if text.trim_start().starts_with('[') {
        json::parse(text, "a list of orders")?
    } else {
        let envelope: Envelope<'_> = json::parse(text, "an order or {\"orders\": […]}")?;
        match envelope.orders {
            Some(list) => list,
            None => List { first: vec![json::parse(text, "an order")?], more: 0 },
        }
    };
    if list.more > 0 {
        let orders = list.first.len() + list.more;
        return Err(format!("it holds {orders} orders; send at most {MAX_ORDERS} at a time"));
    }
    Ok(list.first.into_iter().map(|order| read_order(order.get(), message, rules)).collect())
}

/// Orders, of which more than [`MAX_ORDERS`] are counted alone: a body has room for millions of `0`.
struct List<'a> {
    first: Vec<&'a RawValue>,
    more: usize,
}

impl<'de: 'a, 'a> Deserialize<'de> for List<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Listed;

        impl<'de> Visitor<'de> for Listed {
            type Value = List<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of orders")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut orders: A) -> Result<List<'de>, A::Error> {
                let mut list = List { first: Vec::new(), more: 0 };
                while list.first.len() < MAX_ORDERS {
                    let Some(order) = orders.next_element()? else { return Ok(list) };
                    list.first.push(order);
                }
                while orders.next_element::<IgnoredAny>()?.is_some() {
                    list.more += 1;
                }
                Ok(list)
            }
        }
        deserializer.deserialize_seq(Listed)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    customer: Option<Customer>,
    #[serde(default, deserialize_with = "json::told")]
    ordered_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    updated_at: Told,
    #[serde(default, deserialize_with = "json::told")]
    currency: Told,
    #[serde(default, deserialize_with = "json::told")]
    total: Told,
    #[serde(default, deserialize_with = "json::told")]
    refunded: Told,
    #[serde(default, deserialize_with = "json::told")]
    status: Told,
    #[serde(default, deserialize_with = "json::told")]
    test: Told,
    #[serde(default, deserialize_with = "json::told")]
    historical: Told,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Customer {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    #[serde(default, deserialize_with = "json::told")]
    email: Told,
    #[serde(default, deserialize_with = "json::told")]
    first_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    last_name: Told,
    #[serde(default, deserialize_with = "json::told")]
    phone: Told,
}

fn read_order(text: &str, message: &Message, rules: &Rules) -> Result<Order, Rejected> {
    let body: Body =
        json::parse(text, "an order").map_err(|reason| Rejected { id: None, reason: in_words(&reason) })?;
    let id = json::id("id", &body.id, true);
    let named = |reason: String| Rejected { id: id.clone().ok().flatten(), reason };
    body.read(message, rules).map_err(named)
}

/// Lines and columns inside one order of many would mislead.
fn in_words(reason: &str) -> String {
    reason.split(" at line ").next().unwrap_or(reason).to_owned()
}

impl Body {
    fn read(&self, message: &Message, rules: &Rules) -> Result<Order, String> {
        let source_id = json::id("id", &self.id, true)?.ok_or("id is missing")?;
        let currency = match json::some_text(&self.currency) {
            None => rules.currency,
            Some(code) => Currency::new(&code).ok_or("currency is not a three-letter code")?,
        };
        let mut notes = Vec::new();
        let gross = json::amount("total", &self.total, currency, &mut notes)?.ok_or("total is missing")?;
        let refunded = json::amount("refunded", &self.refunded, currency, &mut notes)?.unwrap_or_default();
        let status = self.status()?;
        let ordered_at = json::instant("orderedAt", &self.ordered_at)?.ok_or("orderedAt is missing")?;
        // Without a version the order of arrival decides.
        let updated_at = json::instant("updatedAt", &self.updated_at)?.unwrap_or(message.received_at);
        let person = match &self.customer {
            Some(customer) => customer.read(updated_at, message.triggered_at)?,
            None => None,
        };
        Ok(Order {
            source: Source::Api,
            source_id,
            person,
            name: None,
            status,
            is_test: json::flag(&self.test),
            currency,
            gross,
            current: None,
            outstanding: None,
            // "refunded" without an amount: all of it.
            refunded: if status == OrderStatus::Refunded && refunded == Money::ZERO { gross } else { refunded },
            net_payment: None,
            ordered_at,
            created_at: None,
            cancelled_at: None,
            updated_at: Some(updated_at),
            triggered_at: message.triggered_at,
            origin: Origin::Api,
            historical: json::flag(&self.historical),
        })
    }

    fn status(&self) -> Result<OrderStatus, String> {
        const MEANT: &str = "write paid, pending, refunded or cancelled";
        let told = json::some_text(&self.status).ok_or_else(|| format!("status is missing; {MEANT}"))?;
        OrderStatus::parse(&told.to_lowercase())
            .filter(|status| *status != OrderStatus::Unknown)
            .ok_or_else(|| format!("status is not one quintile knows; {MEANT}"))
    }
}

impl Customer {
    /// `None`: neither id nor e-mail.
    fn read(&self, updated_at: Timestamp, triggered_at: Option<Timestamp>) -> Result<Option<Person>, String> {
        let external_id = json::id("customer.id", &self.id, true)?;
        let email = json::text(&self.email);
        if external_id.is_none() && json::some_text(&self.email).is_none() {
            return Ok(None);
        }
        Ok(Some(Person {
            external_id,
            email,
            first_name: json::text(&self.first_name),
            last_name: json::text(&self.last_name),
            phone: json::text(&self.phone),
            updated_at: Some(updated_at),
            triggered_at,
            ..Person::unknown(Source::Api)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_list_that_is_too_long_little_is_kept() {
        let text = format!("[{}0]", "0,".repeat(99_999));
        let list: List<'_> = json::parse(&text, "a list of orders").unwrap();
        assert_eq!((list.first.len(), list.more), (MAX_ORDERS, 90_000));
        for wrong in ["[0,", "[0 0]", "{}", "7", &format!("{},]", &text[..text.len() - 1])] {
            assert!(json::parse::<List<'_>>(wrong, "a list of orders").is_err(), "{wrong}");
        }
    }
}
