//! The real program at work under strace, and its folder after power cuts at moments of that work.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    process::{Command, Stdio},
};

use quintile::db::{Database, Reader};
use tempfile::TempDir;

use crate::support::{
    disk::{Disk, Luck},
    folder::Folder,
    merchant::Merchant,
    process::{self, Server},
    write_log::{NEEDED, Operation, operations, recorded},
};

/// A look in so many is followed by the program's going on.
const GOES_ON: u32 = 12;

/// What the program did in a folder.
pub struct Recording {
    before: Disk,
    pub operations: Vec<Operation>,
}

/// A moment at which the power goes, and what it leaves.
pub struct Cut<'a> {
    pub folder: &'a Path,
    /// What had been done.
    pub done: &'a [Operation],
    /// To be followed by the program's going on.
    pub goes_on: bool,
}

impl Recording {
    /// A command that succeeds.
    pub fn of(merchant: &Merchant, arguments: &[&str]) -> Self {
        Self::made(merchant, arguments, |mut command| {
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            let process = child.id();
            let output = child.wait_with_output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{arguments:?}: {said}\n{NEEDED}");
            process
        })
    }

    /// A server, which `live` has until it is killed.
    pub fn of_server(merchant: &Merchant, live: impl FnOnce(&Server)) -> Self {
        Self::made(merchant, &["serve"], |command| {
            let server = Server::try_start_as(command).expect(NEEDED);
            live(&server);
            let process = server.id();
            server.kill();
            process
        })
    }

    /// `live` returns the process when it has ended.
    fn made(merchant: &Merchant, arguments: &[&str], live: impl FnOnce(Command) -> u32) -> Self {
        let logs = TempDir::new().unwrap();
        let log = logs.path().join("log");
        let before = Disk::of(merchant.path());
        let process = live(recorded(merchant.path(), &log, arguments));
        Self { before, operations: operations(merchant.path(), &log, process) }
    }

    /// Looks at what is left by cuts at about so many moments, and beside everything that happened to a name.
    pub fn cut(mut self, moments: usize, look: impl Fn(&Cut)) {
        let seed = fastrand::u64(..);
        let all = self.operations.len();
        eprintln!("seed {seed}, {all} operations");
        let mut random = fastrand::Rng::with_seed(seed);
        let mut left = self.moments(moments, &mut random).into_iter().peekable();
        for at in 0..=all {
            if let Some((_, luck)) = left.next_if(|(moment, _)| *moment == at) {
                for luck in luck {
                    eprintln!("after {at} of {all}: {luck:?} is left of what is not sure");
                    let folder = Folder::in_memory();
                    self.before.lay_out(folder.path(), luck, &mut random);
                    let (folder, done) = (folder.path(), &self.operations[..at]);
                    look(&Cut { folder, done, goes_on: random.u32(..GOES_ON) == 0 });
                }
            }
            if let Some(operation) = self.operations.get(at) {
                self.before.apply(operation);
            }
        }
    }

    /// Leaves a folder as it was when the program was about to remove `path` for the last time but `later`.
    pub fn stop_before_unlink(mut self, path: &str, later: usize, folder: &Path) {
        let is_it =
            |done: &Operation| matches!(done, Operation::Unlink { path: removed } if removed == Path::new(path));
        let all: Vec<usize> = (0..self.operations.len()).filter(|at| is_it(&self.operations[*at])).collect();
        let at = all[all.len() - 1 - later];
        self.operations[..at].iter().for_each(|operation| self.before.apply(operation));
        self.before.lay_out(folder, Luck::Everything, &mut fastrand::Rng::new());
    }

    fn moments(&self, count: usize, random: &mut fastrand::Rng) -> BTreeMap<usize, Vec<Luck>> {
        const ALL: [Luck; 5] = [Luck::Nothing, Luck::Names, Luck::Everything, Luck::Random(2), Luck::Random(10)];
        let all = self.operations.len();
        let (mut names, mut others) = (BTreeSet::from([all]), Vec::new());
        for (at, operation) in self.operations.iter().enumerate() {
            match operation {
                Operation::Rename { .. } | Operation::Link { .. } | Operation::Unlink { .. } => {
                    names.extend([at, at + 1]);
                }
                Operation::Sync { .. } | Operation::Say { .. } => others.extend([at, at + 1]),
                _ => {}
            }
        }
        random.shuffle(&mut others);
        let anywhere = (0..count / 4).map(|_| random.usize(..all));
        let others: Vec<usize> = others.into_iter().take(count * 3 / 4).chain(anywhere).collect();
        let some = others.into_iter().map(|at| (at, vec![ALL[0], random.choice(&ALL[1..]).copied().unwrap()]));
        let mut moments: BTreeMap<_, _> = some.collect();
        moments.extend(names.into_iter().map(|at| (at, ALL.to_vec())));
        let states: usize = moments.values().map(Vec::len).sum();
        eprintln!("{} moments, {states} states", moments.len());
        moments
    }
}

impl Cut<'_> {
    /// The database opens and is whole; and once this is over, [`Folder`] finds that its invariants hold.
    pub fn database<T>(&self, look: impl FnOnce(&Reader) -> T) -> T {
        let database = Database::open(&self.folder.join("quintile.db"), "test").unwrap();
        let reader = database.readers().get().unwrap();
        let whole: String = reader.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
        look(&reader)
    }

    /// Whether the program had logged this.
    pub fn has_said(&self, what: &str) -> bool {
        const STDERR: i32 = 2;
        self.done.iter().any(|operation| match operation {
            Operation::Say { descriptor: STDERR, bytes } => String::from_utf8_lossy(bytes).contains(what),
            _ => false,
        })
    }

    /// Whether the command had begun to say what it did.
    pub fn has_reported(&self) -> bool {
        const STDOUT: i32 = 1;
        self.done.iter().any(|operation| matches!(operation, Operation::Say { descriptor: STDOUT, .. }))
    }

    /// Webhooks that were answered 200, by the shop's id.
    pub fn answered(&self) -> BTreeSet<String> {
        let mut heard: HashMap<i32, Vec<u8>> = HashMap::new();
        let mut answered = BTreeSet::new();
        for operation in self.done {
            match operation {
                Operation::Hear { descriptor, bytes } => heard.entry(*descriptor).or_default().extend(bytes),
                Operation::Close { descriptor } => drop(heard.remove(descriptor)),
                Operation::Say { descriptor, bytes } if bytes.starts_with(b"HTTP/1.1 200") => {
                    let request = heard.get(descriptor).expect("somebody asked");
                    answered.extend(header(request, "x-shopify-webhook-id"));
                }
                _ => {}
            }
        }
        answered
    }

    /// Messages that email tools were sent.
    pub fn sent(&self) -> BTreeSet<String> {
        let said = self.done.iter().filter_map(|operation| match operation {
            Operation::Say { bytes, .. } if bytes.starts_with(b"POST ") => header(bytes, "webhook-id"),
            _ => None,
        });
        said.collect()
    }

    pub fn run(&self, arguments: &[&str]) {
        let output = process::run(self.folder, arguments);
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}

fn header(request: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(request);
    let mut lines = text.lines().take_while(|line| !line.is_empty());
    lines.find_map(|line| {
        let (found, value) = line.split_once(": ")?;
        found.eq_ignore_ascii_case(name).then(|| value.to_owned())
    })
}
