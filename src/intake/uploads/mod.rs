//! Files that come in through the page: kept beside the database until they are imported, looked
//! at, tried out and imported while everything else runs.
//!
//! One file at a time: an import is a long row of short writes ([`Limits::BESIDE`]), between which
//! webhooks are taken as ever. The browser may go away; what a file is up to stands in the table
//! `imports`, so that after a restart the page says where it stopped. A file that only waits gives
//! way to the next one.
//!
//! [`Limits::BESIDE`]: super::csv::Limits::BESIDE

mod forget;
mod receive;
mod run;
mod table;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;

use super::csv::{self, Input, Preview, Settings, Unusable};
use crate::{
    clock::Clock,
    config::Config,
    db::{Database, Readers, Writer, folder_of, remove_if_there},
    ledger::Rules,
    model::Timestamp,
};

pub(super) use forget::{in_files as forget_in_files, in_reports as forget_in_reports};
pub use receive::Upload;
pub use run::{Action, Report};
pub use table::{Import, State, any_busy, find};

/// Finished imports and their rejected rows are kept so long, in milliseconds: they name people.
const KEPT: i64 = 30 * Timestamp::DAY;

/// The files of one database. Cheap to clone.
#[derive(Clone)]
pub struct Uploads(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    rules: Rules,
    database: PathBuf,
    writer: Writer,
    readers: Readers,
    clock: Clock,
    running: Mutex<Option<Arc<Running>>>,
    /// Told by [`Uploads::stop`].
    stop: AtomicBool,
}

