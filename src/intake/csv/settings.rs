//! `[import]` and what orders are worth, checked and ready to use.

use std::collections::BTreeMap;

use super::{
    Unusable,
    cell::{Amounts, Dates},
};
use crate::{config::Config, ledger::Rules, model::Source};

/// How files are read.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) rules: Rules,
    pub(super) amounts: Amounts,
    pub(super) dates: Dates,
    /// Whose ids the generic formats hold.
    pub(super) source: Source,
    /// WooCommerce's webhooks bring orders too.
    pub(super) has_woocommerce: bool,
    /// Our column name → the file's.
    pub(super) columns: BTreeMap<String, String>,
    pub(super) customer_columns: BTreeMap<String, String>,
}

impl Settings {
    /// # Errors
    /// `[import]` holds a date pattern that cannot be used.
    pub fn from_config(config: &Config) -> Result<Self, Unusable> {
        let import = &config.import;
        Ok(Self {
            rules: Rules::from_config(config),
            amounts: Amounts::new(import.decimal_comma),
            dates: Dates::new(&import.date_format, import.timezone.unwrap_or(config.shop.timezone))
                .map_err(Unusable::new)?,
            source: import.source,
            has_woocommerce: !config.webhooks.woocommerce.secrets.is_empty(),
            columns: import.columns.clone(),
            customer_columns: import.customer_columns.clone(),
        })
    }
}
