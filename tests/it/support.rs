//! What the tests share: one file per area. Fixtures make a test read like a use case.

pub mod browser;
pub mod counters;
#[cfg(target_os = "linux")]
pub mod disk;
pub mod folder;
pub mod http;
pub mod merchant;
pub mod orders;
pub mod pages;
pub mod process;
pub mod receiver;
pub mod scored_shop;
pub mod shop;
pub mod text;
#[cfg(target_os = "linux")]
pub mod write_log;
