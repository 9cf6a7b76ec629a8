//! Files of orders: telling what a file is, reading it row by row, and importing it.
//!
//! - [`open`] tells the format from the content and finds the columns ([`Input`]).
//! - [`import`](import()) streams an input in batches through whatever applies orders, in constant memory;
//!   [`store`](store()) puts them into the database.
//! - Each format is a parser from a row to an [`Order`](crate::model::Order): `shopify_orders`,
//!   `generic`.
//!
//! A row is an order's latest state. When a file names an order twice, the later row wins, as it
//! does when a later file names it; importing a file again therefore ends in the same state. Within
//! a batch the earlier rows are dropped before the ledger sees them. Rows of different batches are
//! applied one after the other: such an order is reported as updated by every import of the file.

mod cell;
pub(super) mod counter;
mod detect;
mod generic;
mod header;
mod import;
pub(super) mod rejected;
mod rows;
mod settings;
mod shopify_orders;
mod store;
#[cfg(test)]
mod tests;

use crate::model::Order;

pub use detect::{Input, open};
pub use import::{Batch, CustomerCounts, FileReport, OrderCounts, Outcomes, Rejection, apply, import};
pub use settings::Settings;
pub use store::{Limits, store};

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
        }
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
}

/// What a parser makes of a row.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Order {
        order: Box<Order>,
        /// An amount had more digits than the currency.
        rounded: bool,
    },
    /// Nothing to store: another line item of the order before, or a blank row.
    Passed,
}

/// The parser of one file.
#[derive(Debug)]
enum Parser {
    Shopify(shopify_orders::Parser),
    Generic(generic::Parser),
}

impl Parser {
    fn parse(&mut self, record: &csv::ByteRecord) -> Result<Parsed, String> {
        match self {
            Self::Shopify(parser) => parser.parse(record),
            Self::Generic(parser) => parser.parse(record),
        }
    }
}
