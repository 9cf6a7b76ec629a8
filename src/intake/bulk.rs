//! Files of JSON lines, as a bulk operation of Shopify's writes them: one object per line, orders and
//! customers, plain or gzip, told by content. Flat, or with children on lines of their own that name
//! their parent (`__parentId`) and need not follow it: an order is read by itself wherever it stands.
//!
//! A file that a merchant brings is one of those that [`csv`](super::csv) imports; the pull from the
//! shop uses [`Lines`] and [`apply`] on files that it fetched.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use anyhow::Context;
use flate2::read::MultiGzDecoder;
use rusqlite::Transaction;

use super::MAX_BODY;
use crate::{
    ledger::{self, Applied, Bulk, Change, LedgerError, Rules},
    model::Timestamp,
};

pub use super::shopify::node::{History, Node, Refused, kind_and_number, read};

/// Lines that share a transaction: enough to hide the cost of its fsync, few enough that a webhook
/// does not wait long behind them.
pub const LINES_PER_BATCH: usize = 1_000;
/// Bytes of lines that share a transaction; an ordinary line has one KiB.
const BYTES_PER_BATCH: u64 = MAX_BODY as u64;
/// How much of a packed file's beginning is unpacked to tell what it is.
const HEAD: u64 = 64 * 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";
const GZIP: &[u8] = b"\x1f\x8b";
const READ_AHEAD: usize = 256 * 1024;

/// Lines of a reader with their numbers, within bounds of memory whatever the file holds.
pub struct Lines<R> {
    reader: R,
    line: u64,
    byte: u64,
}

/// A line that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// 1 is the file's first.
    pub number: u64,
    /// Without the line's end; `None`: longer than any message may be, and not kept.
    pub text: Option<Vec<u8>>,
}

impl<R: BufRead> Lines<R> {
    /// From the start of `reader`.
    pub const fn new(reader: R) -> Self {
        Self { reader, line: 0, byte: 0 }
    }

    /// Lines that have been read, blank ones included.
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// Where the next line starts.
    pub const fn byte(&self) -> u64 {
        self.byte
    }

    /// The next line that is not blank; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn read(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut text = Vec::new();
            let read = self.reader.by_ref().take(MAX_BODY as u64 + 1).read_until(b'\n', &mut text)?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.byte += read as u64;
            let number = self.line;
            if read > MAX_BODY && !text.ends_with(b"\n") {
                self.skip_line()?;
                return Ok(Some(Line { number, text: None }));
            }
            let content = if number == 1 { text.strip_prefix(BOM).unwrap_or(&text) } else { &text };
            if !content.trim_ascii().is_empty() {
                return Ok(Some(Line { number, text: Some(content.trim_ascii().to_vec()) }));
            }
        }
    }

    /// Up to [`LINES_PER_BATCH`] lines; none at the end.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn batch(&mut self) -> io::Result<Vec<Line>> {
        let mut lines = Vec::with_capacity(LINES_PER_BATCH);
        let start = self.byte;
        while lines.len() < LINES_PER_BATCH && self.byte - start < BYTES_PER_BATCH {
            match self.read()? {
                Some(line) => lines.push(line),
                None => break,
            }
        }
        Ok(lines)
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            let (taken, ended) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.reader.consume(taken);
            self.byte += taken as u64;
            if ended {
                return Ok(());
            }
        }
    }
}

impl Lines<BufReader<File>> {
    /// From `byte` of an uncompressed file, where the line after `line` starts: what [`Self::byte`]
    /// and [`Self::line`] said.
    ///
    /// # Errors
    /// The file is not there, or shorter.
    pub fn resume(path: &Path, line: u64, byte: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        if file.metadata()?.len() < byte {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than what was read of it"));
        }
        file.seek(SeekFrom::Start(byte))?;
        Ok(Self { reader: BufReader::with_capacity(READ_AHEAD, file), line, byte })
    }
}

impl Line {
    /// What the line says.
    ///
    /// # Errors
    /// As [`read`]; the line is too long.
    pub fn node(&self, rules: &Rules, history: History) -> Result<Node, Refused> {
        match &self.text {
            Some(text) => read(text, rules, history),
            None => Err(Refused { id: None, reason: format!("the line is longer than {MAX_BODY} bytes") }),
        }
    }
}

/// What became of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Order(Applied),
    Person(Change),
    Part,
    /// Why the ledger refused it.
    Rejected(String),
}

/// Applies nodes to the ledger, in the caller's transaction; says of each what it did. Live orders
/// become events as they do when a webhook brings them.
///
/// # Errors
/// The database could not be written; the caller undoes everything.
pub fn apply(tx: &Transaction<'_>, rules: &Rules, nodes: &[Node], now: Timestamp) -> anyhow::Result<Vec<Outcome>> {
    let mut live = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        if let Node::Order { order, .. } = node
            && !order.historical
        {
            let applied = super::undoable(tx, || ledger::apply_order(tx, rules, order, now));
            live.push((place, order_outcome(applied)?));
        }
    }
    let mut bulk = Bulk::new(tx, rules, now)?;
    let mut outcomes = apply_history(&mut bulk, nodes)?;
    bulk.finish()?;
    for (place, outcome) in live {
        outcomes[place] = outcome;
    }
    Ok(outcomes)
}

