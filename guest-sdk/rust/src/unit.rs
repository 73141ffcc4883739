//! Messages without fields: written as nothing, `null` or `{}`.

use std::fmt;

use serde::Deserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};

struct Nothing;

impl<'de> Visitor<'de> for Nothing {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing, null or {}")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        match map.next_entry::<String, IgnoredAny>()? {
            None => Ok(()),
            Some((key, _)) => Err(M::Error::custom(format!("unknown field `{key}`, there are none"))),
        }
    }
}

/// Reads a message without fields.
pub fn unit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    deserializer.deserialize_any(Nothing)
}
