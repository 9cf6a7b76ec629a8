//! Telling from the first bytes what a file is.

use std::{
    fs::File,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use csv::ByteRecord;

use super::{
    Format, Parser, Settings, Unusable, customers, generic,
    header::{Header, guess},
    shopify_orders,
};
use crate::{intake::bulk, ledger::Rules};

/// What is looked at of a file. The header must end within it; Shopify's has 1.3 KiB.
pub(super) const HEAD: usize = 64 * 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Cell separators we know, the usual first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A file whose format is known, ready to be imported.
#[derive(Debug)]
pub struct Input {
    pub path: PathBuf,
    pub format: Format,
    /// In bytes, as it stands on the disk; 0 when it is not known (a pipe).
    pub size: u64,
    pub(super) file: File,
    pub(super) content: Content,
}

/// What was read of a file to look at it, and how it is to be read on.
#[derive(Debug, Clone)]
pub(super) enum Content {
    Table(Box<Table>),
    /// JSON lines, maybe packed.
    Lines {
        head: Vec<u8>,
        rules: Rules,
    },
}

/// A CSV whose separator and columns are known.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub head: Head,
    pub header: ByteRecord,
    pub parser: Parser,
}

/// The bytes read to look at, and how the table in them is written.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub bytes: Vec<u8>,
    /// Where the header starts: behind a byte order mark or a `sep=` line.
    pub start: usize,
    /// Lines before the header.
    pub lines: u64,
    pub delimiter: u8,
}

/// Opens a file and tells what it is. `wanted` is what the merchant says it is.
///
/// # Errors
/// It cannot be read, is none of our formats, lacks columns, or is of a format that this version
/// does not read. The message starts with the path.
pub fn open(path: &Path, wanted: Option<Format>, settings: &Settings) -> Result<Input, Unusable> {
    recognise(path, wanted, settings).map_err(|Unusable(problem)| Unusable(format!("{} {problem}", path.display())))
}

fn recognise(path: &Path, wanted: Option<Format>, settings: &Settings) -> Result<Input, Unusable> {
    let (file, size, bytes) =
        read_head(path).map_err(|error| Unusable::new(format!("cannot be read: {error}; is the path right?")))?;
    let lines = bulk::holds_lines(&bytes);
    if lines && matches!(wanted, None | Some(Format::ShopifyJsonl)) {
        let content = Content::Lines { head: bytes, rules: settings.rules.clone() };
        return Ok(Input { path: path.to_owned(), format: Format::ShopifyJsonl, size, file, content });
    }
    refuse_what_is_no_text(&bytes)?;
    let (head, header) = table(bytes, settings)?;
    let columns = Header::new(&header);
    let Some(format) = wanted.or_else(|| format_of(&columns, settings)) else {
        return Err(cannot_tell(&columns, head.delimiter, settings));
    };
    let parser = match format {
        Format::ShopifyCsv => Parser::Shopify(shopify_orders::Parser::new(columns, settings)?),
        Format::Csv => Parser::Generic(generic::Parser::new(columns, settings)?),
        Format::ShopifyCustomersCsv => Parser::Customers(customers::Parser::shopify(columns)?),
        Format::CustomersCsv => Parser::Customers(customers::Parser::generic(columns, settings)?),
        Format::ShopifyJsonl => {
            return Err(Unusable::new("does not hold JSON lines: its first one does not start with {"));
        }
    };
    let content = Content::Table(Box::new(Table { head, header, parser }));
    Ok(Input { path: path.to_owned(), format, size, file, content })
}

fn read_head(path: &Path) -> std::io::Result<(File, u64, Vec<u8>)> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(std::io::Error::new(std::io::ErrorKind::IsADirectory, "it is a folder"));
    }
    let mut bytes = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut bytes)?;
    Ok((file, if metadata.is_file() { metadata.len() } else { 0 }, bytes))
}

fn refuse_what_is_no_text(bytes: &[u8]) -> Result<(), Unusable> {
    let problem = if bytes.strip_prefix(BOM).unwrap_or(bytes).iter().all(u8::is_ascii_whitespace) {
        "is empty"
    } else if bytes.starts_with(b"PK\x03\x04") {
        "is a ZIP archive or an Excel workbook; unpack it, or save it as \"CSV UTF-8\""
    } else if bytes.starts_with(b"\x1f\x8b") {
        "is compressed; unpack it first (gunzip)"
    } else if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        "is UTF-16 text; save it as \"CSV UTF-8\""
    } else if bytes.contains(&0) {
        "is not a text file; a CSV of orders is expected"
    } else {
        return Ok(());
    };
    Err(Unusable::new(problem))
}

