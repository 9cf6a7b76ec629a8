//! Scoring on real database files: the laws of the quintiles, the life of a run, what a crash
//! leaves, and the night watch under a clock that the test holds.

mod crash;
mod lapsed;
mod laws;
pub mod model;
mod night;
mod runs;
