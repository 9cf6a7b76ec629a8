//! The one place that reads the clock. Everything below `serve` and `cli` takes `now` as an
//! argument, so that a test can live through a year without sleeping.

use std::sync::Arc;

use crate::model::Timestamp;

/// This program is younger than that: a clock that shows less is wrong.
pub const EARLIEST: Timestamp = Timestamp::from_millis(1_767_225_600_000); // 2026-01-01

/// Where `serve` gets the time from: the system's clock, or a test's own.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(now))
    }

    /// A clock that answers whatever `read` does.
    pub fn from_fn(read: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// The current instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        (self.0)()
    }
}

/// The system's clock, now.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn now() -> Timestamp {
    chrono::Utc::now().into()
}
