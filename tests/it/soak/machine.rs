//! The machine that the program runs on. Its clock is ours: libfaketime shows the program another time
//! of day, so that a night comes whenever one is wanted, and lets all waiting take its true time.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use quintile::{clock, model::Timestamp};
use tempfile::TempDir;

use crate::support::process::{QUINTILE, quintile};

const SECOND: i64 = 1000;
/// A process looks at the clock's file once a second, and what it saw may just be on its way to the file.
const NOTICED_AFTER: i64 = 2 * SECOND;

pub struct Machine {
    library: String,
    /// Libfaketime looks into it once a second.
    clock: PathBuf,
    /// Seconds that the clock is ahead of the true time.
    ahead: AtomicI64,
    /// Since when, and how far ahead it was before.
    before: Mutex<(Timestamp, i64)>,
    _folder: TempDir,
}

impl Machine {
    pub fn new() -> Self {
        let asked = Command::new("faketime").args(["-m", "-f", "+0", "printenv", "LD_PRELOAD"]).output();
        let answer = asked.expect("faketime is installed: tests/run --soak does it");
        let library = String::from_utf8(answer.stdout).unwrap().trim().to_owned();
        assert!(!library.is_empty(), "faketime did not begin: {}", String::from_utf8_lossy(&answer.stderr));
        let folder = tempfile::tempdir().unwrap();
        let machine = Self {
            library,
            clock: folder.path().join("clock"),
            ahead: AtomicI64::new(0),
            before: Mutex::new((clock::now(), 0)),
            _folder: folder,
        };
        machine.go_ahead(0);
        machine
    }

    /// What its clock shows.
    pub fn now(&self) -> Timestamp {
        clock::now().plus_millis(self.ahead.load(Ordering::SeqCst) * SECOND)
    }

    /// What a running program believes that it shows, at the earliest.
    pub fn at_least(&self) -> Timestamp {
        let (since, before) = *self.before.lock().unwrap();
        let unnoticed = clock::now() < since.plus_millis(NOTICED_AFTER);
        if unnoticed { clock::now().plus_millis(before * SECOND) } else { self.now() }
    }

    /// The clock goes ahead by so many seconds; a running program notices within a second.
    pub fn go_ahead(&self, seconds: i64) {
        *self.before.lock().unwrap() = (clock::now(), self.ahead.load(Ordering::SeqCst));
        let ahead = self.ahead.fetch_add(seconds, Ordering::SeqCst) + seconds;
        let next = self.clock.with_extension("next");
        std::fs::write(&next, format!("+{ahead}\n")).unwrap();
        std::fs::rename(&next, &self.clock).unwrap();
    }

    /// The clock goes ahead to so many seconds before the next two o'clock, or after it if negative.
    pub fn go_to_night(&self, seconds_before: i64) {
        let of_day = self.now().millis() % Timestamp::DAY / SECOND;
        let night = 2 * 3600 - seconds_before;
        let day = Timestamp::DAY / SECOND;
        self.go_ahead((night - of_day).rem_euclid(day).max(1));
    }

    /// A command on the configuration in `folder`, under this clock. A file too large is an error to it, not
    /// its death: as on a disk that is full.
    pub fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let plain = quintile(folder, arguments);
        let mut shell = Command::new("sh");
        shell.current_dir(folder).stdin(Stdio::null()).args(["-c", "trap '' XFSZ; exec \"$@\"", "sh", QUINTILE]);
        shell.args(plain.get_args());
        for (name, _) in plain.get_envs() {
            shell.env_remove(name);
        }
        shell
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.clock)
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        shell
    }

    /// Removes what libfaketime leaves of a process that is killed, or no process of its number could begin.
    pub fn clean_up_after(process: u32) {
        for name in [format!("faketime_shm_{process}"), format!("sem.faketime_sem_{process}")] {
            let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
        }
    }

    /// Runs a command that must succeed; returns what it says on its standard output.
    pub fn run(&self, folder: &Path, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(folder, arguments).output().map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(format!("{arguments:?}: {}: {}{}", output.status, text(&output.stdout), text(&output.stderr)))
        }
    }
}

/// No file of the process can grow any more; with `false` they can again. Whether the system did so.
pub fn fill_disk(process: u32, full: bool) -> bool {
    let limit = if full { "--fsize=1:" } else { "--fsize=unlimited:" };
    Command::new("prlimit").args(["--pid", &process.to_string(), limit]).status().is_ok_and(|status| status.success())
}

/// Memory of the process that is in use, in KiB; `None`: it is gone.
pub fn resident_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// For what has to happen between processes before the next look.
pub fn a_moment() {
    std::thread::sleep(Duration::from_millis(50));
}
