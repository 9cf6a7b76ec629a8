//! WooCommerce's webhooks: what each topic says.
//!
//! Bodies are those of its REST API, version 2 or 3 ("WP REST API Integration" in the webhook's
//! settings): instants in UTC without a suffix in fields that end in `_gmt`, amounts as text. A
//! deletion is `{"id": 1}` and names no instant, so it is dated by its arrival. "Deleted" means
//! moved to the bin, out of which an order may come back: as `order.restored`, or as any later
//! state of it. Later by two clocks: where the machine's is behind the shop's, a state of the moments
//! before a deletion that arrives behind it, and is newer than all that is known, takes the order back.

mod order;
mod person;

use serde::{Deserialize, de::IgnoredAny};

use super::{Event, Message, Reading, Rules, json, json::Told};
use crate::model::{OrderStatus, Timestamp};

pub use order::status as order_status;

/// Reads a body by its topic. The signature does not cover the topic, so the body must also have
/// the shape of it: an order sent again as "order.deleted" deletes nothing.
pub fn read(message: &Message, rules: &Rules) -> Reading {
    let mut notes = Vec::new();
    let event = match message.topic.as_str() {
        "order.created" | "order.updated" => living_order(message, rules, &mut notes, false),
        "order.restored" => living_order(message, rules, &mut notes, true),
        "order.deleted" => deleted(message).map(|source_id| Event::OrderDeleted { source_id, at: message.received_at }),
        "customer.created" | "customer.updated" => person::read(message).map(Event::Person),
        "customer.deleted" => {
            deleted(message).map(|external_id| Event::CustomerDeleted { external_id, at: message.received_at })
        }
        topic => return Reading::Ignored(format!("nothing here acts on the topic {topic}")),
    };
    match event {
        Ok(event) => Reading::Event { event: Box::new(event), note: (!notes.is_empty()).then(|| notes.join("; ")) },
        Err(reason) => Reading::Unreadable(reason),
    }
}

/// An order, and until when its deletions hold no longer: until this state was made, or, where the
/// shop says that it took the order back, any that we know of.
fn living_order(message: &Message, rules: &Rules, notes: &mut Vec<String>, restored: bool) -> Result<Event, String> {
    let order = order::read(message, rules, notes)?;
    if order.status == OrderStatus::Cancelled && !restored {
        return Ok(Event::Order(order)); // it may well be in the bin
    }
    let ever = Timestamp::from_millis(i64::MAX);
    let alive_at = if restored { ever } else { order.updated_at.unwrap_or(order.ordered_at) };
    Ok(Event::LivingOrder { order, alive_at })
}

/// `{"id": 1}`, and nothing that a living order or customer has.
#[derive(Deserialize)]
struct Deleted {
    #[serde(default, deserialize_with = "json::told")]
    id: Told,
    status: Option<IgnoredAny>,
    total: Option<IgnoredAny>,
    billing: Option<IgnoredAny>,
    email: Option<IgnoredAny>,
    date_created: Option<IgnoredAny>,
    date_created_gmt: Option<IgnoredAny>,
}

fn deleted(message: &Message) -> Result<String, String> {
    let body: Deleted = json::parse(json::body(&message.body)?, "a deletion")?;
    let alive = [&body.status, &body.total, &body.billing, &body.email, &body.date_created, &body.date_created_gmt];
    if alive.iter().any(|field| field.is_some()) {
        return Err("the topic is a deletion, the body is not".to_owned());
    }
    id("the id", &body.id)?.ok_or_else(|| "the body does not say what was deleted: it has no id".to_owned())
}

/// An id; `None`: absent, or 0, which stands for nobody.
fn id(what: &str, value: &Told) -> Result<Option<String>, String> {
    Ok(json::id(what, value, false)?.filter(|id| !is_nobody(id)))
}

/// Whether this is the customer id 0, which guests share.
pub(super) fn is_nobody(id: &str) -> bool {
    id.bytes().all(|digit| digit == b'0')
}

/// An instant of a `_gmt` field: UTC, which it does not say.
fn gmt(what: &str, value: &Told) -> Result<Option<Timestamp>, String> {
    let Some(text) = json::some_text(value) else { return Ok(None) };
    let text = text.trim();
    let instant = Timestamp::parse_rfc3339(&format!("{text}Z")).or_else(|_| Timestamp::parse_rfc3339(text));
    instant.map(Some).map_err(|_| format!("{what} is not a time like 2026-11-23T02:00:00"))
}

/// Why a body without `_gmt` fields cannot be used.
const OTHER_VERSION: &str =
    "choose \"WP REST API Integration v3\" as API version in the webhook's settings and save it";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn instants_are_utc_without_saying_so() {
        let read = |text: &str| gmt("date", &Some(json!(text))).unwrap().unwrap().to_string();
        assert_eq!(read("2017-03-22T19:28:02"), "2017-03-22T19:28:02Z");
        assert_eq!(read("2017-03-22T19:28:02Z"), "2017-03-22T19:28:02Z");
        assert_eq!(read("2017-03-22T19:28:02+01:00"), "2017-03-22T18:28:02Z");
        for nothing in [None, Some(json!(null)), Some(json!("")), Some(json!(" "))] {
            assert_eq!(gmt("date", &nothing), Ok(None));
        }
        for wrong in ["2017-03-22", "22.03.2017", "0000-00-00T00:00:00", "now"] {
            assert_eq!(
                gmt("date", &Some(json!(wrong))),
                Err("date is not a time like 2026-11-23T02:00:00".to_owned()),
                "{wrong}"
            );
        }
    }

    #[test]
    fn nobody_has_the_id_0() {
        for nobody in [json!(0), json!("0"), json!("00"), json!(null), json!("")] {
            assert_eq!(id("customer_id", &Some(nobody)), Ok(None));
        }
        assert_eq!(id("customer_id", &Some(json!(10))), Ok(Some("10".to_owned())));
        assert!(id("customer_id", &Some(json!(-1))).is_err());
    }
}
