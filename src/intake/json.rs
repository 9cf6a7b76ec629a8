//! Reading JSON that others wrote: limits, and scalars that may be absent, null, text or number.
//! Every refusal is a sentence for the merchant and repeats no personal data.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::model::{Currency, Money, MoneyError, Timestamp};

/// Nesting beyond which a body is refused; a shop's own stay below 10.
const MAX_DEPTH: usize = 64;
/// Values beyond which a body is refused: a `0,` of two bytes takes many times that when it is read. A shop's
/// own have some twenty bytes each, so the largest body has less than half as many.
const MAX_VALUES: usize = 1_000_000;
/// Characters kept of any text: names and tags are shorter, and a hostile one fills no page.
const MAX_TEXT: usize = 1000;
/// Longest id; a shop's own have about 20 characters.
const MAX_ID: usize = 100;

/// A field as told: `None` absent, `Some(Null)` told to be empty. Numbers keep their digits.
pub type Told = Option<Value>;

/// `#[serde(default, deserialize_with = "told")]` keeps null apart from absent.
pub fn told<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The body as text, if it is UTF-8 and neither nested nor cut up beyond reason.
pub fn body(bytes: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the body is not UTF-8 text".to_owned())?;
    let (depth, values) = extent(bytes);
    if depth > MAX_DEPTH {
        return Err(format!("the body is nested more than {MAX_DEPTH} levels deep"));
    }
    if values > MAX_VALUES {
        return Err(format!("the body holds more than {MAX_VALUES} values"));
    }
    Ok(text)
}

/// How deep brackets outside of strings nest, and how many values commas part.
fn extent(bytes: &[u8]) -> (usize, usize) {
    let (mut depth, mut deepest, mut values, mut in_string, mut escaped) = (0usize, 0usize, 1usize, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            b',' if !in_string => values += 1,
            _ => {}
        }
    }
    (deepest, values)
}

/// Parses a body of the shape `T`; `what` names it ("an order").
pub fn parse<'de, T: Deserialize<'de>>(text: &'de str, what: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        if error.is_data() {
            // The library's own words may repeat the value; a field's name is ours.
            let message = error.to_string();
            let fault = message.split(" at line").next().filter(|fault| fault.starts_with("duplicate field"));
            let fault = fault.map_or_else(|| "a value of another kind than expected".to_owned(), str::to_owned);
            format!("the body is not {what}: {fault} at line {line} column {column}")
        } else {
            format!("the body is not JSON: it breaks at line {line} column {column}")
        }
    })
}

/// An id: a whole number of any length or, where `any_text`, any text. `None`: absent, null or empty.
pub fn id(what: &str, value: &Told, any_text: bool) -> Result<Option<String>, String> {
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(Value::Number(number)) => {
            let digits = number.to_string();
            if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("{what} is not a whole number"));
            }
            digits
        }
        Some(_) => return Err(format!("{what} is not an id")),
    };
    let fits = text.len() <= MAX_ID && !text.chars().any(char::is_control);
    if !fits || !(any_text || text.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!("{what} is not an id"));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// An amount, text or number, taken digit by digit; adds to `notes` when it had to be rounded.
/// `None`: absent, null or empty.
pub fn amount(what: &str, value: &Told, currency: Currency, notes: &mut Vec<String>) -> Result<Option<Money>, String> {
    let number;
    let text = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(Value::String(text)) => text.as_str(),
        Some(Value::Number(literal)) => {
            number = literal.to_string();
            number.as_str()
        }
        Some(_) => return Err(format!("{what} is not an amount")),
    };
    let parsed = Money::parse(text, currency).map_err(|error| match error {
        MoneyError::NotANumber(_) => format!("{what} is not usable: it is not an amount; write it like 1234.50"),
        MoneyError::TooLarge(_) => format!("{what} is not usable: it is larger than any order can be"),
    })?;
    if parsed.rounded {
        notes.push(format!("{what} had more digits than {currency} has and was rounded"));
    }
    Ok(Some(parsed.money))
}

/// An instant in RFC 3339. `None`: absent, null or empty.
pub fn instant(what: &str, value: &Told) -> Result<Option<Timestamp>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Timestamp::parse_rfc3339(text)
            .map(Some)
            .map_err(|_| format!("{what} is not usable: it is not a time; write it like 2026-11-23T02:00:00Z")),
        Some(_) => Err(format!("{what} is not a time; write it like \"2026-11-23T02:00:00Z\"")),
    }
}

