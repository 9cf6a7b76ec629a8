//! What frameworks and editors do to a body before it is checked, undone.

use std::fmt;

/// What was done to the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    NewlineAdded,
    NewlineRemoved,
    /// LF became CRLF.
    LineEndings,
    /// CRLF became LF.
    LineEndingsUnified,
    ByteOrderMark,
    /// Read as Latin-1 and written as UTF-8.
    Latin1,
    /// Parsed as JSON and written again.
    Reserialised,
}

/// The body as it may have been before each change, the likeliest first. Only what differs.
pub fn of(body: &[u8]) -> Vec<(Change, Vec<u8>)> {
    let text = str::from_utf8(body).ok();
    let trimmed = body.strip_suffix(b"\n").map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    let variants = [
        (Change::NewlineAdded, trimmed.map(<[u8]>::to_vec)),
        (Change::NewlineRemoved, Some([body, b"\n"].concat())),
        (Change::LineEndings, text.map(|text| text.replace("\r\n", "\n").into_bytes())),
        (Change::LineEndingsUnified, text.map(|text| text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes())),
        (Change::ByteOrderMark, body.strip_prefix(b"\xef\xbb\xbf").map(<[u8]>::to_vec)),
        (Change::Latin1, text.and_then(as_latin1)),
        (Change::Reserialised, text.and_then(compact)),
    ];
    let differs = |(change, variant): (Change, Option<Vec<u8>>)| Some((change, variant.filter(|it| it != body)?));
    variants.into_iter().filter_map(differs).collect()
}

/// The bytes that were taken for Latin-1; `None` when this cannot have come from there.
fn as_latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

/// JSON as quintile writes it: no blanks between tokens, text as itself and not as `\u00eb` or
/// `\/`. The order of names stays: one that a framework changed cannot be put back. `None` when
/// it is not JSON.
fn compact(text: &str) -> Option<Vec<u8>> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let mut out = String::with_capacity(text.len());
    let mut in_text = false;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if in_text && c == '\\' {
            let (plain, length) = unescaped(rest);
            out.push_str(&plain);
            rest = &rest[length..];
            continue;
        }
        in_text ^= c == '"';
        if in_text || !c.is_ascii_whitespace() {
            out.push(c);
        }
        rest = &rest[c.len_utf8()..];
    }
    Some(out.into_bytes())
}

/// The escape that `text` begins with as quintile writes it, and how many bytes it takes.
fn unescaped(text: &str) -> (String, usize) {
    let unit = |at: usize| u16::from_str_radix(text.get(at..at + 6)?.strip_prefix("\\u")?, 16).ok();
    let Some(first) = unit(0) else {
        let two = &text[..2];
        return (if two == "\\/" { "/" } else { two }.to_owned(), 2);
    };
    let second = unit(6).filter(|_| (0xd800..0xdc00).contains(&first));
    let units: &[u16] = &[first, second.unwrap_or_default()];
    let units = if second.is_some() { units } else { &units[..1] };
    match char::decode_utf16(units.iter().copied()).next() {
        // Control characters stand as escapes in ours too.
        Some(Ok(c)) if c >= ' ' && c != '"' && c != '\\' => (c.to_string(), units.len() * 6),
        _ => (text[..6].to_ascii_lowercase(), 6),
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NewlineAdded => "it matches without the newline at its end; an editor or `echo` added it",
            Self::NewlineRemoved => "it matches with a newline at its end, which was trimmed",
            Self::LineEndings => "it matches with CRLF changed back to LF; read the body as bytes",
            Self::LineEndingsUnified => "it matches with LF changed back to CRLF; read the body as bytes",
            Self::ByteOrderMark => "it matches without the byte order mark at its start",
            Self::Latin1 => "it matches as UTF-8; something read it as Latin-1, so sign the raw bytes",
            Self::Reserialised => {
                "it matches as quintile wrote the JSON; something parsed it and wrote it again (spaces, or \\u \
                 escapes), so sign the raw body and parse it afterwards"
            }
        })
    }
}
