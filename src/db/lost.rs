//! What a damaged write-ahead log would take with it.
//!
//! SQLite reads the log up to the first frame that is not as it was written, and overwrites the rest. After a
//! power cut that is right: the frame belongs to the transaction that was being written, which nobody was told of.
//! In the middle of the log it is damage, and the transactions behind it, which somebody was told of, would be
//! gone without a word. So a log is read before SQLite does: a whole transaction behind the first bad frame that
//! follows upon another one was written after that one was on the disk, so the bad frame was whole once.
//!
//! What was copied into the file may go on standing in the log, and what is left of a shorter one would be laid over
//! newer pages. How much was copied stands in the index beside it, unless the computer itself went down.
//!
//! Formats: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>, <https://www.sqlite.org/walformat.html>.

use std::{
    fs::File,
    io::{BufReader, ErrorKind, Read},
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{backup::with_suffix, condition::Damaged};

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
    /// All that can be read, and more, is in the file already, which is whole without its log.
    pub is_in_file: bool,
}

/// Refuses a database whose log is damaged before its end. For whoever opens a database that no other
/// process has: what SQLite does with such a log cannot be taken back.
///
/// # Errors
/// [`Damaged`]; the log cannot be read.
pub(super) fn refuse_lost(database: &Path) -> anyhow::Result<()> {
    let Some(Lost { at, transactions, is_in_file }) = lost(database)? else { return Ok(()) };
    let what = if is_in_file {
        "the file is ahead of it".to_owned()
    } else {
        format!("and {transactions} or more changes with it")
    };
    Err(Damaged(format!("{} cannot be read from byte {at} on, {what}", log_of(database).display())))
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
    let copied = copied(index); // before the log, which only grows meanwhile
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut log = BufReader::with_capacity(BUFFER, file);
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(None);
    }
    let is_whole = number(&header, 0) & !1 == MAGIC;
    let big_endian = if is_whole { number(&header, 0) & 1 == 1 } else { cfg!(target_endian = "big") };
    let sum = |seed, bytes: &[u8]| checksum(seed, bytes, big_endian);
    let is_whole = is_whole && sum((0, 0), &header[..24]) == pair(&header, 24);
    // Without the header nothing says which frames are those of this log and which are left of earlier ones.
    let salts = is_whole.then(|| pair(&header, 16));
    let page = number(&header, 8) as usize;
    let page = if page.is_power_of_two() && (512..=65_536).contains(&page) { page } else { PAGE };

    let mut frame = vec![0; FRAME_HEADER + page];
    let mut at = HEADER as u64;
    // Where the first bad frame is, once there was one.
    let mut bad = (!is_whole).then_some(0);
    let mut before = (pair(&header, 24), false);
    let (mut is_next, mut transactions, mut whole_frames) = (false, 0, 0);
    while fill(&mut log, &mut frame)? {
        let ends_transaction = number(&frame, 4) != 0;
        let (stored, (seed, after_transaction)) = (pair(&frame, 16), before);
        let follows = salts.is_none_or(|salts| salts == pair(&frame, 8))
            && sum(sum(seed, &frame[..8]), &frame[FRAME_HEADER..]) == stored;
        if bad.is_some() {
            is_next = follows && (is_next || after_transaction);
            transactions += u64::from(is_next && ends_transaction);
        } else if follows {
            whole_frames += 1;
        } else {
            bad = Some(at);
        }
        before = (stored, ends_transaction);
        at += frame.len() as u64;
    }
    let is_in_file = copied.is_some_and(|(of, frames)| salts.is_none_or(|salts| salts == of) && frames > whole_frames);
    let is_lost = is_in_file || transactions > 0;
    Ok(is_lost.then(|| Lost { at: bad.unwrap_or(at), transactions: transactions + 1, is_in_file }))
}

/// The salts of the log and how many of its frames are in the file, by the index that its users share; `None`:
/// there is none, or not a whole one.
fn copied(index: &Path) -> Option<((u32, u32), u32)> {
    const VERSION: u32 = 3_007_000;
    let mut bytes = [0; 136];
    File::open(index).ok()?.read_exact(&mut bytes).ok()?;
    let native = |at: usize| u32::from_ne_bytes(std::array::from_fn(|place| bytes[at + place]));
    let is_whole = native(0) == VERSION && bytes[..48] == bytes[48..96];
    is_whole.then(|| (pair(&bytes, 32), native(96)))
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
