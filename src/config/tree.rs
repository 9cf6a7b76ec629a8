//! The configuration as written, before it has types: every value and key with its place, so that
//! an error found later can still name the line.

use std::{collections::BTreeMap, fmt};

use toml::de::{DeTable, DeValue};

use super::problem::{Path, Place, Problem, Step};

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    pub value: Value,
    pub place: Place,
}

/// Its `Debug` shows no text: any may be a secret.
pub enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    /// A date without quotes; no key takes one.
    Date,
    List(Vec<Node>),
    Table(BTreeMap<String, Entry>),
    /// An environment variable's text, read as whatever its key wants.
    Variable(String),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) | Self::Variable(_) => f.write_str("…"),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
            Self::Boolean(is_so) => is_so.fmt(f),
            Self::Date => f.write_str("a date"),
            Self::List(items) => items.fmt(f),
            Self::Table(entries) => entries.fmt(f),
        }
    }
}

/// A key of a table with its value.
#[derive(Debug)]
pub struct Entry {
    pub key: Place,
    pub node: Node,
}

impl Node {
    /// Reads TOML.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let table = DeTable::parse(text).map_err(|error| {
            // Only the message: toml's whole report quotes the line, which may hold a secret.
            let place = Place::File(error.span().map_or(0, |span| span.start));
            Problem::new(Path::new(), format!("this is not TOML: {}", error.message())).at(&place)
        })?;
        Self::table(table.get_ref(), 0)
    }

    pub fn empty() -> Self {
        Self { value: Value::Table(BTreeMap::new()), place: Place::File(0) }
    }

    fn table(table: &DeTable<'_>, offset: usize) -> Result<Self, Problem> {
        let mut entries = BTreeMap::new();
        for (key, value) in table {
            let node = Self::new(value.get_ref(), value.span().start)
                .map_err(|problem| problem.inside(key.get_ref().as_ref()))?;
            entries.insert(key.get_ref().to_string(), Entry { key: Place::File(key.span().start), node });
        }
        Ok(Self { value: Value::Table(entries), place: Place::File(offset) })
    }

    fn new(value: &DeValue<'_>, offset: usize) -> Result<Self, Problem> {
        let place = Place::File(offset);
        let too_large = || Problem::new(Path::new(), "this number is too large").at(&Place::File(offset));
        let value = match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).map_err(|_| too_large())?)
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().map_err(|_| too_large())?),
            DeValue::Boolean(value) => Value::Boolean(*value),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => {
                let item = |(index, item): (usize, &toml::Spanned<DeValue<'_>>)| {
                    Self::new(item.get_ref(), item.span().start).map_err(|problem| problem.inside(index))
                };
                Value::List(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => return Self::table(table, offset),
        };
        Ok(Self { value, place })
    }

    pub fn get(&self, step: &Step) -> Option<&Self> {
        match (&self.value, step) {
            (Value::Table(entries), Step::Key(key)) => entries.get(key).map(|entry| &entry.node),
            (Value::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }

    /// The text of key `key`, when this is a table that has it.
    pub fn text(&self, key: &str) -> Option<&str> {
        match &self.get(&key.into())?.value {
            Value::Text(text) | Value::Variable(text) => Some(text),
            _ => None,
        }
    }

    /// Takes the value of key `key` out, when this is a table that has it.
    pub fn take(&mut self, key: &str) -> Option<Self> {
        let Value::Table(entries) = &mut self.value else { return None };
        entries.remove(key).map(|entry| entry.node)
    }

    /// Where the value at `path` stands; where it is absent, the nearest thing around it.
    pub fn locate(&self, path: &[Step]) -> &Place {
        match path.split_first().and_then(|(step, rest)| Some((self.get(step)?, rest))) {
            Some((node, rest)) => node.locate(rest),
            None => &self.place,
        }
    }
}
