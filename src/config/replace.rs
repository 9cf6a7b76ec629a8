//! A file with a secret in it, rewritten whole: after a power cut there is the old one or the new
//! one, with the owner and the mode it had.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use anyhow::Context as _;

pub fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let failed = || format!("cannot rewrite {}; it is as it was", path.display());
    // Where it really is: a link stays one.
    let path = fs::canonicalize(path).with_context(failed)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("/"));
    let mut file = tempfile::Builder::new().prefix(".quintile-").tempfile_in(folder).with_context(failed)?;
    keep_owner(&fs::metadata(&path).with_context(failed)?, file.as_file()).with_context(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).with_context(failed)?;
    file.persist(&path).with_context(failed)?;
    // The rename itself; not every file system can be asked for it.
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Run as root it must not lock out the user that the service runs as.
#[cfg(unix)]
fn keep_owner(of: &fs::Metadata, file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let ours = file.metadata()?;
    if (ours.uid(), ours.gid()) != (of.uid(), of.gid()) {
        std::os::unix::fs::fchown(file, Some(of.uid()), Some(of.gid()))?;
    }
    file.set_permissions(of.permissions())
}

#[cfg(not(unix))]
fn keep_owner(of: &fs::Metadata, file: &File) -> std::io::Result<()> {
    file.set_permissions(of.permissions())
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn mode_and_link_stay_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("secret"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        assert!(replace(&folder.path().join("none"), "x").is_err());
    }
}
