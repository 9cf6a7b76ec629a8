//! What a damaged write-ahead log would take with it.
//!
//! SQLite reads the log up to the first frame that is not as it was written, and overwrites the rest. After a
//! power cut that is right: the frame belongs to the transaction that was being written, which nobody was told of.
//! In the middle of the log it is damage, and the transactions behind it, which somebody was told of, would be
//! gone without a word. So a log is read before SQLite does: a whole transaction behind the first bad frame that
//! follows upon another one was written after that one was on the disk, so the bad frame was whole once.
//!
//! What was copied into the file may go on standing in the log, and what is left of a shorter one would be laid over
//! newer pages; cut off in the middle of the copying, only the whole log makes the file whole. How much was stored and
//! how much copied stands in the index beside it, unless the computer itself went down.
//!
//! Formats: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>, <https://www.sqlite.org/walformat.html>.

use std::{
    fs::File,
    io::{BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::Context;

use super::{
    condition::Damaged,
    files::{is_without_bytes, with_suffix},
};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// Without its last bit, which says in which order the checksums take bytes.
const MAGIC: u32 = 0x377f_0682;
/// Of every file that quintile makes; the log says it too, if it can still be read.
const PAGE: usize = 4096;
const BUFFER: usize = 1 << 20;

/// Frames that SQLite would not read although they were stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Where in the log the first bad frame begins, in bytes.
    pub at: u64,
    /// Transactions from there on, at least.
    pub transactions: u64,
    pub left: Left,
}

/// Where whole transactions are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// In the file under what can be read of the log.
    InBoth,
    /// In the file alone: it has more of the log than can be read.
    InFile,
    /// Nowhere: the file has some pages of what cannot be read, and not all.
    Nowhere,
}

/// Refuses a database whose log stands alone or is damaged before its end. For whoever opens a database that no other
/// process has: what SQLite does with such a log cannot be taken back.
///
/// # Errors
/// [`Damaged`]; the log cannot be read.
pub(super) fn refuse_lost(database: &Path) -> anyhow::Result<()> {
    refuse_log_alone(database)?;
    let Some(Lost { at, transactions, left }) = lost(database)? else { return Ok(()) };
    let what = match left {
        Left::InBoth => format!("and {transactions} or more changes with it"),
        Left::InFile => "the file is ahead of it".to_owned(),
        Left::Nowhere => "and only a part of what it said is in the file".to_owned(),
    };
    Err(Damaged(format!("{} cannot be read from byte {at} on, {what}", log_of(database).display())))
        .with_context(|| format!("cannot go on with {}", database.display()))
}

/// Refuses a database that is gone or empty while its log is not, before SQLite looks: it would delete the log.
///
/// # Errors
/// [`Damaged`].
pub(super) fn refuse_log_alone(database: &Path) -> anyhow::Result<()> {
    let log = log_of(database);
    if !is_without_bytes(database) || is_without_bytes(&log) {
        return Ok(());
    }
    let what = if database.exists() { "empty" } else { "gone" };
    Err(Damaged(format!("the file is {what}, and its log {} is not", log.display())))
        .with_context(|| format!("cannot go on with {}", database.display()))
}

/// What of the log of `database` was stored and would not be read again; `None`: the log is whole, or ends
/// in the middle of the transaction that was written last, or there is none.
///
/// # Errors
/// The log cannot be read.
pub fn lost(database: &Path) -> anyhow::Result<Option<Lost>> {
    let path = log_of(database);
    let look =
        || look(&path, &with_suffix(database, "-shm")).with_context(|| format!("cannot read {}", path.display()));
    // Somebody else may write it meanwhile, the end after the middle was read: then the next look finds something
    // else.
    let mut seen = look()?;
    while seen.is_some() {
        let again = look()?;
        if again == seen {
            break;
        }
        seen = again;
    }
    Ok(seen)
}

fn log_of(database: &Path) -> PathBuf {
    with_suffix(database, "-wal")
}

