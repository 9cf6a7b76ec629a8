//! The rows of a file, each with its line number, within bounds of memory whatever the file holds.

use std::{
    cell::RefCell,
    collections::VecDeque,
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
    passed: Rc<RefCell<Passed>>,
    /// Lines of the file that have ended.
    lines: u64,
    /// Bytes that the reader did not see.
    bytes_before: u64,
}

impl<R: Read> Rows<R> {
    /// `head` has been read from the file already, `rest` is what follows.
    pub fn new(mut head: Head, rest: R) -> Self {
        let passed = Rc::<RefCell<Passed>>::default();
        let bytes_before = head.start as u64;
        head.bytes.drain(..head.start);
        let bounded = Bounded { inner: Cursor::new(head.bytes).chain(rest), passed: Rc::clone(&passed) };
        let reader = csv::ReaderBuilder::new()
            .delimiter(head.delimiter)
            .has_headers(true)
            .flexible(true)
            .buffer_capacity(READ_AHEAD)
            .from_reader(bounded);
        Self { reader, passed, lines: head.lines, bytes_before }
    }

    /// Fills `record` with the next row; its line number, 1 being the file's first. `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read on, or a row has no end.
    pub fn read(&mut self, record: &mut ByteRecord) -> anyhow::Result<Option<u64>> {
        self.passed.borrow_mut().budget = LONGEST_ROW + READ_AHEAD;
        let first = self.lines + 1;
        let found = self.reader.read_byte_record(record).with_context(|| format!("cannot read on at line {first}"))?;
        let ended = self.end_lines();
        // Counted back from the row's end, blank lines before it do not matter.
        let inside = line_ends(record.as_slice(), false).count() as u64;
        let before = if ended { self.lines.saturating_sub(1) } else { self.lines };
        Ok(found.then(|| before.saturating_sub(inside) + 1))
    }

    /// Counts the lines up to where the reader stands; whether one ends right there. The reader's
    /// own count lags behind: it comes upon the second byte of `\r\n` with the row after.
    fn end_lines(&mut self) -> bool {
        let position = self.reader.position().byte();
        let line_ends = &mut self.passed.borrow_mut().line_ends;
        let mut last = None;
        while let Some(&at) = line_ends.front().filter(|at| **at < position) {
            line_ends.pop_front();
            self.lines += 1;
            last = Some(at);
        }
        last.is_some_and(|at| at + 1 == position)
    }

    /// Bytes of the file that rows were made of.
    pub fn bytes(&self) -> u64 {
        self.bytes_before + self.reader.position().byte()
    }
}

/// What has been passed on to the reader, which is ahead of its rows.
#[derive(Default)]
struct Passed {
    /// Bytes that may still be passed on for the present row.
    budget: usize,
    bytes: u64,
    /// Where lines end that are not made rows of yet.
    line_ends: VecDeque<u64>,
    ends_in_return: bool,
}

/// Where lines end: at `\n`, at `\r`, and at the first of `\r\n`. `after_return`: the bytes follow a `\r`.
fn line_ends(bytes: &[u8], mut after_return: bool) -> impl Iterator<Item = usize> {
    bytes.iter().enumerate().filter_map(move |(at, &byte)| {
        let ends = byte == b'\r' || (byte == b'\n' && !after_return);
        after_return = byte == b'\r';
        ends.then_some(at)
    })
}

/// Passes bytes on until the budget is used up.
struct Bounded<R> {
    inner: R,
    passed: Rc<RefCell<Passed>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut passed = self.passed.borrow_mut();
        if passed.budget == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "this row is longer than 1 MiB; a quotation mark (\") that opens is not closed",
            ));
        }
        let allowed = buffer.len().min(passed.budget);
        let read = self.inner.read(&mut buffer[..allowed])?;
        passed.budget -= read;
        let (start, after_return) = (passed.bytes, passed.ends_in_return);
        passed.line_ends.extend(line_ends(&buffer[..read], after_return).map(|at| start + at as u64));
        if let Some(&last) = buffer[..read].last() {
            passed.ends_in_return = last == b'\r';
        }
        passed.bytes += read as u64;
        Ok(read)
    }
}
