//! intake

pub mod csv;
