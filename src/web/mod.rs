//! The only module that knows axum: the webhooks listener and the dashboard listener, each with
//! a router of its own, so that a tunnel that exposes one never exposes the other.

pub mod api;
pub mod auth;
pub mod dashboard;
pub mod error;
mod limits;
mod listen;
pub mod moody;
mod peer;
pub mod receiver;
mod store;
pub mod webhooks;
mod writable;

pub use limits::Limits;
pub use listen::{listen, url};
