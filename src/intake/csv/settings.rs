//! `[import]` and the shop's currency, checked and ready to use.

use std::collections::BTreeMap;

use super::{
    Unusable,
    cell::{Amounts, Dates},
};
use crate::{config::Config, model::Currency};

/// How files are read.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(super) currency: Currency,
    pub(super) amounts: Amounts,
    pub(super) dates: Dates,
    /// Our column name → the file's.
    pub(super) columns: BTreeMap<String, String>,
}

impl Settings {
    /// # Errors
    /// `[import]` holds a date pattern that cannot be used.
    pub fn from_config(config: &Config) -> Result<Self, Unusable> {
        let import = &config.import;
        Ok(Self {
            currency: config.shop.currency,
            amounts: Amounts { decimal_comma: import.decimal_comma },
            dates: Dates::new(&import.date_format, import.timezone.unwrap_or(config.shop.timezone))
                .map_err(Unusable::new)?,
            columns: import.columns.clone(),
        })
    }
}
