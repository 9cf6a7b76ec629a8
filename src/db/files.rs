//! Files beside each other: what they are called, copies that have their name once they are whole, renames that
//! last.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, ErrorKind, Read, Write},
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

/// Whether there is nothing in a file, or no file.
pub fn is_without_bytes(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(file) => file.len() == 0,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Removes a file; one that is not there is fine.
///
/// # Errors
/// It cannot be removed.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
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
    make_whole(to, |partial, target| {
        let source = File::open(from)?;
        while io::copy(&mut (&source).take(SLICE), target)? > 0 {
            ending.check()?;
        }
        target.sync_all()?;
        ensure!(is_same(from, partial, ending)?, "what was read back differs; is the drive failing?");
        Ok(())
    })
}

/// Writes a small file for its owner alone, which is there whole or not at all, in a power cut too.
///
/// # Errors
/// It cannot be written; then nothing is left of it.
pub fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    make_whole(path, |_, file| {
        file.write_all(bytes)?;
        Ok(file.sync_all()?)
    })
}

/// A file for its owner alone that `write` writes and syncs under another name, which it is given, until it is whole.
/// One that was there is replaced.
///
/// # Errors
/// It cannot be written; then nothing is left of it.
pub fn make_whole(path: &Path, write: impl FnOnce(&Path, &mut File) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let partial = with_suffix(path, PARTIAL);
    let _ = fs::remove_file(&partial); // of one that was cut off
    let made = create_private_file(&partial)
        .and_then(|mut file| write(&partial, &mut file))
        .and_then(|()| Ok(fs::rename(&partial, path)?));
    if made.is_err() {
        let _ = fs::remove_file(&partial); // its own error says less
    }
    made?;
    sync_folder_of(path)
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
