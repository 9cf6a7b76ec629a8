//! The event as the outside sees it. Names and order of the keys are a public contract; the five
//! of `data` that stand first never change, later versions only add.

use rusqlite::Row;
use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{Cause, EventType, evt_id};
use crate::{
    config::{Config, DESTINATION_FIELDS},
    model::{Currency, Money, Quintile, Source, Timestamp},
};

/// What every event says about the shop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shop {
    /// `shopId`
    pub id: String,
    pub currency: Currency,
}

impl Shop {
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        Self { id: config.shop.id.clone(), currency: config.shop.currency }
    }
}

/// What may leave the shop beside ids and segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "a set of names")]
pub struct Fields {
    pub rfm: bool,
    /// Order count, total spent, last order.
    pub counters: bool,
    pub email: bool,
    pub name: bool,
    pub phone: bool,
}

impl Fields {
    /// Everything: for the merchant's own eyes.
    pub const ALL: Self = Self { rfm: true, counters: true, email: true, name: true, phone: true };
    /// Ids alone.
    const NONE: Self = Self { rfm: false, counters: false, email: false, name: false, phone: false };

    /// The allow-list of a destination; an empty one means segment, rfm and counters. The segment
    /// is what an event is about and always sent.
    pub(super) fn parse(names: &[String]) -> Result<Self, String> {
        let mut fields = Self::NONE;
        if names.is_empty() {
            return Ok(Self { rfm: true, counters: true, ..fields });
        }
        for name in names {
            match name.as_str() {
                "segment" => {}
                "rfm" => fields.rfm = true,
                "counters" => fields.counters = true,
                "email" => fields.email = true,
                "name" => fields.name = true,
                "phone" => fields.phone = true,
                _ => {
                    return Err(format!(
                        "has {name:?}, which there is not; there are: {}",
                        DESTINATION_FIELDS.join(", ")
                    ));
                }
            }
        }
        Ok(fields)
    }
}

/// An event with what is known of its customer now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub seq: i64,
    pub id: [u8; 16],
    pub kind: EventType,
    pub at: Timestamp,
    pub run_id: Option<i64>,
    pub old: Option<String>,
    pub new: Option<String>,
    pub cause: Option<Cause>,
    pub rfm: Option<[Quintile; 3]>,
    /// Of `customer/lapsed`: the threshold that was passed.
    pub lapsed_days: Option<u32>,
    /// `None`: the event is about nobody.
    pub customer: Option<EventCustomer>,
}

/// The columns [`Event::from_row`] reads, of `outbox o LEFT JOIN customers c`.
macro_rules! event_columns {
    () => {
        concat!(
            "o.seq, o.event_id, o.type, o.at, o.run_id, o.old_segment, o.new_segment, o.cause, o.r, o.f, o.m, c.id, \
             c.source, c.external_id, c.email, c.first_name, c.last_name, c.phone, c.order_count, c.total_spent, \
             c.last_order_at, ",
            $crate::outbox::route::told_consent!(),
            ", o.lapsed_days, c.redacted_at IS NOT NULL"
        )
    };
}
pub(super) use event_columns;

/// The person an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCustomer {
    pub id: i64,
    pub source: Source,
    pub external_id: Option<String>,
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub phone: Option<String>,
    pub order_count: i64,
    pub total_spent: Money,
    pub last_order_at: Option<Timestamp>,
    /// State of e-mail marketing consent; never leaves the shop.
    pub consent: Option<String>,
    /// Erased on request.
    pub redacted: bool,
}

impl Event {
    /// Whether it names a segment for the first time because the baseline names everybody's: no
    /// news of the customer.
    pub(super) fn is_initial(&self) -> bool {
        self.cause == Some(Cause::Baseline) && self.old.is_none()
    }

    /// Reads [`event_columns`] from column `first` on.
    pub(super) fn from_row(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        let at = |place: usize| first + place;
        let rfm: [Option<Quintile>; 3] = [row.get(at(8))?, row.get(at(9))?, row.get(at(10))?];
        let customer = match row.get::<_, Option<i64>>(at(11))? {
            Some(id) => Some(EventCustomer {
                id,
                source: row.get(at(12))?,
                external_id: row.get(at(13))?,
                email: row.get(at(14))?,
                first_name: row.get(at(15))?,
                last_name: row.get(at(16))?,
                phone: row.get(at(17))?,
                order_count: row.get(at(18))?,
                total_spent: row.get(at(19))?,
                last_order_at: row.get(at(20))?,
                consent: row.get(at(21))?,
                redacted: row.get(at(23))?,
            }),
            None => None,
        };
        Ok(Self {
            seq: row.get(at(0))?,
            id: row.get(at(1))?,
            kind: row.get(at(2))?,
            at: row.get(at(3))?,
            run_id: row.get(at(4))?,
            old: row.get(at(5))?,
            new: row.get(at(6))?,
            cause: row.get(at(7))?,
            lapsed_days: row.get(at(22))?,
            rfm: if let [Some(r), Some(f), Some(m)] = rfm { Some([r, f, m]) } else { None },
            customer,
        })
    }
}