/// What is being done right now.
#[derive(Debug, Default)]
struct Running {
    /// 0: not known yet.
    id: AtomicI64,
    /// Bytes of the file that are behind us.
    bytes: AtomicU64,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("Another file is being uploaded or imported. Wait until it is done; its page says how far it is.")]
    Busy,
    #[error(
        "The file is larger than {0} MB, so nothing of it was kept. Set [import] upload_limit_mb higher, split the file, or stop quintile and use `quintile import`, which takes files of any size."
    )]
    TooLarge(u32),
    #[error("The upload broke off, so nothing of the file was kept. Upload it again.")]
    BrokenOff,
    #[error("This file is not waiting for that any more. Its page says what became of it.")]
    NotThere,
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl Uploads {
    #[must_use]
    pub fn new(config: Arc<Config>, database: &Database, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            rules: Rules::from_config(&config),
            config,
            database: database.path().to_owned(),
            writer: database.writer().clone(),
            readers: database.readers().clone(),
            clock,
            running: Mutex::default(),
            stop: AtomicBool::default(),
        }))
    }

    /// Says of what an earlier process left in the middle that it was left, and clears away files that
    /// nobody needs any more. Once, before anything else.
    ///
    /// # Errors
    /// The database could not be written, or the folder not be read.
    pub async fn recover(&self) -> anyhow::Result<()> {
        let kept = self.0.writer.write(|tx| Ok(table::recover(tx)?)).await?;
        self.0.remove_all_but(&kept).context("files of earlier uploads could not be removed")
    }

    /// Forgets imports that at `now` were over, or have waited, for 30 days, with their files. What they
    /// stored stays. Whether the clock is believed is the caller's to know.
    ///
    /// # Errors
    /// The database could not be written, or a file not be removed.
    pub async fn forget_old(&self, now: Timestamp) -> anyhow::Result<()> {
        let before = now.plus_millis(-KEPT);
        for id in self.0.writer.write(move |tx| Ok(table::forget(tx, before)?)).await? {
            self.0.remove(id).context("the files of an old import could not be removed")?;
        }
        Ok(())
    }

    /// Makes an import that runs stop, and waits until what became of it is stored, up to `patience`. It can go
    /// on after the next start.
    pub async fn stop(&self, patience: Duration) {
        self.0.stop.store(true, Ordering::Relaxed);
        let stopped = async {
            while self.0.running().is_some() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(patience, stopped).await; // the next start says that it was stopped
    }

    /// The largest file that is taken, in bytes.
    #[must_use]
    pub fn limit(&self) -> u64 {
        u64::from(self.0.config.import.upload_limit_mb) * 1_000_000
    }

    /// How many bytes of this import are behind us; `None`: nothing is done with it now.
    #[must_use]
    pub fn progress(&self, id: i64) -> Option<u64> {
        let running = self.0.running();
        let mine = running.as_ref().filter(|running| running.id.load(Ordering::Relaxed) == id)?;
        Some(mine.bytes.load(Ordering::Relaxed))
    }

    /// How the file would be read. Reads its beginning; blocks.
    ///
    /// # Errors
    /// The file cannot be used (any more).
    pub fn preview(&self, import: &Import) -> Result<Preview, Unusable> {
        self.0.open(import.id, &import.file_name).map(|input| input.preview())
    }

    /// The file of rejected rows, if the import left one.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn rejected(&self, id: i64) -> io::Result<Option<fs::File>> {
        match fs::File::open(self.0.rejected_path(id)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Forgets an import and its files. What it stored stays.
    ///
    /// # Errors
    /// It is being worked on, or there is none.
    pub async fn discard(&self, id: i64) -> Result<(), UploadError> {
        let gone = self.0.writer.write(move |tx| Ok(table::delete(tx, id)?)).await?;
        if !gone {
            return Err(UploadError::NotThere);
        }
        self.0.remove(id).context("the file could not be removed")?;
        Ok(())
    }
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, Option<Arc<Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the one place there is for work.
    fn occupy(self: &Arc<Self>, id: i64) -> Result<Occupied, UploadError> {
        let mut running = self.running();
        if running.is_some() {
            return Err(UploadError::Busy);
        }
        let mine = Arc::new(Running::default());
        mine.id.store(id, Ordering::Relaxed);
        *running = Some(Arc::clone(&mine));
        Ok(Occupied { inner: Arc::clone(self), mine })
    }

    /// `quintile.db.upload-7`
    fn path(&self, id: i64) -> PathBuf {
        beside(&self.database, &format!("{UPLOAD}{id}"))
    }

    fn rejected_path(&self, id: i64) -> PathBuf {
        beside(&self.path(id), csv::REJECTED)
    }

    /// Opens the file of an import; messages call it as the browser did.
    fn open(&self, id: i64, file_name: &str) -> Result<Input, Unusable> {
        let path = self.path(id);
        Settings::from_config(&self.config)
            .and_then(|settings| csv::open(&path, None, &settings))
            .map_err(|problem| problem.calling(&path, file_name))
    }

    fn remove(&self, id: i64) -> io::Result<()> {
        remove_if_there(&self.path(id))?;
        remove_if_there(&self.rejected_path(id))
    }

    /// Removes files of uploads whose import is not among `kept`.
    fn remove_all_but(&self, kept: &[i64]) -> io::Result<()> {
        let folder = folder_of(&self.database);
        let name = self.database.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let file_name = entry.file_name().to_string_lossy().into_owned();
            let Some(rest) = file_name.strip_prefix(&name) else { continue };
            if rest.starts_with(run::COPY) {
                fs::remove_dir_all(entry.path())?;
            } else if let Some(rest) = rest.strip_prefix(UPLOAD) {
                let id = rest.strip_suffix(csv::REJECTED).unwrap_or(rest).parse::<i64>();
                if id.is_ok_and(|id| !kept.contains(&id)) {
                    fs::remove_file(entry.path())?;
                }
            }
        }
        Ok(())
    }
}

/// What the name of an upload has behind that of the database.
const UPLOAD: &str = ".upload-";

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The one place, given back when this is dropped.
struct Occupied {
    inner: Arc<Inner>,
    mine: Arc<Running>,
}

impl Drop for Occupied {
    fn drop(&mut self) {
        *self.inner.running() = None;
    }
}
