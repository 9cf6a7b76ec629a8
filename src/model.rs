//! The nouns every stage shares: money, time, quintiles, and what a shop can tell us — an
//! [`Order`] and a [`Person`]. Plain data, no I/O.

mod money;
pub mod spreadsheet;
mod time;
mod zone;

pub use money::{Currency, Money, MoneyError, ParsedMoney};
pub use time::{Timestamp, TimestampError};
pub use zone::{UnknownZone, Zone};

use std::{borrow::Cow, fmt};

/// Where an order or a customer comes from. Ids are unique within a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    Shopify,
    WooCommerce,
    /// The generic CSV.
    Csv,
    /// `POST /webhooks/orders`.
    Api,
}

/// By which way an order reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    Webhook,
    Sync,
    Csv,
    Api,
}

/// Payment state of an order, in Shopify's words; other sources are mapped to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderStatus {
    Pending,
    Authorized,
    PartiallyPaid,
    Paid,
    PartiallyRefunded,
    Refunded,
    Voided,
    Expired,
    Cancelled,
    /// A state this version does not know. Stored, worth nothing, not counted.
    Unknown,
}

/// Implements `as_str`, `parse`, `Display`, `ToSql` and `FromSql` for a field-less enum whose
/// variants are stored as text.
macro_rules! text_enum {
    ($name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        impl $name {
            /// All values, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The text stored in the database and written to JSON and CSV.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value whose [`Self::as_str`] is `text`.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::rusqlite::ToSql for $name {
            fn to_sql(&self) -> ::rusqlite::Result<::rusqlite::types::ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl ::rusqlite::types::FromSql for $name {
            fn column_result(value: ::rusqlite::types::ValueRef<'_>) -> ::rusqlite::types::FromSqlResult<Self> {
                let text = value.as_str()?;
                Self::parse(text).ok_or_else(|| ::rusqlite::types::FromSqlError::Other(
                    format!("{text:?} is not a {}", stringify!($name)).into(),
                ))
            }
        }
    };
}
pub(crate) use text_enum;

text_enum!(Source { Shopify = "shopify", WooCommerce = "woocommerce", Csv = "csv", Api = "api" });
text_enum!(Origin { Webhook = "webhook", Sync = "sync", Csv = "csv", Api = "api" });
text_enum!(OrderStatus {
    Pending = "pending",
    Authorized = "authorized",
    PartiallyPaid = "partially_paid",
    Paid = "paid",
    PartiallyRefunded = "partially_refunded",
    Refunded = "refunded",
    Voided = "voided",
    Expired = "expired",
    Cancelled = "cancelled",
    Unknown = "unknown",
});

/// A score of one dimension: 1 (worst fifth) to 5 (best fifth).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Quintile(u8);

impl Quintile {
    /// 1 to 5, ascending.
    pub const ALL: [Self; 5] = [Self(1), Self(2), Self(3), Self(4), Self(5)];

    /// `None` unless `value` is 1 to 5.
    #[must_use]
    pub const fn new(value: u8) -> Option<Self> {
        if matches!(value, 1..=5) { Some(Self(value)) } else { None }
    }

    /// 1 to 5.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Quintile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl rusqlite::ToSql for Quintile {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl rusqlite::types::FromSql for Quintile {
    fn column_result(value: rusqlite::types::ValueRef<'_>) -> rusqlite::types::FromSqlResult<Self> {
        let number = value.as_i64()?;
        u8::try_from(number).ok().and_then(Self::new).ok_or(rusqlite::types::FromSqlError::OutOfRange(number))
    }
}

/// An order as one message or file row tells it. The latest state, never a difference.
///
/// Money is in the shop's own currency, never the buyer's ("presentment") one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub source: Source,
    /// The source's id of the order.
    pub source_id: String,
    /// Who ordered: an id, or for a guest the e-mail alone. `None`: neither is known.
    pub person: Option<Person>,
    /// The number people know it by ("#1001").
    pub name: Option<String>,
    pub status: OrderStatus,
    /// Made with a test payment: stored, never counted.
    pub is_test: bool,
    pub currency: Currency,
    /// As placed, tax and shipping included.
    pub gross: Money,
    /// After edits and refunds, where the source says.
    pub current: Option<Money>,
    /// Not paid yet, where the source says.
    pub outstanding: Option<Money>,
    /// Sum of successful refunds, positive.
    pub refunded: Money,
    /// Received minus refunded, where the source says (Shopify GraphQL `netPayment`).
    pub net_payment: Option<Money>,
    /// When the customer bought: the instant recency is measured from.
    pub ordered_at: Timestamp,
    pub created_at: Option<Timestamp>,
    pub cancelled_at: Option<Timestamp>,
    /// The source's version of this state; `None` in files without one.
    pub updated_at: Option<Timestamp>,
    /// When the source sent it; breaks ties of `updated_at`.
    pub triggered_at: Option<Timestamp>,
    pub origin: Origin,
    /// Imported history, not a live order.
    pub historical: bool,
}

/// What a message says about a person. In every optional text `None` means that the message does
/// not speak of the field (a stored value stays) and `Some("")` that the field is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    pub source: Source,
    /// The source's id; `None` for a guest, who is known by e-mail.
    pub external_id: Option<String>,
    /// As given; see [`email_key`].
    pub email: Option<String>,
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub phone: Option<String>,
    /// What an order gives as its own e-mail, where its customer has an id and no e-mail. Never stored:
    /// one who was erased is recognised by it too.
    pub contact_email: Option<String>,
    /// State of e-mail marketing consent in the source's words ("subscribed").
    pub consent: Option<String>,
    /// When the consent was given or withdrawn, where the source says.
    pub consent_at: Option<Timestamp>,
    /// Comma-separated.
    pub tags: Option<String>,
    /// The source's version of these fields.
    pub updated_at: Option<Timestamp>,
    /// When the source sent it; breaks ties of `updated_at`.
    pub triggered_at: Option<Timestamp>,
}

impl Person {
    /// A person of whom nothing is known yet.
    #[must_use]
    pub const fn unknown(source: Source) -> Self {
        Self {
            source,
            external_id: None,
            email: None,
            first_name: None,
            last_name: None,
            phone: None,
            contact_email: None,
            consent: None,
            consent_at: None,
            tags: None,
            updated_at: None,
            triggered_at: None,
        }
    }
}

/// The form under which e-mail addresses are compared: trimmed and lower-cased; `None` when
/// nothing is left.
#[must_use]
pub fn email_key(email: &str) -> Option<Cow<'_, str>> {
    let key = email.trim();
    if key.is_empty() {
        None
    } else if key.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        Some(Cow::Borrowed(key)) // as most are: an import asks for each order
    } else {
        Some(Cow::Owned(key.to_lowercase()))
    }
}

/// Digits fewer than which tell nobody apart.
const SHORTEST_PHONE: usize = 6;

/// The form under which phone numbers are compared: their digits, without what stands for dialling
/// out ("+", "00"); `None` when they are too few to be somebody's.
#[must_use]
pub fn phone_key(phone: &str) -> Option<String> {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    let key = digits.strip_prefix("00").unwrap_or(&digits);
    (key.len() >= SHORTEST_PHONE).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_are_compared_by_their_digits() {
        for (phone, key) in [
            ("+49 (30) 123-456", Some("4930123456")),
            ("0049 30 123456", Some("4930123456")),
            ("555-625-1199", Some("5556251199")),
            ("12345", None),
            ("", None),
        ] {
            assert_eq!(phone_key(phone).as_deref(), key, "{phone}");
        }
    }
}