/// [`apply`] that passes over live orders. Of people and orders whichever comes first: the end is the
/// same.
///
/// # Errors
/// As [`apply`].
pub fn apply_history(bulk: &mut Bulk<'_>, nodes: &[Node]) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = vec![Outcome::Part; nodes.len()];
    for (outcome, node) in outcomes.iter_mut().zip(nodes) {
        if let Node::Person(person) = node {
            *outcome = match bulk.apply_person(person)? {
                Ok(change) => Outcome::Person(change),
                Err(rejected) => Outcome::Rejected(rejected.to_string()),
            };
        }
    }
    let history = nodes.iter().zip(0..).filter_map(|(node, place)| match node {
        Node::Order { order, .. } if order.historical => Some((place, &**order)),
        _ => None,
    });
    let applied = bulk.apply(history.clone().map(|(_, order)| order))?;
    for ((place, _), applied) in history.zip(applied) {
        outcomes[place] = order_outcome(applied)?;
    }
    Ok(outcomes)
}

fn order_outcome(applied: Result<Applied, LedgerError>) -> rusqlite::Result<Outcome> {
    match applied {
        Ok(applied) => Ok(Outcome::Order(applied)),
        Err(LedgerError::Rejected(reason)) => Ok(Outcome::Rejected(reason)),
        Err(LedgerError::Sqlite(error)) => Err(error),
    }
}

/// The lines of a file that may be packed.
pub(super) struct FileLines<R: Read>(Lines<BufReader<Unpacked<R>>>);

impl<R: Read> FileLines<R> {
    /// `head` has been read from the file already, `rest` is what follows.
    pub fn new(head: Vec<u8>, rest: R) -> Self {
        let packed = is_gzip(&head);
        let counted = Counted { inner: io::Cursor::new(head).chain(rest), bytes: 0 };
        let unpacked =
            if packed { Unpacked::Gzip(Box::new(MultiGzDecoder::new(counted))) } else { Unpacked::Plain(counted) };
        Self(Lines::new(BufReader::with_capacity(READ_AHEAD, unpacked)))
    }

    /// As [`Lines::read`].
    pub fn read(&mut self) -> anyhow::Result<Option<Line>> {
        let after = self.0.line();
        self.0.read().with_context(|| format!("cannot read on after line {after}"))
    }

    /// Bytes of the file that have been taken; some of them may not be lines yet.
    pub fn bytes(&self) -> u64 {
        match self.0.reader.get_ref() {
            Unpacked::Plain(counted) => counted.bytes,
            Unpacked::Gzip(decoder) => decoder.get_ref().bytes,
        }
    }

    /// Where the next line starts, unpacked.
    pub const fn position(&self) -> u64 {
        self.0.byte()
    }
}

fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(GZIP)
}

/// Whether a file that starts with `head` holds JSON lines, plain or gzip.
pub(super) fn holds_lines(head: &[u8]) -> bool {
    let mut start = Vec::new();
    if is_gzip(head) {
        // The head ends somewhere inside; what came before counts.
        let _ = MultiGzDecoder::new(head).take(HEAD).read_to_end(&mut start);
    } else {
        start.extend_from_slice(head);
    }
    start.strip_prefix(BOM).unwrap_or(&start).trim_ascii_start().starts_with(b"{")
}

/// The bytes of a file, unpacked where they are packed.
enum Unpacked<R: Read> {
    Plain(Counted<R>),
    Gzip(Box<MultiGzDecoder<Counted<R>>>),
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(counted) => counted.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
        }
    }
}

struct Counted<R> {
    inner: io::Chain<io::Cursor<Vec<u8>>, R>,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all<R: BufRead>(mut lines: Lines<R>) -> Vec<(u64, Option<String>)> {
        let mut read = Vec::new();
        while let Some(line) = lines.read().unwrap() {
            read.push((line.number, line.text.map(|text| String::from_utf8_lossy(&text).into_owned())));
        }
        read
    }

    #[test]
    fn lines_are_numbered_as_in_the_file() {
        let text = "\u{feff}{\"a\":1}\r\n\n  \n{\"b\":2}\n{\"c\":3}";
        let expected = [(1, "{\"a\":1}"), (4, "{\"b\":2}"), (5, "{\"c\":3}")];
        assert_eq!(all(Lines::new(text.as_bytes())), expected.map(|(number, text)| (number, Some(text.to_owned()))));
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let long = vec![b'x'; 3 * MAX_BODY];
        let text = [&b"{}\n"[..], &long, b"\n{}\n"].concat();
        let read = all(Lines::new(BufReader::new(text.as_slice())));
        assert_eq!(read, [(1, Some("{}".to_owned())), (2, None), (3, Some("{}".to_owned()))]);
        // As long as a line may be.
        let text = [&long[..MAX_BODY], b"\n"].concat();
        assert!(all(Lines::new(text.as_slice()))[0].1.is_some());
    }

    proptest! {
        #[test]
        fn reading_goes_on_where_it_stopped(text in "([a-z{}]{0,8}\r?\n){0,40}[a-z]{0,3}", stop in 0usize..40) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("lines");
            std::fs::write(&path, &text).unwrap();
            let whole = all(Lines::new(text.as_bytes()));
            let mut first = Lines::resume(&path, 0, 0).unwrap();
            let mut read = 0;
            while read < stop && first.read().unwrap().is_some() {
                read += 1;
            }
            let rest = all(Lines::resume(&path, first.line(), first.byte()).unwrap());
            prop_assert_eq!(&rest[..], &whole[read..]);
        }

        #[test]
        fn no_bytes_panic_and_every_refusal_is_a_sentence(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
            let head = br#"{"id":"gid://shopify/Order/1","totalPriceSet":"#;
            for line in [bytes.clone(), text.clone().into_bytes(), [&head[..], &bytes].concat(), [&head[..], text.as_bytes()].concat()] {
                if let Err(refused) = read(&line, &Rules::default(), History::All) {
                    prop_assert!(!refused.reason.is_empty() && refused.reason.len() < 300);
                }
            }
        }
    }
}
