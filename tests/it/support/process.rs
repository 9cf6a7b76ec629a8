//! The real binary as a child process: started, listened to, stopped, killed.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// The binary under test.
pub const QUINTILE: &str = env!("CARGO_BIN_EXE_quintile");
/// How long a child may take for what takes it a moment; only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command on the configuration in `folder`, with nothing of the tester's environment.
pub fn quintile(folder: &Path, arguments: &[&str]) -> Command {
    quintile_by(QUINTILE, &[], folder, arguments)
}

/// The same, started by another program, which has arguments of its own.
pub fn quintile_by(program: &str, before: &[&str], folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).args(before).args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUINTILE_")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command to its end.
pub fn run(folder: &Path, arguments: &[&str]) -> Output {
    quintile(folder, arguments).output().expect("the binary starts")
}

/// Runs a command that must succeed, and reads the JSON it prints.
pub fn run_json(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let output = run(folder, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", String::from_utf8_lossy(&output.stdout)))
}

/// A `quintile serve` that may not serve yet.
pub struct Starting {
    child: Child,
    /// Its standard error so far.
    errors: Arc<Mutex<String>>,
}

impl Starting {
    pub fn by(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        // Drained on a thread of its own, so that a talkative child never blocks.
        let lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
        let errors = Arc::new(Mutex::new(String::new()));
        let said = errors.clone();
        std::thread::spawn(move || {
            lines.for_each(|line| {
                eprintln!("serve: {line}");
                let mut said = said.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            });
        });
        Self { child, errors }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to its standard error.
    pub fn said(&self) -> String {
        self.errors.lock().unwrap().clone()
    }

    /// SIGTERM; returns how the process ended.
    pub fn terminate(mut self) -> ExitStatus {
        terminate(&mut self.child)
    }

    /// Waits until it has said where it listens; `None` when it ended before that.
    pub fn serves(mut self) -> Option<Server> {
        let (mut dashboard, mut webhooks) = (None, None);
        let mut lines = BufReader::new(self.child.stdout.take().expect("piped")).lines();
        while dashboard.is_none() || webhooks.is_none() {
            let Some(Ok(line)) = lines.next() else {
                let _ = self.child.wait();
                return None;
            };
            match line.split_once(char::is_whitespace).map(|(name, address)| (name, address.trim().to_owned())) {
                Some(("dashboard", address)) => dashboard = Some(address),
                Some(("webhooks", address)) => webhooks = Some(address),
                _ => {}
            }
        }
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Some(Server { process: self, dashboard: dashboard?, webhooks: webhooks? })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        kill(&mut self.child);
    }
}

/// A running `quintile serve`. Killed when dropped.
pub struct Server {
    process: Starting,
    pub dashboard: String,
    pub webhooks: String,
}

impl Server {
    /// Starts `quintile serve` and waits until it has said where it listens; `None` when it ended
    /// before that (its standard error says why).
    pub fn try_start(folder: &Path) -> Option<Self> {
        Self::try_start_as(quintile(folder, &["serve"]))
    }

    /// [`Self::try_start`] by a command of one's own.
    pub fn try_start_as(command: Command) -> Option<Self> {
        Starting::by(command).serves()
    }

    pub fn start(folder: &Path) -> Self {
        Self::try_start(folder).expect("serve starts")
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// What it has written to its standard error.
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Waits until it ends by itself; returns how, and what it said.
    pub fn end(&mut self) -> (ExitStatus, String) {
        let status = wait(&mut self.process.child);
        std::thread::sleep(Duration::from_millis(50)); // for the thread that reads what it said
        (status, self.said())
    }

    /// SIGTERM, as a service manager sends it; returns how the process ended.
    pub fn terminate(mut self) -> ExitStatus {
        terminate(&mut self.process.child)
    }

    /// SIGKILL: no instruction of the process runs after this.
    pub fn signal_kill(&self) {
        signal(self.id(), "KILL");
    }

    /// [`Self::signal_kill`], and waits until the process is gone.
    pub fn kill(mut self) {
        kill(&mut self.process.child);
    }
}

fn terminate(child: &mut Child) -> ExitStatus {
    signal(child.id(), "TERM");
    wait(child)
}

/// Sends a signal by its name ("TERM").
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

/// SIGKILL, and waits until the process is gone.
pub fn kill(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn wait(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be asked") {
            return status;
        }
        assert!(start.elapsed() < PATIENCE, "the process did not end");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Asks again until `ready` answers `Some`: for what happens in another process.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}
