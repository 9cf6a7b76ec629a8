//! The dashboard without a browser: the real router over a real database, its HTML read back.

mod customers;
mod import;
mod login;
mod machines;
mod overview;
mod plans;
mod privacy;
mod security;
