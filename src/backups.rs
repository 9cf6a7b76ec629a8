//! The copies of the database that `serve` makes each night: where they lie, how they are called, which
//! of them are kept. [`crate::db::back_up`] makes one.
//!
//! A file has its name only once it was read back whole, so the folder itself says what there is: no
//! table remembers it, which a damaged database could not answer from.

mod modes;
mod rotation;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, bail, ensure};
use chrono::NaiveDateTime;

use crate::{
    config::Config,
    db::{self, Backup, Ending, Left, SCHEMA_VERSION},
    model::Timestamp,
};

/// `quintile-20261126T020512Z.db`, after the name of the database.
const TIME_IN_NAME: &str = "%Y%m%dT%H%M%SZ";
/// Without one for longer than a day and this, a backup is overdue: the night's run has its time.
const OVERDUE_MS: i64 = Timestamp::DAY + 2 * 60 * 60 * 1000;

/// The nightly backups of one database. Cheap to clone; clones know of the same failure.
#[derive(Debug, Clone)]
pub struct Backups {
    /// Its id.
    shop: String,
    database: PathBuf,
    /// `None`: none are made.
    folder: Option<PathBuf>,
    /// On another disk.
    copy_to: Option<PathBuf>,
    keep_daily: usize,
    keep_weekly: usize,
    failure: Arc<Mutex<Option<Failure>>>,
    ending: Ending,
}

/// Why the last one could not be made or finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub at: Timestamp,
    pub step: Step,
    pub reason: String,
}

/// What is to be done for a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// [`Backups::make`]
    Make,
    /// [`Backups::finish`]: the backup itself is there.
    Finish,
}

/// A backup that was whole when it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub path: PathBuf,
    pub taken_at: Timestamp,
    pub bytes: u64,
}

impl Backups {
    #[must_use]
    pub fn from_config(config: &Config) -> Self {
        let some = |path: &Path| (!path.as_os_str().is_empty()).then(|| path.to_owned());
        Self {
            shop: config.shop.id.clone(),
            database: config.database.path.clone(),
            folder: some(&config.backup.folder),
            copy_to: some(&config.backup.copy_to),
            keep_daily: config.backup.keep_daily as usize,
            keep_weekly: config.backup.keep_weekly as usize,
            failure: Arc::default(),
            ending: Ending::default(),
        }
    }

    /// Stops making one when the program is to stop.
    #[must_use]
    pub fn until(self, ending: &Ending) -> Self {
        Self { ending: ending.clone(), ..self }
    }

    /// Where they lie; `None`: none are made.
    #[must_use]
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Where each is copied to.
    #[must_use]
    pub fn copy_to(&self) -> Option<&Path> {
        self.copy_to.as_deref()
    }

    /// How many days after an erasure the last nightly backup that holds the person is gone, while
    /// nights go on.
    #[must_use]
    pub fn longest_days(&self) -> usize {
        if self.folder.is_some() { self.keep_daily.max(self.keep_weekly * 7) } else { 0 }
    }

    /// For whoever erased somebody: which copies still hold them, and until when. A sentence each.
    #[must_use]
    pub fn holding(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.folder.is_some() {
            let days = self.longest_days();
            said.push(format!(
                "Nightly backups hold them for up to {days} more {}, then the last that does is gone.",
                if days == 1 { "day" } else { "days" }
            ));
        }
        said.push("Backups made by hand hold them until you delete those.".to_owned());
        let aside: Vec<String> = self.set_aside().iter().map(|path| path.display().to_string()).collect();
        if !aside.is_empty() {
            said.push(format!("So do these older copies of the database: {}.", aside.join(", ")));
        }
        said
    }

    /// The newest there is, here or in the second folder. One later than `now` was made under a wrong clock, and
    /// nobody knows when: it counts where there is no other. A folder that cannot be read has none.
    #[must_use]
    pub fn newest(&self, now: Timestamp) -> Option<Kept> {
        let folders = [self.folder.as_deref(), self.copy_to.as_deref()];
        // The first folder wins between the two copies of one.
        let kept = folders.into_iter().rev().flatten().flat_map(|folder| self.list(folder).unwrap_or_default());
        kept.max_by_key(|kept| (kept.taken_at <= now, kept.taken_at))
    }

