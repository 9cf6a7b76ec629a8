//! Another database in the place of the present one, with what stands beside it: several renames, and a kill or a
//! power cut may come between any two. From the first one on it is the new one that counts, and whoever opens the
//! database next does what is left.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::backup::{folder_of, sync_folder_of, with_suffix};

/// What SQLite keeps beside a database; without them it may lack what was written last.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Before the time at which another database came into its place.
pub(super) const BEFORE_RESTORE: &str = ".before-restore-";
/// The same, of the one that comes, until it has its name.
const COMING: &str = ".coming-";

/// Puts `new`, a whole database that nobody has open, in the place of `database`, whose lock is held. Returns
/// under which name the old one is kept; `None`: there was none.
///
/// # Errors
/// The folder cannot be written; the message says what is where.
pub(super) fn swap(new: &Path, database: &Path, time: &str) -> anyhow::Result<Option<PathBuf>> {
    let coming = with_suffix(database, &format!("{COMING}{time}"));
    let cannot = || format!("cannot put {} in the place of {}", new.display(), database.display());
    fs::rename(new, &coming).with_context(cannot)?;
    sync_folder_of(database)?;
    match keep(database, &kept(database, time)) {
        // Nothing has happened to the old one yet.
        Err(error) => {
            fs::rename(&coming, new).with_context(cannot)?;
            Err(error)
        }
        Ok(had_one) => {
            come(&coming, database, time)?;
            Ok(had_one.then(|| kept(database, time)))
        }
    }
}

/// Goes on with a [`swap`] that was cut off, if there is one. For whoever has the lock of `database`, before it is
/// opened.
///
/// # Errors
/// Those of [`swap`].
pub(super) fn finish(database: &Path) -> anyhow::Result<()> {
    if let Some((coming, time)) = unfinished(database)? {
        keep(database, &kept(database, &time))?;
        come(&coming, database, &time)?;
        tracing::warn!(path = %database.display(), "came to the end of a restore that was cut off");
    }
    Ok(())
}

/// Which database is to come into the place of `database`, and its time.
pub(super) fn unfinished(database: &Path) -> anyhow::Result<Option<(PathBuf, String)>> {
    let folder = folder_of(database);
    let start = format!("{}{COMING}", database.file_name().unwrap_or_default().to_string_lossy());
    let entries = match fs::read_dir(folder) {
        // Whoever opens it says so in better words.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => return Ok(None),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if let Some(time) = name.strip_prefix(&start) {
            return Ok(Some((path.clone(), time.to_owned())));
        }
    }
    Ok(None)
}

fn kept(database: &Path, time: &str) -> PathBuf {
    with_suffix(database, &format!("{BEFORE_RESTORE}{time}"))
}

/// Gives the old one a second name, or a copy on a disk that knows none: at every instant there is a database under
/// the first. Whether there was one.
fn keep(database: &Path, kept: &Path) -> anyhow::Result<bool> {
    let length = |path: &Path| fs::metadata(path).map(|file| file.len()).ok();
    if !database.exists() {
        return Ok(false);
    }
    match fs::hard_link(database, kept) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists && length(kept) == length(database) => {}
        Err(_) => {
            copy(database, kept)
                .with_context(|| format!("cannot keep {} as {}", database.display(), kept.display()))?;
        }
    }
    Ok(true)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    OpenOptions::new().write(true).open(to)?.sync_all()
}

/// What stands beside the old one goes with it: under the new one it would be taken for its own.
fn come(coming: &Path, database: &Path, time: &str) -> anyhow::Result<()> {
    let kept = kept(database, time);
    let move_all = || -> io::Result<()> {
        for companion in COMPANIONS {
            let left = with_suffix(database, companion);
            match fs::metadata(&left) {
                Ok(file) if file.len() == 0 => fs::remove_file(left)?,
                Ok(_) => fs::rename(left, with_suffix(&kept, companion))?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        fs::rename(coming, database)
    };
    move_all().with_context(|| {
        format!(
            "cannot put {} in the place of {}, which is kept as {}; the next start goes on with it",
            coming.display(),
            database.display(),
            kept.display()
        )
    })?;
    sync_folder_of(database)
}
