//! The rows of a file, each with its line number, within bounds of memory whatever the file holds.

use std::{
    cell::Cell,
    io::{self, Chain, Cursor, Read},
    rc::Rc,
};

use anyhow::Context;
use csv::ByteRecord;

use super::detect::Head;

/// Longest row: a Shopify row is 2 KiB. A quotation mark that is never closed would otherwise read
/// the rest of the file into memory.
const LONGEST_ROW: usize = 1024 * 1024;
const READ_AHEAD: usize = 256 * 1024;

/// Reads rows after the header.
pub(super) struct Rows<R: Read> {
    reader: csv::Reader<Bounded<Chain<Cursor<Vec<u8>>, R>>>,
    budget: Rc<Cell<usize>>,
    /// Lines that the reader did not see.
    lines_before: u64,
    /// Bytes that the reader did not see.
    bytes_before: u64,
}

impl<R: Read> Rows<R> {
    /// `head` has been read from the file already, `rest` is what follows.
    pub fn new(mut head: Head, rest: R) -> Self {
        let budget = Rc::new(Cell::new(0));
        let bytes_before = head.start as u64;
        head.bytes.drain(..head.start);
        let bounded = Bounded { inner: Cursor::new(head.bytes).chain(rest), budget: Rc::clone(&budget) };
        let reader = csv::ReaderBuilder::new()
            .delimiter(head.delimiter)
            .has_headers(true)
            .flexible(true)
            .buffer_capacity(READ_AHEAD)
            .from_reader(bounded);
        Self { reader, budget, lines_before: head.lines, bytes_before }
    }

    /// Fills `record` with the next row; its line number, 1 being the file's first. `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read on, or a row has no end.
    pub fn read(&mut self, record: &mut ByteRecord) -> anyhow::Result<Option<u64>> {
        self.budget.set(LONGEST_ROW + READ_AHEAD);
        let started = self.reader.position().line();
        let cannot = || format!("cannot read on at line {}", started + self.lines_before);
        if !self.reader.read_byte_record(record).with_context(cannot)? {
            return Ok(None);
        }
        // The reader counts blank lines to the row after them; counted from its end, they are not.
        let inside = record.as_slice().split(|&byte| byte == b'\n').skip(1).count() as u64;
        let counted_back = self.reader.position().line().saturating_sub(1 + inside);
        Ok(Some(started.max(counted_back) + self.lines_before))
    }

    /// Bytes of the file that rows were made of.
    pub fn bytes(&self) -> u64 {
        self.bytes_before + self.reader.position().byte()
    }
}

/// Passes bytes on until the budget is used up.
struct Bounded<R> {
    inner: R,
    budget: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let budget = self.budget.get();
        if budget == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "this row is longer than 1 MiB; a quotation mark (\") that opens is not closed",
            ));
        }
        let allowed = buffer.len().min(budget);
        let read = self.inner.read(&mut buffer[..allowed])?;
        self.budget.set(budget - read);
        Ok(read)
    }
}
