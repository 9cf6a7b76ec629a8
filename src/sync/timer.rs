//! Waiting, as an argument: a test lives through a day of polls without sleeping.

use std::{pin::Pin, sync::Arc, time::Duration};

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the pull from the shop waits with: the system's timer, or a test's own.
#[derive(Clone)]
pub struct Timer(Arc<dyn Fn(Duration) -> Sleep + Send + Sync>);

impl Timer {
    /// The system's timer.
    #[must_use]
    pub fn system() -> Self {
        Self(Arc::new(|duration| Box::pin(tokio::time::sleep(duration))))
    }

    /// A timer that does whatever `sleep` does.
    pub fn from_fn<F: Future<Output = ()> + Send + 'static>(
        sleep: impl Fn(Duration) -> F + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |duration| Box::pin(sleep(duration))))
    }

    pub async fn sleep(&self, duration: Duration) {
        (self.0)(duration).await;
    }
}
