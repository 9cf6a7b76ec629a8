//! The generic CSV: one row per order, from any shop system. `[import.columns]` maps other names.
//!
//! | column | holds |
//! | --- | --- |
//! | `order_id` | unique in the shop; required |
//! | `customer_id`, `email` | who ordered; one of the two columns is required, both may be empty in a row |
//! | `ordered_at` | required; `[import] date_format` and `timezone` (else the shop's) say how it is written |
//! | `total` | as placed, tax and shipping included; required |
//! | `refunded` | of that, given back; either sign |
//! | `currency` | empty: the shop's |
//! | `status` | paid (also when empty), pending, refunded, cancelled, or a word of Shopify or WooCommerce |
//! | `first_name`, `last_name` | |
//!
//! A row with nothing in any of them is another line item of the order above.

use csv::ByteRecord;

use super::{
    Parsed, Unusable,
    cell::{Amounts, Dates, is_rounded_number, shorten},
    header::{Column, Header, Row},
    settings::Settings,
};
use crate::{
    config::IMPORT_COLUMNS,
    intake::woocommerce,
    model::{Currency, Money, Order, OrderStatus, Origin, Person, Source, Timestamp},
};

const REQUIRED: [&str; 3] = ["order_id", "ordered_at", "total"];

/// Reads the rows of one file.
#[derive(Debug, Clone)]
pub(super) struct Parser {
    header: Header,
    columns: Columns,
    amounts: Amounts,
    dates: Dates,
    currency: Currency,
    source: Source,
    paid_statuses: Vec<String>,
    has_woocommerce: bool,
}

#[derive(Debug, Clone)]
struct Columns {
    order_id: Column,
    customer_id: Column,
    email: Column,
    ordered_at: Column,
    total: Column,
    refunded: Column,
    currency: Column,
    status: Column,
    first_name: Column,
    last_name: Column,
}

/// How many of the columns we can use are in this file: our own names, or the mapped ones.
pub(super) fn matches(header: &Header, settings: &Settings) -> usize {
    IMPORT_COLUMNS.iter().filter(|name| header.has(name_in_file(name, settings))).count()
}

/// Whether every required column is there.
pub(super) fn recognises(header: &Header, settings: &Settings) -> bool {
    check_required(header, settings).is_ok()
}

fn name_in_file<'a>(name: &'a str, settings: &'a Settings) -> &'a str {
    settings.columns.get(name).map_or(name, String::as_str)
}

fn check_required(header: &Header, settings: &Settings) -> Result<(), Unusable> {
    if let Some((ours, theirs)) = settings.columns.iter().find(|(_, theirs)| !header.has(theirs)) {
        return Err(Unusable::new(format!(
            "has no column {theirs:?}, which [import.columns] {ours} names; its columns are {}",
            header.listed()
        )));
    }
    let missing = missing(header, settings);
    if missing.is_empty() {
        return Ok(());
    }
    Err(Unusable::new(format!(
        "has no column {}; its columns are {}. Say which is which under [import.columns], like {} = \"the file's name for it\"",
        missing.join(", ").replace("email", "customer_id or email"),
        header.listed(),
        missing[0],
    )))
}

/// The required columns that are not there. Who ordered is asked for by the e-mail.
pub(super) fn missing(header: &Header, settings: &Settings) -> Vec<&'static str> {
    let has = |name: &&str| header.has(name_in_file(name, settings));
    let mut missing: Vec<_> = REQUIRED.into_iter().filter(|name| !has(name)).collect();
    if !has(&"customer_id") && !has(&"email") {
        missing.push("email");
    }
    missing
}

/// Whether a column is there that only orders have.
pub(super) fn has_any_of_an_order(header: &Header, settings: &Settings) -> bool {
    REQUIRED.iter().any(|name| header.has(name_in_file(name, settings)))
}

impl Parser {
    /// # Errors
    /// A required column is missing, or a mapped one.
    pub fn new(header: Header, settings: &Settings) -> Result<Self, Unusable> {
        check_required(&header, settings)?;
        let find = |name| header.find(name_in_file(name, settings));
        let columns = Columns {
            order_id: find("order_id"),
            customer_id: find("customer_id"),
            email: find("email"),
            ordered_at: find("ordered_at"),
            total: find("total"),
            refunded: find("refunded"),
            currency: find("currency"),
            status: find("status"),
            first_name: find("first_name"),
            last_name: find("last_name"),
        };
        Ok(Self {
            header,
            columns,
            amounts: settings.amounts,
            dates: settings.dates.clone(),
            currency: settings.rules.currency,
            source: settings.source,
            paid_statuses: settings.rules.paid_statuses.clone(),
            has_woocommerce: settings.has_woocommerce,
        })
    }

