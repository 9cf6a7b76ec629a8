//! Fixtures that make a test read like a use case.

pub mod scored_shop;
