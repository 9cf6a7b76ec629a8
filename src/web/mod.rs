//! The only module that knows axum.

mod listen;
pub mod receiver;
pub mod webhooks;

pub use listen::listen;
