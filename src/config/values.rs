//! Values whose own error texts would not tell a merchant what to write.

use std::{fmt::Display, net::SocketAddr};

use serde::{Deserialize, Deserializer, Serializer, de::Error};

use super::problem::{choose, nearest};
use crate::model::{Source, Zone};

/// As people read it.
pub fn display<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// An IANA time zone.
pub fn zone<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zone, D::Error> {
    zone_named(&String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// An IANA time zone; empty for none.
pub fn zone_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Zone>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() { Ok(None) } else { zone_named(&name).map(Some).map_err(D::Error::custom) }
}

fn zone_named(name: &str) -> Result<Zone, String> {
    name.parse().map_err(|_| {
        let remedy = nearest(name, Zone::names()).map_or_else(
            || "write one like \"Europe/Berlin\" or \"UTC\"".to_owned(),
            |near| format!("did you mean \"{near}\"?"),
        );
        format!("{name:?} is not a time zone; {remedy}")
    })
}

/// Whose ids a file holds.
pub fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Source, D::Error> {
    let name = String::deserialize(deserializer)?;
    Source::parse(&name).ok_or_else(|| {
        let known: Vec<_> = Source::ALL.iter().map(|source| source.as_str()).collect();
        D::Error::custom(format!("{name:?} is nowhere that orders come from; {}", choose(&name, &known)))
    })
}

/// An address and port to listen on.
pub fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!("{text:?} is not an address with a port; write it like \"127.0.0.1:8787\""))
    })
}
