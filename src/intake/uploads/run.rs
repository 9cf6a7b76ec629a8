//! Trying a file out, and importing it.

use std::sync::{Arc, atomic::Ordering};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{Inner, Occupied, State, UploadError, Uploads, beside, remove_if_there, table};
use crate::intake::csv::{self, CustomerCounts, FileReport, Limits, OrderCounts};

/// What the name of the folder with the copy for a dry run has behind that of the database.
pub(super) const COPY: &str = ".try-";

/// What to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A dry run.
    Try,
    Import,
}

/// What a dry run found or an import did, as it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub rows: u64,
    pub orders: OrderCounts,
    pub customers: CustomerCounts,
    /// Of customers alone, no orders.
    pub of_customers: bool,
    /// Orders of which an amount was rounded.
    pub rounded: u64,
    /// Line and reason of the first few rejected rows.
    pub rejections: Vec<(u64, String)>,
    /// Whether there is a file of them.
    pub has_rejected_file: bool,
}

impl Report {
    /// Rows that were rejected.
    #[must_use]
    pub const fn rejected(&self) -> u64 {
        self.orders.rejected + self.customers.rejected
    }

    fn of(report: FileReport) -> Self {
        Self {
            rows: report.rows,
            orders: report.orders,
            customers: report.customers,
            of_customers: report.format.is_of_customers(),
            rounded: report.rounded,
            rejections: report.rejections.into_iter().map(|it| (it.line, it.reason)).collect(),
            has_rejected_file: report.rejected_file.is_some(),
        }
    }
}

impl Uploads {
    /// Begins to try a file out or to import it, and returns: the work goes on whoever listens.
    ///
    /// # Errors
    /// Another file is being worked on, or this one does not wait for it.
    pub async fn start(&self, id: i64, action: Action) -> Result<(), UploadError> {
        let occupied = self.0.occupy(id)?;
        let state = match action {
            Action::Try => State::Trying,
            Action::Import => State::Importing,
        };
        let started = self.0.writer.write(move |tx| Ok(table::start(tx, id, state)?)).await?;
        let file_name = started.ok_or(UploadError::NotThere)?;
        tokio::task::spawn_blocking(move || {
            let inner = Arc::clone(&occupied.inner);
            if let Err(error) = inner.run(id, &file_name, action, &occupied) {
                tracing::error!(error = format!("{error:#}"), "what became of an import could not be stored");
            }
        });
        Ok(())
    }
}

impl Inner {
    /// Does it, and stores what became of it.
    fn run(&self, id: i64, file_name: &str, action: Action, occupied: &Occupied) -> anyhow::Result<()> {
        let progress = |bytes| occupied.mine.bytes.store(bytes, Ordering::Relaxed);
        let outcome = match action {
            Action::Try => self.try_out(id, file_name, &progress),
            Action::Import => self.import(id, file_name, &progress),
        };
        let now = self.clock.now();
        match outcome {
            Ok(report) => self.writer.write_blocking(move |tx| {
                match action {
                    Action::Try => table::tried(tx, id, &report)?,
                    Action::Import => table::imported(tx, id, &report, now)?,
                }
                Ok(())
            })?,
            Err(error) => {
                let (state, reason) = self.what_stopped(&error, action);
                self.writer.write_blocking(move |tx| Ok(table::stopped(tx, id, state, &reason)?))?;
                return Ok(());
            }
        }
        if action == Action::Import {
            remove_if_there(&self.path(id)).context("the imported file could not be removed")?;
        }
        Ok(())
    }

    fn what_stopped(&self, error: &anyhow::Error, action: Action) -> (State, String) {
        if self.stop.load(Ordering::Relaxed) {
            let reason = match action {
                Action::Try => "quintile was stopped during the dry run, which stores nothing.",
                Action::Import => "quintile was stopped during the import. Go on with it: nothing is stored twice.",
            };
            return (State::Interrupted, reason.to_owned());
        }
        tracing::error!(error = format!("{error:#}"), "an import failed");
        (State::Failed, format!("{error:#}"))
    }

    /// On a copy of the database, so that nobody waits for a transaction that is undone in the end.
    fn try_out(&self, id: i64, file_name: &str, progress: &dyn Fn(u64)) -> anyhow::Result<Report> {
        let input = self.open(id, file_name)?;
        let folder = self.database.parent().filter(|folder| !folder.as_os_str().is_empty());
        let name = self.database.file_name().unwrap_or_default();
        let copy = tempfile::Builder::new()
            .prefix(&beside(name.as_ref(), COPY))
            .tempdir_in(folder.unwrap_or(".".as_ref()))
            .context("there is no place for a copy of the database, which a dry run needs")?;
        let mut connection = self
            .readers
            .copy_to(&copy.path().join("copy.db"))
            .context("the database could not be copied, which a dry run needs; is the disk full?")?;
        let undone = connection.transaction()?;
        let report = csv::try_out(input, &undone, &self.rules, self.clock.now(), &self.stop, progress)?;
        Ok(Report::of(report))
    }

    fn import(&self, id: i64, file_name: &str, progress: &dyn Fn(u64)) -> anyhow::Result<Report> {
        let input = self.open(id, file_name)?;
        let now = self.clock.now();
        csv::store_until(input, &self.writer, &self.rules, now, Limits::BESIDE, &self.stop, progress).map(Report::of)
    }
}
