//! Taking a file in, piece by piece, onto the disk and never into memory.

use std::{
    io::{self, Write},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use anyhow::Context;
use tokio::{sync::mpsc, task::JoinHandle};

use crate::{
    bug::NoResult,
    db::{private_file, sync_folder_of},
};

use super::{Inner, Occupied, State, UploadError, Uploads, remove_if_there, table};

/// Pieces that wait for the disk; then the browser waits too.
const AHEAD: usize = 8;
/// Longest name of a file that is kept, in characters.
const LONGEST_NAME: usize = 120;

/// A file that is coming in. Dropped before [`Self::finish`], it is thrown away: the browser has gone.
pub struct Upload {
    pieces: mpsc::Sender<Piece>,
    received: JoinHandle<Result<i64, UploadError>>,
}

enum Piece {
    Bytes(Vec<u8>),
    End,
}

impl Uploads {
    /// Begins to take a file in. `file_name` is what the browser calls it. A file that only waits
    /// for the merchant gives way.
    ///
    /// # Errors
    /// [`UploadError::Busy`]
    pub fn begin(&self, file_name: &str) -> Result<Upload, UploadError> {
        let occupied = self.0.occupy(0)?;
        let name = display_name(file_name);
        let (pieces, arriving) = mpsc::channel(AHEAD);
        let (inner, limit) = (Arc::clone(&self.0), self.limit());
        let received = tokio::task::spawn_blocking(move || receive(&inner, &occupied, &name, limit, arriving));
        Ok(Upload { pieces, received })
    }
}

impl Upload {
    /// Adds the next bytes. `false`: no more are wanted, [`Self::finish`] says why.
    pub async fn push(&mut self, bytes: Vec<u8>) -> bool {
        self.pieces.send(Piece::Bytes(bytes)).await.is_ok()
    }

    /// The file is whole: looks what it is. Returns the id of its import.
    ///
    /// # Errors
    /// It was too large, or could not be written.
    pub async fn finish(self) -> Result<i64, UploadError> {
        let _ = self.pieces.send(Piece::End).await; // refused: it has ended already
        drop(self.pieces);
        self.received.await.map_err(NoResult::from).context("the upload was interrupted")?
    }

    /// The browser has gone: throws the file away. Returns when there is room for the next one, with
    /// what to say.
    pub async fn break_off(self) -> UploadError {
        drop(self.pieces);
        match self.received.await.map_err(NoResult::from).context("the upload was interrupted") {
            Ok(outcome) => outcome.err().unwrap_or(UploadError::BrokenOff),
            Err(error) => error.into(),
        }
    }
}

/// Without folders, which some browsers tell, and of a bounded length.
fn display_name(file_name: &str) -> String {
    let name = file_name.rsplit(['/', '\\']).next().unwrap_or_default().trim();
    let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
    if name.is_empty() { "file".to_owned() } else { name }
}

fn receive(
    inner: &Inner,
    occupied: &Occupied,
    name: &str,
    limit: u64,
    mut arriving: mpsc::Receiver<Piece>,
) -> Result<i64, UploadError> {
    let (now, owned) = (inner.clock.now(), name.to_owned());
    let (id, replaced) = inner.writer.write_blocking(move |tx| Ok(table::begin(tx, &owned, now)?))?;
    occupied.mine.id.store(id, Ordering::Relaxed);
    for id in replaced {
        inner.remove(id).context("the file that waited could not be removed")?;
    }
    let path = inner.path(id);
    let written = write(&path, limit, &mut arriving, &|bytes| occupied.mine.bytes.store(bytes, Ordering::Relaxed));
    let (size, outcome) = match written {
        Ok(Written::Whole(size)) => (size, Ok(())),
        Ok(Written::BrokenOff(size)) => (size, Err(UploadError::BrokenOff)),
        Ok(Written::TooLarge(size)) => (size, Err(UploadError::TooLarge(inner.config.import.upload_limit_mb))),
        Err(error) => {
            let error = anyhow::Error::new(error).context("the file could not be kept; is the disk full?");
            (0, Err(error.into()))
        }
    };
    let (state, reason, format) = match &outcome {
        Ok(()) => match inner.open(id, name) {
            Ok(input) => (State::Ready, None, Some(input.format.described())),
            Err(problem) => (State::Refused, Some(problem.to_string()), None),
        },
        Err(UploadError::TooLarge(_)) => (State::Refused, outcome.as_ref().err().map(ToString::to_string), None),
        Err(UploadError::Other(error)) => (State::Failed, Some(format!("{error:#}")), None),
        Err(error) => (State::Interrupted, Some(error.to_string()), None),
    };
    if state != State::Ready {
        remove_if_there(&path).context("the file could not be removed")?;
    }
    inner.writer.write_blocking(move |tx| Ok(table::received(tx, id, (state, reason.as_deref()), size, format)?))?;
    outcome.map(|()| id)
}

/// How the bytes ended, after how many.
enum Written {
    Whole(u64),
    BrokenOff(u64),
    TooLarge(u64),
}

fn write(path: &Path, limit: u64, arriving: &mut mpsc::Receiver<Piece>, progress: &dyn Fn(u64)) -> io::Result<Written> {
    let mut file = private_file().create(true).truncate(true).open(path)?;
    let mut size = 0;
    loop {
        match arriving.blocking_recv() {
            Some(Piece::Bytes(bytes)) => {
                size += bytes.len() as u64;
                if size > limit {
                    return Ok(Written::TooLarge(size));
                }
                file.write_all(&bytes)?;
                progress(size);
            }
            Some(Piece::End) => {
                // A file that the table calls ready is whole, also after a power cut.
                file.sync_all()?;
                sync_folder_of(path).map_err(io::Error::other)?;
                return Ok(Written::Whole(size));
            }
            None => return Ok(Written::BrokenOff(size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_folders() {
        for (told, shown) in [
            ("orders.csv", "orders.csv"),
            ("C:\\Users\\anna\\orders.csv", "orders.csv"),
            ("../../etc/passwd", "passwd"),
            ("a\u{0}b\n.csv", "ab.csv"),
            ("", "file"),
            ("/", "file"),
        ] {
            assert_eq!(display_name(told), shown, "{told:?}");
        }
        assert_eq!(display_name(&"x".repeat(1000)).len(), LONGEST_NAME);
    }
}
