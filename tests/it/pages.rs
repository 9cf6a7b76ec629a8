//! The dashboard without a browser: the real router over a real database, its HTML read back.

mod customers;
mod deliveries;
mod destinations;
mod erase;
mod first_run;
mod import;
mod lists;
mod login;
mod machines;
mod numbers;
mod overview;
mod plans;
mod privacy;
mod runs;
mod security;
mod segments;
mod settings;
mod snapshots;
mod words;