/// A text as a [`crate::model::Person`] has it: `None` absent, `Some("")` told to be empty.
pub fn text(value: &Told) -> Option<String> {
    match value {
        None => None,
        Some(Value::String(text)) => Some(text.chars().take(MAX_TEXT).collect()),
        Some(Value::Number(number)) => Some(number.to_string().chars().take(MAX_TEXT).collect()),
        Some(_) => Some(String::new()),
    }
}

/// A text that says something.
pub fn some_text(value: &Told) -> Option<String> {
    text(value).filter(|text| !text.trim().is_empty())
}

/// True only for `true`.
pub fn flag(value: &Told) -> bool {
    matches!(value, Some(Value::Bool(true)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn brackets_and_commas_outside_strings_are_counted() {
        for (text, expected) in [
            ("", (0, 1)),
            ("[]", (1, 1)),
            (r#"{"a":[{}],"b":1}"#, (3, 2)),
            (r#""[[[,""#, (0, 1)),
            (r#"["\"[[,",{}]"#, (2, 2)),
        ] {
            assert_eq!(extent(text.as_bytes()), expected, "{text}");
        }
        let zeros = |values: usize| format!("[{}0]", "0,".repeat(values - 1));
        assert!(body(zeros(MAX_VALUES).as_bytes()).is_ok());
        assert!(body(zeros(MAX_VALUES + 1).as_bytes()).unwrap_err().contains("1000000 values"));
        assert!(body("[".repeat(64).as_bytes()).is_ok());
        assert!(body("[".repeat(100_000).as_bytes()).unwrap_err().contains("64 levels"));
        assert!(body(b"{\"a\":\"\xff\"}").unwrap_err().contains("UTF-8"));
    }

    #[test]
    fn ids_keep_their_digits() {
        let number: Value = serde_json::from_str("12345678901234567890123").unwrap();
        assert_eq!(id("id", &Some(number), false), Ok(Some("12345678901234567890123".to_owned())));
        assert_eq!(id("id", &Some(json!("7001")), false), Ok(Some("7001".to_owned())));
        assert_eq!(id("id", &Some(json!("POS-7")), true), Ok(Some("POS-7".to_owned())));
        for empty in [None, Some(Value::Null), Some(json!(""))] {
            assert_eq!(id("id", &empty, true), Ok(None));
        }
        for wrong in ["1.5", "-1", "1e3", "true", "[]", "\"a\"", &format!("\"{}\"", "9".repeat(101))] {
            assert!(id("id", &serde_json::from_str(wrong).unwrap(), false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn amounts_never_pass_through_a_float() {
        let mut notes = Vec::new();
        let mut read = |text: &str| amount("total", &serde_json::from_str(text).unwrap(), Currency::EUR, &mut notes);
        assert_eq!(read("49.9"), Ok(Some(Money(4990))));
        assert_eq!(read("9007199254740.93"), Err("total is not usable: it is larger than any order can be".to_owned()));
        assert_eq!(read("1234567890123.45"), Ok(Some(Money(123_456_789_012_345))));
        assert_eq!(read("\"49.90\""), Ok(Some(Money(4990))));
        assert_eq!(read("null"), Ok(None));
        for wrong in ["1e400", "\"NaN\"", "\"1,50\"", "true", "{}", &"9".repeat(400)] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read("0.005"), Ok(Some(Money(0))));
        assert_eq!(notes, ["total had more digits than EUR has and was rounded"]);
    }

    #[test]
    fn reasons_repeat_no_values() {
        #[derive(Deserialize, Debug)]
        #[expect(dead_code, reason = "only parsed")]
        struct Shape {
            id: u8,
        }
        for (text, expected) in [
            ("{\"id\":\"anna@example.com\"}", "a value of another kind than expected at line 1 column 24"),
            ("{\"id\":1,\"id\":2}", "duplicate field `id` at line 1 column 12"),
            ("{\"id\":", "not JSON: it breaks at line 1 column 6"),
        ] {
            let reason = parse::<Shape>(text, "an order").unwrap_err();
            assert!(reason.ends_with(expected), "{reason}");
        }
        let told = Some(Value::from("anna@example.com"));
        for reason in [
            instant("orderedAt", &told).unwrap_err(),
            amount("total", &told, Currency::EUR, &mut Vec::new()).unwrap_err(),
            id("the id", &told, false).unwrap_err(),
        ] {
            assert!(!reason.contains("anna"), "{reason}");
        }
    }
}
