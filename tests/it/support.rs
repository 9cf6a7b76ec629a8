//! Fixtures that make a test read like a use case.

pub mod receiver;
pub mod scored_shop;
