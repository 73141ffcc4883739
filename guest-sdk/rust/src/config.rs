//! The agent's configuration: a JSON object from its manifest. Never written by the agent.

use serde::de::DeserializeOwned;

/// The configuration, to be read as one type or key by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config(pub(crate) String);

impl Config {
    /// All of it, as one type. The error names the key.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_str(&self.0).map_err(|error| format!("config: {error}"))
    }

    /// One key; none if it is not there.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, String> {
        let all: serde_json::Map<String, serde_json::Value> = self.read()?;
        match all.get(key) {
            None => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|error| format!("config: {key}: {error}")),
        }
    }

    /// The JSON text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// What `start` may take: [`Config`] itself, or the author's own type.
#[doc(hidden)]
pub trait FromConfig: Sized {
    fn from_config(config: Config) -> Result<Self, String>;
}

impl FromConfig for Config {
    fn from_config(config: Config) -> Result<Self, String> {
        Ok(config)
    }
}

impl<T: DeserializeOwned> FromConfig for T {
    fn from_config(config: Config) -> Result<Self, String> {
        config.read()
    }
}
