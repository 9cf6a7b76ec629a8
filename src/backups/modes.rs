//! Whether others on this computer are let into what names customers. quintile makes the database, what lies
//! beside it, backups and their folders for their owner alone; what was copied or restored by hand may be open.

use super::Backups;

impl Backups {
    /// What is open to others and the command that closes it, a sentence each. Changes no mode by itself: somebody
    /// may have set it on purpose. Nothing on a system that has none.
    #[must_use]
    pub fn open_to_others(&self) -> Vec<String> {
        #[cfg(unix)]
        return unix::open_to_others(self);
        #[cfg(not(unix))]
        Vec::new()
    }
}

#[cfg(unix)]
mod unix {
    use std::{
        collections::BTreeSet,
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt},
        path::{Path, PathBuf},
    };

    use super::Backups;
    use crate::db::folder_of;

    const OTHERS: u32 = 0o077;
    /// Everybody may put something there, as into /tmp: that folder is nobody's own.
    const SHARED: u32 = 0o1000;

    pub fn open_to_others(backups: &Backups) -> Vec<String> {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let places = [Some(folder_of(&backups.database)), backups.folder.as_deref(), backups.copy_to.as_deref()];
        for folder in places.into_iter().flatten().collect::<BTreeSet<_>>() {
            let found = files_in(folder, backups);
            if found.first().is_some_and(|file| is_own_folder(folder, file)) && mode(folder) & OTHERS != 0 {
                folders.push(folder);
            }
            files.extend(found.into_iter().filter(|file| mode(file) & OTHERS != 0));
        }
        let mut said = Vec::new();
        if let Some(first) = files.first() {
            let (more, all) = (files.len() - 1, commanded(&files, backups));
            let more = if more == 0 { String::new() } else { format!(" and {more} more like it") };
            let (mode, first) = (mode(first) & 0o777, first.display());
            said.push(format!("others are let into {first} (mode {mode:03o}){more}; run chmod 600 {all}"));
        }
        for folder in folders {
            let (mode, path, quoted) = (mode(folder) & 0o777, folder.display(), quoted(folder));
            said.push(format!(
                "others are let into the folder {path} (mode {mode:03o}); unless they need it, run chmod 700 {quoted}"
            ));
        }
        said
    }

    /// The database with what lies beside it: what is called after it, and files about one person; and backups.
    fn files_in(folder: &Path, backups: &Backups) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let paths = entries.map(|entry| folder.join(entry.file_name()));
        let is_backup =
            |path: &Path| path.file_name().is_some_and(|name| backups.time_in(&name.to_string_lossy()).is_some());
        let is_named = |path: &Path| is_beside(path, backups) || is_answer(path, backups) || is_backup(path);
        let mut found: Vec<PathBuf> = paths.filter(|path| is_named(path) && path.is_file()).collect();
        found.sort();
        found
    }

    fn is_beside(path: &Path, backups: &Backups) -> bool {
        path.parent() == Some(folder_of(&backups.database)) && name(path).starts_with(&name(&backups.database))
    }

    /// Whether it is what a request for somebody's data was answered with: `data-request-7.json`.
    fn is_answer(path: &Path, backups: &Backups) -> bool {
        let name = name(path);
        let number = name.strip_prefix("data-request-").and_then(|rest| rest.strip_suffix(".json"));
        path.parent() == Some(folder_of(&backups.database))
            && number.is_some_and(|number| number.parse::<u64>().is_ok())
    }

    fn name(path: &Path) -> String {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether the folder was made by whoever has `file` in it.
    fn is_own_folder(folder: &Path, file: &Path) -> bool {
        let owner = |path| fs::metadata(path).map(|seen| seen.uid()).ok();
        owner(folder) == owner(file) && mode(folder) & SHARED == 0
    }

    /// None of what cannot be looked at: others cannot either.
    fn mode(path: &Path) -> u32 {
        fs::metadata(path).map_or(0, |seen| seen.permissions().mode())
    }

    /// As a shell reads them. What lies beside the database goes with it: its log comes and goes.
    fn commanded(files: &[PathBuf], backups: &Backups) -> String {
        let (beside, others): (Vec<_>, Vec<_>) = files.iter().partition(|file| is_beside(file, backups));
        let database = (!beside.is_empty()).then(|| format!("{}*", quoted(&backups.database)));
        database.into_iter().chain(others.into_iter().map(|file| quoted(file))).collect::<Vec<_>>().join(" ")
    }

    fn quoted(path: &Path) -> String {
        let path = path.display().to_string();
        let is_plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        if is_plain { path } else { format!("'{}'", path.replace('\'', r"'\''")) }
    }
}