fn look(path: &Path, index: &Path) -> std::io::Result<Option<Lost>> {
    let told = Told::by(index); // before the log, which has at least as much then
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(told.and_then(Told::without_log)),
        file => file?,
    };
    let mut log = BufReader::with_capacity(BUFFER, file);
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(told.and_then(Told::without_log));
    }
    // What the header says of its own order counts if it is whole in that order.
    let says_big_endian = number(&header, 0) & 1 == 1;
    let is_whole =
        number(&header, 0) & !1 == MAGIC && checksum((0, 0), &header[..24], says_big_endian) == pair(&header, 24);
    let big_endian = if is_whole { says_big_endian } else { cfg!(target_endian = "big") };
    // Without the header nothing says which frames are those of this log and which are left of earlier ones.
    let salts = is_whole.then(|| pair(&header, 16));
    let page = number(&header, 8) as usize;
    let page = if page.is_power_of_two() && (512..=65_536).contains(&page) { page } else { PAGE };

    let mut frame = vec![0; FRAME_HEADER + page];
    let mut at = HEADER as u64;
    // Where the first bad frame is, once there was one.
    let mut bad = (!is_whole).then_some(0);
    // The checksum of the frame before, as it is stored and, of a bad one, as it should be.
    let mut before = ([pair(&header, 24); 2], false);
    let (mut is_next, mut transactions, mut frames) = (false, 0, 0);
    while fill(&mut log, &mut frame)? {
        let ends_transaction = number(&frame, 4) != 0;
        let (stored, (seeds, after_transaction)) = (pair(&frame, 16), before);
        let sum = |seed| {
            let seed = checksum(seed, &frame[..8], big_endian);
            checksum(seed, &frame[FRAME_HEADER..], big_endian)
        };
        let computed = sum(seeds[0]);
        let follows = salts.is_none_or(|salts| salts == pair(&frame, 8))
            && (computed == stored || (seeds[0] != seeds[1] && sum(seeds[1]) == stored));
        if bad.is_some() {
            is_next = follows && (is_next || after_transaction);
            transactions += u64::from(is_next && ends_transaction);
        } else if follows {
            frames += 1;
        } else {
            bad = Some(at);
        }
        before = ([stored, computed], ends_transaction);
        at += frame.len() as u64;
    }
    let told = told.filter(|told| salts.is_none_or(|salts| salts == told.salts));
    let left = told.map_or(Left::InBoth, |told| told.left(frames));
    let is_lost = transactions > 0 || left != Left::InBoth || told.is_some_and(|told| frames < told.stored);
    Ok(is_lost.then(|| Lost { at: bad.unwrap_or(at), transactions: transactions + 1, left }))
}

/// What the index that the users of a log share says of it. Numbers of frames.
#[derive(Debug, Clone, Copy)]
struct Told {
    salts: (u32, u32),
    /// Of whole transactions. Noted after they came to the disk.
    stored: u32,
    /// Copied into the file.
    copied: u32,
    /// Up to where pages were being copied.
    tried: u32,
}

impl Told {
    /// `None`: there is no index, or not a whole one.
    fn by(index: &Path) -> Option<Self> {
        const VERSION: u32 = 3_007_000;
        let mut bytes = [0; 136];
        let mut index = File::open(index).ok().filter(is_since_boot)?;
        index.read_exact(&mut bytes).ok()?;
        let native = |at: usize| u32::from_ne_bytes(std::array::from_fn(|place| bytes[at + place]));
        let is_whole = native(0) == VERSION && bytes[..48] == bytes[48..96];
        is_whole.then(|| Self { salts: pair(&bytes, 32), stored: native(16), copied: native(96), tried: native(128) })
    }

    /// Where whole transactions are if so many `frames` of the log can be read.
    fn left(self, frames: u32) -> Left {
        if frames >= self.copied.max(self.tried) {
            Left::InBoth
        } else if self.tried > self.copied {
            Left::Nowhere
        } else {
            Left::InFile
        }
    }

    /// If there is no log at all: a file that has all of it needs none.
    fn without_log(self) -> Option<Lost> {
        (self.stored > self.copied).then(|| Lost { at: 0, transactions: 1, left: self.left(0) })
    }
}

/// Whether this file, which is memory and comes to the disk when it happens to, was written since the computer
/// started: if not, it may have stopped by itself, and what stands here be older than the log. A computer without a
/// clock of its own starts with a time from before that, so what was written later than now was not written since.
fn is_since_boot(index: &File) -> bool {
    // See proc_stat(5): seconds since 1970. Where the system does not tell, it is believed.
    let told = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = told.lines().find_map(|line| line.strip_prefix("btime ")?.parse().ok()).unwrap_or(0);
    let written = index.metadata().and_then(|file| file.modified());
    written.is_ok_and(|at| at >= UNIX_EPOCH + Duration::from_secs(booted) && at.elapsed().is_ok())
}

/// Whether there was as much; less is the end of what was written.
fn fill(log: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<bool> {
    match log.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(std::array::from_fn(|place| bytes[at + place]))
}

fn pair(bytes: &[u8], at: usize) -> (u32, u32) {
    (number(bytes, at), number(bytes, at + 4))
}

/// Of `bytes` behind those that gave `seed`.
fn checksum(seed: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let sum = if big_endian { sum::<true> } else { sum::<false> };
    sum(seed, bytes)
}

fn sum<const BIG_ENDIAN: bool>(seed: (u32, u32), bytes: &[u8]) -> (u32, u32) {
    let number = if BIG_ENDIAN { u32::from_be_bytes } else { u32::from_le_bytes };
    bytes.as_chunks().0.iter().fold(seed, |(one, two), &[a, b, c, d, e, f, g, h]| {
        let one = one.wrapping_add(number([a, b, c, d])).wrapping_add(two);
        (one, two.wrapping_add(number([e, f, g, h])).wrapping_add(one))
    })
}
