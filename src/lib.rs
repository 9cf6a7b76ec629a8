//! quintile keeps one small online store's orders and customers in an embedded SQLite file,
//! scores every customer each night by recency, frequency and monetary value, names a segment for
//! each, and pushes every segment change to the merchant's email tool as a webhook that cannot get
//! lost.
//!
//! # The story of one order
//!
//! Data moves one way; each stage is one folder or file, and none knows the stages after it.
//!
//! ```text
//!  web::webhooks ─▶ intake ─▶ ledger ─▶ scoring ─▶ outbox ─▶ delivery ─▶ the email tool
//!  (or cli import)  bytes     orders,   nightly:    the       claims,
//!                   become    customers r f m,      durable   signs,
//!                   an Order  counters  segment     queue     sends, retries
//! ```
//!
//! [`sync`] is the other way in: it fetches from the shop's own API what no webhook brought, and ends
//! in the same functions of intake and ledger.
//!
//! One event does not wait for the night: the ledger writes `customer/first_order` into the outbox
//! with the order itself.
//!
//! Forgetting a person goes the same way: `intake::privacy` asks the ledger, which takes them out of
//! its tables and of the outbox, and then searches what the shop has sent.
//!
//! # Reading order
//!
//! [`model`], [`db`], [`config`], [`clock`] and [`metrics`] are the shared floor: no stage is imported there.
//! [`invariants`] says in SQL what must be true of every database; [`backups`] are the copies that each
//! night leaves; [`bug`] is what is told of a mistake of ours; `refrain` is for lines of the log that would come again
//! and again.
//! Then the story: [`intake`], [`ledger`], [`sync`], [`scoring`], [`outbox`], [`delivery`]. [`web`] is the
//! only module that knows axum; [`serve`] starts everything; [`cli`] knows every stage and no
//! stage knows it. A test (`tests/it/edges.rs`) reads the `use crate::` lines and holds this.
//!
//! # Rules
//!
//! - Each table has one writer module, named in `schema.sql`.
//! - [`outbox::enqueue`] takes a transaction: an event without its change cannot be written.
//! - Nothing upstream waits for anything downstream: a dead email tool never slows an order.
//! - Nothing below `serve` and `cli` reads the clock, the environment or a path of its own.

pub mod backups;
pub mod bug;
pub mod cli;
pub mod clock;
pub mod config;
pub mod db;
pub mod delivery;
pub mod intake;
pub mod invariants;
pub mod ledger;
pub mod metrics;
pub mod model;
pub mod outbox;
mod refrain;
pub mod scoring;
pub mod serve;
pub mod sync;
pub mod web;
