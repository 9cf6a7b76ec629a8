//! The pull from the shop, against an Admin API of the tests' own.

pub mod admin;
mod bulk;
mod clocks;
mod command;
mod convergence;
mod deletions;
mod faults;
mod graphql;
mod home;
mod lines;
pub mod nodes;
mod pages;
mod subscriptions;
mod watch;
