//! What the tests share, one file per area.

pub mod receiver;
pub mod shop;
