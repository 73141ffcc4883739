//! Where an agent is reached: by its name. The number that the host wants is looked up once and never leaves here.

use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::host::names;

/// An agent's address. Serialises as its name, so it may be sent, stored and configured. Cheap to clone.
///
/// Its first use in an instance calls `names.number-of`; later ones call nothing.
#[derive(Clone)]
pub struct Address {
    name: Rc<str>,
    /// 0 until it is asked for.
    number: Cell<u32>,
}

impl Address {
    /// The agent of this name, whether it exists or not: sending tells.
    pub fn new(name: impl Into<Rc<str>>) -> Self {
        Self { name: name.into(), number: Cell::new(0) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn numbered(number: u32) -> Option<Self> {
        Some(Self { name: crate::names::name(number)?, number: Cell::new(number) })
    }

    pub(crate) fn number(&self) -> u32 {
        if self.number.get() == 0 {
            self.number.set(names::number_of(&self.name));
        }
        self.number.get()
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Address {}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Address {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.name.cmp(&other.name)
    }
}

impl Hash for Address {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl From<&str> for Address {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}