    /// Our names of the columns that are in the file, and where they stand.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Column)> {
        let at = &self.columns;
        let columns = [
            at.order_id,
            at.customer_id,
            at.email,
            at.ordered_at,
            at.total,
            at.refunded,
            at.currency,
            at.status,
            at.first_name,
            at.last_name,
        ];
        IMPORT_COLUMNS.into_iter().zip(columns).filter(|(_, column)| column.is_some())
    }

    /// What the merchant should know before importing this file.
    pub fn warning(&self) -> Option<&'static str> {
        (self.has_woocommerce && self.source == Source::Csv).then_some(
            "its ids are taken for those of another shop than WooCommerce's webhooks tell of: if both are one shop, set [import] source = \"woocommerce\", or its orders come in twice",
        )
    }

    /// # Errors
    /// The reason why the row is no order, for the merchant.
    pub fn parse(&self, record: &ByteRecord) -> Result<Parsed, String> {
        let (row, columns) = (Row(record), &self.columns);
        if row.is_blank() {
            return Ok(Parsed::Passed);
        }
        row.check_width(&self.header)?;
        if row.get(columns.order_id).is_empty() && self.says_nothing(row) {
            return Ok(Parsed::Passed);
        }
        let currency = match row.get(columns.currency) {
            code if code.is_empty() => self.currency,
            code => Currency::new(&code)
                .ok_or_else(|| self.at(columns.currency, format!("{:?} is not three letters", shorten(&code))))?,
        };
        let mut rounded = false;
        let mut amount = |column| self.amount(row, column, currency, &mut rounded);
        let gross = amount(columns.total)?.ok_or_else(|| self.empty(columns.total))?;
        let refunded = amount(columns.refunded)?.map_or(Money::ZERO, |money| Money(money.0.abs()));
        if gross < Money::ZERO {
            return Err(self.at(columns.total, "is negative; a refund belongs in the column refunded of its order"));
        }
        let ordered_at = self.instant(row)?;
        let status = self.status(row)?;
        // "Refunded" without an amount is all of it.
        let refunded = if status == OrderStatus::Refunded && refunded == Money::ZERO { gross } else { refunded };
        let order = Order {
            source: self.source,
            source_id: self.id(row, columns.order_id)?.ok_or_else(|| self.empty(columns.order_id))?,
            person: self.person(row, ordered_at)?,
            name: None,
            status,
            is_test: false,
            currency,
            gross,
            current: Some(gross - refunded),
            outstanding: None,
            refunded,
            net_payment: None,
            ordered_at,
            created_at: None,
            cancelled_at: None,
            updated_at: None,
            triggered_at: None,
            origin: Origin::Csv,
            historical: true,
        };
        Ok(Parsed::Order { order: Box::new(order), rounded })
    }

    /// Whether none of our columns holds anything.
    fn says_nothing(&self, row: Row<'_>) -> bool {
        self.columns().all(|(_, column)| row.get(column).is_empty())
    }

    fn amount(
        &self,
        row: Row<'_>,
        column: Column,
        currency: Currency,
        rounded: &mut bool,
    ) -> Result<Option<Money>, String> {
        self.amounts
            .read(&row.get(column), currency, rounded)
            .map_err(|reason| self.at(column, format_args!(": {reason}")))
    }

    fn instant(&self, row: Row<'_>) -> Result<Timestamp, String> {
        let text = row.get(self.columns.ordered_at);
        if text.is_empty() {
            return Err(self.empty(self.columns.ordered_at));
        }
        self.dates.parse(&text).map_err(|reason| self.at(self.columns.ordered_at, format_args!(": {reason}")))
    }

    fn status(&self, row: Row<'_>) -> Result<OrderStatus, String> {
        let text = row.get(self.columns.status).to_ascii_lowercase().replace([' ', '-'], "_");
        status(text.strip_prefix("wc_").unwrap_or(&text), &self.paid_statuses).ok_or_else(|| {
            let text = shorten(&text);
            self.at(
                self.columns.status,
                format_args!(
                    "{text:?} is not known; write paid, pending, refunded or cancelled, or if such orders count, name it in [orders] paid_statuses"
                ),
            )
        })
    }

    fn id(&self, row: Row<'_>, column: Column) -> Result<Option<String>, String> {
        let Some(id) = row.some(column) else { return Ok(None) };
        if is_rounded_number(&id) {
            return Err(self.at(
                column,
                format_args!("was cut to {id} by a spreadsheet program; import the file as the shop made it"),
            ));
        }
        Ok(Some(id))
    }

    /// An id makes a customer; an e-mail alone a guest.
    fn person(&self, row: Row<'_>, ordered_at: Timestamp) -> Result<Option<Person>, String> {
        let columns = &self.columns;
        let external_id = self.id(row, columns.customer_id)?.filter(|id| !is_guests(self.source, id));
        let email = row.email(columns.email);
        if external_id.is_none() && email.is_none() {
            return Ok(None);
        }
        Ok(Some(Person {
            external_id,
            email,
            first_name: row.name(columns.first_name),
            last_name: row.name(columns.last_name),
            updated_at: Some(ordered_at),
            ..Person::unknown(self.source)
        }))
    }

    fn empty(&self, column: Column) -> String {
        self.at(column, "is empty")
    }

    fn at(&self, column: Column, what: impl std::fmt::Display) -> String {
        let (name, what) = (self.header.name(column), what.to_string());
        if what.starts_with(':') { format!("{name}{what}") } else { format!("{name} {what}") }
    }
}

/// Whether an id is what guests have in place of one.
pub(super) fn is_guests(source: Source, id: &str) -> bool {
    source == Source::WooCommerce && woocommerce::is_nobody(id)
}

/// The payment state behind the words that shops use: Shopify's, WooCommerce's, and others'.
fn status(word: &str, paid_statuses: &[String]) -> Option<OrderStatus> {
    Some(match word {
        "" | "paid" | "complete" => OrderStatus::Paid,
        "unpaid" => OrderStatus::Pending,
        "canceled" => OrderStatus::Cancelled,
        other => woocommerce::order_status(&other.replace('_', "-"), paid_statuses)
            .or_else(|| OrderStatus::parse(other).filter(|status| *status != OrderStatus::Unknown))?,
    })
}
