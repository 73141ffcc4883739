//! What `faults` can be told. Each is a kind of message with a JSON body; fields with `?` in `README.md` may be left out.

use skep_sdk::prelude::*;
use skep_sdk::serde_json::Value;

/// A message that is to be sent on, asked, called or published.
#[data]
pub(crate) struct Parcel {
    #[serde(default)]
    pub(crate) to: String,
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) body: Value,
    pub(crate) within_ms: Option<u64>,
}

impl Parcel {
    pub(crate) fn address(&self) -> Address {
        Address::new(self.to.as_str())
    }

    pub(crate) fn envelope(&self) -> Result<Envelope> {
        Envelope::new(self.kind.as_str(), &self.body)
    }

    pub(crate) fn within(&self) -> Duration {
        Duration::from_millis(self.within_ms.unwrap_or(5_000))
    }
}

/// What an order came to: `{"ok": …}` or `{"error": "word", "text": …}`.
#[data]
#[serde(untagged)]
pub(crate) enum Did {
    Ok { ok: Value },
    Error { error: String, text: String },
}

#[message(reply = Value)]
pub(crate) struct Echo(pub(crate) Value);

#[message(reply = u64)]
pub(crate) struct Add {
    pub(crate) by: u64,
}

#[message(reply = Vec<String>)]
pub(crate) struct Heard;

#[message]
pub(crate) struct Note {
    pub(crate) text: String,
}

// Ends of a turn.

#[message]
#[serde(default)]
#[derive(Default)]
pub(crate) struct Trap {
    pub(crate) attempts: Option<u32>,
}

#[message]
pub(crate) struct Panic {
    pub(crate) text: String,
}

#[message]
pub(crate) struct Spin;

#[message(reply = u64)]
pub(crate) struct Recurse;

#[message(reply = usize)]
pub(crate) struct Grow {
    pub(crate) mib: usize,
    #[serde(default)]
    pub(crate) carefully: bool,
}

#[message(reply = Bytes)]
pub(crate) struct Huge {
    pub(crate) bytes: usize,
}

#[message]
pub(crate) struct Refuse {
    pub(crate) how: String,
    pub(crate) text: String,
    pub(crate) after: Option<Parcel>,
}

#[message]
pub(crate) struct Exit {
    pub(crate) reason: Reason,
}

#[data]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reason {
    Normal,
    Shutdown,
    ShutdownBecause(String),
    Error(String),
}

impl From<Reason> for ExitReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Normal => Self::Normal,
            Reason::Shutdown => Self::Shutdown,
            Reason::ShutdownBecause(text) => Self::ShutdownBecause(text),
            Reason::Error(text) => Self::Error(text),
        }
    }
}

// Messages.

#[message(reply = Did)]
pub(crate) struct Send {
    #[serde(flatten)]
    pub(crate) parcel: Parcel,
    pub(crate) count: Option<u32>,
    pub(crate) channel: Option<String>,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content_type: Option<String>,
    pub(crate) size: Option<usize>,
}

#[message(reply = Did)]
pub(crate) struct Ask(pub(crate) Parcel);

#[message(reply = Did)]
pub(crate) struct Call(pub(crate) Parcel);

#[message(reply = Did)]
pub(crate) struct Task(pub(crate) Parcel);

#[message(reply = Vec<Did>)]
pub(crate) struct AskMany {
    pub(crate) agents: Vec<Address>,
    #[serde(flatten)]
    pub(crate) parcel: Parcel,
    pub(crate) in_flight_max: usize,
}

#[message(reply = Did)]
pub(crate) struct Publish {
    pub(crate) topic: String,
    #[serde(flatten)]
    pub(crate) parcel: Parcel,
}

#[message(reply = Did)]
pub(crate) struct Subscribe {
    pub(crate) pattern: String,
}

#[message]
pub(crate) struct Unsubscribe {
    pub(crate) pattern: String,
}

#[message(reply = Value)]
pub(crate) struct Never;

#[message(reply = String)]
pub(crate) struct ReplyAfter {
    pub(crate) ms: u64,
}

#[message(reply = u32)]
pub(crate) struct ReplyTwice;

#[message]
pub(crate) struct LoopSelf;

#[message(reply = Value)]
pub(crate) struct Meta;

// State and timers.

#[message(reply = Did)]
pub(crate) struct Put {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: Value,
    /// Instead of a value: so many bytes.
    pub(crate) size: Option<usize>,
}

#[message(reply = Value)]
pub(crate) struct Get {
    pub(crate) key: String,
}

#[message(reply = Did)]
pub(crate) struct Delete {
    pub(crate) key: String,
}

#[message(reply = Vec<(String, Value)>)]
pub(crate) struct Scan {
    #[serde(default)]
    pub(crate) prefix: String,
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<usize>,
}

#[message(reply = Did)]
pub(crate) struct PutMany {
    pub(crate) entries: Vec<(String, Value)>,
}

#[message(reply = Vec<Value>)]
pub(crate) struct GetMany {
    pub(crate) keys: Vec<String>,
}

#[message(reply = Did)]
pub(crate) struct Once {
    pub(crate) name: String,
    pub(crate) after_ms: u64,
    #[serde(default)]
    pub(crate) body: Value,
}

#[message(reply = Did)]
pub(crate) struct Every {
    pub(crate) name: String,
    pub(crate) period_ms: u64,
    #[serde(default)]
    pub(crate) body: Value,
}

#[message]
pub(crate) struct Cancel {
    pub(crate) name: String,
}

// Lives.

#[message(reply = Did)]
pub(crate) struct Spawn {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) plugin: String,
    pub(crate) config: Option<Value>,
    pub(crate) restart: Option<String>,
    pub(crate) durability: Option<String>,
    #[serde(default)]
    pub(crate) owned: bool,
}

#[message(reply = Did)]
pub(crate) struct Stop {
    pub(crate) agent: Address,
    pub(crate) reason: Option<Reason>,
}

#[message(reply = Did)]
pub(crate) struct Link {
    pub(crate) agent: Address,
}

#[message]
pub(crate) struct Unlink {
    pub(crate) agent: Address,
}

#[message(reply = Did)]
pub(crate) struct Monitor {
    pub(crate) agent: Address,
}

#[message]
pub(crate) struct Demonitor {
    pub(crate) agent: Address,
}

// The registry, and what an agent shows of itself.

#[message(reply = Did)]
pub(crate) struct Register {
    #[serde(default)]
    pub(crate) capabilities: Vec<String>,
    #[serde(default)]
    pub(crate) protocols: Vec<String>,
    #[serde(default)]
    pub(crate) metadata: Vec<(String, String)>,
}

#[message(reply = Value)]
pub(crate) struct Lookup {
    pub(crate) name: String,
}

/// `by` is `capability`, `protocol` or `group`.
#[message(reply = Vec<Address>)]
pub(crate) struct Find {
    pub(crate) by: String,
    pub(crate) name: String,
    pub(crate) after: Option<Address>,
    pub(crate) limit: Option<u32>,
}

#[message(reply = Did)]
pub(crate) struct Join {
    pub(crate) group: String,
}

#[message]
pub(crate) struct Leave {
    pub(crate) group: String,
}

#[message]
pub(crate) struct Log {
    pub(crate) level: Option<String>,
    pub(crate) text: Option<String>,
    pub(crate) lines: Option<u32>,
    pub(crate) bytes: Option<usize>,
}

#[message]
pub(crate) struct Measure;

#[message(reply = Value)]
#[serde(default)]
#[derive(Default)]
pub(crate) struct Replay {
    pub(crate) attempts: u32,
}
