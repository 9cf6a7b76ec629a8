//! Whom a message speaks of: the ids, e-mails and phones in it. Pure.

use std::{borrow::Cow, collections::BTreeSet};

use serde_json::{Map, Value};

use crate::model::phone_key;

/// What in a message may lead to a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Traces {
    /// Customers, by the source's ids.
    pub ids: BTreeSet<String>,
    /// Normalised.
    pub emails: BTreeSet<String>,
    /// Orders, by the source's ids.
    pub orders: BTreeSet<String>,
    /// Normalised.
    all_phones: BTreeSet<String>,
}

const CUSTOMER: &str = "gid://shopify/Customer/";
/// Members about whom a message is for, in the words of all sources.
const OWNER: &[&str] = &["customer", "billing", "billing_address", "default_address"];

impl Traces {
    /// Of a JSON body, or of one element of a body with many.
    pub fn of(topic: &str, value: &Value) -> Self {
        let mut traces = Self::default();
        traces.look("", value);
        if let Some(id) = value.get("id").and_then(id) {
            match topic.split(['/', '.', '_']).next() {
                Some("customer" | "customers") => traces.ids.insert(id),
                Some("order" | "orders") => traces.orders.insert(id),
                _ => false,
            };
        }
        traces
    }

    /// Of whom alone the message is about: what its notes, gifts and addresses to ship to name is left out.
    pub fn of_owner(topic: &str, value: &Value) -> Self {
        value.as_object().map_or_else(Self::default, |members| Self::of(topic, &owner(members).into()))
    }

    /// Of a body that is not JSON.
    pub fn of_text(text: &str) -> Self {
        Self { emails: emails_in(text).collect(), ..Self::default() }
    }

    /// Phones, where nothing better is told: households share one.
    pub fn phones(&self) -> impl Iterator<Item = &String> {
        self.all_phones.iter().filter(|_| self.emails.is_empty())
    }

