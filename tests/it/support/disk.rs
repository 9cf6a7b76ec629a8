//! What is on a disk after a power cut.
//!
//! A file's content is sure as far as it was written before the last `fsync` of it began that came to its
//! end. Each write since then may be there or not, in any order, whole or in parts: a sector of 512 bytes
//! is the least that a disk writes or does not write.
//!
//! A name is sure once its folder was synced, which is what POSIX asks for. Most disks do more: ext4
//! brings the name of a new file along with the file's own `fsync`. Nothing here counts on that. Names that
//! are not sure come about in their order, so that some of the first are there: ext4, XFS and Btrfs keep a log of
//! them, and without that a rename would promise nothing.

use std::{
    collections::{BTreeMap, HashMap},
    fs, mem,
    path::{Path, PathBuf},
};

use super::write_log::Operation;

const SECTOR: u64 = 512;

/// A folder as the program sees it, and what of it is sure.
pub struct Disk {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Entry>,
    sure: BTreeMap<PathBuf, Entry>,
    /// Changes to `sure` that are to come, with the operation that each is.
    unsure: Vec<(usize, Renaming)>,
    open: HashMap<i32, Opened>,
    operations: usize,
}

#[derive(Clone, Copy)]
enum Entry {
    Folder,
    /// An index into the files, as an inode is.
    File(usize),
}

#[derive(Default)]
struct File {
    sure: Vec<u8>,
    /// With the operation that each is.
    unsure: Vec<(usize, Change)>,
}

enum Change {
    Write { at: u64, bytes: Vec<u8> },
    Length(u64),
}

/// What happens to names at once.
struct Renaming {
    gone: Option<PathBuf>,
    new: Option<(PathBuf, Entry)>,
}

struct Opened {
    path: PathBuf,
    entry: Entry,
    position: u64,
}

/// What a power cut leaves of what is not sure.
#[derive(Debug, Clone, Copy)]
pub enum Luck {
    /// Of the data nothing, and of the names nothing.
    Nothing,
    /// All names, but none of the data: renamed before it was written.
    Names,
    /// As if the program alone had ended.
    Everything,
    /// Of the data one of so many writes is lost, and one of so many torn; some of the names.
    Random(u32),
}

impl Disk {
    /// All that is in `folder` now is sure.
    pub fn of(folder: &Path) -> Self {
        let mut disk = Self {
            files: Vec::new(),
            names: BTreeMap::new(),
            sure: BTreeMap::new(),
            unsure: Vec::new(),
            open: HashMap::new(),
            operations: 0,
        };
        disk.names.insert(PathBuf::new(), Entry::Folder);
        disk.add(folder, Path::new(""));
        disk.sure.clone_from(&disk.names);
        disk
    }

