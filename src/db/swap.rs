//! Another database in the place of the present one, with what stands beside it: several renames, and a kill or a
//! power cut may come between any two. From the first one on it is the new one that counts, and whoever opens the
//! database next does what is left.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};

use super::{
    ending::Ending,
    files::{copy_file, folder_of, is_same, is_without_bytes, sync_folder_of, with_suffix},
    migrate::APPLICATION_ID,
};

/// What SQLite keeps beside a database; without them it may lack what was written last.
pub(super) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];
/// Before the time at which another database came into its place.
pub(super) const BEFORE_RESTORE: &str = ".before-restore-";
/// The same, of the one that comes, until it has its name.
const COMING: &str = ".coming-";
/// How such a time looks.
const TIME: &str = "00000000T000000Z";

/// Puts `new`, a whole database that nobody has open, in the place of `database`, whose lock is held. Returns
/// under which name the old one is kept; `None`: there was none.
///
/// # Errors
/// The folder cannot be written; the message says what is where.
pub(super) fn swap(new: &Path, database: &Path, time: &str) -> anyhow::Result<Option<PathBuf>> {
    let time = &free(database, time);
    let coming = with_suffix(database, &format!("{COMING}{time}"));
    let cannot = || format!("cannot put {} in the place of {}", new.display(), database.display());
    fs::rename(new, &coming).with_context(cannot)?;
    match sync_folder_of(database).and_then(|()| keep(database, &kept(database, time))) {
        // Nothing has happened to the old one yet.
        Err(error) => {
            fs::rename(&coming, new).with_context(|| format!("{}; the next start goes on with it", cannot()))?;
            let _ = sync_folder_of(database); // its own error says less
            Err(error)
        }
        Ok(had_one) => {
            come(&coming, database, time)?;
            Ok(had_one.then(|| kept(database, time)))
        }
    }
}

/// `time`, with a number where a database is kept of that second already.
fn free(database: &Path, time: &str) -> String {
    let is_taken = |time: &str| {
        let kept = kept(database, time);
        let mut names = COMPANIONS.iter().chain(&[""]).map(|companion| with_suffix(&kept, companion));
        names.any(|name| fs::symlink_metadata(name).is_ok())
    };
    let (mut free, mut number) = (time.to_owned(), 1);
    while is_taken(&free) {
        number += 1;
        free = format!("{time}-{number}");
    }
    free
}

/// Goes on with a [`swap`] that was cut off, if there is one. For whoever has the lock of `database`, before it is
/// opened.
///
/// # Errors
/// Those of [`swap`]; what is to come is no database of quintile's.
pub(super) fn finish(database: &Path) -> anyhow::Result<()> {
    if let Some((coming, time)) = unfinished(database)? {
        ensure!(
            is_ours(&coming).with_context(|| format!("cannot read {}", coming.display()))?,
            "{} is no quintile database and cannot come into the place of {}; move it away",
            coming.display(),
            database.display()
        );
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
        if let Some(time) = name.strip_prefix(&start).filter(|time| is_time(time)) {
            return Ok(Some((path.clone(), time.to_owned())));
        }
    }
    Ok(None)
}

/// Whether a database would be made at `path` that is not there, nor about to come out of a backup.
///
/// # Errors
/// The folder cannot be read.
pub fn is_missing(path: &Path) -> anyhow::Result<bool> {
    let is_alone = is_without_bytes(path) && is_without_bytes(&with_suffix(path, "-wal"));
    Ok(is_alone && unfinished(path)?.is_none())
}

/// Whether a file begins as a database of quintile's does. SQLite would make files beside it to tell.
fn is_ours(path: &Path) -> io::Result<bool> {
    let mut header = [0; 72];
    match File::open(path)?.read_exact(&mut header) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    Ok(header.starts_with(b"SQLite format 3\0") && header[68..] == APPLICATION_ID.to_be_bytes())
}

/// What [`free`] gives; somebody else's file may go on in another way.
fn is_time(text: &str) -> bool {
    let (time, number) = text.split_at_checked(TIME.len()).unwrap_or((text, ""));
    time.len() == TIME.len()
        && time.bytes().zip(TIME.bytes()).all(|(byte, like)| byte == like || like == b'0' && byte.is_ascii_digit())
        && (number.is_empty() || number.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok()))
}

fn kept(database: &Path, time: &str) -> PathBuf {
    with_suffix(database, &format!("{BEFORE_RESTORE}{time}"))
}

/// Gives the old one a second name, or a copy on a disk that knows none: at every instant there is a database under
/// the first. Whether there was one.
fn keep(database: &Path, kept: &Path) -> anyhow::Result<bool> {
    if !database.exists() {
        return Ok(false);
    }
    let cannot = || format!("cannot keep {} as {}", database.display(), kept.display());
    match fs::hard_link(database, kept) {
        Ok(()) => {}
        // By a swap that was cut off.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            ensure!(
                is_same(database, kept, &Ending::default()).with_context(cannot)?,
                "{}, which is there already",
                cannot()
            );
        }
        // No disk has names for a file of another one, and nothing can be renamed over it.
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            bail!(
                "{} is mounted by itself, so nothing can come into its place; mount its folder instead",
                database.display()
            );
        }
        Err(_) => copy_file(database, kept, &Ending::default()).with_context(cannot)?,
    }
    Ok(true)
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
        Ok(())
    };
    // A disk may bring the last rename before those of the log, which would be taken for that of the new one.
    let moved = move_all().map_err(anyhow::Error::from).and_then(|()| sync_folder_of(database));
    let came = moved.and_then(|()| Ok(fs::rename(coming, database)?));
    came.with_context(|| {
        format!(
            "cannot put {} in the place of {}, which is kept as {}; the next start goes on with it",
            coming.display(),
            database.display(),
            kept.display()
        )
    })?;
    sync_folder_of(database).with_context(|| {
        format!("{} is what was restored, and a power cut may still take that back", database.display())
    })
}

#[cfg(test)]
mod tests {
    use super::is_time;

    #[test]
    fn only_what_a_restore_writes_is_gone_on_with() {
        for (text, is_one) in [
            ("20261126T020512Z", true),
            ("20261126T020512Z-2", true),
            ("20261126T020512Z-", false),
            ("20261126T020512Z-x", false),
            ("20261126T020512Z.partial", false),
            ("20261126T020512", false),
            ("2026112\u{e9}T02051Z", false),
            ("soon", false),
            ("", false),
        ] {
            assert_eq!(is_time(text), is_one, "{text}");
        }
    }
}
