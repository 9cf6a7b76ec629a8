//! What is told of a bug: where it is, and nothing of what the program had in its hands there. What a
//! panic says may quote a secret or a customer, since whoever wrote it did not expect to be read; it
//! goes into no log, no row and no page.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::{self, PanicHookInfo},
    thread,
};

use tokio::task::JoinError;

/// In the place of what a panic says.
const LEFT_OUT: &str = "(left out: it may quote what nobody may see)";

/// From now on panics become lines of the log instead of what the standard library writes: with their
/// place, and where the environment asks for it (`RUST_BACKTRACE`) with the calls that led there.
pub fn tell_panics_in_the_log() {
    panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string);
    let thread = thread::current().name().map(str::to_owned);
    let trace = Backtrace::capture();
    let trace = (trace.status() == BacktraceStatus::Captured).then(|| trace.to_string());
    tracing::error!(place, thread, says = literal(panic), trace, "a bug in quintile");
}

/// What a panic says, if it is a text of the program's own without anything put into it.
fn literal(panic: &PanicHookInfo<'_>) -> &'static str {
    panic.payload().downcast_ref::<&'static str>().copied().unwrap_or(LEFT_OUT)
}

/// Why a task has no result. Unlike tokio's own words for it, these do not repeat what a panic says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoResult {
    #[error("a bug in quintile stopped it; the log says where")]
    Bug,
    #[error("it was told to stop")]
    Told,
}

impl From<JoinError> for NoResult {
    fn from(error: JoinError) -> Self {
        Self::from(&error)
    }
}

impl From<&JoinError> for NoResult {
    fn from(error: &JoinError) -> Self {
        if error.is_panic() { Self::Bug } else { Self::Told }
    }
}
