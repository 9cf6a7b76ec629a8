//! What the real program does to its files and says to others, in the order it does: its system calls,
//! as strace saw them.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::{Component, Path, PathBuf},
    process::Command,
};

use super::process::{QUINTILE, eventually, quintile_by};

/// What changes a file, a name or where a descriptor leads, and what comes and goes over connections.
/// Whatever of it [`Reader`] does not understand fails the test, so nothing is left out in silence.
const CALLS: &str = "trace=/^(open|creat$|close$|lseek|p?write|f?truncate|fallocate|copy_file_range|sendfile|\
                     splice|sync|msync|fsync|fdatasync|rename|link|unlink|symlink|mkdir|rmdir|sendto|recvfrom)";
/// Longer than anything that is written at once.
const LONGEST: &str = "16777216";
/// What to do where it does not work.
pub const NEEDED: &str = "strace has to see what the program writes: install it (Debian's package `strace`; \
                      `tests/run --libraries` does) and let it trace (a container needs --cap-add=SYS_PTRACE)";

/// What a call did when it was done. Paths are within the folder that was watched.
#[derive(Debug)]
pub enum Operation {
    /// A file or folder, which is made or emptied where the call says so.
    Open {
        descriptor: i32,
        path: PathBuf,
        makes: bool,
        empties: bool,
    },
    /// As it begins: from then on the number may lead elsewhere.
    Close {
        descriptor: i32,
    },
    Seek {
        descriptor: i32,
        to: u64,
    },
    /// `at`: `None`: where the descriptor stands.
    Write {
        descriptor: i32,
        at: Option<u64>,
        bytes: Vec<u8>,
    },
    SetLength {
        descriptor: i32,
        length: u64,
    },
    /// Of what had been done when it `began`, as an index into all operations.
    Sync {
        descriptor: i32,
        began: usize,
    },
    MakeFolder {
        path: PathBuf,
    },
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    /// To somebody outside, as it begins: the bytes may be there before the call is over.
    Say {
        descriptor: i32,
        bytes: Vec<u8>,
    },
    /// From somebody outside.
    Hear {
        descriptor: i32,
        bytes: Vec<u8>,
    },
}

/// A command in `folder` under strace, which writes into `log`. The child is the command's own process.
pub fn recorded(folder: &Path, log: &Path, arguments: &[&str]) -> Command {
    let version = Command::new("strace").arg("-V").output();
    assert!(version.is_ok_and(|output| output.status.success()), "{NEEDED}");
    let log = log.to_str().expect("a name of ours");
    // By a filter in the kernel, other calls are as fast as ever.
    let strace = ["-D", "-f", "--seccomp-bpf", "-xx", "-s", LONGEST, "-e", CALLS, "-o", log, QUINTILE];
    quintile_by("strace", &strace, folder, arguments)
}

/// What the process did, which has ended. `folder` is the one to watch.
pub fn operations(folder: &Path, log: &Path, process: u32) -> Vec<Operation> {
    // The tracer is a process of its own, which may still be writing.
    let end = format!("{process} +++ ");
    let text = eventually(NEEDED, || {
        let text = fs::read_to_string(log).unwrap_or_default();
        let ended = text.lines().rev().take(200).any(|line| words(line).starts_with(&end));
        ended.then_some(text)
    });
    read(folder, &text)
}

fn read(folder: &Path, text: &str) -> Vec<Operation> {
    let mut reader = Reader { folder, operations: Vec::new(), open: BTreeSet::new(), unfinished: HashMap::new() };
    text.lines().for_each(|line| reader.line(line));
    reader.operations
}

/// Threads are padded to a width.
fn words(line: &str) -> String {
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ") + " "
}

struct Reader<'a> {
    folder: &'a Path,
    operations: Vec<Operation>,
    /// Descriptors of files, wherever they are.
    open: BTreeSet<i32>,
    /// By thread.
    unfinished: HashMap<&'a str, Unfinished<'a>>,
}

/// A call during which another thread did something.
struct Unfinished<'a> {
    text: &'a str,
    began: usize,
}

impl<'a> Reader<'a> {
    fn line(&mut self, line: &'a str) {
        let (thread, rest) = line.split_once(' ').unwrap_or_else(|| panic!("no line of strace: {line}"));
        let rest = rest.trim_start();
        let began = self.operations.len();
        if rest.starts_with("+++") || rest.starts_with("---") {
            return;
        }
        if let Some(text) = rest.strip_suffix(" <unfinished ...>") {
            self.begin(text);
            self.unfinished.insert(thread, Unfinished { text, began });
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let Unfinished { text, began } = self.unfinished.remove(thread).expect("it was begun");
            let (_, rest) = resumed.split_once(" resumed>").expect("it goes on");
            self.end(&format!("{text}{rest}"), began);
        } else {
            self.begin(rest);
            self.end(rest, began);
        }
    }

    /// What takes effect as soon as it is called.
    fn begin(&mut self, text: &str) {
        let Some((name, arguments)) = text.split_once('(') else { panic!("no call: {text}") };
        let descriptor = || number(arguments).unwrap_or_else(|| panic!("no descriptor: {text}"));
        match name {
            "close" => {
                self.open.remove(&descriptor());
                self.operations.push(Operation::Close { descriptor: descriptor() });
            }
            "sendto" | "write" | "writev" if !self.open.contains(&descriptor()) => {
                self.operations.push(Operation::Say { descriptor: descriptor(), bytes: strings(arguments).concat() });
            }
            _ => {}
        }
    }

