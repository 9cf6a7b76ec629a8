//! Intake from outside: signed requests against the real router and a real database.

mod answers;
pub mod convergence;
mod dates;
mod files;
mod first_order;
mod generic;
mod identity;
mod spoofed;
mod topics;
mod unusable;
mod woocommerce;
mod worth;
