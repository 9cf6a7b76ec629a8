//! What the tests share: one file per area.

pub mod http;
pub mod merchant;
pub mod pages;
pub mod process;
pub mod receiver;
pub mod shop;
