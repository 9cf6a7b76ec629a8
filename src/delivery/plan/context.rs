//! What templates see: the envelope, and what stays the same from one event to the next.

use std::collections::BTreeMap;

use minijinja::{Environment, Value};
use serde_json::{Map, Value as Json};

use super::{
    Message,
    template::{Place, is_given},
};
use crate::config::{self, Preset};

/// Which key of `names` holds the name of an event in the tool.
const EVENT_NAMES: [(&str, &str); 4] = [
    ("rfm/segment.changed", "segment_changed"),
    ("customer/first_order", "first_order"),
    ("customer/lapsed", "lapsed"),
    ("test", "test"),
];

/// What does not depend on the event.
pub struct Fixed {
    shop: Value,
    names: Value,
    vars: Value,
    secret: Value,
}

impl Fixed {
    /// # Errors
    /// A variable is not given and cannot be made of the secrets: its name, and where to find it.
    pub fn new(
        destination: &config::Destination,
        preset: &'static Preset,
        shop: &config::Shop,
        environment: &Environment<'static>,
    ) -> Result<Self, (String, &'static str)> {
        let mut names = preset.names.clone();
        names.extend(destination.names.clone());
        let secret: Value = destination.secrets.iter().map(|(name, secret)| (name.clone(), secret.expose())).collect();
        let mut vars = destination.vars.clone();
        vars.retain(|_, value| !value.trim().is_empty());
        let unreadable = destination.secrets.values().any(config::Secret::is_empty);
        for (name, setting) in &preset.vars {
            if vars.contains_key(name) {
                continue;
            }
            if setting.required {
                return Err((name.clone(), &setting.help));
            }
            if setting.default.is_empty() || unreadable {
                continue;
            }
            let context: Value = [("secret", secret.clone())].into_iter().collect();
            let made = environment.render_named_str(&Place::Plain.name(0, name), &setting.default, context);
            vars.insert(name.clone(), made.map_err(|_| (name.clone(), setting.help.as_str()))?);
        }
        let shop: BTreeMap<&str, &str> = BTreeMap::from([
            ("id", shop.id.as_str()),
            ("name", if shop.name.is_empty() { &shop.id } else { &shop.name }),
            ("currency", shop.currency.code()),
        ]);
        Ok(Self {
            shop: shop.into_iter().collect(),
            names: names.into_iter().collect(),
            vars: vars.into_iter().collect(),
            secret,
        })
    }

    pub fn context(&self) -> Value {
        self.members().into_iter().collect()
    }

    fn members(&self) -> BTreeMap<&'static str, Value> {
        BTreeMap::from([
            ("shop", self.shop.clone()),
            ("names", self.names.clone()),
            ("vars", self.vars.clone()),
            ("secret", self.secret.clone()),
        ])
    }

    fn event_name(&self, kind: &str) -> Option<Value> {
        let (_, key) = EVENT_NAMES.iter().find(|(name, _)| *name == kind)?;
        self.names.get_attr(key).ok().filter(is_given)
    }
}

/// An envelope, taken apart.
pub struct Parsed {
    /// Event and customer, in the order of the envelope; at least one.
    items: Vec<(Value, Value)>,
    is_batch: bool,
    /// Whether the tool has a name for this kind of event.
    pub is_named: bool,
}

impl Parsed {
    pub fn new(body: &[u8], fixed: &Fixed) -> Result<Self, &'static str> {
        let envelope: Json = serde_json::from_slice(body).map_err(|_| "the stored event is not JSON")?;
        let batch = envelope["data"]["events"].as_array();
        let items: Vec<&Json> = batch.map_or_else(|| vec![&envelope], |events| events.iter().collect());
        let is_named = match items.first() {
            None => return Err("the stored batch has no events"),
            Some(first) => first["type"].as_str().is_some_and(|kind| fixed.event_name(kind).is_some()),
        };
        let items = items.into_iter().map(|item| take_apart(item, fixed)).collect();
        Ok(Self { items, is_batch: batch.is_some(), is_named })
    }

    pub fn context(&self, fixed: &Fixed, message: &Message<'_>) -> Value {
        let mut members = fixed.members();
        let item = |(event, customer): &(Value, Value)| -> Value {
            [("event", event.clone()), ("customer", customer.clone())].into_iter().collect()
        };
        members.insert("events", self.items.iter().map(item).collect::<Vec<_>>().into());
        if let (false, Some((event, customer))) = (self.is_batch, self.items.first()) {
            members.insert("event", event.clone());
            members.insert("customer", customer.clone());
        }
        members.insert("quiet", message.quiet.into());
        members.insert("message", [("id", message.message_id)].into_iter().collect());
        members.into_iter().collect()
    }
}

fn take_apart(envelope: &Json, fixed: &Fixed) -> (Value, Value) {
    let none = Map::new();
    let data = envelope["data"].as_object().unwrap_or(&none);
    let mut event: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in data.iter().filter(|(name, _)| *name != "customer") {
        event.insert(name.clone(), convert(value));
    }
    for name in ["id", "type", "seq", "timestamp"] {
        event.insert(name.to_owned(), convert(&envelope[name]));
    }
    let is_test = [&envelope["test"], &envelope["data"]["test"]].iter().any(|test| **test == Json::Bool(true));
    event.insert("test".to_owned(), is_test.into());
    event.entry("lapsedDays".to_owned()).or_insert_with(|| ().into());
    // An event without scores has them empty, so that a template need not ask first.
    if event.get("rfm").is_none_or(Value::is_none) {
        event.insert("rfm".to_owned(), ["r", "f", "m"].map(|name| (name, Value::from(()))).into_iter().collect());
    }
    let kind = envelope["type"].as_str().unwrap_or_default();
    // Whoever lost their segment loses it in the tool too; an event of another kind leaves it alone.
    let segment = match data.get("newSegment").and_then(Json::as_str) {
        Some(segment) => segment.into(),
        None if kind == "rfm/segment.changed" => "".into(),
        None => ().into(),
    };
    event.insert("segment".to_owned(), segment);
    if let Some(name) = fixed.event_name(kind) {
        event.insert("name".to_owned(), name);
    }
    let mut customer: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in data.get("customer").and_then(Json::as_object).unwrap_or(&none) {
        customer.insert(name.clone(), convert(value));
    }
    customer.insert("id".to_owned(), data.get("customerId").map_or_else(|| ().into(), convert));
    (event.into_iter().collect(), customer.into_iter().collect())
}

/// By hand: numbers of any precision would go through serde as maps.
fn convert(json: &Json) -> Value {
    match json {
        Json::Null => ().into(),
        Json::Bool(value) => (*value).into(),
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(number)) => number.into(),
            (None, None) => ().into(),
        },
        Json::String(text) => text.as_str().into(),
        Json::Array(items) => items.iter().map(convert).collect::<Vec<_>>().into(),
        Json::Object(members) => members.iter().map(|(name, value)| (name.clone(), convert(value))).collect(),
    }
}