    fn add(&mut self, root: &Path, folder: &Path) {
        for entry in fs::read_dir(root.join(folder)).unwrap().map(Result::unwrap) {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                self.names.insert(path.clone(), Entry::Folder);
                self.add(root, &path);
            } else {
                self.names.insert(path, Entry::File(self.files.len()));
                self.files.push(File { sure: fs::read(entry.path()).unwrap(), unsure: Vec::new() });
            }
        }
    }

    /// The next operation.
    pub fn apply(&mut self, operation: &Operation) {
        let index = self.operations;
        self.operations += 1;
        match operation {
            Operation::Open { descriptor, path, makes, empties } => {
                let entry = self.names.get(path).copied();
                let entry = entry.unwrap_or_else(|| {
                    assert!(makes, "{} was opened and is not there", path.display());
                    self.files.push(File::default());
                    let entry = Entry::File(self.files.len() - 1);
                    self.rename(index, None, Some((path.clone(), entry)));
                    entry
                });
                self.open.insert(*descriptor, Opened { path: path.clone(), entry, position: 0 });
                if *empties {
                    self.change(index, *descriptor, Change::Length(0));
                }
            }
            Operation::Close { descriptor } => {
                self.open.remove(descriptor);
            }
            Operation::Seek { descriptor, to } => {
                if let Some(opened) = self.open.get_mut(descriptor) {
                    opened.position = *to;
                }
            }
            Operation::Write { descriptor, at, bytes } => {
                let Some(opened) = self.open.get_mut(descriptor) else { return };
                let at = at.unwrap_or_else(|| {
                    let at = opened.position;
                    opened.position += bytes.len() as u64;
                    at
                });
                self.change(index, *descriptor, Change::Write { at, bytes: bytes.clone() });
            }
            Operation::SetLength { descriptor, length } => self.change(index, *descriptor, Change::Length(*length)),
            Operation::Sync { descriptor, began } => self.sync(*descriptor, *began),
            Operation::MakeFolder { path } => self.rename(index, None, Some((path.clone(), Entry::Folder))),
            Operation::Link { from, to } => self.rename(index, None, Some((to.clone(), self.names[from]))),
            Operation::Rename { from, to } => {
                self.rename(index, Some(from.clone()), Some((to.clone(), self.names[from])));
            }
            Operation::Unlink { path } => self.rename(index, Some(path.clone()), None),
            Operation::Say { .. } | Operation::Hear { .. } => {}
        }
    }

    fn change(&mut self, index: usize, descriptor: i32, change: Change) {
        // Others are files elsewhere.
        if let Some(Opened { entry: Entry::File(file), .. }) = self.open.get(&descriptor) {
            self.files[*file].unsure.push((index, change));
        }
    }

    fn rename(&mut self, index: usize, gone: Option<PathBuf>, new: Option<(PathBuf, Entry)>) {
        let renaming = Renaming { gone, new };
        renaming.apply(&mut self.names);
        self.unsure.push((index, renaming));
    }

    fn sync(&mut self, descriptor: i32, began: usize) {
        let Some(Opened { path, entry, .. }) = self.open.get(&descriptor) else { return };
        match entry {
            Entry::File(file) => {
                let file = &mut self.files[*file];
                let (done, unsure): (Vec<_>, Vec<_>) =
                    mem::take(&mut file.unsure).into_iter().partition(|(at, _)| *at < began);
                file.unsure = unsure;
                for (_, change) in done {
                    change.apply(&mut file.sure);
                }
            }
            Entry::Folder => {
                let (done, unsure): (Vec<_>, Vec<_>) = mem::take(&mut self.unsure)
                    .into_iter()
                    .partition(|(at, renaming)| *at < began && renaming.folder() == path);
                self.unsure = unsure;
                for (_, renaming) in done {
                    renaming.apply(&mut self.sure);
                }
            }
        }
    }

    /// Lays out in `folder` what a power cut at this moment may leave.
    pub fn lay_out(&self, folder: &Path, luck: Luck, random: &mut fastrand::Rng) {
        let mut names = self.sure.clone();
        let there = match luck {
            Luck::Nothing => 0,
            Luck::Names | Luck::Everything => self.unsure.len(),
            Luck::Random(_) => random.usize(..=self.unsure.len()),
        };
        self.unsure[..there].iter().for_each(|(_, renaming)| renaming.apply(&mut names));
        // A folder comes before what is in it.
        for (path, entry) in names {
            match entry {
                Entry::Folder => fs::create_dir_all(folder.join(path)).unwrap(),
                // What is in a folder that is not there is not there either.
                Entry::File(file) => {
                    if folder.join(&path).parent().is_some_and(Path::is_dir) {
                        fs::write(folder.join(path), self.files[file].after_cut(luck, random)).unwrap();
                    }
                }
            }
        }
    }
}

impl Renaming {
    fn apply(&self, names: &mut BTreeMap<PathBuf, Entry>) {
        if let Some(gone) = &self.gone {
            names.remove(gone);
        }
        if let Some((path, entry)) = &self.new {
            names.insert(path.clone(), *entry);
        }
    }

    fn folder(&self) -> &Path {
        let path = self.gone.as_ref().or_else(|| self.new.as_ref().map(|(path, _)| path));
        path.and_then(|path| path.parent()).expect("it is in a folder")
    }
}

