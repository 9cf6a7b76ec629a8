//! The template language: minijinja, with values written so that they cannot break out of the
//! place they stand in. Which place that is, the template's name says: nothing in a template can
//! turn it off.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::{Digest, Md5};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, HtmlEscape, Output, State, UndefinedBehavior, Value};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::model::Timestamp;

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a template's text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// JSON: every value is a whole JSON value.
    Json,
    /// An encoded form: every value is a part of a field.
    Encoded,
    /// XML or HTML: every value is a text, in an element or a quoted attribute.
    Markup,
    /// A text: no value has a line of its own.
    Text,
    /// One part of an address.
    Url,
    /// A header's value.
    Header,
    /// A field of a form, encoded later; or a condition.
    Plain,
}

impl Place {
    /// The name of a template, which [`Self::of`] reads.
    pub fn name(self, number: usize, part: &str) -> String {
        let place = match self {
            Self::Json => "json",
            Self::Encoded => "encoded",
            Self::Markup => "markup",
            Self::Text => "text",
            Self::Url => "url",
            Self::Header => "header",
            Self::Plain => "plain",
        };
        format!("{place}/{number}/{part}")
    }

    /// Where a body of this content type takes values, without which it is JSON; `None`: nobody knows how
    /// to write a value into it.
    pub fn in_body(content_type: Option<&str>) -> Option<Self> {
        let Some(content_type) = content_type else { return Some(Self::Json) };
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/x-www-form-urlencoded" => Some(Self::Encoded),
            "text/plain" => Some(Self::Text),
            "text/html" | "text/xml" | "application/xml" => Some(Self::Markup),
            other if other.ends_with("/json") || other.ends_with("+json") => Some(Self::Json),
            other if other.ends_with("+xml") => Some(Self::Markup),
            _ => None,
        }
    }

    fn of(name: &str) -> Self {
        match name.split('/').next() {
            Some("json") => Self::Json,
            Some("encoded") => Self::Encoded,
            Some("markup") => Self::Markup,
            Some("text") => Self::Text,
            Some("url") => Self::Url,
            Some("header") => Self::Header,
            _ => Self::Plain,
        }
    }
}

/// The language without templates.
pub fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::Json);
    environment.set_formatter(write);
    for name in ["safe", "escape", "e"] {
        environment.remove_filter(name);
    }
    environment.add_test("given", |value: &Value| is_given(value));
    environment.add_filter("md5", |text: &str| hex::encode(Md5::digest(text)));
    environment.add_filter("base64", |text: &str| STANDARD.encode(text));
    environment.add_filter("number", number);
    environment
        .add_filter("uuid", |id: &str| uuid(id).ok_or_else(|| refuse("`uuid` takes the id of an event or a message")));
    environment.add_filter("suffix", |text: &str, after: &str| {
        let (_, suffix) = text.rsplit_once(after).ok_or_else(|| refuse("there is nothing to take a suffix from"))?;
        Ok::<_, Error>(suffix.to_owned())
    });
    environment.add_filter("cut", |value: &Value, length: usize| match value.as_str() {
        Some(text) => Value::from(text.chars().take(length).collect::<String>()),
        None => value.clone(),
    });
    environment.add_filter("day", |value: &Value| match value.as_str() {
        Some(text) => Value::from(text.get(..10).unwrap_or(text)),
        None => value.clone(),
    });
    environment.add_filter("seconds", |text: &str| {
        let at = Timestamp::parse_rfc3339(text).map_err(|_| refuse("`seconds` takes a time"))?;
        let whole = at.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string();
        Ok::<_, Error>(whole)
    });
    environment.add_filter("compact", compact);
    environment.add_filter("whole", whole);
    environment
}

fn refuse(text: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, text)
}

/// There, and neither null nor empty.
pub fn is_given(value: &Value) -> bool {
    !value.is_undefined() && !value.is_none() && value.as_str() != Some("")
}

/// A decimal string as a number; what is absent stays absent.
fn number(value: &Value) -> Result<Value, Error> {
    let Some(text) = value.as_str() else {
        return if is_given(value) && !value.is_number() {
            Err(refuse("`number` takes a decimal like 412.50"))
        } else {
            Ok(value.clone())
        };
    };
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !plain(decimals) {
        return Err(refuse("`number` takes a decimal like 412.50"));
    }
    if decimals.bytes().all(|byte| byte == b'0')
        && let Ok(number) = text.split('.').next().unwrap_or(text).parse::<i64>()
    {
        return Ok(number.into());
    }
    text.parse::<f64>().map(Value::from).map_err(|_| refuse("`number` takes a decimal like 412.50"))
}

