//! Files and folders for their owner alone: what quintile writes names people, or holds secrets.

use std::{
    fs::{self, File, OpenOptions},
    path::Path,
};

use anyhow::Context;

use super::files::{folder_of, sync_folder_of};

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
        .inspect(|_| hand_over(path))
        .with_context(|| format!("cannot create {}; its folder must exist and be writable", path.display()))
}

/// A folder that only its owner can look into, with those above it that are missing. It is there after a power
/// cut too, which what is synced in it does not promise.
///
/// # Errors
/// It cannot be made.
pub fn make_private_folder(folder: &Path) -> anyhow::Result<()> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    hand_over(folder);
    missing.into_iter().filter(|made| !made.as_os_str().is_empty()).try_for_each(sync_folder_of)
}

/// Gives what root has made at `path` to the owner of its folder: a service with a user of its own could not
/// open it otherwise. Does nothing for anybody but root, and where the disk knows no owners.
pub fn hand_over(path: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, lchown};
        const ROOT: u32 = 0;
        let folder = folder_of(path);
        if let (Ok(made), Ok(folder)) = (fs::symlink_metadata(path), fs::metadata(folder))
            && made.uid() == ROOT
            && folder.uid() != ROOT
        {
            let _ = lchown(path, Some(folder.uid()), Some(folder.gid()));
        }
    }
    #[cfg(not(unix))]
    let _ = (path, fs::metadata::<&Path>);
}
