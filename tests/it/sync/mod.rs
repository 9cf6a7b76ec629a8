//! The pull from the shop, against an Admin API of the tests' own.

mod admin;
mod bulk;
mod command;
mod convergence;
mod deletions;
mod faults;
mod graphql;
mod home;
mod lines;
mod nodes;
mod pages;
mod subscriptions;
mod watch;