/// The JSON of an event: what a request carries and what `events` prints.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    pub shop: &'a Shop,
    pub fields: Fields,
    pub event: &'a Event,
}

impl Envelope<'_> {
    /// The bytes of a request.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default() // texts, numbers and nulls: nothing here can fail
    }
}

impl Serialize for Envelope<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", self.event.kind.as_str())?;
        map.serialize_entry("timestamp", &self.event.at)?;
        map.serialize_entry("id", &evt_id(&self.event.id))?;
        map.serialize_entry("seq", &self.event.seq)?;
        if self.event.kind == EventType::Test {
            map.serialize_entry("test", &true)?;
        }
        map.serialize_entry("data", &Data(*self))?;
        map.end()
    }
}

struct Data<'a>(Envelope<'a>);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Envelope { shop, fields, event } = self.0;
        let fields = if event.kind == EventType::Redacted { Fields::NONE } else { fields };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("shopId", &shop.id)?;
        map.serialize_entry("customerId", &event.customer.as_ref().map(|customer| customer.id.to_string()))?;
        map.serialize_entry("oldSegment", &event.old)?;
        map.serialize_entry("newSegment", &event.new)?;
        map.serialize_entry("eventTimestamp", &event.at)?;
        map.serialize_entry("runId", &event.run_id)?;
        map.serialize_entry("cause", &event.cause.map(Cause::as_str))?;
        if event.is_initial() {
            map.serialize_entry("initial", &true)?;
        }
        if let Some(days) = event.lapsed_days {
            map.serialize_entry("lapsedDays", &days)?;
        }
        if fields.rfm {
            map.serialize_entry("rfm", &event.rfm.map(Rfm))?;
        }
        map.serialize_entry("customer", &event.customer.as_ref().map(|customer| Person { shop, fields, customer }))?;
        map.end()
    }
}

struct Rfm([Quintile; 3]);

impl Serialize for Rfm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        for (name, quintile) in ["r", "f", "m"].iter().zip(self.0) {
            map.serialize_entry(name, &quintile.get())?;
        }
        map.end()
    }
}

struct Person<'a> {
    shop: &'a Shop,
    fields: Fields,
    customer: &'a EventCustomer,
}

