//! Which keys exist, asked of the structs themselves: serde tells a deserializer the field names
//! of a struct, so there is no second list to keep.

use serde::{
    Deserialize,
    de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor, value::StrDeserializer},
};

use super::Config;

/// A place where something can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey {
    /// "webhooks.shopify.secrets"
    pub path: String,
    pub kind: Kind,
}

/// What stands at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Value,
    /// `[section]` with these keys.
    Section(&'static [&'static str]),
    /// `[[section]]`: any number of them.
    List(&'static [&'static str]),
    /// A section whose keys the merchant chooses.
    Map,
}

impl KnownKey {
    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or_default()
    }

    /// The path without its last part; empty at the top.
    pub fn section(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }
}

/// Every key of `config.toml`, sections before what is in them.
pub fn all() -> Vec<KnownKey> {
    let mut keys = Vec::new();
    collect(&mut Vec::new(), &mut keys);
    keys
}

fn collect(path: &mut Vec<&'static str>, keys: &mut Vec<KnownKey>) {
    let kind = kind_at(path);
    if !path.is_empty() {
        keys.push(KnownKey { path: path.join("."), kind });
    }
    if let Kind::Section(fields) | Kind::List(fields) = kind {
        for field in fields {
            path.push(field);
            collect(path, keys);
            path.pop();
        }
    }
}

fn kind_at(path: &[&'static str]) -> Kind {
    match Config::deserialize(Probe { path, in_list: false }) {
        Err(Answer(kind)) => kind,
        Ok(_) => Kind::Value, // not reached: a probe never yields a value
    }
}

/// Walks down `path` and then answers, as an error, what it was asked for there.
#[derive(Clone, Copy)]
struct Probe<'p> {
    path: &'p [&'static str],
    in_list: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("probe")]
struct Answer(Kind);

impl serde::de::Error for Answer {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self(Kind::Value)
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Answer;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
        Err(Answer(Kind::Value))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Answer> {
        match self.path {
            [] if self.in_list => Err(Answer(Kind::List(fields))),
            [] => Err(Answer(Kind::Section(fields))),
            _ => visitor.visit_map(self),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
        Err(Answer(Kind::Map))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Answer> {
        visitor.visit_seq(Self { in_list: true, ..self })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct tuple tuple_struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = Answer;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Answer> {
        let Some(key) = self.path.first() else { return Ok(None) };
        let key: StrDeserializer<'_, Answer> = key.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Answer> {
        seed.deserialize(Self { path: self.path.split_first().map_or(&[], |(_, rest)| rest), in_list: false })
    }
}

impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = Answer;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Answer> {
        seed.deserialize(*self).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structs_tell_their_keys() {
        let keys = all();
        let kind = |path: &str| keys.iter().find(|key| key.path == path).map(|key| key.kind);
        assert_eq!(kind("scoring.cron"), Some(Kind::Value));
        assert_eq!(kind("webhooks.shopify.secrets"), Some(Kind::Value));
        assert_eq!(kind("webhooks.shopify"), Some(Kind::Section(&["secrets"])));
        assert_eq!(kind("import.columns"), Some(Kind::Map));
        assert!(matches!(kind("destination"), Some(Kind::List(fields)) if fields.contains(&"url")));
        assert_eq!(kind("destination.url"), Some(Kind::Value));
        assert_eq!(kind("scoring.corn"), None);
    }
}