impl File {
    fn after_cut(&self, luck: Luck, random: &mut fastrand::Rng) -> Vec<u8> {
        let mut content = self.sure.clone();
        for (_, change) in &self.unsure {
            match luck {
                Luck::Nothing | Luck::Names => {}
                Luck::Random(one_of) if random.u32(..one_of) == 0 => {} // lost
                Luck::Random(one_of) if random.u32(..one_of) == 0 => change.tear(&mut content, random),
                Luck::Random(_) | Luck::Everything => change.apply(&mut content),
            }
        }
        content
    }
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => put(content, *at, bytes),
            Self::Length(length) => content.resize(usize::try_from(*length).unwrap(), 0),
        }
    }

    /// Some of its sectors.
    fn tear(&self, content: &mut Vec<u8>, random: &mut fastrand::Rng) {
        let Self::Write { at, bytes } = self else { return };
        let (mut at, mut bytes) = (*at, &bytes[..]);
        while !bytes.is_empty() {
            let to_next = usize::try_from(SECTOR - at % SECTOR).unwrap().min(bytes.len());
            let (sector, rest) = bytes.split_at(to_next);
            if random.bool() {
                put(content, at, sector);
            }
            at += to_next as u64;
            bytes = rest;
        }
    }
}

fn put(content: &mut Vec<u8>, at: u64, bytes: &[u8]) {
    let at = usize::try_from(at).unwrap();
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn only_what_was_synced_is_sure() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("a"), "old").unwrap();
    let mut disk = Disk::of(place.path());
    let write =
        |descriptor, bytes: &str| Operation::Write { descriptor, at: Some(0), bytes: bytes.as_bytes().to_vec() };
    let open = |descriptor, path: &str, makes| Operation::Open { descriptor, path: path.into(), makes, empties: false };
    let mut random = fastrand::Rng::with_seed(1);
    // What is in `a` and in `b`, where they are there.
    let mut then = |operations: &[Operation], luck| {
        for operation in operations {
            disk.apply(operation);
        }
        let folder = tempfile::tempdir().unwrap();
        disk.lay_out(folder.path(), luck, &mut random);
        ["a", "b"].map(|name| fs::read_to_string(folder.path().join(name)).ok())
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(then(&[open(3, "a", false), write(3, "new")], Luck::Nothing), [some("old"), None]);
    assert_eq!(then(&[], Luck::Everything), [some("new"), None]);
    // It waits for what was written before it began.
    assert_eq!(then(&[Operation::Sync { descriptor: 3, began: 1 }], Luck::Nothing), [some("old"), None]);
    assert_eq!(then(&[Operation::Sync { descriptor: 3, began: 3 }], Luck::Nothing), [some("new"), None]);
    assert_eq!(then(&[open(4, "b", true), write(4, "better")], Luck::Names), [some("new"), some("")]);
    let rename = Operation::Rename { from: "b".into(), to: "a".into() };
    assert_eq!(then(&[rename], Luck::Nothing), [some("new"), None]);
    assert_eq!(then(&[], Luck::Names), [some(""), None]);
    assert_eq!(then(&[], Luck::Everything), [some("better"), None]);
    let folder_synced = [open(5, "", false), Operation::Sync { descriptor: 5, began: 9 }];
    assert_eq!(then(&folder_synced, Luck::Nothing), [some(""), None]);
    assert_eq!(then(&[Operation::Sync { descriptor: 4, began: 10 }], Luck::Nothing), [some("better"), None]);
    // Of two sectors each is there or not.
    let two = "1".repeat(512) + &"2".repeat(512);
    then(&[write(4, &two)], Luck::Nothing);
    let seen: std::collections::BTreeSet<_> =
        (0..100).map(|_| then(&[], Luck::Random(2))[0].clone().unwrap()).collect();
    let better = "better".to_owned();
    assert!(seen.contains(&better) && seen.contains(&two) && seen.contains(&two[..512]), "{seen:?}");
}
