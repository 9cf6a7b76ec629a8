//! A captured request, however it was captured.

use serde_json::Value;

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// Names in lower case, in their order.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why a text is no capture. The messages say what it should look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotACapture {
    #[error(
        "there is no blank line between headers and body; write the request as it came, or use --headers and --body"
    )]
    NoBlankLine,
    #[error("the headers are not text")]
    NotText,
    #[error("the headers are not a JSON object like {{\"webhook-id\": \"msg_…\"}}")]
    NotAnObject,
    #[error("there is no header in it; write one per line, like `webhook-id: msg_…`, or a JSON object")]
    NoHeaders,
}

impl Captured {
    /// From headers (lines `name: value`, or a JSON object) and the body's bytes.
    ///
    /// # Errors
    /// The headers are neither.
    pub fn from_parts(headers: &[u8], body: Vec<u8>) -> Result<Self, NotACapture> {
        let text = str::from_utf8(headers).map_err(|_| NotACapture::NotText)?;
        let text = text.trim_start_matches('\u{feff}').trim();
        let headers = if text.starts_with('{') { object(text)? } else { lines(text) };
        if headers.is_empty() { Err(NotACapture::NoHeaders) } else { Ok(Self { headers, body }) }
    }

    /// From a raw request: a request line or none, headers, a blank line, the body.
    ///
    /// # Errors
    /// There is no blank line, or no header before it.
    pub fn from_request(raw: &[u8]) -> Result<Self, NotACapture> {
        // The first blank line, whichever its kind: the other may stand in the body.
        let blanks = [b"\r\n\r\n".as_slice(), b"\n\n"].map(|blank| (find(raw, blank), blank.len()));
        let first = blanks.iter().filter_map(|(at, length)| Some(((*at)?, *length))).min();
        let (at, length) = first.ok_or(NotACapture::NoBlankLine)?;
        Self::from_parts(&raw[..at], raw[at + length..].to_vec())
    }

    /// The first header of this name (in lower case); `None` when there is none or it is empty.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let first = self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
        first.filter(|value| !value.is_empty())
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Lines without a colon, and the request line, are passed over.
fn lines(text: &str) -> Vec<(String, String)> {
    let header = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let name = name.trim();
        (!name.is_empty() && !name.contains(char::is_whitespace))
            .then(|| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    text.lines().filter_map(header).collect()
}

/// A value may be a text, a number, or a list whose first counts.
fn object(text: &str) -> Result<Vec<(String, String)>, NotACapture> {
    let Ok(Value::Object(object)) = serde_json::from_str(text) else { return Err(NotACapture::NotAnObject) };
    let plain = |value: &Value| match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    };
    let value = |value: &Value| match value {
        Value::Array(values) => values.first().map(plain).unwrap_or_default(),
        other => plain(other),
    };
    Ok(object.iter().map(|(name, it)| (name.to_ascii_lowercase(), value(it))).collect())
}
