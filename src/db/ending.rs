//! The end of the program, as whoever works on the database hears of it.
//!
//! When it is near, what goes on slice by slice stops behind the slice that it is at. When it has come, what is
//! still in a statement is cut off there: for the file that is as if the power had gone, which everything is made
//! for, and the next start goes on where it was.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use rusqlite::Connection;

/// Steps of SQLite's machine between two looks: well below a millisecond.
const STEPS: i32 = 10_000;

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    is_near: AtomicBool,
    has_come: AtomicBool,
}

/// Why something was not done, or not to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("quintile was stopped meanwhile")]
pub struct Stopped;

impl Ending {
    /// The program was told to stop.
    pub fn is_near(&self) -> bool {
        self.0.is_near.load(Ordering::Relaxed)
    }

    pub fn announce(&self) {
        self.0.is_near.store(true, Ordering::Relaxed);
    }

    /// Nothing is waited for any more.
    pub fn has_come(&self) -> bool {
        self.0.has_come.load(Ordering::Relaxed)
    }

    pub fn come(&self) {
        self.announce();
        self.0.has_come.store(true, Ordering::Relaxed);
    }

    /// For between two slices.
    ///
    /// # Errors
    /// The program is to stop.
    pub fn check(&self) -> Result<(), Stopped> {
        if self.is_near() { Err(Stopped) } else { Ok(()) }
    }

    /// Cuts off the statements of `connection` when the end has come.
    pub(super) fn cut_off(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.cut_off_counting(connection, Arc::default())
    }

    /// [`Self::cut_off`] that counts in `looks` how often it looked.
    pub(super) fn cut_off_counting(&self, connection: &Connection, looks: Arc<AtomicU64>) -> rusqlite::Result<()> {
        let ending = self.clone();
        let look = move || {
            looks.fetch_add(1, Ordering::Relaxed);
            ending.has_come()
        };
        connection.progress_handler(STEPS, Some(look))
    }

    /// Cuts them off as soon as it is near: for what takes long and is worth nothing before it is whole.
    pub(super) fn cut_off_early(&self, connection: &Connection) -> rusqlite::Result<()> {
        let ending = self.clone();
        connection.progress_handler(STEPS, Some(move || ending.is_near()))
    }
}
