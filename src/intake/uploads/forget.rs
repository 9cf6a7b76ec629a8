//! Taking an erased person out of what imports left behind. Files that still wait to be imported keep
//! what they hold: whoever was erased does not come back by them.

use std::{collections::BTreeSet, fs, io, path::Path};

use anyhow::Context;
use rusqlite::{Connection, Transaction};

use super::{UPLOAD, table};
use crate::{
    db::{hand_over, sync_folder_of},
    intake::{csv, privacy::emails_in},
};

/// Takes the reasons that quote one of `emails` out of all reports. Whether there are files of rejected
/// rows, for [`in_files`].
///
/// # Errors
/// Those of SQLite.
pub fn in_reports(tx: &Transaction<'_>, emails: &BTreeSet<String>) -> rusqlite::Result<bool> {
    let mut has_files = false;
    for import in table::list(tx)? {
        let (mut foreseen, mut report) = (import.foreseen, import.report);
        has_files |= report.as_ref().is_some_and(|report| report.has_rejected_file);
        let mut changed = false;
        for report in [&mut foreseen, &mut report].into_iter().flatten() {
            let before = report.rejections.len();
            report.rejections.retain(|(_, reason)| !names_one(reason, emails));
            changed |= report.rejections.len() < before;
        }
        if changed {
            table::rewrite_reports(tx, import.id, foreseen.as_ref(), report.as_ref())?;
        }
    }
    Ok(has_files)
}

/// Takes the rows that name one of `emails` out of the files of rejected rows in `folder`. Blocking.
///
/// # Errors
/// The database cannot be read, or a file not be rewritten; it is as it was then, and keeps no other one.
pub fn in_files(connection: &Connection, folder: &Path, emails: &BTreeSet<String>) -> anyhow::Result<()> {
    // What an import is writing now, it reads with the tombstones in mind.
    let over: Vec<i64> = table::list(connection)?.iter().filter(|it| it.report.is_some()).map(|it| it.id).collect();
    let mut done = Ok(());
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_meant = over.iter().any(|id| name.ends_with(&format!("{UPLOAD}{id}{}", csv::REJECTED)));
        if is_meant {
            let rewritten = rewrite(&path, emails).with_context(|| format!("cannot rewrite {}", path.display()));
            done = done.and(rewritten);
        }
    }
    done
}

fn rewrite(path: &Path, emails: &BTreeSet<String>) -> anyhow::Result<()> {
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_path(path)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let kept = tempfile::NamedTempFile::new_in(folder)?;
    let mut writer = ::csv::WriterBuilder::new().flexible(true).from_writer(io::BufWriter::new(kept));
    let (mut record, mut dropped) = (::csv::ByteRecord::new(), false);
    while reader.read_byte_record(&mut record)? {
        if record.iter().any(|cell| names_one(&String::from_utf8_lossy(cell), emails)) {
            dropped = true;
        } else {
            writer.write_byte_record(&record)?;
        }
    }
    let kept = writer
        .into_inner()
        .map_err(::csv::IntoInnerError::into_error)?
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    if dropped {
        kept.as_file().sync_all()?;
        hand_over(kept.path()); // before it has its name: the next one may be of another user
        kept.persist(path)?;
        // After a power cut the old one must not be back: nobody looks for them again.
        sync_folder_of(path)?;
    }
    Ok(())
}

fn names_one(text: &str, emails: &BTreeSet<String>) -> bool {
    emails_in(text).any(|email| emails.contains(&email))
}
