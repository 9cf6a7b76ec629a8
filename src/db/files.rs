//! Files beside each other: what they are called, copies that have their name once they are whole, renames that
//! last.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, ensure};

use super::{ending::Ending, private::create_private_file};

/// Ends the name of a copy that is not whole yet.
pub const PARTIAL: &str = ".partial";
/// Bytes copied before it is asked whether to stop.
const SLICE: u64 = 4 << 20;

/// `quintile.db` and ".partial" make `quintile.db.partial`.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The folder that `path` is in.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// What was renamed in a folder survives a power cut only when the folder itself is on the disk.
///
/// # Errors
/// The folder cannot be read.
pub fn sync_folder_of(path: &Path) -> anyhow::Result<()> {
    #[cfg(unix)]
    {
        let folder = folder_of(path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("cannot write {}", folder.display()))?;
    }
    #[cfg(not(unix))]
    let _ = (path, File::open);
    Ok(())
}

/// Copies a file for its owner alone, and reads the copy back before it gets its name. The folder is synced after
/// that.
///
/// # Errors
/// The copy cannot be written, or is not what it was copied from, or the program is to stop; then nothing is left of
/// it.
pub fn copy_file(from: &Path, to: &Path, ending: &Ending) -> anyhow::Result<()> {
    let partial = with_suffix(to, PARTIAL);
    let _ = fs::remove_file(&partial); // of a copy that was cut off
    let copied = (|| {
        let (source, mut target) = (File::open(from)?, create_private_file(&partial)?);
        while io::copy(&mut (&source).take(SLICE), &mut target)? > 0 {
            ending.check()?;
        }
        target.sync_all()?;
        ensure!(is_same(from, &partial, ending)?, "what was read back differs; is the drive failing?");
        Ok(fs::rename(&partial, to)?)
    })();
    if copied.is_err() {
        let _ = fs::remove_file(&partial); // its own error says less
    }
    copied?;
    sync_folder_of(to)
}

/// Whether two names are of one file, or of two with the same bytes.
///
/// # Errors
/// One cannot be read, or the program is to stop.
pub fn is_same(one: &Path, other: &Path, ending: &Ending) -> io::Result<bool> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let identity = |path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
        if identity(one)? == identity(other)? {
            return Ok(true);
        }
    }
    let open = |path| File::open(path).map(|file| BufReader::with_capacity(1 << 16, file));
    let (mut one, mut other) = (open(one)?, open(other)?);
    loop {
        ending.check().map_err(io::Error::other)?;
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let length = left.len().min(right.len());
        if left[..length] != right[..length] || length == 0 {
            return Ok(left.is_empty() && right.is_empty());
        }
        one.consume(length);
        other.consume(length);
    }
}
