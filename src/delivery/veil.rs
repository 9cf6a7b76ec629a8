//! What of a destination nobody may see, taken out of what its tool says: tools repeat requests in
//! their answers, and answers are shown and stored.

use std::{collections::BTreeMap, fmt};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::{Url, form_urlencoded};

use crate::config;

const DOTS: &str = "…";
/// What every program leaves as it is in an address, beside letters and digits.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Bytes of a form of a secret, or of a part of an address, that is looked for: shorter ones stand
/// in any text.
const SHORTEST: usize = 6;
/// Bytes of the beginning of a secret, at the end of an answer that was cut off, that are taken out.
const SHORTEST_CUT: usize = 4;
/// Bytes of one part of an address, or of one value in its query, that make it look like a key.
const KEY_LIKE: usize = 16;

/// The secrets of one destination in the forms in which texts carry them. Never shows itself.
#[derive(Clone, Default)]
pub struct Veil(Vec<String>);

impl Veil {
    /// Its secrets, each key of its signing secret, and what may be one in its addresses and headers.
    #[must_use]
    pub fn new(destination: &config::Destination) -> Self {
        let mut found = Vec::new();
        for secret in destination.secrets.values().map(config::Secret::expose) {
            add(&mut found, secret);
        }
        add(&mut found, destination.secret.expose());
        for key in destination.secret.expose().split_whitespace() {
            let key = key.split('@').next().unwrap_or_default();
            add(&mut found, key);
            add(&mut found, key.strip_prefix("whsec_").unwrap_or_default());
        }
        for url in [&destination.url].into_iter().chain(destination.request.iter().map(|request| &request.url)) {
            add_address(&mut found, url);
        }
        for headers in [&destination.headers].into_iter().chain(destination.request.iter().map(|it| &it.headers)) {
            add_headers(&mut found, headers);
        }
        // A form that holds another one goes first.
        found.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        found.dedup();
        Self(found)
    }

    /// `bytes` with dots in the place of each secret.
    #[must_use]
    pub fn take_out(&self, bytes: &[u8]) -> Vec<u8> {
        let mut left = bytes.to_vec();
        for form in self.0.iter().map(String::as_bytes) {
            if let Some(at) = find(&left, form) {
                left = without(&left, form, at);
            }
        }
        // The longest beginning of a secret with which it was cut off.
        let cut = self.0.iter().filter_map(|form| cut_off(&left, form.as_bytes())).max();
        if let Some(length) = cut {
            left.truncate(left.len() - length);
            left.extend_from_slice(DOTS.as_bytes());
        }
        left
    }

    /// [`Self::take_out`] of a text.
    #[must_use]
    pub fn take_out_text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.take_out(text.as_bytes())).into_owned()
    }
}

/// Adds what of an address, as the configuration has it, may be a key: name and password, path and query.
fn add_address(found: &mut Vec<String>, url: &str) {
    let Some(url) = Some(url.trim()).filter(|url| !url.contains("{{")).and_then(|url| Url::parse(url).ok()) else {
        return;
    };
    if let Some(password) = url.password() {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        add(found, &decoded(password));
        add(found, &format!("{}:{}", decoded(url.username()), decoded(password)));
    }
    let path = url.path();
    let query = url.query().unwrap_or_default();
    let parts = path.split('/').filter(|part| part.len() >= KEY_LIKE).map(str::to_owned);
    let values = url.query_pairs().map(|(_, value)| value.into_owned()).filter(|value| value.len() >= KEY_LIKE);
    for text in [path.to_owned(), query.to_owned()].into_iter().chain(parts).chain(values) {
        if text.len() >= SHORTEST {
            add(found, &text);
        }
    }
}

/// Adds the words of headers that the configuration gives as they are: any may be a password.
fn add_headers(found: &mut Vec<String>, headers: &BTreeMap<String, String>) {
    const NO_KEYS: [&str; 3] = ["accept", "content-type", "user-agent"];
    let may_be_keys = headers
        .iter()
        .filter(|(name, value)| !NO_KEYS.iter().any(|known| name.eq_ignore_ascii_case(known)) && !value.contains("{{"));
    for word in may_be_keys.flat_map(|(_, value)| value.split_whitespace()).filter(|word| word.len() > SHORTEST) {
        add(found, word);
    }
}

/// Adds `secret` and what becomes of it in addresses, forms, JSON and headers.
fn add(found: &mut Vec<String>, secret: &str) {
    let secret = secret.trim();
    if secret.is_empty() {
        return;
    }
    found.push(secret.to_owned());
    let json = serde_json::Value::from(secret).to_string();
    let json = json.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
    let encoded = utf8_percent_encode(secret, UNRESERVED).to_string();
    let mut forms = vec![
        encoded.replace("%20", "+"),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        json.replace('/', "\\/"),
        json.to_owned(),
        STANDARD.encode(secret),
    ];
    forms.extend([lower_escapes(&encoded), encoded]);
    // Alone, or behind something else like the user of `Basic`: three places in the groups of three.
    for before in 0..3 {
        let bytes = [&[0; 2][..before], secret.as_bytes()].concat();
        let (first, last) = ([0, 2, 3][before], bytes.len() * 8 / 6);
        for text in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
            forms.push(text.get(first..last).unwrap_or_default().to_owned());
        }
    }
    found.extend(forms.into_iter().filter(|form| form.len() >= SHORTEST));
}

