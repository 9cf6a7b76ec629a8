//! Where a database file may lie. Its write-ahead log wants memory that all who have the file share,
//! and a disk that has what it says it has: another machine's disk promises neither.

use std::{fs, path::Path};

use anyhow::{anyhow, bail};
use rusqlite::ffi;

/// Disks of other machines, as Linux names them.
const NETWORK: [&str; 8] = ["afs", "ceph", "cifs", "fuse.rclone", "fuse.sshfs", "nfs", "nfs4", "smb3"];

/// Refuses what is no file, of which SQLite says that the disk fails, or which it waits for without end; `instead`
/// says what to do. To be asked before anybody opens it.
///
/// # Errors
/// `path` is a folder, a pipe or a device. What is not there may become a file.
pub fn refuse_no_file(path: &Path, instead: &str) -> anyhow::Result<()> {
    match fs::metadata(path) {
        Ok(seen) if seen.is_dir() => bail!("{} is a folder; {instead}", path.display()),
        Ok(seen) if !seen.is_file() => bail!("{} is no file; {instead}", path.display()),
        _ => Ok(()),
    }
}

/// [`refuse_no_file`] of the database.
pub(super) fn check_is_file(path: &Path) -> anyhow::Result<()> {
    refuse_no_file(path, "[database] path must name a file")
}

/// # Errors
/// `path` is no file, or a file on another machine's disk. SQLite itself would take it: what breaks there shows
/// on the day the network does.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    check_is_file(path)?;
    match file_system(path) {
        Some(name) if NETWORK.contains(&name.as_str()) => bail!("{} ({name})", hint(path)),
        _ => Ok(()),
    }
}

/// What is said of a file that cannot be put into WAL mode where it lies.
pub(super) fn refusal(path: &Path) -> anyhow::Error {
    anyhow!(hint(path))
}

fn hint(path: &Path) -> String {
    format!(
        "{} is on a network drive or another disk that cannot share memory; put it on a disk of this machine",
        path.display()
    )
}

/// Whether this is how SQLite finds that processes cannot share memory through files on this disk.
/// A full disk, which it also finds there, has a code of its own.
pub(super) fn shares_no_memory(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|error| [ffi::SQLITE_IOERR_SHMMAP, ffi::SQLITE_IOERR_SHMLOCK].contains(&error.extended_code))
}

/// The name of the file system that has `path`, or will have it; where the system tells.
#[cfg(target_os = "linux")]
fn file_system(path: &Path) -> Option<String> {
    let folder = super::folder_of(path);
    let device = rustix::fs::stat(path).or_else(|_| rustix::fs::stat(folder)).ok()?.st_dev;
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    // See proc_pid_mountinfo(5): the third word is the device; the name is the first after " - ".
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|mount| {
        let (place, kind) = mount.split_once(" - ")?;
        let is_it = place.split(' ').nth(2) == Some(device.as_str());
        is_it.then(|| kind.split(' ').next().map(str::to_owned))?
    })
}

#[cfg(not(target_os = "linux"))]
const fn file_system(_: &Path) -> Option<String> {
    None
}
