//! Which other process has the file or is writing to it, as far as the system tells.

use std::path::Path;

/// "sqlite3, process 4711"; `None`: nobody else, or this system does not say.
pub fn writing_elsewhere(database: &Path) -> Option<String> {
    locking_elsewhere(database, &["WRITE"])
}

/// [`writing_elsewhere`] for whoever has the file open and does not write at this moment.
pub fn open_elsewhere(database: &Path) -> Option<String> {
    locking_elsewhere(database, &["READ", "WRITE"])
}

/// SQLite locks bytes of the `-shm` file, or of the database itself; Linux lists all locks with the inode of their
/// file.
#[cfg(target_os = "linux")]
fn locking_elsewhere(database: &Path, kinds: &[&str]) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let inodes: Vec<String> = [database.to_owned(), super::files::with_suffix(database, "-shm")]
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|file| file.ino().to_string())
        .collect();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().find_map(|line| locker(line, kinds, &inodes, std::process::id()))?;
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let name = if name.trim().is_empty() { "a program" } else { name.trim() };
    Some(format!("{name}, process {process}"))
}

#[cfg(not(target_os = "linux"))]
const fn locking_elsewhere(_: &Path, _: &[&str]) -> Option<String> {
    None
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
    use super::locker;

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
}
