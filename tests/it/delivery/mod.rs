//! From a changed segment to the email tool: the queue, the requests, and the loop between them.

mod faults;
mod fixture;
mod forwarder;
mod lines;
mod queue;
mod retention;
mod wire;
