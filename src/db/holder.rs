//! Which other process is writing to the file, as far as the system tells.

use std::path::Path;

/// "sqlite3, process 4711"; `None`: nobody else, or this system does not say.
///
/// SQLite's writers lock bytes of the `-shm` file, or of the database itself; Linux lists all locks
/// with the inode of their file.
#[cfg(target_os = "linux")]
pub fn writing_elsewhere(database: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let inodes: Vec<String> = [database.to_owned(), super::files::with_suffix(database, "-shm")]
        .iter()
        .filter_map(|file| std::fs::metadata(file).ok())
        .map(|file| file.ino().to_string())
        .collect();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let process = locks.lines().find_map(|line| writer(line, &inodes, std::process::id()))?;
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let name = if name.trim().is_empty() { "a program" } else { name.trim() };
    Some(format!("{name}, process {process}"))
}

#[cfg(not(target_os = "linux"))]
pub const fn writing_elsewhere(_: &Path) -> Option<String> {
    None
}

/// The process of a line like `1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120`, if it is another
/// one's and about one of `inodes`.
#[cfg(target_os = "linux")]
fn writer(line: &str, inodes: &[String], this: u32) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, "WRITE", process, file, ..] = fields[..] else { return None };
    let inode = file.rsplit(':').next()?;
    process.parse().ok().filter(|process| *process != this && inodes.iter().any(|known| known == inode))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::writer;

    #[test]
    fn a_line_of_the_list_tells_who_writes() {
        let ours = ["1234".to_owned()];
        for (line, process) in [
            ("1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120", Some(4711)),
            ("1: POSIX  ADVISORY  READ  4711 08:01:1234 123 123", None),
            ("1: POSIX  ADVISORY  WRITE 4711 08:01:9999 120 120", None),
            ("1: POSIX  ADVISORY  WRITE 99 08:01:1234 120 120", None),
            ("1: -> POSIX  ADVISORY  WRITE 5 08:01:1234 120 120", None), // waits itself
            ("", None),
        ] {
            assert_eq!(writer(line, &ours, 99), process, "{line}");
        }
    }
}
