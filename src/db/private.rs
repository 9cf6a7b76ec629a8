//! Files for their owner alone: what quintile writes names people, or holds secrets.

use std::{
    fs::{File, OpenOptions},
    path::Path,
};

use anyhow::Context;

/// To open a file for writing; one that is made can be read by its owner alone from its first moment on.
pub fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// An empty file; SQLite gives the companions of a database the same mode.
///
/// # Errors
/// It is there already, or the folder cannot be written.
pub fn create_private_file(path: &Path) -> anyhow::Result<File> {
    private_file()
        .create_new(true)
        .open(path)
        .with_context(|| format!("cannot create {}; its folder must exist and be writable", path.display()))
}
