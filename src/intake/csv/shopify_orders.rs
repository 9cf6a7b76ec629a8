//! Shopify's orders export (Orders → Export → "Plain CSV file").
//!
//! One row per line item. The first row of an order says everything we need; the rows after it
//! carry the order's name, the e-mail and their line item alone, and are passed over. Columns go
//! by name, since older exports lack some:
//!
//! - no `Id`: the order's name ("#1001") is its id until a message or another export tells it. Such a
//!   file does not find orders that are known by their ids already: export again with all columns.
//! - no `Financial Status`: paid if `Paid at` is filled, or if that column is missing too.
//! - no `Currency`: the shop's. No `Refunded Amount`: a refunded order was refunded in full.
//!
//! The export names no customer ids: people are known by e-mail (guests), and an id that a webhook
//! brings later takes them over.

use csv::ByteRecord;

use super::{
    Parsed, Unusable,
    cell::{Amounts, Dates, is_rounded_number},
    header::{Column, Header, Row},
    settings::Settings,
};
use crate::model::{Currency, Money, Order, OrderStatus, Origin, Person, Source, Timestamp};

/// Reads the rows of one file.
#[derive(Debug, Clone)]
pub(super) struct Parser {
    header: Header,
    columns: Columns,
    amounts: Amounts,
    dates: Dates,
    currency: Currency,
    /// Name and total of the order whose rows are being read.
    current: (String, String),
}

#[derive(Debug, Clone)]
struct Columns {
    name: Column,
    id: Column,
    email: Column,
    financial_status: Column,
    paid_at: Column,
    created_at: Column,
    cancelled_at: Column,
    accepts_marketing: Column,
    currency: Column,
    total: Column,
    refunded: Column,
    outstanding: Column,
    billing_name: Column,
    shipping_name: Column,
    phone: Column,
    billing_phone: Column,
    payment_method: Column,
}

/// Whether these columns are an orders export of Shopify.
pub(super) fn recognises(header: &Header) -> bool {
    header.has("Name") && (header.has("Financial Status") || header.has("Lineitem name"))
}

impl Parser {
    /// # Errors
    /// A column without which no order can be read is missing.
    pub fn new(header: Header, settings: &Settings) -> Result<Self, Unusable> {
        let columns = Columns {
            name: header.find("Name"),
            id: header.find("Id"),
            email: header.find("Email"),
            financial_status: header.find("Financial Status"),
            paid_at: header.find("Paid at"),
            created_at: header.find("Created at"),
            cancelled_at: header.find("Cancelled at"),
            accepts_marketing: header.find("Accepts Marketing"),
            currency: header.find("Currency"),
            total: header.find("Total"),
            refunded: header.find("Refunded Amount"),
            outstanding: header.find("Outstanding Balance"),
            billing_name: header.find("Billing Name"),
            shipping_name: header.find("Shipping Name"),
            phone: header.find("Phone"),
            billing_phone: header.find("Billing Phone"),
            payment_method: header.find("Payment Method"),
        };
        for (column, name) in [(columns.name, "Name"), (columns.total, "Total"), (columns.email, "Email")] {
            if column.is_none() {
                return Err(missing(name, &header));
            }
        }
        if columns.created_at.is_none() && columns.paid_at.is_none() {
            return Err(missing("Created at", &header));
        }
        Ok(Self {
            header,
            columns,
            amounts: settings.amounts.beside_points(),
            dates: settings.dates.clone().beside_iso(),
            currency: settings.rules.currency,
            current: (String::new(), String::new()),
        })
    }

