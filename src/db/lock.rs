//! The lock file that keeps a second instance out. The operating system frees the lock when its
//! process ends, however it ends; the text inside only tells people who holds it.

use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{files::with_suffix, hand_over, private_file};

/// Whoever only looks ([`holder`]) is done by then.
const LOOKS: Duration = Duration::from_millis(200);
/// The second line, once it is so.
const OPENED: &str = "has opened it\n";
/// Between two tries to take what somebody looks at.
const PAUSE: Duration = Duration::from_millis(5);

/// Held as long as this value lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
    command: String,
}

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{database} is in use by {holder}; stop it first")]
    Held {
        database: String,
        holder: String,
        /// [`Holder::has_opened`]
        has_opened: bool,
    },
    #[error("cannot write the lock file {path}: {error}; the folder must exist and be writable")]
    Io { path: String, error: std::io::Error },
}

impl Lock {
    /// Takes the lock of `database`, or says which process has it.
    ///
    /// # Errors
    /// [`LockError::Held`] names the holder's command and process id.
    pub fn acquire(database: &Path, command: &str) -> Result<Self, LockError> {
        let path = lock_path(database);
        let io = |error| LockError::Io { path: path.display().to_string(), error };
        let file = private_file().read(true).create(true).truncate(false).open(&path).map_err(io)?;
        hand_over(&path);
        match take(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let Holder { name: holder, has_opened, .. } = Holder::read(&file);
                return Err(LockError::Held { database: database.display().to_string(), holder, has_opened });
            }
            Err(TryLockError::Error(error)) => return Err(io(error)),
        }
        let lock = Self { file, command: command.to_owned() };
        lock.sign();
        Ok(lock)
    }

    /// Writes who holds it. A full disk has no room for that, and the lock holds without: then somebody may do it
    /// again later.
    pub(super) fn sign(&self) {
        self.write("");
    }

    /// Writes also that the database was opened under it.
    pub(super) fn sign_opened(&self) {
        self.write(OPENED);
    }

    fn write(&self, more: &str) {
        let note = format!("process {} ({})\n{more}", std::process::id(), self.command);
        // Over what stands there: whoever reads it meanwhile finds a first line. And cut first: what the last
        // holder had opened this one has not.
        let write = || {
            self.file.set_len(note.len() as u64)?;
            (&self.file).rewind()?;
            (&self.file).write_all(note.as_bytes())
        };
        if let Err(error) = write() {
            tracing::debug!(%error, "the lock file does not say who holds it");
            let _ = self.file.set_len(0); // nor who held it before, which needs no room
        }
    }
}

/// Who holds a lock, as far as its file tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Holder {
    pub process: Option<u32>,
    /// "process 4711 (quintile serve)"
    pub name: String,
    /// The database was opened under it, so its log was read and no other is to come into its place. Not so of
    /// `quintile restore`, nor of a `serve` that waits until it can begin.
    pub has_opened: bool,
}

impl Holder {
    fn read(mut file: &File) -> Self {
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        let name = text.lines().next().unwrap_or("another process").to_owned();
        let process = name.strip_prefix("process ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        Self { process, name, has_opened: text.ends_with(OPENED) }
    }
}

impl Drop for Lock {
    /// Frees the lock at once. Closing the file would only do so once a process that was being started
    /// beside us at this moment has closed its copy.
    fn drop(&mut self) {
        let _ = self.file.unlock();
    }
}

/// Who looks whether the lock is held has it for that moment, and must not be taken for its holder.
fn take(file: &File) -> Result<(), TryLockError> {
    let until = Instant::now() + LOOKS;
    loop {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < until && is_only_looked_at(file)? => thread::sleep(PAUSE),
            taken => return taken,
        }
    }
}

/// Those who look share it, with us as well; its holder does not.
fn is_only_looked_at(file: &File) -> Result<bool, TryLockError> {
    match file.try_lock_shared() {
        Ok(()) => file.unlock().map(|()| true).map_err(TryLockError::Error),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Who holds the lock of `database`, if somebody does.
pub fn holder(database: &Path) -> Option<Holder> {
    let file = File::open(lock_path(database)).ok()?;
    let free = file.try_lock_shared().is_ok();
    (!free).then(|| Holder::read(&file))
}

/// `quintile.db` is locked through `quintile.db.lock`.
fn lock_path(database: &Path) -> PathBuf {
    with_suffix(database, ".lock")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_only_looks_is_waited_for_and_who_holds_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("shop.db");
        drop(Lock::acquire(&database, "quintile erase").unwrap());
        let (looks, looked_at) = mpsc::channel();
        let file = File::open(lock_path(&database)).unwrap();
        let looking = thread::spawn(move || {
            file.lock_shared().unwrap();
            looks.send(()).unwrap();
            thread::sleep(Duration::from_millis(50));
            file.unlock().unwrap();
        });
        looked_at.recv().unwrap();
        let lock = Lock::acquire(&database, "quintile serve").expect("nobody holds it");
        looking.join().unwrap();

        let process = std::process::id();
        let name = format!("process {process} (quintile serve)");
        let expected = |has_opened| Some(Holder { process: Some(process), name: name.clone(), has_opened });
        assert_eq!(holder(&database), expected(false));
        lock.sign_opened();
        assert_eq!(holder(&database), expected(true));
        lock.sign();
        assert_eq!(holder(&database), expected(false));
        let asked = Instant::now();
        let refused = Lock::acquire(&database, "quintile serve").unwrap_err();
        assert!(asked.elapsed() < LOOKS, "{:?}", asked.elapsed());
        assert!(refused.to_string().contains("(quintile serve); stop it first"), "{refused}");
        drop(lock);
        assert_eq!(holder(&database), None);
    }
}
