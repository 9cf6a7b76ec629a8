//! The only module that knows axum.

pub mod webhooks;