/// `%2f` for `%2F`.
fn lower_escapes(encoded: &str) -> String {
    let mut left = 0;
    let lower = |c: char| {
        let inside = left > 0;
        left = if c == '%' { 2 } else { usize::saturating_sub(left, 1) };
        if inside { c.to_ascii_lowercase() } else { c }
    };
    encoded.chars().map(lower).collect()
}

fn find(text: &[u8], form: &[u8]) -> Option<usize> {
    let first = form.first()?;
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| byte == first) {
        if text[from + at..].starts_with(form) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// `at`: where it is found first.
fn without(text: &[u8], form: &[u8], at: usize) -> Vec<u8> {
    let (mut kept, mut rest, mut next) = (Vec::with_capacity(text.len()), text, Some(at));
    while let Some(at) = next {
        kept.extend_from_slice(&rest[..at]);
        kept.extend_from_slice(DOTS.as_bytes());
        rest = &rest[at + form.len()..];
        next = find(rest, form);
    }
    kept.extend_from_slice(rest);
    kept
}

/// How much of the beginning of `form` ends `text`.
fn cut_off(text: &[u8], form: &[u8]) -> Option<usize> {
    let longest = form.len().saturating_sub(1).min(text.len());
    (SHORTEST_CUT..=longest).rev().find(|length| text.ends_with(&form[..*length]))
}

impl fmt::Debug for Veil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Veil(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    fn veil(secret: &str) -> Veil {
        let secrets = [("api_key".to_owned(), Secret::new(secret))].into();
        Veil::new(&config::Destination { secrets, ..Default::default() })
    }

    #[test]
    fn passwords_in_addresses_and_headers_are_taken_out() {
        let request = config::Request {
            url: "https://crm.example/hooks/a-long-secret-path?key=another-long-secret".to_owned(),
            headers: [("Authorization".to_owned(), "Bearer literal-bearer".to_owned())].into(),
            ..config::Request::default()
        };
        let veil = Veil::new(&config::Destination {
            url: "https://user:pass-w0rd@tool.example/in".to_owned(),
            headers: [("X-Key", "literal-key"), ("Content-Type", "application/json")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            request: vec![request],
            ..config::Destination::default()
        });
        let told = "Basic dXNlcjpwYXNzLXcwcmQ=, pass-w0rd, literal-key, Bearer literal-bearer, application/json, \
                    /hooks/a-long-secret-path?key=another-long-secret";
        assert_eq!(veil.take_out_text(told), "Basic …, …, …, Bearer …, application/json, …?…");
    }

    #[test]
    fn each_key_of_a_signing_secret_is_taken_out() {
        let secret = Secret::new(format!("{NEW} {OLD}@2026-11-26T12:00:00Z"));
        let veil = Veil::new(&config::Destination { secret, ..Default::default() });
        let text = format!("{OLD}, {NEW}, {}", &OLD[6..]);
        assert_eq!(veil.take_out_text(&text), "…, …, …");
        assert_eq!(format!("{veil:?}"), "Veil(…)");
    }

    #[test]
    fn a_secret_is_taken_out_in_whatever_form_it_is_repeated() {
        let secret = "p/k \"1\"+a=é";
        let veil = veil(secret);
        for form in [
            secret,
            "p%2Fk%20%221%22%2Ba%3D%C3%A9",
            "p%2fk%20%221%22%2ba%3d%c3%a9",
            "p%2Fk+%221%22%2Ba%3D%C3%A9",
            "p/k \\\"1\\\"+a=é",
            "p\\/k \\\"1\\\"+a=é",
            &STANDARD.encode(secret),
            &URL_SAFE_NO_PAD.encode(secret),
        ] {
            let shown = veil.take_out_text(&format!("a {form} b {form}"));
            assert_eq!(shown, "a … b …", "{form}");
        }
        for user in ["", "u", "us", "user:"] {
            let basic = STANDARD.encode(format!("{user}{secret}"));
            let shown = veil.take_out_text(&basic);
            assert!(shown.contains(DOTS) && shown.len() < 8 + DOTS.len() + user.len() * 2, "{user}: {shown}");
        }
    }

    #[test]
    fn path_and_query_of_a_webhook_are_taken_out() {
        let url = "https://hooks.example.com/catch/1234/abcd?token=s3cr3t-t0ken-0123&x=1".to_owned();
        let veil = Veil::new(&config::Destination { url, ..Default::default() });
        assert_eq!(
            veil.take_out_text("POST /catch/1234/abcd?token=s3cr3t-t0ken-0123&x=1 HTTP/1.1"),
            "POST …?… HTTP/1.1"
        );
        assert_eq!(veil.take_out_text("{\"path\":\"\\/catch\\/1234\\/abcd\"}"), "{\"path\":\"…\"}");
        assert_eq!(veil.take_out_text("token is s3cr3t-t0ken-0123."), "token is ….");
        assert_eq!(veil.take_out_text("hooks.example.com is well"), "hooks.example.com is well");
    }

    #[test]
    fn the_beginning_of_a_secret_at_the_end_of_a_cut_answer_is_taken_out() {
        let veil = veil("S3CR3T-us6");
        assert_eq!(veil.take_out_text("the key S3CR3T-"), "the key …");
        assert_eq!(veil.take_out_text("the key S3C"), "the key S3C");
        assert_eq!(veil.take_out(b"\xff S3CR3T-us6 \xfe"), [b"\xff ".as_slice(), DOTS.as_bytes(), b" \xfe"].concat());
    }
}
