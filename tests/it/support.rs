//! support
pub mod pages;
