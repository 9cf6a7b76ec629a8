//! serde's view of a [`Node`]: typed values out of the tree, errors with their place.

use std::{collections::btree_map, slice};

use serde::de::{
    DeserializeSeed, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
    value::StrDeserializer,
};

use super::{
    problem::{Place, Problem},
    tree::{Entry, Node, Value},
};

impl Node {
    fn visit<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, Problem> {
        match &self.value {
            Value::Text(text) | Value::Variable(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(value) => visitor.visit_bool(*value),
            Value::Date => Err(Problem::invalid_type(Unexpected::Other("date"), &visitor)),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter().enumerate() }),
            Value::Table(entries) => visitor.visit_map(Entries { entries: entries.iter(), value: None }),
        }
    }

    /// The text of an environment variable, whose type only the asking key knows.
    const fn variable(&self) -> Option<&String> {
        if let Value::Variable(text) = &self.value { Some(text) } else { None }
    }
}

impl<'de> Deserializer<'de> for &Node {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor).map_err(|problem| problem.at(&self.place))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.variable().map(|text| text.parse()) {
            Some(Ok(value)) => visitor.visit_bool(value),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.variable().map(|text| text.parse()) {
            Some(Ok(number)) => visitor.visit_u32(number),
            _ => self.deserialize_any(visitor),
        }
    }

    /// A variable holds a JSON list, or its items separated by commas.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let Some(text) = self.variable() else { return self.deserialize_any(visitor) };
        let items = split(text).map_err(|problem| problem.at(&self.place))?;
        let items: Vec<Node> =
            items.into_iter().map(|text| Node { value: Value::Variable(text), place: self.place.clone() }).collect();
        visitor.visit_seq(Items { items: items.iter().enumerate() }).map_err(|problem| problem.at(&self.place))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        let (Value::Text(text) | Value::Variable(text)) = &self.value else {
            return self.deserialize_any(visitor);
        };
        let text: StrDeserializer<'_, Problem> = text.as_str().into_deserializer();
        visitor.visit_enum(text).map_err(|problem| problem.at(&self.place))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct tuple tuple_struct map struct identifier ignored_any
    }
}

/// `a,b` or `["a", "b"]`; nothing for an empty text.
fn split(text: &str) -> Result<Vec<String>, Problem> {
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text)
            .map_err(|_| Problem::custom("this is not a JSON list of texts; write [\"one\", \"two\"] or one,two"));
    }
    Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
}

struct Items<'a> {
    items: std::iter::Enumerate<slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        let Some((index, node)) = self.items.next() else { return Ok(None) };
        seed.deserialize(node).map(Some).map_err(|problem| problem.at(&node.place).inside(index))
    }
}

struct Entries<'a> {
    entries: btree_map::Iter<'a, String, Entry>,
    value: Option<(&'a str, &'a Node)>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        let Some((key, entry)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key, &entry.node));
        let name: StrDeserializer<'_, Problem> = key.as_str().into_deserializer();
        seed.deserialize(name).map(Some).map_err(|problem| problem.at(&entry.key).inside(key.as_str()))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let Some((key, node)) = self.value.take() else {
            return Err(Problem::custom("a value was asked for before its key").at(&Place::File(0)));
        };
        seed.deserialize(node).map_err(|problem| problem.at(&node.place).inside(key))
    }
}