impl Serialize for Person<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { shop, fields, customer } = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("source", customer.source.as_str())?;
        map.serialize_entry("externalId", &customer.external_id)?;
        if fields.email {
            map.serialize_entry("email", &customer.email)?;
        }
        if fields.name {
            map.serialize_entry("firstName", &customer.first_name)?;
            map.serialize_entry("lastName", &customer.last_name)?;
        }
        if fields.phone {
            map.serialize_entry("phone", &customer.phone)?;
        }
        if fields.counters {
            map.serialize_entry("orderCount", &customer.order_count)?;
            map.serialize_entry("totalSpent", &customer.total_spent.to_decimal(shop.currency))?;
            map.serialize_entry("currency", shop.currency.code())?;
            map.serialize_entry("lastOrderAt", &customer.last_order_at)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            seq: 48211,
            id: [1; 16],
            kind: EventType::SegmentChanged,
            at: Timestamp::parse_rfc3339("2026-11-23T02:00:04.120Z").unwrap(),
            run_id: Some(312),
            old: Some("loyal".to_owned()),
            new: Some("champion".to_owned()),
            cause: Some(Cause::Order),
            rfm: Some([5, 5, 4].map(|n| Quintile::new(n).unwrap())),
            lapsed_days: None,
            customer: Some(EventCustomer {
                id: 118,
                source: Source::Shopify,
                external_id: Some("7001".to_owned()),
                email: Some("anna@example.com".to_owned()),
                first_name: Some("Änna \"A\"".to_owned()),
                last_name: None,
                phone: Some("+49 30 1".to_owned()),
                order_count: 7,
                total_spent: Money(41_250),
                last_order_at: Some(Timestamp::parse_rfc3339("2026-11-21T09:12:00Z").unwrap()),
                consent: Some("subscribed".to_owned()),
                redacted: false,
            }),
        }
    }

    fn text(fields: &[&str], event: &Event) -> String {
        let names = fields.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let shop = Shop { id: "demo.myshopify.com".to_owned(), currency: Currency::EUR };
        let envelope = Envelope { shop: &shop, fields: Fields::parse(&names).unwrap(), event };
        String::from_utf8(envelope.to_bytes()).unwrap()
    }

    #[test]
    fn keys_stand_in_the_published_order() {
        let all = text(&["segment", "rfm", "counters", "email", "name", "phone"], &event());
        assert_eq!(
            all,
            r#"{"type":"rfm/segment.changed","timestamp":"2026-11-23T02:00:04.120Z","id":"evt_01040G2081040G2081040G2081","seq":48211,"#
                .to_owned()
                + r#""data":{"shopId":"demo.myshopify.com","customerId":"118","oldSegment":"loyal","newSegment":"champion","#
                + r#""eventTimestamp":"2026-11-23T02:00:04.120Z","runId":312,"cause":"order","rfm":{"r":5,"f":5,"m":4},"#
                + r#""customer":{"source":"shopify","externalId":"7001","email":"anna@example.com","firstName":"Änna \"A\"","#
                + r#""lastName":null,"phone":"+49 30 1","orderCount":7,"totalSpent":"412.50","currency":"EUR","#
                + r#""lastOrderAt":"2026-11-21T09:12:00Z"}}}"#
        );
    }

    #[test]
    fn the_baseline_says_that_it_is_no_news() {
        let first = text(&[], &Event { old: None, cause: Some(Cause::Baseline), ..event() });
        assert!(first.contains(r#""runId":312,"cause":"baseline","initial":true,"rfm":"#), "{first}");
        for (old, cause) in [(None, Cause::Order), (Some("loyal".to_owned()), Cause::Baseline)] {
            let other = text(&[], &Event { old, cause: Some(cause), ..event() });
            assert!(!other.contains("initial"), "{other}");
        }
    }

    #[test]
    fn other_events_have_the_five_names_too() {
        let none = Event { old: None, new: None, cause: None, rfm: None, ..event() };
        let first = text(&["segment"], &Event { kind: EventType::FirstOrder, run_id: None, ..none.clone() });
        assert!(first.starts_with(r#"{"type":"customer/first_order","#), "{first}");
        let data = r#""data":{"shopId":"demo.myshopify.com","customerId":"118","oldSegment":null,"newSegment":null,"eventTimestamp":"2026-11-23T02:00:04.120Z","runId":null,"cause":null,"customer":{"#;
        assert!(first.contains(data), "{first}");
        let lapsed = text(&["segment"], &Event { kind: EventType::Lapsed, lapsed_days: Some(90), ..none });
        assert!(lapsed.contains(r#""runId":312,"cause":null,"lapsedDays":90,"customer":{"#), "{lapsed}");
    }

    #[test]
    fn of_an_erased_customer_ids_are_told_and_nothing_else() {
        let none = Event { old: None, new: None, cause: None, run_id: None, ..event() };
        let redacted = text(&["rfm", "counters", "email", "name"], &Event { kind: EventType::Redacted, ..none });
        assert!(redacted.starts_with(r#"{"type":"customer/redacted","#), "{redacted}");
        let end = r#""runId":null,"cause":null,"customer":{"source":"shopify","externalId":"7001"}}}"#;
        assert!(redacted.ends_with(end), "{redacted}");
    }

    #[test]
    fn only_listed_fields_leave_the_shop() {
        let usual = text(&[], &event());
        assert!(usual.contains("\"orderCount\":7") && usual.contains("\"rfm\":"));
        let least = text(&["segment"], &event());
        assert!(least.ends_with(r#""cause":"order","customer":{"source":"shopify","externalId":"7001"}}}"#), "{least}");
        for private in ["anna@example.com", "Änna", "+49"] {
            assert!(!usual.contains(private) && !least.contains(private), "{private}");
        }
    }

    #[test]
    fn a_customer_who_lost_their_segment_has_null_scores() {
        let event = Event { new: None, rfm: None, old: None, ..event() };
        let text = text(&[], &event);
        assert!(text.contains(r#""oldSegment":null,"newSegment":null"#) && text.contains(r#""rfm":null"#), "{text}");
    }
}