    /// Our names of the columns that are in the file, and where they stand.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Column)> {
        let at = &self.columns;
        [
            ("order_id", at.id.or(at.name)),
            ("name", at.name),
            ("email", at.email),
            ("ordered_at", at.created_at.or(at.paid_at)),
            ("total", at.total),
            ("refunded", at.refunded),
            ("outstanding", at.outstanding),
            ("currency", at.currency),
            ("status", at.financial_status.or(at.paid_at)),
            ("cancelled_at", at.cancelled_at),
            ("consent", at.accepts_marketing),
            ("full_name", at.billing_name.or(at.shipping_name)),
            ("phone", at.phone.or(at.billing_phone)),
        ]
        .into_iter()
        .filter(|(_, column)| column.is_some())
    }

    /// What the merchant should know before importing this file.
    pub fn warning(&self) -> Option<&'static str> {
        self.columns.id.is_none().then_some(
            "this export has no column \"Id\", so its orders are known by their names: if they have come in already, by webhooks or from another export, export again with all columns, or they come in twice",
        )
    }

    /// # Errors
    /// The reason why the row is no order, for the merchant.
    pub fn parse(&mut self, record: &ByteRecord) -> Result<Parsed, String> {
        let (row, columns) = (Row(record), &self.columns);
        if row.is_blank() {
            return Ok(Parsed::Passed);
        }
        row.check_width(&self.header)?;
        let (name, total) = (row.get(columns.name), row.get(columns.total));
        if name == self.current.0 && !name.is_empty() && (total.is_empty() || total == self.current.1) {
            return Ok(Parsed::Passed); // another line item
        }
        self.current.0.clear();
        if name.is_empty() {
            return Err("Name is empty".to_owned());
        }
        if total.is_empty() {
            return Err(format!("Total is empty, and the row does not follow the first row of order {name}"));
        }
        self.current = (name.clone().into_owned(), total.into_owned());
        self.order(row, name.into_owned()).map(|(order, rounded)| Parsed::Order { order: Box::new(order), rounded })
    }

    fn order(&self, row: Row<'_>, name: String) -> Result<(Order, bool), String> {
        let columns = &self.columns;
        let currency = match row.some(columns.currency) {
            Some(code) => Currency::new(&code).ok_or_else(|| format!("Currency {code:?} is not three letters"))?,
            None => self.currency,
        };
        let mut rounded = false;
        let mut amount = |column| self.amount(row, column, currency, &mut rounded);
        let gross = amount(columns.total)?.unwrap_or_default();
        let refunded = amount(columns.refunded)?;
        let outstanding = amount(columns.outstanding)?;
        if gross < Money::ZERO {
            return Err("Total is negative".to_owned());
        }

        let created_at = self.instant(row, columns.created_at)?;
        let paid_at = self.instant(row, columns.paid_at)?;
        let ordered_at = created_at.or(paid_at).ok_or("Created at is empty")?;
        let status = self.status(row, paid_at);
        let source_id = row.some(columns.id).unwrap_or_else(|| name.clone());
        if is_rounded_number(&source_id) {
            return Err(format!(
                "a spreadsheet program has cut the Id to {source_id}; import the file as Shopify sent it, without saving it again"
            ));
        }
        // Either sign is seen. A refunded order of which nothing was given back is one whose column is empty.
        let net_told = match status {
            OrderStatus::PartiallyPaid => outstanding.is_some(),
            OrderStatus::PartiallyRefunded | OrderStatus::Refunded => refunded.is_some(),
            _ => false,
        };
        let refunded = match refunded.map(|refunded| Money(refunded.0.abs())).filter(|refunded| *refunded > Money::ZERO)
        {
            Some(refunded) => refunded,
            None if status == OrderStatus::Refunded => gross,
            None => Money::ZERO,
        };
        let order = Order {
            source: Source::Shopify,
            source_id,
            person: self.person(row, ordered_at),
            name: Some(name),
            status,
            is_test: row.get(columns.payment_method).eq_ignore_ascii_case("bogus"),
            currency,
            gross,
            current: None,
            outstanding,
            refunded,
            // Said for the states in which the full price misleads: the export has no price after edits.
            net_payment: net_told.then(|| gross - outstanding.unwrap_or_default() - refunded),
            ordered_at,
            created_at,
            cancelled_at: self.instant(row, columns.cancelled_at)?,
            updated_at: None,
            triggered_at: None,
            origin: Origin::Csv,
            historical: true,
        };
        Ok((order, rounded))
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
            .map_err(|reason| format!("{}: {reason}", self.header.name(column)))
    }

    fn instant(&self, row: Row<'_>, column: Column) -> Result<Option<Timestamp>, String> {
        let text = row.get(column);
        if text.is_empty() {
            return Ok(None);
        }
        self.dates.parse(&text).map(Some).map_err(|reason| format!("{}: {reason}", self.header.name(column)))
    }

    fn status(&self, row: Row<'_>, paid_at: Option<Timestamp>) -> OrderStatus {
        let text = row.get(self.columns.financial_status).to_ascii_lowercase();
        if !text.is_empty() {
            return OrderStatus::parse(&text).unwrap_or(OrderStatus::Unknown);
        }
        if paid_at.is_some() || self.columns.paid_at.is_none() { OrderStatus::Paid } else { OrderStatus::Pending }
    }

    /// Who ordered, as of that day. `Accepts Marketing` is the box in the checkout, so the newest
    /// order speaks.
    fn person(&self, row: Row<'_>, ordered_at: Timestamp) -> Option<Person> {
        let columns = &self.columns;
        let email = row.email(columns.email)?;
        let name = row.name(columns.billing_name).or_else(|| row.name(columns.shipping_name));
        let (first_name, last_name) = name.as_deref().map(split_name).unwrap_or_default();
        let consent = match row.get(columns.accepts_marketing).to_ascii_lowercase().as_str() {
            "yes" | "true" => Some("subscribed"),
            "no" | "false" => Some("not_subscribed"),
            _ => None,
        };
        Some(Person {
            email: Some(email),
            first_name,
            last_name,
            phone: row.some(columns.phone).or_else(|| row.some(columns.billing_phone)),
            consent: consent.map(str::to_owned),
            consent_at: consent.map(|_| ordered_at),
            updated_at: Some(ordered_at),
            ..Person::unknown(Source::Shopify)
        })
    }
}

/// The last word is the family name; a single word is a first name.
fn split_name(name: &str) -> (Option<String>, Option<String>) {
    match name.trim().rsplit_once(char::is_whitespace) {
        Some((first, last)) => (Some(first.trim_end().to_owned()), Some(last.to_owned())),
        None => (Some(name.trim().to_owned()), None),
    }
}

fn missing(column: &str, header: &Header) -> Unusable {
    Unusable::new(format!(
        "is read as a Shopify orders export, but has no column {column:?}; its columns are {}. Export the orders again as \"Plain CSV file\"",
        header.listed()
    ))
}
