//! The one integration binary: the real program over its real ports, with real databases.

mod api;
mod cli;
mod clock;
mod corpus;
mod cost;
mod crash;
mod crash_batches;
mod crash_queue;
mod crash_steps;
mod delivery;
mod edges;
#[cfg(target_os = "linux")]
mod faults;
mod gate;
mod import;
mod intake;
mod packaging;
mod pages;
mod panics;
mod privacy;
mod readme;
mod scoring;
mod simulation;
#[cfg(target_os = "linux")]
mod soak;
mod store;
mod story;
mod support;
mod sync;