/// Finds the header and the separator: the one that splits the first line into most columns we know,
/// or simply into most.
fn table(bytes: Vec<u8>, settings: &Settings) -> Result<(Head, ByteRecord), Unusable> {
    let mut start = if bytes.starts_with(BOM) { BOM.len() } else { 0 };
    let mut lines = 0;
    let mut candidates = DELIMITERS.to_vec();
    let first_line = bytes[start..].split(|&b| b == b'\n').next().unwrap_or_default();
    // Excel's own way of naming the separator.
    if let Some(&[separator, b'\r', ..] | &[separator]) = first_line.strip_prefix(b"sep=") {
        candidates = vec![separator];
        start = (start + first_line.len() + 1).min(bytes.len());
        lines = 1;
    }
    let best = candidates
        .into_iter()
        .filter_map(|delimiter| Some((delimiter, first_record(&bytes[start..], delimiter)?)))
        .max_by_key(|(_, record)| {
            let header = Header::new(record);
            let known = shopify_orders::recognises(&header)
                || customers::is_shopifys(&header)
                || customers::recognises(&header, settings);
            (known, generic::matches(&header, settings), record.len())
        });
    let Some((delimiter, header)) = best.filter(|(_, record)| !is_cut(record, &bytes)) else {
        return Err(Unusable::new("has no header in its first line; a CSV of orders is expected"));
    };
    Ok((Head { bytes, start, lines, delimiter }, header))
}

fn first_record(bytes: &[u8], delimiter: u8) -> Option<ByteRecord> {
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .has_headers(false)
        .flexible(true)
        .from_reader(Cursor::new(bytes));
    let mut record = ByteRecord::new();
    reader.read_byte_record(&mut record).ok().filter(|found| *found).map(|_| record)
}

/// Whether the header reaches the end of what was read, and so may go on.
fn is_cut(record: &ByteRecord, bytes: &[u8]) -> bool {
    record.as_slice().len() + record.len() >= HEAD && bytes.len() >= HEAD
}

/// What the merchant has mapped goes first. `None`: nothing we know.
fn format_of(header: &Header, settings: &Settings) -> Option<Format> {
    let (orders, people) = (generic::recognises(header, settings), customers::recognises(header, settings));
    Some(match () {
        () if orders && !settings.columns.is_empty() => Format::Csv,
        () if people && !settings.customer_columns.is_empty() => Format::CustomersCsv,
        () if shopify_orders::recognises(header) => Format::ShopifyCsv,
        () if customers::is_shopifys(header) => Format::ShopifyCustomersCsv,
        () if orders => Format::Csv,
        // A file of orders that lacks one column is not to be taken for a list of customers.
        () if people && !generic::has_any_of_an_order(header, settings) => Format::CustomersCsv,
        () => return None,
    })
}

/// What a merchant writes the file's own name in place of.
const UNNAMED: &str = "the file's name for it";

/// Says what was found and what to write.
fn cannot_tell(header: &Header, delimiter: u8, settings: &Settings) -> Unusable {
    if let Some((ours, theirs)) = settings.columns.iter().find(|(_, theirs)| !header.has(theirs)) {
        return Unusable::new(format!(
            "has no column {theirs:?}, which [import.columns] {ours} names; its columns are {}",
            header.listed()
        ));
    }
    let between = match delimiter {
        b',' => " between commas",
        b';' => " between semicolons",
        b'\t' => " between tabs",
        _ => "",
    };
    let found = match header.len() {
        1 => "one column".to_owned(),
        count => format!("{count} columns{between}"),
    };
    let remedy: Vec<_> = generic::missing(header, settings)
        .into_iter()
        .map(|ours| format!("  {ours} = {:?}", guess(header, ours).unwrap_or(UNNAMED)))
        .collect();
    Unusable::new(format!(
        "is none of the files that quintile knows. It has {found}: {}. If these are orders, say which is which under [import.columns] in config.toml:\n{}\nIf these are customers, do so under [import.customer_columns].",
        header.listed(),
        remedy.join("\n"),
    ))
}
