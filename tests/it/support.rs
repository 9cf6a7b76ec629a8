//! Helpers of the tests, one file per area.

pub mod http;
pub mod merchant;
pub mod process;
pub mod receiver;