    /// `key`: under which `value` stands.
    fn look(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(members) => {
                if key == "customer" {
                    self.ids.extend(members.get("id").and_then(id));
                }
                for (key, value) in members {
                    self.emails.extend(emails_in(key));
                    self.look(key, value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.look(key, item)),
            Value::String(text) => {
                self.ids.extend(text.strip_prefix(CUSTOMER).map(str::to_owned));
                if key.to_ascii_lowercase().contains("phone") {
                    self.all_phones.extend(phone_key(text));
                }
                self.emails.extend(emails_in(text));
                self.look_for_id(key, value);
            }
            Value::Number(_) => self.look_for_id(key, value),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn look_for_id(&mut self, key: &str, value: &Value) {
        match key {
            // That of WooCommerce's guests is 0.
            "customer_id" => self.ids.extend(id(value).filter(|id| id != "0")),
            "customerId" => self.ids.extend(id(value)),
            "order_id" | "orderId" => self.orders.extend(id(value)),
            _ => {}
        }
    }
}

fn owner(members: &Map<String, Value>) -> Map<String, Value> {
    let mut told = Map::new();
    for (key, value) in members {
        let value = match value {
            Value::Object(inner) if OWNER.contains(&key.as_str()) => owner(inner).into(),
            Value::String(_) | Value::Number(_) if names_owner(key) => value.clone(),
            _ => continue,
        };
        told.insert(key.clone(), value);
    }
    told
}

fn names_owner(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    key == "id" || key.ends_with("_id") || key.ends_with("Id") || lower.contains("email") || lower.contains("phone")
}

fn id(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        _ => None,
    }
}

/// How often a text may have been written into another: an address into one that leads to it, and once more.
const WRITTEN: usize = 3;

/// Every e-mail address in a text, normalised; also in the addresses of pages. Where a part of one would be an
/// address too, such as behind `'`, that is among them.
pub fn emails_in(text: &str) -> impl Iterator<Item = String> {
    let (mut found, mut text) = (Vec::new(), Cow::Borrowed(text));
    for _ in 0..WRITTEN {
        if !text.contains('@') && !text.contains("40") {
            break; // neither as it is nor as %40 or \u0040
        }
        collect(&text, &mut found);
        let Some(decoded) = decoded(text.as_bytes()) else { break };
        text = Cow::Owned(decoded);
    }
    found.into_iter()
}

fn collect(text: &str, found: &mut Vec<String>) {
    let apart = |c: char| c.is_whitespace() || c.is_control() || "<>()[]{},;:\"\\|".contains(c);
    let is_email = |word: &&str| word.find('@').is_some_and(|at| at > 0 && at + 1 < word.len());
    for word in text.split(apart).filter(|word| word.contains('@')) {
        // An address may have these in it.
        let parts = word.split(['\'', '/', '?', '&', '=', '#']).map(|part| part.trim_matches('.'));
        let whole = word.trim_matches(['.', '\'']);
        let found_here: BTreeSet<&str> = parts.chain([whole]).chain(between(word)).filter(is_email).collect();
        found.extend(found_here.into_iter().map(str::to_lowercase));
    }
}

/// What around each `@` may be an address between the punctuation of people: `*`, `“`, `…` and the like. Hardly any
/// address begins with `_` or has `!` in it, but one may.
fn between(word: &str) -> impl Iterator<Item = &str> {
    let in_domain = |c: char| c.is_alphanumeric() || c == '-' || c == '.';
    let in_name = move |c: char| in_domain(c) || c == '_' || c == '+';
    let mut start = 0;
    word.match_indices('@').flat_map(move |(at, _)| {
        let before = &word[start..at];
        start = at + 1;
        let domain = word[start..].split(|c| !in_domain(c)).next().unwrap_or_default().trim_end_matches(['-', '.']);
        let plain = before.rsplit(|c| !in_name(c)).next().unwrap_or_default();
        let trimmed = [before, plain].map(|name| name.trim_start_matches(|c: char| !c.is_alphanumeric()));
        let names = trimmed.into_iter().chain([plain]);
        names.filter(|name| !name.is_empty()).map(move |name| &word[at - name.len()..=at + domain.len()])
    })
}

/// The text without the escapes of addresses (`%40`) and of JSON (`\u0040`); `None`: it has none.
fn decoded(text: &[u8]) -> Option<String> {
    let digits = |from: usize, count: usize| {
        let digits = std::str::from_utf8(text.get(from..from + count)?).ok()?;
        u32::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))
    };
    let (mut plain, mut place, mut changed) = (Vec::with_capacity(text.len()), 0, false);
    while let Some(byte) = text.get(place) {
        let in_address = if *byte == b'%' { digits(place + 1, 2) } else { None };
        let is_json = *byte == b'\\' && text.get(place + 1) == Some(&b'u');
        let in_json = if is_json { digits(place + 2, 4).and_then(char::from_u32) } else { None };
        let length = if let Some(code) = in_address {
            plain.extend(u8::try_from(code));
            3
        } else if let Some(c) = in_json {
            plain.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            6
        } else {
            plain.push(*byte);
            1
        };
        changed |= length > 1;
        place += length;
    }
    changed.then(|| String::from_utf8_lossy(&plain).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn an_order_leads_to_its_customer() {
        let body = json!({
            "id": 1001, "email": "Anna@Example.com ", "note": "gift for <joanna@example.com>, thanks.",
            "customer": { "id": 7001, "phone": null, "default_address": { "id": 3, "customer_id": 7002, "phone": "+49 30 123456" } },
            "refunds": [{ "id": 9, "order_id": 1002 }],
        });
        let traces = Traces::of("orders/create", &body);
        assert_eq!(traces.ids, set(&["7001", "7002"]));
        assert_eq!(traces.emails, set(&["anna@example.com", "joanna@example.com"]));
        assert_eq!(traces.orders, set(&["1001", "1002"]));
        assert_eq!(traces.phones().count(), 0, "an e-mail says more");
    }

    #[test]
    fn a_gift_is_the_givers() {
        let body = json!({
            "id": 1002, "email": "bert@example.com", "note": "gift for anna@example.com", "landing_site": "/?email=anna@example.com",
            "customer": { "id": 7002, "note": "anna@example.com's", "default_address": { "phone": "+49 30 123456" } },
            "shipping_address": { "phone": "+49 30 5550123" },
            "line_items": [{ "gift_card": { "recipient": { "email": "anna@example.com", "customer": { "id": 7001 } } } }],
        });
        let traces = Traces::of_owner("orders/create", &body);
        assert_eq!(traces.emails, set(&["bert@example.com"]));
        assert_eq!((traces.ids, traces.orders), (set(&["7002"]), set(&["1002"])));
        assert_eq!(traces.all_phones, set(&["4930123456"]));
        let woo = json!({ "id": 5, "customer_id": 0, "billing": { "email": "bert@example.com" }, "customer_note": "anna@example.com" });
        let woo = Traces::of_owner("order.created", &woo);
        assert_eq!((woo.emails, woo.ids), (set(&["bert@example.com"]), set(&[])));
    }

    #[test]
    fn other_bodies_do_too() {
        let customer = Traces::of("customers/update", &json!({ "id": "7001", "phone": "0049 30 123456" }));
        assert_eq!((customer.ids.clone(), customer.phones().count()), (set(&["7001"]), 1));
        let merge = json!({ "admin_graphql_api_customer_kept_id": "gid://shopify/Customer/7001" });
        assert_eq!(Traces::of("customers/merge", &merge).ids, set(&["7001"]));
        let consent = Traces::of("customers_email_marketing_consent/update", &json!({ "customer_id": 7001 }));
        assert_eq!(consent.ids, set(&["7001"]));
        let product = Traces::of("products/update", &json!({ "id": 7001 }));
        assert_eq!(product, Traces::default());
        assert_eq!(Traces::of_text("{\"email\":\"Anna@example.com\",").emails, set(&["anna@example.com"]));
        assert_eq!(Traces::of_text("@ a@ @b me at home").emails, set(&[]));
    }

    #[test]
    fn emails_are_found_in_addresses_of_pages() {
        for (text, found) in [
            ("/?email=zoe@example.com&utm=1", true),
            ("https://shop.example/zoe@example.com#top", true),
            ("/?email=Zoe%40example.com&utm=1", true),
            ("https://shop.example/login?to=%2Faccount%3Femail%3Dzoe%2540example.com%26a%3D1", true),
            (r#"{"email":"zoe\u0040example.com"}"#, true),
            ("'zoe@example.com'", true),
            ("/?email=joezoe@example.com", false),
            ("%40", false),
            ("100% of 40 \\u00 %", false),
            ("zoe@example.com!", true),
            ("für „Zoe@example.com“", true),
            ("*zoe@example.com*", true),
            ("*_zoe@example.com_*", true),
            ("`zoe@example.com`", true),
            ("zoe@example.com…", true),
            ("zoe@example.com–urgent", true),
            ("zoe@example.com%", true),
            ("\u{200b}zoe@example.com\u{200b}", true),
            ("a@example.com!zoe@example.com", true),
            ("- joe-zoe@example.com", false),
            ("joe_zoe@example.com joe+zoe@example.com joe.zoe@example.com", false),
            ("zoe@example.com.au zoe@example.community zoe@example.com-pany", false),
            ("!@! *zoe@*", false),
        ] {
            assert_eq!(emails_in(text).any(|email| email == "zoe@example.com"), found, "{text}");
        }
        for whole in ["o'brien@example.com", "a=b/c@example.com", "jürgen@example.com"] {
            for around in [format!("<{whole}>"), format!("„{whole}“!")] {
                assert!(emails_in(&around).any(|email| email == whole), "{around}");
            }
        }
        assert!(emails_in("j%C3%BCrgen%40example.com").any(|email| email == "jürgen@example.com"));
    }
}
