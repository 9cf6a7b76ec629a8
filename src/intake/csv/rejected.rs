//! The file of rejected rows, beside the input: line number, reason, and the row as it was. It is
//! made when the first row is rejected, and removed when the input, corrected, is imported without any.
//! Corrected, it can be imported as it is.

use std::{
    fs::{self, File},
    io::{BufWriter, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;
use csv::ByteRecord;

use super::cell::decode;
use crate::{db::private_file, model::spreadsheet::guarded};

/// What its name has behind that of the input.
pub const SUFFIX: &str = ".rejected.csv";

/// Writes `<input>.rejected.csv`.
pub(super) struct RejectedFile {
    path: PathBuf,
    writer: Option<csv::Writer<BufWriter<File>>>,
}

impl RejectedFile {
    pub fn beside(input: &Path) -> Self {
        let mut path = input.as_os_str().to_owned();
        path.push(SUFFIX);
        Self { path: path.into(), writer: None }
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, header: &ByteRecord, line: u64, reason: &str, row: &ByteRecord) -> anyhow::Result<()> {
        let cannot_write = || format!("cannot write {}", self.path.display());
        let writer = if let Some(writer) = &mut self.writer {
            writer
        } else {
            let file = private_file().create(true).truncate(true).open(&self.path).with_context(cannot_write)?;
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(BufWriter::new(file));
            let names = header.iter().map(decode);
            writer
                .write_record(COLUMNS.map(Into::into).into_iter().chain(names).map(Text))
                .with_context(cannot_write)?;
            self.writer.insert(writer)
        };
        // What is read back again is read without the apostrophe.
        let cells = row.iter().map(|cell| guarded(&decode(cell)).into_owned().into());
        writer
            .write_record([line.to_string().into(), reason.into()].into_iter().chain(cells).map(Text))
            .with_context(cannot_write)
    }

    /// The path, if a row was rejected. If none was, the file that an earlier import left goes.
    ///
    /// # Errors
    /// Its end could not be written, or the old one not be removed.
    pub fn finish(mut self) -> anyhow::Result<Option<PathBuf>> {
        if let Some(writer) = &mut self.writer {
            writer.flush().with_context(|| format!("cannot write {}", self.path.display()))?;
            return Ok(Some(self.path));
        }
        if is_ours(&self.path) {
            fs::remove_file(&self.path)
                .with_context(|| format!("cannot remove {}, whose rows are stored now", self.path.display()))?;
        }
        Ok(None)
    }
}

/// The columns that stand before those of the input.
const COLUMNS: [&str; 2] = ["line", "reason"];

/// Whether the file at `path` was written here.
fn is_ours(path: &Path) -> bool {
    let first = COLUMNS.join(",") + ",";
    let mut start = vec![0; first.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == first.as_bytes()
}

/// A cell as bytes.
struct Text<'a>(std::borrow::Cow<'a, str>);

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
