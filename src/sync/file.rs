//! The file of a bulk operation goes into the ledger, a thousand lines at a time; how far it is
//! stands in the same transaction, so that a crash goes on there.

use anyhow::{Context, bail};

use super::{
    Sync,
    log::{Entry, Position},
    queries::Kind,
    store::Batch,
};
use crate::{
    bug::NoResult,
    intake::bulk::{Line, Lines},
};

impl Sync {
    /// Fetches and stores everything of `kind` in the pull's window.
    pub(super) async fn in_bulk(&self, entry: &Entry, position: &mut Position, kind: Kind) -> anyhow::Result<()> {
        self.fetch(entry, position, &kind.in_bulk(entry.since)).await?;
        self.store_file(entry, position, kind).await?;
        let file = position.file.take().unwrap_or_default();
        position.operation = None;
        let _ = std::fs::remove_file(self.file_path()); // one that stays is written over
        self.save(entry, position).await?;
        if file.partial {
            bail!(
                "the shop's bulk operation of {} failed half-way; the {} that it gave are stored, and everything is asked for again",
                kind.root(),
                file.objects
            );
        }
        if file.objects != file.expected {
            bail!(
                "the shop's file of {} has {} of them and should have {}; what it has is stored, and everything is asked for again",
                kind.root(),
                file.objects,
                file.expected
            );
        }
        Ok(())
    }

    async fn store_file(&self, entry: &Entry, position: &mut Position, kind: Kind) -> anyhow::Result<()> {
        let Some(at) = position.file.clone() else { bail!("there is no file to store") };
        let path = self.file_path();
        let mut lines = Lines::resume(&path, at.line, at.byte)
            .with_context(|| format!("cannot read the shop's file {}", path.display()))?;
        let history = entry.history();
        loop {
            let rules = self.rules.clone();
            let (rest, batch, count) = tokio::task::spawn_blocking(move || {
                let read: Vec<Line> = lines.batch()?;
                let batch = Batch::read(&read, &rules, history);
                std::io::Result::Ok((lines, batch, read.len()))
            })
            .await
            .map_err(NoResult::from)
            .context("reading was interrupted")?
            .with_context(|| format!("cannot read the shop's file {}", path.display()))?;
            lines = rest;
            if count == 0 {
                return Ok(());
            }
            if let Some(file) = &mut position.file {
                (file.line, file.byte) = (lines.line(), lines.byte());
                file.objects += batch.objects();
            }
            self.store(batch, entry, kind, position).await?;
        }
    }
}
