//! The file of rejected rows, beside the input: line number, reason, and the row as it was. It is
//! made when the first row is rejected. Corrected, it can be imported as it is.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::Context;
use csv::ByteRecord;

use super::cell::decode;

/// Writes `<input>.rejected.csv`.
pub(super) struct RejectedFile {
    path: PathBuf,
    writer: Option<csv::Writer<BufWriter<File>>>,
}

impl RejectedFile {
    pub fn beside(input: &Path) -> Self {
        let mut path = input.as_os_str().to_owned();
        path.push(".rejected.csv");
        Self { path: path.into(), writer: None }
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, header: &ByteRecord, line: u64, reason: &str, row: &ByteRecord) -> anyhow::Result<()> {
        let cannot_write = || format!("cannot write {}", self.path.display());
        let writer = if let Some(writer) = &mut self.writer {
            writer
        } else {
            let file = File::create(&self.path).with_context(cannot_write)?;
            let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(BufWriter::new(file));
            let names = header.iter().map(decode);
            writer
                .write_record(["line".into(), "reason".into()].into_iter().chain(names).map(Text))
                .with_context(cannot_write)?;
            self.writer.insert(writer)
        };
        let cells = row.iter().map(decode);
        writer
            .write_record([line.to_string().into(), reason.into()].into_iter().chain(cells).map(Text))
            .with_context(cannot_write)
    }

    /// The path, if there is such a file.
    ///
    /// # Errors
    /// Its end could not be written.
    pub fn finish(mut self) -> anyhow::Result<Option<PathBuf>> {
        let Some(writer) = &mut self.writer else { return Ok(None) };
        writer.flush().with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(Some(self.path))
    }
}

/// A cell as bytes.
struct Text<'a>(std::borrow::Cow<'a, str>);

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}