    fn end(&mut self, text: &str, began: usize) {
        let (call, result) = text.rsplit_once(" = ").unwrap_or_else(|| panic!("a call without a result: {text}"));
        // Failed, or the process was killed in it.
        let Some(result) = number::<u64>(result) else { return };
        let (name, arguments) = call.trim_end().trim_end_matches(')').split_once('(').expect("a call");
        let strings = strings(arguments);
        let folder = self.folder;
        let path = |index: usize| within(folder, &strings[index]);
        let numbers: Vec<&str> = arguments.split(", ").collect();
        let descriptor: i32 = numbers.first().and_then(|text| number(text)).unwrap_or_default();
        let is_file = self.open.contains(&descriptor);
        let operation = match name {
            "openat" | "open" => {
                let descriptor = i32::try_from(result).expect("a descriptor");
                self.open.insert(descriptor);
                assert!(!arguments.contains("O_APPEND"), "where it writes is not known: {text}");
                path(0).map(|path| Operation::Open {
                    descriptor,
                    path,
                    makes: arguments.contains("O_CREAT"),
                    empties: arguments.contains("O_TRUNC"),
                })
            }
            "lseek" => Some(Operation::Seek { descriptor, to: result }),
            "pwrite64" | "write" if is_file => {
                let bytes = strings[0][..usize::try_from(result).expect("a length")].to_vec();
                let at = (name == "pwrite64").then(|| numbers.last().and_then(|text| number(text)).expect("a place"));
                Some(Operation::Write { descriptor, at, bytes })
            }
            "ftruncate" => Some(Operation::SetLength { descriptor, length: number(numbers[1]).expect("a length") }),
            "fsync" | "fdatasync" => Some(Operation::Sync { descriptor, began }),
            "unlink" | "unlinkat" => path(0).map(|path| Operation::Unlink { path }),
            "mkdir" | "mkdirat" => path(0).map(|path| Operation::MakeFolder { path }),
            "link" | "linkat" => both(path(0), path(1)).map(|(from, to)| Operation::Link { from, to }),
            "rename" | "renameat" | "renameat2" => {
                both(path(0), path(1)).map(|(from, to)| Operation::Rename { from, to })
            }
            "recvfrom" => Some(Operation::Hear { descriptor, bytes: strings.concat() }),
            // Told when they began. The number of what was closed may be that of another file by now.
            "close" | "sendto" => None,
            "write" | "writev" if !is_file => None,
            _ => panic!("a call that the model of a disk does not have: {text}"),
        };
        self.operations.extend(operation);
    }
}

/// `None`: elsewhere.
fn within(folder: &Path, name: &[u8]) -> Option<PathBuf> {
    let path = folder.join(std::str::from_utf8(name).expect("names of ours"));
    let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    path.strip_prefix(folder).ok().map(Path::to_owned)
}

fn both(one: Option<PathBuf>, other: Option<PathBuf>) -> Option<(PathBuf, PathBuf)> {
    assert_eq!(one.is_some(), other.is_some(), "a name that leaves the folder");
    one.zip(other)
}

/// The number that a text begins with.
fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().ok()
}

/// The quoted ones, all in hexadecimal.
fn strings(text: &str) -> Vec<Vec<u8>> {
    let mut pieces = text.split('"');
    let mut strings = Vec::new();
    while let (Some(_), Some(quoted)) = (pieces.next(), pieces.next()) {
        strings.push(quoted.as_bytes().chunks(4).map(|letter| 16 * digit(letter[2]) + digit(letter[3])).collect());
    }
    assert!(!text.contains("\"..."), "cut off: longer than {LONGEST}");
    strings
}

const fn digit(letter: u8) -> u8 {
    if letter.is_ascii_digit() { letter - b'0' } else { letter - b'a' + 10 }
}

#[test]
fn calls_of_several_threads_are_told_apart() {
    const LOG: &str = r#"10    openat(AT_FDCWD, "\x2f\x73\x2f\x61", O_RDWR|O_CREAT|O_CLOEXEC, 0600) = 3
10    pwrite64(3, "\x68\x69", 2, 8 <unfinished ...>
11    fsync(3 <unfinished ...>
10    <... pwrite64 resumed>)          = 2
12    sendto(5, "\x48", 1, MSG_NOSIGNAL, NULL, 0 <unfinished ...>
11    <... fsync resumed>)             = 0
12    <... sendto resumed>)            = 1
10    rename("\x61", "\x2f\x73\x2f\x62") = 0
10    openat(AT_FDCWD, "\x2f\x65\x74\x63", O_RDONLY) = -1 ENOENT (No such file or directory)
11    recvfrom(5,  <unfinished ...>
10    write(1, "\x0a", 1)               = 1
11    <... recvfrom resumed>"\x68\x6f", 9, 0, NULL, NULL) = 2
10    close(3)                          = 0
10    +++ exited with 0 +++"#;
    let done: Vec<String> = read(Path::new("/s"), LOG).iter().map(|operation| format!("{operation:?}")).collect();
    let expected = [
        r#"Open { descriptor: 3, path: "a", makes: true, empties: false }"#,
        "Write { descriptor: 3, at: Some(8), bytes: [104, 105] }",
        "Say { descriptor: 5, bytes: [72] }",
        "Sync { descriptor: 3, began: 1 }",
        r#"Rename { from: "a", to: "b" }"#,
        "Say { descriptor: 1, bytes: [10] }",
        "Hear { descriptor: 5, bytes: [104, 111] }",
        "Close { descriptor: 3 }",
    ];
    assert_eq!(done, expected);
}
