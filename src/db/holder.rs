//! Which other process has the file or is writing to it, as far as the system tells.

use std::path::Path;

/// "sqlite3, process 4711"; `None`: nobody else, or this system does not say.
pub fn writing_elsewhere(database: &Path) -> Option<String> {
    locking_elsewhere(database, &["WRITE"]).into_iter().next()
}

/// [`writing_elsewhere`] for all who have the file open and need not write at this moment.
pub fn open_elsewhere(database: &Path) -> Vec<String> {
    locking_elsewhere(database, &["READ", "WRITE"])
}

/// SQLite locks bytes of the `-shm` file, or of the database itself; Linux lists all locks with the inode of their
/// file.
#[cfg(target_os = "linux")]
fn locking_elsewhere(database: &Path, kinds: &[&str]) -> Vec<String> {
    let files: Vec<Numbers> = [database.to_owned(), super::files::with_suffix(database, "-shm")]
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok().map(|file| numbers(&file)))
        .collect();
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let named = |process| {
        let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        let name = if name.trim().is_empty() { "a program" } else { name.trim() };
        format!("{name}, process {process}")
    };
    lockers(&locks, kinds, &files, std::process::id()).into_iter().map(named).collect()
}

#[cfg(not(target_os = "linux"))]
const fn locking_elsewhere(_: &Path, _: &[&str]) -> Vec<String> {
    Vec::new()
}

/// Of the device of a file, and of the file on it.
#[cfg(target_os = "linux")]
type Numbers = (u64, u64);

#[cfg(target_os = "linux")]
fn numbers(file: &std::fs::Metadata) -> Numbers {
    use std::os::unix::fs::MetadataExt;
    (file.dev(), file.ino())
}

/// Whether it is one of these that `process` has, and not one of the same inode on another disk: the list of locks
/// calls some disks by other numbers than files do. Who may not look believes the list.
#[cfg(target_os = "linux")]
fn has_open(process: u32, files: &[Numbers]) -> bool {
    let Ok(open) = std::fs::read_dir(format!("/proc/{process}/fd")) else { return true };
    open.filter_map(|entry| std::fs::metadata(entry.ok()?.path()).ok()).any(|file| files.contains(&numbers(&file)))
}

/// The other processes that have locks of these kinds on one of `files`.
#[cfg(target_os = "linux")]
fn lockers(locks: &str, kinds: &[&str], files: &[Numbers], this: u32) -> Vec<u32> {
    let inodes: Vec<String> = files.iter().map(|(_, inode)| inode.to_string()).collect();
    let processes = locks.lines().filter_map(|line| locker(line, kinds, &inodes, this));
    processes.filter(|process| has_open(*process, files)).collect()
}

/// The process of a line like `1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120`, if it is another
/// one's, of these kinds, and about one of `inodes`.
#[cfg(target_os = "linux")]
fn locker(line: &str, kinds: &[&str], inodes: &[String], this: u32) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let ["POSIX", _, kind, process, file, ..] = *fields.get(1..)? else { return None };
    if !kinds.contains(&kind) {
        return None;
    }
    let inode = file.rsplit(':').next()?;
    process.parse().ok().filter(|process| *process != this && inodes.iter().any(|known| known == inode))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{locker, lockers, numbers};

    #[test]
    fn a_line_of_the_list_tells_who_has_the_file() {
        let ours = ["1234".to_owned()];
        for (line, writer, reader) in [
            ("1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120", Some(4711), None),
            ("1: POSIX  ADVISORY  READ  4711 08:01:1234 123 123", None, Some(4711)),
            ("1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF", None, None), // not of SQLite's
            ("1: POSIX  ADVISORY  WRITE 4711 08:01:9999 120 120", None, None),
            ("1: POSIX  ADVISORY  WRITE 99 08:01:1234 120 120", None, None),
            ("1: -> POSIX  ADVISORY  WRITE 5 08:01:1234 120 120", None, None), // waits itself
            ("", None, None),
        ] {
            for (kind, process) in [("WRITE", writer), ("READ", reader)] {
                assert_eq!(locker(line, &[kind], &ours, 99), process, "{line}");
            }
        }
    }

    #[test]
    fn a_file_of_the_same_inode_on_another_disk_is_not_meant() {
        const NOBODY: u32 = 1 << 30; // whose files cannot be looked at
        let file = tempfile::tempfile().unwrap();
        let (device, inode) = numbers(&file.metadata().unwrap());
        let this = std::process::id();
        let lines = [this, NOBODY].map(|process| format!("1: POSIX  ADVISORY  READ {process} 08:01:{inode} 123 123\n"));
        let found = |device| lockers(&lines.concat(), &["READ"], &[(device, 1), (device, inode)], 0);
        assert_eq!(found(device), [this, NOBODY]);
        assert_eq!(found(device + 1), [NOBODY]);
    }
}
