//! Lists of customers: Shopify's export (Customers → Export → "Plain CSV file"), and the generic one,
//! whose columns `[import.customer_columns]` maps.
//!
//! Totals and numbers of orders in such files are never read: counters come from orders alone. A
//! list says what the shop knew of people when it was made, so it goes before what files of orders
//! tell of them, and gives way to what the shop itself has told.

use csv::ByteRecord;

use super::{
    Parsed, Unusable,
    cell::{is_rounded_number, shorten},
    generic,
    header::{Column, Header, Row},
    settings::Settings,
};
use crate::{
    config::CUSTOMER_COLUMNS,
    model::{Person, Source},
};

/// Columns that only Shopify's customers export has.
const SHOPIFY: [&str; 2] = ["Accepts Email Marketing", "Total Orders"];

/// Reads the rows of one file.
#[derive(Debug, Clone)]
pub(super) struct Parser {
    header: Header,
    source: Source,
    customer_id: Column,
    email: Column,
    first_name: Column,
    last_name: Column,
    phone: Column,
    /// Where there is no `phone`.
    other_phone: Column,
    consent: Column,
    tags: Column,
}

/// Whether these columns are a customers export of Shopify.
pub(super) fn is_shopifys(header: &Header) -> bool {
    header.has("First Name") && header.has("Last Name") && SHOPIFY.iter().any(|name| header.has(name))
}

/// Whether these columns are a generic list of customers: someone to tell apart, and something about
/// them.
pub(super) fn recognises(header: &Header, settings: &Settings) -> bool {
    let has = |name: &&str| header.has(name_in_file(name, settings));
    let known = CUSTOMER_COLUMNS.iter().filter(|name| has(name)).count();
    check_required(header, settings).is_ok() && known > 1
}

fn name_in_file<'a>(name: &'a str, settings: &'a Settings) -> &'a str {
    settings.customer_columns.get(name).map_or(name, String::as_str)
}

fn check_required(header: &Header, settings: &Settings) -> Result<(), Unusable> {
    if let Some((ours, theirs)) = settings.customer_columns.iter().find(|(_, theirs)| !header.has(theirs)) {
        return Err(Unusable::new(format!(
            "has no column {theirs:?}, which [import.customer_columns] {ours} names; its columns are {}",
            header.listed()
        )));
    }
    if ["customer_id", "email"].iter().any(|name| header.has(name_in_file(name, settings))) {
        return Ok(());
    }
    Err(Unusable::new(format!(
        "is read as a list of customers, but has no column customer_id or email; its columns are {}. Say which is which under [import.customer_columns], like email = \"the file's name for it\"",
        header.listed()
    )))
}

impl Parser {
    /// Of Shopify's export.
    ///
    /// # Errors
    /// Nobody can be told apart: there is neither an id nor an e-mail column.
    pub fn shopify(header: Header) -> Result<Self, Unusable> {
        let first_of = |names: &[&str]| names.iter().find_map(|name| header.find(name));
        let parser = Self {
            source: Source::Shopify,
            customer_id: header.find("Customer ID"),
            email: header.find("Email"),
            first_name: header.find("First Name"),
            last_name: header.find("Last Name"),
            phone: header.find("Phone"),
            other_phone: header.find("Default Address Phone"),
            consent: first_of(&["Accepts Email Marketing", "Accepts Marketing"]),
            tags: header.find("Tags"),
            header,
        };
        if parser.customer_id.is_none() && parser.email.is_none() {
            return Err(Unusable::new(format!(
                "is read as a Shopify customers export, but has no column \"Customer ID\" or \"Email\"; its columns are {}. Export the customers again as \"Plain CSV file\"",
                parser.header.listed()
            )));
        }
        Ok(parser)
    }

    /// Of the generic list.
    ///
    /// # Errors
    /// As [`Self::shopify`], or a mapped column is missing.
    pub fn generic(header: Header, settings: &Settings) -> Result<Self, Unusable> {
        check_required(&header, settings)?;
        let find = |name| header.find(name_in_file(name, settings));
        Ok(Self {
            source: settings.source,
            customer_id: find("customer_id"),
            email: find("email"),
            first_name: find("first_name"),
            last_name: find("last_name"),
            phone: find("phone"),
            other_phone: None,
            consent: find("consent"),
            tags: find("tags"),
            header,
        })
    }

    /// Our names of the columns that are in the file, and where they stand.
    pub fn columns(&self) -> impl Iterator<Item = (&'static str, Column)> {
        let columns = [
            self.customer_id,
            self.email,
            self.first_name,
            self.last_name,
            self.phone.or(self.other_phone),
            self.consent,
            self.tags,
        ];
        CUSTOMER_COLUMNS.into_iter().zip(columns).filter(|(_, column)| column.is_some())
    }

    /// # Errors
    /// The reason why the row is no customer, for the merchant.
    pub fn parse(&self, record: &ByteRecord) -> Result<Parsed, String> {
        let row = Row(record);
        if row.is_blank() {
            return Ok(Parsed::Passed);
        }
        row.check_width(&self.header)?;
        let external_id = row.some(self.customer_id).filter(|id| !generic::is_guests(self.source, id));
        let email = row.email(self.email);
        if let Some(id) = external_id.as_deref().filter(|id| is_rounded_number(id)) {
            return Err(format!(
                "{} was cut to {id} by a spreadsheet program; import the file as the shop made it",
                self.header.name(self.customer_id)
            ));
        }
        if external_id.is_none() && email.is_none() {
            return Err(self.nobody());
        }
        Ok(Parsed::Person(Box::new(Person {
            external_id,
            email,
            first_name: row.name(self.first_name),
            last_name: row.name(self.last_name),
            phone: row.some(self.phone).or_else(|| row.some(self.other_phone)),
            consent: self.consent(row)?,
            tags: row.some(self.tags),
            ..Person::unknown(self.source)
        })))
    }

    fn nobody(&self) -> String {
        let names: Vec<_> = [self.customer_id, self.email]
            .into_iter()
            .filter(Option::is_some)
            .map(|column| self.header.name(column))
            .collect();
        format!("there is nothing in {}, so nobody can tell who this is", names.join(" and in "))
    }

    fn consent(&self, row: Row<'_>) -> Result<Option<String>, String> {
        let text = row.get(self.consent).to_ascii_lowercase().replace(' ', "_");
        let state = match text.as_str() {
            "" => return Ok(None),
            "yes" | "true" | "1" | "subscribed" => "subscribed",
            "no" | "false" | "0" | "not_subscribed" => "not_subscribed",
            "unsubscribed" | "pending" | "redacted" | "invalid" => text.as_str(),
            other => {
                return Err(format!(
                    "{}: {:?} says neither yes nor no; write yes, no, subscribed or unsubscribed",
                    self.header.name(self.consent),
                    shorten(other)
                ));
            }
        };
        Ok(Some(state.to_owned()))
    }
}
