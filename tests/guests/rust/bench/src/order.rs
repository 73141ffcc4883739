//! What the benches order, as JSON. Read once an order, never on the measured path.

use skep_sdk::serde::Deserialize;
use skep_sdk::serde_json;

/// Messages to be sent, asks or calls to be made.
#[derive(Deserialize)]
#[serde(crate = "skep_sdk::serde")]
pub(crate) struct Order {
    /// An agent, or the beginning of many agents' names.
    pub(crate) to: String,
    pub(crate) count: u32,
    #[serde(default)]
    pub(crate) size: usize,
    /// The body, instead of `size` bytes.
    pub(crate) text: Option<String>,
    pub(crate) kind: Option<String>,
    /// None: `to` is one agent.
    pub(crate) agents: Option<u32>,
    pub(crate) chunk: Option<u32>,
}

#[derive(Deserialize)]
#[serde(crate = "skep_sdk::serde")]
pub(crate) struct Await {
    pub(crate) count: u64,
}

#[derive(Deserialize)]
#[serde(crate = "skep_sdk::serde")]
struct Config {
    next: Option<String>,
}

pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

pub(crate) fn next_of(config: &str) -> Result<Option<String>, String> {
    read::<Config>(config.as_bytes()).map(|config| config.next)
}
