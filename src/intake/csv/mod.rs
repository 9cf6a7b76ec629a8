//! Files of orders and of customers: telling what a file is, reading it row by row, and importing it.
//!
//! - [`open`] tells the format from the content and finds the columns ([`Input`]).
//! - [`import`](import()) streams an input in batches through whatever applies orders, in constant memory;
//!   [`store`](store()) puts them into the database.
//! - [`Input::preview`] shows what would be read; [`try_out`] says what [`store`](store()) would do.
//! - Each format is a parser from a row to an [`Order`](crate::model::Order) (`shopify_orders`,
//!   `generic`) or a [`Person`](crate::model::Person) (`customers`). Lines of a bulk operation are
//!   no table, and are rows like others once they are read ([`bulk`](super::bulk)).
//!
//! A row is an order's latest state. When a file names an order twice, the later row wins, as it
//! does when a later file names it; importing a file again therefore ends in the same state. Within
//! a batch the earlier rows are dropped before the ledger sees them. Rows of different batches are
//! applied one after the other: such an order is reported as updated by every import of the file.

mod cell;
mod counter;
mod customers;
mod detect;
mod generic;
mod header;
mod import;
mod preview;
mod rejected;
mod rows;
mod settings;
mod shopify_orders;
mod source;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_customers;
#[cfg(test)]
mod tests_of_rows;
mod transactions;
mod try_out;

use std::path::Path;

use crate::model::{Order, Person};

pub use detect::{Input, open};
pub use import::{Batch, CustomerCounts, FileReport, OrderCounts, Outcomes, Rejection, apply, import};
pub use preview::{Columns, Preview, Read, Shown};
pub(super) use rejected::SUFFIX as REJECTED;
pub use settings::Settings;
pub use store::{store, store_until};

pub use transactions::Limits;
pub use try_out::try_out;

/// What a file can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Shopify's orders export.
    ShopifyCsv,
    /// The generic CSV.
    Csv,
    /// Lines of a Shopify bulk operation.
    ShopifyJsonl,
    /// Shopify's customers export.
    ShopifyCustomersCsv,
    /// The generic list of customers.
    CustomersCsv,
}

impl Format {
    /// The name in `--source-format` and in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ShopifyCsv => "shopify-csv",
            Self::Csv => "csv",
            Self::ShopifyJsonl => "shopify-jsonl",
            Self::ShopifyCustomersCsv => "shopify-customers-csv",
            Self::CustomersCsv => "customers-csv",
        }
    }

    /// For people: "a Shopify orders export".
    #[must_use]
    pub const fn described(self) -> &'static str {
        match self {
            Self::ShopifyCsv => "a Shopify orders export",
            Self::Csv => "a CSV of orders",
            Self::ShopifyJsonl => "a Shopify bulk operation",
            Self::ShopifyCustomersCsv => "a Shopify customers export",
            Self::CustomersCsv => "a CSV of customers",
        }
    }

    /// Whether it holds customers and no orders.
    #[must_use]
    pub const fn is_of_customers(self) -> bool {
        matches!(self, Self::ShopifyCustomersCsv | Self::CustomersCsv)
    }
}

/// The whole file (or the `[import]` section) cannot be used. Says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(String);

impl Unusable {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    /// The same about a file that people know by another name than its path.
    #[must_use]
    pub fn calling(&self, path: &Path, name: &str) -> Self {
        Self(self.0.replace(&path.display().to_string(), name))
    }
}

/// What a parser makes of a row.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Order {
        order: Box<Order>,
        /// An amount had more digits than the currency.
        rounded: bool,
    },
    Person(Box<Person>),
    /// Nothing to store: another line item of the order before, or a blank row.
    Passed,
}

/// The parser of one file.
#[derive(Debug, Clone)]
enum Parser {
    Shopify(shopify_orders::Parser),
    Generic(generic::Parser),
    Customers(customers::Parser),
}

impl Parser {
    fn parse(&mut self, record: &csv::ByteRecord) -> Result<Parsed, String> {
        match self {
            Self::Shopify(parser) => parser.parse(record),
            Self::Generic(parser) => parser.parse(record),
            Self::Customers(parser) => parser.parse(record),
        }
    }

    /// Our names of the columns that are in the file, and where they stand.
    fn columns(&self) -> Vec<(&'static str, header::Column)> {
        match self {
            Self::Shopify(parser) => parser.columns().collect(),
            Self::Generic(parser) => parser.columns().collect(),
            Self::Customers(parser) => parser.columns().collect(),
        }
    }

    /// What the merchant should know before importing this file.
    fn warning(&self) -> Option<&'static str> {
        match self {
            Self::Shopify(parser) => parser.warning(),
            Self::Generic(parser) => parser.warning(),
            Self::Customers(_) => None,
        }
    }
}
