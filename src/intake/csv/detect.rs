//! Telling from the first bytes what a file is.

use std::{
    fs::File,
    io::{Cursor, Read},
    path::{Path, PathBuf},
};

use csv::ByteRecord;

use super::{Format, Parser, Settings, Unusable, generic, header::Header, shopify_orders};

/// The header must end within this many bytes. Shopify's is 1.3 KiB.
const HEAD: usize = 64 * 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";
/// Cell separators we know, the usual first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Columns that only Shopify's customers export has.
const SHOPIFY_CUSTOMERS: [&str; 2] = ["Accepts Email Marketing", "Total Orders"];

/// A file whose format, separator and columns are known, ready to be imported.
#[derive(Debug)]
pub struct Input {
    pub path: PathBuf,
    pub format: Format,
    /// In bytes; 0 when it is not known (a pipe).
    pub size: u64,
    pub(super) head: Head,
    pub(super) file: File,
    pub(super) header: ByteRecord,
    pub(super) parser: Parser,
}

/// The bytes read to look at, and how the table in them is written.
#[derive(Debug)]
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
    refuse_what_is_no_text(&bytes)?;
    if matches!(wanted, Some(Format::ShopifyJsonl)) || (wanted.is_none() && bytes.starts_with(b"{")) {
        return Err(not_yet(Format::ShopifyJsonl, "import a Shopify orders export (CSV)"));
    }
    let (head, header) = table(bytes, settings)?;
    let columns = Header::new(&header);
    let format = wanted.unwrap_or_else(|| format_of(&columns, settings));
    let parser = match format {
        Format::ShopifyCsv => Parser::Shopify(shopify_orders::Parser::new(columns, settings)?),
        Format::Csv => Parser::Generic(generic::Parser::new(columns, settings)?),
        Format::ShopifyJsonl | Format::ShopifyCustomersCsv => {
            return Err(not_yet(format, "customers come with their orders: import a Shopify orders export (CSV)"));
        }
    };
    Ok(Input { path: path.to_owned(), format, size, head, file, header, parser })
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
            let known = shopify_orders::recognises(&header) || is_customers_export(&header);
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

fn is_customers_export(header: &Header) -> bool {
    header.has("First Name") && header.has("Last Name") && SHOPIFY_CUSTOMERS.iter().any(|name| header.has(name))
}

/// A file that is nothing we know is read as the generic CSV, whose error names the columns.
fn format_of(header: &Header, settings: &Settings) -> Format {
    if !settings.columns.is_empty() && generic::recognises(header, settings) {
        Format::Csv // the merchant has mapped these columns
    } else if shopify_orders::recognises(header) {
        Format::ShopifyCsv
    } else if is_customers_export(header) {
        Format::ShopifyCustomersCsv
    } else {
        Format::Csv
    }
}

fn not_yet(format: Format, instead: &str) -> Unusable {
    Unusable::new(format!("is read as {}, which is not in this version yet; {instead}", format.as_str()))
}
