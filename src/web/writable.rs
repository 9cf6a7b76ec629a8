//! Whether the database can be written, for whoever watches the program.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use crate::db::{Writer, touch};

/// Asks the disk. Cheap to clone.
#[derive(Clone)]
pub struct Writable {
    writer: Writer,
    last: Arc<Mutex<Option<Look>>>,
}

/// What the disk said, and when.
struct Look {
    at: Instant,
    result: Result<(), String>,
}

impl Writable {
    /// Anybody may ask, so the disk is asked at most once in this time.
    const FRESH: Duration = Duration::from_secs(1);

    pub fn new(writer: Writer) -> Self {
        Self { writer, last: Arc::default() }
    }

    /// Writes what is there already.
    ///
    /// # Errors
    /// It cannot be written, and why.
    pub async fn check(&self) -> Result<(), String> {
        let mut last = self.last.lock().await;
        if let Some(look) = &*last
            && look.at.elapsed() < Self::FRESH
        {
            return look.result.clone();
        }
        // Why not is in the log: the writer says it once, however often somebody asks.
        let result = self.writer.try_write(|tx| Ok(touch(tx)?)).await.map_err(|error| format!("{error:#}"));
        *last = Some(Look { at: Instant::now(), result: result.clone() });
        result
    }
}
