//! From a changed segment to the email tool: the queue, the requests, and the loop between them.

mod batches;
mod between;
mod consent;
mod faults;
pub mod fixture;
mod forwarder;
mod hostile;
mod isolation;
mod klaviyo;
mod libraries;
mod lines;
mod probes;
mod queue;
mod receipts;
mod resume;
mod retention;
mod states;
mod tls;
mod tools;
mod wire;