    /// Copies of older days that nobody takes away by himself: the database as it was before it was
    /// brought up to a newer schema, or before another was restored.
    #[must_use]
    pub fn set_aside(&self) -> Vec<PathBuf> {
        let folder = db::folder_of(&self.database);
        let name = self.database.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut found: Vec<PathBuf> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|file| file.strip_prefix(&name).is_some_and(db::is_set_aside))
            .map(|file| folder.join(file))
            .collect();
        found.sort();
        found
    }

    /// Why the last attempt of this process failed, and what is to be tried again, until it succeeds.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the newest is older than a night should let it become.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.folder.is_some()
            && self.newest(now).is_none_or(|kept| {
                kept.taken_at > now || now.millis().saturating_sub(kept.taken_at.millis()) > OVERDUE_MS
            })
    }

    /// Makes one, which is to be [`finish`](Self::finish)ed. `None`: none are made here.
    ///
    /// # Errors
    /// The database is damaged, or the folder cannot be written or is another shop's.
    pub fn make(&self, now: Timestamp) -> anyhow::Result<Option<Backup>> {
        let Some(folder) = &self.folder else { return Ok(None) };
        self.noting(Step::Make, now, || {
            db::make_private_folder(folder)?;
            self.claim(folder)?;
            self.remove_half_written(folder);
            db::back_up(&self.database, &folder.join(self.name(now)), &self.ending).map(Some)
        })
    }

    /// Copies the newest to the second folder, and removes those whose time is over. Does nothing where that is
    /// done.
    ///
    /// # Errors
    /// A folder cannot be written, or the second one is another shop's. The backup stays.
    pub fn finish(&self, now: Timestamp) -> anyhow::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        self.noting(Step::Finish, now, || {
            // First here: a drive that is away for weeks does not let them pile up.
            let removed = self.remove_old(folder, now);
            if let Some(second) = &self.copy_to {
                self.copy_newest(folder, second, now)?;
                self.remove_old(second, now)?;
            }
            removed
        })
    }

    /// Remembers why a step failed, for [`failure`](Self::failure).
    fn noting<T>(&self, step: Step, now: Timestamp, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let worked = work();
        let failure = worked.as_ref().err().map(|error| Failure { at: now, step, reason: format!("{error:#}") });
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        worked
    }

    fn copy_newest(&self, folder: &Path, second: &Path, now: Timestamp) -> anyhow::Result<()> {
        let kept = self.list(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        let Some(newest) = kept.into_iter().find(|kept| kept.taken_at <= now) else { return Ok(()) };
        let copied = (|| {
            // A drive that is not plugged in must not become a folder on this one.
            ensure!(second.is_dir(), "the folder is not there; is its drive connected?");
            self.claim(second)?;
            self.remove_half_written(second);
            copy(&newest.path, second, &self.ending)
        })();
        copied.with_context(|| {
            format!("the backup {} could not be copied to {}", newest.path.display(), second.display())
        })
    }

    /// Notes in a folder that the backups of this name are of this shop: another one whose database is called the same
    /// would remove them when their time is over, and be told to restore them.
    fn claim(&self, folder: &Path) -> anyhow::Result<()> {
        if self.is_claimed(folder)? {
            return Ok(());
        }
        let path = self.note_in(folder);
        db::write_file(&path, self.shop.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whether the backups of this name in `folder` are noted as those of this shop.
    ///
    /// # Errors
    /// They are noted as another's; the note cannot be read.
    pub fn is_claimed(&self, folder: &Path) -> anyhow::Result<bool> {
        let path = self.note_in(folder);
        match self.noted_in(folder).with_context(|| format!("cannot read {}", path.display()))? {
            Some(shop) if shop != self.shop => bail!(
                "{} has the backups of the shop {shop} under the same name; name another folder in [backup] (if it is \
                 the same shop with another id, delete {})",
                folder.display(),
                path.display()
            ),
            noted => Ok(noted.is_some()),
        }
    }

    /// Of which shop the backups of this name are, if a note says so.
    fn noted_in(&self, folder: &Path) -> io::Result<Option<String>> {
        match fs::read(self.note_in(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => Ok(Some(String::from_utf8_lossy(&read?).trim().to_owned()).filter(|shop| !shop.is_empty())),
        }
    }

    /// `quintile.shop`, after the name of the database.
    fn note_in(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.shop", self.stem()))
    }

    /// Those of a wrong clock stay until it is their time: beside them the one just made would be the oldest.
    fn remove_old(&self, folder: &Path, now: Timestamp) -> anyhow::Result<()> {
        let cannot = || format!("cannot remove old backups from {}", folder.display());
        let mut kept = self.list(folder).with_context(cannot)?;
        kept.retain(|kept| kept.taken_at <= now);
        for old in rotation::expired(&kept, self.keep_daily, self.keep_weekly) {
            fs::remove_file(&old.path).with_context(cannot)?;
            tracing::info!(path = %old.path.display(), "removed a backup whose time is over");
        }
        Ok(())
    }

    /// Removes what a crash left half written. Before the next one is begun: where every night ends in a
    /// crash, what they leave must not fill the disk.
    fn remove_half_written(&self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let name = entry.file_name().to_string_lossy().into_owned();
            let whole = name.strip_suffix(db::PARTIAL).or_else(|| name.strip_suffix(JOURNAL_OF_PARTIAL));
            if whole.is_some_and(|whole| self.time_in(whole).is_some()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Those in `folder`, the newest first. Of a folder of another shop none.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self, folder: &Path) -> io::Result<Vec<Kept>> {
        let is_anothers = self.noted_in(folder)?.is_some_and(|shop| shop != self.shop);
        if is_anothers { Ok(Vec::new()) } else { self.list_all(folder) }
    }

    /// [`Self::list`], whosever they are.
    fn list_all(&self, folder: &Path) -> io::Result<Vec<Kept>> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Some(taken_at) = self.time_in(&entry.file_name().to_string_lossy()) {
                kept.push(Kept { path: entry.path(), taken_at, bytes: entry.metadata()?.len() });
            }
        }
        kept.sort_by_key(|kept| std::cmp::Reverse(kept.taken_at));
        Ok(kept)
    }

    fn name(&self, at: Timestamp) -> String {
        format!("{}-{}.db", self.stem(), at.to_utc().format(TIME_IN_NAME))
    }

    /// When the backup of this name was made, if it is one of this database.
    fn time_in(&self, name: &str) -> Option<Timestamp> {
        let time = name.strip_prefix(&self.stem())?.strip_prefix('-')?.strip_suffix(".db")?;
        NaiveDateTime::parse_from_str(time, TIME_IN_NAME).ok().map(|time| time.and_utc().into())
    }

    /// Several databases may share a folder.
    fn stem(&self) -> String {
        self.database.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

const JOURNAL_OF_PARTIAL: &str = ".partial-journal";

fn copy(backup: &Path, folder: &Path, ending: &Ending) -> anyhow::Result<()> {
    let to = folder.join(backup.file_name().context("a backup has a name")?);
    if to.exists() {
        ensure!(
            db::is_same(backup, &to, ending)?,
            "{} is there and differs; does another shop copy there too?",
            to.display()
        );
        return Ok(());
    }
    db::copy_file(backup, &to, ending)
}

/// What to do about a damaged database: the command that puts the newest verified backup in its place, and the one
/// that keeps what came before the damage where only the log is damaged.
#[must_use]
pub fn advice(config: &Config, config_path: &Path, now: Timestamp) -> String {
    let option = config_option(config_path);
    let backups = Backups::from_config(config);
    let database = config.database.path.display();
    let is_empty = db::is_without_bytes(&config.database.path);
    let lost = if is_empty { None } else { db::lost(&config.database.path).ok().flatten() };
    let kept_part = if lost.is_some_and(|lost| lost.left != Left::Nowhere) {
        let database = in_shell(&config.database.path);
        format!("`quintile{option} restore {database}` goes on with what was stored before the damage; ")
    } else {
        String::new()
    };
    let backup = match (backups.newest(now), backups.folder()) {
        (Some(kept), _) => format!(
            "`quintile{option} restore {}` puts the newest verified backup in its place, made {}",
            in_shell(&kept.path),
            kept.taken_at
        ),
        (None, folder) => format!(
            "there is no verified backup in {}; if you have a copy elsewhere, `quintile{option} restore FILE` puts it in its place (schema {SCHEMA_VERSION} or older)",
            folder.map_or_else(
                || "any folder, [backup] folder is empty".to_owned(),
                |folder| folder.display().to_string()
            ),
        ),
    };
    format!("{database} stays as it is; {kept_part}{backup}")
}

/// What to do where the database is gone and its backups are not: nobody is to find an empty shop in its place.
/// `None`: it is there, or there are none. Those of another shop count too: they are its own from before it was given
/// another id, or it could make none there.
///
/// # Errors
/// The folder of the database cannot be read.
pub fn instead_of_empty(config: &Config, config_path: &Path, now: Timestamp) -> anyhow::Result<Option<String>> {
    if !db::is_missing(&config.database.path)? {
        return Ok(None);
    }
    let backups = Backups::from_config(config);
    let database = config.database.path.display();
    if let Some(newest) = backups.newest(now) {
        return Ok(Some(format!(
            "{database} is gone or empty, and there are backups of it; `quintile{} restore {}` puts the newest in its \
             place, made {}; for an empty shop move {} away first",
            config_option(config_path),
            in_shell(&newest.path),
            newest.taken_at,
            db::folder_of(&newest.path).join(format!("{}-*.db", backups.stem())).display()
        )));
    }
    let folders = [backups.folder(), backups.copy_to()].into_iter().flatten();
    let mut with_some = folders.filter(|folder| backups.list_all(folder).is_ok_and(|kept| !kept.is_empty()));
    let refused = with_some.find_map(|folder| backups.is_claimed(folder).err());
    Ok(refused.map(|error| format!("{database} is gone or empty, and {error:#}")))
}

/// The command that restores the copy of `file` in the other folder, if that is whole, or the one before it. `None`:
/// there is neither, or `file` is no backup of the database.
#[must_use]
pub fn older(config: &Config, config_path: &Path, file: &Path) -> Option<String> {
    let backups = Backups::from_config(config);
    // The first folder wins between the two copies of one.
    let folders = [backups.copy_to(), backups.folder()].into_iter().flatten();
    let all: Vec<Kept> = folders.flat_map(|folder| backups.list(folder).unwrap_or_default()).collect();
    let named = file.canonicalize().ok()?;
    let is_named = |kept: &Kept| kept.path.canonicalize().is_ok_and(|path| path == named);
    let at = all.iter().find(|kept| is_named(kept))?.taken_at;
    // Read to its end: of two that are damaged each would be told to be tried instead of the other.
    let mut copies = all.iter().filter(|kept| kept.taken_at == at && !is_named(kept));
    let (which, kept) = match copies.find(|copy| db::verify(&copy.path).is_ok()) {
        Some(copy) => ("its other copy", copy),
        None => ("the one before it", all.iter().filter(|kept| kept.taken_at < at).max_by_key(|kept| kept.taken_at)?),
    };
    Some(format!(
        "`quintile{} restore {}` puts {which} in place, made {}",
        config_option(config_path),
        in_shell(&kept.path),
        kept.taken_at
    ))
}

/// What stands behind `quintile` in a command for another configuration than that of the folder.
#[must_use]
pub fn config_option(path: &Path) -> String {
    if path == Path::new("config.toml") { String::new() } else { format!(" --config {}", in_shell(path)) }
}

/// A path in a command that somebody copies into a shell.
fn in_shell(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+,:@%=".contains(letter);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(all(test, unix))]
mod tests;
