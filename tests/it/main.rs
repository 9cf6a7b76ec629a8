//! The one integration binary: the real program over its real ports, with real databases.

mod api;
mod cli;
mod corpus;
mod crash;
mod crash_batches;
mod crash_steps;
mod delivery;
mod edges;
#[cfg(target_os = "linux")]
mod faults;
mod import;
mod intake;
mod pages;
mod privacy;
mod readme;
mod scoring;
mod store;
mod story;
mod support;
mod sync;