/// The UUID of an id that is shown as a ULID.
fn uuid(id: &str) -> Option<String> {
    const ALPHABET: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let text = id.rsplit('_').next().filter(|text| text.len() == 26)?;
    let value = text.chars().try_fold(0_u128, |value, c| {
        let digit = u128::try_from(ALPHABET.find(c)?).ok()?;
        value.checked_mul(32)?.checked_add(digit)
    })?;
    Some(uuid::Uuid::from_u128(value).to_string())
}

/// A map without what is absent or has no name.
fn compact(map: &Value) -> Result<Value, Error> {
    let mut kept = BTreeMap::new();
    for key in map.try_iter()? {
        let value = map.get_item(&key)?;
        if is_given(&key) && !value.is_undefined() && !value.is_none() {
            kept.insert(key.to_string(), value);
        }
    }
    Ok(kept.into_iter().collect())
}

/// Those maps of a list that have all their values.
fn whole(list: &Value) -> Result<Value, Error> {
    let mut kept = Vec::new();
    for item in list.try_iter()? {
        let mut complete = true;
        for key in item.try_iter()? {
            let value = item.get_item(&key)?;
            complete &= !value.is_undefined() && !value.is_none();
        }
        if complete {
            kept.push(item);
        }
    }
    Ok(kept.into())
}

/// Writes one value into its place.
fn write(out: &mut Output<'_>, state: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let written = match Place::of(state.name()) {
        // Only `tojson` makes a safe text, since the filter that makes any is taken away.
        Place::Json | Place::Plain if value.is_safe() => out.write_str(value.as_str().unwrap_or_default()),
        Place::Json => {
            let json = serde_json::to_string(value).map_err(|_| refuse("this value has no JSON"))?;
            out.write_str(&json)
        }
        Place::Url => {
            let text = plain(value)?;
            // These would change which resource is meant.
            if matches!(text.as_str(), "" | "." | "..") {
                return Err(refuse("a value in the address is empty, or a dot"));
            }
            write!(out, "{}", utf8_percent_encode(&text, RESERVED))
        }
        Place::Encoded => write!(out, "{}", utf8_percent_encode(&plain(value)?, NON_ALPHANUMERIC)),
        Place::Markup => write!(out, "{}", HtmlEscape(&one_line(value)?)),
        Place::Header | Place::Text => out.write_str(&one_line(value)?),
        Place::Plain if value.is_none() => Ok(()),
        Place::Plain => out.write_str(&plain(value)?),
    };
    written.map_err(|_| refuse("the text cannot be written"))
}

/// [`plain`], without control characters: they would end a header or a line, and XML has none.
fn one_line(value: &Value) -> Result<String, Error> {
    let text = plain(value)?;
    if text.contains(char::is_control) {
        return Err(refuse("a value has a control character"));
    }
    Ok(text)
}

/// The text of a single value.
fn plain(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_owned());
    }
    if value.is_number() || matches!(value.kind(), minijinja::value::ValueKind::Bool) {
        return Ok(value.to_string());
    }
    Err(refuse(if value.is_none() { "a value is null" } else { "a value is a list or a map; take one of its members" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_uuid_it_was_made_of() {
        let id = 0x0193_7c5a_1b2c_7def_8123_4567_89ab_cdef_u128;
        let text = crate::outbox::evt_id(&id.to_be_bytes());
        assert_eq!(uuid(&text).unwrap(), "01937c5a-1b2c-7def-8123-456789abcdef");
        assert_eq!(uuid("evt_1"), None);
        assert_eq!(uuid("ZZZZZZZZZZZZZZZZZZZZZZZZZZ"), None);
    }

    #[test]
    fn a_decimal_becomes_a_bare_number() {
        let json = |text: &str| serde_json::to_string(&number(&text.into()).unwrap()).unwrap();
        assert_eq!(json("412.50"), "412.5");
        assert_eq!(json("96990"), "96990");
        assert_eq!(json("100.00"), "100");
        assert_eq!(json("-0.05"), "-0.05");
        for text in ["", "1,5", "1e9", "NaN", "1.", ".5", "--1", "1.2.3"] {
            assert!(number(&text.into()).is_err(), "{text}");
        }
        assert!(number(&Value::UNDEFINED).unwrap().is_undefined());
    }
}
