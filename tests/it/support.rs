//! Helpers of the tests, one file per area.

pub mod process;
